//! [`NamedWriters`]: the mirrors that tickets and cells name, for an observer that only reads them.

use std::collections::HashMap;

use crate::layout::sync::Ordering;
use crate::layout::{LineNumber, MirrorId, TicketWord};
use crate::line::item::End;
use crate::read::lineage::{Lineage, Progress};
use crate::segment::Parts;

use Ordering::{Acquire, Relaxed};

/// What a ticket says of an end that no reader has accepted.
#[derive(Debug)]
pub(crate) struct TicketEnd {
    /// `None` for a seat that was never opened.
    pub(crate) mirror: Option<MirrorId>,
    pub(crate) worker: u32,
    pub(crate) process: Option<u32>,
    pub(crate) label: String,
    pub(crate) end: End,
    /// The number after its last line.
    pub(crate) next: LineNumber,
}

/// The ends that no reader has accepted, in the order of their mirrors.
pub(crate) fn ticket_ends(parts: &Parts) -> Vec<TicketEnd> {
    let mut ends = Vec::new();
    for ticket in parts.used_tickets() {
        if ticket.is_counted() {
            continue;
        }
        let (end, mirror) = match ticket.state() {
            Some(TicketWord::Eof(mirror)) => (End::Eof, Some(mirror)),
            Some(TicketWord::Error(mirror)) => (End::Error, Some(mirror)),
            Some(TicketWord::Dead(mirror)) => (End::Died, Some(mirror)),
            Some(TicketWord::Cancelled(_)) => (End::Cancelled, None),
            Some(TicketWord::TimedOut(_)) => (End::NeverOpened, None),
            _ => continue,
        };
        let worker = ticket.serial.load(Relaxed) as u32;
        let (label, next) = (ticket.label(), LineNumber::new(ticket.lines.load(Relaxed)));
        let process = ticket.process().filter(|_| mirror.is_some()).map(|process| process.number());
        ends.push(TicketEnd { mirror, worker, process, label, end, next });
    }
    ends.sort_by_key(|end| end.worker);
    ends
}

/// A mirror, as far as the segment still names it.
#[derive(Debug)]
pub(crate) struct NamedWriter {
    pub(crate) worker: u32,
    pub(crate) label: String,
    pub(crate) progress: Progress,
    /// Lines before this one were accepted, or nothing is known of them.
    pub(crate) accepted: LineNumber,
    /// Some of its lines may have passed by unseen: which one comes next is not known.
    is_adrift: bool,
}

impl NamedWriter {
    /// As [`Progress::note`], from the next line on if it is not known which that is.
    pub(crate) fn note(&mut self, line: LineNumber) -> u64 {
        self.join_at(line);
        self.progress.note(line)
    }

    /// As [`Progress::note_end`].
    pub(crate) fn note_end(&mut self, next: LineNumber) -> u64 {
        self.join_at(next);
        self.progress.note_end(next)
    }

    fn join_at(&mut self, line: LineNumber) {
        if core::mem::take(&mut self.is_adrift) {
            self.progress.expected = line;
        }
    }
}

/// All mirrors that are named.
#[derive(Debug, Default)]
pub(crate) struct NamedWriters {
    known: Vec<NamedWriter>,
    /// Their indexes, by cell and first line.
    by_cell: HashMap<u16, Lineage>,
}

impl NamedWriters {
    /// Those of the ends that were read before, and then of tickets and cells.
    pub(crate) fn of(parts: &Parts, ends: &[TicketEnd]) -> Self {
        let mut writers = Self::default();
        writers.update(parts, ends);
        writers
    }

    /// Adds those that have come since.
    pub(crate) fn update(&mut self, parts: &Parts, ends: &[TicketEnd]) {
        for end in ends {
            if let Some(mirror) = end.mirror {
                self.add(parts, mirror, end.worker, end.label.clone());
            }
        }
        for ticket in parts.used_tickets() {
            if let Some(TicketWord::Live(mirror)) = ticket.state() {
                let worker = ticket.serial.load(Relaxed) as u32;
                self.add(parts, mirror, worker, ticket.label());
            }
        }
        // A mirror whose end was accepted is named by its cell alone, until another mirror gets
        // that.
        for (cell, index) in parts.cells().iter().zip(0..).skip(1) {
            // ORD epoch:C, acquire; pairs with epoch:A; the mirror's ticket and serial are seen
            // with its epoch.
            let epoch = LineNumber::new(cell.reader.0.epoch.load(Acquire));
            let serial = cell.reader.0.serial.load(Relaxed);
            let ticket = cell.reader.0.ticket.load(Relaxed).wrapping_sub(1);
            let ticket = parts.tickets().get(ticket as usize);
            let ticket = ticket.filter(|ticket| ticket.serial.load(Relaxed) == serial);
            let label = ticket.map_or_else(String::new, |ticket| ticket.label());
            self.add(parts, MirrorId { cell: index, epoch }, serial as u32, label);
        }
    }

    /// Positions passed by: whichever mirror's lines stood there, its next one is the next that is
    /// seen.
    pub(crate) fn note_passed_by(&mut self) {
        self.known.iter_mut().for_each(|writer| writer.is_adrift = true);
    }

    fn add(&mut self, parts: &Parts, mirror: MirrorId, worker: u32, label: String) {
        let Some(cell) = parts.cells().get(usize::from(mirror.cell)) else { return };
        if self.by_mirror(mirror).is_none() {
            let progress = Progress::new(mirror, cell.delivered());
            let accepted = progress.expected;
            self.push(NamedWriter { worker, label, progress, accepted, is_adrift: false });
        }
    }

    fn push(&mut self, writer: NamedWriter) -> u32 {
        let index = self.known.len() as u32;
        let MirrorId { cell, epoch } = writer.progress.mirror;
        self.by_cell.entry(cell).or_default().insert(epoch, index);
        self.known.push(writer);
        index
    }

    pub(crate) fn get(&self, id: u32) -> Option<&NamedWriter> {
        self.known.get(id as usize)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut NamedWriter> {
        self.known.get_mut(id as usize)
    }

    /// The index of a mirror.
    pub(crate) fn by_mirror(&self, mirror: MirrorId) -> Option<u32> {
        self.by_cell.get(&mirror.cell)?.get(mirror.epoch)
    }

    /// Which mirror wrote line `line` of `cell`; a new one, if none of those that are named did.
    pub(crate) fn of_line(&mut self, cell: u16, line: LineNumber) -> u32 {
        self.known_of(cell, line).unwrap_or_else(|| {
            let mirror = MirrorId { cell, epoch: line };
            let progress = Progress { mirror, expected: line, lines: 0, lost: 0 };
            let accepted = line.next();
            let (worker, label) = (u32::MAX, String::new());
            self.push(NamedWriter { worker, label, progress, accepted, is_adrift: false })
        })
    }

    /// As [`of_line`](Self::of_line); `None` for a line of no named mirror.
    pub(crate) fn known_of(&self, cell: u16, line: LineNumber) -> Option<u32> {
        self.by_cell.get(&cell)?.of_line(line)
    }
}
