//! What the supervisor has done: processes are started, told, walked over and reaped.

mod launch;
mod tree;
mod witness;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use signal_hook::consts::{SIGCONT, SIGKILL, SIGTSTP, SIGWINCH};

use super::backlog::Backlog;
use super::end::End;
use super::mailbox::Mailbox;
use super::printer::Told;
use super::pump::Order;
use super::supervisor::{NotStarted, Reach, Report, Scope, System, Verdict, Walk};
use super::unsaid::Unsaid;

pub use launch::{Inputs, Keyboard, Launcher, Outputs};
pub use witness::Witnesses;

/// What one job runs.
#[derive(Clone, Debug)]
pub struct Job {
    /// What its tag may say.
    pub name: String,
    pub command: Vec<OsString>,
}

/// The processes of the run.
#[derive(Debug)]
pub struct Processes {
    launcher: Launcher,
    witnesses: Witnesses,
    pump: Mailbox<Order>,
    printer: Mailbox<Told>,
    unsaid: Unsaid,
    backlog: Backlog,
    /// The worker of each job that was not reaped yet.
    workers: HashMap<usize, i32>,
    jobs: HashMap<i32, usize>,
    /// What `/proc/PID/fd` shows of the pipes of each job.
    pipes: HashMap<usize, Vec<PathBuf>>,
    /// Which process was told what.
    told: HashSet<(tree::Id, i32)>,
    /// Those that may not be told.
    foreign: HashSet<tree::Id>,
}

impl Processes {
    pub fn new(
        launcher: Launcher,
        witnesses: Witnesses,
        pump: Mailbox<Order>,
        printer: Mailbox<Told>,
        unsaid: Unsaid,
        backlog: Backlog,
    ) -> io::Result<Self> {
        // What a worker leaves behind becomes ours.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self {
            launcher,
            witnesses,
            pump,
            printer,
            unsaid,
            backlog,
            workers: HashMap::new(),
            jobs: HashMap::new(),
            pipes: HashMap::new(),
            told: HashSet::new(),
            foreign: HashSet::new(),
        })
    }

    pub fn witnesses(&mut self) -> &mut Witnesses {
        &mut self.witnesses
    }

    /// Reaps every child that has ended: the workers among them, and how each ended.
    pub fn reap(&mut self) -> Vec<(usize, End)> {
        let mut ends = Vec::new();
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((process, status))) => {
                    let process = process.as_raw_nonzero().get();
                    if let Some(job) = self.jobs.remove(&process) {
                        // One that was given up may have been started again meanwhile.
                        if self.workers.get(&job) == Some(&process) {
                            self.workers.remove(&job);
                            ends.push((job, End::of(status)));
                        }
                    } else {
                        self.witnesses.reaped(process);
                    }
                }
                Err(Errno::INTR) => {}
                _ => return ends,
            }
        }
    }

    /// Has each terminal of the workers the size of ours.
    fn resize(&self) {
        if let Some(size) = self.launcher.size() {
            self.pump.put(Order::Resize(size));
        }
    }

    /// The living processes of `scope`, but for our own helpers.
    fn processes(&self, scope: Scope) -> Vec<tree::Process> {
        let all = tree::all();
        let helpers = self.witnesses.ids();
        let is_helper = |process: &tree::Process| helpers.contains(&process.id.number);
        let us = std::process::id() as i32;
        match scope {
            Scope::All => tree::below(all, |process| process.parent == us && !is_helper(process)),
            Scope::Job(job) => {
                let worker = self.workers.get(&job).copied();
                tree::below(all, |process| {
                    Some(process.id.number) == worker
                        || process.parent == us
                            && !self.jobs.contains_key(&process.id.number)
                            && !is_helper(process)
                            && tree::job_of(process) == Some(job)
                })
            }
        }
    }
}

/// Readable when a witness has reported a signal.
impl AsFd for Processes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.witnesses.as_fd()
    }
}

impl System for Processes {
    fn has_room(&self) -> bool {
        self.backlog.has_room()
    }

    fn start(&mut self, job: usize) -> Result<(), NotStarted> {
        let started = self.launcher.start(job)?;
        self.workers.insert(job, started.process as i32);
        self.jobs.insert(started.process as i32, job);
        let shown = started.pipes.iter().filter_map(|pipe| shown_as(&pipe.end));
        self.pipes.insert(job, started.names.into_iter().chain(shown).collect());
        // Before its first line.
        let mirrors = started.pipes.len() + 1;
        self.backlog.take(mirrors);
        self.printer.put(Told::Started { worker: job, process: started.process, mirrors });
        self.pump.put(Order::Add(started.pipes));
        Ok(())
    }

