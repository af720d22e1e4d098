//! A worker process: its fork, its life, and its exit.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::signals::{self, Blocked};
use crate::buffer::thread_writers;
use crate::error::{PoolError, SystemError};
use crate::handles::line_ring::LineRing;
use crate::handles::mirror::LineProcMirror;
use crate::handles::seat::Seat;
use crate::sys::process::Process;

/// One worker process.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Worker {
    /// Its process.
    pub process: u32,
    /// The number of its mirror, as in [`Line::writer_id`](crate::Line::writer_id).
    pub worker: u32,
    /// Whether it still ran when the pool last looked.
    pub running: bool,
    /// How it exited; `None` while it runs, and if other code of this process has reaped it.
    pub status: Option<ExitStatus>,
}

/// Exit code of a worker that sent an error.
const FAILED: i32 = 1;

thread_local! {
    /// The backtrace of the last panic, for the worker that catches it.
    static PANIC_TRACE: RefCell<Option<Backtrace>> = const { RefCell::new(None) };
    /// Whether this thread's panics are caught here.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// From now on a worker's panic leaves its trace, and is not printed.
fn keep_traces() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if IS_WORKER.get() {
            PANIC_TRACE.set(Some(Backtrace::capture()));
        } else {
            before(panic);
        }
    }));
}

/// Before a fork: whether the child may set a hook of its own. The panic of another thread has the
/// hook's lock, which would be locked for ever in the child; so this process, if it has other
/// threads, has the hook, once.
fn may_child_set_hook() -> bool {
    static IS_SET: AtomicBool = AtomicBool::new(false);
    if Process::has_one_thread() {
        return true;
    }
    if !thread::panicking() && !IS_SET.swap(true, Relaxed) {
        keep_traces();
    }
    false
}

/// Forks a worker, which runs `work` and leaves.
pub(super) fn fork_worker<F, E>(
    ring: &LineRing,
    number: usize,
    work: &F,
) -> Result<(Worker, Seat), PoolError>
where
    F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
    E: Into<Box<dyn Error>>,
{
    let seat = ring.seat()?;
    let sets_hook = may_child_set_hook();
    let blocked = Blocked::new();
    let forked = {
        // The child's own, of which another thread would have them at that moment otherwise, and
        // the child wait for them for ever.
        let mut locks = (io::stdout().lock(), io::stderr().lock());
        // What is buffered now would be printed by both processes.
        let _ = locks.0.flush();
        // SAFETY: the child runs `work` and leaves by `_exit`; what that may touch is said in
        // `WorkerPool::fork`.
        unsafe { libc::fork() }
    };
    match forked {
        -1 => {
            seat.cancel();
            Err(SystemError::new("fork a worker", io::Error::last_os_error()).into())
        }
        0 => {
            // Nothing may unwind from here: above is the parent's code. `send_error` runs the
            // user's `Display`.
            let run = AssertUnwindSafe(|| {
                blocked.give_up_in_child();
                if sets_hook {
                    keep_traces();
                }
                IS_WORKER.set(true);
                let code = run_worker(&seat, number, work);
                let _ = io::stdout().flush();
                // Their destructors do not run: a logger's mirrors end here.
                thread_writers::leave();
                code
            });
            let code = panic::catch_unwind(run).unwrap_or_else(|payload| {
                core::mem::forget(payload);
                FAILED
            });
            // SAFETY: ends this process at once: no destructor of the parent's runs here.
            unsafe { libc::_exit(code) }
        }
        process => Ok((
            Worker {
                process: process as u32,
                worker: seat.writer_id(),
                running: true,
                status: None,
            },
            seat,
        )),
    }
}

/// The worker's life. Never unwinds: above it is the parent's code.
fn run_worker<F, E>(seat: &Seat, number: usize, work: &F) -> i32
where
    F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
    E: Into<Box<dyn Error>>,
{
    let mut mirror = match seat.open() {
        Ok(mirror) => mirror,
        Err(error) => {
            let _ =
                writeln!(io::stderr(), "linering: worker {number} cannot open its mirror: {error}");
            seat.cancel();
            return FAILED;
        }
    };
    let result =
        panic::catch_unwind(AssertUnwindSafe(|| work(number, &mut mirror).map_err(Into::into)));
    let sent = match result {
        Ok(Ok(())) => return i32::from(mirror.send_eof().is_err()) * FAILED,
        Ok(Err(error)) => mirror.send_error_untraced(&*error),
        Err(payload) => {
            let trace = PANIC_TRACE.take().unwrap_or_else(Backtrace::disabled);
            mirror.send_panic_traced(&*payload, &trace)
        }
    };
    if let Err(error) = sent {
        let _ = writeln!(io::stderr(), "linering: worker {number} cannot send its error: {error}");
    }
    FAILED
}

/// Waits for one child; `None` if it still runs, `Some(None)` if it is not known how it exited.
pub(super) fn reap(process: i32, flags: i32) -> Option<Option<ExitStatus>> {
    // First without reaping, so that the signal handler never sees a number that was given to
    // another process.
    loop {
        // SAFETY: a plain C struct, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        // SAFETY: the struct lives during the call.
        let waited = unsafe {
            libc::waitid(
                libc::P_PID,
                process as u32,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT | flags,
            )
        };
        // SAFETY: filled by `waitid`, or still zero.
        match (waited, unsafe { info.si_pid() }) {
            (0, 0) => return None,
            (0, _) => break,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // Other code of this process has reaped it.
            _ => break,
        }
    }
    signals::forget(process);
    let known = Process::of(process as u32);
    let mut status = 0;
    // SAFETY: the integer lives during the call.
    let reaped = unsafe { libc::waitpid(process, &raw mut status, 0) };
    let status = (reaped == process).then(|| ExitStatus::from_raw(status));
    if let (Some(known), Some(status)) = (known, status) {
        // The reader of its ring may be another thread's, which cannot ask the system any more.
        known.remember_exit(status);
    }
    Some(status)
}
