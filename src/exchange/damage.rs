//! Holes, entries that no writer left, and what a reader that was overrun has missed.

use super::{Ring, is_filled};
use crate::layout::sync::Ordering;
use crate::layout::{OrderEntry, Position, RingMode};

use Ordering::{AcqRel, Acquire, Relaxed};

/// Filled, taken, and the next lap's: no two entries are further apart, whatever was taken or
/// overwritten of them.
const NEAR_LAPS: i64 = 2;

impl Ring<'_> {
    /// Whether `position`, which is not filled although it should be, can never be filled any more.
    ///
    /// By I4 a filled successor proves it; the entry is read again after the successor, since it
    /// may have been filled between the two looks.
    pub(crate) fn is_hole(&self, position: Position) -> bool {
        let next = position.next();
        // ORD hole:A, acquire; pairs with publish:E; by I4 the line before a filled one is visible
        // too.
        let next_filled = is_filled(self.shape, OrderEntry(self.entry(next).load(Acquire)), next);
        // ORD hole:B, acquire; pairs with publish:E; must come after hole:A.
        next_filled
            && !is_filled(self.shape, OrderEntry(self.entry(position).load(Acquire)), position)
    }

    /// Whether the entries of two positions are of laps that no ring has at the same time: one of
    /// them is damaged.
    ///
    /// Positions are filled in order (I4), so when one entry is of some lap all others are of it,
    /// or of one that is near.
    pub(crate) fn are_apart(&self, position: Position, other: Position) -> bool {
        // ORD apart:A, acquire; pairs with publish:E; by I4 all before a filled position is
        // visible.
        let at = |position: Position| OrderEntry(self.entry(position).load(Acquire));
        let (first, there, again) = (at(position), at(other), at(position));
        there.laps_since(first.lap()) < -NEAR_LAPS || there.laps_since(again.lap()) > NEAR_LAPS
    }

    /// Makes the entry of a damaged or empty `position` free for the next lap, whatever it says.
    /// Reader only.
    ///
    /// Where writers overwrite, an entry of a later lap is a newer line, and stays.
    pub(crate) fn skip(&self, position: Position, mode: RingMode) {
        let word = self.entry(position);
        let entry = OrderEntry(word.load(Relaxed));
        if mode == RingMode::Overwriting && entry.laps_since(self.shape.lap(position)) > 0 {
            return;
        }
        let slot = if self.has_slot(entry.slot()) { entry.slot() } else { 0 };
        let freed = OrderEntry::free(self.shape.lap(position).wrapping_add(1), slot);
        // ORD skip:A, AcqRel; pairs with publish:A; as take:D. Should it fail, a writer was faster.
        let _ = word.compare_exchange(entry.0, freed.0, AcqRel, Relaxed);
    }

    /// The oldest position that is not overwritten yet, but at least `position`, which is not
    /// filled by a later lap. For a reader that was overrun.
    pub(crate) fn oldest_after(&self, position: Position) -> Position {
        let next = self.hint();
        let oldest = next.minus(self.shape.positions());
        let last = next.previous();
        // The hint is trusted only as far as the entry before it bears it out.
        // ORD oldest:A, acquire; pairs with publish:E; by I4 all before a filled position is
        // visible.
        let filled = is_filled(self.shape, OrderEntry(self.entry(last).load(Acquire)), last);
        if filled && position.is_before(oldest) { oldest } else { position }
    }
}
