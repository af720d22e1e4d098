//! `Mirror`: what Python's `LineProcMirror` is made of. A seat, and a writer for each thread and
//! stream.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linering::{Level, LineProcMirror, Stream, WriteError};
use pyo3::Borrowed;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::seat_slot::{ReservedSeat, SeatSlot};
use crate::thread_writer::{self, ASIDE, FREE, Postponed, ThreadWriter, WriterState, key_of};
use crate::{errors, held, interruptible, text, write_method};

/// A process's mirror in a ring. `seat` is a seat's string, or a [`ReservedSeat`] of this process.
#[pyclass(subclass, frozen, module = "linering._linering")]
#[derive(Debug)]
pub struct Mirror {
    seat: Arc<SeatSlot>,
    first: Arc<ThreadWriter>,
    /// The writers of further threads, and of standard error. Locked for moments only, without a
    /// call into Python.
    more: Mutex<Vec<Arc<ThreadWriter>>>,
    aggressive: AtomicBool,
    /// Its process ends with an error: the reader is to see that it died.
    abandoned: AtomicBool,
    /// Milliseconds that a write may wait for room.
    limit: AtomicU64,
}

/// No limit.
const FOREVER: u64 = u64::MAX;

/// Bytes that are read at a time out of a pipe: what it holds.
const FORWARDED: usize = 1 << 16;

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
        self.seat.open(stream)
    }

    /// Opens the first writer, for the thread that writes first.
    fn open_first(&self, py: Python<'_>) -> PyResult<()> {
        let mirror = self.open(Stream::Stdout)?;
        let mut state = self.first.state.try_lock(py).ok_or_else(reentrant)?;
        state.opened(mirror);
        Ok(())
    }

    /// This thread's writer; `None` if it is the first one.
    #[cold]
    fn find(&self, py: Python<'_>, key: u64, stream: Stream) -> Option<Arc<ThreadWriter>> {
        let mut more = lock(&self.more);
        if let Some(writer) = more.iter().find(|writer| writer.key.load(Relaxed) == key) {
            return Some(Arc::clone(writer));
        }
        if stream != Stream::Stderr && self.first.is_free() {
            self.first.assign(key);
            return None;
        }
        let gone: Vec<Arc<ThreadWriter>> =
            more.extract_if(.., |writer| writer.is_free() || writer.is_abandoned()).collect();
        drop(more);
        // Ending may wait for room, and other threads need the list meanwhile.
        for writer in gone
            .iter()
            .map(|writer| &**writer)
            .chain(self.first.is_abandoned().then_some(&*self.first))
        {
            if let Some(mut state) = writer.state.try_lock(py) {
                let _ = self.writing(|| end_writer(writer, &mut state, End::Eof));
            }
        }
        let writer = Arc::new(ThreadWriter::free());
        writer.assign(key);
        lock(&self.more).push(Arc::clone(&writer));
        Some(writer)
    }

    fn limit(&self) -> Option<Duration> {
        let limit = self.limit.load(Relaxed);
        (limit != FOREVER).then(|| Duration::from_millis(limit))
    }

    #[inline]
    fn writing<R>(&self, write: impl FnOnce() -> R) -> R {
        interruptible::writing(self.limit(), self.seat.ring_key(), write)
    }

    /// Runs `action` on the writer of this thread, or of another key, which is opened first if need
    /// be. If that writer is in use, `postponed` is done after that use.
    #[inline]
    fn with_way(
        &self,
        py: Python<'_>,
        key: u64,
        stream: Stream,
        action: impl FnOnce(&mut WriterState) -> Result<(), WriteError>,
        postponed: impl FnOnce() -> Option<Postponed>,
    ) -> PyResult<()> {
        let key = key_of(stream, key);
        let found;
        let mut writer = &self.first;
        if writer.key.load(Relaxed) != key {
            found = self.find(py, key, stream);
            writer = found.as_ref().unwrap_or(writer);
        }
        // It is locked when a signal's handler runs in the middle of this thread's own write.
        let Some(mut state) = writer.state.try_lock(py) else {
            let item = postponed().ok_or_else(reentrant)?;
            lock(&writer.aside).push(item);
            writer.has_more.store(true, Relaxed);
            return Ok(());
        };
        if state.mirror.is_none() {
            state.opened(self.open(stream)?);
        }
        let done = self.writing(|| action(&mut state));
        let mut done = done.map_err(|error| errors::of_write(py, error));
        if state.is_holding() {
            done = self.have_released(py, writer, &mut state, done);
        }
        if writer.has_more.load(Relaxed) {
            return self.do_more(py, key & !1, writer, &mut state, done);
        }
        done
    }

    /// Has what is held back written: by the interpreter, or now.
    #[cold]
    #[inline(never)]
    fn have_released(
        &self,
        py: Python<'_>,
        writer: &Arc<ThreadWriter>,
        state: &mut WriterState,
        done: PyResult<()>,
    ) -> PyResult<()> {
        if held::schedule(writer, self.limit(), self.seat.ring_key()) {
            return done;
        }
        let released = self.writing(|| state.release());
        done.and(released.map_err(|error| errors::of_write(py, error)))
    }

    /// What was wanted of a writer in the middle of its write. What finds no room stays for the
    /// next write.
    #[cold]
    fn do_more(
        &self,
        py: Python<'_>,
        key: u64,
        writer: &ThreadWriter,
        state: &mut WriterState,
        done: PyResult<()>,
    ) -> PyResult<()> {
        if done.is_ok() {
            self.write_aside(py, key | ASIDE, writer)?;
        }
        if writer.end_wanted.swap(false, Relaxed) {
            let _ = self.writing(|| end_writer(writer, state, End::Eof));
        }
        writer.has_more.store(!lock(&writer.aside).is_empty(), Relaxed);
        done
    }

    /// Writes what was postponed, with a writer of its own, so that it gets into no line that is
    /// begun.
    fn write_aside(&self, py: Python<'_>, key: u64, writer: &ThreadWriter) -> PyResult<()> {
        loop {
            let (item, lost) = {
                let mut aside = lock(&writer.aside);
                (aside.items.pop_front(), aside.lost)
            };
            let is_note = item.is_none();
            let item = match item {
                Some(item) => item,
                None if lost > 0 => {
                    let words = format!("-- {lost} prints of signal handlers lost, no room --\n");
                    Postponed::Text(Stream::Stdout, words.into_bytes())
                }
                None => return Ok(()),
            };
            let written = match &item {
                Postponed::Text(stream, bytes) => {
                    self.with_way(py, key, *stream, |state| state.write(bytes), || None)
                }
                Postponed::Record(bytes, level) => self.with_way(
                    py,
                    key,
                    Stream::Log,
                    |it| send_record(it, bytes, *level),
                    || None,
                ),
                Postponed::Warning(text) => {
                    self.with_way(py, key, Stream::Stdout, |it| send_warning(it, text), || None)
                }
            };
            let mut aside = lock(&writer.aside);
            match written {
                Ok(()) if is_note => aside.lost -= lost,
                Ok(()) => {}
                // It is the ring's, and the print that was interrupted has succeeded.
                Err(error) if error.is_instance_of::<PyOSError>(py) => {
                    if !is_note {
                        aside.items.push_front(item);
                    }
                    return Ok(());
                }
                Err(error) if error.is_instance_of::<errors::Stopped>(py) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    #[inline]
    pub fn write_bytes(
        &self,
        py: Python<'_>,
        key: u64,
        stream: Stream,
        bytes: &[u8],
    ) -> PyResult<()> {
        self.with_way(
            py,
            key,
            stream,
            |state| {
                state.write(bytes)?;
                if self.aggressive.load(Relaxed) { state.send_ahead() } else { Ok(()) }
            },
            || Some(Postponed::Text(stream, bytes.to_vec())),
        )
    }

    #[inline]
    pub fn write_str(
        &self,
        key: u64,
        stream: Stream,
        data: &Bound<'_, PyString>,
    ) -> PyResult<usize> {
        text::with_bytes(data, |bytes| self.write_bytes(data.py(), key, stream, bytes))??;
        data.len()
    }

    pub fn flush_stream(&self, py: Python<'_>, key: u64, stream: Stream) -> PyResult<()> {
        match self.has_begun(py, key, stream) {
            false => Ok(()),
            true => self.with_way(py, key, stream, |state| state.send_ahead(), || None),
        }
    }

    /// What `look` finds in this thread's writer for a stream, if it has one that is not in use.
    fn look<R>(
        &self,
        py: Python<'_>,
        key: u64,
        stream: Stream,
        look: impl FnOnce(&WriterState) -> R,
    ) -> Option<R> {
        let key = key_of(stream, key);
        if self.first.key.load(Relaxed) == key {
            return self.first.state.try_lock(py).map(|state| look(&state));
        }
        let more = lock(&self.more);
        let writer = more.iter().find(|writer| writer.key.load(Relaxed) == key)?;
        writer.state.try_lock(py).map(|state| look(&state))
    }

    /// Whether this thread has begun a line, or holds text back.
    fn has_begun(&self, py: Python<'_>, key: u64, stream: Stream) -> bool {
        let begun = |it: &WriterState| it.is_holding() || !it.partial_line().is_empty();
        self.look(py, key, stream, begun).unwrap_or(false)
    }

    /// Ends every writer, the first one last: its end carries the error, if there is one.
    fn end(&self, py: Python<'_>, how: End<'_>) -> PyResult<()> {
        let writers: Vec<Arc<ThreadWriter>> = lock(&self.more).clone();
        let mut result = Ok(());
        if let End::Error(_) = how {
            // The error's text needs an open writer.
            if self.first.state.try_lock(py).is_some_and(|state| state.mirror.is_none()) {
                self.open_first(py)?;
            }
        } else if !self.seat.is_taken() {
            // `wait` counts the mirror since it was made, so it needs an end.
            self.open_first(py)?;
        }
        for writer in writers.iter().map(|writer| &**writer).chain([&*self.first]) {
            let how = if std::ptr::eq(writer, &*self.first) { how } else { End::Eof };
            let Some(mut state) = writer.state.try_lock(py) else {
                writer.end_wanted.store(true, Relaxed);
                writer.has_more.store(true, Relaxed);
                continue;
            };
            let key = writer.key.load(Relaxed) & !1;
            let mut ended = Ok(());
            if writer.has_more.load(Relaxed) && key & ASIDE == 0 {
                ended = self.do_more(py, key, writer, &mut state, Ok(()));
            }
            let done = self.writing(|| end_writer(writer, &mut state, how));
            result = result.and(ended).and(done.map_err(|error| errors::of_write(py, error)));
        }
        // Those that were opened for what was postponed.
        let aside: Vec<_> = lock(&self.more)
            .iter()
            .filter(|it| it.key.load(Relaxed) & ASIDE != 0)
            .cloned()
            .collect();
        for writer in aside {
            if let Some(mut state) = writer.state.try_lock(py) {
                let done = self.writing(|| end_writer(&writer, &mut state, End::Eof));
                result = result.and(done.map_err(|error| errors::of_write(py, error)));
            }
        }
        result
    }
}

fn end_writer(
    writer: &ThreadWriter,
    state: &mut WriterState,
    how: End<'_>,
) -> Result<(), WriteError> {
    let written = state.finish_line();
    let Some(mut mirror) = state.mirror.take() else { return Ok(()) };
    *state = WriterState::default();
    writer.key.store(FREE, Relaxed);
    let ended = match how {
        End::Eof => mirror.send_eof(),
        End::Error(text) => mirror.send_error_text(text),
    };
    match written {
        // A mirror ends after a stop too, and its caller has learnt of the stop already.
        Err(WriteError::Stopped) => ended,
        written => written.and(ended),
    }
}

fn send_warning(state: &mut WriterState, text: &str) -> Result<(), WriteError> {
    state.finish_line()?;
    state.mirror.as_mut().map_or(Err(WriteError::Ended), |mirror| mirror.send_warning(text))
}

fn send_record(state: &mut WriterState, bytes: &[u8], level: Level) -> Result<(), WriteError> {
    state.finish_line()?;
    let Some(mirror) = &mut state.mirror else { return Err(WriteError::Ended) };
    mirror.set_stream(Stream::Log).set_level(level);
    let sent = mirror.group().and_then(|mut group| group.line(bytes).and(group.end()));
    mirror.set_stream(Stream::Stdout).set_level(Level::None);
    sent
}

/// A key for lines of a block's own, see `_write_as`.
#[pyfunction]
pub fn new_key() -> u64 {
    thread_writer::new_key()
}

fn reentrant() -> PyErr {
    PyRuntimeError::new_err("this thread is in the middle of another write into the mirror")
}

#[pymethods]
impl Mirror {
    #[new]
    #[pyo3(signature = (seat, aggressive = false, timeout = None))]
    fn new(seat: &Bound<'_, PyAny>, aggressive: bool, timeout: Option<f64>) -> PyResult<Self> {
        let seat = match seat.cast::<ReservedSeat>() {
            Ok(reserved) => Arc::clone(&reserved.get().0),
            Err(_) => Arc::new(SeatSlot::parse(&seat.extract::<String>()?)),
        };
        let mirror = Self {
            seat,
            first: Arc::new(ThreadWriter::free()),
            more: Mutex::default(),
            aggressive: AtomicBool::new(aggressive),
            abandoned: AtomicBool::new(false),
            limit: AtomicU64::new(FOREVER),
        };
        mirror.set_timeout(timeout)?;
        Ok(mirror)
    }

    fn _write_stderr(&self, data: &Bound<'_, PyString>) -> PyResult<usize> {
        self.write_str(0, Stream::Stderr, data)
    }

    fn _flush_stderr(&self, py: Python<'_>) -> PyResult<()> {
        self.flush_stream(py, 0, Stream::Stderr)
    }

    /// Writes a text into lines of this key's own, see [`new_key`].
    fn _write_as(&self, key: u64, stderr: bool, data: &Bound<'_, PyString>) -> PyResult<usize> {
        self.write_str(key, stream_of(stderr), data)
    }

    fn _flush_as(&self, py: Python<'_>, key: u64, stderr: bool) -> PyResult<()> {
        self.flush_stream(py, key, stream_of(stderr))
    }

    /// Ends the lines of this key, and leaves its writers to others.
    fn _end_as(&self, py: Python<'_>, key: u64) -> PyResult<()> {
        let more = lock(&self.more).clone();
        for writer in more.iter().map(|writer| &**writer).chain([&*self.first]) {
            if writer.key.load(Relaxed) & !(1 | ASIDE) == key
                && let Some(mut state) = writer.state.try_lock(py)
            {
                let ended = self.writing(|| state.finish_line());
                writer.key.store(FREE, Relaxed);
                ended.map_err(|error| errors::of_write(py, error))?;
            }
        }
        Ok(())
    }

    fn _write_bytes(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        stderr: bool,
        key: u64,
    ) -> PyResult<usize> {
        self.write_bytes(py, key, stream_of(stderr), data.as_bytes())?;
        Ok(data.as_bytes().len())
    }

    /// Send the partial line ahead, so that the buffer's process sees it now.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.flush_stream(py, 0, Stream::Stdout)
    }

    /// End the partial line, if there is one.
    fn new_line(&self, py: Python<'_>) -> PyResult<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.has_begun(py, 0, stream) {
                self.with_way(py, 0, stream, |state| state.finish_line(), || None)?;
            }
        }
        Ok(())
    }

    /// Discard the partial line, if there is one.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.has_begun(py, 0, stream) {
                self.with_way(py, 0, stream, |state| state.discard_partial_line(), || None)?;
            }
        }
        Ok(())
    }

    fn _partial_line<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        if self.look(py, 0, Stream::Stdout, WriterState::is_holding) == Some(true) {
            self.with_way(py, 0, Stream::Stdout, |state| state.release(), || None)?;
        }
        let partial = |it: &WriterState| it.partial_line().to_vec();
        let partial = self.look(py, 0, Stream::Stdout, partial).unwrap_or_default();
        let last = memchr::memrchr(b'\r', &partial).map_or(0, |at| at + 1);
        text::to_str(py, &partial[last..])
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
        self.with_way(
            py,
            0,
            Stream::Stdout,
            |state| send_warning(state, &text),
            || Some(Postponed::Warning(text.clone())),
        )
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
            self.with_way(
                py,
                0,
                Stream::Log,
                |state| send_record(state, bytes, level),
                || Some(Postponed::Record(bytes.to_vec(), level)),
            )
        })?
    }

    #[getter]
    fn worker(&self) -> PyResult<u32> {
        Ok(self.seat.seat()?.writer_id())
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

    /// Opens it now, for the thread that writes first. The first write raises what failed here.
    fn _open(&self, py: Python<'_>) {
        let _ = self.open_first(py);
    }

    /// A seat for another process, which will open it, and whether that process takes another one
    /// in its place; with `shared`, for a pickle that may never be used.
    fn _hand_over(&self, shared: bool) -> PyResult<(ReservedSeat, bool)> {
        let (seat, fresh) = self.seat.hand_over(shared)?;
        Ok((ReservedSeat(Arc::new(self.seat.sibling(seat))), fresh))
    }

    /// The seat's string, of a mirror that is open: for further mirrors of its number.
    fn _seat(&self) -> PyResult<String> {
        Ok(self.seat.text_of(&self.seat.seat()?))
    }

    /// Where the claims on this ring's seats are.
    fn _claims(&self) -> Option<String> {
        self.seat.claims()
    }

    /// Claims the seat for this process, or another one; see [`SeatSlot::claim`].
    fn _claim(&self, claims: Option<String>, fresh: bool) {
        self.seat.claim(claims, fresh);
    }

    /// Whether this process got the seat from another one, and has not used it.
    fn _is_unused(&self) -> bool {
        self.seat.is_unused()
    }

    /// Whether this process has written with it, and has not ended it.
    fn _is_open(&self, py: Python<'_>) -> bool {
        let is_open = |it: &ThreadWriter| it.state.try_lock(py).is_some_and(|it| it.is_open_here());
        is_open(&self.first) || lock(&self.more).iter().any(|it| is_open(it))
    }

    /// Whether this process has it as it came from the buffer, or from the process that forked
    /// this one: neither used nor handed over.
    fn _is_untouched(&self) -> bool {
        !self.seat.is_taken()
    }

    /// Has its collection send no EOF.
    fn _abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }

    /// Opens a further mirror in the seat and writes what comes out of a descriptor into it, until
    /// that ends. When it is open, a byte goes to `ready`, which is closed; -1 for none.
    fn _forward(&self, py: Python<'_>, descriptor: i32, stderr: bool, ready: i32) -> PyResult<()> {
        let mirror = self.open(stream_of(stderr))?;
        Ok(py.detach(|| forward(mirror, descriptor, ready))?)
    }

    /// Whether this thread is in the middle of a write.
    fn _is_writing(&self, py: Python<'_>) -> bool {
        let key = key_of(Stream::Stdout, 0);
        let is_writing =
            |it: &ThreadWriter| it.key.load(Relaxed) == key && it.state.try_lock(py).is_none();
        is_writing(&self.first) || lock(&self.more).iter().any(|it| is_writing(it))
    }
}

