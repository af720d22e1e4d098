//! What never changes in a segment, and the arithmetic of positions.

use bytemuck::{Pod, Zeroable};

use super::entry::{LAP_BITS, LAP_MASK};
use super::{
    Cell, Header, MAX_CELLS, MAX_TICKETS, OrderEntry, Position, SLOT_BYTES, SLOT_HEADER_WORDS,
    SLOT_INDEX_BITS, Ticket,
};

/// What becomes of the oldest line of a full ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingMode {
    /// It stays until the reader takes it: `Block`, `DropNewest`.
    Lossless,
    /// A writer replaces it: `OverwriteOldest`.
    Overwriting,
}

/// What never changes after creation: the first 128 bytes of the segment.
///
/// An attacher copies it once into private memory, checks it, and never reads it from the segment
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Geometry {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) endianness: u32,
    /// Bytes of a word: 8.
    pub(crate) word_bytes: u32,
    /// Bytes of a slot, header included: a multiple of 64.
    pub(crate) slot_bytes: u32,
    /// The order ring has `1 << order_bits` entries.
    pub(crate) order_bits: u32,
    /// Cells, the reader's included.
    pub(crate) cells: u32,
    pub(crate) tickets: u32,
    /// A [`Policy`](crate::Policy)'s number: 0 block, 1 drop newest, 2 overwrite oldest.
    pub(crate) policy: u16,
    /// 0 slots have no checksum, 1 each has one.
    pub(crate) checksums: u16,
    /// Bytes of the whole segment.
    pub(crate) total_bytes: u64,
    pub(crate) start_position: u64,
    /// Bytes of the longest line.
    pub(crate) max_line: u64,
    /// Random: two rings never have the same.
    pub(crate) identity: [u64; 2],
    /// When the segment was made, nanoseconds since 1970.
    pub(crate) created: u64,
    /// How long a `Block` writer waits for space, milliseconds; `u64::MAX` for ever.
    pub(crate) block_limit: u64,
    /// How long writers wait for a reader to come after the last one died, milliseconds.
    pub(crate) reader_grace: u64,
    /// 0 off, 1 coarse.
    pub(crate) timestamps: u16,
    /// What mirrors make of `\r`: bit 0 fold `\r\n`, bit 1 let a lone one rewrite the unfinished
    /// line.
    pub(crate) returns: u16,
    /// 0 futex, 1 pipe.
    pub(crate) wake_up: u16,
    /// 0 memory without a name, which has to be sealed; 1 memory with a name; 2 a file.
    pub(crate) backing: u16,
    /// The process that made the wake-up pipe, and its number for the write end there.
    pub(crate) pipe_process: u32,
    pub(crate) pipe_descriptor: u32,
    /// The inode of the wake-up pipe, by which an attacher knows that it reopened the right one.
    pub(crate) pipe_inode: u64,
}

/// Words of [`Geometry`].
pub(crate) const GEOMETRY_WORDS: usize = size_of::<Geometry>() / 8;

/// What the exchange needs to know of a segment's geometry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) order_bits: u32,
    pub(crate) slot_words: usize,
    /// Bytes between a slot's header and its payload: those of its checksum, if slots have one,
    /// else 0.
    pub(crate) check_bytes: usize,
}

impl Shape {
    /// Positions in one lap.
    #[inline]
    pub(crate) fn positions(self) -> u64 {
        1 << self.order_bits
    }
    /// The entry in which `position` stands.
    #[inline]
    pub(crate) fn index(self, position: Position) -> usize {
        (position.0 & (self.positions() - 1)) as usize
    }
    #[inline]
    pub(crate) fn lap(self, position: Position) -> u64 {
        position.0 >> self.order_bits & LAP_MASK
    }
    /// The bits of a position that say its entry and its lap. What is beyond them comes from the
    /// tail hint, which any process can write.
    #[inline]
    pub(crate) fn place_bits(self) -> u64 {
        u64::MAX >> (64 - LAP_BITS - self.order_bits)
    }
    /// Whether two positions have the same entry and lap.
    #[inline]
    pub(crate) fn is_same_place(self, a: Position, b: Position) -> bool {
        (a.0 ^ b.0) & self.place_bits() == 0
    }
    /// Words of a slot before its payload.
    #[inline]
    pub(crate) fn header_words(self) -> usize {
        SLOT_HEADER_WORDS + self.check_bytes / 8
    }
    /// Whether slots have checksums.
    #[inline]
    pub(crate) fn has_checks(self) -> bool {
        self.check_bytes > 0
    }
    /// Bytes of payload in a slot.
    #[inline]
    pub(crate) fn payload(self) -> usize {
        (self.slot_words - self.header_words()) * 8
    }
    /// The position `laps` laps after this one.
    pub(crate) fn after_laps(self, position: Position, laps: i64) -> Position {
        position.plus((laps as u64) << self.order_bits)
    }
    /// The entry at `index` in a ring whose first line will have the position `start`, holding slot
    /// `index`.
    pub(crate) fn first_entry(self, start: Position, index: usize) -> OrderEntry {
        let lap = self.lap(start) + u64::from(index < self.index(start));
        OrderEntry::free(lap, index as u32)
    }
}

