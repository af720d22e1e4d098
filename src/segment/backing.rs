//! What a segment's memory belongs to: memory without a name, memory with a name, or a file.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, IFlags, MemfdFlags, SealFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::lock::Keeping;
use super::memory::check_memory;
use super::name::{Name, create_named};
use super::open::{device_and_inode, is_at, is_being_made, open_file};
use super::{Lock, LockProbe, PRESENT, VerifiedFd};
use crate::error::{CreateError, SystemError, cannot};
use crate::layout::BEING_MADE;

/// What keeps a memfd's size as it is.
pub(super) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Where a new segment is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing<'b> {
    Memory,
    Named(&'b str),
    File(&'b Path),
}

impl Backing<'_> {
    /// The number in the geometry.
    pub(super) fn number(self) -> u16 {
        match self {
            Backing::Memory => 0,
            Backing::Named(_) => 1,
            Backing::File(_) => 2,
        }
    }

    /// Makes the object: `bytes` zeros, allocated, so that no later write can find memory or disk
    /// full and die of SIGBUS. Leaves nothing behind if it fails. What a maker that died has
    /// left at that path makes way.
    pub(super) fn create(self, bytes: u64) -> Result<NewSegment, CreateError> {
        // A larger one would be the end of this process, by SIGXFSZ.
        if let Some(limit) = getrlimit(Resource::Fsize).current.filter(|limit| *limit < bytes) {
            return Err(CreateError::FileSize { needed: bytes, limit });
        }
        if !matches!(self, Backing::File(_)) {
            check_memory(bytes)
                .map_err(|(needed, available)| CreateError::Memory { needed, available })?;
        }
        match (self.try_create(bytes), self) {
            (Err(CreateError::Taken { .. }), Backing::File(path)) if remove_unfinished(path) => {
                self.try_create(bytes)
            }
            (made, _) => made,
        }
    }

    fn try_create(self, bytes: u64) -> Result<NewSegment, CreateError> {
        let (file, name) = match self {
            Backing::Memory => {
                let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
                let file = rustix::fs::memfd_create("linering", flags);
                (file.map_err(cannot("make a memory file"))?, None)
            }
            Backing::Named(name) => {
                let (file, name) = create_named(name, bytes)?;
                (file, Some(name))
            }
            Backing::File(path) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true).mode(0o600);
                let file = options.open(path).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => {
                        CreateError::Taken { found: path.display().to_string() }
                    }
                    _ => SystemError::new("make the file", error).into(),
                })?;
                (file.into(), None)
            }
        };
        let made = self.fill(file, bytes);
        if let (Err(_), Backing::File(path)) = (&made, self) {
            // Ours, and useless.
            let _ = std::fs::remove_file(path);
        }
        let (file, living) = made?;
        Ok(NewSegment { file, living, name })
    }

    /// Says first that a process lives here, and that it is being made: from then on others know
    /// what it is, should this process die.
    fn fill(self, file: OwnedFd, bytes: u64) -> Result<(VerifiedFd, Lock), CreateError> {
        let mut file = VerifiedFd::new(file.into()).map_err(cannot("look at the segment"))?;
        if !matches!(self, Backing::Memory) {
            file.try_locks().map_err(cannot("use the ring's file"))?;
            write_in_place(file.borrow());
        }
        let living = file.live().map_err(cannot("lock the segment"))?;
        let borrowed = file.borrow();
        rustix::io::pwrite(borrowed, &BEING_MADE, 0).map_err(cannot("write to the segment"))?;
        allocate(borrowed, bytes).map_err(|error| match self {
            Backing::Memory => SystemError::new("allocate the segment", error),
            Backing::Named(_) => SystemError::new("allocate the named segment", error),
            Backing::File(_) => SystemError::new("allocate the file", error),
        })?;
        if matches!(self, Backing::Memory) {
            rustix::fs::fcntl_add_seals(borrowed, SEALS).map_err(cannot("seal the segment"))?;
        }
        Ok((file, living))
    }
}

/// A segment's object, in which this process lives.
pub(super) struct NewSegment {
    pub(super) file: VerifiedFd,
    pub(super) living: Lock,
    pub(super) name: Option<Name>,
}

/// Takes away what a maker that died has left at this path; `false` if there is anything else.
fn remove_unfinished(path: &Path) -> bool {
    let Ok(probe) = LockProbe::open(Keeping::Mapping, || open_file(path)) else { return false };
    if !is_being_made(probe.file()) {
        return false;
    }
    let Ok(file) = device_and_inode(probe.file()) else { return false };
    // While it is held no other process takes it away, and what is removed is what was looked at.
    probe.take(PRESENT).unwrap_or(false) && is_at(path, file) && std::fs::remove_file(path).is_ok()
}

// -------------------------------------------------------------------------------------- allocation

/// Asks that what is written goes where it was allocated: btrfs writes elsewhere otherwise, which
/// takes room that a full disk does not have. For a file that is still empty; other file systems do
/// not know of it.
fn write_in_place(file: BorrowedFd<'_>) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(file) {
        let _ = rustix::fs::ioctl_setflags(file, flags | IFlags::NOCOW);
    }
}

fn allocate(file: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let Ok(bytes) = bytes.try_into() else { return Err(io::ErrorKind::FileTooLarge.into()) };
    // SAFETY: a plain system call on an open descriptor. The C library writes zeros where the file
    // system cannot allocate.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Allocates what is missing of a segment that others may be using: a sparse copy has holes, and
/// a process that writes into one on a full disk is ended by SIGBUS. One that was cut short
/// meanwhile stays so: with zeros in the place of what was there it would be taken for a ring.
pub(super) fn fill_holes(file: &VerifiedFd, bytes: u64) -> io::Result<()> {
    // Not the C library's: where the file system cannot allocate it would write over what others
    // write.
    match rustix::fs::fallocate(file.borrow(), FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        result => return result.map_err(Into::into),
    }
    let probe = file.probe().map_err(io::Error::other)?;
    // Of a segment in which others live, they have filled the holes.
    if !probe.take(PRESENT)? {
        return Ok(());
    }
    // Threads of this process may fork meanwhile: this takes time.
    let _alone = probe.keep()?;
    let description = file.reopen().map_err(io::Error::other)?;
    let bytes = bytes.min(description.metadata()?.len());
    let mut at = 0;
    while at < bytes {
        let hole = match rustix::fs::seek(&description, SeekFrom::Hole(at)) {
            Ok(hole) if hole < bytes => hole,
            _ => break,
        };
        let end = match rustix::fs::seek(&description, SeekFrom::Data(hole)) {
            Ok(data) => data.min(bytes),
            Err(_) => bytes,
        };
        at = hole;
        while at < end {
            let zeros = [0; 4096];
            let most = zeros.len().min((end - at) as usize);
            at += rustix::io::pwrite(&description, &zeros[..most], at)? as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_short_is_not_made_longer() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(4096).expect("room");
        let verified = VerifiedFd::new(file.try_clone().expect("a descriptor")).expect("a file");
        fill_holes(&verified, 1 << 20).expect("room");
        assert_eq!(file.metadata().expect("a file").len(), 4096);
    }
}
