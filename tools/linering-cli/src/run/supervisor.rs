//! Decides what becomes of the jobs: a state machine that makes no system call, has no clock of its
//! own, and knows no lines. It is told what happened and what time it is, and has a [`System`] do
//! what follows. `docs/run.md` has the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM};

use super::end::End;
use super::plan::{Plan, TOLD, back_off};

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

/// A second signal within this time is the first one, sent twice: by a terminal and a shell, say.
const MOMENT: Duration = Duration::from_millis(200);
/// A second one within this time is meant to kill.
const HURRY: Duration = Duration::from_secs(5);
/// How often descendants are looked at while they are to end: so often at first,
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// and so often if that takes long.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// By this part of the time that it has taken the next look comes later.
const LOOK_LATER: u32 = 20;
/// How long killed processes are waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a worker's output may stay open after its end before it is said why.
const HOLD_PATIENCE: Duration = Duration::from_secs(1);
/// Jobs that are started before signals are looked at again.
const STARTS_AT_ONCE: usize = 16;
/// What ran for so long is started again as if for the first time.
const STEADY: Duration = Duration::from_secs(60);

/// Processes that are to end.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// What they were told.
    signal: i32,
    since: Duration,
    kill_at: Option<Duration>,
    killed: Option<Duration>,
    look_at: Duration,
}

impl Stop {
    fn new(signal: i32, now: Duration, plan: &Plan) -> Self {
        let kill_at = plan.kill_after.map(|after| now + after);
        Self { signal, since: now, kill_at, killed: None, look_at: now }
    }

    /// Says when they are looked at again.
    fn look_again(&mut self, now: Duration) {
        let since = self.killed.unwrap_or(self.since);
        let gap = (now.saturating_sub(since) / LOOK_LATER).clamp(LOOK_EVERY, LOOK_SELDOM);
        let deadline = match self.killed {
            Some(killed) => Some(killed + KILL_PATIENCE),
            None => self.kill_at,
        };
        let deadline = deadline.filter(|deadline| *deadline > now);
        self.look_at = deadline.map_or(now + gap, |deadline| deadline.min(now + gap));
    }
}

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

    /// A job's pipes are at their end, or were closed.
    pub fn output_ended(&mut self, now: Duration, job: usize) {
        if let Some(active) = self.active.get_mut(&job) {
            active.is_open = false;
        }
        self.finish_if_over(now, job);
        self.tick(now);
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

    // ---------------------------------------------------------------------------------------- stop

    fn stop(&mut self, now: Duration, signal: i32, reach: Reach) {
        self.is_closed = true;
        self.is_swept = false;
        let before = self.stop.unwrap_or_else(|| Stop::new(signal, now, &self.plan));
        if before.killed.is_none() {
            self.stop = Some(Stop { signal, look_at: now + LOOK_EVERY, ..before });
        }
        if reach > Reach::Us {
            // They may have ended by it before the walk.
            let running = self.active.iter().filter(|(_, active)| active.ended.is_none());
            self.told.extend(running.map(|(job, _)| job));
        }
        let walk = self.system.tell_all(Scope::All, signal, reach);
        self.told.extend(walk.told);
        self.tick(now);
    }

    fn kill(&mut self, now: Duration) {
        self.is_closed = true;
        self.is_swept = false;
        let stop = Stop::new(SIGKILL, now, &self.plan);
        self.stop = Some(Stop { kill_at: Some(now), ..stop });
    }

    fn look_at_all(&mut self, now: Duration) {
        let Some(mut stop) = self.stop.filter(|stop| stop.look_at <= now && !self.is_swept) else {
            return;
        };
        if stop.killed.is_none() && stop.kill_at.is_some_and(|at| at <= now) {
            stop.killed = Some(now);
            stop.signal = SIGKILL;
        } else if stop.killed.is_none() && self.active.values().all(|active| active.ended.is_some())
        {
            // Background jobs of a shell ignore what a terminal sends.
            stop.signal = TOLD;
        }
        stop.look_again(now);
        let walk = self.system.tell_all(Scope::All, stop.signal, Reach::Us);
        self.told.extend(walk.told);
        let are_awaited = self.active.values().any(|active| active.ended.is_none());
        self.is_swept = walk.left == 0 && !are_awaited;
        if !self.is_swept && stop.killed.is_some_and(|killed| killed + KILL_PATIENCE <= now) {
            let left = walk.left;
            self.system.note(format!("{left} processes are left: they do not end though killed"));
            self.outcome.in_a_hurry = true;
            self.is_swept = true;
            self.active.clear();
        }
        self.stop = Some(stop);
        if self.is_swept {
            // All that they had written is in the pipes; processes that could not be told may have
            // them still.
            self.system.close(Scope::All);
        }
    }

    fn look_at_late(&mut self, now: Duration, job: usize) {
        let Some(active) = self.active.get_mut(&job) else { return };
        let is_due = |stop: &Stop| !active.is_swept && stop.look_at <= now;
        let Some(mut stop) = active.timed_out.filter(is_due) else { return };
        if stop.killed.is_none() && stop.kill_at.is_some_and(|at| at <= now) {
            stop.killed = Some(now);
            stop.signal = SIGKILL;
        }
        stop.look_again(now);
        active.timed_out = Some(stop);
        let walk = self.system.tell_all(Scope::Job(job), stop.signal, Reach::Us);
        if walk.left == 0 && self.active.get(&job).is_some_and(|active| active.ended.is_some()) {
            self.active.entry(job).and_modify(|active| active.is_swept = true);
            self.system.close(Scope::Job(job));
            self.finish_if_over(now, job);
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
