//! What the reader hands out, as Python has it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::time::UNIX_EPOCH;

use linering::{Ended, Kind, Level, Line, Lost, Stream};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple, PyType};

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

fn stream_name<'py>(py: Python<'py>, stream: Stream) -> &'py Bound<'py, PyString> {
    match stream {
        Stream::Stderr => intern!(py, "stderr"),
        Stream::Log => intern!(py, "log"),
        _ => intern!(py, "stdout"),
    }
}

fn kind_name<'py>(py: Python<'py>, kind: Kind) -> &'py Bound<'py, PyString> {
    match kind {
        Kind::Line => intern!(py, "line"),
        Kind::Warning => intern!(py, "warning"),
        Kind::Error => intern!(py, "error"),
        _ => intern!(py, "text"),
    }
}

fn level_name<'py>(py: Python<'py>, level: Level) -> Option<&'py Bound<'py, PyString>> {
    match level {
        Level::Trace => Some(intern!(py, "TRACE")),
        Level::Debug => Some(intern!(py, "DEBUG")),
        Level::Info => Some(intern!(py, "INFO")),
        Level::Warn => Some(intern!(py, "WARNING")),
        Level::Error => Some(intern!(py, "ERROR")),
        _ => None,
    }
}

/// What all lines of a mirror have in common, and the last such tuple: most lines are like the one before.
#[derive(Debug, Default)]
pub struct Common {
    of: Option<(u32, Stream, Level, Kind, u8, String)>,
    tuple: Option<Py<PyTuple>>,
}

impl Common {
    /// `(worker, label, stream, level, kind, flags)`.
    fn of<'py>(&mut self, py: Python<'py>, line: &Line<'_>) -> PyResult<Bound<'py, PyTuple>> {
        let flags =
            u8::from(line.truncated) | u8::from(line.unfinished) << 1 | u8::from(line.unacknowledged) << 2;
        if let (Some(of), Some(tuple)) = (&self.of, &self.tuple)
            && (of.0, of.1, of.2, of.3, of.4) == (line.worker, line.stream, line.level, line.kind, flags)
            && *of.5 == *line.label
        {
            return Ok(tuple.bind(py).clone());
        }
        let worker = (line.worker != u32::MAX).then_some(line.worker);
        let names = (stream_name(py, line.stream), level_name(py, line.level), kind_name(py, line.kind));
        let tuple = (worker, &*line.label, names.0, names.1, names.2, flags).into_pyobject(py)?;
        self.of = Some((line.worker, line.stream, line.level, line.kind, flags, line.label.to_string()));
        self.tuple = Some(tuple.clone().unbind());
        Ok(tuple)
    }
}

/// A `Line`, or a `GroupedMessage` for what a mirror sent in one piece.
pub fn line<'py>(py: Python<'py>, common: &mut Common, line: &Line<'_>) -> PyResult<Bound<'py, PyAny>> {
    let mut bytes = &*line.bytes;
    if line.kind != Kind::Line {
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    }
    // What `LogHandler` puts before a record.
    let mut head = None;
    if line.stream == Stream::Log
        && line.kind == Kind::Text
        && let Some(end) = memchr::memchr(RECORD, bytes)
    {
        (head, bytes) = (Some(&bytes[..end]), &bytes[end + 1..]);
    }
    let made = line_class(py)?.call1((text::to_str(py, bytes)?,))?;
    let time = line.time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|time| time.as_secs_f64());
    let at = (common.of(py, line)?, line.position, time, line.missing);
    made.setattr(intern!(py, "_at"), at)?;
    if let Some(head) = head {
        made.setattr(intern!(py, "_record"), text::to_str(py, head)?)?;
    }
    Ok(made)
}

/// A `Line` that says how many were lost.
pub fn lost<'py>(py: Python<'py>, lost: &Lost<'_>) -> PyResult<Bound<'py, PyAny>> {
    let made = line_class(py)?.call1((lost.to_string(),))?;
    let common = (lost.worker, &*lost.label, intern!(py, "stdout"), py.None(), intern!(py, "lost"), 0_u8);
    made.setattr(intern!(py, "_at"), (common, py.None(), py.None(), lost.lines))?;
    Ok(made)
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
