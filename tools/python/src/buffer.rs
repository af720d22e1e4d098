//! `Lines`: what Python's `LineBuffer` is made of.

use std::ffi::CStr;
use std::io::Write as _;

use linering::{LineBuffer, Options, WriteError};
use pyo3::Borrowed;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::items;
use crate::{errors, text, write_method};

type Objects<'py> = Vec<Bound<'py, PyAny>>;

/// Lines that are written at a time for a subclass that wants to see each line.
const EAGER_LINES: usize = 1024;

#[pyclass(subclass, frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct ThreadBuffer {
    buffer: LineBuffer,
    /// A subclass wants to see lines when they are written.
    eager: bool,
}

impl ThreadBuffer {
    fn put(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        (&self.buffer).write_all(bytes).map_err(|error| match error.downcast::<WriteError>() {
            Ok(error) => errors::of_write(py, error),
            Err(error) => error.into(),
        })
    }
}

impl write_method::Write for ThreadBuffer {
    const WRITE_DOC: &'static CStr =
        c"write($self, data)\n--\n\nWrite text; give its length in characters.\n\n\
        Whole lines are stored; the rest is a partial line that waits for its end.";

    #[inline]
    fn write(this: Borrowed<'_, '_, Self>, data: &Bound<'_, PyString>) -> PyResult<usize> {
        let me = this.get();
        if me.eager {
            write_eagerly(&this, data)?;
        } else {
            text::with_bytes(data, |bytes| me.put(data.py(), bytes))??;
        }
        data.len()
    }
}

/// For a subclass that looks at each line: it sees them all, however many come at once.
#[cold]
fn write_eagerly(this: &Bound<'_, ThreadBuffer>, data: &Bound<'_, PyString>) -> PyResult<()> {
    let (py, me) = (this.py(), this.get());
    text::with_bytes(data, |bytes| {
        let mut rest = bytes;
        while let Some(last) = memchr::memchr_iter(b'\n', rest).take(EAGER_LINES).last() {
            let (now, later) = rest.split_at(last + 1);
            me.put(py, now)?;
            this.call_method0(intern!(py, "_store_finished"))?;
            rest = later;
        }
        me.put(py, rest)
    })?
}

#[pymethods]
impl ThreadBuffer {
    #[new]
    #[pyo3(signature = (maxlen, *, lines, line_bytes, eager))]
    fn new(maxlen: usize, lines: usize, line_bytes: usize, eager: bool) -> PyResult<Self> {
        let options = Options::new().seats(1).mirrors(255).lines(lines).line_bytes(line_bytes);
        let buffer = LineBuffer::with_options(maxlen, options).map_err(|error| match error {
            linering::CreateError::Option { .. } => PyValueError::new_err(error.to_string()),
            _ => PyOSError::new_err(error.to_string()),
        })?;
        Ok(Self { buffer, eager })
    }

    fn _new_line(&self, py: Python<'_>) -> PyResult<()> {
        self.buffer.finish_line().map_err(|error| errors::of_write(py, error))
    }

    fn _close(&self) {
        self.buffer.close();
    }

    fn _discard_partial_line(&self) -> PyResult<()> {
        self.buffer.clear().map_err(errors::of_read)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.buffer.is_closed()
    }

    #[getter]
    fn maxlen(&self) -> usize {
        self.buffer.maxlen()
    }

    /// The finished lines, which are taken out, and the threads' partial lines.
    fn _take<'py>(&self, py: Python<'py>) -> PyResult<(Objects<'py>, Objects<'py>)> {
        let (finished, partial) = py.detach(|| self.buffer.take()).map_err(errors::of_read)?;
        Ok((items::lines(py, &finished)?, items::lines(py, &partial)?))
    }
}
