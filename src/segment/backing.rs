//! What a segment's memory belongs to: memory without a name, memory with a name, or a file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::shm;
use shared_memory::{ShmemConf, ShmemError};

use super::{KeptFile, Keeping, LIVING, Lock, Prober};
use crate::error::{AttachError, CreateError, system};
use crate::fork;
use crate::layout::BEING_MADE;

/// What keeps a memfd's size as it is.
pub(super) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
/// A name's longest, with room for what systems put before it.
const MOST_NAME: usize = 250;

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

    /// Makes the object: `bytes` zeros, allocated, so that no later write can find memory or disk full and die of
    /// SIGBUS. Leaves nothing behind if it fails. What a maker that died has left at that place makes way.
    pub(super) fn create(self, bytes: u64) -> Result<Made, CreateError> {
        if !matches!(self, Backing::File(_)) {
            check_memory(bytes).map_err(|(needed, available)| CreateError::Memory { needed, available })?;
        }
        match self.try_create(bytes) {
            Err(CreateError::Taken { .. }) if self.remove_unfinished() => self.try_create(bytes),
            made => made,
        }
    }

    fn try_create(self, bytes: u64) -> Result<Made, CreateError> {
        let (file, name) = match self {
            Backing::Memory => {
                let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
                let file = rustix::fs::memfd_create("linering", flags);
                (file.map_err(system!(CreateError, "make a memory file"))?, None)
            }
            Backing::Named(name) => {
                let (file, name) = create_named(name, bytes)?;
                (file, Some(name))
            }
            Backing::File(path) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true).mode(0o600);
                let file = options.open(path).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => CreateError::Taken { found: path.display().to_string() },
                    _ => CreateError::System { doing: "make the file", error },
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
        Ok(Made { file, living, name })
    }

    /// Says first that somebody lives here, and that it is being made: from then on others know what it is, should this
    /// process die.
    fn fill(self, file: OwnedFd, bytes: u64) -> Result<(KeptFile, Lock), CreateError> {
        let mut file = KeptFile::new(file.into()).map_err(system!(CreateError, "look at the segment"))?;
        if !matches!(self, Backing::Memory) {
            file.try_locks().map_err(system!(CreateError, "use the ring's file"))?;
        }
        let living = file.live().map_err(system!(CreateError, "lock the segment"))?;
        let borrowed = file.borrow();
        rustix::io::pwrite(borrowed, &BEING_MADE, 0).map_err(system!(CreateError, "write to the segment"))?;
        allocate(borrowed, bytes).map_err(|error| match self {
            Backing::Memory => CreateError::System { doing: "allocate the segment", error },
            Backing::Named(_) => CreateError::System { doing: "allocate the named segment", error },
            Backing::File(_) => CreateError::System { doing: "allocate the file", error },
        })?;
        if matches!(self, Backing::Memory) {
            rustix::fs::fcntl_add_seals(borrowed, SEALS).map_err(system!(CreateError, "seal the segment"))?;
        }
        Ok((file, living))
    }

    /// Takes away what a maker that died has left; `false` if there is anything else.
    pub(super) fn remove_unfinished(self) -> bool {
        let opened = match self {
            Backing::Memory => return false,
            Backing::Named(name) => open_named(name),
            Backing::File(path) => open_file(path),
        };
        let Ok(file) = opened else { return false };
        let mut magic = [0; 8];
        if file.read_exact_at(&mut magic, 0).is_err() || magic != BEING_MADE {
            return false;
        }
        let Ok(description) = file.try_clone() else { return false };
        let prober = Prober::new(description.into(), Keeping::Mapping);
        // While it is held nobody else takes it away, and what is removed is what was looked at.
        if !prober.take(LIVING).unwrap_or(false) {
            return false;
        }
        match self {
            Backing::Named(name) => unlink_name(name, &file).is_ok(),
            Backing::File(path) => is_at(&file, path) && std::fs::remove_file(path).is_ok(),
            Backing::Memory => false,
        }
    }
}

