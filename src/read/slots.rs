//! From slots to queued items: whole lines, parts of long ones, and what the reader makes of slots
//! whose checksum does not agree.

use crate::exchange::checksum;
use crate::layout::{Position, READER_CELL, SlotHeader, flag};
use crate::read::assembly::{DamagedPart, NO_WRITER};
use crate::read::backlog::Backlog;
use crate::read::ends::report_end;
use crate::read::event::Event;
use crate::read::queue::Tail;
use crate::read::writers::WriterTable;
use crate::segment::Segment;

/// What a header's last word says of a whole line's part, and of one that is no line.
const WHOLE: u64 = (flag::FIRST | flag::LAST) as u64;
const FORGOTTEN: u64 = flag::FORGOTTEN as u64;
/// No header says this of its source.
const NO_SOURCE: u64 = u64::MAX;

/// Whole lines, of which those that are of one mirror and come one after another go into the queue
/// together.
struct Lines<'b> {
    writers: &'b mut WriterTable,
    queue: Tail<'b>,
    /// The mirror that the last lines are of, and the position of the first of them.
    writer: u32,
    first: Position,
    /// What the header of its next line says of its source.
    expected: u64,
}

impl<'b> Lines<'b> {
    fn new(writers: &'b mut WriterTable, queue: Tail<'b>, first: Position) -> Self {
        Self { writers, queue, writer: NO_WRITER, first, expected: NO_SOURCE }
    }

    /// Adds the line at `position`, if it is the next one of its mirror.
    #[inline(always)]
    fn push(&mut self, position: Position, source: u64) -> bool {
        if SlotHeader::source_word(source) != self.expected && !self.begin(position, source) {
            return false;
        }
        self.expected = SlotHeader::next_source(self.expected);
        true
    }

    /// Goes on with the mirror that this line is of, if it is its next one.
    // Apart, so that what each line needs stays in registers.
    #[inline(never)]
    fn begin(&mut self, position: Position, source: u64) -> bool {
        self.end(position);
        let (cell, line) = SlotHeader::cell_and_line(source);
        let Some(writer) = self.writers.next_of(cell, line) else { return false };
        (self.writer, self.expected) = (writer, SlotHeader::source_word(source));
        true
    }

    /// Queues the lines before `position` that are not yet.
    #[inline]
    fn end(&mut self, position: Position) {
        let count = position.since(self.first) as u32;
        if count > 0 {
            if let Some(known) = self.writers.get_mut(self.writer) {
                known.progress.note_lines(count.into());
            }
            self.queue.push_lines(self.first, self.writer, count);
            self.first = position;
        }
    }
}

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
        let (images, queue) = self.queue.images();
        let mut lines = Lines::new(&mut self.writers, queue, position);
        let kept = ring.copy_run::<CHECKS>(position, images, most, |position, head, image| {
            let [_, _, source, part] = *head;
            if CHECKS && !checksum::agrees(ring.shape, image) {
                return false;
            }
            part & (WHOLE | FORGOTTEN) == WHOLE && lines.push(position, source)
        });
        lines.end(position.plus(kept as u64));
        kept
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
        if !self.assemblies.has(cell.into()) {
            self.held.close(cell, position);
        }
        let lost = self.writers.get_mut(writer).map_or(0, |known| known.progress.note(line));
        if lost > 0 {
            self.push(position, Event::Lost { writer, lines: lost, next: line });
        }
        let end_position = position.next();
        if header.is(flag::FORGOTTEN) {
            self.writers.expect_again(segment, writer, line);
        } else if header.is(flag::FIRST) && header.is(flag::LAST) {
            self.queue.push_line(position, writer);
        } else if !self.assemblies.has(cell.into())
            && !header.is(flag::FIRST)
            && self.inherited.had_accepted(&header)
        {
            // The parts before it were taken, in order: the line does not come again without them.
            segment.ring().take(position, segment.mode());
        } else {
            let (_, part) = self.queue.next_part();
            match self.assemblies.add(writer, header, part, false) {
                Some(line) => {
                    self.held.close(cell, end_position);
                    self.push(end_position, Event::Long(line));
                }
                None => self.hold(segment, position, cell),
            }
        }
    }

    /// Holds a part for the next reader, unless writers would overwrite it all the same.
    fn hold(&mut self, segment: &Segment, position: Position, cell: u16) {
        if !segment.overwrites() {
            self.held.hold(position, cell);
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
            DamagedPart::Kept => self.hold(segment, header.position, header.cell),
            DamagedPart::NextLine(line) => self.push(end_position, Event::Long(line)),
            DamagedPart::Stray(line) => self.push(end_position, Event::Stray(line)),
        }
    }
}
