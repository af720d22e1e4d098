//! Writes whose waits for room in a full ring release the interpreter lock, and are interrupted by
//! signals.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;

thread_local! {
    /// The write that this thread does for Python, if it does one.
    static WRITING: Writing = const { Writing { locked: Cell::new(false), limit: Cell::new(None), began: Cell::new(None) } };
    static FAILURE: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

struct Writing {
    /// The thread holds the interpreter lock. A thread that captures a descriptor does not.
    locked: Cell<bool>,
    limit: Cell<Option<Duration>>,
    began: Cell<Option<Instant>>,
}

/// Runs `write`, whose waits for room release the interpreter lock, end with an exception of a
/// signal's handler, and last no longer than `limit`.
#[inline]
pub fn writing<R>(limit: Option<Duration>, write: impl FnOnce() -> R) -> R {
    WRITING.with(|now| {
        now.locked.set(true);
        now.limit.set(limit);
        now.began.set(None);
        let result = write();
        now.locked.set(false);
        result
    })
}

/// Why the last write was given up.
pub fn failure() -> Option<PyErr> {
    FAILURE.with(|failure| failure.borrow_mut().take())
}

/// See [`linering::set_blocking_hook`].
pub fn blocking_hook(sleep: &mut dyn FnMut()) -> ControlFlow<()> {
    WRITING.with(|now| {
        if !now.locked.get() {
            sleep();
            return ControlFlow::Continue(());
        }
        if FAILURE.with(|failure| failure.borrow().is_some()) {
            // The lines after the one that was given up.
            return ControlFlow::Break(());
        }
        let give_up = |error| {
            FAILURE.with(|failure| *failure.borrow_mut() = Some(error));
            ControlFlow::Break(())
        };
        let began = now.began.get().unwrap_or_else(Instant::now);
        now.began.set(Some(began));
        if let Some(limit) = now.limit.get()
            && began.elapsed() >= limit
        {
            let words =
                format!("the ring stayed full for {limit:?}, which is the mirror's timeout");
            return give_up(PyTimeoutError::new_err(words));
        }
        Python::attach(|py| {
            let mut sleep = Sleep(sleep);
            py.detach(|| sleep.run());
            // A handler may write too, into another mirror.
            let before = (now.limit.get(), now.began.get());
            let checked = py.check_signals();
            now.locked.set(true);
            now.limit.set(before.0);
            now.began.set(before.1);
            match checked {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => give_up(error),
            }
        })
    })
}

/// A sleep that runs in this very thread.
struct Sleep<'s>(&'s mut dyn FnMut());

impl Sleep<'_> {
    fn run(&mut self) {
        (self.0)();
    }
}

// SAFETY: `Python::detach` runs its argument in the same thread; it asks for `Send` to keep
// Python's objects out.
unsafe impl Send for Sleep<'_> {}
