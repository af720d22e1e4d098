//! How mirrors end, as the reader sees and reports it: events, deaths, and errors that were kept.
//!
//! An end is queued once every line before it was decoded, after the loss of the lines that are
//! missing.

use crate::error::ReadError;
use crate::exchange::checksum;
use crate::layout::sync::{Ordering, fence};
use crate::layout::{LineNumber, MirrorId, Owner, Position, SlotHeader};
use crate::line::item::End;
use crate::read::Decoded;
use crate::read::assembly::{Long, image_of};
use crate::read::backlog::Backlog;
use crate::read::event::Event;
use crate::read::writers::{PendingEnd, WriterTable};
use crate::registry::reaper::{Reaper, exit_of};
use crate::segment::Segment;

use Ordering::{Acquire, Relaxed};

/// How many batches of a busy ring go by between two checks of the clock for dead mirrors.
const CLOCK_EVERY: u32 = 64;

/// Notices that tickets changed and that mirrors died.
#[derive(Debug)]
pub(crate) struct EndReporter {
    /// The count of events up to which tickets were read.
    pub(crate) seen_events: u64,
    batches: u32,
    reaper: Reaper,
}

impl EndReporter {
    pub(crate) fn new() -> Self {
        Self { seen_events: 0, batches: 0, reaper: Reaper::new() }
    }

    /// Whether no ticket has changed since they were read.
    pub(crate) fn has_seen_events(&self, segment: &Segment) -> bool {
        segment.events() == self.seen_events
    }

    /// Before a batch: reads the tickets if one has changed, and now and then looks for dead
    /// mirrors.
    pub(crate) fn note_events(&mut self, segment: &Segment, writers: &mut WriterTable) {
        self.batches = self.batches.wrapping_add(1);
        let events = segment.events();
        if events != self.seen_events {
            self.seen_events = events;
            writers.read_tickets(segment);
        }
        if self.batches.is_multiple_of(CLOCK_EVERY) {
            // An error is given when the reader has nothing else to do, and looks again.
            let _ = self.reap_dead(segment, writers);
        }
    }

    /// Tries the locks of live mirrors, unless that was done just now, and ends those whose owner
    /// is dead.
    ///
    /// A few system calls for each live mirror, ten times a second at most.
    ///
    /// # Errors
    ///
    /// [`crate::MirrorError::DescriptorClosed`]: no death will be seen any more. Without a free
    /// descriptor deaths are seen once there is one again; the system's refusal is an error every
    /// other second.
    pub(crate) fn reap_dead(
        &mut self,
        segment: &Segment,
        writers: &mut WriterTable,
    ) -> Result<(), ReadError> {
        let Some(result) = self.reaper.poll(segment) else { return Ok(()) };
        // Also for seats whose time is over, which no event tells.
        writers.read_tickets(segment);
        result
    }

    /// As [`reap_dead`](Self::reap_dead), also if that was done just now.
    pub(crate) fn reap_dead_now(
        &mut self,
        segment: &Segment,
        writers: &mut WriterTable,
    ) -> Result<(), ReadError> {
        let result = self.reaper.look(segment);
        writers.read_tickets(segment);
        result
    }
}

/// Queues the ends whose lines have all been decoded, given that those before `position` have.
pub(crate) fn report_ends(
    backlog: &mut Backlog,
    segment: &Segment,
    position: Position,
    decoded: Decoded,
) {
    while let Some(pending) = backlog.writers.due(position, decoded) {
        report_end(backlog, segment, position, &pending);
    }
    while let Some((ticket, worker, label, end)) = backlog.writers.next_never_opened(segment) {
        let label = label.into();
        backlog.push(position, Event::NeverOpened { ticket, worker, label, end });
    }
}

