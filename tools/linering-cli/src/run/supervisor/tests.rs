//! The supervisor alone, with a system that notes what it is to do and a clock that the tests move.

use std::collections::BTreeSet;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1};

use super::*;
use crate::run::plan::{Halt, Restarts};

/// What it was to do.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Start(usize),
    Tell(usize, i32, Reach),
    TellAll(Scope, i32, Reach),
    Close(Scope),
    NameHolders(usize),
    Reported(usize, Verdict),
    Note(String),
}

use Did::{Close, NameHolders, Note, Start, Tell, TellAll};

/// Workers that live until a test says otherwise, and processes that they leave behind.
#[derive(Debug, Default)]
struct Fake {
    did: Vec<Did>,
    told: Vec<Did>,
    alive: BTreeSet<usize>,
    /// Processes without a worker.
    orphans: usize,
    is_full: bool,
    not_started: Option<NotStarted>,
}

impl System for Fake {
    fn has_room(&self) -> bool {
        !self.is_full
    }

    fn start(&mut self, job: usize) -> Result<(), NotStarted> {
        if let Some(not_started) = self.not_started.clone().filter(|_| job > 0) {
            return Err(not_started);
        }
        self.did.push(Start(job));
        self.alive.insert(job);
        Ok(())
    }

    fn tell(&mut self, job: usize, signal: i32, reach: Reach) {
        self.did.push(Tell(job, signal, reach));
    }

    fn tell_all(&mut self, scope: Scope, signal: i32, reach: Reach) -> Walk {
        // Looks that tell nothing new are not noted.
        let told = TellAll(scope, signal, reach);
        if !self.told.contains(&told) {
            self.told.push(told.clone());
            self.did.push(told);
        }
        let is_of = |job: &&usize| scope == Scope::All || scope == Scope::Job(**job);
        let told: Vec<usize> = self.alive.iter().filter(is_of).copied().collect();
        Walk { left: told.len() + self.orphans, told }
    }

    fn close(&mut self, scope: Scope) {
        self.did.push(Close(scope));
    }

    fn name_holders(&mut self, job: usize) {
        self.did.push(NameHolders(job));
    }

    fn report(&mut self, report: Report) {
        self.did.push(Did::Reported(report.job, report.kind));
    }

    fn note(&mut self, sentence: String) {
        self.did.push(Note(sentence));
    }
}

fn plan(jobs: usize) -> Plan {
    Plan {
        jobs,
        done: BTreeSet::new(),
        at_once: jobs,
        delay: Duration::ZERO,
        timeout: None,
        restarts: Restarts { always: false, most: 0 },
        halt: None,
        kill_after: Some(secs(10.0)),
        linger: None,
        has_terminals: false,
    }
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

struct Test {
    supervisor: Supervisor<Fake>,
    now: Duration,
}

impl Test {
    /// A run whose first jobs are started.
    fn new(plan: Plan) -> Self {
        let supervisor = Supervisor::new(plan, Fake::default());
        let mut test = Self { supervisor, now: Duration::ZERO };
        test.at(0.0);
        test
    }

    /// Moves the clock, step by step as things are due.
    fn at(&mut self, seconds: f64) {
        let then = secs(seconds);
        self.supervisor.tick(self.now);
        while let Some(due) = self.supervisor.due().filter(|due| *due <= then) {
            self.now = self.now.max(due);
            self.supervisor.tick(self.now);
        }
        self.now = then;
    }

    fn ends(&mut self, job: usize, end: End) {
        self.ends_with_output_open(job, end);
        self.output_ends(job);
    }

    fn output_ends(&mut self, job: usize) {
        self.supervisor.output_ended(self.now, job);
        self.supervisor.tick(self.now);
    }

    fn ends_with_output_open(&mut self, job: usize, end: End) {
        self.supervisor.system.alive.remove(&job);
        self.supervisor.ended(self.now, &[(job, end)]);
    }

    fn signal(&mut self, signal: i32, reach: Reach) {
        self.supervisor.signal(self.now, signal, reach);
    }

    /// What was done since the last question.
    fn did(&mut self) -> Vec<Did> {
        core::mem::take(&mut self.supervisor.system.did)
    }
}

const ALL: Scope = Scope::All;

fn exited(code: i32) -> End {
    End::Exited(code)
}

#[test]
fn a_run_is_over_when_all_have_ended_and_their_outputs_too() {
    let mut test = Test::new(plan(2));
    assert_eq!(test.did(), [Start(0), Start(1)]);
    assert_eq!(test.supervisor.due(), None, "an idle run wakes for nothing");
    test.ends(0, exited(0));
    test.ends_with_output_open(1, exited(3));
    assert!(!test.supervisor.is_over());
    test.output_ends(1);
    assert!(test.supervisor.is_over());
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Success), Did::Reported(1, Verdict::Failed)]);
    assert_eq!(test.supervisor.outcome().failures, 1);
    assert_eq!(test.supervisor.dies_of(), None);
}

