//! What a process does to a ring by the way: forks beside it, descriptors that run out, children that others reap,
//! readers that are gone.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use linering::{LineBuffer, LineProcBuffer, LineRing, Options, Policy, WorkerPool, WriteError};

mod common;
use common::{Child, fork};

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
    let children: Vec<Child> = thread::scope(|scope| {
        let opener = scope.spawn(|| {
            while !over.load(SeqCst) {
                ring.mirror().expect("the one before was dropped");
            }
        });
        let children = (0..100).map(|_| fork(common::wait_for_the_end)).collect();
        over.store(true, SeqCst);
        opener.join().expect("a child has the lock of a cell");
        children
    });
    ring.mirror().expect("every mirror was dropped, though the children live");
    children.into_iter().for_each(Child::end);
}

#[test]
fn a_writer_without_free_descriptors_goes_on_waiting() {
    let limit = Duration::from_millis(200);
    let ring = ring(Options::new().policy(Policy::Block).block_limit(limit).reader_grace(Duration::ZERO));
    let _reader = ring.reader().expect("the first");
    fork(|| {
        let mut mirror = filled(&ring);
        common::use_up_descriptors();
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
        common::use_up_descriptors();
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
        let error = mirror.write_line(b"one more").expect_err("nobody reads");
        assert!(matches!(error, WriteError::ReaderGone(_)), "{error}");
        began.elapsed()
    };
    let first = took();
    let next: Duration = (0..20).map(|_| took()).sum();
    assert!(next < 10 * first, "the first took {first:?}, the next 20 {next:?}");
    // A reader that comes later is noticed.
    let reader = ring.reader().expect("the first");
    thread::scope(|scope| {
        scope.spawn(|| mirror.write_line(b"at last").and_then(|()| mirror.send_eof()).expect("a reader"));
        assert_eq!(reader.filter(|item| item.as_ref().is_ok_and(|item| item.line().is_some())).count(), 5);
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
        u8::from(ends[0].end != linering::End::Error || worker.running || worker.status.is_some()) * 2
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
