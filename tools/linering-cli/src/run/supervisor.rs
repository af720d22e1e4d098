//! Decides what becomes of the jobs: a state machine that makes no system call, has no clock of its
//! own, and knows no lines. It is told what happened and what time it is, and has a [`System`] do
//! what follows. `docs/run.md` has the rules.

mod stop;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::end::End;
use super::plan::{Plan, TOLD, back_off};
use stop::Stop;
pub use words::{NotStarted, Reach, Report, Scope, System, Verdict, Walk};

/// A second signal within this time is the first one, sent twice: by a terminal and a shell, say.
const MOMENT: Duration = Duration::from_millis(200);
/// A second one within this time is meant to kill.
const HURRY: Duration = Duration::from_secs(5);
/// How long a worker's output may stay open after its end before it is said why.
const HOLD_PATIENCE: Duration = Duration::from_secs(1);
/// Jobs that are started before signals are looked at again.
const STARTS_AT_ONCE: usize = 16;
/// How long a start waits for room.
const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// What ran for so long is started again as if for the first time.
const STEADY: Duration = Duration::from_secs(60);

/// Signals that asked for the end.
#[derive(Clone, Copy, Debug)]
struct Asked {
    signal: i32,
    at: Duration,
    times: u32,
}

/// A job that was started and is not over.
#[derive(Debug)]
struct Active {
    since: Duration,
    attempt: u32,
    ended: Option<Duration>,
    /// Its pipes are.
    is_open: bool,
    is_noted: bool,
    is_closed: bool,
    again: bool,
    /// It was told to end since it took too long;
    timed_out: Option<Stop>,
    /// and nothing is left of it.
    is_swept: bool,
}

/// What became of all jobs.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub failures: usize,
    /// The end of the last one.
    pub last: Option<(End, Verdict)>,
    /// The signal that asked for the end.
    pub asked: Option<i32>,
    /// Why a job could not be started.
    pub not_started: Option<NotStarted>,
    /// Outputs are not waited for.
    pub in_a_hurry: bool,
    /// Processes are left that do not end though they were killed.
    pub has_left: bool,
}

#[derive(Debug)]
pub struct Supervisor<S> {
    pub system: S,
    plan: Plan,
    /// The first job that was never started.
    next: usize,
    next_start: Duration,
    active: BTreeMap<usize, Active>,
    /// Jobs that are started again, from when, and how often they were.
    again: Vec<(Duration, usize, u32)>,
    /// Jobs that were told to end.
    told: BTreeSet<usize>,
    successes: usize,
    outcome: Outcome,
    asked: Option<Asked>,
    stop: Option<Stop>,
    /// No descendant is left, since all were told to end.
    is_swept: bool,
    /// Nothing more is started.
    is_closed: bool,
    is_unread: bool,
    /// This process was told to quit; and a worker did.
    quits: [bool; 2],
}

impl<S: System> Supervisor<S> {
    pub fn new(plan: Plan, system: S) -> Self {
        let next = plan.next_to_do(0);
        Self {
            system,
            plan,
            next,
            next_start: Duration::ZERO,
            active: BTreeMap::new(),
            again: Vec::new(),
            told: BTreeSet::new(),
            successes: 0,
            outcome: Outcome::default(),
            asked: None,
            stop: None,
            is_swept: false,
            is_closed: false,
            is_unread: false,
            quits: [false; 2],
        }
    }

    /// Whether every job is over, and every process that was to end.
    pub fn is_over(&self) -> bool {
        let none_waits = self.is_closed || (self.next == self.plan.jobs && self.again.is_empty());
        let are_over = if self.outcome.in_a_hurry {
            // Their output is stuck, perhaps.
            self.active.values().all(|active| active.ended.is_some())
        } else {
            self.active.is_empty()
        };
        none_waits && are_over && (self.stop.is_none() || self.is_swept)
    }

    /// Whether all were told to end.
    pub fn was_stopped(&self) -> bool {
        self.stop.is_some()
    }

    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    // -------------------------------------------------------------------------------- what happens

