//! Which process has a seat's pickle in its hands: claims, in a file beside the ring.
//!
//! A process that unpickles a mirror claims its seat, and opens it at the first use only. The claim
//! is a mark, which stays, and the kernel's lock, which goes when the process and the forked
//! children that inherited it are dead: a seat that was claimed, is not opened and is not locked
//! has no process left that could open it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// Bytes of a seat's entry: its ticket plus one once it was claimed, else 0.
const ENTRY: u64 = 8;

/// The claims of a ring's seats; of the process that reads the ring.
#[derive(Debug)]
pub struct Claims {
    file: File,
    path: String,
}

/// What an attempt to claim a seat came to.
#[derive(Debug)]
pub enum Claim {
    /// It is this process's, until the file is closed.
    Mine(File),
    /// Another process has claimed it, or another unpickling of this one has.
    Taken,
    /// There is no file: the reader is gone, say.
    Unknown,
}

fn lock(file: &File, command: libc::c_int, number: u32) -> io::Result<bool> {
    // SAFETY: plain data, all of which may be zero.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = i64::from(number);
    range.l_len = 1;
    // SAFETY: a descriptor that is open, and a structure of the type that these commands take.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, &mut range) } != 0 {
        return match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
            error => Err(error),
        };
    }
    Ok(command == libc::F_OFD_SETLK || range.l_type == libc::F_UNLCK as libc::c_short)
}

fn entry(file: &File, number: u32) -> u64 {
    let mut bytes = [0; ENTRY as usize];
    match file.read_exact_at(&mut bytes, u64::from(number) * ENTRY) {
        Ok(()) => u64::from_ne_bytes(bytes),
        // Behind the last entry that was written.
        Err(_) => 0,
    }
}

fn mark(file: &File, number: u32, mark: u64) -> io::Result<()> {
    file.write_all_at(&mark.to_ne_bytes(), u64::from(number) * ENTRY)
}

/// Claims the seat of this number and ticket, in the file at this path.
pub fn claim(path: &str, number: u32, ticket: u32) -> Claim {
    let attempt = || -> io::Result<Claim> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if !lock(&file, libc::F_OFD_SETLK, number)? || entry(&file, number) != 0 {
            return Ok(Claim::Taken);
        }
        mark(&file, number, u64::from(ticket) + 1)?;
        Ok(Claim::Mine(file))
    };
    attempt().unwrap_or(Claim::Unknown)
}

/// Gives the claim up, for the process that will claim the seat next.
pub fn pass_on(file: File, number: u32) {
    let _ = mark(&file, number, 0);
}

impl Claims {
    pub fn new() -> io::Result<Self> {
        // SAFETY: a name that ends with a NUL; the descriptor that comes is ours alone. (The C
        // library has `memfd_create` since 2.27, and ours may be older.)
        let file = unsafe {
            let name = c"linering claims".as_ptr();
            let found = libc::syscall(libc::SYS_memfd_create, name, libc::MFD_CLOEXEC);
            if found < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(found as libc::c_int)
        };
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Ok(Self { file, path })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the seat was ever claimed, and whether a process has it claimed now.
    pub fn state(&self, number: u32) -> (bool, bool) {
        let is_locked = || !lock(&self.file, libc::F_OFD_GETLK, number).unwrap_or(true);
        let is_marked = || entry(&self.file, number) != 0;
        // A claim locks first and marks then; what passes a seat on takes the mark away first. So
        // it is looked at twice, lest it be passed on in between.
        let (first, is_held) = (is_marked(), is_locked());
        let was_claimed = first && is_marked();
        (was_claimed, was_claimed && (is_held || is_locked()))
    }

    /// Numbers and tickets of all seats that were ever claimed.
    pub fn all(&self) -> io::Result<Vec<(u32, u32)>> {
        let mut bytes = vec![0; self.file.metadata()?.len() as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        let entries = bytes.as_chunks::<{ ENTRY as usize }>().0.iter();
        Ok((0..)
            .zip(entries.map(|entry| u64::from_ne_bytes(*entry)))
            .filter(|(_, mark)| *mark != 0)
            .map(|(number, mark)| (number, (mark - 1) as u32))
            .collect())
    }
}
