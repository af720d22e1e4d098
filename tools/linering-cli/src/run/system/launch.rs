//! Starting a worker: its pipes or its terminal, its environment, and what the kernel does to it if
//! this process is killed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use linering::{LineRing, Stream};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

use super::Job;
use crate::run::pump::{KeptSeat, Pipe};
use crate::run::supervisor::NotStarted;

/// What workers write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// A pipe for each of stdout and stderr.
    Pipes,
    /// One pipe for both.
    Merged,
    /// A terminal.
    Terminal,
}

/// What a worker is started with.
#[derive(Debug)]
pub struct Launcher {
    ring: LineRing,
    jobs: Vec<Job>,
    outputs: Outputs,
    /// The limit of descriptors that workers have, if ours was raised.
    former: Option<Rlimit>,
}

/// A worker that runs.
#[derive(Debug)]
pub struct Started {
    pub process: u32,
    pub pipes: Vec<Pipe>,
    /// What its terminal is shown as in `/proc/PID/fd`.
    pub names: Vec<PathBuf>,
}

/// The two sides of what a worker writes to.
struct Ends {
    ours: Vec<(Stream, OwnedFd)>,
    out: Stdio,
    err: Stdio,
    names: Vec<PathBuf>,
}

impl Launcher {
    pub fn new(ring: LineRing, jobs: Vec<Job>, outputs: Outputs, at_once: usize) -> Self {
        // Two pipes for each, and what starting one takes for a moment.
        let former = raise_descriptors(2 * at_once as u64 + 64);
        Self { ring, jobs, outputs, former }
    }

    pub fn has_terminals(&self) -> bool {
        self.outputs == Outputs::Terminal
    }

    /// The size of our own terminal.
    pub fn size(&self) -> Option<Winsize> {
        let size = |of: &dyn AsFd| tcgetwinsize(of.as_fd()).ok();
        size(&io::stdout()).or_else(|| size(&io::stderr())).or_else(|| size(&io::stdin()))
    }

    pub fn start(&self, job: usize) -> Result<Started, NotStarted> {
        let count = self.jobs.len();
        let Job { name, command } = &self.jobs[job];
        let failed = |doing: &str, error: &dyn std::fmt::Display| NotStarted {
            sentence: format!("cannot {doing}: {error}"),
            code: OURS,
        };
        let seat = self.ring.seat_labelled(&job.to_string());
        let seat = seat.map_err(|error| failed("keep a seat", &error))?;
        let mut worker = Command::new(&command[0]);
        worker.args(&command[1..]);
        worker
            .env("LINERING_WORKER", job.to_string())
            .env("LINERING_WORKERS", count.to_string())
            .env("LINERING_SEAT", seat.to_string());
        let seat = Arc::new(KeptSeat(seat));
        worker.stdin(if count == 1 { Stdio::inherit() } else { Stdio::null() });
        let ends = self.ends().map_err(|error| failed("make a worker's pipes", &error))?;
        worker.stdout(ends.out).stderr(ends.err);
        let (us, former) = (std::process::id(), self.former);
        let is_terminal = self.has_terminals();
        let prepare = move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            if std::os::unix::process::parent_id() != us {
                // Killed meanwhile.
                return Err(rustix::io::Errno::SRCH.into());
            }
            if is_terminal {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdout())?;
            }
            // What select() can handle is the worker's own affair.
            former.map_or(Ok(()), |former| Ok(setrlimit(Resource::Nofile, former)?))
        };
        // SAFETY: plain system calls, which a forked child may make.
        unsafe { worker.pre_exec(prepare) };
        let child = worker.spawn().map_err(|error| {
            let which = match count {
                1 => String::new(),
                _ => format!(" (worker {name} of {count})"),
            };
            NotStarted {
                sentence: format!("cannot start {}{which}: {error}", command[0].display()),
                code: code_of(&error),
            }
        })?;
        let pipe = |(stream, end)| Pipe { worker: job, stream, end, seat: Arc::clone(&seat) };
        let pipes = ends.ours.into_iter().map(pipe).collect();
        Ok(Started { process: child.id(), pipes, names: ends.names })
    }

    fn ends(&self) -> io::Result<Ends> {
        match self.outputs {
            Outputs::Pipes => {
                let (out, to_out) = io::pipe()?;
                let (err, to_err) = io::pipe()?;
                let ours = vec![(Stream::Stdout, out.into()), (Stream::Stderr, err.into())];
                Ok(Ends { ours, out: to_out.into(), err: to_err.into(), names: Vec::new() })
            }
            Outputs::Merged => {
                let (both, to) = io::pipe()?;
                let ours = vec![(Stream::Stdout, both.into())];
                Ok(Ends { ours, out: to.try_clone()?.into(), err: to.into(), names: Vec::new() })
            }
            Outputs::Terminal => {
                let (ours, theirs, name) = self.terminal()?;
                let (out, err) = (theirs.try_clone()?.into(), theirs.into());
                Ok(Ends { ours: vec![(Stream::Stdout, ours)], out, err, names: vec![name] })
            }
        }
    }

    /// A terminal of our terminal's size, which passes on what is written to it as it is.
    fn terminal(&self) -> io::Result<(OwnedFd, OwnedFd, PathBuf)> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let name = PathBuf::from(std::ffi::OsString::from(name.to_string_lossy().into_owned()));
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, rustix::fs::Mode::empty())?;
        let mut modes = tcgetattr(&theirs)?;
        modes.output_modes -= OutputModes::OPOST;
        modes.local_modes -= LocalModes::ECHO;
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        if let Some(size) = self.size() {
            tcsetwinsize(&ours, size)?;
        }
        Ok((ours, theirs, name))
    }
}

/// The exit code for a failure of ours.
pub const OURS: u8 = 125;

/// The exit code for a command that cannot be started.
fn code_of(error: &io::Error) -> u8 {
    match error.raw_os_error() {
        Some(libc::ENOENT) => 127,
        // Not the command's fault.
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) | None => OURS,
        Some(_) => 126,
    }
}

/// Sees to it that this process may have so many descriptors, if it may; gives the limit that was
/// before, if it was changed.
fn raise_descriptors(needed: u64) -> Option<Rlimit> {
    let former = getrlimit(Resource::Nofile);
    let most = former.maximum.unwrap_or(u64::MAX);
    let raised = needed.min(most);
    let is_less = former.current.is_some_and(|current| current < raised);
    let limit = Rlimit { current: Some(raised), maximum: former.maximum };
    (is_less && setrlimit(Resource::Nofile, limit).is_ok()).then_some(former)
}