#[test]
fn a_stop_tells_all_once_and_kills_what_is_left_after_its_time() {
    let mut test = Test::new(plan(1));
    test.at(1.0);
    test.did();
    test.signal(SIGTERM, Reach::Us);
    test.at(10.9);
    assert_eq!(test.did(), [TellAll(ALL, SIGTERM, Reach::Us)]);
    test.at(11.0);
    assert_eq!(test.did(), [TellAll(ALL, SIGKILL, Reach::Us)]);
    test.ends(0, End::Killed(SIGKILL));
    test.at(11.2);
    assert!(test.supervisor.is_over());
    // It was told to end: that is no failure of its own.
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Excused), Close(ALL)]);
    assert_eq!(test.supervisor.dies_of(), Some(SIGTERM));
    assert!(!test.supervisor.outcome().in_a_hurry);
}

#[test]
fn what_ended_workers_leave_behind_is_told_to_end_and_killed() {
    let mut test = Test::new(plan(1));
    test.supervisor.system.orphans = 1;
    test.did();
    test.signal(SIGINT, Reach::Group);
    test.ends(0, End::Killed(SIGINT));
    test.at(9.0);
    assert_eq!(
        test.did(),
        [
            TellAll(ALL, SIGINT, Reach::Group),
            Did::Reported(0, Verdict::Excused),
            TellAll(ALL, SIGTERM, Reach::Us)
        ]
    );
    assert!(!test.supervisor.is_over());
    test.at(10.0);
    assert_eq!(test.did(), [TellAll(ALL, SIGKILL, Reach::Us)]);
    test.supervisor.system.orphans = 0;
    test.at(10.1);
    assert!(test.supervisor.is_over());
}

#[test]
fn what_does_not_end_though_killed_is_named_and_left() {
    let mut test = Test::new(plan(1));
    test.did();
    test.signal(SIGTERM, Reach::Us);
    test.at(14.9);
    assert!(!test.supervisor.is_over());
    test.at(15.1);
    assert!(test.supervisor.is_over());
    let notes = test.did().into_iter().filter(|did| matches!(did, Note(_))).count();
    assert_eq!(notes, 1);
}

#[test]
fn never_is_a_time_to_kill_too() {
    let mut test = Test::new(Plan { kill_after: None, ..plan(1) });
    test.signal(SIGTERM, Reach::Us);
    test.at(1e6);
    assert!(!test.did().contains(&TellAll(ALL, SIGKILL, Reach::Us)));
}

