//! Publishing: a spare goes into the order ring, in exchange for another.

use super::spare::Next;
use super::{Ring, SlotState, Spare, is_filled, slot_state};
use crate::layout::sync::{AtomicU64, Ordering, fence};
use crate::layout::{Hold, OrderEntry, Position, RingMode};

use Ordering::{Acquire, Relaxed, Release, SeqCst};

/// How many positions ahead a writer fetches the slots that will be spares soon.
const SPARES_AHEAD: u64 = 8;

/// What a writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Look at this position.
    GoOn(Position),
    /// Swap the spare for the slot of this entry.
    Exchange(OrderEntry),
    /// Give up.
    Refuse(Refused),
}

/// Where a writer may put its spare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'r> {
    position: Position,
    /// Its entry, the word of that when it is free in this lap, but for its slot, and what was
    /// found there.
    word: &'r AtomicU64,
    free: OrderEntry,
    found: OrderEntry,
}

/// Why a spare was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The ring is full: the entry of this position still has the oldest line.
    Full(Position),
    /// The order ring holds words that no writer or reader left there.
    Damaged,
}

impl Ring<'_> {
    /// Swaps the owner's spare into the order ring and returns its position.
    ///
    /// Lock-free: each retry means that another writer or the reader has moved on. No system call.
    /// A process that dies here has published the line or not, and no process has to wait for it
    /// either way.
    ///
    /// `then` runs between the exchange and the note of it (publish:F): a process that finds the
    /// new spare held finds what it stored.
    #[inline]
    pub(crate) fn publish(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        mode: RingMode,
        then: impl Fn(),
    ) -> Result<Position, Refused> {
        if self.shape.has_checks() {
            self.publish_as::<true>(hold, spare, mode, then)
        } else {
            self.publish_as::<false>(hold, spare, mode, then)
        }
    }

    #[inline]
    fn publish_as<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        mode: RingMode,
        then: impl Fn(),
    ) -> Result<Position, Refused> {
        match self.publish_next::<CHECKS>(hold, spare, mode, &then) {
            Some(position) => Ok(position),
            None => self.publish_at_tail::<CHECKS>(hold, spare, mode, then),
        }
    }

    /// The first part of [`publish`](Self::publish), for a caller that knows whether slots have
    /// checksums, and the common case of one that writes alone: after the position that it filled
    /// last no other writer has come. [`publish_at_tail`](Self::publish_at_tail) has to follow a
    /// `None`.
    #[inline(always)]
    pub(crate) fn publish_next<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        mode: RingMode,
        then: impl Fn(),
    ) -> Option<Position> {
        let Next::Alone(next) = spare.next else { return None };
        let place = self.open_at(next, mode)?;
        self.exchange::<CHECKS>(hold, spare, &place, then).then_some(next)
    }

    /// The place of `position`, if a writer that has itself filled the one before it may exchange
    /// it: what [`plan`](Self::plan) finds in the common case, in one comparison.
    #[inline(always)]
    fn open_at(&self, position: Position, mode: RingMode) -> Option<Place<'_>> {
        let (word, free) = (self.entry(position), OrderEntry::free(self.shape.lap(position), 0));
        // Relaxed: the exchange reads the same word (I1), and acquires what came before it.
        let found = OrderEntry(word.load(Relaxed));
        // Of the same lap, free, and of a slot that is one: nothing else is less than so many more
        // than that lap's first free word.
        let slot = found.0.wrapping_sub(free.0);
        // Or the line of the lap before stands there.
        let is_open = slot < self.slot_count
            || mode == RingMode::Overwriting
                && slot.wrapping_add(OrderEntry::FULL_TO_FREE) < self.slot_count;
        is_open.then_some(Place { position, word, free, found })
    }

    /// The other part: from the hint on, wherever the next position is.
    #[inline(never)]
    pub(crate) fn publish_at_tail<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        mode: RingMode,
        then: impl Fn(),
    ) -> Result<Position, Refused> {
        let last = spare.next.position();
        let published = self.walk::<CHECKS>(hold, spare, mode, then);
        match published {
            Ok(position) if last != Some(position) => spare.next = Next::Among(position.next()),
            Ok(_) => {}
            // An exchange that failed, here or before, left its intent behind; a refusal without
            // one changed nothing.
            Err(_) if matches!(Hold::unpack(hold.load(Relaxed)).0, Hold::Intent(..)) => {
                self.hold_spare(hold, spare);
            }
            Err(_) => {}
        }
        published
    }

    fn walk<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        mode: RingMode,
        then: impl Fn(),
    ) -> Result<Position, Refused> {
        let mut position = self.hint();
        // A walk along a sound ring is short: this bounds one along words that make no sense.
        for _ in 0..8 * self.shape.positions() + 0x1_0000 {
            match self.plan(position, mode, spare.next.position()) {
                Plan::GoOn(other) => position = other,
                Plan::Exchange(found) => {
                    if self.exchange::<CHECKS>(hold, spare, &self.place(position, found), &then) {
                        return Ok(position);
                    }
                    // The same position again: the reader may have consumed the old entry, and a
                    // position that is skipped stays a hole for ever.
                }
                Plan::Refuse(refused) => return Err(refused),
            }
        }
        Err(Refused::Damaged)
    }

    /// `position`, at which this entry was found.
    #[inline]
    pub(super) fn place(&self, position: Position, found: OrderEntry) -> Place<'_> {
        let free = OrderEntry::free(self.shape.lap(position), 0);
        Place { position, word: self.entry(position), free, found }
    }

    /// What a writer that wants to publish does at `position`, and has itself filled the one before
    /// `next`.
    #[inline]
    pub(super) fn plan(&self, position: Position, mode: RingMode, next: Option<Position>) -> Plan {
        // ORD publish:A, acquire; pairs with publish:E and take:D; the entry's slot is no one
        // else's any more once the exchange succeeds, and a filled position carries I4
        // along.
        let entry = OrderEntry(self.entry(position).load(Acquire));
        let place = slot_state(self.shape, entry, position);
        if let SlotState::Elsewhere(other) = place {
            return Plan::GoOn(other);
        }
        // Before any verdict: no hole (I4), no false drop, no sleep beside free space.
        let before = position.previous();
        // ORD publish:B, acquire; pairs with publish:E; the line before this one is visible to
        // every process that sees this one.
        if next != Some(position)
            && !is_filled(self.shape, OrderEntry(self.entry(before).load(Acquire)), before)
        {
            return Plan::GoOn(before);
        }
        match place {
            SlotState::Oldest if mode == RingMode::Lossless => {
                Plan::Refuse(Refused::Full(position))
            }
            _ if !self.has_slot(entry.slot()) => Plan::Refuse(Refused::Damaged),
            _ => Plan::Exchange(entry),
        }
    }

    /// Swaps the spare for what was found at `place`, which is a slot that the ring has; `false` if
    /// it is not there any more.
    #[inline(always)]
    pub(super) fn exchange<const CHECKS: bool>(
        &self,
        hold: &AtomicU64,
        spare: &mut Spare,
        place: &Place<'_>,
        then: impl Fn(),
    ) -> bool {
        let Place { position, word, free, found } = *place;
        let (old, new) = (spare.slot, found.slot());
        self.mark::<CHECKS>(spare, position.0);
        // ORD publish:D, release; pairs with recover:A; the spare is complete when the intent is
        // seen, and the intent is seen by every process that sees the exchange.
        hold.store(spare.word(Hold::Intent(old, new)), Release);
        let filled = free.filled_with(old);
        // ORD publish:E, SeqCst; pairs with peek:A, publish:A and sleep:B; the slot's words are
        // visible to every process that sees the entry. AcqRel fails against a reader that falls
        // asleep: wake:A could be read before.
        if word.compare_exchange(found.0, filled.0, SeqCst, Relaxed).is_err() {
            return false;
        }
        let next = position.next();
        (spare.slot, spare.start, spare.next) = (new, self.start_of(new), Next::Alone(next));
        then();
        // ORD publish:F, release; pairs with recover:A; a process that sees the new spare held sees
        // the exchange.
        hold.store(spare.word(Hold::Held(new)), Release);
        // ORD publish:G, release fence; pairs with observe:B; before the first store into the new
        // spare: a process that sees such a store sees that the entry changed.
        fence(Release);
        self.next_position.store(next.0, Relaxed);
        self.prefetch_spare(position.plus(SPARES_AHEAD));
        true
    }

    /// The first position that is not filled: no line that was published before this call stands at
    /// or after it.
    pub(crate) fn tail(&self) -> Position {
        let mut position = self.hint();
        for _ in 0..2 * self.shape.positions() + 64 {
            // ORD tail:A, acquire; pairs with publish:E; by I4 all before a filled position is
            // visible.
            match slot_state(self.shape, OrderEntry(self.entry(position).load(Acquire)), position) {
                SlotState::Elsewhere(other) => position = other,
                SlotState::Free | SlotState::Oldest => break,
            }
        }
        position
    }

    /// Whether a writer that was refused at `position` would be refused again.
    pub(crate) fn is_full_at(&self, position: Position) -> bool {
        // ORD full:A, SeqCst; pairs with space:A; after space:B, so that the writer sees the room
        // or the reader sees it.
        slot_state(self.shape, OrderEntry(self.entry(position).load(SeqCst)), position)
            == SlotState::Oldest
    }

    /// Tells the processor to fetch, for writing, the slot that stands at `position` before it is
    /// filled: the spare of the writer that fills it.
    #[inline]
    pub(crate) fn prefetch_spare(&self, position: Position) {
        let entry = OrderEntry(self.entry(position).load(Relaxed));
        self.prefetch_slot::<true>(entry.slot() as usize);
    }
}
