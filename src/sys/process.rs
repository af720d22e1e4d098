//! What the system says of a process: when it began, and whether it is about to end.
//!
//! A number alone names no process: once its parent has awaited it, another may get it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::fork;

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
        let this = Self::of_this().unwrap_or(Self::new(number, 0));
        THIS.store(this.0, Relaxed);
        this
    }

    /// This one, as `/proc` has it now; `None` where there is no `/proc`.
    pub(crate) fn of_this() -> Option<Self> {
        let number = std::process::id();
        Some(Self::new(number, read_stat(number)?.began))
    }

    /// A child of this process that was not awaited; `None` where there is no `/proc`.
    #[cfg(feature = "workers")]
    pub(crate) fn of(child: u32) -> Option<Self> {
        Some(Self::new(child, read_stat(child)?.began))
    }

    /// Whether this process has no other thread than this one, as far as `/proc` says.
    #[cfg(feature = "workers")]
    pub(crate) fn has_one_thread() -> bool {
        read_stat(std::process::id()).is_some_and(|stat| stat.threads == 1)
    }

    pub(crate) fn number(self) -> u32 {
        (self.0 & NUMBER_MASK) as u32
    }

    /// Whether it is ending; `None` if there is no such process, or not any more.
    pub(crate) fn is_ending(self) -> Option<bool> {
        let stat = read_stat(self.number())?;
        (Self::new(self.number(), stat.began) == self).then_some(stat.is_ending)
    }

    /// Whether it has ended, or is ending and has no other thread: none of its code runs any more.
    /// `None` if the system does not say. Asked in the [namespaces] in which it was noted. Two
    /// to four system calls.
    pub(crate) fn has_ended(self) -> Option<bool> {
        // SAFETY: a plain system call, which sends nothing. Unlike `/proc`, it hides no process
        // from any user.
        let sent = unsafe { libc::kill(self.number() as libc::pid_t, 0) };
        if sent != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
            return Some(true);
        }
        let stat = read_stat(self.number())?;
        let is_another = Self::new(self.number(), stat.began) != self;
        Some(is_another || stat.is_ending && stat.threads <= 1)
    }
}

/// How children exited that this process has awaited, the last ones: the system has forgotten it.
/// Locked for moments, and never while this process forks.
static AWAITED: Mutex<VecDeque<(Process, ExitStatus)>> = Mutex::new(VecDeque::new());
/// More than die between two looks of a reader.
#[cfg(feature = "workers")]
const MOST_AWAITED: usize = 1024;

impl Process {
    /// This child was awaited by this crate, and exited so.
    #[cfg(feature = "workers")]
    pub(crate) fn remember_exit(self, status: ExitStatus) {
        let _gate = fork::no_fork();
        let mut awaited = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
        if awaited.len() == MOST_AWAITED {
            awaited.pop_front();
        }
        awaited.push_back((self, status));
    }

    /// How this child exited, if it was awaited by this crate.
    pub(crate) fn remembered_exit(self) -> Option<ExitStatus> {
        let _gate = fork::no_fork();
        let awaited = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.iter().rev().find(|(process, _)| *process == self).map(|(_, status)| *status)
    }
}

/// How a child of this process exited, which still has to be awaited then; `None` while it runs.
/// With `NOHANG` it is not waited for.
///
/// # Errors
///
/// The system's, if it is no child of this process, or was awaited.
pub(crate) fn peek_exit_status(
    process: u32,
    options: WaitIdOptions,
) -> io::Result<Option<ExitStatus>> {
    let id = WaitId::Pid(Pid::from_raw(process as i32).ok_or(Errno::CHILD)?);
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = retry_on_intr(|| waitid(id.clone(), options))?;
    Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::from_raw(code << 8),
        (None, signal) => {
            let core = if status.dumped() { 0x80 } else { 0 };
            ExitStatus::from_raw(signal.unwrap_or_default() | core)
        }
    }))
}

/// The namespaces that give a process its number and the time at which it began: processes of one
/// know each other by both. `None` where there is no `/proc`, or that of others.
pub(crate) fn namespaces() -> Option<u64> {
    let number: u32 = fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()?;
    if number != std::process::id() {
        return None;
    }
    // `pid:[4026531836]`; a kernel without time namespaces has one time.
    let inode = |kind: &str| -> Option<u64> {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
        link.to_str()?.split(['[', ']']).nth(1)?.parse().ok()
    };
    Some(inode("pid")? << 32 | inode("time").unwrap_or(0))
}

/// Has `action` run when this process, or one that it forks, leaves by `exit` or by the end of
/// `main`; not at `_exit`, nor at a signal. `false` if the system has no memory for it.
pub(crate) fn at_exit(action: extern "C" fn()) -> bool {
    // SAFETY: a function of this program's, or of a library that runs it before it is unloaded.
    unsafe { libc::atexit(action) == 0 }
}

/// What `/proc` says of a process.
struct Stat {
    began: u64,
    is_ending: bool,
    threads: u64,
}

fn read_stat(number: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // `number (name) state ...`; the name may hold anything. Of those after it, flags are the 7th,
    // the number of threads the 18th and the beginning the 20th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |index: usize| -> Option<u64> { fields.get(index)?.parse().ok() };
    Some(Stat { is_ending: field(6)? & EXITING != 0, threads: field(17)?, began: field(19)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_is_known_and_another_of_its_number_is_not() {
        let this = Process::this();
        assert_eq!(this.number(), std::process::id());
        assert_eq!((this.is_ending(), this.has_ended()), (Some(false), Some(false)));
        assert_eq!(Process::of_this(), Some(this));
        let earlier = Process(this.0 - (1 << NUMBER_BITS));
        assert_eq!((earlier.number(), earlier.is_ending()), (this.number(), None));
        assert_eq!(earlier.has_ended(), Some(true));
        assert!(namespaces().is_some_and(|here| namespaces() == Some(here)));
    }
}
