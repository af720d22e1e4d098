//! [`Statistics`]: what a ring is, how far it has come, and who writes into it.

use std::time::{Duration, SystemTime};

use crate::handles::line_ring::{Counts, LineRing};
use crate::layout::sync::Ordering;
use crate::layout::{Cell, LineNumber, MirrorId, Position, TicketWord};
use crate::line::item::End;
use crate::segment::options::Policy;
use crate::segment::{Parts, View};

use Ordering::{Acquire, Relaxed};

/// What [`Observer::statistics`](crate::Observer::statistics) finds. Each number may be a moment
/// old, and those of one ring are not of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Statistics {
    /// Random: two rings never have the same, be they made under one name.
    pub identity: u128,
    /// When the ring was made.
    pub created: SystemTime,
    /// What a writer does when it is full.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_words"))]
    pub policy: Policy,
    /// Lines that it has room for, of up to `line_bytes`.
    pub lines: u64,
    /// Bytes of a line that takes one slot; a longer one takes several.
    pub line_bytes: u64,
    /// Bytes of the longest line.
    pub max_line: u64,
    /// Bytes of its memory, or file.
    pub bytes: u64,
    /// Whether each slot has a checksum.
    pub checksums: bool,
    /// The position at which it began.
    pub first: u64,
    /// Everything before this position was accepted by a reader.
    pub accepted: u64,
    /// The position of the next line: so many slots are unread as it is ahead of `accepted`, or
    /// fewer where lines were overwritten.
    pub next: u64,
    /// Whether writers were told to stop.
    pub stopped: bool,
    /// Whether a process reads it.
    pub has_reader: bool,
    /// Whether a process uses it, as a reader or with mirrors.
    pub is_used: bool,
    /// Mirrors open and ended.
    pub counts: Counts,
    /// Seats, and mirrors whose end no reader has accepted, in the order in which they were made.
    pub writers: Vec<WriterStatistics>,
}

/// A seat or a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WriterStatistics {
    /// The number of the mirror, as in [`Line::writer_id`](crate::Line::writer_id).
    pub writer_id: u32,
    /// Its label.
    pub label: String,
    /// The process that opened it, by the number that it has for itself.
    pub process: Option<u32>,
    /// What it does.
    pub state: WriterState,
    /// Lines that it has written, those included that it dropped.
    pub lines: u64,
    /// Lines that it dropped, the ring being full.
    pub dropped: u64,
    /// Bytes of a line that is not finished.
    pub unfinished: u64,
}

/// What a seat or a mirror does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WriterState {
    /// A seat that no process has opened yet.
    Waiting,
    /// A mirror that is open.
    Open,
    /// A mirror whose process is gone, which no reader has noticed yet.
    Gone,
    /// It ended so.
    Ended(End),
}

#[cfg(feature = "serde")]
fn in_words<S: serde::Serializer>(policy: &Policy, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(policy)
}

impl Statistics {
    /// Of a ring that is looked at.
    pub(crate) fn of(view: &View) -> Self {
        let (parts, geometry) = (&view.parts, &view.geometry);
        let (header, shape) = (parts.header(), geometry.shape());
        // ORD read:E, acquire; pairs with read:A; what was accepted was written before the tail.
        let accepted = header.read_position.0.load(Acquire);
        Self {
            identity: geometry.identity(),
            created: SystemTime::UNIX_EPOCH + Duration::from_nanos(geometry.created),
            policy: Policy::of(geometry),
            lines: shape.positions(),
            line_bytes: shape.payload() as u64,
            max_line: geometry.max_line,
            bytes: geometry.total_bytes,
            checksums: shape.has_checks(),
            first: geometry.start_position,
            accepted,
            next: parts.ring().tail().0,
            stopped: header.flags.0.stopped.load(Relaxed) != 0,
            has_reader: view.has_reader(),
            is_used: view.is_used_now(),
            counts: Counts::of(parts),
            writers: writers(parts, |cell| view.is_owned(cell)),
        }
    }

