//! A position in the one order of a ring's lines.

use core::fmt;

/// A position: it counts all lines, and parts of lines, since the ring was made. After the greatest
/// comes 0 again.
///
/// So there is no order of all of them, and no `<`: of two, one is before the other if it is so by
/// less than half of all positions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    #[inline]
    pub(crate) const fn next(self) -> Self {
        self.plus(1)
    }

    #[inline]
    pub(crate) const fn previous(self) -> Self {
        self.minus(1)
    }

    /// The position `positions` on.
    #[inline]
    pub(crate) const fn plus(self, positions: u64) -> Self {
        Self(self.0.wrapping_add(positions))
    }

    /// The position `positions` back.
    #[inline]
    pub(crate) const fn minus(self, positions: u64) -> Self {
        Self(self.0.wrapping_sub(positions))
    }

    /// How many positions it is after `earlier`.
    #[inline]
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether `other` comes after it.
    #[inline]
    pub(crate) const fn is_before(self, other: Self) -> bool {
        other.since(self) as i64 > 0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({:#x})", self.0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LAST: Position = Position(u64::MAX);

    #[test]
    fn positions_begin_again_after_the_greatest() {
        assert_eq!((LAST.next(), Position(0).previous()), (Position(0), LAST));
        assert_eq!((LAST.plus(3), Position(2).minus(3)), (Position(2), LAST));
        assert_eq!((Position(2).since(LAST), LAST.since(LAST)), (3, 0));
    }

    #[test]
    fn a_position_is_before_those_that_come_within_half_of_all() {
        let half = 1 << 63;
        for from in [0, 1, half - 1, half, u64::MAX].map(Position) {
            assert!(!from.is_before(from));
            for ahead in [1, 2, half - 1] {
                assert!(from.is_before(from.plus(ahead)) && !from.plus(ahead).is_before(from));
            }
            let opposite = from.plus(half);
            assert!(!from.is_before(opposite) && !opposite.is_before(from), "as far either way");
        }
    }
}
