//! The copies: starting them, passing signals on, awaiting them.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use linering::{LineRing, Stream};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use super::pump::{KeptSeat, Pipe};
use crate::failure::{Failure, note};

/// The running copies.
#[derive(Debug, Default)]
pub struct Workers {
    children: Vec<Child>,
    /// Those that were not awaited: only their numbers are still theirs.
    alive: Arc<Mutex<Vec<u32>>>,
}

impl Workers {
    /// Starts `count` copies, and gives the pipes from them. If one cannot be started, none stays.
    pub fn start(
        &mut self,
        ring: &LineRing,
        count: usize,
        command: &[OsString],
    ) -> Result<Vec<Pipe>, Failure> {
        let mut pipes = Vec::with_capacity(2 * count);
        for worker in 0..count {
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
                let copy = if count == 1 { String::new() } else { format!(" (copy {worker} of {count})") };
                Failure::NotStarted(format!("cannot start {}{copy}: {error}", command[0].display()))
            })?;
            if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
                let kept = Arc::clone(&seat);
                pipes.push(Pipe { worker, stream: Stream::Stdout, end: out.into(), seat: kept });
                pipes.push(Pipe { worker, stream: Stream::Stderr, end: err.into(), seat });
            }
            self.lock().push(child.id());
            self.children.push(child);
        }
        Ok(pipes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// From now on, for copies that are started later too, a signal that asks for an end is passed on, unless a terminal sent it, which sends it to all. The
    /// second one kills.
    pub fn pass_signals_on(&self) -> io::Result<()> {
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP])?;
        let alive = Arc::clone(&self.alive);
        let pass_on = move || {
            for (count, origin) in signals.forever().enumerate() {
                let signal = match (count, origin.cause) {
                    (0, Cause::Kernel) => continue,
                    (0, _) => origin.signal,
                    _ => libc::SIGKILL,
                };
                for process in alive.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    // SAFETY: a plain system call on a child that was not awaited.
                    unsafe { libc::kill(*process as i32, signal) };
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(pass_on).map(drop)
    }

    /// Awaits every copy: how each of them ended, `None` if the system does not tell.
    pub fn wait(mut self) -> Vec<Option<ExitStatus>> {
        let mut statuses = Vec::new();
        for worker in 0..self.children.len() {
            let process = self.children[worker].id();
            let waited = wait_without_reaping(process);
            // Before the number can be another's.
            self.lock().retain(|alive| *alive != process);
            let status = waited.and_then(|()| self.children[worker].wait());
            statuses.push(
                status.inspect_err(|error| note(format_args!("cannot await worker {worker}: {error}"))).ok(),
            );
        }
        statuses
    }
}

fn wait_without_reaping(process: u32) -> io::Result<()> {
    loop {
        // SAFETY: a plain C struct, for which zeros are valid.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        // SAFETY: the struct lives during the call.
        let waited =
            unsafe { libc::waitid(libc::P_PID, process, &raw mut info, libc::WEXITED | libc::WNOWAIT) };
        match waited {
            0 => return Ok(()),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}
