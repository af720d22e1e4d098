//! The pipe that wakes a reader in an event loop.
//!
//! A pipe and not an eventfd, since a process that was not forked from the ring's creator can open the write
//! end of a pipe again (through `/proc`), and cannot do that with an eventfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::AttachError;
use crate::layout::Geometry;

/// Both ends of the pipe in the creator and its forked children; the write end alone elsewhere.
#[derive(Debug)]
pub(crate) struct WakePipe {
    read: Option<OwnedFd>,
    write: OwnedFd,
}

impl WakePipe {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read: Some(read), write })
    }

    /// Notes in the geometry where attachers find the write end.
    pub(super) fn describe(&self, geometry: &mut Geometry) {
        geometry.pipe_process = std::process::id();
        geometry.pipe_descriptor = self.write.as_raw_fd() as u32;
        geometry.pipe_inode = rustix::fs::fstat(&self.write).map_or(0, |stat| stat.st_ino);
    }

    /// Opens the write end that the geometry names.
    pub(super) fn reopen(geometry: &Geometry) -> Result<Self, AttachError> {
        let (process, descriptor) = (geometry.pipe_process, geometry.pipe_descriptor);
        let path = format!("/proc/{process}/fd/{descriptor}");
        let open = || -> io::Result<OwnedFd> {
            let write =
                rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
            let stat = rustix::fs::fstat(&write)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && stat.st_ino == geometry.pipe_inode {
                Ok(write)
            } else {
                Err(io::Error::other("it is another file by now"))
            }
        };
        let write = open().map_err(|error| AttachError::WakeUp { process, descriptor, error })?;
        Ok(Self { read: None, write })
    }

    pub(crate) fn read_end(&self) -> Option<BorrowedFd<'_>> {
        self.read.as_ref().map(AsFd::as_fd)
    }

    /// Makes the read end readable. A full pipe is readable already.
    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.write, &[1]);
    }

    /// Makes the read end unreadable again.
    pub(crate) fn drain(&self) {
        if let Some(read) = &self.read {
            while matches!(rustix::io::read(read, &mut [0_u8; 64]), Ok(64)) {}
        }
    }
}
