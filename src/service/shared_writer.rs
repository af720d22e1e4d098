//! [`SharedWriter`]: one writer for all threads.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::complaint::Complaint;
use super::text;
use crate::buffer::listing::Listing;
use crate::buffer::thread_writers::ThreadWriters;
use crate::error::{MirrorError, WriteError};
use crate::handles::line_ring::LineRing;
use crate::handles::seat::Seat;
use crate::line::item::Level;
use crate::line::meta::{Meta, with_text};
use crate::registry::cell::MirrorKind;
use crate::segment::Segment;
use crate::sys::stderr;

/// A ring's writer that all threads of a process share, by reference or cloned; from
/// [`LineRing::writer`] or [`non_blocking`](crate::non_blocking).
///
/// Each thread that writes gets a mirror of its own, with the thread's name as its label, and no
/// lock. Threads for which the ring has none share one, behind a lock; so do threads that write
/// while they end. A forked child writes through mirrors of its own, of which the ring must have
/// one left: [`Options::mirrors`](crate::Options::mirrors).
///
/// ```
/// use std::io::Write;
/// use linering::{Level, LineRing, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let log = ring.writer()?;
/// log.record(Level::Info, "a record")?;
/// writeln!(log.at(Level::Warn), "{} of {}", 3, 4)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| log.record(Level::Debug, "from another thread"));
/// });
/// drop(log);
/// assert_eq!(ring.reader()?.filter(|item| item.as_ref().unwrap().line().is_some()).count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **[`io::Write`]**: a write that is whole lines (one, or several: a logger's event) is one
/// record. Of one that is not, the last line is unfinished until its end comes, from the same
/// thread.
///
/// **Errors** are given to the caller, who may well leave them: the first is told on standard
/// error, and [`dropped_lines`](Self::dropped_lines) counts them. None panics, none waits for ever.
///
/// **In the thread of a drain**, whose sink or format logs into the very ring that it drains, a
/// record goes to standard error, as it was before any redirection, and is counted.
#[doc(alias("NonBlocking", "MakeWriter", "logger"))]
#[derive(Clone, Debug)]
pub struct SharedWriter {
    inner: Arc<Inner>,
    meta: Meta,
}

#[derive(Debug)]
struct Inner {
    writers: Arc<ThreadWriters>,
    refused: Complaint,
    diverted: Complaint,
}

impl LineRing {
    /// A writer that all threads of this process share.
    ///
    /// # Errors
    ///
    /// As [`mirror`](Self::mirror): it has one from the start.
    pub fn writer(&self) -> Result<SharedWriter, MirrorError> {
        SharedWriter::open(self.segment(), Listing::Named.entry(""))
    }
}

impl SharedWriter {
    fn open(segment: &Arc<Segment>, entry: MirrorKind) -> Result<Self, MirrorError> {
        let writers = ThreadWriters::new(Arc::clone(segment), Listing::Named, entry)?;
        let (refused, diverted) = (Complaint::default(), Complaint::default());
        Ok(Self { inner: Arc::new(Inner { writers, refused, diverted }), meta: Meta::new() })
    }

    /// The writer of a program to which a seat was [passed](Seat::pass_to); `None` if none was.
    /// The seat's mirror is open for as long as the writer lives.
    ///
    /// ```
    /// # use linering::SharedWriter;
    /// if let Some(log) = SharedWriter::from_env()? {
    ///     log.record(linering::Level::Info, "straight into the parent's log")?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Seat::from_env`] and [`Seat::open`].
    pub fn from_env() -> io::Result<Option<Self>> {
        let Some(seat) = Seat::from_env()? else { return Ok(None) };
        let (segment, entry) = seat.entry();
        Ok(Some(Self::open(segment, entry)?))
    }

