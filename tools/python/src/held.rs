//! Several lines of one `print` stay together, though `print` writes their last end by itself.
//!
//! What the first write leaves begun is held back, and the interpreter is asked to have it written
//! as soon as it is back in Python code: `print` makes its writes one after another in C, so its
//! line end comes before that. Nothing waits for a time. The interpreter does such calls in the
//! main thread alone, so only what that prints is held back.

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::thread_writer::ThreadWriter;
use crate::{errors, interruptible};

/// A writer that holds text back, and how long that may wait for room.
struct Held {
    writer: Arc<ThreadWriter>,
    limit: Option<Duration>,
    ring: u64,
}

/// Has the interpreter write what `writer` holds back; `false` if it cannot.
pub fn schedule(writer: &Arc<ThreadWriter>, limit: Option<Duration>, ring: u64) -> bool {
    if writer.is_scheduled.swap(true, Relaxed) {
        return true;
    }
    let held = Box::new(Held { writer: Arc::clone(writer), limit, ring });
    let held = Box::into_raw(held).cast::<c_void>();
    // SAFETY: a function that takes what it is given here, once.
    if unsafe { ffi::Py_AddPendingCall(Some(release), held) } == 0 {
        return true;
    }
    writer.is_scheduled.store(false, Relaxed);
    // SAFETY: the interpreter has not taken it.
    drop(unsafe { Box::from_raw(held.cast::<Held>()) });
    false
}

extern "C" fn release(held: *mut c_void) -> c_int {
    // SAFETY: what `schedule` gave, which the interpreter hands on once.
    let held = unsafe { Box::from_raw(held.cast::<Held>()) };
    // SAFETY: the interpreter makes such calls with its lock held.
    let py = unsafe { Python::assume_attached() };
    held.writer.is_scheduled.store(false, Relaxed);
    // In use: a signal's handler interrupts the writer's own write, which writes what is held.
    let Some(mut state) = held.writer.state.try_lock(py) else { return 0 };
    match interruptible::writing(held.limit, held.ring, || state.release()) {
        Ok(()) => 0,
        Err(error) => {
            drop(state);
            errors::of_write(py, error).restore(py);
            -1
        }
    }
}
