//! A segment that is only looked at.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use memmap2::{MmapMut, MmapOptions};

use super::claim::may_be_claimed;
use super::lock::Keeping;
use super::open::{Wanted, device_and_inode};
use super::{
    Backing, CELLS_AND_USED, HeaderPage, Lock, LockProbe, Mapping, PRESENT, Parts, Segment,
    check_memory, has_owner, read_geometry,
};
use crate::error::{AttachError, SystemError, cannot};
use crate::layout::{Geometry, READER_CELL};
use crate::sys::fork;

/// A segment's memory, read-only: mapped while a process uses it, else a copy, which no process can
/// cut short or change.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) geometry: Geometry,
    pub(crate) parts: Parts,
    /// A process used it when it was opened: it may change.
    pub(crate) is_used: bool,
    map: Mapping,
    /// Says that this process lives here.
    _living: Lock,
    /// To ask whether a process has a lock; this description has none itself.
    file: File,
    /// Which file it was opened for: a daemon closes numbers that it does not know.
    opened: (u64, u64),
}

impl View {
    /// Opens the segment in the file that `open` opens, which needs to be readable alone.
    ///
    /// It is opened twice: the description that is mapped for reading is a forked child's too, and
    /// may not be the one that is locked.
    pub(crate) fn of(open: impl Fn() -> Result<File, AttachError>) -> Result<Self, AttachError> {
        fork::prepare().map_err(cannot("map a page"))?;
        let (file, opened, living) = loop {
            let file = open()?;
            let probe = LockProbe::open(Keeping::Mapping, &open)?;
            let looked_at = |file| device_and_inode(file).map_err(cannot("look at the descriptor"));
            // Something else may have come to the path.
            let opened = looked_at(&file)?;
            if opened == looked_at(probe.file())? {
                break (file, opened, live_in(probe)?);
            }
        };
        let found = file.metadata().map_err(cannot("look at the descriptor"))?.size();
        let geometry = read_geometry(&file, found)?;
        if found != geometry.total_bytes {
            return Err(AttachError::Size { found, expected: geometry.total_bytes });
        }
        let mut used = is_used(&file, &geometry).map_err(cannot("lock the segment"))?;
        let mut copy = None;
        if !used {
            check_memory(geometry.total_bytes)
                .map_err(|(needed, available)| AttachError::Memory { needed, available })?;
            copy = Some(copied(&file, geometry.total_bytes).map_err(cannot("read the segment"))?);
            // If a process has come meanwhile the copy may be torn.
            used = is_used(&file, &geometry).map_err(cannot("lock the segment"))?;
        }
        let map = match copy.filter(|_| !used) {
            Some(copy) => copy.into(),
            None => MmapOptions::new()
                .len(geometry.total_bytes as usize)
                .map_raw_read_only(&file)
                .map_err(cannot("map the segment"))?,
        };
        Ok(Self {
            parts: Parts::of(&map, &geometry),
            geometry,
            is_used: used,
            map: Mapping::new(map),
            _living: living,
            opened,
            file,
        })
    }

    /// Whether a process uses it now; where the system does not say, as when it was opened.
    pub(crate) fn is_used_now(&self) -> bool {
        self.is_used && is_used(&self.file, &self.geometry).unwrap_or(true)
    }

    /// Whether a process reads it, as far as locks say.
    pub(crate) fn has_reader(&self) -> bool {
        self.is_used && self.is_owned(READER_CELL)
    }

    /// Whether a process has this cell's lock; where the system does not say, it may.
    pub(crate) fn is_owned(&self, cell: usize) -> bool {
        let byte = cell as u64;
        has_owner(&self.file, byte..byte + 1).unwrap_or(true)
    }

    /// The header, to be written, if this process may, and a process uses the segment.
    pub(crate) fn writable_header(&self) -> Option<HeaderPage> {
        if !self.is_used {
            return None;
        }
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        // Whatever else has the number by now is not opened: that could have an effect.
        let wanted = Wanted { writing: true, following: true, any_user: true };
        let file = wanted.open(path.as_ref(), "open the file").ok()?;
        let page = HeaderPage::of(&file).ok()?;
        (device_and_inode(&file).ok()? == self.opened && page.is_of(&self.geometry)).then_some(page)
    }

    /// Whether its file was cut short meanwhile, after `turn_sigbus_into_errors`.
    pub(crate) fn is_cut(&self) -> bool {
        self.map.watched.is_cut()
    }

    /// A segment of this process's own with the bytes of one that no process uses: it can be
    /// recovered and drained, and nothing comes of that. `None` if a process uses it, or the
    /// system refuses the memory.
    pub(crate) fn copy(&self) -> Option<Segment> {
        if self.is_used {
            return None;
        }
        let made = Backing::Memory.create(self.geometry.total_bytes).ok()?;
        // SAFETY: this process's own memory, which no other thread changes.
        let bytes =
            unsafe { core::slice::from_raw_parts(self.map.map.as_ptr(), self.map.map.len()) };
        let file = File::from(made.file.borrow().try_clone_to_owned().ok()?);
        file.write_all_at(bytes, 0).ok()?;
        // No process sleeps there, and the process that had the pipe is gone.
        let geometry = Geometry { wake_up: 0, ..self.geometry };
        file.write_all_at(bytemuck::bytes_of(&geometry), 0).ok()?;
        Segment::attach_file(file).ok()
    }
}

/// Whether a process has the lock of a cell, or uses the segment without one.
fn is_used(file: &File, geometry: &Geometry) -> io::Result<bool> {
    Ok(has_owner(file, CELLS_AND_USED)? || may_be_claimed(file, geometry)?)
}

/// Keeps its name from being taken away. Where a mapping does not keep the lock that is not so, and
/// nothing else is lost.
fn live_in(probe: LockProbe) -> Result<Lock, SystemError> {
    let cannot_lock = cannot("lock the segment");
    match probe.share(PRESENT) {
        Ok(true) => probe.keep().map_err(cannot_lock),
        Ok(false) => Err(cannot_lock(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process has it alone",
        ))),
        Err(error) => Err(cannot_lock(error)),
    }
}

/// By reading, since a mapping of a file that is cut short kills the process that touches it.
fn copied(file: &File, bytes: u64) -> io::Result<MmapMut> {
    let mut copy = MmapOptions::new().len(bytes as usize).map_anon()?;
    file.read_exact_at(&mut copy, 0)?;
    Ok(copy)
}
