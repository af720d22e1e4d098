//! A token that is fresh in every process, so that a handle knows whether it was inherited.
//!
//! The token stands in a page that the kernel wipes in a forked child (`MADV_WIPEONFORK`), whatever
//! did the fork: `fork`, a raw `clone`, a library. `pthread_atfork` would miss some. The counter
//! stands in ordinary memory, which a child inherits, so its next token is greater than any that
//! its handles can carry.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Maps the page. Called when a ring is made or attached, so that [`token`] cannot fail.
pub(crate) fn prepare() -> io::Result<()> {
    // ORD page:B, acquire; pairs with page:A; the page is wiped in children by then.
    if !PAGE.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    install_gate()?;
    let bytes = size_of::<AtomicU64>();
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
    let page = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )?
    };
    // SAFETY: the mapping above; its content is still zero, so a wipe changes nothing.
    let wiped = unsafe { madvise(page, bytes, Advice::LinuxWipeOnFork) };
    let ours = wiped.map_err(io::Error::from).map(|()| {
        // ORD page:A, AcqRel; pairs with page:B, page:C and page:D; the page is mapped, and marked
        // to be wiped.
        let raced = PAGE.compare_exchange(
            ptr::null_mut(),
            page.cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        raced.is_ok()
    });
    if !matches!(ours, Ok(true)) {
        // SAFETY: the mapping above, which no other thread has seen.
        unsafe { munmap(page, bytes)? };
    }
    ours.map(drop)
}

/// This process's token: never 0, the same for all its threads, another one in each forked child.
///
/// Wait-free but for a process's first call; no system call. A child of `vfork` shares its parent's
/// memory and so its token, which is why it may not write.
#[inline]
pub(crate) fn token() -> u64 {
    // SAFETY: set once by `prepare`, which runs before any handle exists, and never unmapped; the
    // word is only ever used as an atomic.
    // ORD page:C, acquire; pairs with page:A; the page is mapped.
    let word = unsafe { &*PAGE.load(Ordering::Acquire) };
    match word.load(Ordering::Relaxed) {
        0 => renew(word),
        token => token,
    }
}

/// Whether this, which [`token`] gave once, is this process's. A page that was wiped has none of
/// any process's.
#[inline]
pub(crate) fn is_token(token: u64) -> bool {
    // SAFETY: as there.
    // ORD page:D, acquire; pairs with page:A; the page is mapped.
    let word = unsafe { &*PAGE.load(Ordering::Acquire) };
    word.load(Ordering::Relaxed) == token
}

#[cold]
fn renew(word: &AtomicU64) -> u64 {
    let fresh = COUNTER.fetch_add(1, Ordering::Relaxed) + 1;
    match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(other) => other,
    }
}

// -------------------------------------------------------------------------------------------- gate

/// Keeps `fork` out while a lock is being taken: until its description is closed and its mapping
/// marked, a child would inherit it and keep it from ending with this process.
///
/// A lock of the C library's, since the handlers around `fork` release what they did not take in
/// the same scope. A raw `clone` runs no such handlers: its caller has to see to it that
/// no thread registers meanwhile. One thread may close it several times, and opens it as often:
/// the handlers may be installed twice, and one lock may be tried while another is kept.
struct Gate(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is made to be shared; only the C library looks inside.
unsafe impl Sync for Gate {}

static GATE: Gate = Gate(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

thread_local! {
    /// How many times this thread has closed the gate.
    static CLOSED: Cell<u32> = const { Cell::new(0) };
}

extern "C" fn close_gate() {
    if CLOSED.replace(CLOSED.get() + 1) == 0 {
        // SAFETY: initialised statically and never moved; this thread does not have it.
        unsafe { libc::pthread_mutex_lock(GATE.0.get()) };
    }
}

extern "C" fn open_gate() {
    if CLOSED.replace(CLOSED.get() - 1) == 1 {
        // SAFETY: as above; this thread has it, in a forked child too.
        unsafe { libc::pthread_mutex_unlock(GATE.0.get()) };
    }
}

/// Not by a `Once`: a child that is forked while another thread is in there would wait for that
/// thread for ever. So the handlers may be installed more than once, which they put up with.
fn install_gate() -> io::Result<()> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // ORD gate:B, acquire; pairs with gate:A; the handlers run around each fork from now on.
    if INSTALLED.load(Ordering::Acquire) {
        return Ok(());
    }
    // SAFETY: the handlers only count, lock and unlock.
    let refused =
        unsafe { libc::pthread_atfork(Some(close_gate), Some(open_gate), Some(open_gate)) };
    if refused != 0 {
        return Err(io::Error::from_raw_os_error(refused));
    }
    // ORD gate:A, release; pairs with gate:B; after the handlers were installed.
    INSTALLED.store(true, Ordering::Release);
    Ok(())
}

/// While it lives, no other thread of this process forks, or has one of these. Bounded: the thread
/// that has it makes a few system calls.
#[derive(Debug)]
pub(crate) struct NoFork(PhantomData<*mut ()>);

pub(crate) fn no_fork() -> NoFork {
    close_gate();
    NoFork(PhantomData)
}

impl Drop for NoFork {
    fn drop(&mut self) {
        open_gate();
    }
}
