//! The copies: starting them, passing signals on, awaiting them.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use linering::{LineRing, Stream};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use super::pump::{Closer, KeptSeat, Pipe};
use crate::failure::{Failure, note};

/// The running copies.
#[derive(Debug, Default)]
pub struct Workers {
    children: Vec<Child>,
    state: Arc<Mutex<State>>,
}

/// What the thread that watches signals knows too.
#[derive(Debug, Default)]
struct State {
    /// Those that were not awaited: only their numbers are still theirs.
    alive: Vec<u32>,
    /// To end the others when one has failed, once all are started.
    halts: bool,
    /// Those that were told to end since another had failed.
    halted: Option<Vec<u32>>,
    /// The signal that asked for the end, and when.
    asked: Option<(i32, Instant)>,
    /// What closes the pipes, once there is that.
    closer: Option<Closer>,
}

impl State {
    fn signal(&self, signal: i32) {
        for process in &self.alive {
            // SAFETY: a plain system call on a child that was not awaited.
            unsafe { libc::kill(*process as i32, signal) };
        }
    }

    fn halt_if_failed(&mut self) {
        if self.halts
            && self.halted.is_none()
            && self.alive.iter().any(|process| has_failed(*process))
        {
            let running = self.alive.iter().copied().filter(|process| !has_ended(*process));
            self.halted = Some(running.collect());
            self.signal(SIGTERM);
        }
    }

    /// Once all were told to end and have ended, what they left running is not waited for.
    fn close_if_over(&self) {
        let is_ending = self.asked.is_some() || self.halted.is_some();
        if let Some(closer) = self.closer.as_ref().filter(|_| is_ending)
            && self.alive.iter().all(|process| has_ended(*process))
        {
            closer.close();
        }
    }

    /// Passes a signal on; one that comes again a moment later kills.
    fn ask(&mut self, signal: i32, passes_on: bool) {
        match self.asked {
            Some((_, first)) if signal != SIGHUP && first.elapsed() >= MOMENT => {
                self.signal(libc::SIGKILL)
            }
            Some(_) => {}
            None => {
                self.asked = Some((signal, Instant::now()));
                if passes_on {
                    self.signal(signal);
                }
            }
        }
    }
}

