//! The copies: starting them, passing signals on, awaiting them.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use linering::{LineRing, Stream};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use super::pump::{KeptSeat, Pipe};
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
    /// One has failed, and the others were told to end.
    halted: bool,
}

impl State {
    fn signal(&self, signal: i32) {
        for process in &self.alive {
            // SAFETY: a plain system call on a child that was not awaited.
            unsafe { libc::kill(*process as i32, signal) };
        }
    }

    fn halt_if_failed(&mut self) {
        if self.halts && !self.halted && self.alive.iter().any(|process| has_failed(*process)) {
            self.halted = true;
            self.signal(SIGTERM);
        }
    }
}

impl Workers {
    /// Starts a worker for each command, and gives the pipes from them. If one cannot be started, none stays.
    pub fn start(&mut self, ring: &LineRing, commands: &[Vec<OsString>]) -> Result<Vec<Pipe>, Failure> {
        let count = commands.len();
        let mut pipes = Vec::with_capacity(2 * count);
        for (worker, command) in commands.iter().enumerate() {
            let mut copy = Command::new(&command[0]);
            copy.args(&command[1..]);
            copy.env("LINERING_WORKER", worker.to_string()).env("LINERING_WORKERS", count.to_string());
            let seat = ring.seat_labelled(&worker.to_string());
            let seat = seat.map_err(|error| Failure::Failed(format!("cannot keep a seat: {error}")))?;
            copy.env("LINERING_SEAT", seat.to_string());
            let seat = Arc::new(KeptSeat(seat));
            copy.stdin(if count == 1 { Stdio::inherit() } else { Stdio::null() });
            let mut child = copy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| {
                self.kill();
                let which = if count == 1 { String::new() } else { format!(" (worker {worker} of {count})") };
                Failure::NotStarted(format!("cannot start {}{which}: {error}", command[0].display()))
            })?;
            if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
                let kept = Arc::clone(&seat);
                pipes.push(Pipe { worker, stream: Stream::Stdout, end: out.into(), seat: kept });
                pipes.push(Pipe { worker, stream: Stream::Stderr, end: err.into(), seat });
            }
            self.lock().alive.push(child.id());
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

    pub fn processes(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    fn kill(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// From now on, for workers that are started later too, a signal that asks for an end is passed on, unless a terminal
    /// sent it, which sends it to all; the second one kills.
    pub fn watch_signals(&self) -> io::Result<()> {
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD])?;
        let state = Arc::clone(&self.state);
        let watch = move || {
            let mut asked = false;
            for origin in signals.forever() {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                match (origin.signal, origin.cause) {
                    (SIGCHLD, _) => state.halt_if_failed(),
                    _ if core::mem::replace(&mut asked, true) => state.signal(libc::SIGKILL),
                    (_, Cause::Kernel) => {}
                    (signal, _) => state.signal(signal),
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
    }

    /// Whether the workers were told to end since one had failed.
    pub fn were_halted(&self) -> bool {
        self.lock().halted
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
                status.inspect_err(|error| note(format_args!("cannot await worker {worker}: {error}"))).ok(),
            );
        }
        statuses
    }
}

fn wait_without_reaping(process: u32) -> io::Result<()> {
    look_at(process, 0).map(drop)
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
