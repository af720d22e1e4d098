//! What the supervisor keeps to: how many jobs there are, how many at a time, and what follows
//! from their ends.

use std::collections::BTreeSet;
use std::time::Duration;

use signal_hook::consts::SIGTERM;

/// What was asked for. Times are durations.
#[derive(Clone, Debug)]
pub struct Plan {
    pub jobs: usize,
    /// Those that were done before, and are not started.
    pub done: BTreeSet<usize>,
    /// Jobs at a time.
    pub at_once: usize,
    /// Between two starts.
    pub delay: Duration,
    /// What a job may take.
    pub timeout: Option<Duration>,
    pub restarts: Restarts,
    pub halt: Option<Halt>,
    /// From being told to end to being killed; `None`: never.
    pub kill_after: Option<Duration>,
    /// From a worker's end to the closing of its output; `None`: never.
    pub linger: Option<Duration>,
    /// Each worker has a terminal.
    pub has_terminals: bool,
}

impl Plan {
    /// The first job from this one on that was not done before.
    pub fn next_to_do(&self, from: usize) -> usize {
        (from..self.jobs).find(|job| !self.done.contains(job)).unwrap_or(self.jobs)
    }
}

/// When a job is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// After a success too.
    pub always: bool,
    /// How often, at most.
    pub most: u32,
}

/// When the others are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// After so many failures, or successes.
    pub after: usize,
    pub of_success: bool,
    /// Those that run are told to end; or else no more are started.
    pub now: bool,
}

impl Halt {
    /// Reads `fail=1,now` and the like; the error says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected fail=N or success=N, with ,now or ,soon".to_owned();
        let (when, how) = text.split_once(',').unwrap_or((text, "now"));
        let (what, after) = when.split_once('=').ok_or_else(expected)?;
        let after = after.parse().ok().filter(|after| *after > 0).ok_or_else(expected)?;
        let of_success = match what {
            "fail" => false,
            "success" => true,
            _ => return Err(expected()),
        };
        let now = match how {
            "now" => true,
            "soon" => false,
            _ => return Err(expected()),
        };
        Ok(Self { after, of_success, now })
    }
}

/// What a halt and a time limit tell.
pub const TOLD: i32 = SIGTERM;

/// How long a job waits before it is started again: 0.1 s, and twice as long each time, up to 30 s.
pub fn back_off(attempt: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << attempt.min(10)).min(Duration::from_secs(30))
}
