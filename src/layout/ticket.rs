//! What a ticket says of a mirror, and a cell of its owner.

use super::LineNumber;

/// The number in a ticket has 48 bits: a line's, or a seat's serial.
pub(super) const NUMBER_MASK: u64 = (1 << 48) - 1;

/// What a ticket stands for: `state:4 | cell:12 | epoch or serial:48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketWord {
    /// Belongs to no mirror.
    Free,
    /// A seat that no process has opened yet; the number is its serial.
    Reserved(u64),
    /// Being opened by the mirror that has this cell.
    Opening(MirrorId),
    /// An open mirror.
    Live(MirrorId),
    /// Ended by `send_eof`, or dropped.
    Eof(MirrorId),
    /// Ended by `send_error`.
    Error(MirrorId),
    /// Its process was found dead.
    Dead(MirrorId),
    /// A seat that was given up before a process opened it; the number is its serial.
    Cancelled(u64),
    /// A seat whose time limit passed before a process opened it; the number is its serial.
    TimedOut(u64),
    /// Going to be a seat: the process that has its lock writes its fields. Free, if no process has
    /// it.
    Making,
}

/// A mirror's place: its cell, and the number of its first line there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MirrorId {
    pub(crate) cell: u16,
    pub(crate) epoch: LineNumber,
}

impl TicketWord {
    pub(crate) fn pack(self) -> u64 {
        let (state, cell, number) = match self {
            TicketWord::Free => (0, 0, 0),
            TicketWord::Reserved(serial) => (1, 0, serial),
            TicketWord::Opening(m) => (2, m.cell, m.epoch.get()),
            TicketWord::Live(m) => (3, m.cell, m.epoch.get()),
            TicketWord::Eof(m) => (4, m.cell, m.epoch.get()),
            TicketWord::Error(m) => (5, m.cell, m.epoch.get()),
            TicketWord::Dead(m) => (6, m.cell, m.epoch.get()),
            TicketWord::Cancelled(serial) => (7, 0, serial),
            TicketWord::TimedOut(serial) => (8, 0, serial),
            TicketWord::Making => (9, 0, 0),
        };
        state << 60 | u64::from(cell) << 48 | number & NUMBER_MASK
    }
    /// `None` for bits that no ticket has.
    pub(crate) fn unpack(word: u64) -> Option<Self> {
        let mirror = MirrorId { cell: (word >> 48 & 0xfff) as u16, epoch: LineNumber::new(word) };
        let serial = word & NUMBER_MASK;
        Some(match word >> 60 {
            0 => TicketWord::Free,
            1 => TicketWord::Reserved(serial),
            2 => TicketWord::Opening(mirror),
            3 => TicketWord::Live(mirror),
            4 => TicketWord::Eof(mirror),
            5 => TicketWord::Error(mirror),
            6 => TicketWord::Dead(mirror),
            7 => TicketWord::Cancelled(serial),
            8 => TicketWord::TimedOut(serial),
            9 => TicketWord::Making,
            _ => return None,
        })
    }
}

/// Which processes may take a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Owner {
    /// Any process that takes its lock.
    Free = 0,
    /// A mirror, as long as it holds the lock.
    Live = 1,
    /// A mirror that ended with an error. Its spare keeps the error's first slot-full for the
    /// reader; others may take the cell when there is no free one.
    KeepsError = 2,
}
