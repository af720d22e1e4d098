//! The extension module of the Python package `linering`: what has to be fast, or to know the ring.
//! The rest, which is what users see, is in `python/linering`.
//!
//! The files, from the top down; each imports only files below it:
//!
//! ```text
//! stored                     a look at a ring that has a name; a file that rotates
//! ring  capture              a buffer's ring; a mirror for descriptors 1 and 2
//! mirror  buffer             what Python's mirror and line buffer are made of
//! held                       a print's lines, until all of it has come
//! interruptible              writes that wait for room
//! reader                     what Python's process buffer is made of
//! backlog                    what was taken out of the ring and Python does not have yet
//! partial_lines  seat_slot   pieces that were sent ahead; a mirror's seat
//! claim                      which process has a seat's pickle in its hands
//! thread_writer  items       one thread's writer in a mirror; what the reader hands out
//! errors  line  write_method
//! gil_cell  fork  text
//! ```

mod backlog;
mod buffer;
mod capture;
mod claim;
mod errors;
mod failure;
mod fork;
mod gil_cell;
mod held;
mod interruptible;
mod items;
mod line;
mod mirror;
mod partial_lines;
mod reader;
mod ring;
mod seat_slot;
mod stored;
mod text;
mod thread_writer;
mod write_method;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Classes, and which thread has the lock, are for the whole process here. CPython refuses by
/// itself from 3.12 on.
fn only_in_the_main_interpreter(py: Python<'_>) -> PyResult<()> {
    // SAFETY: the calling thread has the interpreter's lock.
    match unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) } {
        0 => Ok(()),
        -1 => Err(PyErr::fetch(py)),
        found => {
            let words = format!(
                "interpreter {found} is a subinterpreter, expected the main one: linering supports no other"
            );
            Err(PyImportError::new_err(words))
        }
    }
}

/// Needs the interpreter lock: the package refuses free-threaded interpreters before it loads this.
#[pymodule(gil_used = true)]
mod _linering {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::buffer::ThreadBuffer;
    #[pymodule_export]
    use crate::capture::Capture;
    #[pymodule_export]
    use crate::errors::Stopped;
    #[pymodule_export]
    use crate::line::{restore, state};
    #[pymodule_export]
    use crate::mirror::{Mirror, new_key};
    #[pymodule_export]
    use crate::reader::{Lines, Reader};
    #[pymodule_export]
    use crate::ring::Ring;
    #[pymodule_export]
    use crate::seat_slot::{ReservedSeat, obeys_env};
    #[pymodule_export]
    use crate::stored::{Follow, RotatingFile, Watch, observe};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::only_in_the_main_interpreter(module.py())?;
        crate::fork::watch();
        linering::set_blocking_hook(crate::interruptible::blocking_hook);
        module.add("Line", crate::line::class_of(module.py())?)?;
        crate::write_method::add::<Mirror>(module.py())?;
        crate::write_method::add::<ThreadBuffer>(module.py())
    }
}
