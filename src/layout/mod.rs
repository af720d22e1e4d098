//! The layout of a segment: what lies where, and the arithmetic of positions.
//!
//! Nothing here is unsafe and nothing here decides anything: these are words, their bit fields and
//! their offsets. `docs/format.md` draws them; a test below holds the two together.
//!
//! ```text
//! header | tickets[T] | cells[C] | order[N] | slots[N + C]
//! ```

pub(crate) mod sync;

use bytemuck::{Pod, Zeroable};

use sync::{AtomicU32, AtomicU64};

/// The first eight bytes of every segment, in file order. Written last at creation.
pub(crate) const MAGIC: [u8; 8] = *b"LINERING";
/// The same while a segment is made: where nobody lives in such a one, its maker died.
pub(crate) const BEING_MADE: [u8; 8] = *b"linering";
/// The layout described here. Any change of a byte's meaning raises it.
pub(crate) const LAYOUT_VERSION: u32 = 2;
/// Written as a native integer: an attacher of the other endianness reads it reversed.
pub(crate) const ENDIANNESS: u32 = 0x0102_0304;

/// Words of a slot's header.
pub(crate) const SLOT_HEADER_WORDS: usize = 4;
/// Bytes of a slot's header, without the word of its checksum.
pub(crate) const SLOT_HEADER_BYTES: usize = SLOT_HEADER_WORDS * 8;
/// The word of a slot that has its checksum, where slots have one; the payload comes after it.
pub(crate) const CHECK_WORD: usize = SLOT_HEADER_WORDS;
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

const LAP_BITS: u32 = 39;
const LAP_MASK: u64 = (1 << LAP_BITS) - 1;
const SLOT_MASK: u64 = (1 << SLOT_INDEX_BITS) - 1;
const FULL_BIT: u64 = 1 << SLOT_INDEX_BITS;

/// Line numbers have 48 bits.
pub(crate) const LINE_MASK: u64 = (1 << 48) - 1;

// ---------------------------------------------------------------------------------------- the
// header

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

/// A cache-line pair (128 bytes) of its own: processors fetch lines in pairs, so a word that one
/// side writes often must be that far from what the other side reads. The number is part of the
/// format, which is why this is not `crossbeam_utils::CachePadded` (its alignment depends on the
/// machine).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Pair<T>(pub(crate) T);

/// The first words of a segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// A [`Geometry`], written once.
    pub(crate) geometry: Pair<[AtomicU64; GEOMETRY_WORDS]>,
    /// The tail hint: some position at or before the next one to be filled. May lag, never leads.
    pub(crate) next_position: Pair<AtomicU64>,
    /// Every position before it has been accepted by the reader.
    pub(crate) read_position: Pair<AtomicU64>,
    /// What each write looks at, and nobody writes often.
    pub(crate) look: Pair<Look>,
    /// The word that writers of a full ring sleep on: bit 0 somebody sleeps, the rest counts
    /// wakes.
    pub(crate) space: Pair<AtomicU32>,
    /// Counters that are bumped now and then.
    pub(crate) counts: Pair<Counts>,
}

/// What each write looks at.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Look {
    /// The word that the reader sleeps on: 1 while it does, 2 while somebody is about to wake it.
    pub(crate) reader_sleeps: AtomicU32,
    /// 1 once every writer was told to stop.
    pub(crate) stopped: AtomicU32,
}

/// Counters of a segment.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Counts {
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
    /// A [`TicketWord`].
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
    pub(crate) writer: Pair<WriterWords>,
    pub(crate) reader: Pair<ReaderWords>,
}

/// What the owner of a cell writes.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct WriterWords {
    /// A [`Hold`]: which slot the cell owns.
    pub(crate) hold: AtomicU64,
    /// A [`Pending`]: the number of the next or unfinished line, and its bytes in the spare.
    pub(crate) pending: AtomicU64,
    /// An [`Owner`]'s number.
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

// ------------------------------------------------------------------------------------- packed
// words

/// An entry of the order ring: `lap:39 | full:1 | slot:24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    /// Set to `{ lap, free, slot }`: the position of that lap may be filled, and `slot` is what is
    /// there.
    #[inline]
    pub(crate) fn free(lap: u64, slot: u32) -> Self {
        debug_assert!(u64::from(slot) <= SLOT_MASK);
        Self((lap & LAP_MASK) << (SLOT_INDEX_BITS + 1) | u64::from(slot))
    }
    /// Set to `{ lap, full, slot }`: the position of that lap is in `slot`.
    #[inline]
    pub(crate) fn full(lap: u64, slot: u32) -> Self {
        Self(Self::free(lap, slot).0 | FULL_BIT)
    }
    #[inline]
    pub(crate) fn slot(self) -> u32 {
        (self.0 & SLOT_MASK) as u32
    }
    /// The same with another slot.
    #[inline]
    pub(crate) fn with_slot(self, slot: u32) -> Self {
        Self(self.0 & !SLOT_MASK | u64::from(slot))
    }
    pub(crate) fn is_full(self) -> bool {
        self.0 & FULL_BIT != 0
    }
    /// Whether lap and fullness are those of `other`.
    #[inline]
    pub(crate) fn is_at(self, other: Entry) -> bool {
        (self.0 ^ other.0) & !SLOT_MASK == 0
    }
    #[inline]
    pub(crate) fn lap(self) -> u64 {
        self.0 >> (SLOT_INDEX_BITS + 1)
    }
    /// Laps from `lap` to this entry's, as a signed modular difference.
    pub(crate) fn laps_since(self, lap: u64) -> i64 {
        let shift = 64 - LAP_BITS;
        ((self.lap().wrapping_sub(lap) << shift) as i64) >> shift
    }
}