    fn tell(&mut self, job: usize, signal: i32, reach: Reach) {
        if signal == SIGWINCH && self.launcher.has_terminals() {
            // The kernel tells them.
            return self.resize();
        }
        let Some(process) = self.workers.get(&job).copied() else { return };
        let Some((pid, named)) = Pid::from_raw(process).zip(Signal::from_named_raw(signal)) else {
            return;
        };
        let group = tree::group_of(process);
        let was_sent = match reach {
            Reach::Us => false,
            Reach::Group => group == tree::group_of(0),
            Reach::All => true,
        };
        if was_sent {
            return;
        }
        // In a session of its own it would not heed a terminal's stop.
        let is_apart = tree::session_of(process) != tree::session_of(0);
        let named = if signal == SIGTSTP && is_apart { Signal::STOP } else { named };
        // It is ours and was not reaped: the number is its own. One that has ended takes no harm.
        let _ = if matches!(signal, SIGTSTP | SIGCONT) && group == process {
            rustix::process::kill_process_group(pid, named)
        } else {
            rustix::process::kill_process(pid, named)
        };
    }

    fn tell_all(&mut self, scope: Scope, signal: i32, reach: Reach) -> Walk {
        let mut walk = Walk::default();
        let group = tree::group_of(0);
        let found = self.processes(scope);
        if found.is_empty() {
            // Perhaps there is no /proc.
            for (job, process) in &self.workers {
                if scope == Scope::All || scope == Scope::Job(*job) {
                    // A child that was not reaped.
                    tree::tell_child(*process, signal);
                    walk.told.push(*job);
                    walk.left += 1;
                }
            }
            return walk;
        }
        for process in found {
            if self.foreign.contains(&process.id) {
                continue;
            }
            walk.left += 1;
            walk.told.extend(self.jobs.get(&process.id.number));
            let is_new = self.told.insert((process.id, signal));
            let was_sent = match reach {
                Reach::Us => false,
                Reach::Group => process.group == group,
                Reach::All => true,
            };
            if was_sent || !is_new && signal != SIGKILL {
                continue;
            }
            if tree::tell(&process, signal) == Err(Errno::PERM) {
                walk.left -= 1;
                self.foreign.insert(process.id);
                self.note(format!(
                    "cannot tell process {} ({}) to end: it is another user's",
                    process.id.number, process.name
                ));
            }
        }
        walk
    }

    fn close(&mut self, scope: Scope) {
        self.pump.put(match scope {
            Scope::All => Order::CloseAll,
            Scope::Job(job) => Order::Close(job),
        });
    }

    fn name_holders(&mut self, job: usize) {
        let pipes = self.pipes.get(&job).map_or(&[][..], Vec::as_slice);
        let mut holders = tree::holders(pipes);
        if holders.is_empty() {
            // What is left is in our own hands, and comes.
            return;
        }
        let more = holders.len().saturating_sub(MOST_NAMED);
        holders.truncate(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.note(format!(
            "worker {} has ended, but its output is kept open by {}{more} \
             (--linger TIME: how long to wait for it)",
            self.launcher.name(job),
            holders.join(", ")
        ));
    }

    fn report(&mut self, report: Report) {
        let is_told = !matches!(report.kind, Verdict::Success | Verdict::Excused);
        let sentence = || self.unsaid.put(report.sentence(self.launcher.name(report.job)));
        self.printer.put(Told::Ended(report, is_told.then(sentence)));
    }

    fn note(&mut self, sentence: String) {
        self.printer.put(Told::Note(self.unsaid.put(sentence)));
    }
}

/// So many processes are named in a note.
const MOST_NAMED: usize = 5;

/// What a descriptor is shown as in `/proc/PID/fd` of each process that has it.
fn shown_as(descriptor: &impl AsFd) -> Option<PathBuf> {
    let stat = rustix::fs::fstat(descriptor).ok()?;
    let is_pipe = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo;
    is_pipe.then(|| PathBuf::from(format!("pipe:[{}]", stat.st_ino)))
}
