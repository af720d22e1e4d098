//! A server whose workers are forked beforehand: what exits is replaced, is told with the way in
//! which it exited, and what it logged is in the log.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use linering::{
    Ends, Level, LineProcMirror, LineRing, LogDrain, Options, Policy, PoolError, WorkerPool,
    WriteError,
};

use super::{Kept, LIMIT, is_alone, ring};
use crate::common::{Gate, die, wait_for_the_end};

/// How often the log has it.
fn count(sink: &Kept, text: &str) -> usize {
    sink.text().matches(text).count()
}

#[test]
fn workers_that_fail_panic_or_are_killed_are_replaced_and_told() {
    if !is_alone("service::pools::workers_that_fail_panic_or_are_killed_are_replaced_and_told") {
        return;
    }
    let (ring, sink) = (ring(Policy::Block, 64), Kept::default());
    // Its thread is there when the pool forks again.
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
    let drain = drain.ends(Ends::All).spawn().expect("a thread");
    let log = ring.writer().expect("a writer");
    let lives = AtomicUsize::new(0);
    let serve = |worker: usize, mirror: &mut LineProcMirror| {
        let life = lives.load(SeqCst);
        log.record_fmt(Level::Info, format_args!("worker {worker} serves in life {life}"))
            .map_err(|error| error.to_string())?;
        // What is still unfinished is told too.
        io::Write::write_all(mirror, b"the last wor").map_err(|error| error.to_string())?;
        match (worker, life) {
            (0, 0) => Err("out of luck".to_owned()),
            (1, 0) => std::panic::panic_any("unlucky"),
            (2, 0) => die(),
            (3, 0) => std::process::abort(),
            _ => Ok(()),
        }
    };
    let mut pool = WorkerPool::fork(&ring, 5, serve).expect("workers");
    let mut replaced = Vec::new();
    let again = |number: usize, gone: &linering::Worker| {
        assert!(!gone.running);
        let fails = !gone.status.is_some_and(|status| status.success());
        lives.store(1, SeqCst);
        if fails {
            replaced.push(number);
        }
        fails
    };
    pool.respawn(&ring, serve, again).expect("workers");
    replaced.sort();
    assert_eq!(replaced, [0, 1, 2, 3]);
    assert!(pool.workers().iter().all(|worker| worker.status.is_some_and(|s| s.success())));
    drop(log);
    assert_eq!(drain.stop(LIMIT).expect("ours").left, 0);
    let text = sink.text();
    assert_eq!((count(&sink, "in life 0\n"), count(&sink, "in life 1\n")), (5, 4), "{text}");
    // Though the pool has awaited them, and the kernel forgotten.
    assert_eq!(count(&sink, "died, signal: 9 (SIGKILL)"), 2, "its mirror and its writer's: {text}");
    assert_eq!(count(&sink, "died, signal: 6 (SIGABRT)"), 2, "{text}");
    assert_eq!(count(&sink, "ended with an error --"), 2, "{text}");
    assert_eq!(count(&sink, "out of luck"), 1, "{text}");
    assert_eq!(count(&sink, "the last wor [unfinished]\n"), 9, "{text}");
}

#[test]
fn a_worker_is_forked_in_the_place_of_one_that_has_exited_and_of_no_other() {
    let ring = ring(Policy::Block, 64);
    let goes_on = Gate::new();
    let waits = |_: usize, mirror: &mut LineProcMirror| {
        goes_on.pass();
        mirror.write_line(b"done")
    };
    let mut pool = WorkerPool::fork(&ring, 2, waits).expect("workers");
    assert_eq!(pool.wait_one(Duration::from_millis(1)), None, "both wait");
    for (number, told) in [
        (0, "found worker 0, which runs, expected one that has exited, or 2 for a further one"),
        (7, "found worker 7, expected one that has exited, or 2 for a further one"),
    ] {
        let error = pool.fork_one(&ring, number, waits).expect_err("not there");
        assert!(matches!(error, PoolError::Number { .. }));
        assert_eq!(error.to_string(), told);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    }
    goes_on.open();
    let gone = pool.wait_one(LIMIT).expect("it goes on");
    let before = pool.workers()[gone];
    assert!(pool.fork_one(&ring, gone, waits).expect("a worker"), "in its place");
    assert!(pool.fork_one(&ring, 2, waits).expect("a worker"), "a further one");
    let after = pool.workers()[gone];
    assert!(after.running && after.process != before.process && after.worker != before.worker);
    (0..3).for_each(|_| goes_on.open());
    let mut exited: Vec<_> = std::iter::from_fn(|| pool.wait_one(LIMIT)).collect();
    exited.sort();
    assert_eq!(exited, [0, 1, 2], "each once");
    assert_eq!(pool.wait_one(LIMIT), None, "at once: none runs");
    let lines = ring.reader().expect("no other");
    assert_eq!(lines.filter(|item| item.as_ref().expect("ours").line().is_some()).count(), 4);
}

