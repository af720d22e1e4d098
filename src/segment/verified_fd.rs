//! A descriptor that is used only while it is still the segment's.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};

use super::lock::{Held, Keeping, Lock, LockProbe, has_owner, held};
use super::open::{Wanted, device_and_inode};
use crate::error::{AttachError, MirrorError, cannot};

/// A descriptor that knows which file it was opened for: a daemon closes numbers that it does not
/// know, and the next file gets them.
#[derive(Debug)]
pub(super) struct VerifiedFd {
    pub(super) descriptor: RawFd,
    pub(super) file: (u64, u64),
    pub(super) keeping: Keeping,
}

impl VerifiedFd {
    pub(super) fn new(descriptor: File) -> io::Result<Self> {
        let file = device_and_inode(&descriptor)?;
        Ok(Self {
            descriptor: OwnedFd::from(descriptor).into_raw_fd(),
            file,
            keeping: Keeping::Mapping,
        })
    }

    /// Finds out what keeps a lock on this file. Memory without a name needs no trial: a mapping
    /// does.
    pub(super) fn try_locks(&mut self) -> io::Result<()> {
        self.keeping = Keeping::of(self)?;
        Ok(())
    }

    pub(super) fn probe(&self) -> Result<LockProbe, MirrorError> {
        LockProbe::open(self.keeping, || self.reopen())
    }

    /// Whether a byte of this range has an owner, be it in this process.
    pub(super) fn has_owner(&self, range: Range<u64>) -> io::Result<bool> {
        has_owner(&self.descriptor, range)
    }

    /// Which locks are on this byte, be they of this process.
    pub(super) fn held(&self, byte: u64) -> io::Result<Held> {
        held(&self.descriptor, byte)
    }

    /// Shares the lock that says that this process lives here.
    pub(super) fn live(&self) -> io::Result<Lock> {
        let probe = self.probe().map_err(io::Error::other)?;
        probe.live()?;
        probe.keep()
    }

    pub(super) fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: only used for the length of a call, which a closed number gives an error.
        unsafe { BorrowedFd::borrow_raw(self.descriptor) }
    }

    pub(super) fn check(&self) -> Result<(), MirrorError> {
        match rustix::fs::fstat(self.borrow()) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.file => Ok(()),
            _ => Err(MirrorError::DescriptorClosed { descriptor: self.descriptor }),
        }
    }

    /// A description of its own of the same file.
    pub(super) fn reopen(&self) -> Result<File, MirrorError> {
        let path = format!("/proc/self/fd/{}", self.descriptor);
        let new = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let closed = MirrorError::DescriptorClosed { descriptor: self.descriptor };
        let new = match new {
            Err(rustix::io::Errno::NOENT) if std::path::Path::new("/proc/self/fd").exists() => {
                return Err(closed);
            }
            other => other.map_err(cannot("reopen the segment through /proc"))?,
        };
        let stat = rustix::fs::fstat(&new).map_err(cannot("look at the segment"))?;
        if (stat.st_dev, stat.st_ino) == self.file { Ok(new.into()) } else { Err(closed) }
    }
}

impl Drop for VerifiedFd {
    fn drop(&mut self) {
        if self.check().is_ok() {
            // SAFETY: it is our file's descriptor, and it is not used after this.
            drop(unsafe { OwnedFd::from_raw_fd(self.descriptor) });
        }
    }
}

/// Opens the segment that another process has under this number.
pub(crate) fn open_of_process(process: u32, descriptor: RawFd) -> Result<File, AttachError> {
    // The entry there is a link. Whatever else it leads to is not opened: opening a device can have
    // an effect.
    let wanted = Wanted { writing: true, following: true, any_user: true };
    let path = format!("/proc/{process}/fd/{descriptor}");
    let doing = "open the ring's descriptor in the process that the seat's string names";
    wanted.open(path.as_ref(), doing)
}