#[test]
fn the_same_signal_again_soon_kills_and_another_one_is_passed_on() {
    let killed = |signals: &[(f64, i32)]| {
        let mut test = Test::new(Plan { kill_after: None, ..plan(1) });
        for (at, signal) in signals {
            test.at(*at);
            test.signal(*signal, Reach::Us);
        }
        let told: Vec<i32> = test
            .did()
            .iter()
            .filter_map(|did| if let TellAll(_, signal, _) = did { Some(*signal) } else { None })
            .collect();
        (told, test.supervisor.outcome().in_a_hurry, test.supervisor.dies_of())
    };
    for (signals, told, in_a_hurry) in [
        (&[(0.0, SIGTERM)][..], &[SIGTERM][..], false),
        // Twice at once is once.
        (&[(0.0, SIGTERM), (0.1, SIGTERM)], &[SIGTERM], false),
        (&[(0.0, SIGTERM), (1.0, SIGTERM)], &[SIGTERM, SIGKILL], true),
        (&[(0.0, SIGINT), (1.0, SIGTERM)], &[SIGINT, SIGTERM], false),
        (&[(0.0, SIGINT), (1.0, SIGTERM), (2.0, SIGINT)], &[SIGINT, SIGTERM, SIGKILL], true),
        // Much later it asks again.
        (&[(0.0, SIGINT), (60.0, SIGINT)], &[SIGINT], false),
        (&[(0.0, SIGINT), (60.0, SIGINT), (120.0, SIGINT)], &[SIGINT, SIGKILL], true),
        // A hang-up never kills.
        (&[(0.0, SIGHUP), (1.0, SIGHUP), (2.0, SIGHUP), (3.0, SIGHUP)], &[SIGHUP], false),
    ] {
        let (found, hurry, dies_of) = killed(signals);
        assert_eq!((&*found, hurry), (told, in_a_hurry), "{signals:?}");
        assert!(dies_of.is_some());
    }
}

#[test]
fn a_second_signal_ends_a_run_of_which_outputs_alone_are_left() {
    let mut test = Test::new(plan(1));
    test.signal(SIGTERM, Reach::Us);
    test.ends_with_output_open(0, End::Killed(SIGTERM));
    test.at(60.0);
    assert!(!test.supervisor.is_over(), "the output may still be read");
    test.signal(SIGTERM, Reach::Us);
    test.at(60.1);
    assert!(test.supervisor.is_over() && test.supervisor.outcome().in_a_hurry);
}

#[test]
fn other_signals_go_to_the_workers_that_run_and_end_nothing() {
    let mut test = Test::new(plan(2));
    test.ends(0, exited(0));
    test.did();
    test.signal(SIGUSR1, Reach::Us);
    test.signal(SIGQUIT, Reach::Group);
    assert_eq!(test.did(), [Tell(1, SIGUSR1, Reach::Us), Tell(1, SIGQUIT, Reach::Group)]);
    assert_eq!(test.supervisor.dies_of(), None);
    // A worker that dies of it takes us along.
    test.ends(1, End::Killed(SIGQUIT));
    assert!(test.supervisor.is_over());
    assert_eq!(test.supervisor.dies_of(), Some(SIGQUIT));
}

#[test]
fn a_halt_ends_the_others_and_hides_no_failure() {
    let halt = Halt::parse("fail=1").expect("it is one");
    let mut test = Test::new(Plan { halt: Some(halt), ..plan(4) });
    test.did();
    // Two have failed by the time that it is noticed.
    test.supervisor.system.alive = BTreeSet::from([2, 3]);
    test.supervisor.ended(test.now, &[(0, exited(7)), (1, End::Killed(SIGTERM))]);
    test.ends(2, End::Killed(SIGTERM));
    test.ends(3, exited(143));
    let reports =
        [(0, Verdict::Failed), (1, Verdict::Failed)].map(|(job, kind)| Did::Reported(job, kind));
    let did = test.did();
    assert_eq!(did[..2], reports);
    assert_eq!(did[2], TellAll(ALL, SIGTERM, Reach::Us));
    assert!(did.contains(&Did::Reported(2, Verdict::Excused)));
    assert!(did.contains(&Did::Reported(3, Verdict::Excused)));
    assert_eq!((test.supervisor.outcome().failures, test.supervisor.dies_of()), (2, None));
}

