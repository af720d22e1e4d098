//! A reader is told that a ring is over when every mirror has ended, and not before; waits and
//! signals.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use linering::{Item, Policy, ReadError, Reader, WakeUp};

use super::{mirror, now, reader, ring, small, texts, write};
use crate::common::{die, fork, interrupt_with};

#[test]
fn a_reader_waits_for_the_first_mirror_and_may_ask_whether_there_is_one() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(!reader.wait_timeout(Duration::ZERO).expect("ours"));
    assert!(reader.recv_timeout(Duration::from_millis(1)).expect("ours").is_none());
    assert!(reader.batch_timeout(Duration::from_millis(1)).expect("ours").is_empty());
    assert!(reader.is_idle() && !reader.is_over());
    thread::scope(|scope| {
        let (began, first) = std::sync::mpsc::channel();
        let drained = scope.spawn(move || {
            began.send(()).expect("it waits");
            reader.map(|item| item.expect("ours").to_string()).collect::<Vec<_>>()
        });
        first.recv().expect("it began");
        thread::yield_now();
        write(&mut mirror(&ring), "first");
        assert_eq!(drained.join().expect("no panic"), ["first", "-- worker 0 ended --"]);
    });
}

#[test]
fn a_seat_that_was_given_up_is_an_end_too() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    assert!(ring.seat().expect("a seat").cancel());
    assert_eq!(texts(&now(&mut reader)), ["-- worker 0 was cancelled --"]);
    assert!(reader.recv().expect("ours").is_none());
    assert!(reader.is_over());
}

#[test]
fn the_next_reader_knows_that_there_were_mirrors() {
    let ring = ring(small(8, Policy::Block));
    write(&mut mirror(&ring), "line");
    assert_eq!(reader(&ring).count(), 2);
    let mut next = reader(&ring);
    assert!(next.recv().expect("ours").is_none());
    assert!(next.batch().expect("ours").is_empty());
    assert!(next.is_over());
}

/// A loop around one of these calls spins otherwise.
#[test]
fn that_a_ring_is_over_is_said_once_and_from_then_on_calls_with_a_limit_wait() {
    let limit = Duration::from_secs(600);
    type Call = fn(&mut Reader, Duration) -> Option<String>;
    let calls: [Call; 3] = [
        |reader, limit| reader.recv_timeout(limit).expect("ours").map(|item| item.to_string()),
        |reader, limit| {
            let came = reader.wait_timeout(limit).expect("ours");
            came.then(|| now(reader)[0].to_string())
        },
        |reader, limit| {
            let batch = reader.batch_timeout(limit).expect("ours");
            let first = batch.iter().next().map(|item| item.to_string());
            batch.commit();
            first
        },
    ];
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        for call in calls {
            let ring = ring(small(8, Policy::Block).wake_up(wake_up));
            let mut reader = reader(&ring);
            drop(mirror(&ring));
            assert_eq!(call(&mut reader, limit).as_deref(), Some("-- worker 0 ended --"));
            assert_eq!(call(&mut reader, limit), None);
            assert!(reader.is_over());
            assert!(reader.recv().expect("ours").is_none(), "without a limit: at once, each time");
            let returns = AtomicU32::new(0);
            thread::scope(|scope| {
                let later = scope.spawn(|| {
                    let found = loop {
                        if let Some(found) = call(&mut reader, limit) {
                            break found;
                        }
                        returns.fetch_add(1, SeqCst);
                    };
                    assert_eq!(found, "later");
                });
                (0..1000).for_each(|_| thread::yield_now());
                write(&mut mirror(&ring), "later");
                later.join().expect("it came");
            });
            assert_eq!(returns.load(SeqCst), 0, "it did not wait");
        }
    }
}

