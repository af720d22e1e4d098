//! Writes inside of writes: from a signal handler, and from a thread's last destructor.

use std::cell::Cell;
use std::io::{self, Write};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use linering::{LineBuffer, Options};

use super::{small, texts, write};
use crate::common::{Actor, fork};

/// A page that cannot be read until a thread tries, and what the handler of that fault found.
static PAGE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static TARGET: AtomicPtr<LineBuffer> = AtomicPtr::new(ptr::null_mut());
static FOUND: AtomicI32 = AtomicI32::new(0);
const PAGE_BYTES: usize = 4096;

/// Writes into the buffer that this thread is writing into, and then makes the page readable.
extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let page = PAGE.load(SeqCst);
    // SAFETY: the kernel passes the signal's information.
    let address = unsafe { (*info).si_addr() } as usize;
    if page.is_null() || address.wrapping_sub(page as usize) >= PAGE_BYTES {
        // Another fault: let it come again and end the process.
        // SAFETY: a plain system call.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        return;
    }
    // SAFETY: null, or a buffer that outlives the write that was interrupted. The fault came from
    // that write's look at the page, which is outside of the allocator, so the error below may
    // be allocated.
    if let Some(mut buffer) = unsafe { TARGET.load(SeqCst).as_ref() } {
        let found = match buffer.write(b"re-entrant\n") {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 1,
            Err(_) => 2,
            Ok(_) => 3,
        };
        FOUND.store(found, SeqCst);
    }
    // SAFETY: a mapping of ours, which no thread can have read before.
    unsafe { libc::mprotect(page.cast(), PAGE_BYTES, libc::PROT_READ | libc::PROT_WRITE) };
}

/// Writes a line whose second half cannot be read before a signal handler has written too. What
/// that found.
fn write_interrupted(buffer: &LineBuffer) -> i32 {
    // SAFETY: a plain C struct, for which zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: as above.
    let mut former: libc::sigaction = unsafe { std::mem::zeroed() };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping of two pages, the second of which cannot be read until the handler
    // allows it; it is written before that. The structs live during the calls.
    let pages = unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let pages: *mut u8 = libc::mmap(ptr::null_mut(), 2 * PAGE_BYTES, both, flags, -1, 0).cast();
        assert_ne!(pages.cast(), libc::MAP_FAILED);
        pages.write_bytes(b'i', 2 * PAGE_BYTES);
        pages.add(2 * PAGE_BYTES - 1).write(b'\n');
        assert_eq!(libc::mprotect(pages.add(PAGE_BYTES).cast(), PAGE_BYTES, libc::PROT_NONE), 0);
        PAGE.store(pages.add(PAGE_BYTES), SeqCst);
        TARGET.store(ptr::from_ref(buffer).cast_mut(), SeqCst);
        FOUND.store(0, SeqCst);
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, &raw mut former), 0);
        pages
    };
    // SAFETY: mapped and initialised; readable as soon as a thread tries.
    write(buffer, unsafe {
        std::slice::from_raw_parts(pages.add(PAGE_BYTES - 10), PAGE_BYTES + 10)
    });
    // SAFETY: the handler as it was before; the mapping above, which no thread uses any more.
    unsafe {
        libc::sigaction(libc::SIGSEGV, &raw const former, ptr::null_mut());
        PAGE.store(ptr::null_mut(), SeqCst);
        libc::munmap(pages.cast(), 2 * PAGE_BYTES);
    }
    FOUND.load(SeqCst)
}

#[test]
fn a_signal_handlers_write_in_the_middle_of_a_write_would_block() {
    // In a child: a handler is the whole process's, which other tests share.
    fork(|| {
        for cells in [4, 1] {
            let buffer = Arc::new(
                LineBuffer::with_options(10, Options::new().mirrors(cells)).expect("a buffer"),
            );
            let first = Actor::new();
            first.write(&buffer, b"first\n");
            // With one cell this thread has to share.
            let second = Actor::new();
            let shared = Arc::clone(&buffer);
            second.run(move || {
                assert_eq!(write_interrupted(&shared), 1, "1 is WouldBlock, 3 success")
            });
            second.write(&buffer, b"goes on\n");
            let line = "i".repeat(PAGE_BYTES + 9);
            assert_eq!(texts(&buffer), ["first", &line, "goes on"], "{cells} cells");
            second.end();
            first.end();
        }
        0
    })
    .succeeds();
}

#[test]
fn a_write_in_a_destructor_that_runs_after_the_threads_last_is_an_error_value() {
    type Written = Arc<Mutex<Option<io::Result<usize>>>>;
    struct Last(Cell<Option<(Arc<LineBuffer>, Written)>>);
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some((buffer, result)) = self.0.take() {
                *result.lock().expect("not poisoned") =
                    Some((&*buffer).write(b"in a destructor\n"));
            }
        }
    }
    thread_local!(static LAST: Last = const { Last(Cell::new(None)) });
    let buffer = Arc::new(small(10));
    let result = Arc::new(Mutex::new(None));
    let kept = (Arc::clone(&buffer), Arc::clone(&result));
    let thread = thread::spawn(move || {
        // Registered first, so it is destroyed before or after the buffer's: both are right.
        LAST.with(|last| last.0.set(Some(kept)));
        write(
            &LAST.with(|last| {
                let kept = last.0.take();
                let buffer = kept.as_ref().map(|(buffer, _)| Arc::clone(buffer));
                last.0.set(kept);
                buffer.expect("just set")
            }),
            b"begun",
        );
    });
    thread.join().expect("no panic, no abort");
    let result = result.lock().expect("not poisoned").take().expect("the destructor ran");
    match result {
        Ok(_) => assert_eq!(texts(&buffer), ["begunin a destructor"]),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
            assert_eq!(texts(&buffer), ["begun"]);
        }
    }
}