    /// Slots that no reader has accepted.
    pub fn unread(&self) -> u64 {
        let (accepted, next) = (Position(self.accepted), Position(self.next));
        if accepted.is_before(next) { next.since(accepted).min(self.lines) } else { 0 }
    }
}

impl LineRing {
    /// Who writes: seats, mirrors that are open, and those whose end no reader has accepted, in the
    /// order in which they were made. A reader that waits for all ends waits for those that are
    /// [waiting](WriterState::Waiting), [open](WriterState::Open) and, for a moment,
    /// [gone](WriterState::Gone). Some system calls for each that is open.
    ///
    /// ```
    /// use linering::{End, LineRing, Options, WriterState};
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// let mirror = ring.mirror_labelled("worker")?;
    /// let [worker] = &ring.writers()[..] else { panic!("one writer") };
    /// assert_eq!((worker.label.as_str(), worker.state), ("worker", WriterState::Open));
    /// assert_eq!(worker.process, Some(std::process::id()));
    /// drop(mirror);
    /// assert_eq!(ring.writers()[0].state, WriterState::Ended(End::Eof));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writers(&self) -> Vec<WriterStatistics> {
        // Where the system does not say, it may have an owner.
        let is_owned = |cell| !matches!(self.segment().has_owner(cell), Ok(Some(false)));
        writers(self.segment().parts(), is_owned)
    }
}

fn writers(parts: &Parts, is_owned: impl Fn(usize) -> bool) -> Vec<WriterStatistics> {
    let mut writers: Vec<_> = parts
        .used_tickets()
        .iter()
        .filter(|ticket| !ticket.is_counted())
        .filter_map(|ticket| {
            let (state, mirror) = match ticket.state()? {
                TicketWord::Reserved(_) => (WriterState::Waiting, None),
                TicketWord::Live(mirror) if is_owned(mirror.cell.into()) => {
                    (WriterState::Open, Some(mirror))
                }
                TicketWord::Live(mirror) => (WriterState::Gone, Some(mirror)),
                TicketWord::Eof(mirror) => (WriterState::Ended(End::Eof), Some(mirror)),
                TicketWord::Error(mirror) => (WriterState::Ended(End::Error), Some(mirror)),
                TicketWord::Dead(mirror) => (WriterState::Ended(End::Died), Some(mirror)),
                TicketWord::Cancelled(_) => (WriterState::Ended(End::Cancelled), None),
                TicketWord::TimedOut(_) => (WriterState::Ended(End::NeverOpened), None),
                TicketWord::Free | TicketWord::Opening(_) | TicketWord::Making => return None,
            };
            let (mut next, mut dropped, mut unfinished) =
                (LineNumber::new(ticket.lines.load(Relaxed)), ticket.dropped.load(Relaxed), 0);
            if matches!(state, WriterState::Open | WriterState::Gone)
                && let Some(cell) = mirror.and_then(|mirror| cell_of(parts, mirror))
            {
                let pending = cell.pending();
                (next, unfinished) = (pending.line, pending.bytes.into());
                dropped = cell.writer.0.dropped.load(Relaxed);
            }
            Some(WriterStatistics {
                writer_id: ticket.serial.load(Relaxed) as u32,
                label: ticket.label(),
                process: ticket.process().filter(|_| mirror.is_some()).map(|it| it.number()),
                state,
                lines: mirror.map_or(0, |mirror| mirror.epoch.lines_to(next)),
                dropped,
                unfinished,
            })
        })
        .collect();
    writers.sort_by_key(|writer| writer.writer_id);
    writers
}

/// The cell of a mirror, unless it is another's already.
fn cell_of(parts: &Parts, mirror: MirrorId) -> Option<&Cell> {
    let cell = parts.cells().get(usize::from(mirror.cell))?;
    // ORD epoch:E, acquire; pairs with epoch:A; the lines are those of the mirror of that epoch.
    let epoch = LineNumber::new(cell.reader.0.epoch.load(Acquire));
    (epoch == mirror.epoch).then_some(cell)
}
