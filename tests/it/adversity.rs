//! What a process does to a ring by the way: forks beside it, descriptors that run out, children
//! that others reap, readers that are gone.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use linering::{LineBuffer, LineProcBuffer, LineRing, Options, Policy, WorkerPool, WriteError};

use crate::common::{Child, fork, use_up_descriptors, wait_for_the_end};

/// A ring of four short lines.
fn ring(options: Options) -> LineRing {
    LineRing::new(options.lines(4).line_bytes(64)).expect("a ring")
}

/// Opens a mirror and writes until the ring is full.
fn filled(ring: &LineRing) -> linering::LineProcMirror {
    let mut mirror = ring.mirror().expect("a mirror");
    (0..4).for_each(|i| mirror.write_line(i.to_string().as_bytes()).expect("room"));
    mirror
}

#[test]
fn a_fork_beside_a_registration_takes_no_lock_along() {
    let ring = ring(Options::new().mirrors(1).seats(1 << 20));
    let over = AtomicBool::new(false);
    let (children, refused) = thread::scope(|scope| {
        let opener = scope.spawn(|| {
            let mut refused = 0;
            while !over.load(SeqCst) {
                // The one before was dropped.
                refused += u32::from(ring.mirror().is_err());
            }
            refused
        });
        let children: Vec<Child> = (0..100).map(|_| fork(wait_for_the_end)).collect();
        over.store(true, SeqCst);
        (children, opener.join().expect("no panic"))
    });
    let last = ring.mirror();
    children.into_iter().for_each(Child::end);
    assert_eq!(refused, 0, "a living child has the lock of a cell");
    drop(last.expect("every mirror was dropped, though the children live"));
}

#[test]
fn a_writer_without_free_descriptors_goes_on_waiting() {
    let limit = Duration::from_millis(200);
    let ring =
        ring(Options::new().policy(Policy::Block).block_limit(limit).reader_grace(Duration::ZERO));
    let _reader = ring.reader().expect("the first");
    fork(|| {
        let mut mirror = filled(&ring);
        use_up_descriptors();
        u8::from(
            !matches!(mirror.write_line(b"one more"), Err(WriteError::TimedOut(found)) if found == limit),
        )
    })
    .succeeds();
}

#[test]
fn a_reader_without_free_descriptors_goes_on_reading() {
    let ring = ring(Options::new());
    let mut mirror = filled(&ring);
    fork(|| {
        let mut reader = ring.reader().expect("the first");
        use_up_descriptors();
        for _ in 0..4 {
            if !matches!(reader.recv(), Ok(Some(_))) {
                return 1;
            }
        }
        // Longer than it takes until locks are tried.
        u8::from(!matches!(reader.recv_timeout(Duration::from_millis(300)), Ok(None))) * 2
    })
    .succeeds();
    mirror.send_eof().expect("nothing unfinished");
}

#[test]
fn the_grace_time_for_a_reader_is_waited_once() {
    let ring = ring(Options::new().reader_grace(Duration::from_millis(100)));
    let mut mirror = filled(&ring);
    let mut took = || {
        let began = Instant::now();
        let error = mirror.write_line(b"one more").expect_err("no reader");
        assert!(matches!(error, WriteError::ReaderGone(_)), "{error}");
        began.elapsed()
    };
    let first = took();
    let next: Duration = (0..20).map(|_| took()).sum();
    assert!(next < 10 * first, "the first took {first:?}, the next 20 {next:?}");
    // A reader that comes later is noticed.
    let reader = ring.reader().expect("the first");
    thread::scope(|scope| {
        scope.spawn(|| {
            mirror.write_line(b"at last").and_then(|()| mirror.send_eof()).expect("a reader")
        });
        assert_eq!(
            reader.filter(|item| item.as_ref().is_ok_and(|item| item.line().is_some())).count(),
            5
        );
    });
}

