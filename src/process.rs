//! What the system says of a process: when it began, and whether it is about to end.
//!
//! A number alone names no process: once its parent has awaited it, another may get it.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of a process's number: 2²² is the most that Linux has.
const NUMBER_BITS: u32 = 22;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
/// Bits of the tick at which it began, of which a second has a hundred.
const BEGAN_MASK: u64 = (1 << 40) - 1;
/// The kernel's flag of a process that is ending.
const EXITING: u64 = 4;

/// A process, told from others that had or will have its number: `began:40 | number:22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(pub(crate) u64);

impl Process {
    fn new(number: u32, began: u64) -> Self {
        Self((began & BEGAN_MASK) << NUMBER_BITS | u64::from(number) & NUMBER_MASK)
    }

    /// This one. A system call, and in each process once a look at `/proc`.
    pub(crate) fn this() -> Self {
        static THIS: AtomicU64 = AtomicU64::new(0);
        let number = std::process::id();
        let known = Self(THIS.load(Relaxed));
        if known.number() == number {
            return known;
        }
        let this = Self::new(number, look(number).map_or(0, |(began, _)| began));
        THIS.store(this.0, Relaxed);
        this
    }

    pub(crate) fn number(self) -> u32 {
        (self.0 & NUMBER_MASK) as u32
    }

    /// Whether it is ending; `None` if there is no such process, or not any more.
    pub(crate) fn is_ending(self) -> Option<bool> {
        let (began, is_ending) = look(self.number())?;
        (Self::new(self.number(), began) == self).then_some(is_ending)
    }
}

/// When the process of this number began, and whether it is ending.
fn look(number: u32) -> Option<(u64, bool)> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // `number (name) state ...`; the name may hold anything. Of those after it, flags are the 7th and the beginning the 20th.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(6);
    let flags: u64 = fields.next()?.parse().ok()?;
    let began = fields.nth(12)?.parse().ok()?;
    Some((began, flags & EXITING != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_is_known_and_another_of_its_number_is_not() {
        let this = Process::this();
        assert_eq!(this.number(), std::process::id());
        assert_eq!(this.is_ending(), Some(false));
        let earlier = Process(this.0 - (1 << NUMBER_BITS));
        assert_eq!((earlier.number(), earlier.is_ending()), (this.number(), None));
    }
}
