//! A file that is cut short while it is mapped, as an error: on request, SIGBUS ends no process
//! that has a ring there.
//!
//! The kernel sends the signal to the thread that touches what is missing. The handler puts private
//! memory in the place of the whole mapping, at once, in which words stand that stop every write,
//! and the thread goes on there: whatever it makes of the zeros is this process's alone. It then
//! finds that the ring was cut, and says so.

use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::exchange::park::CUT;
use crate::layout::Header;

/// A mapping that the handler knows. Never freed, since the handler may be reading it at any time,
/// but used again.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// 0 for one that no segment uses.
    start: AtomicUsize,
    bytes: AtomicUsize,
    is_cut: AtomicBool,
    is_used: AtomicBool,
    next: AtomicPtr<Watched>,
}

static FIRST: AtomicPtr<Watched> = AtomicPtr::new(ptr::null_mut());

fn all() -> impl Iterator<Item = &'static Watched> {
    // ORD watch:B, acquire; pairs with watch:A; the node is complete.
    // SAFETY: null, or leaked by `watch`.
    let at = |pointer: &AtomicPtr<Watched>| unsafe { pointer.load(Ordering::Acquire).as_ref() };
    std::iter::successors(at(&FIRST), move |watched| at(&watched.next))
}

impl Watched {
    /// Has the handler know the mapping, whether there is a handler or will be.
    pub(super) fn new(start: usize, bytes: usize) -> &'static Self {
        // ORD watch:C, AcqRel; pairs with watch:D; its former mapping is not looked for any more.
        let free = all().find(|watched| !watched.is_used.swap(true, Ordering::AcqRel));
        let watched = free.unwrap_or_else(|| {
            let new: &'static Self = Box::leak(Box::default());
            new.is_used.store(true, Ordering::Relaxed);
            // ORD watch:E, acquire; pairs with watch:A; the list after it is complete.
            let mut first = FIRST.load(Ordering::Acquire);
            loop {
                new.next.store(first, Ordering::Relaxed);
                let node = ptr::from_ref(new).cast_mut();
                // ORD watch:A, AcqRel, and acquire if it fails; pairs with watch:B and watch:E;
                // after the node was made.
                match FIRST.compare_exchange(first, node, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return new,
                    Err(other) => first = other,
                }
            }
        });
        watched.is_cut.store(false, Ordering::Relaxed);
        watched.bytes.store(bytes, Ordering::Relaxed);
        // ORD mapping:A, release; pairs with mapping:B; its size comes before.
        watched.start.store(start, Ordering::Release);
        watched
    }

    pub(super) fn is_cut(&self) -> bool {
        // ORD cut:B, acquire; pairs with cut:A; what was read before may be of the private memory.
        self.is_cut.load(Ordering::Acquire)
    }

    /// The mapping is about to go.
    pub(super) fn end(&self) {
        // ORD mapping:C, release; pairs with mapping:B; what this segment did with the mapping
        // comes before.
        self.start.store(0, Ordering::Release);
        // ORD watch:D, release; pairs with watch:C; after the mapping was taken off.
        self.is_used.store(false, Ordering::Release);
    }

    /// Puts other memory in its place; `false` if the system refuses.
    fn replace(&self, start: usize, bytes: usize) -> bool {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, with the words of a header in it, that then takes the place of one
        // of the same size, in which all is atomics: any bits are valid there, and may
        // change at any time.
        unsafe {
            let new = libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0);
            if new == libc::MAP_FAILED {
                return false;
            }
            let flags = &(*new.cast::<Header>()).flags.0;
            flags.stopped.store(CUT, Ordering::Relaxed);
            flags.reader_sleeps.store(CUT, Ordering::Relaxed);
            // ORD cut:A, release; pairs with cut:B; before other memory is there.
            self.is_cut.store(true, Ordering::Release);
            let moved = libc::mremap(
                new,
                bytes,
                bytes,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                start as *mut libc::c_void,
            );
            moved != libc::MAP_FAILED
        }
    }
}

/// What was done about the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// From now on a ring's file that is cut short, or that has no room or no disk under it any more,
/// while this process has it mapped, gives [`WriteError::CutShort`](crate::WriteError::CutShort)
/// and [`ReadError::CutShort`](crate::ReadError::CutShort), where the system's SIGBUS would end the
/// process.
///
/// Installs a signal handler for the whole process and for good; a second call does nothing. A
/// SIGBUS that is not of a ring is passed on to the handler that was there before, or ends the
/// process as usual. Install your own handlers first. Lines of a ring that was cut are lost; its
/// handles give errors from then on, in this process and its children, until dropped.
///
/// Rings in anonymous memory are sealed: they cannot be cut.
///
/// # Errors
///
/// The system's refusal.
pub fn turn_sigbus_into_errors() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: plain C structs, for which zeros are valid.
    let (mut action, mut before): (libc::sigaction, libc::sigaction) =
        unsafe { core::mem::zeroed() };
    // SAFETY: the struct lives during the call.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if BEFORE.set(before).is_err() {
        return Ok(());
    }
    action.sa_sigaction = handle as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the struct lives during the call, and the handler does what a handler may.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Atomics and system calls, which are all that a handler may use.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: this thread's own, which a handler may use; the thread gets it back as it was.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel gives it.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    // Sent by a process it has no address.
    let is_fault = code > 0;
    let is_ours = is_fault
        && all().any(|watched| {
            let (start, bytes) =
                // ORD mapping:B, acquire; pairs with mapping:A and mapping:C; the size is that of
                // this start.
                (watched.start.load(Ordering::Acquire), watched.bytes.load(Ordering::Relaxed));
            start != 0
                && (start..start + bytes).contains(&address)
                && (watched.is_cut() || watched.replace(start, bytes))
        });
    if !is_ours {
        pass_on(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else { return };
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: plain system calls. A fault comes again when this returns; one that was sent
            // is raised.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler of this kind was installed.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { core::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: a handler of this kind was installed.
            let handler: extern "C" fn(libc::c_int) = unsafe { core::mem::transmute(handler) };
            handler(signal);
        }
    }
}
