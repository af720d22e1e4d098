//! Writes whose waits for room in a full ring release the interpreter lock, and are interrupted by
//! signals. A thread that reads the ring itself makes the room, and greenlets let others run.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyTimeoutError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use crate::{failure, reader};

thread_local! {
    /// The write that this thread does for Python, if it does one.
    static WRITING: Writing = const { Writing { locked: Cell::new(false), limit: Cell::new(None), began: Cell::new(None), ring: Cell::new(0) } };
}

struct Writing {
    /// The thread holds the interpreter lock. A thread that captures a descriptor does not.
    locked: Cell<bool>,
    limit: Cell<Option<Duration>>,
    began: Cell<Option<Instant>>,
    /// The key of the ring that is written into.
    ring: Cell<u64>,
}

/// Runs `write`, whose waits for room release the interpreter lock, end with an exception of a
/// signal's handler, and last no longer than `limit`.
#[inline]
pub fn writing<R>(limit: Option<Duration>, ring: u64, write: impl FnOnce() -> R) -> R {
    WRITING.with(|now| {
        now.locked.set(true);
        now.limit.set(limit);
        now.began.set(None);
        now.ring.set(ring);
        let result = write();
        now.locked.set(false);
        result
    })
}

/// See [`linering::set_blocking_hook`].
pub fn blocking_hook(sleep: &mut dyn FnMut()) -> ControlFlow<()> {
    WRITING.with(|now| {
        if !now.locked.get() {
            sleep();
            return ControlFlow::Continue(());
        }
        if failure::is_set() {
            // The lines after the one that was given up.
            return ControlFlow::Break(());
        }
        if reader::make_room(now.ring.get()) {
            return ControlFlow::Continue(());
        }
        let give_up = |error| {
            failure::set(error);
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
            // A handler, or another greenlet, may write too, into another mirror.
            let before = (now.limit.get(), now.began.get(), now.ring.get());
            let slept = match greenlets_sleep(py) {
                Some(theirs) => theirs.call1((GREENLETS_SECONDS,)).map(drop),
                None => {
                    let mut sleep = Sleep(sleep);
                    py.detach(|| sleep.run());
                    Ok(())
                }
            };
            let checked = slept.and_then(|()| py.check_signals());
            now.locked.set(true);
            now.limit.set(before.0);
            now.began.set(before.1);
            now.ring.set(before.2);
            match checked {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => give_up(error),
            }
        })
    })
}

/// Seconds that a greenlet waits between two looks at a full ring.
const GREENLETS_SECONDS: f64 = 0.002;

/// `time.sleep`, if gevent or eventlet has put its own in the place of the interpreter's: that one
/// lets other greenlets of this thread run.
pub(crate) fn greenlets_sleep(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let sleep =
        py.import(intern!(py, "time")).and_then(|it| it.getattr(intern!(py, "sleep"))).ok()?;
    (!sleep.is_instance_of::<PyCFunction>()).then_some(sleep)
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
