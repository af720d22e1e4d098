//! [`Known`]: what the engine has of a ring already, by its last message.

use std::collections::{HashMap, HashSet};

use linering::{Item, LineRef};

use crate::message::{Message, Unreadable, is_before};
use crate::record::{self, EndKey, Record, What};

/// What is to be done with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new; of a loss, all but its first so many lines are.
    Send(u64),
    /// The engine has it.
    Skip,
    /// The engine has another line at its position: a copy of the ring was forwarded.
    Other,
}

/// What the engine has: lines by their positions; what has no position by its key.
///
/// Only the last message can have something that the ring gives again: what was in the one before
/// was committed before the last one was sent.
#[derive(Debug, Default)]
pub struct Known {
    upto: Option<u64>,
    /// The number after the last line or loss of each cell.
    next: HashMap<u16, u64>,
    ends: HashSet<EndKey>,
    /// The checksum of each whole line, by its position.
    sums: HashMap<u64, u32>,
}

/// Whether number `a` comes before number `b`; they begin again after 2^48 - 1.
fn is_number_before(a: u64, b: u64) -> bool {
    let ahead = b.wrapping_sub(a) & ((1 << 48) - 1);
    ahead != 0 && ahead < 1 << 47
}

impl Known {
    /// By the last message, if that is of this ring.
    ///
    /// # Errors
    ///
    /// The message has no records.
    pub fn by(message: &Message) -> Result<Self, Unreadable> {
        let mut known = Self { upto: Some(message.extent.upto), ..Self::default() };
        message.records()?.iter().for_each(|record| known.add(record));
        Ok(known)
    }

    fn add(&mut self, record: &Record) {
        let next = match &record.what {
            What::Line { bytes, truncated, unfinished, .. } => {
                // What was cut off may come otherwise to another reader.
                if !truncated && !unfinished {
                    self.sums.insert(record.position, crc32c::crc32c(bytes));
                }
                record.number + 1
            }
            What::Lost { lines, .. } => record.number + lines,
            What::Ended { .. } | What::Known => {
                self.ends.insert((record.cell, record.number, record.writer_id));
                return;
            }
            What::Damaged => return,
        };
        if let Some(cell) = record.cell {
            let last = self.next.entry(cell).or_insert(next);
            if is_number_before(*last, next) {
                *last = next;
            }
        }
    }

    /// Adds the keys of the ends that it knows to a message that comes after; gives their number.
    ///
    /// A new reader tells an end later than the one before did: other messages may be in doubt
    /// until then, and the last one alone is asked for.
    pub fn pass_on(&self, page: &mut Vec<u8>) -> u64 {
        self.ends.iter().for_each(|key| record::add_key(page, *key));
        self.ends.len() as u64
    }

    /// None of the ends that it knows comes again.
    pub fn forget_ends(&mut self) {
        self.ends.clear();
    }

    /// Whether the message has this record, or its line an earlier position.
    pub fn has(&self, record: &Record) -> bool {
        match record.what {
            What::Line { .. } | What::Damaged => self.has_position(record.position),
            What::Lost { .. } => {
                record.cell.is_some_and(|cell| self.has_number(cell, record.number))
            }
            What::Ended { .. } | What::Known => {
                self.ends.contains(&(record.cell, record.number, record.writer_id))
            }
        }
    }

    fn has_position(&self, position: u64) -> bool {
        self.upto.is_some_and(|upto| is_before(position, upto))
    }

    /// Whether the last message has line `number` of `cell`, or a later one.
    fn has_number(&self, cell: u16, number: u64) -> bool {
        self.next.get(&cell).is_some_and(|next| is_number_before(number, *next))
    }

    /// What is to be done with a line of one slot.
    #[inline]
    pub fn of_ref(&self, line: &LineRef<'_>) -> Verdict {
        if self.has_position(line.position()) {
            return self.of_known(line.position(), line.bytes());
        }
        Verdict::Send(0)
    }

