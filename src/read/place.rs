//! Where a reader begins, and how far it looks ahead.

use crate::layout::Position;
use crate::layout::sync::Ordering;
use crate::segment::Segment;

use Ordering::Acquire;

/// Entries that are decoded at a time, at most.
pub(crate) const BATCH: usize = 64;

/// The position at which a new reader begins: behind what the reader before it accepted.
pub(crate) fn start(segment: &Segment) -> Position {
    // ORD read:B, acquire; pairs with read:A; what the reader before accepted is known to be taken.
    let accepted = Position(segment.header().read_position.0.load(Acquire));
    let (tail, positions) = (segment.ring().tail(), segment.ring().shape.positions());
    // Damaged, if it is ahead of what was written, or so far behind that it must have been
    // overwritten.
    if accepted != tail && !accepted.is_before(tail) {
        tail
    } else if tail.since(accepted) > positions && !segment.overwrites() {
        tail.minus(positions)
    } else {
        accepted
    }
}

/// How many entries are decoded at a time: no more than a quarter of a small ring, so that its
/// writers can go on meanwhile.
pub(crate) fn batch(segment: &Segment) -> usize {
    BATCH.min((segment.geometry().shape().positions() / 4).max(1) as usize)
}