#[test]
fn a_halt_may_count_and_may_let_go_on_what_runs() {
    for (when, of, ends, starts) in [
        ("fail=2,soon", 1, &[1, 0, 1][..], 5),
        ("fail=1,soon", 1, &[1], 3),
        ("success=1,soon", 0, &[1, 0], 4),
    ] {
        let halt = Halt::parse(when).expect("it is one");
        let mut test = Test::new(Plan { halt: Some(halt), at_once: 3, ..plan(100) });
        for (job, code) in ends.iter().enumerate() {
            test.ends(job, exited(*code));
        }
        for job in ends.len()..starts {
            assert!(!test.supervisor.is_over(), "{when}");
            test.ends(job, exited(of));
        }
        let did = test.did();
        let started = did.iter().filter(|did| matches!(did, Start(_))).count();
        assert_eq!(started, starts, "{when}: {did:?}");
        assert!(!did.iter().any(|did| matches!(did, TellAll(..))), "{when}");
        assert!(test.supervisor.is_over(), "{when}");
    }
    for text in ["", "fail", "fail=0", "fail=x", "fail=1,later", "loss=1"] {
        assert!(Halt::parse(text).is_err_and(|error| error.starts_with("expected fail=N")));
    }
}

#[test]
fn so_many_run_at_a_time_with_a_delay_between_their_starts() {
    let mut test = Test::new(Plan { at_once: 2, delay: secs(1.0), ..plan(3) });
    assert_eq!(test.did(), [Start(0)]);
    test.at(0.9);
    assert_eq!(test.did(), []);
    test.at(1.0);
    assert_eq!(test.did(), [Start(1)]);
    test.at(5.0);
    assert_eq!(test.did(), []);
    test.ends(0, exited(0));
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Success), Start(2)]);
}

#[test]
fn a_job_that_takes_too_long_is_told_and_killed_with_what_it_left() {
    let mut test = Test::new(Plan { timeout: Some(secs(5.0)), ..plan(2) });
    test.did();
    test.at(4.0);
    test.ends(1, exited(0));
    test.did();
    test.at(5.0);
    assert_eq!(test.did(), [TellAll(Scope::Job(0), SIGTERM, Reach::Us)]);
    test.supervisor.system.orphans = 1;
    test.ends(0, End::Killed(SIGTERM));
    assert_eq!(test.did(), [Did::Reported(0, Verdict::TimedOut)]);
    test.at(15.0);
    assert_eq!(test.did(), [TellAll(Scope::Job(0), SIGKILL, Reach::Us)]);
    assert!(!test.supervisor.is_over());
    test.supervisor.system.orphans = 0;
    test.at(15.1);
    assert!(test.supervisor.is_over());
    assert_eq!(test.supervisor.outcome().failures, 1);
}

#[test]
fn what_fails_is_started_again_later_each_time_and_counts_once() {
    let restarts = Restarts { always: false, most: 2 };
    let mut test = Test::new(Plan { restarts, ..plan(1) });
    test.did();
    test.ends(0, exited(1));
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Again)]);
    test.at(0.1);
    assert_eq!(test.did(), [Start(0)]);
    test.ends(0, exited(1));
    test.at(0.29);
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Again)]);
    test.at(0.3);
    assert_eq!(test.did(), [Start(0)]);
    test.ends(0, exited(1));
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Failed)]);
    assert!(test.supervisor.is_over());
    assert_eq!(test.supervisor.outcome().failures, 1);
    // What succeeds is not.
    let mut test = Test::new(Plan { restarts, ..plan(1) });
    test.ends(0, exited(1));
    test.at(1.0);
    test.ends(0, exited(0));
    assert!(test.supervisor.is_over());
    assert_eq!(test.supervisor.outcome().failures, 0);
}

