//! A cell's spare: the slot that its owner fills.

use super::Ring;
use super::checksum;
use super::copy::{load_bytes, store_bytes, store_piece, store_whole};
use crate::layout::sync::{AtomicU64, Ordering, fence};
use crate::layout::{
    CHANGES_SHIFT, CHECK_WORD, Cell, Hold, LineNumber, Pending, Position, SLOT_HEADER_WORDS,
    SlotHeader,
};

use Ordering::{Acquire, Relaxed, Release};

/// What makes the next of a change count where the hold word has it.
pub(super) const CHANGE: u64 = 1 << CHANGES_SHIFT;

/// The position after the one that the owner of a spare filled last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It has filled none.
    None,
    /// No other writer had come between its last two: it may look here first.
    Alone(Position),
    /// Others had: they have been here by now, probably.
    Among(Position),
}

impl Next {
    pub(super) fn position(self) -> Option<Position> {
        match self {
            Next::None => None,
            Next::Alone(next) | Next::Among(next) => Some(next),
        }
    }
}

/// A cell's slot, as its owner knows it: one of the ring that it was taken from, and used with that
/// alone.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(super) slot: u32,
    /// Where its words begin among those of all slots.
    pub(super) start: usize,
    /// The change count, where the hold word has it.
    pub(super) changes: u64,
    /// The position after the one that the owner filled last.
    pub(super) next: Next,
    /// The sum of what the slot has, without the position, where slots have checksums.
    pub(super) sum: u32,
}

impl Spare {
    /// Which of the ring's slots it is.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// The word that says `hold`, with a new change count.
    #[inline]
    pub(super) fn word(&mut self, hold: Hold) -> u64 {
        self.changes = self.changes.wrapping_add(CHANGE);
        self.changes | hold.pack(0)
    }
}

impl Cell {
    #[inline]
    pub(crate) fn pending(&self) -> Pending {
        // ORD unfinished:A, acquire; pairs with pending:A; the bytes that it counts are in the
        // spare.
        Pending::unpack(self.writer.0.pending.load(Acquire))
    }

    #[inline]
    pub(crate) fn set_pending(&self, line: LineNumber, bytes: usize) {
        // ORD pending:A, release; pairs with unfinished:A; after the bytes it counts.
        self.writer.0.pending.store(Pending { line, bytes: bytes as u16 }.pack(), Release);
    }
}

impl<'a> Ring<'a> {
    /// The spare of a cell whose hold word is this; `None` while it is undecided, and for a slot
    /// that the ring does not have.
    pub(crate) fn spare_of(&self, hold: u64) -> Option<Spare> {
        match Hold::unpack(hold) {
            (Hold::Held(slot), changes) if self.has_slot(slot) => Some(Spare {
                slot,
                start: self.start_of(slot),
                changes: changes << CHANGES_SHIFT,
                next: Next::None,
                sum: checksum::NONE,
            }),
            _ => None,
        }
    }

    /// Where the words of a slot begin.
    #[inline]
    pub(super) fn start_of(&self, slot: u32) -> usize {
        slot as usize * self.slot_words
    }

    /// Puts payload bytes into the owner's spare, from byte `at` on.
    ///
    /// # Panics
    ///
    /// If they do not fit in a slot.
    pub(crate) fn fill(&self, spare: &Spare, at: usize, bytes: &[u8]) {
        store_bytes(&self.own(spare)[self.shape.header_words()..], at, bytes);
    }

