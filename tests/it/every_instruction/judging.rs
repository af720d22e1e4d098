//! What must hold of a ring after a kill or a stop.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use linering::{Counts, End, Item, Line, LineProcMirror, LineRing, Policy, Reader};

use super::operations::{END, Log, Operation, PARTS_OF_A_ROUND, ROUND, code};
use super::rings::before;
use super::{LINES, MIRRORS, PATIENCE, PAYLOAD};
use crate::common::bytes_of;

/// What became of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It died somewhere in the operation.
    Died,
    /// It died after the operation: what it wrote is acknowledged.
    DiedAfter,
    /// It came to its end, and well.
    Ended,
}

/// A reader and two writers beside the child.
pub(super) struct Others {
    pub(super) reader: Option<Reader>,
    pub(super) mirrors: Vec<LineProcMirror>,
    pub(super) written: usize,
    pub(super) items: Vec<Item<'static>>,
}

impl Others {
    /// `reads`: the reader is not the child.
    pub(super) fn new(ring: &LineRing, reads: bool) -> Self {
        let reader = reads.then(|| ring.reader().expect("the reader is dead, if there was one"));
        let label = |number: usize| format!("other {number}");
        let mirrors =
            (0..2).map(|number| ring.mirror_labelled(&label(number)).expect("a cell")).collect();
        Self { reader, mirrors, written: 0, items: Vec::new() }
    }

    pub(super) fn drain(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        while let Some(item) = reader.try_recv().expect("ours") {
            self.items.push(item.into_owned());
        }
    }

    /// Writes two laps, draining meanwhile; where a full ring is no reason to wait, without
    /// draining too.
    pub(super) fn write_two_laps(&mut self, policy: Policy) {
        for drains in [true, policy == Policy::Block] {
            for _ in 0..LINES {
                for number in 0..2 {
                    if drains {
                        self.drain();
                    }
                    let line = format!("other {number} line {}", self.written);
                    let began = Instant::now();
                    self.mirrors[number]
                        .write_line(line.as_bytes())
                        .expect("there is room, or it does not matter");
                    assert!(began.elapsed() < PATIENCE);
                }
                self.written += 1;
            }
        }
        self.drain();
    }

    /// Ends the writers, and drains until every end was told.
    pub(super) fn finish(mut self) -> Vec<Item<'static>> {
        self.mirrors.clear();
        let began = Instant::now();
        loop {
            self.drain();
            let reader = self.reader.as_mut().expect("it reads");
            reader.commit().expect("ours");
            if reader.is_over() {
                return self.items;
            }
            assert!(began.elapsed() < PATIENCE, "not every end is told: {:?}", self.items);
        }
    }
}

/// The lines of the mirrors with this label, and how many were lost.
fn of_label<'i>(items: &'i [Item<'static>], label: &str) -> (Vec<&'i Line<'static>>, u64) {
    let lines = items.iter().filter_map(Item::line).filter(|line| line.label == label).collect();
    let lost = items.iter().map(|item| match item {
        Item::Lost(lost) if lost.label == label => lost.lines,
        _ => 0,
    });
    (lines, lost.sum())
}

pub(super) fn is_whole(line: &Line<'_>) -> bool {
    !(line.truncated || line.unfinished || line.unacknowledged || line.damaged)
}

