//! What outlives processes: a look at a ring that has a name or is in a file, and a file that
//! rotates.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use linering::{End, Followed, Observer, WriterState};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::backlog::Backlog;
use crate::interruptible::greenlets_sleep;
use crate::reader::to_python;
use crate::ring::{name_and_file, ring_name};
use crate::{errors, items};

/// Bytes of the longest line that is put together out of pieces.
const LONGEST: usize = 1 << 30;

/// The longest time until a ring that is followed is asked whether it is used still.
const FOLLOW_LIMIT: Duration = Duration::from_millis(100);
/// Seconds that a greenlet waits between two looks at it.
const GREENLETS_SECONDS: f64 = 0.01;

fn opened(
    name: Option<&str>,
    file: Option<PathBuf>,
    any_user: bool,
) -> PyResult<linering::Observer> {
    let observer = match (name, file) {
        (Some(name), None) => Observer::open_named(ring_name(name, any_user)),
        (None, Some(file)) => Observer::open_file(file),
        _ => return Err(name_and_file()),
    };
    observer.map_err(|error| errors::of_system(error.into()))
}

type Seen<'py> = (Vec<Bound<'py, PyAny>>, Vec<Bound<'py, PyTuple>>);

/// What is in a ring now, and the ends that no reader has accepted. Changes nothing there.
#[pyfunction]
pub fn observe<'py>(
    py: Python<'py>,
    name: Option<&str>,
    file: Option<PathBuf>,
    any_user: bool,
) -> PyResult<Seen<'py>> {
    let observer = opened(name, file, any_user)?;
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

/// A ring that is looked at now and then.
#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Watch(Observer);

#[pymethods]
impl Watch {
    #[new]
    fn new(name: Option<&str>, file: Option<PathBuf>, any_user: bool) -> PyResult<Self> {
        opened(name, file, any_user).map(Self)
    }

    fn is_used(&self) -> bool {
        self.0.is_used_now()
    }

    /// What `RingStatistics` has, and what its writers do.
    fn statistics<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyDict>, Vec<Bound<'py, PyDict>>)> {
        let found = py.detach(|| self.0.statistics()).map_err(errors::of_read)?;
        let ring = PyDict::new(py);
        let seconds = found.created.duration_since(UNIX_EPOCH).unwrap_or_default();
        ring.set_item("created", seconds.as_secs_f64())?;
        ring.set_item("policy", found.policy.as_str())?;
        ring.set_item("checksums", found.checksums)?;
        ring.set_item("stopped", found.stopped)?;
        ring.set_item("has_reader", found.has_reader)?;
        ring.set_item("is_used", found.is_used)?;
        let counts = &found.counts;
        for (name, number) in [
            ("capacity", found.lines),
            ("line_bytes", found.line_bytes),
            ("max_line", found.max_line),
            ("size", found.bytes),
            ("written", found.next.wrapping_sub(found.first)),
            ("unread", found.unread()),
            ("found_full", counts.found_full),
            ("open", counts.live),
            ("seats", counts.seats),
            ("eofs", counts.eofs),
            ("errors", counts.errors),
            ("deaths", counts.deaths),
        ] {
            ring.set_item(name, number)?;
        }
        let writers = found.writers.iter().map(|it| {
            let writer = PyDict::new(py);
            writer.set_item("worker", it.writer_id)?;
            writer.set_item("label", &it.label)?;
            writer.set_item("pid", it.process)?;
            writer.set_item("state", state_of(it.state))?;
            writer.set_item("lines", it.lines)?;
            writer.set_item("dropped", it.dropped)?;
            Ok(writer)
        });
        Ok((ring, writers.collect::<PyResult<_>>()?))
    }

    fn follow(&self) -> Follow {
        let mut follow = self.0.follow();
        // Where it may not, it looks by itself.
        follow.ask_to_be_woken();
        Follow(Mutex::new((follow, Backlog::new(LONGEST))))
    }
}

fn state_of(state: WriterState) -> &'static str {
    match state {
        WriterState::Waiting => "waiting",
        WriterState::Open => "open",
        WriterState::Gone => "gone",
        WriterState::Ended(End::Eof) => "eof",
        WriterState::Ended(End::Error) => "error",
        WriterState::Ended(End::Died) => "died",
        WriterState::Ended(End::Cancelled) => "cancelled",
        _ => "never opened",
    }
}

/// What comes into a ring.
#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Follow(Mutex<(linering::Follow, Backlog)>);

type Came<'py> = (Vec<Bound<'py, PyAny>>, Vec<Bound<'py, PyTuple>>);

#[pymethods]
impl Follow {
    /// What has come since the last call: how many passed by, and lines and ends after that.
    fn more<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, Came<'py>)>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (follow, backlog) = &mut *held;
        let found = follow.next_items().map_err(errors::of_read)?;
        // One part for all that comes between two gaps.
        let mut parts = vec![(0, Vec::new())];
        for item in found {
            match (item, parts.last_mut()) {
                (Followed::Item(item), Some((_, items))) => items.push(item),
                (Followed::PassedBy(count), _) => parts.push((count, Vec::new())),
                _ => {}
            }
        }
        let mut came = Vec::new();
        for (passed, found) in parts {
            backlog.add(found);
            let mut lines = Vec::new();
            while let Some(taken) = backlog.pop() {
                lines.push(to_python(py, &taken)?);
            }
            let ends = backlog.ends();
            let ends = ends.iter().map(|end| items::ended(py, end)).collect::<PyResult<_>>()?;
            came.push((passed, (lines, ends)));
        }
        Ok(came)
    }

    /// Sleep until more may have come, or for a tenth of a second.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(theirs) = greenlets_sleep(py) {
            return theirs.call1((GREENLETS_SECONDS,)).map(drop);
        }
        py.detach(|| {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).0.wait(FOLLOW_LIMIT);
        });
        py.check_signals()
    }
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
