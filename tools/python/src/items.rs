//! What the reader hands out, as Python objects.

use std::os::unix::process::ExitStatusExt;

use linering::{Ended, Line};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::line::{self, Info};
use crate::text;

/// Ends what `LogHandler` says of a record; its text follows.
const HEAD_END: u8 = 0x1e;
/// Stands between the parts of that, which are so many; see `_record.py`.
const BETWEEN: u8 = 0x1f;
const PARTS: usize = 8;

/// Where a record's head ends.
fn head_of(bytes: &[u8]) -> Option<usize> {
    // A program in Rust may write to the stream of loggers too.
    let end = memchr::memchr(HEAD_END, bytes)?;
    (memchr::memchr_iter(BETWEEN, &bytes[..end]).count() == PARTS - 1).then_some(end)
}

/// A `Line`; a record's head makes it a `Record`.
pub fn line<'py>(
    py: Python<'py>,
    mut info: Info,
    label: &str,
    bytes: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    info.set_label(label);
    if info.is_record()
        && let Some(end) = head_of(bytes)
    {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let class = CLASS.import(py, "linering._record", "Record")?;
        let made = class.call1((text::to_str(py, &bytes[end + 1..])?,))?;
        line::set_info(&made, info)?;
        made.setattr(intern!(py, "_record"), text::to_str(py, &bytes[..end])?)?;
        return Ok(made);
    }
    line::make(py, bytes, info)
}

/// The library's lines.
pub fn lines<'py>(py: Python<'py>, lines: &[Line<'_>]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    lines.iter().map(|it| line(py, Info::of(it), &it.label, line::text_of(it))).collect()
}

/// `(worker, label, end, lines, lost, exit)`, of which Python makes an `Ended`.
pub fn ended<'py>(py: Python<'py>, ended: &Ended<'_>) -> PyResult<Bound<'py, PyTuple>> {
    let end = match ended.end {
        linering::End::Eof => "eof",
        linering::End::Error => "error",
        linering::End::Died => "died",
        linering::End::Cancelled => "cancelled",
        _ => "never opened",
    };
    let exit = ended.exit.map(|exit| exit.code().unwrap_or_else(|| -exit.signal().unwrap_or(0)));
    (ended.writer_id, &*ended.label, end, ended.lines, ended.lost, exit).into_pyobject(py)
}

/// A `GroupedMessage` of a line that is a group.
pub fn group<'py>(py: Python<'py>, line: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.get_or_try_init(py, || {
        let class = py.import("linering._message")?.getattr("GroupedMessage")?;
        PyResult::Ok(class.getattr("_of")?.unbind())
    })?;
    make.bind(py).call1((line,))
}