impl Operation {
    /// Checks everything that came of a ring.
    pub(super) fn judge(
        &self,
        ring: &LineRing,
        items: &[Item<'static>],
        written: usize,
        fate: Fate,
    ) {
        let lossy = self.policy != Policy::Block;
        let is_damaged = |item: &Item<'_>| {
            matches!(item, Item::Damaged { .. }) || item.line().is_some_and(|line| line.damaged)
        };
        assert!(!items.iter().any(is_damaged), "{items:?}");
        // A writer that was not touched: each line once, in order, or counted as lost.
        let groups = (0..2).map(|number| {
            let label = format!("other {number}");
            let lines: Vec<_> = (0..written).map(|line| format!("{label} line {line}")).collect();
            (label, lines)
        });
        let earlier = ("before".to_owned(), (0..self.before).map(before).collect::<Vec<_>>());
        let earlier = if self.reads { None } else { Some(earlier) };
        for (label, expected) in groups.chain(earlier) {
            let (lines, lost) = of_label(items, &label);
            assert!(lines.iter().all(|line| is_whole(line)), "{lines:?}");
            let mut left = expected.iter();
            let in_order =
                lines.iter().all(|line| left.any(|expected| *expected == line.to_string()));
            assert!(in_order, "each once and in order: {lines:?}");
            assert_eq!(lines.len() as u64 + lost, expected.len() as u64, "{label}: {items:?}");
            assert!(lossy || lost == 0);
        }
        if self.reads {
            self.judge_reader(items);
        }
        if !self.reads || !self.lines.is_empty() {
            self.judge_lines("child", &self.lines, items, fate);
        }
        if let Some((victim, _)) = self.victim.as_ref().filter(|_| !self.reads) {
            self.judge_lines("victim", &victim.lines, items, Fate::Died);
        }
        // Each mirror's end was told once, and the counts agree.
        let ends: Vec<(String, End)> = items
            .iter()
            .filter_map(|item| match item {
                Item::Ended(ended) => Some((ended.label.to_string(), ended.end)),
                _ => None,
            })
            .collect();
        // A reader that is gone was told of the one before.
        let knew = self.reads || self.name == ROUND;
        let of_all: &[&str] =
            if knew { &["other 0", "other 1"] } else { &["other 0", "other 1", "before"] };
        for label in of_all {
            let told: Vec<_> =
                ends.iter().filter(|(of, _)| of == label).map(|(_, end)| *end).collect();
            assert_eq!(told, [End::Eof], "{label}: {ends:?}");
        }
        let of_child: Vec<End> =
            ends.iter().filter(|(of, _)| of == "child").map(|(_, end)| *end).collect();
        assert!(of_child.len() <= 2, "{ends:?}");
        if fate == Fate::Ended && !of_child.is_empty() {
            assert!(of_child.iter().all(|end| *end != End::Died), "{ends:?}");
        }
        let count = |wanted: End| ends.iter().filter(|(_, end)| *end == wanted).count() as u64;
        let Counts { live, eofs, errors, deaths, .. } = ring.counts();
        assert_eq!(live, 0);
        // Whatever a reader accepted before it died was told to it alone: each mirror ended well
        // there, but for the victim.
        let child_ended = of_child.iter().filter(|end| **end == End::Eof).count() as u64;
        let told = match self.reads {
            true => [2 + child_ended, 0, deaths.min(1)],
            false => [End::Eof, End::Error, End::Died].map(count),
        };
        assert_eq!([eofs - u64::from(knew), errors, deaths], told, "{ends:?}");
        assert_slots_are_conserved(ring);
        // Nothing of the ring's capacity is gone.
        let mirrors: Vec<_> =
            (0..MIRRORS).map(|_| ring.mirror().expect("every cell can be had")).collect();
        drop(mirrors);
    }

