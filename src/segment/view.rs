//! A segment that is only looked at.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use memmap2::{MmapMut, MmapOptions};

use super::claim::may_be_claimed;
use super::{
    Backing, CELLS_AND_USED, Lock, LockProbe, Mapping, PRESENT, Parts, Segment, check_memory,
    has_owner, read_geometry,
};
use crate::error::{AttachError, SystemError, cannot};
use crate::layout::Geometry;
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
}

impl View {
    /// Opens the segment in `file`, which has to be a description of its own, and needs to be
    /// readable alone.
    pub(crate) fn of(file: File) -> Result<Self, AttachError> {
        fork::prepare().map_err(cannot("map a page"))?;
        let found = file.metadata().map_err(cannot("look at the descriptor"))?.size();
        let geometry = read_geometry(&file, found)?;
        if found != geometry.total_bytes {
            return Err(AttachError::Size { found, expected: geometry.total_bytes });
        }
        let _no_fork = fork::no_fork();
        // Where a mapping does not keep the lock nothing is lost: it only keeps names from being
        // taken away.
        let probe = LockProbe::on(&file).map_err(cannot("keep the descriptor"))?;
        let is_used = || Ok(has_owner(&file, CELLS_AND_USED)? || may_be_claimed(&file, &geometry)?);
        let locked = |error: io::Error| SystemError::new("lock the segment", error).into();
        if !probe.share(PRESENT).map_err(locked)? {
            let alone = io::Error::new(io::ErrorKind::ResourceBusy, "another process has it alone");
            return Err(locked(alone));
        }
        let mut used = is_used().map_err(locked)?;
        let mut copy = None;
        if !used {
            check_memory(geometry.total_bytes)
                .map_err(|(needed, available)| AttachError::Memory { needed, available })?;
            copy = Some(copied(&file, geometry.total_bytes).map_err(cannot("read the segment"))?);
            // If a process has come meanwhile the copy may be torn.
            used = is_used().map_err(locked)?;
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
            _living: probe.keep().map_err(locked)?,
        })
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

/// By reading, since a mapping of a file that is cut short kills the process that touches it.
fn copied(file: &File, bytes: u64) -> io::Result<MmapMut> {
    let mut copy = MmapOptions::new().len(bytes as usize).map_anon()?;
    file.read_exact_at(&mut copy, 0)?;
    Ok(copy)
}
