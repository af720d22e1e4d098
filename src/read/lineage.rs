//! Line numbers: which mirror of a cell wrote a line, and which lines are missing before it.
//!
//! A cell passes from one mirror to the next, and its line numbers never restart. So the number of
//! a mirror's first line (its epoch) tells it from the other mirrors of the cell, and a line is of
//! the last mirror whose first line comes before it or is that line. The reader and the observers
//! follow the same rules.

use std::collections::BTreeMap;

use crate::layout::{LineNumber, MirrorId};

/// The mirrors that have had one cell, by the numbers of their first lines. A mirror is named by
/// its index in the table of its user.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// By the numbers as they are, of which the greatest comes last.
    by_first_line: BTreeMap<u64, u32>,
}

impl Lineage {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_first_line.is_empty()
    }

    /// The mirror whose first line this is.
    pub(crate) fn get(&self, first: LineNumber) -> Option<u32> {
        self.by_first_line.get(&first.get()).copied()
    }

    pub(crate) fn insert(&mut self, first: LineNumber, id: u32) {
        self.by_first_line.insert(first.get(), id);
    }

    pub(crate) fn remove(&mut self, first: LineNumber) -> Option<u32> {
        self.by_first_line.remove(&first.get())
    }

    /// The mirror that wrote line `line`; `None` if each known one began after it.
    pub(crate) fn of_line(&self, line: LineNumber) -> Option<u32> {
        let before = self.by_first_line.range(..=line.get()).next_back();
        // Numbers begin again after the greatest.
        let last = before.or_else(|| self.by_first_line.last_key_value());
        last.filter(|(first, _)| line.is_from(LineNumber::new(**first))).map(|(_, id)| *id)
    }
}

/// How far the lines of one mirror have come.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) mirror: MirrorId,
    /// The number of the next line.
    pub(crate) expected: LineNumber,
    /// Lines that came.
    pub(crate) lines: u64,
    /// Lines that will not come.
    pub(crate) lost: u64,
}

impl Progress {
    /// Of a mirror none of whose lines came yet. `delivered`: lines of the cell before this one
    /// were accepted.
    pub(crate) fn new(mirror: MirrorId, delivered: LineNumber) -> Self {
        let expected = mirror.epoch.plus(mirror.epoch.lines_to(delivered));
        Self { mirror, expected, lines: 0, lost: 0 }
    }

    /// Notes that line `line` came, if it is the next one; else changes nothing.
    #[inline]
    pub(crate) fn note_next(&mut self, line: LineNumber) -> bool {
        let is_next = self.expected == line;
        if is_next {
            self.note_lines(1);
        }
        is_next
    }

    /// Notes that the next lines came, so many.
    #[inline]
    pub(crate) fn note_lines(&mut self, lines: u64) {
        self.expected = self.expected.plus(lines);
        self.lines += lines;
    }

    /// Notes that line `line` or a part of it came. Gives the number of lines that are missing
    /// before it, which will not come any more.
    #[inline]
    pub(crate) fn note(&mut self, line: LineNumber) -> u64 {
        let missing = self.expected.lines_to(line);
        // Else a further part of the line that came last.
        if missing > 0 || line == self.expected {
            self.expected = line.next();
            self.lines += 1;
            self.lost = self.lost.saturating_add(missing);
        }
        missing
    }

    /// Notes that the mirror ended; `next` is the number after its last line. Gives the number of
    /// lines that are missing after the last one that came.
    pub(crate) fn note_end(&mut self, next: LineNumber) -> u64 {
        let missing = self.expected.lines_to(next);
        self.expected = next;
        self.lost = self.lost.saturating_add(missing);
        missing
    }

    /// Line `line` is void, and its number comes again: a line that has this number and does not
    /// come is lost.
    ///
    /// Unless one was `accepted`, which all lines before that number were: then the void line comes
    /// a second time, since the reader that accepted the other one died.
    pub(crate) fn expect_again(&mut self, line: LineNumber, accepted: LineNumber) {
        let is_accepted = line.lines_to(accepted) > 0;
        if !is_accepted && self.expected == line.next() {
            self.expected = line;
            self.lines = self.lines.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u64 = (1 << 48) - 1;

    fn progress(epoch: u64, delivered: u64) -> Progress {
        let epoch = LineNumber::new(epoch);
        Progress::new(MirrorId { cell: 1, epoch }, LineNumber::new(delivered))
    }

    #[test]
    fn a_line_is_of_the_last_mirror_that_began_before_it_also_where_numbers_begin_again() {
        let line = LineNumber::new;
        let mut lineage = Lineage::default();
        assert_eq!(lineage.of_line(line(7)), None);
        for (first, id) in [(LAST - 9, 0), (LAST - 4, 1), (5, 2)] {
            lineage.insert(line(first), id);
        }
        let cases = [
            (LAST - 10, None),
            (LAST - 9, Some(0)),
            (LAST - 5, Some(0)),
            (LAST - 4, Some(1)),
            (LAST, Some(1)),
            (0, Some(1)),
            (4, Some(1)),
            (5, Some(2)),
            (100, Some(2)),
        ];
        for (number, expected) in cases {
            assert_eq!(lineage.of_line(line(number)), expected, "line {number}");
        }
        assert_eq!(lineage.remove(line(5)), Some(2));
        assert_eq!(lineage.of_line(line(100)), Some(1));
    }

    #[test]
    fn lines_are_expected_from_the_first_one_on_or_from_what_was_delivered() {
        assert_eq!(progress(10, 10).expected.get(), 10);
        assert_eq!(progress(10, 14).expected.get(), 14);
        assert_eq!(progress(10, 3).expected.get(), 10, "lines of the cell's former mirror");
        assert_eq!(progress(LAST, 2).expected.get(), 2, "numbers began again");
    }

    #[test]
    fn a_gap_is_counted_once_and_a_further_part_changes_nothing() {
        let (mut progress, line) = (progress(10, 10), LineNumber::new);
        assert_eq!((progress.note(line(10)), progress.note(line(10))), (0, 0));
        assert_eq!(progress.note(line(14)), 3);
        assert_eq!(progress.note(line(14)), 0);
        assert_eq!((progress.expected.get(), progress.lines, progress.lost), (15, 2, 3));
        assert!(!progress.note_next(line(16)) && progress.note_next(line(15)));
        assert_eq!(progress.note_end(line(18)), 2);
        assert_eq!((progress.expected.get(), progress.lines, progress.lost), (18, 3, 5));
    }

    #[test]
    fn a_void_lines_number_is_expected_again_unless_it_was_accepted_or_lines_came_after_it() {
        let after = |lines: &[u64], void, accepted| {
            let mut progress = progress(10, 10);
            lines.iter().for_each(|line| assert_eq!(progress.note(LineNumber::new(*line)), 0));
            progress.expect_again(LineNumber::new(void), LineNumber::new(accepted));
            (progress.expected.get(), progress.lines)
        };
        assert_eq!(after(&[10, 11], 11, 10), (11, 1));
        assert_eq!(after(&[10, 11], 11, 11), (11, 1));
        assert_eq!(after(&[10, 11], 11, 12), (12, 2), "accepted");
        assert_eq!(after(&[10, 11], 10, 10), (12, 2), "a line came after it");
    }
}