    /// Workers have ended, all that have by now.
    pub fn ended(&mut self, now: Duration, ends: &[(usize, End)]) {
        for (job, end) in ends {
            self.ended_one(now, *job, *end);
        }
        let halt = self.plan.halt.filter(|_| !self.is_closed);
        if let Some(halt) = halt {
            let count = if halt.of_success { self.successes } else { self.outcome.failures };
            if count >= halt.after {
                self.is_closed = true;
                if halt.now {
                    self.stop(now, TOLD, Reach::Us);
                }
            }
        }
        self.tick(now);
    }

    fn ended_one(&mut self, now: Duration, job: usize, end: End) {
        let Some(active) = self.active.get_mut(&job) else { return };
        active.ended = Some(now);
        self.quits[1] |= end == End::Killed(SIGQUIT);
        let took = now.saturating_sub(active.since);
        let is_excused =
            self.told.contains(&job) || self.is_unread && end.is_unread(self.plan.has_terminals);
        let (attempt, restarts) = (active.attempt, self.plan.restarts);
        let may_run_again =
            attempt < restarts.most && !is_excused && !self.is_closed && self.stop.is_none();
        let is_fault = !end.is_success() || active.timed_out.is_some();
        active.again = may_run_again && (restarts.always || is_fault);
        let kind = match active.timed_out {
            _ if is_excused && is_fault => Verdict::Excused,
            _ if active.again && is_fault => Verdict::Again,
            Some(_) => Verdict::TimedOut,
            None if is_fault => Verdict::Failed,
            None => Verdict::Success,
        };
        if !active.again {
            self.outcome.failures +=
                usize::from(matches!(kind, Verdict::Failed | Verdict::TimedOut));
            self.successes += usize::from(kind == Verdict::Success);
            self.outcome.last = Some((end, kind));
        }
        let was_told = self.told.contains(&job);
        self.system.report(Report { job, end, kind, took, attempt, was_told });
        self.finish_if_over(now, job);
    }

    /// A job's pipes are at their end, or were closed. What is due is left to the next
    /// [`tick`](Self::tick): more of this may be known already.
    pub fn output_ended(&mut self, now: Duration, job: usize) {
        if let Some(active) = self.active.get_mut(&job) {
            active.is_open = false;
        }
        self.finish_if_over(now, job);
    }

    /// What the workers write has no reader any more.
    pub fn unread(&mut self) {
        self.is_unread = true;
        self.system.close(Scope::All);
    }

    /// Something of ours has failed, which was said.
    pub fn failed(&mut self, now: Duration) {
        self.system.close(Scope::All);
        self.stop(now, TOLD, Reach::Us);
    }

    /// A signal has come, and so many others had it.
    pub fn signal(&mut self, now: Duration, signal: i32, reach: Reach) {
        if !matches!(signal, SIGINT | SIGTERM | SIGHUP) {
            self.quits[0] |= signal == SIGQUIT;
            for job in self.active.iter().filter(|(_, active)| active.ended.is_none()) {
                self.system.tell(*job.0, signal, reach);
            }
            return;
        }
        let times = match self.asked {
            // Twice at once.
            Some(asked) if asked.signal == signal && now < asked.at + MOMENT => return,
            // A hang-up comes from each of several places.
            Some(_) if signal == SIGHUP => return,
            Some(asked) => asked.times + 1,
            None => 1,
        };
        let is_idle = self.active.values().all(|active| active.ended.is_some());
        let is_hurry = self.asked.is_some_and(|asked| {
            asked.signal == signal && now < asked.at + HURRY || times > 2 || is_idle
        });
        self.asked = Some(Asked { signal, at: now, times });
        self.outcome.asked = Some(signal);
        if is_hurry {
            self.outcome.in_a_hurry = true;
            self.kill(now);
            self.tick(now);
        } else {
            self.stop(now, signal, reach);
        }
    }

