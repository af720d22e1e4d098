//! Which thread of this process reads the ring: one that waits for room, and is the one that would
//! make it, waits for itself.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::sys::fork;
use crate::sys::thread::this_thread;

/// The thread that read last. In this process's own memory; a forked child, which has a copy, does
/// not read.
#[derive(Debug, Default)]
pub(crate) struct ReadBy {
    process: AtomicU64,
    thread: AtomicUsize,
    stays: AtomicBool,
}

impl ReadBy {
    /// This thread reads.
    #[inline]
    pub(crate) fn note(&self) {
        self.thread.store(this_thread(), Relaxed);
        self.process.store(fork::token(), Relaxed);
    }

    /// This thread reads, and no other will before `stays` was false again.
    pub(crate) fn set_staying(&self, stays: bool) {
        self.note();
        self.stays.store(stays, Relaxed);
    }

    /// Whether this thread was the last that read. It may have handed the reader on since.
    pub(crate) fn is_here(&self) -> bool {
        self.thread.load(Relaxed) == this_thread() && fork::is_token(self.process.load(Relaxed))
    }

    /// Whether this thread is the only one that reads.
    #[inline]
    pub(crate) fn is_only_here(&self) -> bool {
        self.stays.load(Relaxed) && self.is_here()
    }
}
