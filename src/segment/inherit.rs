//! A ring's descriptor for a program that this process starts, which inherits it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use super::Segment;
use crate::error::{AttachError, MirrorError, cannot};

/// Below it are standard input, output and error.
const FIRST: RawFd = 3;

impl Segment {
    /// Has the program inherit the segment's file, by this number.
    pub(crate) fn pass_to(&self, command: &mut Command) -> Result<RawFd, MirrorError> {
        // One of its own, which the command keeps: the segment may be gone by the time it starts.
        let passed = fcntl_dupfd_cloexec(self.borrow_descriptor()?, FIRST)
            .map_err(cannot("keep the descriptor"))?;
        let number = passed.as_raw_fd();
        let inherit = move || Ok(fcntl_setfd(&passed, FdFlags::empty())?);
        // SAFETY: the child makes one system call there, and takes no lock and no memory.
        unsafe { command.pre_exec(inherit) };
        Ok(number)
    }
}

/// Attaches to the segment behind a descriptor that this process has inherited. Whatever it is, no
/// byte of it is read unless it may be a ring.
pub(crate) fn attach_inherited(descriptor: RawFd) -> Result<Segment, AttachError> {
    if descriptor < FIRST {
        let error = rustix::io::Errno::BADF;
        return Err(cannot("use the ring's descriptor, which was to be inherited")(error).into());
    }
    // SAFETY: of a number that is open nothing is asked here but what `fcntl` and `fstat` tell; it
    // is duplicated, and not closed.
    let inherited = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let own = fcntl_dupfd_cloexec(inherited, FIRST)
        .map_err(cannot("use the ring's descriptor, which was to be inherited"))?;
    Segment::attach_file(own.into())
}
