//! What the supervisor says and is told.

use std::time::Duration;

use crate::run::end::End;

/// Which processes were sent a signal that came here too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This one alone.
    Us,
    /// The process group.
    Group,
    /// All that there are.
    All,
}

/// Whose processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Job(usize),
}

/// What a walk over the descendants found.
#[derive(Debug, Default)]
pub struct Walk {
    /// How many live on and can be waited for.
    pub left: usize,
    /// The jobs whose workers lived when they were told.
    pub told: Vec<usize>,
}

/// Why a job could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStarted {
    pub sentence: String,
    /// The exit code that says so.
    pub code: u8,
}

/// What is said of a job that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub job: usize,
    pub end: End,
    pub kind: Verdict,
    /// What it took.
    pub took: Duration,
    pub attempt: u32,
    /// It was told to end before.
    pub was_told: bool,
}

impl Report {
    /// What is said of a job of this name.
    pub fn sentence(&self, name: &str) -> String {
        let end = self.end.predicate();
        match self.kind {
            Verdict::TimedOut => format!("worker {name} was out of time and {end}"),
            Verdict::Again => format!("worker {name} {end}: started again"),
            _ => format!("worker {name} {end}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Success,
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// It failed, and is started again.
    Again,
    /// It was told to end, or its output has no reader.
    Excused,
}

/// What does as the supervisor says.
pub trait System {
    /// Whether another job may be started: what others have left may have to be printed first.
    fn has_room(&self) -> bool;

    fn start(&mut self, job: usize) -> Result<(), NotStarted>;

    /// Passes a signal on to one worker, unless it was among those that were sent it.
    fn tell(&mut self, job: usize, signal: i32, reach: Reach);

    /// Tells each process that was not told this yet, unless it was among those that were sent it.
    fn tell_all(&mut self, scope: Scope, signal: i32, reach: Reach) -> Walk;

    /// Closes a job's pipes, or all, once what is in them was read.
    fn close(&mut self, scope: Scope);

    /// Names the processes that keep a job's output open.
    fn name_holders(&mut self, job: usize);

    fn report(&mut self, report: Report);

    fn note(&mut self, sentence: String);
}
