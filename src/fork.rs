//! A token that is fresh in every process, so that a handle knows whether it was inherited.
//!
//! The token stands in a page that the kernel wipes in a forked child (`MADV_WIPEONFORK`), whatever did the
//! fork: `fork`, a raw `clone`, a library. `pthread_atfork` would miss some. The counter stands in ordinary
//! memory, which a child inherits, so its next token is greater than any that its handles can carry.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Maps the page. Called when a ring is made or attached, so that [`token`] cannot fail.
pub(crate) fn prepare() -> io::Result<()> {
    if !PAGE.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    let bytes = size_of::<AtomicU64>();
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
    let page = unsafe {
        mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
    };
    // SAFETY: the mapping above; its content is still zero, so a wipe changes nothing.
    let wiped = unsafe { madvise(page, bytes, Advice::LinuxWipeOnFork) };
    let ours = wiped.map_err(io::Error::from).map(|()| {
        let raced = PAGE.compare_exchange(ptr::null_mut(), page.cast(), Ordering::AcqRel, Ordering::Acquire);
        raced.is_ok()
    });
    if !matches!(ours, Ok(true)) {
        // SAFETY: the mapping above, which nobody else has seen.
        unsafe { munmap(page, bytes)? };
    }
    ours.map(drop)
}

/// This process's token: never 0, the same for all its threads, another one in each forked child.
///
/// Wait-free but for a process's first call; no system call. A child of `vfork` shares its parent's memory and
/// so its token, which is why it may not write.
#[inline]
pub(crate) fn token() -> u64 {
    // SAFETY: set once by `prepare`, which runs before any handle exists, and never unmapped; the word is
    // only ever used as an atomic.
    let word = unsafe { &*PAGE.load(Ordering::Acquire) };
    match word.load(Ordering::Relaxed) {
        0 => renew(word),
        token => token,
    }
}

#[cold]
fn renew(word: &AtomicU64) -> u64 {
    let fresh = COUNTER.fetch_add(1, Ordering::Relaxed) + 1;
    match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(other) => other,
    }
}
