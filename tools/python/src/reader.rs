//! `Reader`: takes items out of the ring and hands them to Python, without the interpreter lock
//! wherever it waits or drains.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

use linering::ReadError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::backlog::{Backlog, Taken, What};
use crate::thread_writer::key_of_thread;
use crate::{errors, fork, items};

/// Items that are taken at a time.
const BATCH_ITEMS: usize = 1024;

#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    generation: u32,
    state: Mutex<State>,
    /// The key of the ring; 0 before it has a seat.
    ring: Arc<AtomicU64>,
    /// The thread that read last.
    thread: AtomicU64,
}

/// All readers of this process that may live.
static READERS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Takes what is there out of a ring that the calling thread itself reads, so that a write of that
/// thread finds room; whether there was something.
///
/// A handler of a listener that logs into the ring that the listener reads would wait for itself
/// otherwise.
pub fn make_room(ring: u64) -> bool {
    let readers = READERS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = |it: &Arc<Shared>| {
        it.ring.load(Relaxed) == ring
            && it.generation == fork::generation()
            && it.thread.load(Relaxed) == key_of_thread()
    };
    let Some(reader) = readers.iter().filter_map(Weak::upgrade).find(own) else { return false };
    drop(readers);
    // This thread may be in the middle of a read, which does not write.
    let Ok(mut state) = reader.state.try_lock() else { return false };
    let State { reader, backlog } = &mut *state;
    let before = backlog.len();
    while reader.wait_timeout(Duration::ZERO).unwrap_or(false) {
        let had = backlog.len();
        if backlog.take(reader).is_err() || backlog.len() == had {
            break;
        }
    }
    backlog.len() > before
}

#[derive(Debug)]
struct State {
    reader: linering::Reader,
    backlog: Backlog,
}

impl State {
    /// Waits for `limit` at most and takes what is there; whether there is something.
    fn fill(&mut self, limit: Duration) -> Result<bool, ReadError> {
        let mut limit = if self.backlog.is_empty() { limit } else { Duration::ZERO };
        while self.backlog.len() < BATCH_ITEMS && self.reader.wait_timeout(limit)? {
            limit = Duration::ZERO;
            self.backlog.take(&mut self.reader)?;
        }
        Ok(!self.backlog.is_empty())
    }
}

/// What a call of [`Reader::pop`] hands on.
enum Next<'py> {
    Line(Bound<'py, PyAny>),
    Record(Bound<'py, PyAny>),
    Message(Bound<'py, PyAny>),
}

fn convert<'py>(py: Python<'py>, taken: &Taken) -> PyResult<Next<'py>> {
    let info = taken.info();
    let made = items::line(py, info, taken.label(), taken.bytes())?;
    Ok(match info.is_line() {
        true => Next::Line(made),
        false if info.is_record() => Next::Record(made),
        false => Next::Message(items::group(py, &made)?),
    })
}

/// What was taken as Python has it.
pub fn to_python<'py>(py: Python<'py>, taken: &Taken) -> PyResult<Bound<'py, PyAny>> {
    let (Next::Line(made) | Next::Record(made) | Next::Message(made)) = convert(py, taken)?;
    Ok(made)
}

impl Reader {
    pub fn new(mut reader: linering::Reader, longest: usize, ring: Arc<AtomicU64>) -> Self {
        // Python's handlers run when the call is back.
        reader.set_interruptible(true);
        let state = State { reader, backlog: Backlog::new(longest) };
        let shared = Arc::new(Shared {
            generation: fork::generation(),
            state: Mutex::new(state),
            ring,
            thread: AtomicU64::new(0),
        });
        let mut readers = READERS.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&shared));
        Self(shared)
    }

    /// The state. Waits while another thread has it locked, without the interpreter lock.
    fn state(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, State>> {
        // A thread of the parent may have held its lock at the fork, and never releases it here.
        if self.0.generation != fork::generation() {
            return Err(errors::of_read(ReadError::Forked));
        }
        self.0.thread.store(key_of_thread(), Relaxed);
        loop {
            match self.0.state.try_lock() {
                Ok(state) => return Ok(state),
                Err(TryLockError::Poisoned(state)) => return Ok(state.into_inner()),
                Err(TryLockError::WouldBlock) => py.detach(|| drop(self.0.state.lock())),
            }
        }
    }

    fn fill_for(&self, py: Python<'_>, limit: Duration) -> PyResult<bool> {
        drop(self.state(py)?);
        match py.detach(|| self.0.state.lock().unwrap_or_else(|it| it.into_inner()).fill(limit)) {
            Ok(came) => Ok(came),
            Err(ReadError::Interrupted) => py.check_signals().map(|()| false),
            Err(error) => Err(errors::of_read(error)),
        }
    }

    /// The next of the backlog that is wanted: states of lines that change only with `changes`,
    /// losses only with `losses`.
    fn pop<'py>(
        &self,
        py: Python<'py>,
        changes: bool,
        losses: bool,
    ) -> PyResult<Option<(Taken, Next<'py>)>> {
        loop {
            let mut state = self.state(py)?;
            if changes {
                state.backlog.want_changes();
            }
            let Some(taken) = state.backlog.pop() else { return Ok(None) };
            drop(state);
            let wanted = match taken.what() {
                What::Line => true,
                What::Change => changes,
                What::Lost => losses,
            };
            if !wanted {
                continue;
            }
            return match convert(py, &taken) {
                Ok(next) => Ok(Some((taken, next))),
                Err(error) => {
                    self.state(py)?.backlog.give_back(taken);
                    Err(error)
                }
            };
        }
    }
}