#[test]
fn a_pool_that_is_stopped_tells_its_workers_and_kills_those_that_do_not_listen() {
    let ring = ring(Policy::Block, 64);
    let ready = Gate::new();
    let mut pool = WorkerPool::fork(&ring, 3, |worker, _| -> Result<(), WriteError> {
        if worker == 1 {
            // SAFETY: a plain system call, in a process of its own.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        }
        ready.open();
        wait_for_the_end();
        Ok(())
    })
    .expect("workers");
    (0..3).for_each(|_| ready.pass());
    let signals = pool.stop(Duration::from_millis(50)).iter().map(|worker| {
        std::os::unix::process::ExitStatusExt::signal(&worker.status.expect("awaited here"))
    });
    let signals: Vec<_> = signals.collect();
    assert_eq!(signals[1], Some(libc::SIGKILL));
    assert_eq!((signals[0], signals[2]), (Some(libc::SIGTERM), Some(libc::SIGTERM)));
}

#[test]
fn an_interrupt_ends_the_replaced_workers_too_and_none_is_forked_any_more() {
    if !is_alone(
        "service::pools::an_interrupt_ends_the_replaced_workers_too_and_none_is_forked_any_more",
    ) {
        return;
    }
    let ring = ring(Policy::Block, 64);
    let (ready, lives) = (Gate::new(), AtomicUsize::new(0));
    let serve = |worker: usize, mirror: &mut LineProcMirror| {
        mirror.write_line(format!("worker {worker}").as_bytes())?;
        if worker == 1 && lives.load(SeqCst) == 0 {
            die();
        }
        ready.open();
        wait_for_the_end();
        Ok::<(), WriteError>(())
    };
    let mut pool = WorkerPool::fork(&ring, 2, serve).expect("workers");
    pool.end_on_interrupt().expect("handlers");
    assert_eq!(pool.wait_one(LIMIT), Some(1));
    lives.store(1, SeqCst);
    // More than were there when it was asked for.
    for number in 1..6 {
        assert!(pool.fork_one(&ring, number, serve).expect("a worker"));
    }
    (0..6).for_each(|_| ready.pass());
    // SAFETY: a plain system call; the handler runs before it returns.
    unsafe { libc::raise(libc::SIGTERM) };
    pool.respawn(&ring, serve, |_, _| true).expect("none is forked");
    assert!(pool.workers().len() == 6 && pool.workers().iter().all(|worker| !worker.running));
    assert!(!pool.fork_one(&ring, 0, serve).expect("none is forked"));
    assert_eq!(ring.reader().expect("no other").filter_map(Result::ok).count(), 14);
}

/// A child of a process whose threads print finds no lock of theirs.
#[test]
fn a_pool_of_a_process_whose_threads_print_and_log_forks_again() {
    if !is_alone("service::pools::a_pool_of_a_process_whose_threads_print_and_log_forks_again") {
        return;
    }
    let (ring, sink) = (ring(Policy::Block, 64), Kept::default());
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
    let drain = drain.spawn().expect("a thread");
    let log = ring.writer().expect("a writer");
    let (done, is_done) = mpsc::channel::<()>();
    let is_done = std::sync::Mutex::new(is_done);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let is_over = || is_done.lock().expect("no panic").try_recv();
                while is_over() == Err(mpsc::TryRecvError::Empty) {
                    let (_out, _err) = (io::stdout().lock(), io::stderr().lock());
                    log.record(Level::Info, "busy").expect("it logs");
                }
            });
        }
        let serve = |worker: usize, _: &mut LineProcMirror| {
            io::Write::flush(&mut io::stdout())?;
            drop(io::stderr().lock());
            log.record_fmt(Level::Info, format_args!("worker {worker} serves"))?;
            // Another thread of its own may print too.
            thread::spawn(|| drop(io::stdout().lock())).join().expect("no panic");
            io::Result::Ok(())
        };
        let mut pool = WorkerPool::fork(&ring, 1, serve).expect("workers");
        for _ in 0..30 {
            assert_eq!(pool.wait_one(LIMIT), Some(0), "it hangs");
            assert!(pool.workers()[0].status.is_some_and(|status| status.success()));
            assert!(pool.fork_one(&ring, 0, serve).expect("a worker"));
        }
        pool.join();
        drop(done);
    });
    drop(log);
    assert_eq!(drain.stop(LIMIT).expect("ours").left, 0);
    assert_eq!(count(&sink, "] worker 0 serves\n"), 31);
}

