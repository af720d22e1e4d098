//! `write`, which `print` calls twice for each line: a plain C method, without what PyO3 puts
//! around methods in the limited interface (a tuple, and a search for keywords). That halves the
//! time of a call. Its argument may have its name, as `write(data="text")`.

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

/// `_PyCFunctionFastWithKeywords`, and the flag for it, `METH_FASTCALL`: so since CPython 3.7, but
/// in the limited interface since 3.10.
type WithKeywords = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;
const FAST_CALL: std::ffi::c_int = 0x80;

/// The method itself.
unsafe extern "C" fn write<T: Write>(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls methods with its lock held.
    let py = unsafe { Python::assume_attached() };
    if (count, names.is_null()) != (1, true) {
        // SAFETY: what the interpreter gave.
        if let Err(error) = unsafe { check_name(py, count, names) } {
            error.restore(py);
            return std::ptr::null_mut();
        }
    }
    // SAFETY: there is one argument.
    let data = unsafe { *arguments };
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

/// Whether there is one argument, `data`, by its name.
///
/// # Safety
///
/// `names` is null or a tuple of a call's names.
#[cold]
unsafe fn check_name(
    py: Python<'_>,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<()> {
    // SAFETY: the caller's promise.
    let names: Vec<String> = match unsafe { Bound::from_borrowed_ptr_or_opt(py, names) } {
        Some(names) => names.extract()?,
        None => Vec::new(),
    };
    if count == 0 && names == ["data"] {
        return Ok(());
    }
    let found = count as usize + names.len();
    let words = match names.iter().find(|name| *name != "data") {
        Some(name) => format!("write() got an unexpected keyword argument '{name}'"),
        None => format!("write() takes exactly one argument ({found} given)"),
    };
    Err(PyTypeError::new_err(words))
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
    // SAFETY: a pointer to a function, which the flags below say the type of.
    let function = unsafe { std::mem::transmute::<WithKeywords, ffi::PyCFunction>(write::<T>) };
    let method = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: c"write".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: FAST_CALL | ffi::METH_KEYWORDS,
        ml_doc: T::WRITE_DOC.as_ptr(),
    }));
    // SAFETY: a class, and a definition that lives as long as the process; a new reference or null
    // with an exception.
    let descriptor = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_ptr().cast(), method))?
    };
    class.setattr("write", descriptor)
}