#[test]
fn a_run_that_is_told_to_end_starts_nothing_again() {
    let restarts = Restarts { always: true, most: u32::MAX };
    let mut test = Test::new(Plan { restarts, ..plan(2) });
    test.ends(0, exited(0));
    test.did();
    test.signal(SIGTERM, Reach::Us);
    test.ends(1, End::Killed(SIGTERM));
    test.at(100.0);
    assert!(test.supervisor.is_over());
    assert!(!test.did().iter().any(|did| matches!(did, Start(_))));

    // One had ended before, and its output comes to an end only now.
    let mut test = Test::new(Plan { restarts, ..plan(2) });
    test.ends_with_output_open(0, exited(0));
    test.signal(SIGTERM, Reach::Us);
    test.ends(1, End::Killed(SIGTERM));
    test.output_ends(0);
    test.at(100.0);
    assert!(test.supervisor.is_over());
    assert_eq!(test.supervisor.due(), None, "there is nothing to start");
}

#[test]
fn what_keeps_an_output_open_is_named_after_a_second_and_closed_after_linger() {
    let mut test = Test::new(Plan { linger: Some(secs(3.0)), ..plan(1) });
    test.at(7.0);
    test.did();
    test.ends_with_output_open(0, exited(0));
    test.did();
    test.at(7.9);
    assert_eq!(test.did(), []);
    test.at(8.0);
    assert_eq!(test.did(), [NameHolders(0)]);
    test.at(9.9);
    assert_eq!(test.did(), []);
    test.at(10.0);
    assert_eq!(test.did(), [Close(Scope::Job(0))]);
    assert_eq!(test.supervisor.due(), None, "once");
    test.output_ends(0);
    assert!(test.supervisor.is_over());
}

#[test]
fn an_end_by_a_closed_pipe_is_no_failure_once_the_output_is_unread() {
    for (end, kind) in [
        (End::Killed(SIGPIPE), Verdict::Excused),
        (exited(128 + SIGPIPE), Verdict::Excused),
        (exited(1), Verdict::Failed),
    ] {
        let mut test = Test::new(plan(2));
        test.did();
        test.ends(0, end);
        assert_eq!(test.did(), [Did::Reported(0, Verdict::Failed)], "it has a reader");
        test.supervisor.unread();
        test.ends(1, end);
        assert_eq!(test.did(), [Close(ALL), Did::Reported(1, kind)]);
    }
}

#[test]
fn what_was_done_before_is_not_started() {
    let mut test = Test::new(Plan { done: BTreeSet::from([0, 2, 4]), ..plan(5) });
    assert_eq!(test.did(), [Start(1), Start(3)]);
    test.ends(1, exited(0));
    test.ends(3, exited(0));
    assert!(test.supervisor.is_over());
    let all = Test::new(Plan { done: BTreeSet::from([0, 1]), ..plan(2) });
    assert!(all.supervisor.is_over());
}

#[test]
fn a_job_that_cannot_be_started_ends_those_that_were() {
    let not_started = NotStarted { sentence: "cannot".to_owned(), code: 127 };
    let system = Fake { not_started: Some(not_started.clone()), ..Fake::default() };
    let supervisor = Supervisor::new(plan(3), system);
    let mut test = Test { supervisor, now: Duration::ZERO };
    test.at(0.0);
    assert_eq!(test.did(), [Start(0), TellAll(ALL, SIGKILL, Reach::Us)]);
    test.ends(0, End::Killed(SIGKILL));
    test.at(0.1);
    assert!(test.supervisor.is_over());
    assert_eq!(test.supervisor.outcome().not_started, Some(not_started));
}

#[test]
fn signals_are_looked_at_while_many_are_started() {
    let mut test =
        Test { supervisor: Supervisor::new(plan(1000), Fake::default()), now: secs(0.0) };
    test.supervisor.tick(test.now);
    let started = test.did().len();
    assert!(started < 100 && test.supervisor.due() == Some(Duration::ZERO), "{started}");
    test.at(0.0);
    assert_eq!(started + test.did().len(), 1000);
}

