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
