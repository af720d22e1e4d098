//! A line that comes in pieces: it is put together in the spare, and goes out in parts if it is
//! longer than a slot.

use super::partial_line::PartialLine;
use super::publisher::{Fate, Outcome, Part, Publisher, Style};
use super::writer::Writer;
use crate::error::WriteError;
use crate::exchange::checksum;
use crate::layout::flag;
use crate::layout::sync::Ordering;
use crate::line::ends::{SHORT, has_end};

use Ordering::Relaxed;

impl Writer {
    /// Adds a piece without an end to the unfinished line, if that is all there is to do: one copy.
    /// `false`, and nothing is done, otherwise.
    #[inline(always)]
    pub(crate) fn add_piece(&mut self, bytes: &[u8]) -> bool {
        // An end alone is no piece; and longer ones are looked at by a faster way.
        let is_short = (2..=SHORT).contains(&bytes.len());
        if !is_short || !self.partial.has_room(bytes.len()) || has_end(bytes) {
            return false;
        }
        let Some((at, end)) = self.partial.add(bytes.len()) else { return false };
        let Publisher { segment, spare, cell, line, .. } = &self.publisher;
        segment.ring().fill_on(spare, at, bytes);
        // The header says the same as before, but for the length, which is the pending word's as
        // long as the line is unfinished.
        cell.set_pending(*line, end);
        true
    }

    /// Adds bytes to the unfinished line, which begins with them if there is none.
    // Apart, as `finish` is, so that they do not keep a whole line's code from being one piece.
    #[inline(never)]
    pub(crate) fn append(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        let ring = self.publisher.segment.ring();
        let mut line = match self.partial.get() {
            None if bytes.len() <= self.fits => {
                let mut begun = self.begin(style);
                begun.at = bytes.len();
                let header = self.publisher.header(style, begun.time, 0, begun.at, flag::FIRST);
                if ring.shape.has_checks() {
                    begun.sum = ring.sum(checksum::NONE, bytes);
                    ring.fill(&self.publisher.spare, 0, bytes);
                    ring.write_header(&self.publisher.spare, &header);
                } else {
                    ring.write_line::<false>(&mut self.publisher.spare, &header, bytes);
                }
                ring.mark_begun(&self.publisher.spare, begun.order);
                self.partial.set(begun);
                self.publisher.cell().set_pending(self.publisher.line, bytes.len());
                return Ok(());
            }
            Some(begun) if begun.is_one_part() && begun.at + bytes.len() <= self.fits => *begun,
            _ => return self.append_more(bytes, style),
        };
        ring.fill(&self.publisher.spare, line.at, bytes);
        line.sum = ring.sum(line.sum, bytes);
        line.at += bytes.len();
        self.partial.set(line);
        self.publisher.cell().set_pending(self.publisher.line, line.at);
        Ok(())
    }

    #[inline]
    fn begin(&self, style: Style) -> PartialLine {
        // A counter that all write to is as dear as the exchange itself, so only those have it
        // whose reader wants it.
        let order = match self.publisher.registration.ticket {
            None => self.publisher.segment.header().counts.0.unfinished.fetch_add(1, Relaxed),
            Some(_) => 0,
        };
        PartialLine { style, order, time: self.publisher.stamp(), ..PartialLine::default() }
    }

    /// The same for any piece of any line.
    #[inline(never)]
    fn append_more(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        let payload = self.publisher.segment.ring().shape.payload();
        let mut state = self.partial.get().copied().unwrap_or_else(|| self.begin(style));
        let left = self.publisher.segment.geometry().max_line - state.before - state.at as u64;
        let (mut rest, over) = bytes.split_at(bytes.len().min(left as usize));
        state.cut += over.len() as u64;
        let mut failed = Ok(());
        while !rest.is_empty() {
            if state.at == payload && !state.cutting {
                failed = self.part(&mut state, 0);
            }
            if state.cutting {
                state.cut += rest.len() as u64;
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(payload - state.at));
            let ring = self.publisher.segment.ring();
            ring.fill(&self.publisher.spare, state.at, now);
            state.sum = ring.sum(state.sum, now);
            state.at += now.len();
            rest = later;
        }
        // For observers, and for the process that recovers what this one leaves when it dies.
        let flags = self.part_flags(&state);
        let ring = self.publisher.segment.ring();
        ring.write_header(
            &self.publisher.spare,
            &self.publisher.header(state.style, state.time, state.parts, state.at, flags),
        );
        ring.mark_begun(&self.publisher.spare, state.order);
        self.publisher.cell().set_pending(self.publisher.line, state.at);
        self.partial.set(state);
        failed
    }

    /// Adds `bytes` to the number of bytes omitted from the current line.
    pub(crate) fn cut(&mut self, bytes: u64) {
        if let Some(line) = self.partial.get() {
            self.partial.set(PartialLine { cut: line.cut + bytes, ..*line });
        }
    }

    /// What the next part's header says of its place in the line, and of the line's number.
    fn part_flags(&self, state: &PartialLine) -> u32 {
        let first = if state.parts == 0 { flag::FIRST } else { 0 };
        first | if self.voided == Some(self.publisher.line) { flag::ANEW } else { 0 }
    }