impl write_method::Write for Mirror {
    const WRITE_DOC: &'static CStr =
        c"write($self, data)\n--\n\nWrite text; give its length in characters.\n\n\
        Whole lines go to the buffer; the rest is a partial line that waits for its end.";

    #[inline]
    fn write(this: Borrowed<'_, '_, Self>, data: &Bound<'_, PyString>) -> PyResult<usize> {
        this.get().write_str(0, Stream::Stdout, data)
    }
}

/// What is written while the mirror takes nothing any more is lost: its writer sees a closed pipe.
fn forward(mut mirror: LineProcMirror, descriptor: RawFd, ready: RawFd) -> io::Result<()> {
    // SAFETY: the caller's descriptors, which are open and are given away.
    let mut source = unsafe { File::from_raw_fd(descriptor) };
    if ready >= 0 {
        // SAFETY: as above.
        unsafe { File::from_raw_fd(ready) }.write_all(b"\n")?;
    }
    let mut bytes = vec![0; FORWARDED];
    loop {
        match source.read(&mut bytes) {
            Ok(0) => break,
            Ok(came) => mirror.write_all(&bytes[..came])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    mirror.finish_line().and_then(|()| mirror.send_eof())?;
    Ok(())
}

pub fn stream_of(stderr: bool) -> Stream {
    if stderr { Stream::Stderr } else { Stream::Stdout }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if self.abandoned.load(Relaxed) {
            let writers = lock(&self.more).clone();
            Python::attach(|py| {
                for writer in writers.iter().map(|writer| &**writer).chain([&*self.first]) {
                    let state = writer.state.try_lock(py);
                    // Its own drop would end it; the end of the process does it as well.
                    std::mem::forget(state.and_then(|mut state| state.mirror.take()));
                }
            });
            return;
        }
        // The buffer cancels the seat of a mirror that was never opened.
        if self.seat.is_taken() {
            // There is no caller to raise in: an interrupt, say, while it waited for room.
            Python::attach(|py| {
                self.end(py, End::Eof).unwrap_or_else(|error| error.write_unraisable(py, None))
            });
        }
    }
}
