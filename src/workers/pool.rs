//! [`WorkerPool`]: forks workers, gives each a mirror, and collects how they exit.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::thread;

use std::backtrace::Backtrace;

use crate::buffer::proc_buffer::LineProcBuffer;
use crate::error::{MirrorError, PoolError, ReadError, SystemError, cannot};
use crate::handles::line_ring::LineRing;
use crate::handles::mirror::LineProcMirror;
use crate::handles::seat::Seat;
use crate::line::item::{End, Ended};

/// Forked worker processes, each with a mirror of one ring or buffer.
///
/// ```
/// use std::io::Write;
/// use linering::{LineProcBuffer, WorkerPool};
///
/// let buffer = LineProcBuffer::new(10)?;
/// let mut pool = WorkerPool::fork(&buffer, 4, |worker, mirror| {
///     writeln!(mirror, "worker {worker}")
/// })?;
/// let ends = pool.wait(&buffer)?;
/// assert_eq!(ends.len(), 4);
/// assert_eq!(buffer.read(None)?.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping the pool leaves its workers running.
#[doc(alias("fork", "processes"))]
#[must_use = "the workers of a pool that is dropped are not awaited"]
#[derive(Debug)]
pub struct WorkerPool {
    workers: Vec<Worker>,
    /// The seat of each, given up when its worker exits without having opened it.
    seats: Vec<Seat>,
}

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

/// How often a pool that waits looks for workers that have exited.
const REAP_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
/// Exit code of a worker that sent an error.
const FAILED: i32 = 1;

thread_local! {
    /// The backtrace of the last panic, for the worker that catches it.
    static PANIC_TRACE: RefCell<Option<Backtrace>> = const { RefCell::new(None) };
}

impl WorkerPool {
    /// Forks `count` workers. Each runs `work` with its number from 0 and its mirror, then exits.
    ///
    /// An `Err` or a panic becomes [`send_error`](LineProcMirror::send_error) and exit code 1, all
    /// else is an EOF and 0. A worker that cannot open its mirror exits with 1, and its seat
    /// counts as cancelled.
    ///
    /// **Threads**: a forked child has the calling thread alone. Locks that other threads held at
    /// that moment stay locked in it, so fork before you start threads, or let `work` use none
    /// of what they lock.
    ///
    /// # Errors
    ///
    /// More workers than the ring has mirrors or seats, or the system's refusal to fork; the
    /// workers forked by then are killed and awaited.
    pub fn fork<F, E>(ring: &impl AsRef<LineRing>, count: usize, work: F) -> Result<Self, PoolError>
    where
        F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
        E: Into<Box<dyn Error>>,
    {
        let segment = ring.as_ref().segment();
        let (mirrors, seats) = (segment.cells().len() - 1, segment.tickets().len());
        if count > mirrors {
            return Err(MirrorError::TooManyMirrors { limit: mirrors }.into());
        }
        if count > seats {
            return Err(MirrorError::TooManySeats { limit: seats }.into());
        }
        let mut pool = Self { workers: Vec::new(), seats: Vec::new() };
        for number in 0..count {
            match fork_worker(ring.as_ref(), number, &work) {
                Ok((worker, seat)) => {
                    pool.workers.push(worker);
                    pool.seats.push(seat);
                }
                Err(error) => {
                    pool.signal(libc::SIGKILL);
                    pool.join();
                    return Err(error);
                }
            }
        }
        Ok(pool)
    }

    /// The workers, in the order of their numbers, with what is known of how they exited.
    pub fn workers(&mut self) -> &[Worker] {
        self.reap(libc::WNOHANG);
        &self.workers
    }

    /// Sends a signal to every worker that runs.
    pub fn signal(&self, signal: i32) {
        for worker in self.workers.iter().filter(|worker| worker.running) {
            // SAFETY: a plain system call. The process is a child of ours that was not awaited, so
            // its number has not been given to another.
            unsafe { libc::kill(worker.process as i32, signal) };
        }
    }

    /// Waits until every worker has exited, and says how. Reaps these processes and no others.
    ///
    /// Does not drain: with a ring that blocks its writers, drain first.
    pub fn join(&mut self) -> &[Worker] {
        self.reap(0);
        &self.workers
    }

