//! What outlives processes: a look at a ring that has a name or is in a file, and a file that
//! rotates.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use linering::Observer;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::backlog::Backlog;
use crate::reader::to_python;
use crate::ring::{name_and_file, ring_name};
use crate::{errors, items};

/// Bytes of the longest line that is put together out of pieces.
const LONGEST: usize = 1 << 30;

type Seen<'py> = (Vec<Bound<'py, PyAny>>, Vec<Bound<'py, PyTuple>>);

/// What is in a ring now, and the ends that no reader has accepted. Changes nothing there.
#[pyfunction]
pub fn observe<'py>(
    py: Python<'py>,
    name: Option<&str>,
    file: Option<PathBuf>,
    any_user: bool,
) -> PyResult<Seen<'py>> {
    let observer = match (name, file) {
        (Some(name), None) => Observer::open_named(ring_name(name, any_user)),
        (None, Some(file)) => Observer::open_file(file),
        _ => return Err(name_and_file()),
    };
    let observer = observer.map_err(|error| errors::of_system(error.into()))?;
    let found = py.detach(|| observer.snapshot()).map_err(errors::of_read)?;
    let mut backlog = Backlog::new(LONGEST);
    backlog.add(found);
    let mut lines = Vec::new();
    while let Some(taken) = backlog.pop() {
        lines.push(to_python(py, &taken)?);
    }
    lines.extend(items::lines(py, &backlog.partial_lines())?);
    let ends = backlog.ends().iter().map(|end| items::ended(py, end)).collect::<PyResult<_>>()?;
    Ok((lines, ends))
}

/// A file that lines are appended to and that makes room for a new one when it is full.
#[pyclass(frozen, subclass, module = "linering")]
#[derive(Debug)]
pub struct RotatingFile(Mutex<linering::RotatingFile>);

#[pymethods]
impl RotatingFile {
    #[new]
    #[pyo3(signature = (path, limit, keep = 5))]
    fn new(path: PathBuf, limit: u64, keep: u32) -> PyResult<Self> {
        Ok(Self(Mutex::new(linering::RotatingFile::open(path, limit, keep)?)))
    }

    /// Write one line, of text without its line end.
    fn write_line(&self, py: Python<'_>, line: &str) -> PyResult<()> {
        self.write_bytes(py, &[line.as_bytes(), b"\n"].concat())
    }

    /// Write any bytes.
    fn write_bytes(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(data))?;
        Ok(())
    }

    /// Go on where the path leads now.
    fn reopen(&self) -> PyResult<()> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).reopen()?)
    }
}
