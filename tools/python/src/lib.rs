//! The extension module of the Python package `linering`: what has to be fast, or to know the ring.
//! The rest, which is what users see, is in `python/linering`.

mod backlog;
mod begun;
mod buffer;
mod capture;
mod claim;
mod errors;
mod fast;
mod fork;
mod items;
mod line;
mod mirror;
mod reader;
mod ring;
mod sleep;
mod stand;
mod text;
mod way;

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
    use crate::mirror::Mirror;
    #[pymodule_export]
    use crate::reader::{Lines, Reader};
    #[pymodule_export]
    use crate::ring::Ring;
    #[pymodule_export]
    use crate::stand::{Kept, obeys_env};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::only_in_the_main_interpreter(module.py())?;
        crate::fork::watch();
        linering::set_blocking_hook(crate::sleep::around);
        module.add("Line", crate::line::class_of(module.py())?)?;
        crate::fast::add::<Mirror>(module.py())?;
        crate::fast::add::<ThreadBuffer>(module.py())
    }
}