/// A segment's object, in which this process lives.
pub(super) struct Made {
    pub(super) file: KeptFile,
    pub(super) living: Lock,
    pub(super) name: Option<Name>,
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Refuses what the machine has no memory for, with what it has: allocating it would not fail, but end other processes.
pub(super) fn check_memory(needed: u64) -> Result<(), (u64, u64)> {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match kib.map(|kib| kib * 1024) {
        Some(available) if available < needed => Err((needed, available)),
        _ => Ok(()),
    }
}

fn allocate(file: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let Ok(bytes) = bytes.try_into() else { return Err(io::ErrorKind::FileTooLarge.into()) };
    // SAFETY: a plain system call on an open descriptor. The C library writes zeros where the file system cannot
    // allocate.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Makes memory with a name, through the `shared_memory` crate, which makes it exclusively and for this user alone.
fn create_named(name: &str, bytes: u64) -> Result<(OwnedFd, Name), CreateError> {
    if !is_name(name) {
        return Err(CreateError::Name { found: name.to_owned() });
    }
    let doing = "make the named segment";
    let made = ShmemConf::new().os_id(format!("/{name}")).size(bytes as usize).create();
    let mut made = made.map_err(|error| match error {
        ShmemError::MappingIdExists => CreateError::Taken { found: format!("shared memory named {name}") },
        ShmemError::MapCreateFailed(number) | ShmemError::UnknownOsError(number) => {
            CreateError::System { doing, error: io::Error::from_raw_os_error(number as i32) }
        }
        other => CreateError::System { doing, error: io::Error::other(other) },
    })?;
    // Its drop would unlink the name, in a forked child too: that is `Name`'s to do.
    made.set_owner(false);
    let mut name = Name { name: name.to_owned(), token: fork::token(), file: (0, 0) };
    let opened = open_name(&name.name, shm::OFlags::RDWR).and_then(|file| Ok((name.note(&file)?, file)));
    let ((), file) = opened.map_err(|error| {
        // Not known to be ours by its number yet, but it is: nobody else could make it.
        let _ = shm::unlink(format!("/{}", name.name));
        CreateError::System { doing, error }
    })?;
    Ok((file, name))
}

fn is_name(name: &str) -> bool {
    (1..=MOST_NAME).contains(&name.len()) && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn open_name(name: &str, flags: shm::OFlags) -> io::Result<OwnedFd> {
    // For this process alone, and following no symbolic link.
    Ok(shm::open(format!("/{name}"), flags, Mode::empty())?)
}

/// A name that the process that made it takes away.
#[derive(Debug)]
pub(super) struct Name {
    name: String,
    token: u64,
    /// Device and inode: somebody may have taken the name away and given it to another.
    file: (u64, u64),
}

impl Name {
    fn note(&mut self, file: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(file)?;
        self.file = (stat.st_dev, stat.st_ino);
        Ok(())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let is_ours = || {
            let stat = rustix::fs::fstat(open_name(&self.name, shm::OFlags::RDONLY).ok()?).ok()?;
            Some((stat.st_dev, stat.st_ino) == self.file)
        };
        if self.token == fork::token() && is_ours() == Some(true) {
            let _ = shm::unlink(format!("/{}", self.name));
        }
    }
}

/// Opens the segment of this name, to take part in it.
pub(crate) fn open_named(name: &str) -> Result<File, AttachError> {
    open_name_with(name, shm::OFlags::RDWR)
}

/// Opens the segment of this name, to look at it.
pub(crate) fn view_named(name: &str) -> Result<File, AttachError> {
    open_name_with(name, shm::OFlags::RDONLY)
}

fn open_name_with(name: &str, flags: shm::OFlags) -> Result<File, AttachError> {
    if !is_name(name) {
        return Err(AttachError::Name { found: name.to_owned() });
    }
    let file = open_name(name, flags).map_err(system!(AttachError, "open shared memory of that name"))?;
    Ok(file.into())
}

/// Takes the name of a segment away, if it is still that of `file`.
pub(super) fn unlink_name(name: &str, file: &File) -> io::Result<()> {
    let ours = rustix::fs::fstat(file)?;
    let there = rustix::fs::fstat(open_name(name, shm::OFlags::RDONLY)?)?;
    if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino) {
        shm::unlink(format!("/{name}"))?;
    }
    Ok(())
}

/// Opens a segment's file, to take part in it. A symbolic link is not followed.
pub(crate) fn open_file(path: &Path) -> Result<File, AttachError> {
    open_with(path, OFlags::RDWR | OFlags::NOFOLLOW)
}

/// Opens a segment's file, to look at it.
pub(crate) fn view_file(path: &Path) -> Result<File, AttachError> {
    open_with(path, OFlags::RDONLY)
}

fn open_with(path: &Path, flags: OFlags) -> Result<File, AttachError> {
    // Not blocking: it may be a pipe.
    let file = rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
    Ok(file.map_err(system!(AttachError, "open the file"))?.into())
}
