//! What the reader does with a position: it copies what stands there, and later takes it.

use super::Ring;
use super::copy::{load_block, load_words};
use crate::layout::sync::{AtomicU64, Ordering, fence};
use crate::layout::{OrderEntry, Position, RingMode, SLOT_HEADER_WORDS, SlotHeader};

use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Positions of one lap, one after another.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Their entries.
    pub(crate) words: &'a [AtomicU64],
    /// The word of an entry that is filled, but for its slot.
    pub(crate) full: OrderEntry,
    /// The word of an entry that was taken, but for its slot.
    taken: OrderEntry,
}

/// What stands at a position that the reader has not consumed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// The line or part; its payload was copied out.
    Part(SlotHeader),
    /// Not filled yet.
    Empty,
    /// Not filled yet, and the line of the lap before was never taken: a reader that was overrun
    /// skipped it.
    Stale,
    /// The entry is of a later lap by this many laps: the line was overwritten or consumed.
    Passed(u64),
    /// Something that no writer left there. The position has to be skipped.
    Damaged,
}

impl<'a> Ring<'a> {
    /// Copies what stands at `position` into `image`, header and all, without taking it.
    ///
    /// `image` must have room for a slot's words. Wait-free; also for observers that may only read.
    #[inline]
    pub(crate) fn peek(&self, position: Position, image: &mut [u64]) -> ReadOutcome {
        let full = OrderEntry::full(self.shape.lap(position), 0);
        match self.copy_part(self.entry(position), full, position, image) {
            Ok(()) => ReadOutcome::Part(SlotHeader { position, ..header_of(image) }),
            Err(entry) => self.outcome_of(position, entry),
        }
    }

    /// The positions from `position` on, to the end of its lap.
    #[inline]
    pub(crate) fn run(&self, position: Position) -> Run<'a> {
        let lap = self.shape.lap(position);
        Run {
            words: &self.order[self.shape.index(position)..],
            full: OrderEntry::full(lap, 0),
            taken: OrderEntry::free(lap.wrapping_add(1), 0),
        }
    }

    /// Copies what `word`, the entry of `position`, has, if it is as `full` says and stays so
    /// meanwhile; otherwise gives what the entry says instead.
    #[inline]
    pub(crate) fn copy_part(
        &self,
        word: &AtomicU64,
        full: OrderEntry,
        position: Position,
        image: &mut [u64],
    ) -> Result<(), OrderEntry> {
        // ORD peek:A, acquire; pairs with publish:E; the slot's words are those that were
        // published.
        let entry = OrderEntry(word.load(Acquire));
        if !entry.is_at(full) || !self.copy(entry.slot(), image) {
            return Err(entry);
        }
        // ORD observe:B, acquire fence; pairs with publish:G; if a word above came from the slot's
        // next use, the entry has changed, and the load below sees it.
        fence(Acquire);
        let again = OrderEntry(word.load(Relaxed));
        if again == entry && self.shape.is_same_place(Position(image[0]), position) {
            Ok(())
        } else {
            Err(again)
        }
    }

    /// What an entry says of a position at which there is no part.
    #[cold]
    fn outcome_of(&self, position: Position, entry: OrderEntry) -> ReadOutcome {
        let laps = entry.laps_since(self.shape.lap(position));
        match (laps, entry.is_full()) {
            (0, false) if self.has_slot(entry.slot()) => ReadOutcome::Empty,
            (-1, true) => ReadOutcome::Stale,
            (1.., _) => ReadOutcome::Passed(laps as u64),
            _ => ReadOutcome::Damaged,
        }
    }

    /// Copies the slot that the entry at `index` has, whether its line was taken or not. Gives the
    /// entry and the slot's header, which is `None` where the words are no header. `None` for both
    /// if the entry changed meanwhile. For observers.
    pub(crate) fn observe(
        &self,
        index: usize,
        image: &mut [u64],
    ) -> Option<(OrderEntry, Option<SlotHeader>)> {
        // ORD observe:C, acquire; pairs with publish:E and take:D; the slot's words are those of
        // the line in it.
        let entry = OrderEntry(self.order[index].load(Acquire));
        let is_sound = self.copy(entry.slot(), image);
        // ORD observe:D, acquire fence; pairs with publish:G; as observe:B.
        fence(Acquire);
        let is_same = OrderEntry(self.order[index].load(Relaxed)) == entry;
        is_same.then(|| (entry, is_sound.then(|| header_of(image))))
    }

    /// Copies a slot's words, of its payload those that its length names, and some more; `false`
    /// for a length that no slot has, and for an index that no slot has.
    #[inline]
    pub(crate) fn copy(&self, slot: u32, image: &mut [u64]) -> bool {
        let Some((head, rest)) = self.slot(slot).and_then(<[_]>::split_first_chunk) else {
            return false;
        };
        let Some((to_head, to_rest)) = image.split_first_chunk_mut::<SLOT_HEADER_WORDS>() else {
            return false;
        };
        load_block(head, to_head);
        let length = SlotHeader::length_of(to_head[SLOT_HEADER_WORDS - 1]);
        load_words(rest, to_rest, self.shape.check_bytes + length)
    }

    /// Makes `word`, an entry of the run, free for the next lap. Its slot stays there, with the
    /// line, until a writer gets it.
    ///
    /// `false` if something else stands there: the line was overwritten, or the position is
    /// damaged. Only the reader may call this, and only once the line was accepted.
    #[inline]
    pub(crate) fn take(&self, word: &AtomicU64, run: &Run<'_>, mode: RingMode) -> bool {
        // ORD take:A, acquire; pairs with publish:E; the slot is given on as it was published, also
        // to observers.
        let entry = OrderEntry(word.load(Acquire));
        if !entry.is_at(run.full) || !self.has_slot(entry.slot()) {
            return false;
        }
        let freed = run.taken.with_slot(entry.slot());
        if mode == RingMode::Overwriting {
            // ORD take:C, AcqRel; pairs with publish:A and publish:E; as take:D, against an
            // overwriting writer.
            return word.compare_exchange(entry.0, freed.0, AcqRel, Relaxed).is_ok();
        }
        // No writer changes a full entry, so a store is enough.
        // ORD take:D, release; pairs with publish:A; the reader has finished reading the slot it
        // gives away.
        word.store(freed.0, Release);
        true
    }

    /// Tells the processor to fetch what `word` has, if it is as `full` says: a slot that a writer
    /// is about to fill would be taken from its cache.
    #[inline]
    pub(crate) fn prefetch(&self, word: &AtomicU64, full: OrderEntry) {
        let entry = OrderEntry(word.load(Relaxed));
        if entry.is_at(full) {
            self.prefetch_slot::<false>(entry);
        }
    }
}

fn header_of(image: &[u64]) -> SlotHeader {
    SlotHeader::unpack(*image.first_chunk().expect("there is room for a slot"))
}
