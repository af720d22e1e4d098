//! The exchange: publish, take, observe.
//!
//! Runs over borrowed atomics and knows no segment, no process and no system call: the same code
//! runs in shared memory, on the heap and under loom.
//!
//! # The structure
//!
//! The order ring has N entries. Position `p` stands in entry `p mod N`, and `p / N` is its lap.
//! Every entry and every cell has exactly one slot at every moment. A writer fills its cell's slot
//! (its spare) and swaps it into an entry; what was there becomes its spare. The reader, which has
//! copied the line by then, only says that the entry can be filled again.
//!
//! ```text
//!              publish                          take
//!   (lap, free, B) ────► (lap, full, A) ────────────────► (lap + 1, free, A)
//!                              │                                   │
//!                              │ publish in lap + 1                │ publish in lap + 1
//!                              ▼ (OverwriteOldest only)            ▼
//!                        (lap + 1, full, A')                (lap + 1, full, A')
//! ```
//!
//! # Invariants
//!
//! * **I1** An entry only moves forward: its `(lap, full)` never comes twice. So an entry that was
//!   read twice with the same value did not change in between.
//! * **I2** A slot is in one place: in one entry, or it is the spare of one cell. While a cell's
//!   hold word says `INTENT(A, B)` exactly one of the two is its spare and the other is elsewhere.
//! * **I3** Only the owner of a spare writes its words; any process may read them, and only as
//!   atomics.
//! * **I4** Positions are filled in order: when `p` is filled, `p - 1` is filled or was consumed.
//! * **I5** The tail hint never leads: every position before it is filled or was consumed.
//!
//! # Pairs
//!
//! Each non-relaxed operation carries its label; a test reads this table and the labels.
//!
//! | release side | acquire side | if the second reads from the first, then |
//! |---|---|---|
//! | publish:E | peek:A | the reader sees the slot's words as they were published |
//! | publish:E | publish:A | the next writer sees that the position is filled, and so fills the one after it (I4) |
//! | take:D | publish:A | the writer owns the slot only after the reader has finished reading it |
//! | publish:E | observe:C | as peek:A |
//! | take:D | observe:C | an observer sees the slot as the reader found it |
//! | publish:G | observe:D | as observe:B |
//! | publish:G | observe:B | an observer that saw a word of the slot's next use sees that the entry changed |
//! | publish:D | recover:A | a process that finds the exchange done or not done also finds the intent |
//! | publish:F | recover:A | a process that finds the new spare held finds the exchange done |
//! | pending:A | unfinished:A | the unfinished line's bytes are in the spare |
//! | publish:E | sleep:B | (both SeqCst) either the reader's last look sees the line |
//! | event:A | sleep:C | (both SeqCst) as publish:E and sleep:B, for an end |
//! | sleep:A | wake:A | (both SeqCst) or the writer sees that the reader sleeps |

pub(crate) mod checksum;
mod copy;
mod damage;
pub(crate) mod park;
mod publish;
pub(crate) mod settle;
mod spare;
mod take;

#[cfg(all(test, loom))]
mod loom_models;

use crate::layout::sync::{AtomicU64, Ordering};
use crate::layout::{OrderEntry, Position, Shape};
use copy::prefetch;

use Ordering::{Relaxed, SeqCst};

pub(crate) use publish::Refused;
pub(crate) use spare::{Spare, peek_payload};
pub(crate) use take::ReadOutcome;

/// The order ring and its slots, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'a> {
    pub(crate) order: &'a [AtomicU64],
    pub(crate) slots: &'a [AtomicU64],
    /// The tail hint (I5).
    pub(crate) next_position: &'a AtomicU64,
    pub(crate) shape: Shape,
    // What follows is known by `shape`, and found once. What is not checked again rests on it: no
    // other code changes it.
    /// The bits of a position that say in which entry it stands.
    mask: u64,
    /// Words of a slot, and how many slots there are.
    slot_words: usize,
    slot_count: u64,
    /// Bytes of a slot's payload.
    payload_bytes: usize,
}

/// What an entry says about a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    /// The position can be filled.
    Free,
    /// The line of the lap before is still there: the ring is full.
    Oldest,
    /// Filled already, or far off the hint: go on at this position.
    Elsewhere(Position),
}

