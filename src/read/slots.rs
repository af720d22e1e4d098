//! From slots to queued items: whole lines, parts of long ones, and what the reader makes of slots
//! whose checksum does not agree.

use crate::exchange::checksum;
use crate::layout::{Position, READER_CELL, SlotHeader, flag};
use crate::read::assembly::DamagedPart;
use crate::read::backlog::Backlog;
use crate::read::ends::report_end;
use crate::read::queue::Event;
use crate::segment::Segment;

/// How many positions ahead the next slots are fetched.
const PREFETCH: usize = 16;

impl Backlog {
    /// The common case of all below: decodes whole lines from `position` on, `most` at most, each
    /// of which is the next one of its mirror, while nothing else is going on. Gives the number of
    /// lines; the position after them is as it was.
    ///
    /// `CHECKS`: slots have checksums.
    pub(crate) fn decode_lines<const CHECKS: bool>(
        &mut self,
        segment: &Segment,
        position: Position,
        most: usize,
    ) -> usize {
        if !self.assemblies.is_empty() || self.writers.has_pending_ends() {
            return 0;
        }
        let ring = segment.ring();
        let run = ring.run(position);
        let mut lines = 0;
        let (images, mut queue) = self.queue.images();
        for (word, image) in run.words.iter().zip(images).take(most) {
            if let Some(ahead) = run.words.get(lines + PREFETCH) {
                ring.prefetch(ahead, run.full);
            }
            let position = position.plus(lines as u64);
            if ring.copy_part(word, run.full, position, image).is_err() {
                break;
            }
            if CHECKS && !checksum::agrees(ring.shape, image) {
                break;
            }
            let header = SlotHeader::unpack(*image.first_chunk().expect("an image has a header"));
            let is_whole = header.flags & (flag::FIRST | flag::LAST | flag::FORGOTTEN)
                == flag::FIRST | flag::LAST;
            if !is_whole {
                break;
            }
            let Some(writer) = self.writers.next_line(header.cell, header.line) else { break };
            queue.push_line(position.next(), writer);
            lines += 1;
        }
        lines
    }

    /// Decodes the slot whose image was put in the queue's next room. `false` if it names no
    /// writer's cell: then its position is damaged.
    #[inline(never)]
    pub(crate) fn decode(&mut self, segment: &Segment, header: SlotHeader) -> bool {
        let agrees = checksum::agrees(segment.ring().shape, self.queue.next_image());
        let cell = usize::from(header.cell);
        if cell == READER_CELL || cell >= segment.cells().len() {
            return false;
        }
        if agrees {
            self.decode_sound(segment, header);
        } else {
            self.decode_damaged(segment, header);
        }
        true
    }

    fn decode_sound(&mut self, segment: &Segment, header: SlotHeader) {
        let SlotHeader { position, cell, line, .. } = header;
        let writer = self.writers.of(segment, cell, line);
        // The cell's former mirrors were over before this one's first line.
        while let Some(pending) = self.writers.due_before(cell, writer) {
            report_end(self, segment, position, &pending);
        }
        // An older line comes before the loss of those between it and this one.
        if let Some(cut) = self.assemblies.make_way(cell.into(), &header) {
            self.push(position, Event::Long(cut));
        }
        let lost = self.writers.get_mut(writer).map_or(0, |known| known.progress.note(line));
        if lost > 0 {
            self.push(position, Event::Lost { writer, lines: lost, next: line });
        }
        let end_position = position.next();
        if header.is(flag::FORGOTTEN) {
            self.writers.expect_again(segment, writer, line);
        } else if header.is(flag::FIRST) && header.is(flag::LAST) {
            self.queue.push_line(end_position, writer);
        } else {
            let (_, part) = self.queue.next_part();
            if let Some(line) = self.assemblies.add(writer, header, part, false) {
                self.push(end_position, Event::Long(line));
            }
        }
    }

    /// Decodes a part whose checksum does not agree; see
    /// [`place_damaged`](crate::read::assembly::Assemblies::place_damaged).
    #[cold]
    #[inline(never)]
    fn decode_damaged(&mut self, segment: &Segment, header: SlotHeader) {
        let (_, part) = self.queue.next_part();
        let writers = &mut self.writers;
        let placed = self.assemblies.place_damaged(header, part, || {
            let writer = writers.known_of(segment, header.cell, header.line)?;
            Some((writer, &mut writers.get_mut(writer)?.progress))
        });
        let end_position = header.position.next();
        match placed {
            DamagedPart::Kept => {}
            DamagedPart::NextLine(line) => self.push(end_position, Event::Long(line)),
            DamagedPart::Stray(line) => self.push(end_position, Event::Stray(line)),
        }
    }
}