    /// The same for a piece of an unfinished line, in place, where slots have no checksums.
    ///
    /// # Panics
    ///
    /// If they do not fit in a slot.
    #[inline(always)]
    pub(crate) fn fill_on(&self, spare: &Spare, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.payload_bytes, "the piece fits in the slot");
        // SAFETY: a slot has room for so many bytes after its header.
        unsafe { store_piece(self.own(spare).as_ptr().add(SLOT_HEADER_WORDS), at, bytes) };
    }

    /// The sum of the payload whose sum is `sum`, with these bytes after it; nothing where slots
    /// have no checksum.
    #[inline]
    pub(crate) fn sum(&self, sum: u32, bytes: &[u8]) -> u32 {
        if self.shape.has_checks() { checksum::append_apart(sum, bytes) } else { checksum::NONE }
    }

    /// Puts the header's words except the position into the owner's spare.
    pub(crate) fn write_header(&self, spare: &Spare, header: &SlotHeader) {
        store_header(self.head(spare), header);
    }

    /// Puts the header's last word alone: flags, length and part of a line whose other words are
    /// there.
    pub(crate) fn write_part_word(&self, spare: &Spare, header: &SlotHeader) {
        self.head(spare)[SLOT_HEADER_WORDS - 1].store(header.part_word(), Relaxed);
    }

    /// The same for a spare that is going to be published, with the sum of its payload.
    #[inline]
    pub(crate) fn seal(&self, spare: &mut Spare, header: &SlotHeader, payload: u32) {
        store_header(self.head(spare), header);
        if self.shape.has_checks() {
            spare.sum = checksum::with_header_apart(payload, header);
        }
    }

    /// The same for one that is not what its writer put there: each reader of it sees that.
    pub(crate) fn seal_damaged(&self, spare: &mut Spare, header: &SlotHeader, payload: u32) {
        self.seal(spare, header, payload);
        spare.sum = !spare.sum;
    }

    /// Puts a header, but for the position, and a payload into the owner's spare, and seals it: a
    /// line that comes in one piece. `CHECKS`: slots have checksums.
    ///
    /// # Panics
    ///
    /// If the payload does not fit in a slot.
    #[inline(always)]
    pub(crate) fn write_line<const CHECKS: bool>(
        &self,
        spare: &mut Spare,
        header: &SlotHeader,
        bytes: &[u8],
    ) {
        assert!(bytes.len() <= self.payload_bytes, "the line fits in a slot");
        let payload = SLOT_HEADER_WORDS + usize::from(CHECKS);
        // SAFETY: a slot has room for so many bytes after its header.
        unsafe { store_whole(self.own(spare).as_ptr().add(payload), bytes) };
        store_header(self.head(spare), header);
        if CHECKS {
            // Of the caller's bytes: what stands in the segment may be changed by others.
            spare.sum = checksum::with_header(checksum::append(checksum::NONE, bytes), header);
        }
    }

    /// Puts the order of an unfinished line where its position will be.
    pub(crate) fn mark_begun(&self, spare: &Spare, order: u64) {
        self.head(spare)[0].store(order, Relaxed);
    }

    /// Puts another number there, of a spare that was sealed and stays: its checksum is that of a
    /// slot at that position.
    pub(crate) fn mark_kept(&self, spare: &Spare, number: u64) {
        if self.shape.has_checks() {
            self.mark::<true>(spare, number);
        } else {
            self.mark::<false>(spare, number);
        }
    }

    #[inline]
    pub(super) fn mark<const CHECKS: bool>(&self, spare: &Spare, position: u64) {
        self.head(spare)[0].store(position, Relaxed);
        if CHECKS {
            self.own(spare)[CHECK_WORD].store(checksum::word(spare.sum, position), Relaxed);
        }
    }

    /// Tells observers of the spare that other bytes are written over what it has: the change
    /// count moves.
    pub(crate) fn invalidate_snapshots(&self, hold: &AtomicU64, spare: &mut Spare) {
        self.hold_spare(hold, spare);
        // ORD renew:A, release fence; pairs with unfinished:B; before the first store of the new
        // bytes.
        fence(Release);
    }

    /// Notes that the spare did not leave, whatever was intended.
    pub(super) fn hold_spare(&self, hold: &AtomicU64, spare: &mut Spare) {
        // ORD publish:H, release; pairs with recover:A; as publish:F.
        hold.store(spare.word(Hold::Held(spare.slot)), Release);
    }

    /// The header's words of a spare.
    #[inline]
    fn head(&self, spare: &Spare) -> &'a [AtomicU64; SLOT_HEADER_WORDS] {
        // SAFETY: as in `own`; `new` has seen that a slot has a header.
        unsafe { &*self.slots.as_ptr().add(spare.start).cast() }
    }

    #[inline]
    pub(super) fn own(&self, spare: &Spare) -> &'a [AtomicU64] {
        // SAFETY: a spare is made by `spare_of` and changed by `exchange`, of slots that this ring
        // has and whose words are all there, as `new` has counted.
        unsafe { self.slots.get_unchecked(spare.start..spare.start + self.slot_words) }
    }
}

#[inline(always)]
fn store_header(slot: &[AtomicU64; SLOT_HEADER_WORDS], header: &SlotHeader) {
    let [_, time, line, part] = slot;
    time.store(header.time_word(), Relaxed);
    line.store(header.line_word(), Relaxed);
    part.store(header.part_word(), Relaxed);
}

/// Loads `bytes.len()` payload bytes of the slot `slot`, which its owner may be writing.
pub(crate) fn peek_payload(ring: &Ring<'_>, slot: u32, bytes: &mut [u8]) -> Option<SlotHeader> {
    let words = ring.slot(slot)?;
    let header = SlotHeader::unpack(core::array::from_fn(|i| words[i].load(Relaxed)));
    let length = bytes.len().min(ring.shape.payload());
    load_bytes(&words[ring.shape.header_words()..], &mut bytes[..length]);
    Some(header)
}
