//! How processes are told to end, and killed when they do not.

use std::time::Duration;

use signal_hook::consts::SIGKILL;

use super::{Reach, Scope, Supervisor, System};
use crate::run::end::End;
use crate::run::plan::{Plan, TOLD};

/// How often descendants are looked at while they are to end: so often at first,
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// and so often if that takes long.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// By this part of the time that it has taken the next look comes later.
const LOOK_LATER: u32 = 20;
/// How long killed processes are waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Processes that are to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// What they were told.
    pub signal: i32,
    pub since: Duration,
    pub kill_at: Option<Duration>,
    pub killed: Option<Duration>,
    pub look_at: Duration,
}

impl Stop {
    pub fn new(signal: i32, now: Duration, plan: &Plan) -> Self {
        let kill_at = plan.kill_after.map(|after| now + after);
        Self { signal, since: now, kill_at, killed: None, look_at: now }
    }

    /// Whether they were killed, and have not ended for too long.
    fn is_hopeless(&self, now: Duration) -> bool {
        self.killed.is_some_and(|killed| killed + KILL_PATIENCE <= now)
    }

    /// Says when they are looked at again.
    pub fn look_again(&mut self, now: Duration) {
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

impl<S: System> Supervisor<S> {
    pub(super) fn stop(&mut self, now: Duration, signal: i32, reach: Reach) {
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

    pub(super) fn kill(&mut self, now: Duration) {
        self.is_closed = true;
        self.is_swept = false;
        let stop = Stop::new(SIGKILL, now, &self.plan);
        self.stop = Some(Stop { kill_at: Some(now), ..stop });
    }

    pub(super) fn look_at_all(&mut self, now: Duration) {
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
        self.stop = Some(stop);
        if !self.is_swept && stop.is_hopeless(now) {
            self.is_swept = true;
            self.leave(now, Scope::All, walk.left);
            self.outcome.in_a_hurry = true;
            self.active.clear();
        }
        if self.is_swept {
            // All that they had written is in the pipes; processes that could not be told may have
            // them still.
            self.system.close(Scope::All);
        }
    }

    pub(super) fn look_at_late(&mut self, now: Duration, job: usize) {
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
        let has_ended = self.active.get(&job).is_some_and(|active| active.ended.is_some());
        let are_over = walk.left == 0 && has_ended;
        if are_over || stop.is_hopeless(now) {
            self.active.entry(job).and_modify(|active| active.is_swept = true);
            if !are_over {
                self.leave(now, Scope::Job(job), walk.left);
            }
            self.system.close(Scope::Job(job));
            self.finish_if_over(now, job);
        }
    }

    /// Goes on without processes that do not end though killed: they wait for a disk, say.
    fn leave(&mut self, now: Duration, scope: Scope, left: usize) {
        self.outcome.has_left = true;
        let of = match scope {
            Scope::All => String::new(),
            Scope::Job(job) => format!(" of worker {job}"),
        };
        let processes = match left {
            0 | 1 => format!("1 process{of} is left: it does not end though killed"),
            _ => format!("{left} processes{of} are left: they do not end though killed"),
        };
        self.system.note(processes);
        let is_of = |job| scope == Scope::All || scope == Scope::Job(job);
        let stuck =
            self.active.iter().filter(|(job, active)| is_of(**job) && active.ended.is_none());
        let stuck: Vec<usize> = stuck.map(|(job, _)| *job).collect();
        // That is what it was told, and all that will be known of it.
        stuck.into_iter().for_each(|job| self.ended_one(now, job, End::Killed(SIGKILL)));
    }
}