#[test]
fn a_line_of_several_slots_that_was_cleared_does_not_come_back() {
    let buffer = LineBuffer::with_options(10, Options::new().line_bytes(64)).expect("a buffer");
    thread::scope(|scope| {
        let write = || {
            (&buffer).write_all(&[b'z'; 100]).expect("open");
            // The reader has some of it.
            assert_eq!(buffer.len().expect("ours"), 1);
            buffer.clear().expect("ours");
        };
        scope.spawn(write).join().expect("no panic");
    });
    writeln!(&buffer, "next").expect("open");
    let lines = buffer.read(None).expect("ours");
    assert_eq!(lines.iter().map(ToString::to_string).collect::<Vec<_>>(), ["next"]);
}

#[test]
fn a_worker_that_somebody_else_has_reaped_has_no_status() {
    fork(|| {
        // The kernel reaps then.
        // SAFETY: a plain system call.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let buffer = LineProcBuffer::new(10).expect("a buffer");
        let work = |_, _: &mut linering::LineProcMirror| Err(io::Error::other("no"));
        let mut pool = WorkerPool::fork(&buffer, 1, work).expect("a process");
        let Ok(ends) = pool.wait(&buffer) else { return 1 };
        let worker = pool.join()[0];
        u8::from(ends[0].end != linering::End::Error || worker.running || worker.status.is_some())
            * 2
    })
    .succeeds();
}

#[test]
fn more_workers_than_mirrors_are_refused_before_any_is_forked() {
    let buffer = LineProcBuffer::with_options(10, Options::new().mirrors(3)).expect("a buffer");
    for count in [4, usize::MAX] {
        let work = |_, _: &mut linering::LineProcMirror| Ok::<(), io::Error>(());
        let error = WorkerPool::fork(&buffer, count, work).expect_err("too many");
        assert!(error.to_string().starts_with("all 3 mirrors of the ring are open"), "{error}");
    }
    assert!(buffer.wait().expect("ours").is_empty(), "no seat was kept");
}

#[test]
fn a_worker_that_dies_before_it_has_its_mirror_does_not_keep_the_pool_waiting() {
    for _ in 0..20 {
        let buffer = LineProcBuffer::new(10).expect("a buffer");
        let work = |_, _: &mut linering::LineProcMirror| Ok::<(), io::Error>(());
        let mut pool = WorkerPool::fork(&buffer, 3, work).expect("processes");
        // Some have their mirror by now, most have not.
        pool.signal(libc::SIGKILL);
        assert_eq!(pool.wait(&buffer).expect("ours").len(), 3);
    }
}

#[test]
fn an_error_that_panics_when_it_is_shown_stays_in_its_worker() {
    #[derive(Debug)]
    struct Panics;
    impl std::fmt::Display for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("an error of an error")
        }
    }
    impl std::error::Error for Panics {}
    let parent = std::process::id();
    let buffer = LineProcBuffer::new(10).expect("a buffer");
    let pool = WorkerPool::fork(&buffer, 1, |_, _| Err(Panics));
    // Were it to leave `fork` in the child, this line would run twice.
    assert_eq!(std::process::id(), parent);
    let mut pool = pool.expect("a process");
    pool.wait(&buffer).expect("ours");
    assert_eq!(pool.join()[0].status.and_then(|status| status.code()), Some(1));
}

#[test]
fn lines_of_threads_without_cells_say_how_much_of_them_is_missing() {
    let options = Options::new().mirrors(1).line_bytes(64).max_line(100);
    let buffer = LineBuffer::with_options(10, options).expect("a buffer");
    // The one cell.
    (&buffer).write_all(b"first").expect("open");
    let write = || {
        (&buffer).write_all(&[b'x'; 90]).expect("open");
        (&buffer).write_all(&[b'x'; 1000]).expect("open");
        (&buffer).write_all(b"\nshort\n").expect("open");
    };
    thread::scope(|scope| scope.spawn(write).join().expect("no panic"));
    let lines = buffer.read(None).expect("ours");
    assert_eq!((lines[0].bytes.len(), lines[0].truncated, lines[0].missing), (100, true, 990));
    assert_eq!((lines[1].to_string(), lines[1].truncated), ("short".to_owned(), false));
}