#[pymethods]
impl Reader {
    /// Waits for `seconds` at most and takes what is there; whether something is.
    fn fill(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        self.fill_for(py, Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Hands everything that was taken to `sink`: lines to its `parse_lines` (straight into its
    /// storage, if `plain`), groups to its storage, records to `on_record`. How many there
    /// were.
    fn deliver(
        &self,
        sink: &Bound<'_, PyAny>,
        storage: &Bound<'_, PyAny>,
        plain: bool,
        losses: bool,
        on_record: Option<&Bound<'_, PyAny>>,
        most: usize,
    ) -> PyResult<usize> {
        let py = sink.py();
        let mut handed = 0;
        let mut lines = Vec::new();
        loop {
            let next = if handed < most { self.pop(py, false, losses) } else { Ok(None) };
            let is_stored = match &next {
                Ok(Some((_, Next::Line(_)))) => true,
                Ok(Some((_, Next::Record(_)))) => on_record.is_none(),
                _ => false,
            };
            if !is_stored && !lines.is_empty() {
                let run = PyList::new(py, lines.drain(..))?;
                let stored = match plain {
                    true => storage.call_method1(intern!(py, "extend"), (run,)),
                    false => sink.call_method1(intern!(py, "parse_lines"), (run,)),
                };
                if let Err(error) = stored {
                    // `parse_lines` refused those lines, so they are lost; what comes next is not.
                    if let Ok(Some((taken, _))) = next {
                        self.state(py)?.backlog.give_back(taken);
                    }
                    return Err(error);
                }
            }
            let Some((_, next)) = next? else { return Ok(handed) };
            match (next, on_record) {
                (Next::Record(record), Some(on_record)) => drop(on_record.call1((record,))?),
                (Next::Line(line) | Next::Record(line), _) => lines.push(line),
                (Next::Message(message), _) => {
                    storage.call_method1(intern!(py, "append"), (message,))?;
                }
            }
            handed += 1;
        }
    }

    /// The next line or group that was taken.
    fn next<'py>(&self, py: Python<'py>, changes: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.pop(py, changes, true)?.map(|(_, next)| match next {
            Next::Line(line) | Next::Record(line) | Next::Message(line) => line,
        }))
    }

    /// Takes what is there, or has the descriptor become readable when something comes: `False`.
    fn arm(&self, py: Python<'_>) -> PyResult<bool> {
        if self.fill_for(py, Duration::ZERO)? {
            return Ok(true);
        }
        let State { reader, backlog } = &mut *self.state(py)?;
        backlog.take_one(reader).map_err(errors::of_read)
    }

    /// The ends that have come since the last call.
    fn ends<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let ends = self.state(py)?.backlog.ends();
        ends.iter().map(|end| items::ended(py, end)).collect()
    }

    /// The partial lines that were sent ahead.
    fn partial_lines<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let lines = self.state(py)?.backlog.partial_lines();
        items::lines(py, &lines)
    }

    /// Forgets the partial lines that were sent ahead.
    fn discard_partial_lines(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.backlog.discard_partial_lines();
        Ok(())
    }

    /// Whether every mirror and seat has ended and everything was handed on.
    fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        let state = self.state(py)?;
        Ok(state.backlog.is_empty() && state.reader.is_idle())
    }

    /// Lines that were lost so far.
    #[getter]
    fn lost(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.backlog.lost())
    }

    /// The descriptor that becomes readable after `arm` gave `False`.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let pipe = self.state(py)?.reader.poll_fd().map(|pipe| pipe.as_raw_fd());
        pipe.ok_or_else(|| PyRuntimeError::new_err("found a ring without its wake-up pipe"))
    }
}

/// Iterates over a reader's lines, of an object that has `_wait_for_more()`: waits a moment and
/// says whether more can come.
#[pyclass(frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Lines {
    owner: Py<PyAny>,
    reader: Py<Reader>,
    changes: bool,
}

#[pymethods]
impl Lines {
    #[new]
    fn new(owner: Py<PyAny>, reader: Py<Reader>, changes: bool) -> Self {
        Self { owner, reader, changes }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            if let Some(line) = self.reader.get().next(py, self.changes)? {
                return Ok(Some(line));
            }
            if self.reader.get().fill_for(py, Duration::ZERO)? {
                continue;
            }
            let more = self.owner.bind(py).call_method0(intern!(py, "_wait_for_more"))?;
            if !more.is_truthy()? {
                return Ok(None);
            }
        }
    }
}

/// The error for a ring that has a reader already, in this process or another.
pub fn taken(error: ReadError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}
