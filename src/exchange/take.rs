//! What the reader does with a position: it copies what stands there, and later takes it.

use super::Ring;
use super::copy::{load_block, load_whole};
use crate::layout::sync::{AtomicU64, Ordering, fence};
use crate::layout::{OrderEntry, Position, RingMode, SLOT_HEADER_WORDS, SlotHeader};

use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// How many positions ahead the next slots are fetched.
const PREFETCH: usize = 16;

/// Positions of one lap, one after another.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Their entries.
    pub(super) words: &'a [AtomicU64],
    /// The word of an entry that is filled, but for its slot.
    pub(super) full: OrderEntry,
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
        assert!(image.len() >= self.slot_words, "there is room for a slot");
        let full = OrderEntry::full(self.shape.lap(position), 0);
        // SAFETY: so there is.
        match unsafe {
            self.copy_filled(
                self.entry(position),
                full,
                position,
                image.as_mut_ptr(),
                self.shape.check_bytes,
            )
        } {
            Ok(()) => ReadOutcome::Part(SlotHeader { position, ..header_of(image) }),
            Err(entry) => self.outcome_of(position, entry),
        }
    }

    /// The positions from `position` on, to the end of its lap.
    #[inline]
    pub(crate) fn run(&self, position: Position) -> Run<'a> {
        let full = OrderEntry::full(self.shape.lap(position), 0);
        Run { words: &self.order[(position.0 & self.mask) as usize..], full }
    }

    /// Copies what stands at `position` and after it, each into the next slot's room of `images`,
    /// while there is something and `keep`, which gets position, header and whole image, wants
    /// it: `most` at most, and none of another lap. Gives how many were kept.
    ///
    /// What was not kept may have changed the image after those. `CHECKS`: slots have checksums.
    #[inline(always)]
    pub(crate) fn copy_run<const CHECKS: bool>(
        &self,
        position: Position,
        images: &mut [u64],
        most: usize,
        mut keep: impl FnMut(Position, &[u64; SLOT_HEADER_WORDS], &[u64]) -> bool,
    ) -> usize {
        // In registers, or at least in this function's own memory.
        let ring = *self;
        let Run { words, full } = ring.run(position);
        let most = most.min(words.len()).min(images.len() / ring.slot_words);
        let (mut place, mut word, mut image) = (position, words.as_ptr(), images.as_mut_ptr());
        // SAFETY: within the entries of the run, as `most` is.
        let (end, last_ahead) =
            unsafe { (word.add(most), word.add(words.len().saturating_sub(PREFETCH))) };
        let slot_bytes = 8 * ring.slot_words;
        let check_bytes = if CHECKS { ring.shape.check_bytes } else { 0 };
        while word != end {
            if word < last_ahead {
                // SAFETY: so it is one of the run's entries.
                ring.prefetch(unsafe { &*word.add(PREFETCH) }, full);
            }
            // SAFETY: one of the first `most` entries; for as many slots there is room.
            if unsafe { ring.copy_filled(&*word, full, place, image, check_bytes) }.is_err() {
                break;
            }
            // SAFETY: as above; nothing else refers to this memory meanwhile.
            let (head, all) = unsafe {
                (&*image.cast_const().cast(), core::slice::from_raw_parts(image, ring.slot_words))
            };
            if !keep(place, head, all) {
                break;
            }
            place = place.next();
            // SAFETY: as above, or their ends.
            (word, image) = unsafe { (word.add(1), image.byte_add(slot_bytes)) };
        }
        place.since(position) as usize
    }

    /// Copies what `word`, the entry of `position`, has, if it is as `full` says and stays so
    /// meanwhile; otherwise gives what the entry says instead.
    ///
    /// # Safety
    ///
    /// `image` has room for a slot's words, which are the caller's alone; `check_bytes` is no
    /// more than the ring's shape says.
    // In place: for a line of one slot this is most of what reading it takes.
    #[inline(always)]
    unsafe fn copy_filled(
        &self,
        word: &AtomicU64,
        full: OrderEntry,
        position: Position,
        image: *mut u64,
        check_bytes: usize,
    ) -> Result<(), OrderEntry> {
        // ORD peek:A, acquire; pairs with publish:E; the slot's words are those that were
        // published.
        let entry = OrderEntry(word.load(Acquire));
        let Some(slot) = self.slot_of(entry, full) else { return Err(entry) };
        // SAFETY: it is a slot of this ring; the caller's.
        if !unsafe { self.copy_known(slot, image, check_bytes) } {
            return Err(entry);
        }
        // ORD observe:B, acquire fence; pairs with publish:G; if a word above came from the slot's
        // next use, the entry has changed, and the load below sees it.
        fence(Acquire);
        let again = OrderEntry(word.load(Relaxed));
        // SAFETY: as above.
        if again == entry && self.shape.is_same_place(Position(unsafe { *image }), position) {
            Ok(())
        } else {
            Err(again)
        }
    }

    /// The slot of an entry that is full in the lap of `full`, in one comparison: no other word,
    /// and none of a slot that the ring does not have, differs so little.
    #[inline(always)]
    fn slot_of(&self, entry: OrderEntry, full: OrderEntry) -> Option<usize> {
        let slot = entry.0 ^ full.0;
        (slot < self.slot_count).then_some(slot as usize)
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

    /// Copies a slot's header and the bytes of payload that its length names; `false` for a length
    /// that no slot has, and for an index that no slot has.
    ///
    /// # Panics
    ///
    /// If `image` has no room for a slot's words.
    #[inline]
    pub(crate) fn copy(&self, slot: u32, image: &mut [u64]) -> bool {
        assert!(image.len() >= self.slot_words, "there is room for a slot");
        // SAFETY: the ring has this slot; there is room for it.
        self.has_slot(slot)
            && unsafe { self.copy_known(slot as usize, image.as_mut_ptr(), self.shape.check_bytes) }
    }

    /// The same for an index that was checked.
    ///
    /// # Safety
    ///
    /// The ring has this slot; `image` has room for a slot's words, which are the caller's alone;
    /// `check_bytes` is no more than the ring's shape says.
    #[inline(always)]
    unsafe fn copy_known(&self, slot: usize, image: *mut u64, check_bytes: usize) -> bool {
        // SAFETY: the words of a slot that the ring has begin there, and all are there, as `new`
        // has counted; a slot has a header, and `image` has as many words as a slot.
        let (from, head) = unsafe {
            let head = &mut *image.cast::<[u64; SLOT_HEADER_WORDS]>();
            (self.slots.as_ptr().add(slot * self.slot_words), head)
        };
        // SAFETY: as above.
        load_block(unsafe { &*from.cast() }, head);
        // Out of the copy: what stands in the slot may be another by now.
        let length = SlotHeader::length_of(head[SLOT_HEADER_WORDS - 1]);
        if length > self.payload_bytes {
            return false;
        }
        let mut bytes = check_bytes + length;
        if check_bytes > 0 {
            // In steps that do not overlap: the sum that is taken next would wait for those that
            // do, each of whose stores has a part of what one of its loads wants.
            bytes = bytes.next_multiple_of(16).min(8 * (self.slot_words - SLOT_HEADER_WORDS));
        }
        // SAFETY: a slot's words are its header, perhaps a checksum, and a payload of at least so
        // many bytes; that many are at both.
        unsafe {
            let (from, to) = (from.add(SLOT_HEADER_WORDS), image.add(SLOT_HEADER_WORDS));
            load_whole(from, to, bytes);
        }
        true
    }

    /// Takes the positions from `position` to the end of its lap, `most` at most, as
    /// [`take`](Self::take) does: how many.
    pub(crate) fn take_run(&self, position: Position, most: u64, mode: RingMode) -> u64 {
        let Run { words, full } = self.run(position);
        let most = most.min(words.len() as u64);
        for word in &words[..most as usize] {
            self.take_word(word, full, mode);
        }
        most
    }

    /// Makes the entry of `position` free for the next lap. Its slot stays there, with the line,
    /// until a writer gets it.
    ///
    /// `false` if something else stands there: the line was overwritten, or the position is
    /// damaged. Only the reader may call this, and only once the line was accepted.
    #[inline]
    pub(crate) fn take(&self, position: Position, mode: RingMode) -> bool {
        let full = OrderEntry::full(self.shape.lap(position), 0);
        self.take_word(self.entry(position), full, mode)
    }

    #[inline]
    fn take_word(&self, word: &AtomicU64, full: OrderEntry, mode: RingMode) -> bool {
        // ORD take:A, acquire; pairs with publish:E; the slot is given on as it was published, also
        // to observers.
        let entry = OrderEntry(word.load(Acquire));
        if self.slot_of(entry, full).is_none() {
            return false;
        }
        let freed = entry.freed();
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
    #[inline(always)]
    pub(super) fn prefetch(&self, word: &AtomicU64, full: OrderEntry) {
        if let Some(slot) = self.slot_of(OrderEntry(word.load(Relaxed)), full) {
            self.prefetch_slot::<false>(slot);
        }
    }
}

fn header_of(image: &[u64]) -> SlotHeader {
    SlotHeader::unpack(*image.first_chunk().expect("there is room for a slot"))
}
