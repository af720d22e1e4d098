//! A cell's owner: the process that has the lock on the cell's byte, alone or with a claim.
//!
//! A process that may only read a ring's file can have read locks on all of it, and while it has
//! them no process gets a write lock there. A process that wants a cell then takes a read lock too,
//! which an owner's write lock would keep away, and puts its own process into the cell by one
//! exchange: a claim. So
//!
//! * a cell with a write lock has an owner;
//! * a cell with read locks has one if it has a claim of a process that has not ended (its number
//!   and beginning say so, which processes of the same namespaces can ask about);
//! * a cell without a lock has none, whatever its claim says: an owner with a claim has a read lock
//!   for as long as it lives.
//!
//! A write lock that was got therefore proves that every claim is void, and where no stranger
//! reads, claims are never made.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

use super::{Held, LockProbe, Segment, held};
use crate::error::{MirrorError, cannot};
use crate::layout::sync::Ordering;
use crate::layout::{Cell, Geometry, Header, ReaderWords, SegmentCounters};
use crate::sys::process::{Process, namespaces};

use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Set in every claim, so that none is 0.
const CLAIMED: u64 = 1 << 63;

impl Segment {
    /// Takes a cell with a probe's description, for as long as that is kept and until
    /// [`leave_cell`](Self::leave_cell). `false` if a process has it, or may have it. One
    /// system call; some ten beside a stranger's read lock.
    pub(crate) fn take_cell(&self, probe: &LockProbe, index: usize) -> Result<bool, MirrorError> {
        let byte = index as u64;
        if probe.take(byte).map_err(cannot("lock a cell"))? {
            clear(&self.cells()[index]);
            return Ok(true);
        }
        if !probe.share(byte).map_err(cannot("lock a cell"))? {
            return Ok(false);
        }
        let is_claimed = self.claim(index);
        if !is_claimed {
            probe.release(byte);
        }
        Ok(is_claimed)
    }

    /// Gives a cell that was taken back, but for its lock, which the caller drops after this.
    pub(crate) fn leave_cell(&self, index: usize) {
        clear(&self.cells()[index]);
    }

    /// Gives a cell back that this probe took.
    pub(crate) fn release_cell(&self, probe: &LockProbe, index: usize) {
        self.leave_cell(index);
        probe.release(index as u64);
    }

    /// Whether a living process has this cell, as far as this moment goes; `None` if the system
    /// does not say. Needs the kept descriptor alone. Two system calls; some more beside a
    /// stranger's read lock.
    pub(crate) fn has_owner(&self, index: usize) -> Result<Option<bool>, MirrorError> {
        self.file.check()?;
        self.ask_for_owner(index)
    }

    /// Those of these cells that no living process has, as [`has_owner`](Self::has_owner) knows
    /// them. A system call for each and one; without one where there are none.
    pub(crate) fn without_owner(
        &self,
        cells: impl Iterator<Item = usize>,
    ) -> Result<Vec<usize>, MirrorError> {
        let mut cells = cells.peekable();
        if cells.peek().is_some() {
            self.file.check()?;
        }
        let mut without = Vec::new();
        for cell in cells {
            if self.ask_for_owner(cell)? == Some(false) {
                without.push(cell);
            }
        }
        Ok(without)
    }

    fn ask_for_owner(&self, index: usize) -> Result<Option<bool>, MirrorError> {
        let held = self.file.held(index as u64).map_err(cannot("ask for a cell's lock"))?;
        Ok(match held {
            Held::Free => Some(false),
            Held::Owned => Some(true),
            Held::Read => self.claim_lives(index),
        })
    }

    /// Whether strangers' read locks keep this process from knowing, or from having, a cell that
    /// seems to have no owner.
    pub(crate) fn is_kept_out(&self, index: usize) -> bool {
        let is_read_locked = || matches!(self.file.held(index as u64), Ok(Held::Read));
        self.file.check().is_ok() && is_read_locked() && self.claim_lives(index) != Some(true)
    }

    /// The caller shares the lock of the cell.
    fn claim(&self, index: usize) -> bool {
        let (Some(here), Some(this)) = (namespaces(), Process::of_this()) else {
            return false;
        };
        // Relaxed: it changes once, and before any claim, whose order is that of claim:A and
        // claim:B.
        let claimed_in = &self.header().counts.0.claimed_in;
        if let Err(other) = claimed_in.compare_exchange(0, here, Relaxed, Relaxed)
            && other != here
        {
            return false;
        }
        let claim = &self.cells()[index].reader.0.claim;
        let found = self.found_claim(index);
        let is_void = found == 0 || Process(found & !CLAIMED).has_ended() == Some(true);
        // Nothing brings `found` back once it is void: a process that has ended claims nothing, and
        // 0 means that there is no owner, whenever it was read.
        // ORD claim:A, release (and acquire); pairs with claim:C; the namespaces come before.
        is_void && claim.compare_exchange(found, this.0 | CLAIMED, AcqRel, Relaxed).is_ok()
    }

    /// Whether the process that has claimed this cell lives; `None` if that is not known here.
    fn claim_lives(&self, index: usize) -> Option<bool> {
        let claim = self.found_claim(index);
        lives(claim, self.header().counts.0.claimed_in.load(Relaxed))
    }

    fn found_claim(&self, index: usize) -> u64 {
        // ORD claim:C, acquire; pairs with claim:A, claim:B; the namespaces, and what the owner
        // before did with the cell.
        self.cells()[index].reader.0.claim.load(Acquire)
    }
}

/// Whether the process of a claim lives; `None` if that is not known here.
fn lives(claim: u64, claimed_in: u64) -> Option<bool> {
    if claim == 0 {
        return Some(false);
    }
    if namespaces()? != claimed_in {
        return None;
    }
    Process(claim & !CLAIMED).has_ended().map(|ended| !ended)
}

/// Whether a process that has claimed a cell may live, in a segment that is not mapped.
pub(super) fn may_be_claimed(file: &File, geometry: &Geometry) -> io::Result<bool> {
    let word = |offset: usize| -> io::Result<u64> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset as u64)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    let claimed_in = word(offset_of!(Header, counts) + offset_of!(SegmentCounters, claimed_in))?;
    if claimed_in == 0 {
        return Ok(false);
    }
    let claim =
        geometry.offsets().cells + offset_of!(Cell, reader) + offset_of!(ReaderWords, claim);
    for index in 0..geometry.cells as usize {
        let is_read_locked = held(file, index as u64)? == Held::Read;
        if is_read_locked
            && lives(word(claim + index * size_of::<Cell>())?, claimed_in) != Some(false)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn clear(cell: &Cell) {
    let claim = &cell.reader.0.claim;
    if claim.load(Relaxed) != 0 {
        // ORD claim:B, release; pairs with claim:C; everything that the owner did comes before.
        claim.store(0, Release);
    }
}