#[test]
fn a_reader_that_keeps_open_waits_while_mirrors_come_and_go_until_it_is_woken() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(8, Policy::Block).wake_up(wake_up));
        let mut reader = reader(&ring);
        reader.keep_open(true);
        let waker = reader.waker();
        thread::scope(|scope| {
            let drained = scope.spawn(move || {
                let mut seen = Vec::new();
                while let Some(item) = reader.recv().expect("ours") {
                    seen.push(item.to_string());
                }
                assert!(reader.is_over(), "it tells all the same");
                seen
            });
            for _ in 0..100 {
                write(&mut mirror(&ring), "line");
            }
            waker.wake();
            assert_eq!(drained.join().expect("no panic").len(), 200);
        });
    }
}

#[test]
fn a_waker_ends_the_wait_under_way_or_the_next_one_and_no_other() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(8, Policy::Block).wake_up(wake_up));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        let waker = reader.waker();
        waker.wake();
        waker.wake();
        write(&mut mirror, "before");
        assert_eq!(reader.recv().expect("ours").expect("a line").to_string(), "before");
        assert!(reader.recv().expect("ours").is_none());
        assert!(!reader.is_over());
        assert!(!reader.wait_timeout(Duration::from_millis(1)).expect("ours"));
        for _ in 0..100 {
            thread::scope(|scope| {
                scope.spawn(|| waker.wake());
                assert!(reader.batch().expect("ours").is_empty());
            });
        }
        write(&mut mirror, "after");
        assert_eq!(reader.recv().expect("ours").expect("a line").to_string(), "after");
    }
}

#[test]
fn a_child_that_was_killed_is_seen_at_once_by_a_reader_that_asks() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    for round in 0..20 {
        let child = fork(|| {
            write(&mut mirror(&ring), "before");
            let mut mirror = mirror(&ring);
            write(&mut mirror, "the last words");
            die()
        });
        child.status();
        reader.poll_deaths().expect("ours");
        let found = texts(&now(&mut reader));
        let [first, second] =
            [2 * round, 2 * round + 1].map(|worker| format!("-- worker {worker}"));
        assert_eq!(found.len(), 4, "round {round}: {found:?}");
        assert!(found.iter().any(|text| text.starts_with(&format!("{first} "))), "{found:?}");
        assert!(found.iter().any(|text| text.starts_with(&format!("{second} "))), "{found:?}");
    }
}

#[test]
fn none_of_try_recv_and_recv_timeout_does_not_mean_that_it_is_over() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(!reader.is_over());
    assert!(reader.recv_timeout(Duration::from_millis(1)).expect("ours").is_none());
    assert!(!reader.is_over());
    write(&mut mirror, "line");
    let found =
        reader.recv_timeout(Duration::from_secs(60)).expect("ours").map(|item| item.to_string());
    assert_eq!(found.as_deref(), Some("line"));
    drop(mirror);
    assert!(!reader.is_over());
    assert!(matches!(reader.try_recv().expect("ours"), Some(Item::Ended(_))));
    assert!(!reader.is_over(), "the end is not accepted yet");
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(reader.is_over());
}

#[test]
fn a_ring_that_was_over_goes_on_with_a_new_mirror() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    for round in 0..10 {
        write(&mut mirror(&ring), "line");
        let items: Vec<_> = reader.by_ref().map(|item| item.expect("ours").to_string()).collect();
        assert_eq!(items, ["line".to_owned(), format!("-- worker {round} ended --")]);
    }
}

#[test]
fn recv_and_batch_wait_for_what_comes_later() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(8, Policy::Block).wake_up(wake_up));
        let mut reader = reader(&ring);
        let (go_on, next) = std::sync::mpsc::channel::<()>();
        let mut mirror = mirror(&ring);
        thread::scope(|scope| {
            scope.spawn(move || {
                for (i, ()) in next.iter().enumerate() {
                    write(&mut mirror, &i.to_string());
                }
            });
            for i in 0..50 {
                go_on.send(()).expect("it waits");
                if i % 2 == 0 {
                    assert_eq!(
                        reader.recv().expect("ours").expect("not over").to_string(),
                        i.to_string()
                    );
                } else {
                    let batch = reader.batch().expect("ours");
                    assert_eq!(
                        batch.iter().map(|item| item.to_string()).collect::<Vec<_>>(),
                        [i.to_string()]
                    );
                    batch.commit();
                }
            }
            drop(go_on);
            assert_eq!(
                reader.recv().expect("ours").expect("not over").to_string(),
                "-- worker 0 ended --"
            );
        });
        assert!(reader.recv().expect("ours").is_none());
    }
}

