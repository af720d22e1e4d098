//! Where a reader begins, and how far it looks ahead.

use crate::exchange::ReadOutcome;
use crate::layout::sync::Ordering;
use crate::layout::{Cell, LineNumber, Position, SlotHeader, flag};
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

/// The oldest part that the reader before this one has held, though it had accepted everything else
/// before `accepted`. Of a line that was complete it may stand up to a lap back.
pub(crate) fn oldest_part(segment: &Segment, accepted: Position) -> Option<Position> {
    if segment.overwrites() {
        return None;
    }
    let mut part_at = parts(segment);
    (1..=segment.ring().shape.positions())
        .rev()
        .map(|back| accepted.minus(back))
        .find(|position| part_at(*position).is_some())
}

/// The position before which the caller of the reader before this one had everything, of a ring in
/// which that reader came up to `accepted`: it walks over parts that it holds, which are accepted
/// with their line, and there is nothing else from here on.
pub(crate) fn before_parts(
    segment: &Segment,
    accepted: Position,
    inherited: &Inherited,
) -> Position {
    if segment.overwrites() {
        return accepted;
    }
    let mut part_at = parts(segment);
    let is_held = |back: &u64| {
        part_at(accepted.minus(*back)).is_some_and(|part| !inherited.had_accepted(&part))
    };
    let count = (1..=segment.ring().shape.positions()).take_while(is_held).count();
    accepted.minus(count as u64)
}

/// Gives the part of a long line that stands at a position and was not taken.
fn parts(segment: &Segment) -> impl FnMut(Position) -> Option<SlotHeader> {
    let ring = segment.ring();
    let mut image = vec![0; ring.shape.slot_words];
    move |position| match ring.peek(position, &mut image) {
        ReadOutcome::Part(part) if !(part.is(flag::FIRST) && part.is(flag::LAST)) => Some(part),
        _ => None,
    }
}

/// What the reader before this one may have left half done.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Positions before this one may have been taken by it.
    before: Position,
    /// Of each cell, the number before which it had accepted all lines.
    delivered: Vec<LineNumber>,
}

impl Inherited {
    /// By a reader that begins at `start`.
    pub(crate) fn new(segment: &Segment, start: Position) -> Self {
        let before = start.plus(segment.ring().shape.positions());
        Self { before, delivered: segment.cells().iter().map(Cell::delivered).collect() }
    }

    /// Whether the reader before this one may have taken what stood at `position`.
    #[inline]
    pub(crate) fn may_have_taken(&self, position: Position) -> bool {
        position.is_before(self.before)
    }

    /// Whether it had accepted the line that this is a part of, and died before it had taken that
    /// part.
    pub(crate) fn had_accepted(&self, part: &SlotHeader) -> bool {
        let delivered = self.delivered.get(usize::from(part.cell));
        self.may_have_taken(part.position)
            && delivered.is_some_and(|delivered| part.line.lines_to(*delivered) > 0)
    }
}
