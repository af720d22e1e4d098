//! Which process this is, for the price of a load: how many forks lie between it and the one that
//! loaded the module.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static GENERATION: AtomicU32 = AtomicU32::new(0);

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Relaxed);
}

/// To be called before the first [`generation`].
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler does one atomic addition. If it cannot be registered for want of
        // memory, a fork's child takes its parent's unfinished line for its own; the
        // library tells the two apart without it.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

#[inline]
pub fn generation() -> u32 {
    GENERATION.load(Relaxed)
}

/// Whether this is the main thread; in a forked child, the one that forked. Two system calls.
pub fn is_main_thread() -> bool {
    // SAFETY: plain system calls. (The C library has `gettid` since 2.30, and ours may be older.)
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}
