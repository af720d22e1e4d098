//! The registry: how a mirror gets a cell, and gives it back.
//!
//! A cell belongs to the process that holds the kernel's lock on its byte. The lock ends with its
//! process and in no other way, so a cell is never taken from a process that might still write.
//! Line numbers of a cell never restart: a mirror's first number (its epoch) tells it from all
//! others that ever had the cell.

use crate::error::{MirrorError, cannot};
use crate::exchange::Spare;
use crate::layout::sync::{Ordering, fence};
use crate::layout::{Cell, LineNumber, MirrorId, Owner, READER_CELL};
use crate::registry::reaper::{ReapOutcome, reap_cell};
use crate::registry::ticket::{Label, SeatId};
use crate::segment::{Lock, LockProbe, Segment};
use crate::sys::fork;

use Ordering::{Acquire, Relaxed, Release};

/// How often all cells are tried: one may become free behind a look, or be in the hands of who
/// reaps its owner.
const PASSES: u32 = 3;

/// A mirror's cell, held by its lock.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) mirror: MirrorId,
    /// The process that registered it.
    pub(crate) token: u64,
    pub(crate) serial: u64,
    pub(crate) ticket: Option<u32>,
    lock: Option<Lock>,
}

/// Which entry a new mirror has in the table of ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MirrorKind {
    /// That of its seat if it is still kept, else one of its own; a number, if it has one already.
    Ticket { seat: Option<SeatId>, serial: Option<u64>, label: Label },
    /// None: no process waits for its end.
    Unlisted,
}

impl Cell {
    pub(crate) fn owner(&self) -> Option<Owner> {
        // ORD owner:B, acquire; pairs with owner:A; the former owner's last words are seen.
        match self.writer.0.owner.load(Acquire) {
            0 => Some(Owner::Free),
            1 => Some(Owner::Live),
            2 => Some(Owner::KeepsError),
            _ => None,
        }
    }

    /// Whether it says anything but that it has no mirror.
    pub(crate) fn may_be_owned(&self) -> bool {
        !matches!(self.owner(), Some(Owner::Free | Owner::KeepsError))
    }

    pub(crate) fn set_owner(&self, owner: Owner) {
        // ORD owner:A, release; pairs with owner:B; everything that the owner did comes before.
        self.writer.0.owner.store(owner as u64, Release);
    }

    /// The number after the last line that was delivered.
    #[inline]
    pub(crate) fn delivered(&self) -> LineNumber {
        LineNumber::new(self.reader.0.delivered.load(Relaxed))
    }

    /// One more line was dropped. Called by the owner of the cell's lock.
    pub(crate) fn count_dropped(&self) {
        let dropped = &self.writer.0.dropped;
        // Any process may have written the number.
        dropped.store(dropped.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Registers a mirror: takes a cell and its lock, and makes its ticket live.
///
/// Five to six system calls, and one more for each cell that is not free. If the process dies here,
/// its lock is gone, and the cell is as free as it was or is found dead.
pub(crate) fn register(
    segment: &Segment,
    entry: MirrorKind,
) -> Result<(Registration, Spare), MirrorError> {
    let probe = segment.probe()?;
    let mut taken = take_cell(segment, &probe)?;
    for _ in 1..PASSES {
        if taken.is_some() {
            break;
        }
        std::thread::yield_now();
        taken = take_cell(segment, &probe)?;
    }
    let Some((index, spare)) = taken else {
        let is_kept_out = |index: usize| {
            segment.cells()[index].owner() == Some(Owner::Free) && segment.is_kept_out(index)
        };
        if (READER_CELL + 1..segment.cells().len()).any(is_kept_out) {
            return Err(MirrorError::KeptOut);
        }
        return Err(MirrorError::TooManyMirrors { limit: segment.cells().len() - 1 });
    };
    let cell = &segment.cells()[index];
    let lock = keep_cell(segment, probe, index)?;
    // One number is left out, so that a mirror without lines has an epoch of its own too.
    let epoch = cell.pending().line.next();
    let mirror = MirrorId { cell: index as u16, epoch };
    let serial = match entry {
        MirrorKind::Ticket { serial: Some(serial), .. } => serial,
        _ => segment.next_serial(),
    };
    cell.writer.0.dropped.store(0, Relaxed);
    cell.reader.0.serial.store(serial, Relaxed);
    cell.reader.0.ticket.store(0, Relaxed);
    cell.set_pending(epoch, 0);
    // ORD epoch:A, release; pairs with epoch:B; the serial belongs to the epoch.
    cell.reader.0.epoch.store(epoch.get(), Release);
    cell.set_owner(Owner::Live);
    // ORD register:A, release fence; pairs with kept:A; a process that sees a word of this mirror's
    // lines in the spare sees its epoch.
    fence(Release);
    let mut registration =
        Registration { mirror, token: fork::token(), serial, ticket: None, lock: Some(lock) };
    if let MirrorKind::Ticket { seat, label, .. } = entry {
        match segment.go_live(mirror, seat, serial, label) {
            Ok(ticket) => {
                cell.reader.0.ticket.store(u64::from(ticket) + 1, Relaxed);
                registration.ticket = Some(ticket);
            }
            Err(error) => {
                cell.set_owner(Owner::Free);
                return Err(error);
            }
        }
    }
    Ok((registration, spare))
}

/// Keeps a cell that was taken for as long as the returned lock lives.
pub(crate) fn keep_cell(
    segment: &Segment,
    probe: LockProbe,
    index: usize,
) -> Result<Lock, MirrorError> {
    // A forked child shares none of its parent's locks.
    let living = probe.live().map_err(cannot("lock the segment"));
    let kept = living.and_then(|()| probe.keep().map_err(cannot("keep the lock on a cell")));
    if kept.is_err() {
        segment.leave_cell(index);
    }
    Ok(kept?)
}

/// Takes the lock of a cell without a living owner: a free one, else a dead one, else one that
/// keeps an error.
fn take_cell(segment: &Segment, probe: &LockProbe) -> Result<Option<(usize, Spare)>, MirrorError> {
    for wanted in [Owner::Free, Owner::Live, Owner::KeepsError] {
        for (index, cell) in segment.cells().iter().enumerate().skip(READER_CELL + 1) {
            if cell.owner() != Some(wanted) {
                continue;
            }
            if !segment.take_cell(probe, index)? {
                continue;
            }
            // Under the lock now: no other process changes the cell.
            if cell.owner() == Some(Owner::Live) && reap_cell(segment, index) != ReapOutcome::Done {
                segment.release_cell(probe, index);
                continue;
            }
            // ORD register:B, acquire; pairs with publish:F and settle:A; what the owner before did
            // with the slot is seen.
            if let Some(spare) = segment.ring().spare_of(cell.writer.0.hold.load(Acquire)) {
                return Ok(Some((index, spare)));
            }
            segment.release_cell(probe, index);
        }
    }
    Ok(None)
}

impl Registration {
    #[inline]
    pub(crate) fn is_of_this_process(&self) -> bool {
        fork::is_token(self.token)
    }

    #[inline]
    pub(crate) fn cell<'s>(&self, segment: &'s Segment) -> &'s Cell {
        &segment.cells()[usize::from(self.mirror.cell)]
    }

    /// Gives the cell back. The ticket's end was noted before.
    pub(crate) fn leave(&mut self, segment: &Segment, owner: Owner) {
        if let Some(lock) = self.lock.take() {
            if self.is_of_this_process() {
                self.cell(segment).set_owner(owner);
                segment.leave_cell(usize::from(self.mirror.cell));
            }
            drop(lock);
        }
    }
}
