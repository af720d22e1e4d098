//! Proof of life: a lock that the kernel takes away when its owner is gone, and at no other time.
//!
//! An open-file-description lock lives as long as its description. The description is opened for this one
//! lock, one page of it is mapped, and its descriptor is closed: from then on the mapping alone keeps it, so no
//! `close` of any descriptor drops it, a forked child does not inherit it (`MADV_DONTFORK`), and the end of
//! the process does drop it, zombie or not.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use super::{LIVING, USED};
use crate::fork;

/// A lock on one byte of a segment, held while this value lives in the process that took it.
#[derive(Debug)]
pub(crate) struct Lock {
    page: *mut core::ffi::c_void,
    token: u64,
}

// SAFETY: the pointer is never dereferenced; it only names a mapping to unmap.
unsafe impl Send for Lock {}
// SAFETY: as above.
unsafe impl Sync for Lock {}

impl Lock {
    /// Makes the lock that `description` holds last as long as the returned value.
    fn keep(description: OwnedFd) -> io::Result<Self> {
        // SAFETY: a new mapping without any access rights, at an address of the kernel's choice.
        let page =
            unsafe { mmap(ptr::null_mut(), 1, ProtFlags::empty(), MapFlags::SHARED, &description, 0)? };
        let lock = Self { page, token: fork::token() };
        // SAFETY: the mapping above.
        unsafe { madvise(page, 1, Advice::LinuxDontFork)? };
        Ok(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // In a forked child the mapping does not exist, and something else may be at its address.
        if self.token == fork::token() {
            // SAFETY: the mapping made in `keep`, in the process that made it. It cannot fail then.
            let _ = unsafe { munmap(self.page, 1) };
        }
    }
}

/// A description of its own on a segment's file, with which locks are tried.
#[derive(Debug)]
pub(crate) struct Prober(pub(super) OwnedFd);

impl Prober {
    /// Takes the lock on this byte; `false` if somebody has it. Dropping the prober gives it back.
    pub(crate) fn take(&self, byte: u64) -> io::Result<bool> {
        self.set(request(libc::F_WRLCK as libc::c_short, byte))
    }

    fn set(&self, mut lock: libc::flock) -> io::Result<bool> {
        // SAFETY: the descriptor is open, and the struct is initialised and lives during the call.
        if unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            e => Err(e),
        }
    }

    /// Shares the lock on this byte with whoever shares it; `false` if somebody has it alone.
    pub(crate) fn share(&self, byte: u64) -> io::Result<bool> {
        self.set(request(libc::F_RDLCK as libc::c_short, byte))
    }

    /// Says that somebody lives here, and does not only look.
    pub(crate) fn live(&self) -> io::Result<()> {
        if self.share(LIVING)? && self.share(USED)? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "somebody has it alone"))
    }

    /// Whether the lock on this byte could be taken. Only asks: proves nothing about the next moment.
    pub(crate) fn would_take(&self, byte: u64) -> io::Result<bool> {
        let mut lock = request(libc::F_WRLCK as libc::c_short, byte);
        // SAFETY: as above.
        if unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } == 0 {
            Ok(lock.l_type == libc::F_UNLCK as libc::c_short)
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Gives the lock on this byte back.
    pub(crate) fn release(&self, byte: u64) {
        let mut lock = request(libc::F_UNLCK as libc::c_short, byte);
        // SAFETY: as above. Unlocking what this description has locked does not fail.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    }

    /// Keeps what was taken, and nothing else, for as long as the returned value lives.
    pub(crate) fn keep(self) -> io::Result<Lock> {
        Lock::keep(self.0)
    }
}

fn request(kind: libc::c_short, byte: u64) -> libc::flock {
    // SAFETY: a plain C struct, for which zeros are valid.
    let mut lock: libc::flock = unsafe { core::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as libc::off_t;
    lock.l_len = 1;
    lock
}
