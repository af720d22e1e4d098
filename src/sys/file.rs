//! A lock on a file, between those who write it.

use std::fs::File;
use std::io;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Held while it lives.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// `None` while another has it. Two system calls.
    pub(crate) fn try_of(file: &File) -> io::Result<Option<Self>> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            // A lock belongs to the file's description, which this shares.
            Ok(()) => Ok(Some(Self(file.try_clone()?))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            // A file system without locks: then there is no other that would mind.
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => {
                Ok(Some(Self(file.try_clone()?)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Also for a forked child that has the description too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether another description of this file is open for writing; `None` where the system does not
/// tell: to another user than its owner, say. The file must be open for reading alone.
#[cfg(feature = "gzip")]
pub(crate) fn is_being_written(file: &File) -> Option<bool> {
    use std::os::fd::AsRawFd as _;
    // A lease for reading is not given while there is one. Should another open it before it is
    // given back, a signal that does nothing by default says so.
    let fcntl = |command: i32, what: i32| {
        // SAFETY: plain system calls on an open descriptor.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, what) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    fcntl(F_SETSIG, libc::SIGURG).ok()?;
    match fcntl(libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => fcntl(libc::F_SETLEASE, libc::F_UNLCK).ok().map(|()| false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(true),
        Err(_) => None,
    }
}

/// As linux/fcntl.h has it; the crate libc does not.
#[cfg(feature = "gzip")]
const F_SETSIG: i32 = 10;
