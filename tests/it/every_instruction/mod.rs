//! What becomes of the others when a process dies, or stands still, after any instruction of
//! anything it does with a ring.
//!
//! Each operation is executed one instruction at a time in a child. Whenever that has changed the
//! segment, or a lock on it, three things are tried at this point:
//!
//! * a copy of the segment, in which no process lives, is *judged*: others write two laps, a reader
//!   drains, every line that was acknowledged is there once and none is torn, every end is told,
//!   all slots are in one place, all cells can be had;
//! * the same operation is executed again in another child, up to the same change, and that child
//!   is killed: its ring is judged;
//! * and again, but the child only stands still, while others write two laps; then it goes on to
//!   its end, and the ring is judged.
//!
//! Between changes nothing that others could see differs; a sample of the instructions there is
//! tried all the same.
//!
//! `operations` has what is executed, `rings` where, `judging` what must hold then; this file has
//! the tracing and the tests.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use linering::{End, Item, LineProcMirror, LineRing, Policy};

use crate::common::bytes_of;
use crate::common::tracer::{Stop, Traced, stay_on_processor};

mod judging;
mod operations;
mod rings;

use judging::{Fate, Others, assert_slots_are_conserved, is_whole};
use operations::{
    Hands, Log, Operation, PARTS_OF_A_ROUND, READER_SLEEPS, ROUND, buriers, open,
    open_and_write_round, open_beside_a_sleeper, open_victim, part_of_round, read_singly, readers,
    reading, write_short, writers, writing,
};
use rings::{Stage, State, copy};

/// Positions of the rings here.
const LINES: usize = 4;
/// Bytes of a line that fit in a slot.
const PAYLOAD: usize = 32;
/// Mirrors that they can have at a time.
const MIRRORS: usize = 4;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where an operation changes what others can see.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Among its changes, from 1; 0 is before its first instruction.
    number: usize,
    /// After how many instructions it came.
    at: usize,
    /// The address of the instruction that made it, and how often that was executed by then.
    by: (u64, usize),
}

/// What a run of an operation came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    instructions: usize,
    states: usize,
    kills: usize,
    stops: usize,
}

impl Operation {
    /// Steps a child until `wanted` says so, which is told the number of instructions and changes
    /// so far; `false` if the operation was over before.
    fn step_until(
        &self,
        ring: &LineRing,
        child: &Traced,
        mut wanted: impl FnMut(usize, usize, &State) -> bool,
    ) -> bool {
        self.sweep(ring, child, |change, state| wanted(change.at, change.number, state))
    }

    /// The same with all that is to be known of a change; its number is 0 where there is none.
    fn sweep(
        &self,
        ring: &LineRing,
        child: &Traced,
        mut wanted: impl FnMut(Change, &State) -> bool,
    ) -> bool {
        let mut state = State::of(ring);
        let (mut instructions, mut changes) = (0, 0);
        let mut executed = HashMap::new();
        while instructions < self.most {
            let address = child.next_instruction();
            if child.step() != Stop::Step {
                break;
            }
            let times = executed.entry(address).or_insert(0);
            *times += 1;
            instructions += 1;
            let is_change = state.has_changed();
            changes += usize::from(is_change);
            let number = if is_change { changes } else { 0 };
            if wanted(Change { number, at: instructions, by: (address, *times) }, &state) {
                return true;
            }
        }
        false
    }

    /// Runs a child to this change, where it came before: what others see is looked at there only,
    /// which takes a fraction of the time. `false` if there is no change there: the child took
    /// another way, or this machine has no breakpoints.
    fn run_to(&self, ring: &LineRing, child: &Traced, change: Change) -> bool {
        if change.number == 0 {
            return true;
        }
        if !child.run_to(change.by.0, change.by.1) {
            return false;
        }
        let mut state = State::of(ring);
        child.step() == Stop::Step && state.has_changed()
    }

    /// A child that stands still after this change, in a ring of its own.
    fn stand_at(&self, change: Change) -> Option<(Stage, Traced)> {
        let stage = self.stage();
        let child = self.start(&stage.ring);
        if self.run_to(&stage.ring, &child, change) {
            return Some((stage, child));
        }
        child.kill();
        drop(stage);
        let stage = self.stage();
        let child = self.start(&stage.ring);
        let stands = self.step_until(&stage.ring, &child, |_, number, _| number == change.number);
        stands.then_some((stage, child))
    }

