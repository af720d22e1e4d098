//! The pipe that wakes a reader in an event loop.
//!
//! A pipe and not an eventfd, since a process that was not forked from the ring's creator can open
//! a pipe again (through `/proc`), and cannot do that with an eventfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::layout::Geometry;

/// Both ends of the pipe. In the creator and its forked children they are two descriptors,
/// elsewhere one that is both: a pipe that is open for reading wherever it is written to kills
/// no process with SIGPIPE.
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

    /// Notes in the geometry where attachers find the pipe.
    pub(super) fn describe(&self, geometry: &mut Geometry) {
        geometry.pipe_process = std::process::id();
        geometry.pipe_descriptor = self.write.as_raw_fd() as u32;
        geometry.pipe_inode = rustix::fs::fstat(&self.write).map_or(0, |stat| stat.st_ino);
    }

    /// Opens the pipe that the geometry names; `None` if it is not there any more.
    pub(super) fn reopen(geometry: &Geometry) -> Option<Self> {
        let path = format!("/proc/{}/fd/{}", geometry.pipe_process, geometry.pipe_descriptor);
        let is_it = |file: &OwnedFd| {
            rustix::fs::fstat(file).is_ok_and(|stat| {
                FileType::from_raw_mode(stat.st_mode) == FileType::Fifo
                    && stat.st_ino == geometry.pipe_inode
            })
        };
        // First without opening it: to open a device, whose number any process may have written
        // there, does something.
        let found = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        if !is_it(&found) {
            return None;
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        is_it(&pipe).then_some(Self { read: None, write: pipe })
    }

    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.read.as_ref().unwrap_or(&self.write).as_fd()
    }

    /// Makes the read end readable. A full pipe is readable already.
    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.write, &[1]);
    }

    /// Makes the read end unreadable again.
    pub(crate) fn drain(&self) {
        while matches!(rustix::io::read(self.read_end(), &mut [0_u8; 64]), Ok(64)) {}
    }
}
