//! Proof of life: a lock that the kernel takes away when its owner is gone, and at no other time.
//!
//! An open-file-description lock lives as long as its description. The description is opened for
//! this one lock, and must live as long as the process and no longer: not as long as a descriptor
//! that any code of the process may close, nor as long as a forked child. Two things do that, and a
//! trial on the file itself ([`Keeping::of`]) says which of them holds there:
//!
//! * **A mapping.** One page of the description is mapped, and its descriptor is closed: from then
//!   on the mapping alone keeps it, so no `close` of any descriptor drops it, a forked child does
//!   not inherit it (`MADV_DONTFORK`), and the end of the process does drop it, zombie or not.
//! * **A thread**, where a mapping does not keep the description that was mapped: a file on
//!   overlayfs is mapped through the description of the file below it. The thread has a descriptor
//!   table of its own with this one descriptor in it, which no other thread can close and no forked
//!   child gets a copy of, and it sleeps until the lock is given back.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::mpsc;
use std::thread;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use super::{PRESENT, TRIAL, USED, VerifiedFd, random};
use crate::sys::fork::{self, NoFork};

/// Bytes of the stack of a thread that keeps a lock: it makes three system calls and sleeps.
const STACK: usize = 64 * 1024;

/// What keeps a description on this file for as long as its process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    Mapping,
    Thread,
}

impl Keeping {
    /// Tries it on the file: a lock that was kept is seen through another description, and is free
    /// again once it was given back. Some ten system calls. Where read locks on all of the file
    /// permit no trial it is the thread, which needs the least of a file system.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::Unsupported`] if neither keeps a lock there.
    pub(super) fn of(file: &VerifiedFd) -> io::Result<Self> {
        let mut last = None;
        for keeping in [Keeping::Mapping, Keeping::Thread] {
            match keeping.holds_on(file) {
                Ok(true) => return Ok(keeping),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    return Ok(Keeping::Thread);
                }
                Ok(false) => {}
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            let why = "its file system does not keep a lock for exactly as long as its owner lives, expected \
                       one that does: tmpfs, ext4, xfs, btrfs, or overlayfs over one of these";
            io::Error::new(io::ErrorKind::Unsupported, why)
        }))
    }

    fn holds_on(self, file: &VerifiedFd) -> io::Result<bool> {
        let probe = LockProbe::open(self, || file.reopen()).map_err(io::Error::other)?;
        // A byte that no other trial is likely to have at this moment: its lock would be taken for
        // this one's.
        let byte = one_of(TRIAL)?;
        if !probe.take(byte)? {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process has all of it locked",
            ));
        }
        let lock = probe.keep()?;
        let is_kept = file.has_owner(byte..byte + 1)?;
        drop(lock);
        Ok(is_kept && !file.has_owner(byte..byte + 1)?)
    }
}

/// A lock on bytes of a segment, held while this value lives in the process that took it.
#[derive(Debug)]
pub(crate) struct Lock {
    kept: ManuallyDrop<Kept>,
    token: u64,
}

#[derive(Debug)]
enum Kept {
    Mapping(Page),
    Thread(Box<Keeper>),
}

/// A thread that gives its lock back once there is no sender any more.
#[derive(Debug)]
struct Keeper {
    sender: mpsc::Sender<Infallible>,
    thread: thread::JoinHandle<()>,
}

/// A mapping that is never read.
#[derive(Debug)]
struct Page(*mut core::ffi::c_void);