    fn show(&self) -> Tally {
        let mut tally = Tally::default();
        let mut changes = Vec::new();
        // Every change, with a copy.
        let Stage { ring, keepers } = self.stage();
        let child = self.start(&ring);
        self.judge_dead(&copy(&bytes_of(&ring)), Fate::Died);
        let over = self.sweep(&ring, &child, |change, state| {
            tally.instructions = change.at;
            if change.number > 0 {
                changes.push(change);
                self.judge_dead(&copy(&state.bytes), Fate::Died);
            }
            false
        });
        assert!(!over);
        let returns = self.most == usize::MAX;
        if returns {
            self.judge_dead(&copy(&bytes_of(&ring)), Fate::DiedAfter);
        }
        child.kill();
        drop(keepers);
        self.judge_dead(&ring, if returns { Fate::DiedAfter } else { Fate::Died });
        // A kill at every change,
        tally.states = changes.len();
        for change in &changes {
            let Some((Stage { ring, keepers }, child)) = self.stand_at(*change) else { continue };
            child.kill();
            drop(keepers);
            self.judge_dead(&ring, Fate::Died);
            tally.kills += 1;
        }
        // and at some of the other instructions.
        for sample in 0..SAMPLES.min(tally.instructions) {
            let wanted = 1 + sample * tally.instructions / SAMPLES;
            let Stage { ring, keepers } = self.stage();
            let child = self.start(&ring);
            (0..wanted).all(|_| child.step() == Stop::Step);
            child.kill();
            drop(keepers);
            self.judge_dead(&ring, Fate::Died);
            tally.kills += 1;
        }
        // It stands still at every change, and goes on two laps later.
        for change in &changes {
            let Some((Stage { ring, keepers }, child)) = self.stand_at(*change) else { continue };
            if self.reads {
                self.read_on_after_others(&ring, child);
            } else {
                self.go_on_after_two_laps(&ring, keepers, child);
            }
            tally.stops += 1;
        }
        // A child may take another way, but not all of them do.
        assert!(10 * tally.stops.min(tally.kills) >= 9 * tally.states, "{tally:?}");
        tally
    }

    /// A child that reads goes on after others have written, as much as they can without it.
    fn read_on_after_others(&self, ring: &LineRing, child: Traced) {
        assert!(ring.reader().is_err(), "it lives");
        let mut others = Others::new(ring, false);
        if self.policy != Policy::Block {
            others.write_two_laps(self.policy);
        }
        others.mirrors.clear();
        assert_eq!(child.resume(), Stop::Mark);
        assert_eq!(child.resume(), Stop::Exit(0), "it reads to the end");
        std::mem::forget(child);
        let mut reader = ring.reader().expect("no other reader");
        // A child that only became the reader has read nothing.
        let log = Log::of_this_test();
        if log.maybe.load(SeqCst) > 0 {
            assert_eq!(reader.try_recv().expect("ours"), None);
            assert!(reader.is_over());
            if self.policy == Policy::Block {
                self.judge_reader(&[]);
            }
        }
        drop(reader);
        assert_slots_are_conserved(ring);
    }

    fn go_on_after_two_laps(&self, ring: &LineRing, keepers: Vec<LineProcMirror>, child: Traced) {
        // In a crowded ring there is no cell for others before the keepers leave.
        drop(keepers);
        let mut others = Others::new(ring, true);
        others.write_two_laps(self.policy);
        child.go_on_alone();
        let code = loop {
            others.drain();
            match child.has_stopped() {
                Some(Stop::Mark) => child.go_on_alone(),
                Some(Stop::Exit(code)) => break code,
                _ => std::thread::yield_now(),
            }
        };
        std::mem::forget(child);
        assert_eq!(code, 0, "it succeeds, however late");
        let written = others.written;
        let items = others.finish();
        self.judge(ring, &items, written, Fate::Ended);
    }
}

/// How many instructions between changes are tried of each operation.
const SAMPLES: usize = 8;

fn show_all(processor: usize, operations: Vec<Operation>) {
    let began = Instant::now();
    let mut all = Tally::default();
    for operation in operations {
        let tally = operation.show();
        println!(
            "{:>32}, {:?}: {tally:?}, {:.1?}",
            operation.name,
            operation.policy,
            began.elapsed()
        );
        assert!(tally.states > 0, "it changes something");
        all.instructions += tally.instructions;
        all.states += tally.states;
        all.kills += tally.kills;
        all.stops += tally.stops;
    }
    println!("in all, on processor {processor}: {all:?}");
}

#[test]
fn a_writer_that_dies_or_stands_still_at_any_instruction_hurts_nobody() {
    let _processor = stay_on_processor(0);
    show_all(0, writers());
}

#[test]
fn a_reader_that_dies_or_stands_still_at_any_instruction_loses_nothing() {
    let _processor = stay_on_processor(0);
    show_all(0, readers());
}

