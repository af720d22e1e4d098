//! Signals interrupt a wait that can go on, or end a pool whose lines are drained.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;

use linering::{End, LineProcBuffer, ReadError, WorkerPool, WriteError};

use super::{kinds, small, small_ring, texts};
use crate::common::{Gate, fork, interrupt_with};

extern "C" fn ignore(_: i32) {}

#[test]
fn a_signal_interrupts_a_wait_that_can_go_on_then() {
    // In a child: a handler is the whole process's, which other tests share.
    fork(|| {
        let buffer = small(10);
        buffer.set_interruptible(true);
        let seat = buffer.seat().expect("a seat");
        interrupt_with(libc::SIGUSR2, ignore);
        // SAFETY: a plain call, for this thread.
        let waiting = unsafe { libc::pthread_self() };
        let interrupted = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !interrupted.load(SeqCst) {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(waiting, libc::SIGUSR2) };
                    thread::yield_now();
                }
            });
            let error = buffer.wait().expect_err("a seat is open, so only the signal ends this");
            interrupted.store(true, SeqCst);
            assert!(matches!(error, ReadError::Interrupted), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Interrupted);
        });
        seat.open().expect("a mirror").write_line(b"after").expect("open");
        let ends = loop {
            match buffer.wait() {
                // One that was sent before.
                Err(ReadError::Interrupted) => {}
                other => break other.expect("ours"),
            }
        };
        assert_eq!(kinds(ends), [(0, End::Eof)]);
        assert_eq!(texts(&buffer), ["after"]);
        0
    })
    .succeeds();
}

#[test]
fn a_signal_does_not_end_a_wait_that_did_not_ask_for_it() {
    // In a child: a handler is the whole process's, which other tests share.
    fork(|| {
        static SIGNALS: AtomicU32 = AtomicU32::new(0);
        extern "C" fn count(_: libc::c_int) {
            SIGNALS.fetch_add(1, SeqCst);
        }
        let buffer = small(10);
        let seat = buffer.seat().expect("a seat");
        interrupt_with(libc::SIGUSR2, count);
        // SAFETY: a plain call, for this thread.
        let waiting = unsafe { libc::pthread_self() };
        thread::scope(|scope| {
            scope.spawn(|| {
                while SIGNALS.load(SeqCst) < 20 {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(waiting, libc::SIGUSR2) };
                    thread::yield_now();
                }
                seat.open().expect("a mirror").write_line(b"after").expect("open");
            });
            let ends = buffer.wait().expect("a signal ends nothing");
            assert_eq!(kinds(ends), [(0, End::Eof)]);
            assert!(SIGNALS.load(SeqCst) >= 20);
        });
        assert_eq!(texts(&buffer), ["after"]);
        0
    })
    .succeeds();
}

#[test]
fn an_interrupt_ends_the_workers_and_their_lines_are_drained() {
    // In a process of its own, since it installs signal handlers.
    fork(|| {
        let Ok(buffer) = LineProcBuffer::with_options(100, small_ring(100)) else { return 1 };
        let written = Gate::new();
        let pool = WorkerPool::fork(&buffer, 3, |worker, mirror| -> Result<(), WriteError> {
            for i in 0..10 {
                mirror.write_line(format!("{worker}:{i}").as_bytes())?;
            }
            written.open();
            loop {
                thread::park();
            }
        });
        let Ok(mut pool) = pool else { return 2 };
        check!(3, pool.end_on_interrupt().is_ok());
        (0..3).for_each(|_| written.pass());
        // SAFETY: a plain system call; the handler runs before it returns.
        unsafe { libc::raise(libc::SIGINT) };
        let Ok(ends) = pool.wait(&buffer) else { return 4 };
        check!(5, kinds(ends) == [(0, End::Died), (1, End::Died), (2, End::Died)]);
        let signals = pool.workers().iter().map(|worker| worker.status.map(|status| status.code()));
        check!(6, signals.eq([Some(None), Some(None), Some(None)]));
        check!(7, buffer.len().is_ok_and(|len| len == 30));
        0
    })
    .succeeds();
}