/// Which slot a cell owns: `changes:15 | intent:1 | b:24 | a:24`.
///
/// The change count lets somebody who judges a dead cell know that the word did not move meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The cell owns this slot.
    Held(u32),
    /// The cell owns one of the two, and the other is in circulation: it is exchanging the first
    /// for the second.
    Intent(u32, u32),
}

impl Hold {
    #[inline]
    pub(crate) fn pack(self, changes: u64) -> u64 {
        let (intent, a, b) = match self {
            Hold::Held(a) => (0, a, 0),
            Hold::Intent(a, b) => (1, a, b),
        };
        changes << 49 | intent << 48 | u64::from(b) << 24 | u64::from(a)
    }
    #[inline]
    pub(crate) fn unpack(word: u64) -> (Self, u64) {
        let a = (word & SLOT_MASK) as u32;
        let b = (word >> 24 & SLOT_MASK) as u32;
        let hold = if word >> 48 & 1 == 0 { Hold::Held(a) } else { Hold::Intent(a, b) };
        (hold, word >> 49)
    }
}

/// `line:48 | bytes:16`: the number of the line that is unfinished or comes next, and how many of
/// its bytes stand in the spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) line: u64,
    pub(crate) bytes: u16,
}

impl Pending {
    pub(crate) fn pack(self) -> u64 {
        (self.line & LINE_MASK) << 16 | u64::from(self.bytes)
    }
    pub(crate) fn unpack(word: u64) -> Self {
        Self { line: word >> 16, bytes: word as u16 }
    }
}

/// What a ticket stands for: `state:4 | cell:12 | epoch or serial:48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketWord {
    /// Nobody's.
    Free,
    /// A seat that nobody has opened yet; the number is its serial.
    Reserved(u64),
    /// Being opened by the mirror that has this cell.
    Opening(MirrorId),
    /// An open mirror.
    Live(MirrorId),
    /// Ended by `send_eof`, or dropped.
    Eof(MirrorId),
    /// Ended by `send_error`.
    Error(MirrorId),
    /// Its process was found dead.
    Dead(MirrorId),
    /// A seat that was given up before anybody opened it; the number is its serial.
    Cancelled(u64),
    /// A seat whose time limit passed before anybody opened it; the number is its serial.
    TimedOut(u64),
    /// Going to be a seat: whoever has its lock writes its fields. Nobody's, if nobody has it.
    Making,
}

/// A mirror's place: its cell, and the number of its first line there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MirrorId {
    pub(crate) cell: u16,
    pub(crate) epoch: u64,
}

impl TicketWord {
    pub(crate) fn pack(self) -> u64 {
        let (state, cell, number) = match self {
            TicketWord::Free => (0, 0, 0),
            TicketWord::Reserved(serial) => (1, 0, serial),
            TicketWord::Opening(m) => (2, m.cell, m.epoch),
            TicketWord::Live(m) => (3, m.cell, m.epoch),
            TicketWord::Eof(m) => (4, m.cell, m.epoch),
            TicketWord::Error(m) => (5, m.cell, m.epoch),
            TicketWord::Dead(m) => (6, m.cell, m.epoch),
            TicketWord::Cancelled(serial) => (7, 0, serial),
            TicketWord::TimedOut(serial) => (8, 0, serial),
            TicketWord::Making => (9, 0, 0),
        };
        state << 60 | u64::from(cell) << 48 | number & LINE_MASK
    }
    /// `None` for bits that no ticket has.
    pub(crate) fn unpack(word: u64) -> Option<Self> {
        let mirror = MirrorId { cell: (word >> 48 & 0xfff) as u16, epoch: word & LINE_MASK };
        let serial = word & LINE_MASK;
        Some(match word >> 60 {
            0 => TicketWord::Free,
            1 => TicketWord::Reserved(serial),
            2 => TicketWord::Opening(mirror),
            3 => TicketWord::Live(mirror),
            4 => TicketWord::Eof(mirror),
            5 => TicketWord::Error(mirror),
            6 => TicketWord::Dead(mirror),
            7 => TicketWord::Cancelled(serial),
            8 => TicketWord::TimedOut(serial),
            9 => TicketWord::Making,
            _ => return None,
        })
    }
}