impl Workers {
    /// Starts a worker for each command, and gives the pipes from them. If one cannot be started,
    /// none stays.
    pub fn start(
        &mut self,
        ring: &LineRing,
        commands: &[Vec<OsString>],
    ) -> Result<Vec<Pipe>, Failure> {
        let count = commands.len();
        // Two pipes for each, and what starting one takes for a moment.
        let former = raise_descriptors(2 * count as u64 + 64);
        let mut pipes = Vec::with_capacity(2 * count);
        for (worker, command) in commands.iter().enumerate() {
            let mut copy = Command::new(&command[0]);
            copy.args(&command[1..]);
            copy.env("LINERING_WORKER", worker.to_string())
                .env("LINERING_WORKERS", count.to_string());
            let seat = ring.seat_labelled(&worker.to_string());
            let seat =
                seat.map_err(|error| Failure::Failed(format!("cannot keep a seat: {error}")))?;
            copy.env("LINERING_SEAT", seat.to_string());
            let seat = Arc::new(KeptSeat(seat));
            if let Some(former) = former {
                // What select() can handle is the worker's own affair.
                // SAFETY: one plain system call, which a forked child may make.
                unsafe { copy.pre_exec(move || set_descriptors(&former)) };
            }
            copy.stdin(if count == 1 { Stdio::inherit() } else { Stdio::null() });
            let mut child =
                copy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| {
                    self.kill();
                    let which = if count == 1 {
                        String::new()
                    } else {
                        format!(" (worker {worker} of {count})")
                    };
                    Failure::NotStarted(format!(
                        "cannot start {}{which}: {error}",
                        command[0].display()
                    ))
                })?;
            if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
                let kept = Arc::clone(&seat);
                pipes.push(Pipe { worker, stream: Stream::Stdout, end: out.into(), seat: kept });
                pipes.push(Pipe { worker, stream: Stream::Stderr, end: err.into(), seat });
            }
            let mut state = self.lock();
            state.alive.push(child.id());
            if let Some((signal, _)) = state.asked {
                // It came before this one was there.
                state.signal(signal);
            }
            drop(state);
            self.children.push(child);
        }
        Ok(pipes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the first worker that fails ends the others.
    pub fn halt(&self) {
        let mut state = self.lock();
        state.halts = true;
        // One may have failed before.
        state.halt_if_failed();
    }

    /// From now on, when all have ended that were told to, the pipes are closed: what they leave
    /// running is not waited for.
    pub fn close_at_end(&self, closer: Closer) {
        let mut state = self.lock();
        state.closer = Some(closer);
        // All may have ended before.
        state.close_if_over();
    }

    pub fn processes(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    fn kill(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// From now on, for workers that are started later too, a signal that asks for an end is passed
    /// on, unless a terminal sent it, which sends it to all; the second one kills.
    pub fn watch_signals(&self) -> io::Result<()> {
        // The process that started us may want some ignored, as nohup does: by the workers too.
        let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = SignalsInfo::<WithOrigin>::new(heeded.chain([SIGCHLD]))?;
        let state = Arc::clone(&self.state);
        let watch = move || {
            for origin in signals.forever() {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                match (origin.signal, origin.cause) {
                    (SIGCHLD, _) => state.halt_if_failed(),
                    (signal, cause) => state.ask(signal, !matches!(cause, Cause::Kernel)),
                }
                state.close_if_over();
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
    }

    /// Whether this one was told to end since another had failed.
    pub fn was_halted(&self, worker: usize) -> bool {
        let process = self.children.get(worker).map(Child::id);
        self.lock()
            .halted
            .as_ref()
            .zip(process)
            .is_some_and(|(halted, process)| halted.contains(&process))
    }

    /// Awaits every copy: how each of them ended, `None` if the system does not tell.
    pub fn wait(&mut self) -> Vec<Option<ExitStatus>> {
        let mut statuses = Vec::new();
        for worker in 0..self.children.len() {
            let process = self.children[worker].id();
            let waited = wait_without_reaping(process);
            // Before the number can be another's.
            self.lock().alive.retain(|alive| *alive != process);
            let status = waited.and_then(|()| self.children[worker].wait());
            statuses.push(
                status
                    .inspect_err(|error| {
                        note(format_args!("cannot await worker {worker}: {error}"))
                    })
                    .ok(),
            );
        }
        statuses
    }
}

/// None stays behind, however this ends.
impl Drop for Workers {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sees to it that this process may have so many descriptors, if it may; gives the limit that was
/// before, if it was changed.
fn raise_descriptors(needed: u64) -> Option<libc::rlimit> {
    let mut former = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct lives during the call.
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut former) } == 0;
    let raised = libc::rlimit { rlim_cur: needed.min(former.rlim_max), ..former };
    let is_less = is_known && former.rlim_cur < raised.rlim_cur;
    (is_less && set_descriptors(&raised).is_ok()).then_some(former)
}

fn set_descriptors(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the struct lives during the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A second signal within this time is the first one, sent twice: by a terminal and a shell, say.
const MOMENT: Duration = Duration::from_millis(200);

fn is_ignored(signal: i32) -> bool {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call; nothing is
    // changed.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        libc::sigaction(signal, core::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

fn wait_without_reaping(process: u32) -> io::Result<()> {
    look_at(process, 0).map(drop)
}

/// Whether a child that was not awaited is over.
fn has_ended(process: u32) -> bool {
    look_at(process, libc::WNOHANG).map_or(true, |info| info.si_code != 0)
}

/// Whether a child that was not awaited is over, and not with exit code 0.
fn has_failed(process: u32) -> bool {
    let Ok(info) = look_at(process, libc::WNOHANG) else { return false };
    // SAFETY: filled by `waitid`, or still zero.
    let status = unsafe { info.si_status() };
    info.si_code != 0 && (info.si_code, status) != (libc::CLD_EXITED, 0)
}

fn look_at(process: u32, flags: i32) -> io::Result<libc::siginfo_t> {
    loop {
        // SAFETY: a plain C struct, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT | flags;
        // SAFETY: the struct lives during the call.
        match unsafe { libc::waitid(libc::P_PID, process, &raw mut info, flags) } {
            0 => return Ok(info),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}