/// Queues an end, after what is left of its mirror's lines. Every line before `position` was
/// decoded.
pub(crate) fn report_end(
    backlog: &mut Backlog,
    segment: &Segment,
    position: Position,
    pending: &PendingEnd,
) {
    let PendingEnd { writer, end, .. } = *pending;
    let Some(known) = backlog.writers.get(writer) else { return };
    let (cell, ticket) = (known.progress.mirror.cell, known.ticket);
    if let Some(cut) = backlog.assemblies.cut_off(cell.into(), |other| other == writer) {
        backlog.held.close(cell, position);
        backlog.push(position, Event::Long(cut));
    }
    if pending.is_accepted {
        return backlog.writers.note_accepted(writer);
    }
    report_gap(backlog, segment, position, pending);
    let exit = ticket.filter(|_| end == End::Died).and_then(|ticket| exit_of(segment, ticket));
    let process = ticket.and_then(|ticket| segment.tickets()[ticket as usize].process());
    let process = process.map(|process| process.number());
    backlog.push(position, Event::Ended { writer, end, process, exit });
}

/// Queues the loss of what is missing before an end, and its error if that was kept.
fn report_gap(backlog: &mut Backlog, segment: &Segment, position: Position, pending: &PendingEnd) {
    let PendingEnd { writer, lines, gap, .. } = *pending;
    let kept = if pending.error_is_lost {
        let mirror = backlog.writers.get(writer).map(|known| known.progress.mirror);
        mirror.and_then(|mirror| kept_error(segment, position, pending, mirror))
    } else {
        None
    };
    let gap = gap - u64::from(kept.is_some());
    if gap > 0 {
        // The error, if it is kept, is a line of its own, and not accepted with these.
        let next = if kept.is_some() { lines.previous() } else { lines };
        backlog.push(position, Event::Lost { writer, lines: gap, next });
    }
    if let Some(error) = kept {
        if let Some(known) = backlog.writers.get_mut(writer) {
            known.progress.lost -= 1;
            known.progress.lines += 1;
        }
        backlog.push(position, Event::Long(error));
    }
}

/// The first slot-full of an error whose line was overwritten, out of its mirror's spare.
fn kept_error(
    segment: &Segment,
    position: Position,
    pending: &PendingEnd,
    mirror: MirrorId,
) -> Option<Long> {
    let shape = segment.ring().shape;
    let image = kept_slot(segment, mirror)?;
    let (found, bytes) = image_of(shape, &image);
    let (cell, line) = (mirror.cell, pending.lines.previous());
    let damaged = !checksum::agrees(shape, &image)
        || shape.has_checks() && (found.cell, found.line) != (cell, line);
    // It is accepted as that line, whatever stands there.
    let header = SlotHeader { position: position.previous(), cell, line, ..found };
    let (bytes, missing, writer) = (bytes.to_vec(), found.position.0, pending.writer);
    Some(Long { header, writer, bytes, missing, truncated: missing > 0, damaged })
}

/// A copy of the spare of a mirror that has ended, if its cell was not given to another since.
fn kept_slot(segment: &Segment, mirror: MirrorId) -> Option<Vec<u64>> {
    let cell = &segment.cells()[usize::from(mirror.cell)];
    // A mirror that died before it could say that it keeps the error still has the cell.
    let is_kept = |owner| matches!(owner, Some(Owner::KeepsError | Owner::Live));
    let epoch = || LineNumber::new(cell.reader.0.epoch.load(Relaxed));
    let keeps = || is_kept(cell.owner()) && epoch() == mirror.epoch;
    if !keeps() {
        return None;
    }
    // ORD kept:B, acquire; pairs with publish:F and settle:A; the words that the owner left in the
    // slot.
    let ring = segment.ring();
    let spare = ring.spare_of(cell.writer.0.hold.load(Acquire))?;
    let mut image = vec![0; ring.shape.slot_words];
    let is_sound = ring.copy(spare.slot(), &mut image);
    // ORD kept:A, acquire fence; pairs with register:A; a new mirror of the cell sets its epoch and
    // owner before it writes into the spare.
    fence(Acquire);
    (keeps() && is_sound).then_some(image)
}