/// Who may take a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Owner {
    /// Anybody who takes its lock.
    Free = 0,
    /// A mirror, as long as it holds the lock.
    Live = 1,
    /// A mirror that ended with an error. Its spare keeps the error's first slot-full for the
    /// reader; others may take the cell when there is no free one.
    KeepsError = 2,
}

/// A slot's header: what line, or part of a line, it holds.
///
/// ```text
/// word 0  position:64
/// word 1  time:48 | tag:16
/// word 2  line:48 | cell:12 | level:4
/// word 3  part:24 | length:16 | flags:24
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotHeader {
    /// Where the part stands in the one order. While a line is unfinished: its place
    /// in the order in which they were begun, if its writer has no ticket.
    pub(crate) position: u64,
    /// 1 + microseconds from the segment's creation to the line's first byte; 0 for none.
    pub(crate) time: u64,
    pub(crate) tag: u16,
    pub(crate) line: u64,
    pub(crate) cell: u16,
    pub(crate) level: u8,
    /// Counts the parts of a line from 0.
    pub(crate) part: u32,
    /// Bytes of payload.
    pub(crate) length: u16,
    pub(crate) flags: u32,
}

/// Flags of a slot.
pub(crate) mod flag {
    /// The first part of its line. With a line number that is already being put together: start
    /// anew.
    pub(crate) const FIRST: u32 = 1;
    /// The last part of its line.
    pub(crate) const LAST: u32 = 1 << 1;
    /// The writer cut the line; the last 8 bytes of the last part are the number of bytes it left
    /// out.
    pub(crate) const TRUNCATED: u32 = 1 << 2;
    /// The line has no end.
    pub(crate) const UNFINISHED: u32 = 1 << 3;
    /// Published by somebody else after its writer died; its `write` never returned.
    pub(crate) const UNACKNOWLEDGED: u32 = 1 << 4;
    /// The line is void, with whatever came of it before.
    pub(crate) const FORGOTTEN: u32 = 1 << 5;
    /// In each part of a line of several: its number was that of a line before it, of which parts
    /// were published that are void. A reader that skipped positions cannot know whether parts from
    /// before them are of the same line; with a part without this flag they are.
    pub(crate) const ANEW: u32 = 1 << 6;
    /// Two bits: a [`Stream`](crate::Stream)'s number.
    pub(crate) const STREAM_SHIFT: u32 = 8;
    /// Three bits: a [`Kind`](crate::Kind)'s number.
    pub(crate) const KIND_SHIFT: u32 = 12;
}

impl SlotHeader {
    #[inline]
    pub(crate) fn time_word(&self) -> u64 {
        (self.time & LINE_MASK) << 16 | u64::from(self.tag)
    }
    #[inline]
    pub(crate) fn line_word(&self) -> u64 {
        (self.line & LINE_MASK) << 16
            | u64::from(self.cell & 0xfff) << 4
            | u64::from(self.level & 0xf)
    }
    #[inline]
    pub(crate) fn part_word(&self) -> u64 {
        u64::from(self.part) << 40 | u64::from(self.length) << 24 | u64::from(self.flags)
    }
    #[inline]
    pub(crate) fn unpack(words: [u64; SLOT_HEADER_WORDS]) -> Self {
        let [position, time, line, part] = words;
        Self {
            position,
            time: time >> 16,
            tag: time as u16,
            line: Self::cell_and_line(line).1,
            cell: Self::cell_and_line(line).0,
            level: (line & 0xf) as u8,
            part: (part >> 40) as u32,
            length: Self::length_of(part) as u16,
            flags: (part & 0xff_ffff) as u32,
        }
    }
    /// What the third word says.
    #[inline]
    pub(crate) fn cell_and_line(word: u64) -> (u16, u64) {
        ((word >> 4 & 0xfff) as u16, word >> 16)
    }
    /// Bytes of payload, by the fourth.
    #[inline]
    pub(crate) fn length_of(word: u64) -> usize {
        usize::from((word >> 24) as u16)
    }
    #[inline]
    pub(crate) fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

// ---------------------------------------------------------------------------------------- geometry

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
    pub(crate) fn index(self, position: u64) -> usize {
        (position & (self.positions() - 1)) as usize
    }
    #[inline]
    pub(crate) fn lap(self, position: u64) -> u64 {
        position >> self.order_bits & LAP_MASK
    }
    /// Whether two positions have the same entry and lap. What is beyond the lap's bits comes from
    /// the tail hint, which anybody can write.
    #[inline]
    pub(crate) fn is_same_place(self, a: u64, b: u64) -> bool {
        (a ^ b) << (64 - LAP_BITS - self.order_bits) == 0
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
    pub(crate) fn after_laps(self, position: u64, laps: i64) -> u64 {
        position.wrapping_add((laps as u64) << self.order_bits)
    }
    /// The entry at `index` in a ring whose first line will have the position `start`, holding slot
    /// `index`.
    pub(crate) fn first_entry(self, start: u64, index: usize) -> Entry {
        let lap = self.lap(start) + u64::from(index < self.index(start));
        Entry::free(lap, index as u32)
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

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
