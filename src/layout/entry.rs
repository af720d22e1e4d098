//! An entry of the order ring: which slot stands at which position.

use super::SLOT_INDEX_BITS;

pub(super) const LAP_BITS: u32 = 39;

pub(super) const LAP_MASK: u64 = (1 << LAP_BITS) - 1;

pub(super) const SLOT_MASK: u64 = (1 << SLOT_INDEX_BITS) - 1;

const FULL_BIT: u64 = 1 << SLOT_INDEX_BITS;

/// An entry of the order ring: `lap:39 | full:1 | slot:24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderEntry(pub(crate) u64);

impl OrderEntry {
    /// What lies between the word of a slot that a lap has filled and that of the same slot freed
    /// for the next lap.
    pub(crate) const FULL_TO_FREE: u64 = FULL_BIT;

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
    /// From the word of a free entry, without a slot, that of the same lap filled with this one.
    #[inline]
    pub(crate) fn filled_with(self, slot: u32) -> Self {
        Self(self.0 | FULL_BIT | u64::from(slot))
    }
    /// From the word of a filled entry, that of the same slot freed for the next lap.
    #[inline]
    pub(crate) fn freed(self) -> Self {
        Self(self.0.wrapping_add(Self::FULL_TO_FREE))
    }
    #[inline]
    pub(crate) fn slot(self) -> u32 {
        (self.0 & SLOT_MASK) as u32
    }
    pub(crate) fn is_full(self) -> bool {
        self.0 & FULL_BIT != 0
    }
    /// Whether lap and fullness are those of `other`.
    #[inline]
    pub(crate) fn is_at(self, other: OrderEntry) -> bool {
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
