//! The words at the beginning of a segment, and those of tickets and cells.

use super::sync::{AtomicU32, AtomicU64};
use super::{GEOMETRY_WORDS, LABEL_BYTES};

/// A cache-line pair (128 bytes) of its own: processors fetch lines in pairs, so a word that one
/// side writes often must be that far from what the other side reads. The number is part of the
/// format, which is why this is not `crossbeam_utils::CachePadded` (its alignment depends on the
/// machine).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct CacheLinePair<T>(pub(crate) T);

/// The first words of a segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// A [`Geometry`](super::geometry::Geometry), written once.
    pub(crate) geometry: CacheLinePair<[AtomicU64; GEOMETRY_WORDS]>,
    /// The tail hint: some position at or before the next one to be filled. May lag, never leads.
    pub(crate) next_position: CacheLinePair<AtomicU64>,
    /// Every position before it has been accepted by the reader.
    pub(crate) read_position: CacheLinePair<AtomicU64>,
    /// What each write looks at, and what is seldom written.
    pub(crate) flags: CacheLinePair<HotFlags>,
    /// The word that writers of a full ring sleep on: bit 0 a writer sleeps, the rest counts
    /// wakes.
    pub(crate) space: CacheLinePair<AtomicU32>,
    /// Counters that are bumped now and then.
    pub(crate) counts: CacheLinePair<SegmentCounters>,
}

/// What each write looks at.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct HotFlags {
    /// The word that the reader sleeps on, and observers: bits 0 and 1 are 1 while a writer has to
    /// wake them, 2 while one is about to; the rest counts wakes.
    pub(crate) reader_sleeps: AtomicU32,
    /// 1 once every writer was told to stop.
    pub(crate) stopped: AtomicU32,
}

/// Counters of a segment.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct SegmentCounters {
    /// Mirrors and seats so far: the next one's number.
    pub(crate) serial: AtomicU64,
    /// Tickets at and beyond it were never used.
    pub(crate) tickets_used: AtomicU64,
    /// Where to look for a free ticket first.
    pub(crate) ticket_hint: AtomicU64,
    /// Bumped when a ticket changes, so that the reader looks at them.
    pub(crate) events: AtomicU64,
    /// Unfinished lines begun so far by writers without a ticket: gives them their order.
    pub(crate) unfinished: AtomicU64,
    /// How mirrors ended whose tickets are free again: the reader's. The other tickets say the
    /// rest.
    pub(crate) eofs: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) deaths: AtomicU64,
    /// How often a writer found the ring full.
    pub(crate) found_full: AtomicU64,
    /// The namespaces of the processes that claims name: those of the first that claimed a cell, 0
    /// before.
    pub(crate) claimed_in: AtomicU64,
}

/// A seat's or mirror's entry in the table of ends.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Ticket {
    /// A [`TicketWord`](super::TicketWord).
    pub(crate) word: AtomicU64,
    /// The mirror's number, in the order in which seats and mirrors were made.
    pub(crate) serial: AtomicU64,
    /// At its end: the line number after its last.
    pub(crate) lines: AtomicU64,
    /// At its end: lines that its writer dropped.
    pub(crate) dropped: AtomicU64,
    /// While reserved: the monotonic millisecond at which the seat is given up, 0 for never.
    /// Since it was opened: bit 63, and the process that did.
    /// While its end is collected: bit 62, and what the count of such ends is with it.
    pub(crate) detail: AtomicU64,
    /// A label of up to 24 bytes, padded with zeros.
    pub(crate) label: [AtomicU64; LABEL_BYTES / 8],
}

/// A live mirror's place in the registry; the reader has one too.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell {
    pub(crate) writer: CacheLinePair<WriterWords>,
    pub(crate) reader: CacheLinePair<ReaderWords>,
}

/// What the owner of a cell writes.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct WriterWords {
    /// A [`Hold`](super::Hold): which slot the cell owns.
    pub(crate) hold: AtomicU64,
    /// A [`Pending`](super::Pending): the number of the next or unfinished line, and its bytes in
    /// the spare.
    pub(crate) pending: AtomicU64,
    /// An [`Owner`](super::Owner)'s number.
    pub(crate) owner: AtomicU64,
    /// Lines that the present mirror dropped.
    pub(crate) dropped: AtomicU64,
}

/// What is read and written on the reader's side of a cell; a writer touches it at registration
/// only.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct ReaderWords {
    /// The number of the present mirror's first line. Line numbers of a cell never restart, so it
    /// names the mirror among all that ever had the cell.
    pub(crate) epoch: AtomicU64,
    /// The number after the last line that was delivered.
    pub(crate) delivered: AtomicU64,
    /// The present mirror's ticket, 0 for none, else 1 + its index.
    pub(crate) ticket: AtomicU64,
    /// The present mirror's number.
    pub(crate) serial: AtomicU64,
    /// Where the owner shares the cell's lock with processes that may only read: bit 63, and the
    /// owner's process.
    pub(crate) claim: AtomicU64,
}
