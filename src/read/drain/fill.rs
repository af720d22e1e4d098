//! How a [`Drain`] decodes what comes next, and what it skips.

use super::Drain;
use crate::exchange::ReadOutcome;
use crate::layout::{Position, RingMode, SlotHeader};
use crate::read::Decoded;
use crate::read::ends::report_ends;
use crate::read::event::Event;

impl Drain {
    /// Decodes more if nothing is queued. Gives whether something is queued then. Never waits.
    ///
    /// `false` means that nothing is there, or that a whole lap of parts completed no line.
    pub(crate) fn fill(&mut self) -> bool {
        // A ring of parts alone, and some rounds in which the reader is overrun.
        let most = self.segment.ring().shape.positions() / self.batch as u64 + 8;
        for _ in 0..most {
            if !self.is_drained() || self.fill_once() {
                break;
            }
        }
        !self.is_drained()
    }

    /// Decodes on behind what is queued, as far as there is room for more. Gives whether something
    /// was queued. Never waits.
    pub(crate) fn fill_on(&mut self) -> bool {
        if self.is_drained() {
            return self.fill();
        }
        let before = self.queued();
        self.backlog.queue.make_room(self.batch);
        self.fill_once();
        self.queued() > before
    }

    /// Decodes until something is queued; `false` once nothing more is there, or nothing before
    /// `until`.
    pub(crate) fn fill_to(&mut self, until: Position) -> bool {
        loop {
            let began = self.cursor;
            if self.fill() {
                return true;
            }
            if self.cursor == began || !self.comes_before(until) {
                return false;
            }
        }
    }

    /// Decodes a batch; `true` if nothing more is there.
    fn fill_once(&mut self) -> bool {
        self.ends.note_events(&self.segment, &mut self.backlog.writers);
        let empty = self.decode_batch();
        let decoded = if empty { Decoded::All } else { Decoded::Some };
        if self.backlog.writers.has_pending_ends() {
            report_ends(&mut self.backlog, &self.segment, self.cursor, decoded);
        }
        if self.is_drained() {
            // Parts of unfinished lines alone: they need no acceptance.
            self.take(self.cursor);
            self.backlog.writers.forget_accepted(&self.segment);
        }
        if empty && self.is_drained() && self.freed > 0 {
            self.tell_space();
        }
        empty
    }

    /// How many entries may be decoded: there is room for them in the queue, and none of them is of
    /// the lap before, and not taken yet.
    fn room(&self) -> usize {
        let first = if self.cursor.is_before(self.taken) { self.cursor } else { self.taken };
        let held = self.backlog.held.first().filter(|held| held.is_before(first));
        let lap = self.cursor.since(held.unwrap_or(first));
        let positions = self.segment.ring().shape.positions();
        self.backlog.queue.room().min(positions.saturating_sub(lap) as usize)
    }

    /// Decodes what comes next, up to a batch; `true` if nothing more is there.
    fn decode_batch(&mut self) -> bool {
        let mut left = self.batch.min(self.room());
        while left > 0 {
            let lines = self.decode_lines(left);
            left -= lines;
            if lines == 0 {
                left -= 1;
                if !self.decode_one() {
                    return true;
                }
            }
        }
        false
    }

    /// Decodes whole lines as long as nothing else comes: how many.
    fn decode_lines(&mut self, most: usize) -> usize {
        let lines = if self.segment.ring().shape.has_checks() {
            self.backlog.decode_lines::<true>(&self.segment, self.cursor, most)
        } else {
            self.backlog.decode_lines::<false>(&self.segment, self.cursor, most)
        };
        if lines > 0 {
            self.cursor = self.cursor.plus(lines as u64);
            self.previous = self.cursor.previous();
            self.overrun = false;
        }
        lines
    }

    /// Decodes whatever stands at the next position; `false` if nothing does yet.
    fn decode_one(&mut self) -> bool {
        let (position, ring) = (self.cursor, self.segment.ring());
        match ring.peek(position, self.backlog.queue.next_image()) {
            ReadOutcome::Part(header) => self.decode_part(header),
            ReadOutcome::Empty | ReadOutcome::Stale if ring.is_hole(position) => {
                self.skip_damaged();
            }
            ReadOutcome::Stale if !self.segment.overwrites() => self.skip_damaged(),
            ReadOutcome::Empty | ReadOutcome::Stale => return false,
            ReadOutcome::Passed(laps) => self.passed(laps),
            ReadOutcome::Damaged => self.skip_damaged(),
        }
        self.previous = position;
        true
    }

    fn decode_part(&mut self, header: SlotHeader) {
        if self.backlog.decode(&self.segment, header) {
            self.cursor = self.cursor.next();
            self.overrun = false;
        } else {
            self.skip_damaged();
        }
    }

    // --------------------------------------------------------------------------------------- skip

    fn skip_damaged(&mut self) {
        self.skip(self.segment.mode());
    }

    fn skip(&mut self, mode: RingMode) {
        self.segment.ring().skip(self.cursor, mode);
        let position = self.cursor;
        self.cursor = position.next();
        self.backlog.assemblies.note_skipped();
        self.backlog.push(self.cursor, Event::Damaged { position });
    }

    /// Goes on from an entry that is of a later lap, by `laps`.
    fn passed(&mut self, laps: u64) {
        let ring = self.segment.ring();
        let positions = ring.shape.positions();
        self.backlog.assemblies.note_skipped();
        let inherited = self.backlog.inherited.may_have_taken(self.cursor);
        if inherited && laps == 1 {
            // Taken by the reader before this one, which died before it noted that; or overwritten
            // since.
            self.cursor = self.cursor.next();
        } else if self.segment.overwrites() && ring.are_apart(self.cursor, self.previous) {
            // No newer line: going where it says could lead the reader around for ever.
            self.skip(RingMode::Lossless);
        } else if self.segment.overwrites() {
            // The entry's later lap proves that everything up to a lap before it is gone.
            let next = ring.shape.after_laps(self.cursor, laps as i64 - 1).next();
            // Landing exactly on the oldest line means being overrun again at once, if writers go
            // on.
            let margin = if self.overrun { positions / 8 } else { 0 };
            self.cursor = ring.oldest_after(next).plus(margin);
            self.taken = self.cursor;
            self.overrun = true;
        } else {
            self.skip_damaged();
        }
    }
}
