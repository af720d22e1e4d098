//! `write`, which `print` calls twice for each line: a plain C method of one argument, without what
//! PyO3 puts around methods in the limited interface (a tuple, and a search for keywords). That
//! halves the time of a call.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyString, PyType};
use pyo3::{Borrowed, PyClass};

/// A class that has a `write`.
pub trait Write: PyClass<Frozen = True> + Sync {
    const WRITE_DOC: &'static CStr;

    /// Writes a text; gives its length in characters.
    fn write(this: Borrowed<'_, '_, Self>, data: &Bound<'_, PyString>) -> PyResult<usize>;
}

/// The method itself.
unsafe extern "C" fn write<T: Write>(
    this: *mut ffi::PyObject,
    data: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls methods with its lock held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: two objects that live for the call; the descriptor has checked the first one's type.
    let (this, data) = unsafe {
        (Borrowed::from_ptr(py, this).cast_unchecked::<T>(), Borrowed::<PyAny>::from_ptr(py, data))
    };
    let written = catch_unwind(AssertUnwindSafe(|| match data.cast::<PyString>() {
        Ok(text) => T::write(this, &text),
        Err(_) => Err(no_text(&data)),
    }));
    match written {
        // SAFETY: a new reference or null with an exception, as the interpreter wants it.
        Ok(Ok(length)) => unsafe { ffi::PyLong_FromSize_t(length) },
        failed => raise(py, failed),
    }
}

#[cold]
fn no_text(data: &Bound<'_, PyAny>) -> PyErr {
    let kind = data.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!("write() argument must be str, not {kind}"))
}

#[cold]
fn raise(py: Python<'_>, failed: std::thread::Result<PyResult<usize>>) -> *mut ffi::PyObject {
    let error = match failed {
        Ok(Ok(_)) => return std::ptr::null_mut(),
        Ok(Err(error)) => error,
        Err(_) => PyRuntimeError::new_err("write() panicked, which is a fault of linering's"),
    };
    error.restore(py);
    std::ptr::null_mut()
}

/// Gives the class its `write`.
pub fn add<T: Write>(py: Python<'_>) -> PyResult<()> {
    let class: Bound<'_, PyType> = py.get_type::<T>();
    let method = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: c"write".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: write::<T> },
        ml_flags: ffi::METH_O,
        ml_doc: T::WRITE_DOC.as_ptr(),
    }));
    // SAFETY: a class, and a definition that lives as long as the process; a new reference or null
    // with an exception.
    let descriptor = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_ptr().cast(), method))?
    };
    class.setattr("write", descriptor)
}