/// A process that waits for a disk does not even end when it is killed.
#[test]
fn what_does_not_end_though_killed_is_left_and_the_others_go_on() {
    let limited = Plan { timeout: Some(secs(1.0)), at_once: 1, ..plan(2) };
    let mut test = Test::new(limited.clone());
    // The first one lives on, whatever it is told: after 1 + 10 + 5 seconds it is given up.
    test.at(15.9);
    assert_eq!(
        test.did(),
        [
            Start(0),
            TellAll(Scope::Job(0), SIGTERM, Reach::Us),
            TellAll(Scope::Job(0), SIGKILL, Reach::Us)
        ]
    );
    test.at(16.0);
    let note = "1 process of worker 0 is left: it does not end though killed";
    assert_eq!(
        test.did(),
        [Note(note.to_owned()), Did::Reported(0, Verdict::TimedOut), Close(Scope::Job(0))]
    );
    test.output_ends(0);
    test.at(16.1);
    assert_eq!(test.did(), [Start(1)]);
    test.ends(1, exited(0));
    assert!(test.supervisor.is_over() && test.supervisor.due().is_none());
    assert_eq!((test.supervisor.outcome().failures, test.supervisor.outcome().has_left), (1, true));
    // Should it end after all, that is no news.
    test.did();
    test.ends(0, End::Killed(SIGKILL));
    assert_eq!((test.did(), test.supervisor.outcome().failures), (vec![], 1));

    // The worker has ended, what it left has not.
    let mut test = Test::new(Plan { jobs: 1, ..limited });
    test.at(1.0);
    test.supervisor.system.orphans = 2;
    test.ends(0, End::Killed(SIGTERM));
    test.at(15.9);
    assert!(!test.supervisor.is_over());
    test.did();
    test.at(16.0);
    let note = "2 processes of worker 0 are left: they do not end though killed";
    assert_eq!(test.did(), [Note(note.to_owned()), Close(Scope::Job(0))]);
    assert!(test.supervisor.is_over());
}

#[test]
fn a_stop_does_not_wait_for_ever_for_what_does_not_end_though_killed() {
    for (signal, code) in [(Some(SIGTERM), 0), (None, 1)] {
        let halt = Halt { after: 1, of_success: false, now: true };
        let mut test = Test::new(Plan { halt: Some(halt), ..plan(3) });
        match signal {
            Some(signal) => test.signal(signal, Reach::Us),
            None => test.ends(2, exited(3)),
        }
        test.at(14.9);
        assert!(!test.supervisor.is_over());
        test.did();
        test.at(15.0);
        let left = if signal.is_some() { 3 } else { 2 };
        let note = format!("{left} processes are left: they do not end though killed");
        let mut expected = vec![Note(note)];
        expected.extend((0..left).map(|job| Did::Reported(job, Verdict::Excused)));
        expected.push(Close(ALL));
        assert_eq!(test.did(), expected);
        assert!(test.supervisor.is_over() && test.supervisor.outcome().in_a_hurry);
        assert_eq!(test.supervisor.dies_of(), signal);
        assert_eq!(test.supervisor.outcome().failures, code);
    }
}

#[test]
fn a_start_waits_for_room() {
    let mut test = Test::new(Plan { at_once: 1, ..plan(2) });
    test.supervisor.system.is_full = true;
    test.did();
    test.ends(0, exited(0));
    test.at(1.0);
    assert_eq!(test.did(), [Did::Reported(0, Verdict::Success)]);
    assert!(!test.supervisor.is_over());
    test.supervisor.system.is_full = false;
    test.at(1.1);
    assert_eq!(test.did(), [Start(1)]);
}

#[test]
fn of_outputs_that_have_ended_none_is_named() {
    let mut test = Test::new(Plan { at_once: 2, ..plan(4) });
    test.ends_with_output_open(0, exited(0));
    test.ends_with_output_open(1, exited(0));
    test.did();
    // Both are known when the time is up, one after the other.
    test.now = secs(2.0);
    test.supervisor.output_ended(test.now, 0);
    test.supervisor.output_ended(test.now, 1);
    test.supervisor.tick(test.now);
    assert_eq!(test.did(), [Start(2), Start(3)]);
}
