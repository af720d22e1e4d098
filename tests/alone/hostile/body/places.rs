//! Where the words of a ring are, and how much a ring of such a geometry can give.

use super::ITEMS_OF_ONE;

/// Where rings are that have a name.
pub(super) const FOLDER: &str = "/dev/shm";
/// What names begin with while their rings are made; the process follows.
pub(super) const UNFINISHED: &str = ".linering-new-";
/// The most bytes of a name.
pub(super) const MOST_NAME: usize = 250;
/// An order entry's slot.
pub(super) const SLOT: u64 = 0xff_ffff;

/// Where the words are: docs/format.md.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) slot_bytes: usize,
    pub(super) positions: usize,
    pub(super) cell_count: usize,
    pub(super) ticket_count: usize,
    pub(super) max_line: usize,
    pub(super) tickets: usize,
    pub(super) cells: usize,
    pub(super) order: usize,
    pub(super) slots: usize,
}

impl Places {
    /// Those of a geometry; `None` if it is of no small ring.
    pub(super) fn of(header: &[u8]) -> Option<Self> {
        let number =
            |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?) as usize);
        let max_line = u64::from_ne_bytes(header.get(56..64)?.try_into().ok()?) as usize;
        let (slot_bytes, bits, cell_count, ticket_count) =
            (number(20)?, number(24)?, number(28)?, number(32)?);
        if slot_bytes > 1 << 16 || bits > 12 || cell_count > 1 << 12 || ticket_count > 1 << 12 {
            return None;
        }
        let up = |at: usize| at.next_multiple_of(128);
        let (tickets, positions) = (768, 1 << bits);
        let cells = up(tickets + ticket_count * 64);
        let order = cells + cell_count * 256;
        let slots = up(order + positions * 8);
        Some(Self {
            slot_bytes,
            positions,
            cell_count,
            ticket_count,
            max_line,
            tickets,
            cells,
            order,
            slots,
        })
    }

    pub(super) fn slot_count(&self) -> usize {
        self.positions + self.cell_count
    }

    /// The most items that a drain gives while nothing changes: two laps of positions, and what was
    /// decoded before.
    pub(super) fn most_items(&self) -> usize {
        ITEMS_OF_ONE * (3 * self.positions + self.cell_count + self.ticket_count)
    }

    /// The most items of a look: what stands in slots, the ends, and of a dead ring what a drain
    /// gives.
    pub(super) fn most_seen(&self) -> usize {
        ITEMS_OF_ONE * (self.slot_count() + self.ticket_count) + self.most_items()
    }

    /// The most bytes of a line. What fits in one slot is not put together, and so not measured.
    pub(super) fn most_bytes(&self) -> usize {
        self.max_line.max(self.slot_bytes - 32)
    }
}
