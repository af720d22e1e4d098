//! The process's original standard output and error: as they were before they were redirected into
//! a ring, and without the locks of `std`, which a thread may have that waits for the log.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Where a descriptor was before it was redirected; -1 if it is what it was.
#[derive(Debug)]
pub(crate) struct Original {
    number: RawFd,
    saved: AtomicI32,
}

pub(crate) static STDOUT: Original = Original { number: 1, saved: AtomicI32::new(-1) };
pub(crate) static STDERR: Original = Original { number: 2, saved: AtomicI32::new(-1) };

impl Original {
    /// It was redirected, and was this descriptor. Of several redirections the first has the
    /// original one.
    #[cfg(feature = "capture")]
    pub(crate) fn save(&self, descriptor: RawFd) {
        let _ = self.saved.compare_exchange(-1, descriptor, Relaxed, Relaxed);
    }

    /// It was put back, before the descriptor is closed.
    #[cfg(feature = "capture")]
    pub(crate) fn put_back(&self, descriptor: RawFd) {
        let _ = self.saved.compare_exchange(descriptor, -1, Relaxed, Relaxed);
    }

    /// Writes in one system call: how many bytes.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let descriptor = match self.saved.load(Relaxed) {
            -1 => self.number,
            saved => saved,
        };
        // SAFETY: not closed here; a number that is none, or another file's by now, is the work of
        // code that closed standard output or error, and is written to by any code that prints.
        let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
        file.write(bytes)
    }
}

/// Writes `text`, which ends with a line end, to standard error. What cannot be written is left
/// out: there is no other place to say so.
pub(crate) fn say(mut text: &[u8]) {
    while let Ok(written @ 1..) = STDERR.write(text) {
        text = &text[written..];
    }
}
