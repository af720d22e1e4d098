//! [`HeldParts`]: parts of long lines that stay in the ring until their lines are accepted, so that
//! a reader that dies leaves these lines whole to the next one.
//!
//! Lines that stand between them are taken meanwhile. So writers find the ring full at the first
//! part that is held, however many places are free after it.

use std::collections::VecDeque;
use std::mem;

use crate::layout::Position;

/// Parts that were decoded and not taken, in order.
#[derive(Debug, Default)]
pub(crate) struct HeldParts {
    parts: VecDeque<HeldPart>,
    /// How many of each cell are of a line that is put together.
    open: Vec<usize>,
}

#[derive(Debug)]
struct HeldPart {
    position: Position,
    cell: u16,
    /// Once everything before this position is accepted it may be taken; `None` while its line is
    /// put together.
    until: Option<Position>,
}

impl HeldPart {
    fn is_over(&self, accepted: Position) -> bool {
        self.until.is_some_and(|until| !accepted.is_before(until))
    }
}

impl HeldParts {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The oldest.
    #[inline]
    pub(crate) fn first(&self) -> Option<Position> {
        self.parts.front().map(|part| part.position)
    }

    /// Holds this part, which comes after all others, until the line of its cell is
    /// [closed](Self::close).
    pub(crate) fn hold(&mut self, position: Position, cell: u16) {
        let index = usize::from(cell);
        if self.open.len() <= index {
            self.open.resize(index + 1, 0);
        }
        self.open[index] += 1;
        self.parts.push_back(HeldPart { position, cell, until: None });
    }

    /// The line that is put together for `cell` is complete, cut off or void: it is accepted with
    /// everything before `until`.
    #[inline]
    pub(crate) fn close(&mut self, cell: u16, until: Position) {
        if self.open.get(usize::from(cell)).is_some_and(|open| *open > 0) {
            self.close_open(cell, until);
        }
    }

    fn close_open(&mut self, cell: u16, until: Position) {
        let count = mem::take(&mut self.open[usize::from(cell)]);
        // They are the newest ones of their cell.
        let newest = self.parts.iter_mut().rev();
        let open = newest.filter(|part| part.cell == cell && part.until.is_none());
        open.take(count).for_each(|part| part.until = Some(until));
    }

    /// Of lines that are not closed, holds no part before `position` any longer than what stands
    /// beside it.
    pub(crate) fn let_go(&mut self, position: Position) {
        let old = self.parts.iter_mut().take_while(|part| part.position.is_before(position));
        for part in old.filter(|part| part.until.is_none()) {
            part.until = Some(part.position.next());
            self.open[usize::from(part.cell)] -= 1;
        }
    }

    /// Everything before `accepted` is accepted; everything before `taken` was, and is taken but
    /// for what was held: hands the positions that are to be taken to `take`, in order.
    ///
    /// In order, since a part that is void may be void by what stands after it: a reader that dies
    /// in between leaves no part without that.
    pub(crate) fn take(
        &mut self,
        taken: Position,
        accepted: Position,
        mut take: impl FnMut(Position),
    ) {
        self.parts.retain(|part| {
            let is_over = part.is_over(accepted);
            if is_over && part.position.is_before(taken) {
                take(part.position);
            }
            !is_over
        });
        let mut held = self
            .parts
            .iter()
            .map(|part| part.position)
            .skip_while(|position| position.is_before(taken))
            .peekable();
        let mut position = taken;
        while position.is_before(accepted) {
            if held.next_if_eq(&position).is_none() {
                take(position);
            }
            position = position.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(held: &mut HeldParts, from: u64, to: u64) -> Vec<u64> {
        let mut all = Vec::new();
        held.take(Position(from), Position(to), |position| all.push(position.0));
        all
    }

    fn held(parts: &[(u64, u16)]) -> HeldParts {
        let mut held = HeldParts::default();
        parts.iter().for_each(|(position, cell)| held.hold(Position(*position), *cell));
        held
    }

    #[test]
    fn lines_between_parts_are_taken_and_the_parts_with_their_line() {
        let mut parts = held(&[(1, 7), (3, 8), (4, 7)]);
        assert_eq!(taken(&mut parts, 0, 6), [0, 2, 5]);
        assert_eq!(parts.first(), Some(Position(1)));
        parts.close(7, Position(9));
        assert_eq!(taken(&mut parts, 6, 8), [6, 7], "not accepted yet");
        assert_eq!(taken(&mut parts, 8, 9), [1, 4, 8]);
        assert_eq!(parts.first(), Some(Position(3)));
    }

    #[test]
    fn a_line_that_ends_without_a_further_position_is_taken_all_the_same() {
        let mut parts = held(&[(0, 7)]);
        assert_eq!(taken(&mut parts, 0, 1), [0_u64; 0]);
        parts.close(7, Position(1));
        assert_eq!(taken(&mut parts, 1, 1), [0]);
        assert!(parts.is_empty());
    }

    #[test]
    fn old_parts_of_open_lines_are_let_go_also_where_positions_begin_again() {
        let last = u64::MAX;
        let mut parts = held(&[(last - 2, 9), (last - 1, 7), (last, 8), (0, 7), (1, 8)]);
        parts.close(9, Position(5));
        parts.let_go(Position(0));
        assert_eq!(taken(&mut parts, last - 2, 2), [last - 1, last]);
        assert_eq!(parts.first(), Some(Position(last - 2)), "its line is complete");
    }
}
