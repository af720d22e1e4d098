//! Opening what a path leads to, which anything may be at: without waiting, and without a byte read
//! of what is no ring's.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::process::geteuid;

use crate::error::{AttachError, cannot};
use crate::layout::{BEING_MADE, ENDIANNESS, Geometry, Header, LAYOUT_VERSION, MAGIC};

/// What a path may lead to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// To take part, and not only to look.
    pub(super) writing: bool,
    /// Be it that of a symbolic link.
    pub(super) following: bool,
    pub(super) any_user: bool,
}

impl Wanted {
    fn check(self, stat: &Stat) -> Result<(), AttachError> {
        let found = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => None,
            FileType::Fifo => Some("a FIFO"),
            FileType::Directory => Some("a folder"),
            FileType::Symlink => Some("a symbolic link"),
            FileType::Socket => Some("a socket"),
            FileType::BlockDevice | FileType::CharacterDevice => Some("a device"),
            FileType::Unknown => Some("something else"),
        };
        if let Some(found) = found {
            return Err(AttachError::NotAFile { found });
        }
        let expected = geteuid().as_raw();
        if !self.any_user && stat.st_uid != expected {
            return Err(AttachError::Owner { found: stat.st_uid, expected });
        }
        Ok(())
    }

    /// Opens it if it is what is wanted. Looked at before, since opening a device does something,
    /// and after, since something else may be there by then.
    pub(super) fn open(self, path: &Path, doing: &'static str) -> Result<File, AttachError> {
        let (at_flags, follow) = match self.following {
            true => (AtFlags::empty(), OFlags::empty()),
            false => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
        };
        let access = if self.writing { OFlags::RDWR } else { OFlags::RDONLY };
        self.check(&rustix::fs::statat(CWD, path, at_flags).map_err(cannot(doing))?)?;
        let flags = access | follow | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(cannot(doing))?;
        self.check(&rustix::fs::fstat(&file).map_err(cannot(doing))?)?;
        Ok(file.into())
    }
}

/// Whether the file of this device and inode is at `path`, and not a link to it.
pub(super) fn is_at(path: &Path, file: (u64, u64)) -> bool {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == file)
}

/// Which file it is, whatever name leads to it.
pub(super) fn device_and_inode(file: &File) -> io::Result<(u64, u64)> {
    let data = file.metadata()?;
    Ok((data.dev(), data.ino()))
}

/// Whether it is a segment that is not finished.
pub(super) fn is_being_made(file: &File) -> bool {
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0).is_ok() && magic == BEING_MADE
}

/// Opens a segment's file, to take part in it. A symbolic link is not followed.
pub(crate) fn open_file(path: &Path) -> Result<File, AttachError> {
    Wanted { writing: true, following: false, any_user: true }.open(path, "open the file")
}

/// Opens a segment's file, to look at it.
pub(crate) fn view_file(path: &Path) -> Result<File, AttachError> {
    Wanted { writing: false, following: true, any_user: true }.open(path, "open the file")
}

/// Reads and checks the geometry of an object of `found` bytes.
pub(super) fn read_geometry(file: &File, found: u64) -> Result<Geometry, AttachError> {
    let expected = size_of::<Header>() as u64;
    if found < expected {
        return Err(match is_being_made(file) {
            true => AttachError::Unfinished,
            false => AttachError::TooSmall { found, expected },
        });
    }
    let mut geometry: Geometry = bytemuck::Zeroable::zeroed();
    // ORD magic:B, a system call; pairs with magic:A; the bytes are those of a finished segment, or
    // are refused below.
    file.read_exact_at(bytemuck::bytes_of_mut(&mut geometry), 0)
        .map_err(cannot("read the header"))?;
    match geometry.magic {
        MAGIC => {}
        BEING_MADE => return Err(AttachError::Unfinished),
        found => return Err(AttachError::Magic { found, expected: MAGIC }),
    }
    if geometry.endianness != ENDIANNESS {
        return Err(AttachError::Endianness { found: geometry.endianness, expected: ENDIANNESS });
    }
    if geometry.version != LAYOUT_VERSION {
        return Err(AttachError::Version { found: geometry.version, expected: LAYOUT_VERSION });
    }
    if geometry.word_bytes != 8 {
        return Err(AttachError::WordSize { found: geometry.word_bytes, expected: 8 });
    }
    if let Some(fault) = geometry.fault() {
        return Err(AttachError::Geometry(fault));
    }
    Ok(geometry)
}
