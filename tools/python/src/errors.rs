//! The library's errors as Python's exceptions.

use linering::{MirrorError, ReadError, WriteError};
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyStopIteration, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::failure;

create_exception!(
    linering,
    Stopped,
    PyStopIteration,
    "The buffer's process told all mirrors to stop: raised by the next write."
);

/// `io.UnsupportedOperation` is both an `OSError` and a `ValueError`: what writing to a closed file
/// raises in Python, and what it raised in the package whose names these are.
pub fn closed(py: Python<'_>, words: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match CLASS.import(py, "io", "UnsupportedOperation") {
        Ok(class) => PyErr::from_type(class.clone(), words.to_owned()),
        Err(error) => error,
    }
}

pub fn of_write(py: Python<'_>, error: WriteError) -> PyErr {
    match error {
        WriteError::Cancelled => {
            failure::take().unwrap_or_else(|| PyRuntimeError::new_err(error.to_string()))
        }
        WriteError::Stopped => Stopped::new_err(error.to_string()),
        WriteError::Closed => closed(py, "I/O operation on a closed buffer"),
        WriteError::TimedOut(_) => PyTimeoutError::new_err(error.to_string()),
        WriteError::Reentrant => PyRuntimeError::new_err(error.to_string()),
        _ => PyOSError::new_err(error.to_string()),
    }
}

pub fn of_read(error: ReadError) -> PyErr {
    match error {
        ReadError::Forked => PyRuntimeError::new_err(error.to_string()),
        _ => PyOSError::new_err(error.to_string()),
    }
}

pub fn of_mirror(error: MirrorError) -> PyErr {
    PyOSError::new_err(error.to_string())
}

/// With the class that says what the system said: `FileNotFoundError`, say.
pub fn of_system(error: std::io::Error) -> PyErr {
    error.into()
}
