//! `Mirror`: what Python's `LineProcMirror` is made of. A seat, and a way for each thread and
//! stream that writes.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linering::{Level, LineProcMirror, Stream, WriteError};
use pyo3::Borrowed;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::stand::{Kept, Stand};
use crate::way::{FREE, Held, Way, key_of};
use crate::{errors, fast, sleep, text};

/// A way into a ring for a process. `seat` is a seat's string, or a [`Kept`] seat of this process.
#[pyclass(subclass, frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Mirror {
    stand: Arc<Stand>,
    first: Way,
    /// Those of further threads, and of standard error. Locked for moments only, without a call
    /// into Python.
    more: Mutex<Vec<Arc<Way>>>,
    aggressive: AtomicBool,
    /// Milliseconds that a write may wait for room.
    limit: AtomicU64,
}

/// No limit.
const FOREVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
enum End<'t> {
    Eof,
    Error(&'t str),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// Opens a mirror of the library's in the seat.
    pub fn open(&self, stream: Stream) -> PyResult<LineProcMirror> {
        self.stand.open(stream)
    }

    /// Opens the first way, for whichever thread comes first.
    fn open_first(&self, py: Python<'_>) -> PyResult<()> {
        let mirror = self.open(Stream::Stdout)?;
        let held = &mut self.first.held.claim(py).ok_or_else(reentrant)?;
        held.opened(mirror);
        Ok(())
    }

    /// This thread's way, when it is not the first one.
    #[cold]
    fn find(&self, py: Python<'_>, key: u64, stream: Stream) -> Option<Arc<Way>> {
        let mut more = lock(&self.more);
        if let Some(way) = more.iter().find(|way| way.key.load(Relaxed) == key) {
            return Some(Arc::clone(way));
        }
        if stream != Stream::Stderr && self.first.is_free() {
            self.first.take(key);
            return None;
        }
        let gone: Vec<Arc<Way>> =
            more.extract_if(.., |way| way.is_free() || way.is_abandoned()).collect();
        drop(more);
        // May wait for room, and others need the list meanwhile.
        for way in
            gone.iter().map(|way| &**way).chain(self.first.is_abandoned().then_some(&self.first))
        {
            if let Some(mut held) = way.held.claim(py) {
                let _ = sleep::writing(self.limit(), || end_way(way, &mut held, End::Eof));
            }
        }
        let way = Arc::new(Way::free());
        way.take(key);
        lock(&self.more).push(Arc::clone(&way));
        Some(way)
    }

    fn limit(&self) -> Option<Duration> {
        let limit = self.limit.load(Relaxed);
        (limit != FOREVER).then(|| Duration::from_millis(limit))
    }

    /// Runs `action` on this thread's way, which is opened first if need be.
    #[inline]
    fn with_way<R>(
        &self,
        py: Python<'_>,
        stream: Stream,
        action: impl FnOnce(&mut Held) -> Result<R, WriteError>,
    ) -> PyResult<R> {
        let key = key_of(stream);
        let found;
        let mut way = &self.first;
        if way.key.load(Relaxed) != key {
            found = self.find(py, key, stream);
            way = found.as_deref().unwrap_or(way);
        }
        // Taken: by this very thread, in whose write a signal's handler runs.
        let mut held = way.held.claim(py).ok_or_else(reentrant)?;
        if held.mirror.is_none() {
            held.opened(self.open(stream)?);
        }
        let done = sleep::writing(self.limit(), || action(&mut held));
        if way.end_wanted.load(Relaxed) && way.end_wanted.swap(false, Relaxed) {
            let _ = sleep::writing(self.limit(), || end_way(way, &mut held, End::Eof));
        }
        done.map_err(|error| errors::of_write(py, error))
    }

    #[inline]
    pub fn write_bytes(&self, py: Python<'_>, stream: Stream, bytes: &[u8]) -> PyResult<()> {
        self.with_way(py, stream, |held| {
            held.write(bytes)?;
            if self.aggressive.load(Relaxed) { held.send_ahead() } else { Ok(()) }
        })
    }

    #[inline]
    pub fn write_str(&self, stream: Stream, data: &Bound<'_, PyString>) -> PyResult<usize> {
        text::with_bytes(data, |bytes| self.write_bytes(data.py(), stream, bytes))??;
        data.len()
    }

    pub fn flush_stream(&self, py: Python<'_>, stream: Stream) -> PyResult<()> {
        match self.begun(py, stream).is_empty() {
            true => Ok(()),
            false => self.with_way(py, stream, |held| held.send_ahead()),
        }
    }

    /// What this thread has begun and not ended.
    pub fn begun(&self, py: Python<'_>, stream: Stream) -> Vec<u8> {
        let key = key_of(stream);
        let begun =
            |way: &Way| way.held.claim(py).map(|held| held.begun().to_vec()).unwrap_or_default();
        if self.first.key.load(Relaxed) == key {
            return begun(&self.first);
        }
        let more = lock(&self.more);
        more.iter()
            .find(|way| way.key.load(Relaxed) == key)
            .map(|way| begun(way))
            .unwrap_or_default()
    }

    /// Ends every way; with an error, this thread's last.
    fn end(&self, py: Python<'_>, how: End<'_>) -> PyResult<()> {
        let ways: Vec<Arc<Way>> = lock(&self.more).clone();
        let mut result = Ok(());
        if let End::Error(_) = how {
            // Its text goes out through a way that is open.
            if self.first.held.claim(py).is_some_and(|held| held.mirror.is_none()) {
                self.open_first(py)?;
            }
        } else if !self.stand.is_taken() {
            // It counts from its making, so it has an end.
            self.open_first(py)?;
        }
        for way in ways.iter().map(|way| &**way).chain([&self.first]) {
            let how = if std::ptr::eq(way, &self.first) { how } else { End::Eof };
            let Some(mut held) = way.held.claim(py) else {
                way.end_wanted.store(true, Relaxed);
                continue;
            };
            let ended = sleep::writing(self.limit(), || end_way(way, &mut held, how));
            result = result.and(ended.map_err(|error| errors::of_write(py, error)));
        }
        result
    }
}