#[inline]
fn slot_state(shape: Shape, entry: OrderEntry, position: Position) -> SlotState {
    // The common cases, in one comparison each.
    let lap = shape.lap(position);
    if entry.is_at(OrderEntry::free(lap, 0)) {
        return SlotState::Free;
    }
    if entry.is_at(OrderEntry::full(lap.wrapping_sub(1), 0)) {
        return SlotState::Oldest;
    }
    slot_state_elsewhere(shape, entry, position)
}

fn slot_state_elsewhere(shape: Shape, entry: OrderEntry, position: Position) -> SlotState {
    let laps = entry.laps_since(shape.lap(position));
    let there = shape.after_laps(position, laps);
    match (laps, entry.is_full()) {
        (0, false) => SlotState::Free,
        (-1, true) => SlotState::Oldest,
        // `there` is filled, so the next free one comes after it.
        (_, true) => SlotState::Elsewhere(there.next()),
        // `there` is free and a lap earlier was consumed, so the next free one comes after that.
        (1.., false) => SlotState::Elsewhere(shape.after_laps(there, -1).next()),
        // The hint leads by laps: `there` is free.
        (_, false) => SlotState::Elsewhere(there),
    }
}

/// Whether `position` was filled, in this lap, by what its entry says.
#[inline]
fn is_filled(shape: Shape, entry: OrderEntry, position: Position) -> bool {
    // The common case, in one comparison: full, and of this lap.
    if entry.is_at(OrderEntry::full(shape.lap(position), 0)) {
        return true;
    }
    let laps = entry.laps_since(shape.lap(position));
    laps > 0 || laps == 0 && entry.is_full()
}

impl<'a> Ring<'a> {
    /// # Panics
    ///
    /// If there is not one entry for each position, or no room for a slot's header.
    pub(crate) fn new(
        order: &'a [AtomicU64],
        slots: &'a [AtomicU64],
        next_position: &'a AtomicU64,
        shape: Shape,
    ) -> Self {
        assert_eq!(order.len() as u64, shape.positions());
        assert!(shape.slot_words >= shape.header_words());
        let (mask, slot_words) = (shape.positions() - 1, shape.slot_words);
        let slot_count = (slots.len() / slot_words) as u64;
        let payload_bytes = shape.payload();
        Self { order, slots, next_position, shape, mask, slot_words, slot_count, payload_bytes }
    }

    /// The tail hint (I5).
    #[inline]
    pub(crate) fn hint(&self) -> Position {
        Position(self.next_position.load(Relaxed))
    }

    #[inline]
    fn entry(&self, position: Position) -> &'a AtomicU64 {
        // SAFETY: `new` has seen that there is an entry for each position of a lap.
        unsafe { self.order.get_unchecked((position.0 & self.mask) as usize) }
    }

    /// The words of a slot; `None` for an index that no slot has.
    #[inline]
    fn slot(&self, slot: u32) -> Option<&'a [AtomicU64]> {
        let start = slot as usize * self.shape.slot_words;
        self.slots.get(start..start + self.shape.slot_words)
    }

    /// Checks an index that came from shared memory.
    #[inline]
    pub(crate) fn has_slot(&self, slot: u32) -> bool {
        u64::from(slot) < self.slot_count
    }

    /// Whether something stands at `position`, also for the reader's last look before it sleeps.
    pub(crate) fn is_filled_at(&self, position: Position) -> bool {
        // ORD sleep:B, SeqCst; pairs with publish:E; a weaker load could be satisfied before the
        // flag is stored.
        is_filled(self.shape, OrderEntry(self.entry(position).load(SeqCst)), position)
    }

    #[inline]
    fn prefetch_slot<const WRITE: bool>(&self, slot: usize) {
        // Not checked: an address of nothing is fetched from nowhere.
        let start = self.slots.as_ptr().wrapping_add(slot * self.slot_words);
        prefetch::<WRITE, 0>(start);
        prefetch::<WRITE, 1>(start);
        if self.slot_words > 16 {
            prefetch::<WRITE, 2>(start);
        }
    }
}

#[cfg(test)]
mod label_tests;
#[cfg(test)]
#[path = "ring_tests/mod.rs"]
mod tests;