    /// Drains `buffer` until every worker's mirror has ended, then joins the workers.
    ///
    /// # Errors
    ///
    /// As [`LineProcBuffer::wait`]. After [`end_on_interrupt`](Self::end_on_interrupt) a signal
    /// ends the workers, and this goes on draining what they had written.
    pub fn wait(&mut self, buffer: &LineProcBuffer) -> Result<Vec<Ended<'static>>, PoolError> {
        loop {
            // A worker that dies before it opens its mirror is known here alone.
            self.reap(libc::WNOHANG);
            match buffer.wait_timeout(REAP_EVERY) {
                Err(ReadError::Interrupted) if interrupts() > 0 => {}
                other => {
                    if let Some(mut ends) = other? {
                        self.join();
                        self.tell_exits(&mut ends);
                        return Ok(ends);
                    }
                }
            }
        }
    }

    /// From now on Ctrl-C (SIGINT) and SIGTERM end this pool's workers with SIGTERM, and this
    /// process goes on to drain what they wrote. A second one ends this process as usual, and
    /// so does the first once all have been awaited.
    ///
    /// Installs signal handlers for the whole process, once; the last pool that asked for it is the
    /// one ended.
    ///
    /// # Errors
    ///
    /// The system's refusal.
    pub fn end_on_interrupt(&self) -> Result<(), PoolError> {
        let processes =
            self.workers.iter().filter(|w| w.running).map(|w| AtomicI32::new(w.process as i32));
        // Leaked: the handler may be reading it at any time.
        let list = Box::leak(Box::new(processes.collect::<Vec<_>>()));
        INTERRUPTS.store(0, Ordering::Relaxed);
        // ORD to_end:A, release; pairs with to_end:B and to_end:C; the list is complete.
        TO_END.store(list, Ordering::Release);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            set_handler(signal, end_workers as *const () as libc::sighandler_t)
                .map_err(cannot("install a signal handler"))?;
        }
        Ok(())
    }

    /// Says of the dead what this pool alone knows, since it has awaited them.
    fn tell_exits(&self, ends: &mut [Ended<'_>]) {
        for ended in ends.iter_mut().filter(|ended| ended.end == End::Died && ended.exit.is_none())
        {
            let worker = self.workers.iter().find(|worker| worker.worker == ended.writer_id);
            ended.exit = worker.and_then(|worker| worker.status);
        }
    }

    fn reap(&mut self, flags: i32) {
        for (worker, seat) in self.workers.iter_mut().zip(&self.seats) {
            if worker.running
                && let Some(status) = reap(worker.process as i32, flags)
            {
                (worker.running, worker.status) = (false, status);
                // Nothing, if it was opened.
                seat.cancel();
            }
        }
    }
}

fn fork_worker<F, E>(ring: &LineRing, number: usize, work: &F) -> Result<(Worker, Seat), PoolError>
where
    F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
    E: Into<Box<dyn Error>>,
{
    let seat = ring.seat()?;
    // What is buffered now would be printed by both processes.
    let _ = io::stdout().flush();
    // SAFETY: the child runs `work` and leaves by `_exit`; what that may touch is said in
    // `WorkerPool::fork`.
    match unsafe { libc::fork() } {
        -1 => {
            seat.cancel();
            Err(SystemError::new("fork a worker", io::Error::last_os_error()).into())
        }
        0 => {
            // Nothing may unwind from here: above is the parent's code. `send_error` runs the
            // user's `Display`.
            let run = AssertUnwindSafe(|| {
                let code = run_worker(&seat, number, work);
                let _ = io::stdout().flush();
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
    for signal in [libc::SIGINT, libc::SIGTERM] {
        if !TO_END.load(Ordering::Relaxed).is_null() {
            let _ = set_handler(signal, libc::SIG_DFL);
        }
    }
    let mut mirror = match seat.open() {
        Ok(mirror) => mirror,
        Err(error) => {
            let _ =
                writeln!(io::stderr(), "linering: worker {number} cannot open its mirror: {error}");
            seat.cancel();
            return FAILED;
        }
    };
    let (own, before) = (thread::current().id(), panic::take_hook());
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == own {
            PANIC_TRACE.set(Some(Backtrace::capture()));
        } else {
            before(panic);
        }
    }));
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
fn reap(process: i32, flags: i32) -> Option<Option<ExitStatus>> {
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
    // SAFETY: null, or a list that is never freed.
    // ORD to_end:B, acquire; pairs with to_end:A; the list is complete.
    if let Some(list) = unsafe { TO_END.load(Ordering::Acquire).as_ref() } {
        for entry in list {
            let _ = entry.compare_exchange(process, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
    let mut status = 0;
    // SAFETY: the integer lives during the call.
    let reaped = unsafe { libc::waitpid(process, &raw mut status, 0) };
    Some((reaped == process).then(|| ExitStatus::from_raw(status)))
}

// ----------------------------------------------------------------------------------------- signals

/// The processes that an interrupt ends; 0 for one that has been awaited.
static TO_END: AtomicPtr<Vec<AtomicI32>> = AtomicPtr::new(ptr::null_mut());
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

/// The handler: atomics and `kill`, which are all that a handler may use.
extern "C" fn end_workers(signal: i32) {
    // SAFETY: this thread's own, which a handler may use; the code that was interrupted gets it
    // back as it was.
    let errno = unsafe { *libc::__errno_location() };
    let mut any = false;
    // SAFETY: null, or a list that is never freed.
    // ORD to_end:C, acquire; pairs with to_end:A; as to_end:B.
    if let Some(list) = unsafe { TO_END.load(Ordering::Acquire).as_ref() } {
        for process in
            list.iter().map(|entry| entry.load(Ordering::Relaxed)).filter(|process| *process > 0)
        {
            // SAFETY: a plain system call on a child that was not awaited.
            unsafe { libc::kill(process, libc::SIGTERM) };
            any = true;
        }
    }
    if INTERRUPTS.fetch_add(1, Ordering::Relaxed) > 0 || !any {
        let _ = set_handler(signal, libc::SIG_DFL);
        // SAFETY: a plain system call.
        unsafe { libc::raise(signal) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn set_handler(signal: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: a plain C struct, for which zeros are valid: no flags, so system calls are
    // interrupted.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler;
    // SAFETY: the struct lives during the call, and the handler does what a handler may.
    if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