extern "C" fn ignore(_: i32) {}

#[test]
fn a_signal_interrupts_a_waiting_reader_that_can_go_on_then() {
    // In a child: a handler is the whole process's, which other tests share.
    fork(|| {
        interrupt_with(libc::SIGUSR1, ignore);
        // SAFETY: a plain call, for this thread.
        let waiting = unsafe { libc::pthread_self() };
        for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
            let ring = ring(small(8, Policy::Block).wake_up(wake_up));
            let mut mirror = mirror(&ring);
            let mut reader = reader(&ring);
            reader.set_interruptible(true);
            let interrupted = AtomicBool::new(false);
            let error = thread::scope(|scope| {
                scope.spawn(|| {
                    while !interrupted.load(SeqCst) {
                        // SAFETY: that thread waits for this one.
                        unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) };
                        thread::yield_now();
                    }
                });
                let error = reader.recv().expect_err("no line comes, so only the signal ends this");
                interrupted.store(true, SeqCst);
                error
            });
            assert!(matches!(error, ReadError::Interrupted), "{error}");
            write(&mut mirror, "after");
            let found = loop {
                match reader.recv() {
                    // One that was sent before.
                    Err(ReadError::Interrupted) => {}
                    other => break other.expect("ours").expect("not over").to_string(),
                }
            };
            assert_eq!(found, "after");
        }
        0
    })
    .succeeds();
}

#[test]
fn a_signal_does_not_end_the_wait_of_a_reader_that_did_not_ask_for_it() {
    // In a child: a handler is the whole process's, which other tests share.
    fork(|| {
        interrupt_with(libc::SIGUSR1, count_signal);
        // SAFETY: a plain call, for this thread.
        let waiting = unsafe { libc::pthread_self() };
        for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
            let ring = ring(small(8, Policy::Block).wake_up(wake_up));
            let mut mirror = mirror(&ring);
            let mut reader = reader(&ring);
            SIGNALS.store(0, SeqCst);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while SIGNALS.load(SeqCst) < 20 {
                        // SAFETY: that thread waits for the line below.
                        unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) };
                        thread::yield_now();
                    }
                    write(&mut mirror, "after");
                });
                // The README's own loop: an error would end it.
                let found = reader.next().expect("not over").expect("no error").to_string();
                assert_eq!(found, "after");
                assert!(SIGNALS.load(SeqCst) >= 20);
            });
        }
        0
    })
    .succeeds();
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

/// How often this thread has slept.
fn sleeps() -> i64 {
    // SAFETY: a plain C struct, for which zeros are valid, and which lives during the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_nvcsw
    }
}

#[test]
fn a_reader_with_longer_sleeps_wakes_less_often_and_as_soon_as_a_line_comes() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(8, Policy::Block).wake_up(wake_up));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        let limit = Duration::from_millis(400);
        let wakes = |reader: &mut Reader| {
            let before = sleeps();
            assert!(!reader.wait_timeout(limit).expect("ours"));
            sleeps() - before
        };
        let often = wakes(&mut reader);
        reader.set_longest_sleep(Duration::from_secs(600));
        let seldom = wakes(&mut reader);
        assert!(4 * seldom <= often, "{seldom} and {often} times");
        for _ in 0..100 {
            thread::scope(|scope| {
                scope.spawn(|| write(&mut mirror, "line"));
                // Not after a sleep: it would hang.
                assert_eq!(reader.recv().expect("ours").expect("a line").to_string(), "line");
            });
        }
        let waker = reader.waker();
        thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert!(reader.batch().expect("ours").is_empty());
        });
    }
}
