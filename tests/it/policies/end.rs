//! A reader is told that a ring is over when every mirror has ended, and not before; waits and
//! signals.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use linering::{Item, Policy, ReadError, WakeUp};

use super::{mirror, reader, ring, small, write};
use crate::common::{fork, interrupt_with};

#[test]
fn a_ring_that_never_had_a_mirror_is_over_at_once() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    assert!(reader.recv().expect("ours").is_none());
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(reader.recv_timeout(Duration::from_secs(60)).expect("ours").is_none());
    assert!(reader.batch().expect("ours").is_empty());
    assert!(reader.next().is_none());
    reader.commit().expect("nothing to do");
    assert!(reader.is_over());
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
