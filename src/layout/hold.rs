//! What a writer's cell says of its slot, and of the line that is in it.

use super::LineNumber;
use super::entry::SLOT_MASK;

/// Where the change count begins in the word of a [`Hold`].
pub(crate) const CHANGES_SHIFT: u32 = 49;

/// Which slot a cell owns: `changes:15 | intent:1 | b:24 | a:24`.
///
/// The change count lets a process that judges a dead cell know that the word did not move
/// meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The cell owns this slot.
    Held(u32),
    /// The cell owns one of the two, and the other is in circulation: it is exchanging the first
    /// for the second.
    Intent(u32, u32),
}

impl Hold {
    #[inline]
    pub(crate) fn pack(self, changes: u64) -> u64 {
        let (intent, a, b) = match self {
            Hold::Held(a) => (0, a, 0),
            Hold::Intent(a, b) => (1, a, b),
        };
        changes << CHANGES_SHIFT | intent << 48 | u64::from(b) << 24 | u64::from(a)
    }
    #[inline]
    pub(crate) fn unpack(word: u64) -> (Self, u64) {
        let a = (word & SLOT_MASK) as u32;
        let b = (word >> 24 & SLOT_MASK) as u32;
        let hold = if word >> 48 & 1 == 0 { Hold::Held(a) } else { Hold::Intent(a, b) };
        (hold, word >> CHANGES_SHIFT)
    }
}

/// `line:48 | bytes:16`: the number of the line that is unfinished or comes next, and how many of
/// its bytes stand in the spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) line: LineNumber,
    pub(crate) bytes: u16,
}

impl Pending {
    #[inline]
    pub(crate) fn pack(self) -> u64 {
        self.line.word() | u64::from(self.bytes)
    }
    pub(crate) fn unpack(word: u64) -> Self {
        Self { line: LineNumber::of_word(word), bytes: word as u16 }
    }
}