// SAFETY: the pointer is never dereferenced; it only names a mapping to unmap.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Kept {
    /// The lock is free when this returns: its byte may be taken at once.
    fn give_back(self) {
        match self {
            // SAFETY: the mapping made in `keep_by_mapping`, in the process that made it. It cannot
            // fail then.
            Kept::Mapping(page) => drop(unsafe { munmap(page.0, 1) }),
            Kept::Thread(keeper) => {
                let Keeper { sender, thread } = *keeper;
                drop(sender);
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // In a forked child neither the mapping nor the thread exists, and something else may be at
        // its address.
        if fork::is_token(self.token) {
            // SAFETY: taken here alone, and once.
            unsafe { ManuallyDrop::take(&mut self.kept) }.give_back();
        }
    }
}

fn keep_by_mapping(description: OwnedFd) -> io::Result<Kept> {
    // SAFETY: a new mapping without any access rights, at an address of the kernel's choice.
    let page =
        unsafe { mmap(ptr::null_mut(), 1, ProtFlags::empty(), MapFlags::SHARED, &description, 0)? };
    let kept = Kept::Mapping(Page(page));
    // SAFETY: the mapping above.
    match unsafe { madvise(page, 1, Advice::LinuxDontFork) } {
        Ok(()) => Ok(kept),
        Err(error) => {
            kept.give_back();
            Err(error.into())
        }
    }
}

fn keep_by_thread(description: OwnedFd) -> io::Result<Kept> {
    let number = description.as_raw_fd();
    let (tell, told) = mpsc::sync_channel(1);
    let (sender, given_back) = mpsc::channel::<Infallible>();
    let keep = move || {
        let alone = close_all_others(number);
        let is_alone = alone.is_ok();
        let _ = tell.send(alone);
        if is_alone {
            let _ = given_back.recv();
            // SAFETY: this thread's own copy, which no other code knows. Explicitly, since a thread
            // that was awaited may have its table a moment longer.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    };
    let spawned = with_signals_blocked(|| {
        thread::Builder::new().name("linering-lock".into()).stack_size(STACK).spawn(keep)
    });
    let kept = Kept::Thread(Box::new(Keeper { sender, thread: spawned? }));
    // Ends by itself if it cannot be alone.
    told.recv().map_err(io::Error::other)??;
    Ok(kept)
}

/// Gives the calling thread a descriptor table of its own, with one descriptor in it.
fn close_all_others(number: RawFd) -> io::Result<()> {
    let close_range = |first: u32, last: u32, flags: u32| {
        // SAFETY: a plain system call, which closes this thread's copies alone.
        match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let number = number as u32;
    close_range(number + 1, u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    if number > 0 { close_range(0, number - 1, 0) } else { Ok(()) }
}

/// A thread that is begun meanwhile handles no signal: those are for the program's own threads.
fn with_signals_blocked<T>(action: impl FnOnce() -> T) -> T {
    // SAFETY: a plain C struct, for which zeros are valid.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { core::mem::zeroed() };
    // SAFETY: both live during the calls.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let result = action();
    // SAFETY: as above; filled by the call there.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

/// A description of its own on a segment's file, with which locks are tried.
///
/// No thread of this process forks while it lives: a child would share the description, and have
/// for as long as it lives what was locked with it. A child that `exec` follows at once, which runs
/// no handlers around its fork, has it until then: so what was not kept is unlocked, and not only
/// closed.
#[derive(Debug)]
pub(crate) struct LockProbe {
    /// `None` once it is kept.
    file: Option<File>,
    keeping: Keeping,
    /// After the description, which is closed first.
    _no_fork: NoFork,
}

impl LockProbe {
    /// With a description that `open` makes, which no other code has.
    pub(super) fn open<E>(
        keeping: Keeping,
        open: impl FnOnce() -> Result<File, E>,
    ) -> Result<Self, E> {
        let no_fork = fork::no_fork();
        Ok(Self { file: Some(open()?), keeping, _no_fork: no_fork })
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("it is there until this value is consumed")
    }

    /// Takes the lock on this byte; `false` if another description has one. Dropping the probe
    /// gives it back.
    pub(crate) fn take(&self, byte: u64) -> io::Result<bool> {
        set(self.file(), request(libc::F_WRLCK, byte..byte + 1))
    }

    /// Shares the lock on this byte with all that share it; `false` if it has an owner.
    pub(crate) fn share(&self, byte: u64) -> io::Result<bool> {
        set(self.file(), request(libc::F_RDLCK, byte..byte + 1))
    }

    /// Says that a process lives here, and does not only look.
    pub(crate) fn live(&self) -> io::Result<()> {
        if !self.share(PRESENT)? {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "it is being taken away just now",
            ));
        }
        // A write lock, which a process that may only read cannot have; on any byte that is free,
        // since a write lock is not shared. Where such a process keeps all of them locked,
        // the cells alone say which processes live here.
        if !self.take(one_of(USED)?)? {
            self.take(one_of(USED)?)?;
        }
        Ok(())
    }

    /// Gives the lock on this byte back.
    pub(crate) fn release(&self, byte: u64) {
        // Unlocking what this description has locked does not fail.
        let _ = set(self.file(), request(libc::F_UNLCK, byte..byte + 1));
    }

    /// Keeps what was taken, and nothing else, for as long as the returned value lives.
    pub(crate) fn keep(mut self) -> io::Result<Lock> {
        let file = self.file.take().expect("it is there until this value is consumed").into();
        let kept = match self.keeping {
            Keeping::Mapping => keep_by_mapping(file)?,
            Keeping::Thread => keep_by_thread(file)?,
        };
        Ok(Lock { kept: ManuallyDrop::new(kept), token: fork::token() })
    }
}

impl Drop for LockProbe {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = set(&file, request(libc::F_UNLCK, 0..libc::off_t::MAX as u64));
        }
    }
}

/// A byte of this range, at random.
fn one_of(range: Range<u64>) -> io::Result<u64> {
    Ok(range.start + u64::from_ne_bytes(random()?) % (range.end - range.start))
}

fn set(file: &impl AsRawFd, mut lock: libc::flock) -> io::Result<bool> {
    // SAFETY: the descriptor is open, and the struct is initialised and lives during the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        e => Err(e),
    }
}

/// Which locks are on a byte, as another description finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Free,
    /// A write lock: only a process that may write the file can have one.
    Owned,
    /// Read locks: a process that may only read the file can have them.
    Read,
}

/// Which locks are on a byte. Only asks: proves nothing about the next moment.
pub(super) fn held(file: &impl AsRawFd, byte: u64) -> io::Result<Held> {
    Ok(match keeps_away(file, request(libc::F_WRLCK, byte..byte + 1))? {
        None => Held::Free,
        Some(libc::F_RDLCK) => Held::Read,
        Some(_) => Held::Owned,
    })
}

/// Whether a byte of `range` has an owner: a write lock through another description. Only asks:
/// proves nothing about the next moment.
pub(super) fn has_owner(file: &impl AsRawFd, range: Range<u64>) -> io::Result<bool> {
    // A read lock would be kept away by a write lock alone.
    Ok(keeps_away(file, request(libc::F_RDLCK, range))?.is_some())
}

/// The kind of a lock that would keep this one away, if there is one.
fn keeps_away(file: &impl AsRawFd, mut lock: libc::flock) -> io::Result<Option<libc::c_int>> {
    // SAFETY: the descriptor is open or not, and the struct is initialised and lives during the
    // call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } == 0 {
        let kind = libc::c_int::from(lock.l_type);
        Ok((kind != libc::F_UNLCK).then_some(kind))
    } else {
        Err(io::Error::last_os_error())
    }
}

fn request(kind: libc::c_int, range: Range<u64>) -> libc::flock {
    // SAFETY: a plain C struct, for which zeros are valid.
    let mut lock: libc::flock = unsafe { core::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = range.start as libc::off_t;
    lock.l_len = (range.end - range.start) as libc::off_t;
    lock
}
