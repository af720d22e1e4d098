//! Starting a worker: its pipes or its terminal, its environment, and what the kernel does to it if
//! this process is killed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Weak};

use linering::{LineRing, Stream};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

use super::Job;
use crate::run::console::{self, Console};
use crate::run::mailbox::Mailbox;
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

/// What workers read.
#[derive(Debug)]
pub enum Inputs {
    None,
    /// One has our standard input.
    One(usize),
    /// Each reads this file from its beginning.
    All(File),
}

impl Inputs {
    fn of(&self, job: usize) -> io::Result<Stdio> {
        Ok(match self {
            Self::One(one) if *one == job => Stdio::inherit(),
            // An offset of its own.
            Self::All(file) => File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.into(),
            _ => Stdio::null(),
        })
    }
}

/// What a worker is started with.
#[derive(Debug)]
pub struct Launcher {
    ring: LineRing,
    jobs: Vec<Job>,
    outputs: Outputs,
    inputs: Inputs,
    keyboard: Option<Keyboard>,
    /// The limit of descriptors that workers have, if ours was raised.
    former: Option<Rlimit>,
}

/// What is typed for the one worker that reads it, if it has a terminal.
#[derive(Debug)]
pub struct Keyboard {
    pub console: Arc<Console>,
    /// Gets the other side of its terminal, each time that it is started.
    pub to: Mailbox<Weak<File>>,
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
    /// If that is not what the run says.
    input: Option<Stdio>,
    out: Stdio,
    err: Stdio,
    names: Vec<PathBuf>,
}

impl Launcher {
    pub fn new(
        ring: LineRing,
        jobs: Vec<Job>,
        outputs: Outputs,
        inputs: Inputs,
        keyboard: Option<Keyboard>,
        at_once: usize,
    ) -> Self {
        // Two pipes for each, what is kept of its output or files for that, and what starting one
        // takes for a moment.
        let former = raise_descriptors(4 * at_once as u64 + 64);
        Self { ring, jobs, outputs, inputs, keyboard, former }
    }

    /// What a job is called.
    pub fn name(&self, job: usize) -> &str {
        &self.jobs[job].name
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
        let is_answered = matches!(self.inputs, Inputs::One(one) if one == job);
        let keyboard = self.keyboard.as_ref().filter(|_| is_answered);
        let ends = self.ends(keyboard).map_err(|error| failed("make a worker's pipes", &error))?;
        let input = ends.input.map_or_else(|| self.inputs.of(job), Ok);
        worker.stdin(input.map_err(|error| failed("open a worker's standard input", &error))?);
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
        let console = keyboard.map(|keyboard| Arc::clone(&keyboard.console));
        let pipe = |(stream, end): (_, OwnedFd)| Pipe {
            worker: job,
            stream,
            end: Arc::new(end.into()),
            seat: Arc::clone(&seat),
            is_answered,
            console: console.clone(),
        };
        let pipes: Vec<Pipe> = ends.ours.into_iter().map(pipe).collect();
        if let (Some(keyboard), Some(terminal)) = (keyboard, pipes.first()) {
            keyboard.to.put(Arc::downgrade(&terminal.end));
        }
        Ok(Started { process: child.id(), pipes, names: ends.names })
    }

    fn ends(&self, keyboard: Option<&Keyboard>) -> io::Result<Ends> {
        let (input, names) = (None, Vec::new());
        match self.outputs {
            Outputs::Pipes => {
                let (out, to_out) = io::pipe()?;
                let (err, to_err) = io::pipe()?;
                let ours = vec![(Stream::Stdout, out.into()), (Stream::Stderr, err.into())];
                Ok(Ends { ours, input, out: to_out.into(), err: to_err.into(), names })
            }
            Outputs::Merged => {
                let (both, to) = io::pipe()?;
                let ours = vec![(Stream::Stdout, both.into())];
                Ok(Ends { ours, input, out: to.try_clone()?.into(), err: to.into(), names })
            }
            Outputs::Terminal => {
                let (ours, theirs, name) = self.terminal(keyboard)?;
                let input = match keyboard {
                    Some(_) => Some(theirs.try_clone()?.into()),
                    None => None,
                };
                let (out, err) = (theirs.try_clone()?.into(), theirs.into());
                let (ours, names) = (vec![(Stream::Stdout, ours)], vec![name]);
                Ok(Ends { ours, input, out, err, names })
            }
        }
    }

    /// A terminal of our terminal's size, which passes on what is written to it as it is.
    fn terminal(&self, keyboard: Option<&Keyboard>) -> io::Result<(OwnedFd, OwnedFd, PathBuf)> {
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
        if let Some(keyboard) = keyboard {
            keyboard.console.prepare(&mut modes);
        }
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        if keyboard.is_some() {
            console::say_changes(&ours)?;
        }
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
