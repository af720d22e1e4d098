//! The writers that the reader knows: which mirror wrote a line, what is missing, how each ended.

mod tickets;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::layout::sync::Ordering;
use crate::layout::{LineNumber, MirrorId, Position};
use crate::line::item::End;
use crate::read::Decoded;
use crate::read::lineage::{Lineage, Progress};
use crate::segment::Segment;

use Ordering::{Acquire, Relaxed};

/// A mirror, as the reader knows it.
#[derive(Debug)]
pub(crate) struct KnownWriter {
    pub(crate) worker: u32,
    pub(crate) label: Arc<str>,
    pub(crate) progress: Progress,
    pub(crate) ticket: Option<u32>,
    end: Option<SeenEnd>,
}

/// An end that was seen, and is reported once every line before it was.
#[derive(Clone, Copy, Debug)]
struct SeenEnd {
    how: End,
    /// The number after its last line.
    lines: LineNumber,
    /// It was accepted from the reader before this one.
    is_accepted: bool,
    /// No line of it stands at or after this position.
    bound: Position,
}

/// All mirrors that have lines in the ring or an end that was not reported.
#[derive(Debug, Default)]
pub(crate) struct WriterTable {
    known: Slab<KnownWriter>,
    by_ticket: HashMap<u32, u32>,
    by_cell: Vec<CellWriters>,
    /// Seats not opened and mirrors not ended, when the tickets were read last.
    pub(crate) open: usize,
    /// Ends seen and not reported yet.
    ended: VecDeque<u32>,
    /// Those whose ends the reader before this one had accepted, and whose lines may be queued.
    accepted: Vec<u32>,
    /// Seats that ended without having been opened, to be reported.
    never_opened: Vec<(u32, End)>,
    /// The tickets of all seats of which that was seen, until their ends are accepted.
    known_unopened: HashSet<u32>,
}

/// The mirrors that have had a cell.
#[derive(Debug, Default)]
struct CellWriters {
    /// The cell's epoch when the lineage was brought up to date: while it is the same, the lineage
    /// is complete.
    epoch: LineNumber,
    lineage: Lineage,
    /// The mirror of that epoch, while it is in the lineage.
    present: Option<u32>,
    /// First lines of those that had no ticket when they came, oldest first.
    unlisted: VecDeque<LineNumber>,
}

impl CellWriters {
    fn remove(&mut self, first: LineNumber) -> Option<u32> {
        let id = self.lineage.remove(first);
        if self.present == id {
            self.present = None;
        }
        id
    }
}

/// Mirrors without a ticket that are kept for each cell: nothing says when one may be forgotten.
const MOST_UNLISTED: usize = 32;

/// An end that is due: everything before it was decoded.
#[derive(Debug)]
pub(crate) struct PendingEnd {
    pub(crate) writer: u32,
    pub(crate) end: End,
    /// The number after its last line.
    pub(crate) lines: LineNumber,
    /// Lines that are missing after the last one delivered.
    pub(crate) gap: u64,
    /// Whether its error is among them.
    pub(crate) error_is_lost: bool,
    /// Whether the reader before this one had it accepted.
    pub(crate) is_accepted: bool,
}

