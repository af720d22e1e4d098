//! What the reader hands out, as Python has it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::time::UNIX_EPOCH;

use linering::{Ended, Kind, Level, Line, Lost, Stream};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::line::{self, HAS_POSITION, HAS_TIME, Info, LOST, TRUNCATED, UNACKNOWLEDGED, UNFINISHED};
use crate::text;
use crate::way::{CONTINUES, PIECE_BITS, REPLACES};

/// Pieces of lines that were sent ahead, by worker and thread.
#[derive(Debug, Default)]
pub struct Begun(HashMap<(u32, u16), Line<'static>>);

impl Begun {
    /// Lines that were begun and will not go on, now that this one comes.
    pub fn ended_by(&mut self, line: &Line<'_>) -> Vec<Line<'static>> {
        let (piece, thread) = (line.tag & ((1 << PIECE_BITS) - 1), line.tag >> PIECE_BITS);
        match line.kind {
            _ if self.0.is_empty() => Vec::new(),
            // A mirror's last, and of no thread.
            Kind::Error => self.end(line.worker),
            Kind::Line if piece != 0 => Vec::new(),
            _ => self.0.remove(&(line.worker, thread)).into_iter().collect(),
        }
    }

    /// Puts a line's pieces together; `true` if it has no end yet, and stays here too.
    pub fn assemble(&mut self, mut line: Line<'static>) -> (Line<'static>, bool) {
        let (piece, thread) = (line.tag & ((1 << PIECE_BITS) - 1), line.tag >> PIECE_BITS);
        let is_whole = piece == 0 && !line.unfinished;
        // Only lines and their pieces: what the others' tags mean is their writers' business.
        if is_whole || line.kind != Kind::Line {
            return (line, false);
        }
        let key = (line.worker, thread);
        match self.0.remove(&key) {
            Some(before) if piece == CONTINUES => {
                let mut bytes = before.bytes.into_owned();
                bytes.extend_from_slice(&line.bytes);
                line.bytes = Cow::Owned(bytes);
                line.time = before.time;
            }
            Some(before) if piece == REPLACES => line.time = before.time,
            _ => {}
        }
        if line.unfinished {
            self.0.insert(key, line.clone());
            return (line, true);
        }
        (line, false)
    }

    /// The lines that a worker had begun: they have an end now.
    pub fn end(&mut self, worker: u32) -> Vec<Line<'static>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut lines: Vec<_> = self.0.extract_if(|key, _| key.0 == worker).map(|(_, line)| line).collect();
        lines.sort_by_key(|line| line.position);
        lines
    }

    /// All of them, oldest first.
    pub fn lines(&self) -> Vec<Line<'static>> {
        let mut lines: Vec<_> = self.0.values().cloned().collect();
        lines.sort_by_key(|line| line.position);
        lines
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Ends what `LogHandler` says of a record; its text follows.
const RECORD: u8 = 0x1e;

fn line_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static LINE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    LINE.import(py, "linering._line", "Line")
}

/// A `Line`; a record's head makes it a `Record`.
pub fn line<'py>(py: Python<'py>, line: &Line<'_>) -> PyResult<Bound<'py, PyAny>> {
    let mut bytes = &*line.bytes;
    if line.kind != Kind::Line {
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    }
    let mut head = None;
    if line.stream == Stream::Log
        && line.kind == Kind::Text
        && let Some(end) = memchr::memchr(RECORD, bytes)
    {
        (head, bytes) = (Some(&bytes[..end]), &bytes[end + 1..]);
    }
    let mut info = Info::new(line.worker, &line.label, line.stream, line.level, line.kind);
    info.position = line.position;
    info.missing = line.missing;
    info.flags = HAS_POSITION;
    for (is_so, flag) in
        [(line.truncated, TRUNCATED), (line.unfinished, UNFINISHED), (line.unacknowledged, UNACKNOWLEDGED)]
    {
        info.flags |= if is_so { flag } else { 0 };
    }
    if let Some(time) = line.time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
        info.time = time.as_secs_f64();
        info.flags |= HAS_TIME;
    }
    let Some(head) = head else { return make(line_class(py)?, bytes, info) };
    static RECORD_CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let made = make(RECORD_CLASS.import(py, "linering._line", "Record")?, bytes, info)?;
    made.setattr(intern!(py, "_record"), text::to_str(py, head)?)?;
    Ok(made)
}

/// A line of a class that derives from `Text`.
fn make<'py>(class: &Bound<'py, PyType>, bytes: &[u8], info: Info) -> PyResult<Bound<'py, PyAny>> {
    let made = class.call1((text::to_str(class.py(), bytes)?,))?;
    // SAFETY: of that class.
    unsafe { line::tell(&made, info) };
    Ok(made)
}

/// A `Line` that says how many were lost.
pub fn lost<'py>(py: Python<'py>, lost: &Lost<'_>) -> PyResult<Bound<'py, PyAny>> {
    let mut info = Info::new(lost.worker, &lost.label, Stream::Stdout, Level::None, Kind::Line);
    info.kind = LOST;
    info.missing = lost.lines;
    make(line_class(py)?, lost.to_string().as_bytes(), info)
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
    (ended.worker, &*ended.label, end, ended.lines, ended.lost, exit).into_pyobject(py)
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
