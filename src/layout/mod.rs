//! The layout of a segment: what lies where, and the arithmetic of positions.
//!
//! Nothing here is unsafe and nothing here decides anything: these are words, their bit fields and
//! their offsets. `docs/format.md` draws them; a test below holds the two together.
//!
//! ```text
//! header | tickets[T] | cells[C] | order[N] | slots[N + C]
//! ```

mod entry;
mod geometry;
mod header;
mod hold;
mod line_number;
mod position;
mod slot;
pub(crate) mod sync;
mod ticket;

pub(crate) use entry::OrderEntry;
pub(crate) use geometry::{GEOMETRY_WORDS, Geometry, RingMode, Shape};
pub(crate) use header::{Cell, Header, ReaderWords, SegmentCounters, Ticket};
pub(crate) use hold::{CHANGES_SHIFT, Hold, Pending};
pub(crate) use line_number::LineNumber;
pub(crate) use position::Position;
pub(crate) use slot::{
    CHECK_WORD, SLOT_HEADER_BYTES, SLOT_HEADER_WORDS, SOURCE_WORD, SlotHeader, flag,
};
pub(crate) use ticket::{MirrorId, Owner, TicketWord};

/// The first eight bytes of every segment, in file order. Written last at creation.
pub(crate) const MAGIC: [u8; 8] = *b"LINERING";
/// The same while a segment is made: where no process lives in such a one, its maker died.
pub(crate) const BEING_MADE: [u8; 8] = *b"linering";
/// The layout described here. Any change of a byte's meaning raises it.
pub(crate) const LAYOUT_VERSION: u32 = 2;
/// Written as a native integer: an attacher of the other endianness reads it reversed.
pub(crate) const ENDIANNESS: u32 = 0x0102_0304;

/// The smallest and largest slot, header included, in bytes.
pub(crate) const SLOT_BYTES: core::ops::RangeInclusive<usize> = 64..=65_536;
/// Bits of a slot index: an order entry has 24 for it.
pub(crate) const SLOT_INDEX_BITS: u32 = 24;
/// The most cells a segment may have (a slot header has 12 bits for one), the reader's included.
pub(crate) const MAX_CELLS: usize = 4096;
/// The most tickets a segment may have.
pub(crate) const MAX_TICKETS: usize = 1 << 20;
/// The cell of the reader. Writers have the others.
pub(crate) const READER_CELL: usize = 0;
/// Bytes of a label, at most.
pub(crate) const LABEL_BYTES: usize = 24;

#[cfg(test)]
#[path = "layout_tests/mod.rs"]
mod tests;