    // ---------------------------------------------------------------------------------------- time

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.look_at_all(now);
        let jobs: Vec<usize> = self
            .active
            .iter()
            .filter(|(_, active)| self.due_of(active).is_some_and(|due| due <= now))
            .map(|(job, _)| *job)
            .collect();
        for job in jobs {
            self.tick_job(now, job);
        }
        self.start_some(now);
    }

    fn tick_job(&mut self, now: Duration, job: usize) {
        let Some(active) = self.active.get_mut(&job) else { return };
        match active.ended {
            None => {
                if active.timed_out.is_none() {
                    active.timed_out = Some(Stop::new(TOLD, now, &self.plan));
                }
            }
            Some(_) if !active.is_open => {}
            Some(ended) => {
                if !active.is_noted && ended + HOLD_PATIENCE <= now {
                    active.is_noted = true;
                    self.system.name_holders(job);
                }
                if self.plan.linger.is_some_and(|linger| ended + linger <= now) {
                    active.is_closed = true;
                    self.system.close(Scope::Job(job));
                }
            }
        }
        self.look_at_late(now, job);
    }

    /// When something of a job is due.
    fn due_of(&self, active: &Active) -> Option<Duration> {
        let late = active.timed_out.filter(|_| !active.is_swept).map(|stop| stop.look_at);
        let mine = match active.ended {
            None if active.timed_out.is_some() => None,
            None => self.plan.timeout.map(|limit| active.since + limit),
            Some(_) if !active.is_open => None,
            Some(ended) => {
                let note = (!active.is_noted).then_some(ended + HOLD_PATIENCE);
                let linger = self.plan.linger.filter(|_| !active.is_closed);
                earlier(note, linger.map(|linger| ended + linger))
            }
        };
        earlier(late, mine)
    }

    /// When the next thing is due, if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        let stop = self.stop.filter(|_| !self.is_swept).map(|stop| stop.look_at);
        let jobs = self.active.values().filter_map(|active| self.due_of(active)).min();
        earlier(earlier(stop, jobs), self.start_due())
    }

    /// When the next job is to be started.
    fn start_due(&self) -> Option<Duration> {
        if self.is_closed || self.active.len() >= self.plan.at_once {
            return None;
        }
        let again = self.again.iter().map(|(from, ..)| *from).min();
        let first = (self.next < self.plan.jobs).then_some(Duration::ZERO);
        earlier(again, first).map(|from| from.max(self.next_start))
    }

    // --------------------------------------------------------------------------------------- start

    fn start_some(&mut self, now: Duration) {
        for _ in 0..STARTS_AT_ONCE {
            if self.start_due().is_none_or(|due| due > now) {
                return;
            }
            if !self.system.has_room() {
                self.next_start = now + ROOM_PAUSE;
                return;
            }
            let due = self.again.iter().position(|(from, ..)| *from <= now);
            let (job, attempt) = match due {
                Some(index) => {
                    let (_, job, attempt) = self.again.swap_remove(index);
                    (job, attempt)
                }
                None => {
                    let job = self.next;
                    self.next = self.plan.next_to_do(job + 1);
                    (job, 0)
                }
            };
            match self.system.start(job) {
                Ok(()) => {
                    let active = Active {
                        since: now,
                        attempt,
                        ended: None,
                        is_open: true,
                        is_noted: false,
                        is_closed: false,
                        again: false,
                        timed_out: None,
                        is_swept: false,
                    };
                    self.active.insert(job, active);
                    self.next_start = now + self.plan.delay;
                }
                Err(not_started) => {
                    self.outcome.not_started = Some(not_started);
                    self.kill(now);
                    return self.look_at_all(now);
                }
            }
        }
    }

    /// A job whose worker has ended and whose output is at its end is over, or waits for its next
    /// start.
    fn finish_if_over(&mut self, now: Duration, job: usize) {
        let Some(active) = self.active.get(&job) else { return };
        let is_settled = active.timed_out.is_none() || active.is_swept || self.is_swept;
        let Some(ended) = active.ended.filter(|_| !active.is_open && is_settled) else { return };
        let (again, attempt) = (active.again, active.attempt);
        let was_steady = ended.saturating_sub(active.since) >= STEADY;
        self.active.remove(&job);
        if again {
            let wait = back_off(if was_steady { 0 } else { attempt });
            self.again.push((now + wait, job, attempt.saturating_add(1)));
        }
    }

    /// The signal that this process ends by, if it was told to end or to dump.
    pub fn dies_of(&self) -> Option<i32> {
        self.outcome.asked.or(Some(SIGQUIT).filter(|_| self.quits == [true; 2]))
    }
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
