//! What the kernel has: a pipe, a Unix socket, a file that is appended to, a POSIX message queue.
//! One line is one call for its writer; the reader takes as many as a call gives.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

mod append;
mod pipe;
mod posix_queue;
mod seqpacket;

pub use append::Append;
pub use pipe::Pipe;
pub use posix_queue::MessageQueue;
pub use seqpacket::Seqpacket;

/// Bytes that one call asks for.
const READ_BYTES: usize = 1 << 16;

fn last_error<T>(what: &str) -> Result<T, String> {
    Err(format!("{what}: {}", io::Error::last_os_error()))
}

fn pair(
    fill: impl FnOnce(*mut libc::c_int) -> libc::c_int,
    what: &str,
) -> Result<(OwnedFd, OwnedFd), String> {
    let mut ends = [0; 2];
    if fill(ends.as_mut_ptr()) != 0 {
        return last_error(what);
    }
    // SAFETY: both were opened this moment, and no other code knows of them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn do_not_block(end: &impl AsRawFd) -> Result<(), String> {
    // SAFETY: sets a flag of an open descriptor.
    match unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } {
        0 => Ok(()),
        _ => last_error("cannot make a reader that does not block"),
    }
}

/// Whole lines in what was read; the rest waits for its end.
#[derive(Debug)]
struct Cutter<const N: usize> {
    bytes: Vec<u8>,
    filled: usize,
}

impl<const N: usize> Cutter<N> {
    fn new() -> Self {
        Self { bytes: vec![0; READ_BYTES.max(2 * N)], filled: 0 }
    }

    fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        sink: &mut impl FnMut(&[u8]),
    ) -> usize {
        match read(&mut self.bytes[self.filled..]) {
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return 0,
            Err(error) => panic!("cannot read: {error}"),
        }
        let whole = self.filled / N * N;
        self.bytes[..whole].chunks(N).for_each(&mut *sink);
        self.bytes.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        whole / N
    }
}
