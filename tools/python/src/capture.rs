//! `Capture`: this process's descriptors 1 and 2, into a mirror.

use std::sync::{Mutex, PoisonError};

use linering::Stream;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::mirror::{Mirror, stream_of};

#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Capture(Mutex<Option<linering::Capture>>);

#[pymethods]
impl Capture {
    #[new]
    fn new(mirror: &Bound<'_, Mirror>, stderr: bool) -> PyResult<Self> {
        let opened = mirror.get().open(stream_of(stderr))?;
        let capture = match stream_of(stderr) {
            Stream::Stderr => linering::Capture::stderr_into(opened),
            _ => linering::Capture::stdout_into(opened),
        };
        capture
            .map(|capture| Self(Mutex::new(Some(capture))))
            .map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// Puts the descriptor back; returns when everything that was written has been passed on.
    fn stop(&self, py: Python<'_>) {
        let capture = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(capture));
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        Python::attach(|py| self.stop(py));
    }
}
