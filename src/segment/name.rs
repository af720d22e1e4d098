//! Segments that have a name in shared memory.
//!
//! A segment is made under a name of its own, which says which process makes it, and gets the name
//! that it is to have once it is finished. So a name never leads to half a segment, and what a
//! killed maker leaves is known.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;
use shared_memory::{ShmemConf, ShmemError};

use super::lock::Keeping;
use super::open::{Wanted, is_at};
use super::{Backing, LockProbe, PRESENT, random, read_geometry};
use crate::error::{AttachError, CreateError, SystemError, cannot};
use crate::sys::fork;

/// Where the system keeps shared memory that has a name.
const FOLDER: &str = "/dev/shm";
/// A name's longest, with room for what systems put before it.
const MOST_BYTES: usize = 250;
/// What the names of segments begin with that are being made; the process and a random number
/// follow.
const UNFINISHED: &str = ".linering-new-";

/// The name of a ring in shared memory, and whose ring it may be.
///
/// Made from a string, it leads to rings of this process's user alone: any user may put
/// something there under any name.
///
/// ```
/// use linering::{LineRing, Options, RingName};
///
/// # let name = format!("doc-{}", std::process::id());
/// let ring = LineRing::create_named(&name, Options::new())?;
/// let opened = LineRing::open_named(&name)?;
/// let opened = LineRing::open_named(RingName::new(&name).of_any_user())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingName<'n> {
    name: &'n str,
    any_user: bool,
}

impl<'n> RingName<'n> {
    /// That of a ring of this process's user (its effective one).
    pub fn new(name: &'n str) -> Self {
        Self { name, any_user: false }
    }

    /// That of a ring of any user: for rings that were made readable, or writable, to others.
    pub fn of_any_user(self) -> Self {
        Self { any_user: true, ..self }
    }

    /// Whether it names something in the folder itself.
    fn is_plain(self) -> bool {
        (1..=MOST_BYTES).contains(&self.name.len()) && !self.name.contains(['/', '\0'])
    }

    fn is_possible(self) -> bool {
        self.is_plain() && !self.name.starts_with('.')
    }

    /// The process that makes a segment under this name, if it is one of those.
    fn maker(self) -> Option<u32> {
        self.name.strip_prefix(UNFINISHED)?.split_once('-')?.0.parse().ok()
    }

    /// Refuses what no ring has as its name, be it while it is made.
    fn check(self) -> Result<(), AttachError> {
        if self.is_possible() || self.is_plain() && self.maker().is_some() {
            return Ok(());
        }
        Err(AttachError::Name { found: self.name.to_owned() })
    }

    fn open(self, writing: bool) -> Result<File, AttachError> {
        self.check()?;
        let wanted = Wanted { writing, following: false, any_user: self.any_user };
        wanted.open(&path_of(self.name), "open shared memory of that name")
    }
}

impl<'n, T: AsRef<str> + ?Sized> From<&'n T> for RingName<'n> {
    fn from(name: &'n T) -> Self {
        Self::new(name.as_ref())
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Opens the segment of this name, to take part in it.
pub(crate) fn open_named(name: RingName<'_>) -> Result<File, AttachError> {
    name.open(true)
}

/// Opens the segment of this name, to look at it.
pub(crate) fn view_named(name: RingName<'_>) -> Result<File, AttachError> {
    name.open(false)
}

// -------------------------------------------------------------------------------------------- make

/// Makes memory that will have this name, through the `shared_memory` crate, which makes it
/// exclusively and for this user alone.
pub(super) fn create_named(name: &str, bytes: u64) -> Result<(OwnedFd, Name), CreateError> {
    if !RingName::new(name).is_possible() {
        return Err(CreateError::Name { found: name.to_owned() });
    }
    let taken = || CreateError::Taken { found: format!("shared memory named {name}") };
    if rustix::fs::statat(CWD, path_of(name), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        // Before so much memory is taken for nothing.
        return Err(taken());
    }
    let doing = "make the named segment";
    let number = u64::from_ne_bytes(random().map_err(cannot("get random bytes"))?);
    let unfinished = format!("{UNFINISHED}{}-{number:016x}", std::process::id());
    let made = ShmemConf::new().os_id(format!("/{unfinished}")).size(bytes as usize).create();
    let mut made = made.map_err(|error| match error {
        ShmemError::MapCreateFailed(number) | ShmemError::UnknownOsError(number) => {
            SystemError::new(doing, io::Error::from_raw_os_error(number as i32))
        }
        other => SystemError::new(doing, io::Error::other(other)),
    })?;
    // Its drop would unlink the name, in a forked child too: that is `Name`'s to do.
    made.set_owner(false);
    let mut name = Name { name: unfinished, token: fork::token(), file: (0, 0) };
    let opened = rustix::fs::open(
        path_of(&name.name),
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let opened = opened.map_err(io::Error::from).and_then(|file| Ok((name.note(&file)?, file)));
    let ((), file) = opened.map_err(|error| {
        // Not known to be ours by its number yet, but it is: no other process could make it.
        let _ = rustix::fs::unlink(path_of(&name.name));
        SystemError::new(doing, error)
    })?;
    Ok((file, name))
}

/// A name that the process that made it takes away.
#[derive(Debug)]
pub(super) struct Name {
    name: String,
    token: u64,
    /// Device and inode: another process may have taken the name away and given it to something
    /// else.
    file: (u64, u64),
}

impl Name {
    fn note(&mut self, file: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(file)?;
        self.file = (stat.st_dev, stat.st_ino);
        Ok(())
    }

    /// The segment is finished: it gets the name that it was made for.
    pub(super) fn finish(&mut self, name: &str) -> Result<(), CreateError> {
        let (from, to) = (path_of(&self.name), path_of(name));
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => self.name = name.to_owned(),
            Err(Errno::EXIST) => {
                return Err(CreateError::Taken { found: format!("shared memory named {name}") });
            }
            Err(error) => {
                return Err(SystemError::new("give the segment its name", error).into());
            }
        }
        Ok(())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if fork::is_token(self.token) && is_at(&path_of(&self.name), self.file) {
            let _ = rustix::fs::unlink(path_of(&self.name));
        }
    }
}

// ------------------------------------------------------------------------------------------ remove

/// Whether no process lives in the segment of this name any more. Takes the name away then, if that
/// is wanted.
pub(crate) fn abandoned(name: RingName<'_>, remove: bool) -> Result<bool, AttachError> {
    name.check()?;
    if let Some(maker) = name.maker()
        && Path::new(&format!("/proc/{maker}")).exists()
    {
        // It has not come to its lock yet, perhaps.
        return Ok(false);
    }
    let probe = LockProbe::open(Keeping::Mapping, || open_named(name))?;
    let data = probe.file().metadata().map_err(cannot("look at the descriptor"))?;
    if name.maker().is_none()
        && read_geometry(probe.file(), data.size())?.backing != Backing::Named(name.name).number()
    {
        return Err(AttachError::NotNamed { found: name.name.to_owned() });
    }
    // While it is held no process comes to live there.
    let is_empty = probe.take(PRESENT).map_err(cannot("lock the segment"))?;
    if is_empty && remove && is_at(&path_of(name.name), (data.dev(), data.ino())) {
        match rustix::fs::unlink(path_of(name.name)) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                return Err(SystemError::new("take the name away", error).into());
            }
        }
    }
    Ok(is_empty)
}