fn end_way(way: &Way, held: &mut Held, how: End<'_>) -> Result<(), WriteError> {
    let written = held.finish_line();
    let Some(mut mirror) = held.mirror.take() else { return Ok(()) };
    *held = Held::default();
    way.key.store(FREE, Relaxed);
    let ended = match how {
        End::Eof => mirror.send_eof(),
        End::Error(text) => mirror.send_error_text(text),
    };
    match written {
        // They end all the same, and are no news.
        Err(WriteError::Stopped) => ended,
        written => written.and(ended),
    }
}

fn reentrant() -> PyErr {
    PyRuntimeError::new_err("this thread is in the middle of another write into the mirror")
}

#[pymethods]
impl Mirror {
    #[new]
    #[pyo3(signature = (seat, aggressive = false, timeout = None))]
    fn new(seat: &Bound<'_, PyAny>, aggressive: bool, timeout: Option<f64>) -> PyResult<Self> {
        let stand = match seat.cast::<Kept>() {
            Ok(kept) => Arc::clone(&kept.get().0),
            Err(_) => Arc::new(Stand::of(&seat.extract::<String>()?)),
        };
        let mirror = Self {
            stand,
            first: Way::free(),
            more: Mutex::default(),
            aggressive: AtomicBool::new(aggressive),
            limit: AtomicU64::new(FOREVER),
        };
        mirror.set_timeout(timeout)?;
        Ok(mirror)
    }

    fn _write_stderr(&self, data: &Bound<'_, PyString>) -> PyResult<usize> {
        self.write_str(Stream::Stderr, data)
    }

    fn _flush_stderr(&self, py: Python<'_>) -> PyResult<()> {
        self.flush_stream(py, Stream::Stderr)
    }

    fn _write_bytes(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        stderr: bool,
    ) -> PyResult<usize> {
        self.write_bytes(py, stream_of(stderr), data.as_bytes())?;
        Ok(data.as_bytes().len())
    }