    /// Publishes what is in the spare as a part of the line. If it cannot be, the line is cut here.
    fn part(&mut self, state: &mut PartialLine, flags: u32) -> Result<(), WriteError> {
        let header = {
            let flags = flags | self.part_flags(state);
            self.publisher.header(state.style, state.time, state.parts, state.at, flags)
        };
        self.publisher.segment.ring().seal(&mut self.publisher.spare, &header, state.sum);
        let is_last = flags & flag::LAST != 0;
        let outcome = self.publisher.publish(if is_last { Part::Last } else { Part::Inner });
        if matches!(outcome, Ok(Outcome::Published)) {
            state.parts += 1;
        } else {
            state.cut += state.at as u64;
            state.cutting = true;
        }
        state.before += state.at as u64;
        (state.at, state.sum) = (0, checksum::NONE);
        outcome.map(drop)
    }

    /// Ends the unfinished line; without one, this is an empty line in `style`.
    #[inline(never)]
    pub(crate) fn finish(&mut self, style: Style, flags: u32) -> Result<(), WriteError> {
        match self.partial.get() {
            None => self.line(&[], style),
            Some(begun) if begun.is_one_part() => {
                if self.publisher.segment.ring().shape.has_checks() {
                    return self.finish_with_checksum(*begun, flags);
                }
                let flags = flags | flag::FIRST | flag::LAST;
                let header = self.publisher.header(begun.style, begun.time, 0, begun.at, flags);
                self.partial.take();
                // Its other words are there since it was begun.
                self.publisher.segment.ring().write_part_word(&self.publisher.spare, &header);
                self.publisher.publish_line::<false>()
            }
            Some(begun) => self.finish_parts(*begun, flags),
        }
    }

    #[inline(never)]
    fn finish_with_checksum(&mut self, begun: PartialLine, flags: u32) -> Result<(), WriteError> {
        let flags = flags | flag::FIRST | flag::LAST;
        let header = self.publisher.header(begun.style, begun.time, 0, begun.at, flags);
        self.partial.take();
        self.publish_with_checksum(&header, begun.sum)
    }

    /// The same for one of several parts, or of which something was cut.
    #[inline(never)]
    fn finish_parts(&mut self, mut state: PartialLine, flags: u32) -> Result<(), WriteError> {
        if state.cutting && state.parts == 0 {
            self.end_line(Fate::Lost);
            return Ok(());
        }
        let mut flags = flags | flag::LAST;
        let mut result = Ok(());
        if state.cut > 0 {
            let count = state.cut.to_ne_bytes();
            if state.at + count.len() > self.publisher.segment.geometry().shape().payload() {
                result = self.part(&mut state, 0);
            }
            // Counted again: the part above may just have been cut too.
            let count = state.cut.to_ne_bytes();
            let ring = self.publisher.segment.ring();
            ring.fill(&self.publisher.spare, state.at, &count);
            state.sum = ring.sum(state.sum, &count);
            state.at += count.len();
            flags |= flag::TRUNCATED;
        }
        if state.parts > 0 || !state.cutting {
            state.cutting = false;
            result = result.and(self.part(&mut state, flags));
        }
        let fate = match (state.cutting, state.parts) {
            (false, _) => Fate::Published,
            (true, 0) => Fate::Lost,
            (true, _) => Fate::Cut,
        };
        self.end_line(fate);
        result
    }

    /// Forgets the unfinished line's bytes: what follows rewrites it.
    pub(crate) fn rewrite(&mut self) {
        if let Some(line) = self.partial.get() {
            let PartialLine { style, order, time, parts, .. } = *line;
            self.partial.set(PartialLine { style, order, time, ..PartialLine::default() });
            self.forget(parts);
            // The spare may be another by now, in which an older line stands. Pieces rest on the
            // header that is there.
            let header = self.publisher.header(style, time, 0, 0, flag::FIRST);
            let ring = self.publisher.segment.ring();
            ring.write_header(&self.publisher.spare, &header);
            ring.mark_begun(&self.publisher.spare, order);
        }
    }

    /// What stands in the spare is void, and so are the parts of the line that are in the ring.
    pub(super) fn forget(&mut self, parts: u32) {
        let Publisher { cell, segment, spare, line, .. } = &mut self.publisher;
        cell.set_pending(*line, 0);
        segment.ring().invalidate_snapshots(&cell.writer.0.hold, spare);
        if parts > 0 {
            self.voided = Some(self.publisher.line);
            let flags = flag::FIRST | flag::LAST | flag::FORGOTTEN;
            let header = self.publisher.header(Style::default(), 0, 0, 0, flags);
            self.publisher.segment.ring().seal(&mut self.publisher.spare, &header, checksum::NONE);
            // Where it finds no room, the parts that follow say the same.
            let _ = self.publisher.publish(Part::Inner);
        }
    }

    fn end_line(&mut self, fate: Fate) {
        self.partial.take();
        self.publisher.end_line(fate);
    }
}
