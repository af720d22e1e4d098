//! Ctrl-C and SIGTERM end a pool's workers, and not the process that drains what they wrote.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use crate::sys::fork;

/// The processes that an interrupt ends; 0 for one that has been awaited.
static TO_END: AtomicPtr<Vec<AtomicI32>> = AtomicPtr::new(ptr::null_mut());
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// How often it was asked for: the last pool that did so has the processes.
static ASKED: AtomicU32 = AtomicU32::new(0);

const SIGNALS: [i32; 2] = [libc::SIGINT, libc::SIGTERM];

pub(super) fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

/// From now on an interrupt ends these processes. What is given names them, until others ask.
pub(super) fn end_on_interrupt(processes: impl Iterator<Item = u32>) -> io::Result<u32> {
    // One thread at a time.
    let _gate = fork::no_fork();
    INTERRUPTS.store(0, Ordering::Relaxed);
    set_list(processes.map(|process| AtomicI32::new(process as i32)).collect());
    for signal in SIGNALS {
        set_handler(signal, end_workers as *const () as libc::sighandler_t)?;
    }
    Ok(ASKED.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Whether these are the processes that an interrupt ends.
pub(super) fn is_asked(by: u32) -> bool {
    by > 0 && ASKED.load(Ordering::Relaxed) == by
}

/// One more process that an interrupt ends.
pub(super) fn add(process: u32) {
    let _gate = fork::no_fork();
    let process = process as i32;
    let is_put = |entry: &AtomicI32| {
        entry.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    };
    let list = list();
    if !list.iter().any(is_put) {
        // Twice as long, so that few are leaked.
        let known = list.iter().map(|entry| entry.load(Ordering::Relaxed));
        let free = std::iter::repeat_n(0, list.len());
        set_list(known.chain([process]).chain(free).map(AtomicI32::new).collect());
    }
}

/// It is awaited next: its number may be another's then.
pub(super) fn forget(process: i32) {
    for entry in list() {
        let _ = entry.compare_exchange(process, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn set_list(list: Vec<AtomicI32>) {
    // Leaked: the handler may be reading it at any time.
    // ORD to_end:A, release; pairs with to_end:B; the list is complete.
    TO_END.store(Box::leak(Box::new(list)), Ordering::Release);
}

fn list() -> &'static [AtomicI32] {
    // SAFETY: null, or a list that is never freed.
    // ORD to_end:B, acquire; pairs with to_end:A; the list is complete.
    unsafe { TO_END.load(Ordering::Acquire).as_ref() }.map_or(&[], Vec::as_slice)
}

/// The handler: atomics and `kill`, which are all that a handler may use.
extern "C" fn end_workers(signal: i32) {
    // SAFETY: this thread's own, which a handler may use; the code that was interrupted gets it
    // back as it was.
    let errno = unsafe { *libc::__errno_location() };
    let mut any = false;
    for process in
        list().iter().map(|entry| entry.load(Ordering::Relaxed)).filter(|process| *process > 0)
    {
        // SAFETY: a plain system call on a child that was not awaited.
        unsafe { libc::kill(process, libc::SIGTERM) };
        any = true;
    }
    if INTERRUPTS.fetch_add(1, Ordering::Relaxed) > 0 || !any {
        let _ = set_handler(signal, libc::SIG_DFL);
        // SAFETY: a plain system call.
        unsafe { libc::raise(signal) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn set_handler(signal: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: a plain C struct, for which zeros are valid: no flags, so system calls are
    // interrupted.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler;
    // SAFETY: the struct lives during the call, and the handler does what a handler may.
    if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// While it lives this thread gets neither signal: a child that is forked meanwhile would run the
/// handler, and end its siblings, before it has given it up.
pub(super) struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    pub(super) fn new() -> Self {
        let mut set = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first call makes the set whole; none of these fails with such arguments, and
        // the last one fills `before`.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in SIGNALS {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            Self { before: before.assume_init() }
        }
    }

    /// In a forked child, of which the signals are those of any program.
    pub(super) fn give_up_in_child(self) {
        if !list().is_empty() {
            for signal in SIGNALS {
                let _ = set_handler(signal, libc::SIG_DFL);
            }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a set that the system gave.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}