/// Where the parts of a segment lie, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) tickets: usize,
    pub(crate) cells: usize,
    pub(crate) order: usize,
    pub(crate) slots: usize,
    pub(crate) total: usize,
}

impl Geometry {
    pub(crate) fn shape(&self) -> Shape {
        let slot_words = self.slot_bytes as usize / 8;
        let check_bytes = 8 * usize::from(self.checksums != 0);
        Shape { order_bits: self.order_bits, slot_words, check_bytes }
    }
    /// What no other segment has, as a number.
    pub(crate) fn identity(&self) -> u128 {
        let [high, low] = self.identity;
        u128::from(high) << 64 | u128::from(low)
    }
    /// Slots in all: one for each position of a lap, and one for each cell.
    pub(crate) fn slots(&self) -> usize {
        (1 << self.order_bits) + self.cells as usize
    }
    pub(crate) fn offsets(&self) -> Offsets {
        let tickets = size_of::<Header>();
        let cells = align(tickets + self.tickets as usize * size_of::<Ticket>());
        let order = cells + self.cells as usize * size_of::<Cell>();
        let slots = align(order + (8 << self.order_bits));
        Offsets {
            tickets,
            cells,
            order,
            slots,
            total: slots + self.slots() * self.slot_bytes as usize,
        }
    }
    /// The first number here that no segment of this layout has, as a sentence.
    pub(crate) fn fault(&self) -> Option<String> {
        let slot = self.slot_bytes as usize;
        let fault = |what: &str, found: u64, expected: &str| {
            Some(format!("{what} is {found}, expected {expected}"))
        };
        if !SLOT_BYTES.contains(&slot) || !slot.is_multiple_of(64) {
            return fault("the slot size", slot as u64, "a multiple of 64 from 64 to 65536");
        }
        if !(1..SLOT_INDEX_BITS).contains(&self.order_bits) {
            return fault("the number of order bits", self.order_bits.into(), "1 to 23");
        }
        if !(2..=MAX_CELLS).contains(&(self.cells as usize)) {
            return fault("the number of cells", self.cells.into(), "2 to 4096");
        }
        if !(1..=MAX_TICKETS).contains(&(self.tickets as usize)) {
            return fault("the number of tickets", self.tickets.into(), "1 to 1048576");
        }
        if self.policy > 2 {
            return fault("the policy", self.policy.into(), "0 to 2");
        }
        if self.checksums > 1 {
            return fault("the kind of checksums", self.checksums.into(), "0 or 1");
        }
        if self.timestamps > 1 {
            return fault("the time stamp mode", self.timestamps.into(), "0 or 1");
        }
        if self.returns > 3 {
            return fault("the handling of carriage returns", self.returns.into(), "0 to 3");
        }
        if self.wake_up > 1 {
            return fault("the wake-up mode", self.wake_up.into(), "0 or 1");
        }
        if self.backing > 2 {
            return fault("the kind of backing", self.backing.into(), "0 to 2");
        }
        if self.max_line == 0 || self.max_line > (self.shape().payload() as u64) << 24 {
            return fault("the longest line", self.max_line, "1 byte to 16777216 slots' payload");
        }
        if self.total_bytes != self.offsets().total as u64 {
            let expected = format!("{} for this geometry", self.offsets().total);
            return fault("the noted size", self.total_bytes, &expected);
        }
        None
    }
}

fn align(offset: usize) -> usize {
    offset.next_multiple_of(128)
}