/// One stands still at a change and another is killed at one, for each pair of changes; the first
/// goes on two laps later.
fn show_pairs(stands: &Operation, dies: &Operation) -> usize {
    let mut pairs = 0;
    let (stops, kills) = (stands.changes(), dies.changes());
    for stopped_at in &stops {
        for killed_at in &kills {
            let Some((Stage { ring, .. }, stopped)) = stands.stand_at(*stopped_at) else {
                continue;
            };
            let killed = dies.start(&ring);
            if killed_at.number > 0 {
                dies.step_until(&ring, &killed, |_, number, _| number == killed_at.number);
            }
            killed.kill();
            // Judged as what they are together.
            let victim = (!dies.reads).then(|| (Box::new(dies.clone()), *killed_at));
            let both = Operation { reads: stands.reads || dies.reads, victim, ..stands.clone() };
            if stands.reads {
                both.read_on_after_others(&ring, stopped);
            } else {
                both.go_on_after_two_laps(&ring, Vec::new(), stopped);
            }
            pairs += 1;
        }
    }
    assert!(10 * pairs >= 9 * stops.len() * kills.len(), "most take the way they took");
    println!(
        "{} stands still, {} dies, {:?}: {pairs} pairs",
        stands.name, dies.name, stands.policy
    );
    pairs
}

#[test]
fn one_that_dies_beside_one_that_stands_still_hurts_nobody() {
    let _processor = stay_on_processor(1);
    let mut pairs = 0;
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let first = Operation { policy, ..writing("a writer", open, write_short, &["short"]) };
        let second =
            Operation { policy, ..writing("another", open_victim, write_short, &["short"]) };
        pairs += show_pairs(&first, &second);
    }
    let writer = writing("a writer", open, write_short, &["short"]);
    let victim = writing("a writer", open_victim, write_short, &["short"]);
    let reader = Operation { before: 2, ..reading("the reader", Policy::Block, read_singly) };
    pairs += show_pairs(&reader, &Operation { before: 2, ..victim });
    pairs += show_pairs(&Operation { before: 2, ..writer }, &reader);
    println!("in all: {pairs} pairs");
}

#[test]
fn a_part_of_a_line_that_has_gone_round_is_nobodys_last_words() {
    let _processor = stay_on_processor(1);
    let text: String =
        (0..=PARTS_OF_A_ROUND).map(part_of_round).chain(["rest".to_owned()]).collect();
    let act: fn(&LineRing, &mut Hands) -> bool =
        |_, hands| hands.mirror().write_all(b"rest").is_ok();
    let round = writing(ROUND, open_and_write_round, act, &[&text]);
    show_all(1, vec![Operation { before: 0, ..round }]);
}

/// Reads in a thread of its own, asleep when nothing is there, until the child's end was told.
fn read_asleep(ring: &LineRing) -> Receiver<Item<'static>> {
    let (tell, told) = channel();
    let ring = ring.clone();
    std::thread::spawn(move || {
        let mut reader = ring.reader().expect("no other reader");
        reader.set_spinning(false);
        while let Ok(Some(item)) = reader.recv_timeout(PATIENCE) {
            let is_end = matches!(&item, Item::Ended(ended) if ended.label == "child");
            if tell.send(item.into_owned()).is_err() || is_end {
                break;
            }
        }
    });
    told
}

#[test]
fn a_reader_that_sleeps_sees_the_line_and_the_death_of_one_who_did_not_wake_it() {
    let _processor = stay_on_processor(0);
    let write =
        Operation { before: 0, ..writing("", open_beside_a_sleeper, write_short, &["short"]) };
    let Stage { ring, .. } = write.stage();
    let child = write.start(&ring);
    let mut at_changes = Vec::new();
    write.step_until(&ring, &child, |instructions, change, _| {
        at_changes.extend((change > 0).then_some(instructions));
        false
    });
    assert!(at_changes.len() > 5, "{at_changes:?}");
    drop(child);
    let write = Operation { prepare: open, ..write };
    let mut published = 0;
    for instructions in at_changes {
        let Stage { ring, .. } = write.stage();
        let child = write.start(&ring);
        let told = read_asleep(&ring);
        let next = || told.recv_timeout(PATIENCE).expect("it does not sleep for ever");
        // The one that was there before, who is gone.
        assert!(matches!(next(), Item::Ended(ended) if ended.label == "before"));
        let at = READER_SLEEPS as usize;
        while bytes_of(&ring)[at] & 3 != 1 {
            std::thread::yield_now();
        }
        write.step_until(&ring, &child, |now, _, _| now == instructions);
        let is_line = |item: &Item<'_>| item.line().is_some_and(|line| line.to_string() == "short");
        // In a copy its writer is dead: what was not published comes flagged.
        let mut reader = copy(&bytes_of(&ring)).reader().expect("no process lives in a copy");
        let first = reader.try_recv().expect("ours");
        let is_published = first.is_some_and(|item| item.line().is_some_and(is_whole));
        published += usize::from(is_published);
        if is_published {
            // While the writer stands still.
            assert!(is_line(&next()));
        }
        child.kill();
        let last = match next() {
            last_words if !is_published && is_line(&last_words) => next(),
            last => last,
        };
        assert!(matches!(&last, Item::Ended(ended) if ended.end == End::Died), "{last:?}");
    }
    assert!(published > 0, "none of these was late enough");
}

#[test]
fn whoever_buries_the_dead_may_die_or_stand_still_at_any_instruction_too() {
    let _processor = stay_on_processor(1);
    show_all(1, buriers());
}