    /// The same writer, whose writes and records say this where they say nothing of their own.
    ///
    /// ```
    /// # use linering::{Level, LineRing, Options};
    /// # use std::io::Write;
    /// # let log = LineRing::new(Options::new())?.writer()?;
    /// writeln!(log.at(Level::Error), "out of {}", "luck")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(&self, meta: impl Into<Meta>) -> Self {
        Self { inner: Arc::clone(&self.inner), meta: meta.into() }
    }

    /// Writes one record, whatever bytes are in it; see
    /// [`LineProcMirror::record`](crate::LineProcMirror::record).
    ///
    /// # Errors
    ///
    /// As [`LineProcMirror::write_line`](crate::LineProcMirror::write_line), and
    /// [`WriteError::Reentrant`] in a signal handler that interrupts a write.
    pub fn record(&self, meta: impl Into<Meta>, bytes: impl AsRef<[u8]>) -> Result<(), WriteError> {
        let (meta, bytes) = (meta.into(), bytes.as_ref());
        self.write_as(meta, bytes, |writers| writers.record(meta, bytes))
    }

    /// The same for what a formatter gives, which is put together first: so its parts may log too.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub fn record_fmt(
        &self,
        meta: impl Into<Meta>,
        text: fmt::Arguments<'_>,
    ) -> Result<(), WriteError> {
        let meta = meta.into();
        with_text(text, |bytes| self.record(meta, bytes))
    }

    fn write_text(&self, bytes: &[u8]) -> Result<(), WriteError> {
        let meta = self.meta;
        self.write_as(meta, bytes, |writers| writers.write_text(meta, bytes))
    }

    fn write_as(
        &self,
        meta: Meta,
        bytes: &[u8],
        write: impl FnOnce(&Arc<ThreadWriters>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let inner = &*self.inner;
        if inner.writers.segment.read_by.is_only_here() {
            return self.divert(meta, bytes);
        }
        let written = write(&inner.writers);
        if let Err(error) = &written {
            inner.refused.add(format_args!("a record could not be logged: {error}"));
        }
        written
    }

    /// In the drain's own thread: what it logs into its ring it would drain again, for ever, or
    /// wait for.
    #[cold]
    fn divert(&self, meta: Meta, bytes: &[u8]) -> Result<(), WriteError> {
        self.inner.diverted.add(format_args!(
            "the thread that drains this log logs into it; that goes to standard error"
        ));
        let mut text = b"linering: logged by the drain: ".to_vec();
        if meta.level != Level::None {
            text.extend_from_slice(meta.level.as_str().as_bytes());
            text.push(b' ');
        }
        text::escape(&mut text, bytes.strip_suffix(b"\n").unwrap_or(bytes));
        text.push(b'\n');
        stderr::say(&text);
        Ok(())
    }

    /// Waits until the ring's drain has everything that was written before this call in its sink,
    /// for `limit` at most: whether it has. For any drain that commits what it has put where it
    /// belongs. Lines that are not finished do not count.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let (log, _guard) = linering::non_blocking(std::io::stderr())?;
    /// log.record(linering::Level::Info, "before something dangerous")?;
    /// assert!(log.flush_timeout(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "flush")]
    pub fn flush_timeout(&self, limit: Duration) -> bool {
        let ring = self.ring();
        ring.wait_accepted(ring.position(), limit)
    }

    /// Lines of this process's that did not come into the ring: those that it had no room for, and
    /// those whose write was an error. The drain tells of the former.
    pub fn dropped_lines(&self) -> u64 {
        self.inner.writers.dropped().max(self.inner.refused.count())
    }

    /// Records of the drain's own thread, which went to standard error.
    pub fn diverted_lines(&self) -> u64 {
        self.inner.diverted.count()
    }

    /// Its ring.
    pub fn ring(&self) -> LineRing {
        LineRing::of(Arc::clone(&self.inner.writers.segment))
    }
}

/// How often a thread looks that waits for a drain, at first and at most.
const FIRST_LOOK: Duration = Duration::from_micros(50);
const LAST_LOOK: Duration = Duration::from_millis(2);

impl LineRing {
    /// Waits until the reader has accepted everything before `position`, for `limit` at most:
    /// whether it has. It looks some hundred times a second. At once in the thread of a
    /// [`LogDrain`](crate::LogDrain), which would wait for itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut mirror = ring.mirror()?;
    /// mirror.write_line(b"a line")?;
    /// let here = ring.position();
    /// assert!(!ring.wait_accepted(here, Duration::ZERO));
    /// let mut reader = ring.reader()?;
    /// reader.recv()?;
    /// reader.commit()?;
    /// assert!(ring.wait_accepted(here, Duration::ZERO));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_accepted(&self, position: u64, limit: Duration) -> bool {
        let (mut began, mut pause) = (None, FIRST_LOOK);
        loop {
            if self.is_accepted(position) {
                return true;
            }
            let left = limit.saturating_sub(began.get_or_insert_with(Instant::now).elapsed());
            if left.is_zero() || self.segment().read_by.is_only_here() {
                return false;
            }
            std::thread::sleep(pause.min(left));
            pause = (2 * pause).min(LAST_LOOK);
        }
    }
}

impl io::Write for &SharedWriter {
    /// Writes all of `bytes`, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_text(bytes)?;
        Ok(bytes.len())
    }

    /// `write!` and `writeln!`: what is formatted is put together, and one write.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        Ok(with_text(text, |bytes| self.write_text(bytes))?)
    }

    /// Does nothing: what was written is in the ring. See
    /// [`flush_timeout`](SharedWriter::flush_timeout).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As that of `&SharedWriter`.
impl io::Write for SharedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        (&*self).write_fmt(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
