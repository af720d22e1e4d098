//! The process's original standard error: what cannot be logged is said there, and not into a ring
//! that standard error was redirected to.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Where it was before it was redirected; -1 if it is what it was.
static SAVED: AtomicI32 = AtomicI32::new(-1);

/// Standard error was redirected, and was this descriptor. Of several redirections the first has
/// the original one.
#[cfg(feature = "capture")]
pub(crate) fn save(descriptor: std::os::fd::RawFd) {
    let _ = SAVED.compare_exchange(-1, descriptor, Relaxed, Relaxed);
}

/// It was put back, before the descriptor is closed.
#[cfg(feature = "capture")]
pub(crate) fn put_back(descriptor: std::os::fd::RawFd) {
    let _ = SAVED.compare_exchange(descriptor, -1, Relaxed, Relaxed);
}

/// Writes `text`, which ends with a line end, in one system call. What cannot be written is left
/// out: there is no other place to say so.
pub(crate) fn say(text: &[u8]) {
    let descriptor = match SAVED.load(Relaxed) {
        -1 => 2,
        saved => saved,
    };
    // SAFETY: not closed here; a number that is none, or another file's by now, is the work of code
    // that closed standard error, and is written to by any code that prints.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
    let _ = file.write_all(text);
}