    /// What the child has accepted and what came after it are one sequence, in which nothing is
    /// missing or twice. Of what it was accepting as it died, lines come again, and ends do not.
    pub(super) fn judge_reader(&self, items: &[Item<'static>]) {
        let log = Log::of_this_test();
        let (sure, maybe) = (log.sure.load(SeqCst) as usize, log.maybe.load(SeqCst) as usize);
        let after: Vec<u64> = items.iter().map(code).filter(|code| *code != 0).collect();
        let ends_that_do_not_come_again = |accepted: usize| {
            let rest = log.items[accepted..maybe].iter().map(|item| item.load(SeqCst));
            rest.filter(|code| code & 0xffff_ffff == END && !after.contains(code))
        };
        let is_right = |accepted: usize| {
            let all = log.items[..accepted]
                .iter()
                .map(|item| item.load(SeqCst))
                .chain(after.iter().copied())
                .chain(ends_that_do_not_come_again(accepted));
            let all: Vec<u64> = all.filter(|code| *code != 0).collect();
            let of = |whose: u64| {
                all.iter().filter(move |code| **code >> 32 == whose).map(|code| *code & 0xffff_ffff)
            };
            let before_is_right = of(1).eq((0..self.before as u64).chain([END]));
            let of_victim: Vec<u64> = of(2).collect();
            let victim_is_right = match &self.victim {
                None => of_victim.is_empty(),
                Some(_) => of_victim == [END] || of_victim == [0, END],
            };
            before_is_right && victim_is_right && of(1).count() + of_victim.len() == all.len()
        };
        let log: Vec<u64> = log.items.iter().map(|item| item.load(SeqCst)).collect();
        assert!(
            (sure..=maybe).any(is_right),
            "accepted {sure} to {maybe} of {log:x?}, then came {after:x?}: {items:?}"
        );
    }

    fn judge_lines(&self, label: &str, expected: &[String], items: &[Item<'static>], fate: Fate) {
        let (lines, lost) = of_label(items, label);
        let mut next = 0;
        for line in &lines {
            let text = String::from_utf8_lossy(&line.bytes);
            let fits = |expected: &String| {
                if line.truncated {
                    // Some parts of it, in their order.
                    text.len() + line.missing as usize <= expected.len() + PAYLOAD
                        || expected.contains(&*text)
                } else if line.unfinished {
                    expected.starts_with(&*text)
                } else {
                    *expected == text
                }
            };
            let found = expected[next..].iter().position(fits);
            let found = found.unwrap_or_else(|| {
                panic!("this is none of the child's lines: {line:?}, {items:?}")
            });
            next += found + 1;
            assert!(fate == Fate::Died || !line.unacknowledged, "its write had returned: {line:?}");
        }
        let told = lines.len() as u64 + lost;
        assert!(told <= expected.len() as u64, "{items:?}");
        if fate != Fate::Died {
            assert_eq!(
                told,
                expected.len() as u64,
                "an acknowledged line is there, or counted: {items:?}"
            );
        }
        if self.name == ROUND {
            // The reader that has gone held what fits in half of the ring.
            let taken = PARTS_OF_A_ROUND - LINES / 2;
            let (gone, rest) = expected[0].split_at(taken * PAYLOAD);
            let is_rest = |line: &&Line<'_>| {
                line.missing == gone.len() as u64 && rest.starts_with(&line.to_string())
            };
            assert!(lines.iter().all(is_rest), "{lines:?}");
        }
        if self.name.starts_with("an error") && fate != Fate::Died {
            // Overwriting does not erase every trace.
            let is_begun = |line: &&&Line<'_>| {
                line.bytes
                    .starts_with(&expected[0].as_bytes()[..expected[0].len().min(self.payload())])
            };
            assert_eq!(lines.iter().filter(is_begun).count(), 1, "{lines:?}");
        }
        if self.policy == Policy::Block {
            assert_eq!(lost, 0);
            let whole = lines.iter().filter(|line| is_whole(line)).count();
            let ends_open = self.name.contains("unfinished");
            assert!(fate == Fate::Died || ends_open || whole == lines.len(), "{lines:?}");
        }
    }

    /// A ring in which the child is dead.
    pub(super) fn judge_dead(&self, ring: &LineRing, fate: Fate) {
        let mut others = Others::new(ring, true);
        others.write_two_laps(self.policy);
        let written = others.written;
        let items = others.finish();
        self.judge(ring, &items, written, fate);
    }
}

/// The order ring and the cells have each slot exactly once, and no cell is in the middle of an
/// exchange.
pub(super) fn assert_slots_are_conserved(ring: &LineRing) {
    let bytes = bytes_of(ring);
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let number =
        |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
    let (positions, cells, tickets) = (1 << number(24), number(28), number(32));
    let first_cell = (768 + tickets * 64_usize).next_multiple_of(128);
    let order = first_cell + cells * 256;
    let mut slots: Vec<u64> =
        (0..positions).map(|index| word(order + index * 8) & 0xff_ffff).collect();
    for cell in 0..cells {
        let hold = word(first_cell + cell * 256);
        assert_eq!(hold >> 48 & 1, 0, "cell {cell} is settled");
        slots.push(hold & 0xff_ffff);
    }
    slots.sort_unstable();
    assert!(
        slots.iter().copied().eq(0..(positions + cells) as u64),
        "each slot is in one place: {slots:?}"
    );
}