    /// What is to be done with a line whose position it has.
    #[cold]
    fn of_known(&self, position: u64, bytes: &[u8]) -> Verdict {
        let sum = self.sums.get(&position);
        if sum.is_none_or(|sum| *sum == crc32c::crc32c(bytes)) {
            Verdict::Skip
        } else {
            Verdict::Other
        }
    }

    /// What is to be done with this item.
    pub fn of_item(&self, item: &Item<'_>) -> Verdict {
        let is_known = match item {
            // One that was cut off comes later than its position says.
            Item::Line(line) if line.truncated => {
                self.has_position(line.position) && self.has_number(line.cell, line.number)
            }
            Item::Line(line) => {
                if self.has_position(line.position) && !line.unfinished {
                    return self.of_known(line.position, &line.bytes);
                }
                self.has_position(line.position)
            }
            Item::Damaged { position } => self.has_position(*position),
            Item::Ended(ended) => {
                let key = (ended.cell, ended.first, ended.writer_id);
                self.ends.contains(&key)
            }
            Item::Lost(lost) => {
                // In a ring that overwrites, more may be lost by now.
                let known = self.next.get(&lost.cell).map_or(0, |next| {
                    if is_number_before(lost.first, *next) {
                        next.wrapping_sub(lost.first)
                    } else {
                        0
                    }
                });
                if known < lost.lines {
                    return Verdict::Send(known);
                }
                true
            }
            _ => false,
        };
        if is_known { Verdict::Skip } else { Verdict::Send(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linering::{End, Ended, Line, LossCause, Lost};

    fn known() -> Known {
        Known {
            upto: Some(10),
            next: [(1, 5)].into(),
            ends: [(Some(1), 2, 0), (None, 0, 7)].into(),
            sums: [(8, crc32c::crc32c(b""))].into(),
        }
    }

    #[test]
    fn lines_are_known_by_position_and_those_that_were_cut_by_number_too() {
        let line = |position, number, truncated| {
            let mut line = Line::new("");
            (line.position, line.number, line.cell, line.truncated) =
                (position, number, 1, truncated);
            known().of_item(&line.into())
        };
        assert_eq!(line(9, 4, false), Verdict::Skip);
        assert_eq!(line(10, 5, false), Verdict::Send(0));
        assert_eq!(line(9, 4, true), Verdict::Skip);
        assert_eq!(line(9, 5, true), Verdict::Send(0), "it came late");
        assert_eq!(line(8, 3, false), Verdict::Skip);
        let mut other = Line::new("another");
        (other.position, other.cell) = (8, 1);
        assert_eq!(known().of_item(&other.into()), Verdict::Other);
    }

    #[test]
    fn a_loss_is_known_by_its_numbers_and_what_was_lost_since_is_not() {
        let lost = |first, lines| {
            let mut lost = Lost::new(0, lines, LossCause::Overwritten);
            (lost.cell, lost.first) = (1, first);
            known().of_item(&lost.into())
        };
        assert_eq!(lost(3, 2), Verdict::Skip);
        assert_eq!(lost(3, 9), Verdict::Send(2));
        assert_eq!(lost(5, 9), Verdict::Send(0));
        assert!(
            is_number_before((1 << 48) - 1, 0)
                && !is_number_before(0, (1 << 48) - 1)
                && !is_number_before(3, 3)
        );
    }

    #[test]
    fn an_end_is_known_by_its_mirror() {
        let ended = |cell, first: u64, writer_id| {
            let mut ended = Ended::new(writer_id, End::Eof);
            (ended.cell, ended.first) = (cell, first);
            known().of_item(&ended.into())
        };
        assert_eq!(ended(Some(1), 2, 0), Verdict::Skip);
        assert_eq!(ended(Some(1), 3, 0), Verdict::Send(0));
        assert_eq!(ended(None, 0, 7), Verdict::Skip);
        assert_eq!(ended(None, 0, 8), Verdict::Send(0));
    }
}
