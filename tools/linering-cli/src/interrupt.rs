//! Signals: the ones that ask for an end, and the one for a file that was cut short while it is
//! mapped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGBUS, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::{exit, register};

use crate::failure::INTERRUPTED;

const CUT_SHORT: &[u8] =
    b"linering: the input became shorter while it was read, expected it to stay as it is\n";

/// A flag that SIGINT and SIGTERM set. A second one ends the process at once.
///
/// A handler that was installed before goes on being called.
pub fn watch() -> io::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}

/// From now on, a mapped file that is cut short ends this process with a sentence, not with
/// a bare SIGBUS.
///
/// Before that the signal `first` is raised, if there is one.
pub fn explain_cut_short(first: Option<i32>) -> io::Result<()> {
    let explain = move || {
        // SAFETY: a plain system call, which a handler may use, on bytes that live for ever.
        unsafe { libc::write(2, CUT_SHORT.as_ptr().cast(), CUT_SHORT.len()) };
        if let Some(first) = first {
            // SAFETY: a plain system call, which a handler may use.
            unsafe { libc::raise(first) };
        }
        exit(1);
    };
    // SAFETY: the action uses system calls alone, which a handler may use, and does not unwind.
    unsafe { register(SIGBUS, explain) }.map(drop)
}