impl WriterTable {
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&KnownWriter> {
        self.known.get(id as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut KnownWriter> {
        self.known.get_mut(id as usize)
    }

    /// Which mirror wrote line `line` of `cell`; a new one, if none of those that are known did.
    #[inline]
    pub(crate) fn of(&mut self, segment: &Segment, cell: u16, line: LineNumber) -> u32 {
        match self.known_of(segment, cell, line) {
            Some(id) => id,
            // A mirror whose end was accepted before.
            None => self.add(
                segment,
                MirrorId { cell, epoch: line },
                u64::from(u32::MAX),
                String::new(),
                None,
            ),
        }
    }

    /// As [`of`](Self::of); `None` for a line of no known mirror.
    #[inline]
    pub(crate) fn known_of(
        &mut self,
        segment: &Segment,
        cell: u16,
        line: LineNumber,
    ) -> Option<u32> {
        let index = usize::from(cell);
        if self.by_cell.len() <= index {
            self.by_cell.resize_with(segment.cells().len(), CellWriters::default);
        }
        // ORD epoch:B, acquire; pairs with epoch:A; a newer mirror's ticket and serial are seen
        // with its epoch.
        let epoch = LineNumber::new(segment.cells()[index].reader.0.epoch.load(Acquire));
        let known = &self.by_cell[index];
        if known.epoch == epoch
            && let Some(id) = known.present
            && line.is_from(epoch)
        {
            return Some(id);
        }
        self.search(segment, MirrorId { cell, epoch }, line)
    }

    /// The mirror that was known to have `cell` last, if line `line` is the next one that is
    /// expected of it. (A mirror that came after it has other numbers: each leaves one out at its
    /// beginning.)
    #[inline]
    pub(crate) fn next_of(&self, cell: u16, line: LineNumber) -> Option<u32> {
        let id = self.by_cell.get(usize::from(cell))?.present?;
        (self.get(id)?.progress.expected == line).then_some(id)
    }

    /// Line `line` of a mirror is void, and its number comes again; see
    /// [`Progress::expect_again`].
    pub(crate) fn expect_again(&mut self, segment: &Segment, id: u32, line: LineNumber) {
        let Some(KnownWriter { progress, .. }) = self.get_mut(id) else { return };
        let Some(cell) = segment.cells().get(usize::from(progress.mirror.cell)) else { return };
        progress.expect_again(line, cell.delivered());
    }

    #[cold]
    fn search(&mut self, segment: &Segment, newest: MirrorId, line: LineNumber) -> Option<u32> {
        let MirrorId { cell, epoch } = newest;
        let index = usize::from(cell);
        if self.by_cell[index].epoch != epoch || self.by_cell[index].lineage.is_empty() {
            self.read_tickets(segment);
            if self.by_cell[index].lineage.get(epoch).is_none() {
                // Without a ticket, or so new that its ticket is not live yet.
                let serial = segment.cells()[index].reader.0.serial.load(Relaxed);
                self.add(segment, newest, serial, String::new(), None);
            }
            let known = &mut self.by_cell[index];
            (known.epoch, known.present) = (epoch, known.lineage.get(epoch));
        }
        self.by_cell[index].lineage.of_line(line)
    }

    fn add(
        &mut self,
        segment: &Segment,
        mirror: MirrorId,
        serial: u64,
        label: String,
        ticket: Option<u32>,
    ) -> u32 {
        let index = usize::from(mirror.cell);
        if self.by_cell.len() <= index {
            self.by_cell.resize_with(segment.cells().len(), CellWriters::default);
        }
        if let Some(id) = self.by_cell[index].lineage.get(mirror.epoch) {
            if let (Some(writer), Some(ticket)) = (self.known.get_mut(id as usize), ticket) {
                // It was known by a line before its ticket was live.
                (writer.ticket, writer.label, writer.worker) =
                    (Some(ticket), label.into(), serial as u32);
                self.by_ticket.insert(ticket, id);
            }
            return id;
        }
        let (worker, label) = (serial as u32, label.into());
        let progress = Progress::new(mirror, segment.cells()[index].delivered());
        let writer = KnownWriter { worker, label, progress, ticket, end: None };
        if ticket.is_none() {
            self.make_room_for_unlisted(index, mirror.epoch);
        }
        // An index is used again only after the end of its mirror was accepted: nothing queued
        // names it then.
        let id = self.known.insert(writer) as u32;
        self.by_cell[index].lineage.insert(mirror.epoch, id);
        if let Some(ticket) = ticket {
            self.by_ticket.insert(ticket, id);
        }
        id
    }

    /// Notes that a mirror without a ticket has come to a cell, and forgets the oldest of such
    /// mirrors where there are too many.
    fn make_room_for_unlisted(&mut self, cell: usize, first: LineNumber) {
        let cell = &mut self.by_cell[cell];
        cell.unlisted.push_back(first);
        if cell.unlisted.len() > MOST_UNLISTED
            && let Some(oldest) = cell.unlisted.pop_front()
            && let Some(id) = cell.lineage.get(oldest)
            && self.known.get(id as usize).is_none_or(|writer| writer.ticket.is_none())
            && let Some(id) = cell.remove(oldest)
        {
            self.known.try_remove(id as usize);
        }
    }

    /// The next end whose lines have all been decoded.
    pub(crate) fn due(&mut self, cursor: Position, decoded: Decoded) -> Option<PendingEnd> {
        let ready = |id: &u32| {
            let end = self.known.get(*id as usize).and_then(|writer| writer.end);
            end.is_none_or(|end| decoded == Decoded::All || !cursor.is_before(end.bound))
        };
        let index = self.ended.iter().position(ready)?;
        self.take_due(index)
    }

    /// The next end of a mirror that had `cell` before the mirror `id`.
    #[inline]
    pub(crate) fn due_before(&mut self, cell: u16, id: u32) -> Option<PendingEnd> {
        if self.ended.is_empty() {
            return None;
        }
        let epoch = self.known.get(id as usize)?.progress.mirror.epoch;
        let is_before = |other: &MirrorId| other.cell == cell && other.epoch.lines_to(epoch) > 0;
        let had_cell = |other: &u32| {
            self.known.get(*other as usize).is_some_and(|writer| is_before(&writer.progress.mirror))
        };
        let index = self.ended.iter().position(had_cell)?;
        self.take_due(index)
    }

    fn take_due(&mut self, index: usize) -> Option<PendingEnd> {
        let id = self.ended.remove(index)?;
        let writer = self.known.get_mut(id as usize)?;
        let SeenEnd { how, lines, is_accepted, .. } = writer.end?;
        let gap = writer.progress.note_end(lines);
        let error_is_lost = how == End::Error && gap > 0;
        Some(PendingEnd { writer: id, end: how, lines, gap, error_is_lost, is_accepted })
    }

    /// A seat that ended without having been opened: its ticket, number, label and end.
    pub(crate) fn next_never_opened(
        &mut self,
        segment: &Segment,
    ) -> Option<(u32, u32, String, End)> {
        let (ticket, end) = self.never_opened.pop()?;
        let entry = &segment.tickets()[ticket as usize];
        Some((ticket, entry.serial.load(Relaxed) as u32, entry.label(), end))
    }

    /// The end of a seat that was never opened was accepted: its ticket is free.
    pub(crate) fn forget_unopened(&mut self, ticket: u32) {
        self.known_unopened.remove(&ticket);
    }

    /// An end that is due was accepted from the reader before this one.
    pub(crate) fn note_accepted(&mut self, id: u32) {
        self.accepted.push(id);
    }

    /// Forgets mirrors whose ends the reader before this one had accepted. Nothing is queued.
    #[inline]
    pub(crate) fn forget_accepted(&mut self, segment: &Segment) {
        while let Some(id) = self.accepted.pop() {
            self.forget(segment, id);
        }
    }

    /// Forgets a mirror whose end was accepted, and makes its ticket free.
    pub(crate) fn forget(&mut self, segment: &Segment, id: u32) {
        let Some(writer) = self.known.try_remove(id as usize) else { return };
        let MirrorId { cell, epoch } = writer.progress.mirror;
        if let Some(known) = self.by_cell.get_mut(usize::from(cell)) {
            known.remove(epoch);
        }
        if let Some(ticket) = writer.ticket {
            self.by_ticket.remove(&ticket);
            segment.free_ticket(ticket);
        }
    }

    /// Whether an end waits to be reported.
    pub(crate) fn has_pending_ends(&self) -> bool {
        !self.ended.is_empty() || !self.never_opened.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::Options;

    #[test]
    fn of_a_cells_mirrors_without_a_ticket_the_oldest_are_forgotten() {
        let segment = Segment::anonymous(&Options::new()).expect("a segment");
        let mut writers = WriterTable::default();
        // Each line is of a mirror before all that are known, the cell's present one included.
        let line = |mirror: u64| LineNumber::new(0_u64.wrapping_sub(10 + 10 * mirror));
        for mirror in 0..MOST_UNLISTED as u64 {
            let id = writers.of(&segment, 1, line(mirror));
            assert_eq!(writers.of(&segment, 1, line(mirror).plus(9)), id, "its other lines");
        }
        assert_eq!(writers.known.len(), MOST_UNLISTED);
        assert_eq!(writers.by_cell[1].unlisted.len(), MOST_UNLISTED);
        assert_eq!(writers.by_cell[1].present, None, "it came first");
        for mirror in 0..MOST_UNLISTED as u64 {
            let known = writers.known_of(&segment, 1, line(mirror));
            let progress = known.and_then(|id| writers.get(id)).map(|known| &known.progress);
            assert_eq!(progress.map(|progress| progress.mirror.epoch), Some(line(mirror)));
        }
    }
}