    /// Send the line that was begun ahead, so that the buffer's process sees it now.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.flush_stream(py, Stream::Stdout)
    }

    /// End the line that was begun, if there is one.
    fn new_line(&self, py: Python<'_>) -> PyResult<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.begun(py, stream).is_empty() {
                self.with_way(py, stream, |held| held.finish_line())?;
            }
        }
        Ok(())
    }

    /// Forget the line that was begun, if there is one.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.begun(py, stream).is_empty() {
                self.with_way(py, stream, |held| held.forget())?;
            }
        }
        Ok(())
    }

    fn _begun<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let begun = self.begun(py, Stream::Stdout);
        let last = memchr::memrchr(b'\r', &begun).map_or(0, |at| at + 1);
        text::to_str(py, &begun[last..])
    }

    fn _send_eof(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, End::Eof)
    }

    fn _send_error(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<()> {
        let text = text::with_bytes(text, |bytes| String::from_utf8_lossy(bytes).into_owned())?;
        self.end(py, End::Error(&text))
    }

    fn _send_warning(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<()> {
        let text = text::with_bytes(text, |bytes| String::from_utf8_lossy(bytes).into_owned())?;
        self.with_way(py, Stream::Stdout, |held| {
            held.finish_line()?;
            held.mirror.as_mut().map_or(Err(WriteError::Ended), |mirror| mirror.send_warning(&text))
        })
    }

    /// A record of a logger, which stays together.
    fn _send_record(&self, py: Python<'_>, text: &Bound<'_, PyString>, level: i64) -> PyResult<()> {
        let level = match level {
            ..1 => Level::None,
            1..10 => Level::Trace,
            10..20 => Level::Debug,
            20..30 => Level::Info,
            30..40 => Level::Warn,
            _ => Level::Error,
        };
        text::with_bytes(text, |bytes| {
            self.with_way(py, Stream::Log, |held| {
                held.finish_line()?;
                let Some(mirror) = &mut held.mirror else { return Err(WriteError::Ended) };
                mirror.set_stream(Stream::Log).set_level(level);
                let sent = mirror.group().and_then(|mut group| group.line(bytes).and(group.end()));
                mirror.set_stream(Stream::Stdout).set_level(Level::None);
                sent
            })
        })?
    }

    #[getter]
    fn worker(&self) -> PyResult<u32> {
        Ok(self.stand.seat()?.writer_id())
    }

    #[getter]
    fn aggressive(&self) -> bool {
        self.aggressive.load(Relaxed)
    }

    #[setter]
    fn set_aggressive(&self, on: bool) {
        self.aggressive.store(on, Relaxed);
    }

    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.limit().map(|limit| limit.as_secs_f64())
    }

    #[setter]
    fn set_timeout(&self, seconds: Option<f64>) -> PyResult<()> {
        let limit = match seconds {
            None => FOREVER,
            Some(seconds) => match Duration::try_from_secs_f64(seconds) {
                Ok(limit) => {
                    u64::try_from(limit.as_millis()).unwrap_or(FOREVER - 1).min(FOREVER - 1)
                }
                Err(_) => {
                    let words = format!("timeout is {seconds}, expected None or 0 or more seconds");
                    return Err(PyValueError::new_err(words));
                }
            },
        };
        self.limit.store(limit, Relaxed);
        Ok(())
    }

    /// Opens it now, for whichever thread writes first; what fails is said at the first write.
    fn _open(&self, py: Python<'_>) {
        let _ = self.open_first(py);
    }

    /// A seat's string for a process that will open it; `only`: there will be no other.
    fn _hand_over(&self, only: bool) -> PyResult<String> {
        self.stand.hand_over(only)
    }
}

impl fast::Write for Mirror {
    const WRITE_DOC: &'static CStr =
        c"write($self, data, /)\n--\n\nWrite text; give its length in characters.\n\n\
        Whole lines go to the buffer; what follows the last line's end waits for its own.";

    #[inline]
    fn write(this: Borrowed<'_, '_, Self>, data: &Bound<'_, PyString>) -> PyResult<usize> {
        this.get().write_str(Stream::Stdout, data)
    }
}

pub fn stream_of(stderr: bool) -> Stream {
    if stderr { Stream::Stderr } else { Stream::Stdout }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Of one that was never opened the seat is the buffer's business.
        if self.stand.is_taken() {
            // Nobody is there to be told: an interrupt, say, while it waited for room.
            Python::attach(|py| {
                self.end(py, End::Eof).unwrap_or_else(|error| error.write_unraisable(py, None))
            });
        }
    }
}
