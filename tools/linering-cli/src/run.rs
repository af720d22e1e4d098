//! `linering run`: commands, every line of theirs whole and in one order, and none of their
//! processes left behind. `docs/run.md` has the design; this wires its rooms.

mod args;
mod backlog;
mod console;
mod drain;
mod end;
mod job_log;
mod jobs;
mod losses;
mod mailbox;
mod plan;
mod printer;
mod progress;
mod pump;
mod ring;
mod signals;
mod spool;
mod summary;
mod supervisor;
mod system;
mod unsaid;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use linering::{LineRing, Reader, turn_sigbus_into_errors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGTSTP;

use crate::failure::{Failure, note};
pub use args::Args;
use backlog::Backlog;
use console::{Console, Restored};
use drain::{Desk, Drain, Printed};
use job_log::JobLog;
use mailbox::Mailbox;
use printer::{Printer, Told};
use progress::Progress;
use pump::Order;
use signals::Signals;
use summary::Summary;
use supervisor::{Outcome, Supervisor, System as _, Verdict};
use system::{Inputs, Keyboard, Launcher, Outputs, Processes, Witnesses};
use unsaid::Unsaid;

/// The exit code for a failure of ours, wrong usage included.
pub const OURS: u8 = 125;

/// How long outputs that take nothing are waited for, once there is a hurry; and writers that live
/// on after all was closed.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// What the main thread is told by the others.
#[derive(Debug)]
pub enum Letter {
    /// A worker's pipes are at their end.
    OutputEnded(usize),
    /// What goes to stdout has no reader any more.
    Unread,
    /// Something that goes on without what failed.
    Failed(String),
    /// What the printer could not say in time was said.
    Said,
    /// The last one of the printer.
    Printed(Result<Printed, String>),
}

/// How it ends.
enum Ending {
    Code(u8),
    Signal(i32),
}

/// Runs the commands to their end.
pub fn run(args: &Args) -> ExitCode {
    match try_run(args) {
        Ok(Ending::Code(code)) => ExitCode::from(code),
        Ok(Ending::Signal(signal)) => {
            signals::die_of(signal);
            ExitCode::from(128 + signal as u8)
        }
        Err(failure) => {
            note(&failure);
            ExitCode::from(OURS)
        }
    }
}

fn refused(doing: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Failed(format!("cannot {doing}: {error}"))
}

fn try_run(args: &Args) -> Result<Ending, Failure> {
    let jobs = args.jobs()?;
    // Forked, while there is one thread and nothing that they must not keep.
    let witnesses = Witnesses::start().map_err(refused("start"))?;
    turn_sigbus_into_errors().map_err(refused("watch for signals"))?;
    let style = args.style(&jobs)?;
    let (log, done) = match &args.joblog {
        None => (None, BTreeSet::new()),
        Some(path) if args.resume => {
            let (log, done) = JobLog::resume(path, &jobs)?;
            (Some(log), done)
        }
        Some(path) => {
            let log = JobLog::create(path, &jobs);
            let log = log.map_err(|error| Failure::of_path("write", path, &error))?;
            (Some(log), BTreeSet::new())
        }
    };
    let plan = args.plan(jobs.len(), done)?;
    let inputs = args.inputs(jobs.len())?;
    // A FIFO may wait for its reader here, and a signal ends that.
    let sinks = args.sinks()?;
    let ring = ring::make(args, plan.at_once)?;
    let reader = if args.no_drain { None } else { Some(reader(&ring)?) };

    let signals = Signals::watch().map_err(refused("watch for signals"))?;
    let (letters, told) = (mailbox()?, mailbox()?);
    let orders = mailbox()?;
    let is_alone = jobs.len() == 1;
    let names = jobs.iter().map(|job| job.name.clone()).collect();
    let progress = Progress::new(args.progress, jobs.len());
    let unsaid = Unsaid::default();
    // The other half is for what workers take that link linering.
    let backlog = Backlog::new(ring::seats(plan.at_once) / 2);
    let printer = Printer::new(style, sinks, names, progress, unsaid.clone());
    let summary = Summary::new(jobs.len());
    let desk = Desk::new(printer, summary, told.clone(), log, backlog.clone(), plan.at_once);
    let pump = pump::start(&ring, args.reads(plan.at_once), orders.clone(), letters.clone())?;
    let keyboard = keyboard(args, &inputs)?;
    let console = keyboard.as_ref().map(|keyboard| Restored(Arc::clone(&keyboard.console)));
    let (outputs, at_once) = (args.outputs(), plan.at_once);
    let launcher = Launcher::new(ring.clone(), jobs, outputs, inputs, keyboard, at_once);
    let processes =
        Processes::new(launcher, witnesses, orders.clone(), told.clone(), unsaid.clone(), backlog);
    let processes = processes.map_err(refused("adopt processes"))?;
    let started = match reader {
        None => drain::start_without(ring, desk, letters.clone()),
        Some(reader) => {
            let (wants_table, outlives) = (args.summary, args.outlives());
            let letters = letters.clone();
            drain::start(Drain { reader, desk, wants_table, is_alone, outlives, letters })
        }
    };
    started.map_err(refused("print"))?;

    let linger = plan.linger;
    let supervisor = Supervisor::new(plan, processes);
    let (began, printed, failed, saying) = (Instant::now(), None, false, 0);
    let mut watch =
        Watch { began, signals, letters, unsaid, saying, supervisor, console, printed, failed };
    watch.run();
    orders.put(Order::Finish);
    watch.finish(&told, linger);
    let outcome = watch.supervisor.outcome().clone();
    if matches!(watch.printed, Some(Ok(_))) {
        // It ends, and lets go of the ring, whose name goes with it.
        let _ = pump.join();
    } else {
        forget(args);
    }
    if let Some(not_started) = outcome.not_started {
        if let Some(path) = &args.file {
            // We made it, and it is of no use: it is empty.
            let _ = std::fs::remove_file(path);
        }
        note(not_started.sentence);
        return Ok(Ending::Code(not_started.code));
    }
    if let Some(signal) = watch.supervisor.dies_of() {
        return Ok(Ending::Signal(signal));
    }
    let printed = match watch.printed {
        Some(Ok(printed)) => printed,
        Some(Err(sentence)) => return Err(Failure::Failed(sentence)),
        None => return Ok(Ending::Code(OURS)),
    };
    let is_ours = printed.has_failed || watch.failed;
    let is_strictly_failed = args.strict && printed.has_lost;
    Ok(Ending::Code(if is_ours { OURS } else { verdict(&outcome, is_alone, is_strictly_failed) }))
}

fn reader(ring: &LineRing) -> Result<Reader, Failure> {
    let reader = ring.reader();
    let mut reader =
        reader.map_err(|error| Failure::Failed(format!("cannot read the ring: {error}")))?;
    // The processors are the workers'.
    reader.set_spinning(false);
    Ok(reader)
}

/// What is typed, if a worker with a terminal is to have it. A file or a pipe it reads itself.
fn keyboard(args: &Args, inputs: &Inputs) -> Result<Option<Keyboard>, Failure> {
    if args.outputs() != Outputs::Terminal || !matches!(inputs, Inputs::One(_)) {
        return Ok(None);
    }
    let terminal = rustix::stdio::stdin().try_clone_to_owned();
    let Some(console) = terminal.ok().and_then(Console::new) else { return Ok(None) };
    let (console, to) = (Arc::new(console), mailbox()?);
    console::pass_on(Arc::clone(&console), to.clone()).map_err(refused("read what is typed"))?;
    Ok(Some(Keyboard { console, to }))
}

fn mailbox<T>() -> Result<Mailbox<T>, Failure> {
    Mailbox::new().map_err(refused("make an event descriptor"))
}

/// One worker's own code; of several, how many failed.
fn verdict(outcome: &Outcome, is_alone: bool, is_strictly_failed: bool) -> u8 {
    match outcome.last {
        Some((_, Verdict::TimedOut)) if is_alone => TIMED_OUT,
        Some((end, Verdict::Failed)) if is_alone => end.code() as u8,
        _ => (outcome.failures + usize::from(is_strictly_failed)).min(100) as u8,
    }
}

/// The exit code of one worker that took too long, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// Takes the ring's name away, which a thread that is stuck cannot do.
fn forget(args: &Args) {
    if let Some(name) = args.name.as_ref().filter(|_| args.file.is_none()) {
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// The main thread's watch: signals, letters, children and time.
struct Watch {
    began: Instant,
    signals: Signals,
    letters: Mailbox<Letter>,
    unsaid: Unsaid,
    /// Threads that say something.
    saying: usize,
    supervisor: Supervisor<Processes>,
    console: Option<Restored>,
    /// The printer's last letter.
    printed: Option<Result<Printed, String>>,
    failed: bool,
}

impl Watch {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Until every job is over.
    fn run(&mut self) {
        self.supervisor.tick(self.now());
        while !self.supervisor.is_over() {
            let due = self.supervisor.due().map(|due| due.saturating_sub(self.now()));
            self.wait(due);
        }
    }

    /// Waits for what is still printed, unless there is a hurry.
    fn finish(&mut self, told: &Mailbox<Told>, linger: Option<Duration>) {
        let began = self.now();
        // When writers of the ring itself are waited for no longer, and when nothing is.
        let mut finish_at = linger.map(|linger| began + linger.max(OUTPUT_PATIENCE));
        let mut leave_at = None;
        while self.printed.is_none() || self.saying > 0 || !self.supervisor.is_over() {
            let now = self.now();
            if self.supervisor.was_stopped() || self.supervisor.outcome().has_left {
                finish_at = finish_at.or(Some(now + OUTPUT_PATIENCE));
            }
            if self.supervisor.outcome().in_a_hurry && self.supervisor.is_over() {
                leave_at = leave_at.or(Some(now + OUTPUT_PATIENCE));
            }
            if finish_at.is_some_and(|at| at <= now) {
                finish_at = Some(Duration::MAX);
                told.put(Told::Finish);
            }
            if leave_at.is_some_and(|at| at <= now) {
                return;
            }
            let due = [finish_at, leave_at, self.supervisor.due()].into_iter().flatten().min();
            self.wait(due.map(|due| due.saturating_sub(now)));
        }
    }

    /// Has said what the printer has not, in a thread of its own: stderr may take nothing either.
    fn say_what_is_late(&mut self) {
        let late = self.unsaid.take_late();
        if late.is_empty() {
            return;
        }
        let letters = self.letters.clone();
        let say = move || {
            late.iter().for_each(note);
            letters.put(Letter::Said);
        };
        if thread::Builder::new().name("notes".to_owned()).spawn(say).is_ok() {
            self.saying += 1;
        }
    }

    /// Sleeps until something happens, and takes it in.
    fn wait(&mut self, limit: Option<Duration>) {
        let limits = [limit, self.signals.due_in(), self.unsaid.due_in()];
        let limit = limits.into_iter().flatten().min();
        // Up to the next millisecond, so that it is due then.
        let limit = limit.map(|limit| limit.saturating_add(Duration::from_micros(100)));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut polled = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.letters, PollFlags::IN),
            PollFd::new(&self.supervisor.system, PollFlags::IN),
        ];
        let _ = poll(&mut polled, limit.as_ref());
        for (signal, reach) in self.signals.take(self.supervisor.system.witnesses()) {
            self.supervisor.signal(self.now(), signal, reach);
            match &self.console {
                Some(Restored(console)) if signal == SIGTSTP => {
                    console.around_stop(signals::stop_here);
                }
                None if signal == SIGTSTP => signals::stop_here(),
                _ => {}
            }
        }
        self.say_what_is_late();
        for letter in self.letters.take() {
            match letter {
                Letter::Said => self.saying -= 1,
                Letter::OutputEnded(job) => self.supervisor.output_ended(self.now(), job),
                Letter::Unread => self.supervisor.unread(),
                Letter::Failed(sentence) => {
                    self.failed = true;
                    self.supervisor.system.note(sentence);
                    self.supervisor.failed(self.now());
                }
                Letter::Printed(printed) => {
                    let is_early = !self.supervisor.is_over();
                    self.printed = Some(printed);
                    if is_early {
                        self.supervisor.failed(self.now());
                    }
                }
            }
        }
        // The end of a worker that was sent the same signal is known for what it is then.
        if !self.signals.is_undecided() || self.supervisor.was_stopped() {
            let ends = self.supervisor.system.reap();
            self.supervisor.ended(self.now(), &ends);
        } else {
            self.supervisor.tick(self.now());
        }
    }
}