/// That panic has the lock of the hook.
#[test]
fn a_worker_that_is_forked_while_another_thread_panics_runs_and_its_panic_is_told() {
    if !is_alone(
        "service::pools::a_worker_that_is_forked_while_another_thread_panics_runs_and_its_panic_is_told",
    ) {
        return;
    }
    let (begins, has_begun) = mpsc::channel();
    let (ends, may_end) = mpsc::channel::<()>();
    let may_end = std::sync::Mutex::new(may_end);
    std::panic::set_hook(Box::new(move |_| {
        let _ = begins.send(thread::current().name().map(str::to_owned));
        let _ = may_end.lock().expect("no panic").recv();
    }));
    let ring = ring(Policy::Block, 64);
    let fails = |worker: usize, _: &mut LineProcMirror| -> Result<(), WriteError> {
        std::panic::panic_any(format!("worker {worker} is unlucky"))
    };
    let mut pool = WorkerPool::fork(&ring, 1, fails).expect("a worker");
    let panics = thread::Builder::new().name("panics".to_owned());
    let panics = panics.spawn(|| std::panic::panic_any(7)).expect("a thread");
    assert_eq!(has_begun.recv().expect("it panics").as_deref(), Some("panics"));
    assert!(pool.fork_one(&ring, 1, fails).expect("a worker"));
    let mut exited = [0, 1].map(|_| pool.wait_one(LIMIT).expect("it runs"));
    exited.sort();
    assert_eq!(exited, [0, 1]);
    drop(ends);
    assert!(panics.join().is_err());
    assert!(has_begun.try_recv().is_err(), "no worker's panic came to the hook");
    let lines = ring.reader().expect("no other").filter_map(|item| match item.expect("ours") {
        linering::Item::Line(line) => Some(line.to_string()),
        _ => None,
    });
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for worker in 0..2 {
        let told = format!("worker {worker} is unlucky");
        assert!(lines.iter().any(|line| line.contains(&told)), "{lines:?}");
    }
}

#[test]
fn four_hundred_threads_and_eight_processes_log_at_a_time() {
    const THREADS: usize = 400;
    const PROCESSES: usize = 8;
    const LINES: usize = 5;
    if !is_alone("service::pools::four_hundred_threads_and_eight_processes_log_at_a_time") {
        return;
    }
    let ring = LineRing::new(Options::new().lines(1024)).expect("a ring");
    let sink = Kept::default();
    let log = ring.writer().expect("a writer");
    // Of one process: its number, and those of its threads.
    let many = |process: &str, threads: usize, begin: &(dyn Fn() + Sync)| {
        let (log, together) = (&log, &Barrier::new(threads));
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|number| {
                    scope.spawn(move || {
                        if together.wait().is_leader() {
                            begin();
                        }
                        together.wait();
                        (0..LINES).try_for_each(|line| {
                            let text = format_args!("{process}: {number} says {line}");
                            log.record_fmt(Level::Info, text)
                        })
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })
    };
    let (ready, begins) = (Gate::new(), Gate::new());
    let serve = |worker: usize, _: &mut LineProcMirror| {
        let begin = || {
            ready.open();
            begins.pass();
        };
        many(&format!("process {worker}"), THREADS / PROCESSES, &begin)
    };
    let mut pool = WorkerPool::fork(&ring, PROCESSES, serve).expect("workers");
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
    let drain = drain.ends(Ends::Failures).spawn().expect("a thread");
    let begin = || {
        (0..PROCESSES).for_each(|_| ready.pass());
        (0..PROCESSES).for_each(|_| begins.open());
    };
    many("the parent", THREADS, &begin).expect("each of them logs");
    assert!(pool.join().iter().all(|worker| worker.status.is_some_and(|s| s.success())));
    drop(log);
    let totals = drain.stop(LIMIT).expect("ours");
    assert_eq!((totals.lines, totals.lost, totals.left), (2 * (THREADS * LINES) as u64, 0, 0));
    let mut found: Vec<_> = sink
        .lines()
        .iter()
        .map(|line| line.split_once("] ").expect("a head").1.to_owned())
        .collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 2 * THREADS * LINES, "each once");
}
