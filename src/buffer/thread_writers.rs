//! Each thread's writer of a ring that all threads of a process share, which its end ends.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

use crate::buffer::listing::Listing;
use crate::buffer::shared_writer::SharedWriters;
use crate::error::{MirrorError, WriteError};
use crate::line::meta::Meta;
use crate::registry::cell::MirrorKind;
use crate::segment::Segment;
use crate::sys::fork;
use crate::write::writer::{Finish, Style, Writer};

/// A ring as threads write into it.
#[derive(Debug)]
pub(crate) struct ThreadWriters {
    /// Names it among the buffers of a process.
    id: u64,
    pub(crate) segment: Arc<Segment>,
    listing: Listing,
    closed: AtomicBool,
    /// Lines that were dropped, by the threads of this process.
    dropped: AtomicU64,
    /// For the threads that find no cell of their own.
    pub(crate) shared: SharedWriters,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's writers, one for each buffer it has written into.
    static WRITERS: RefCell<Vec<ThreadWriter>> = const { RefCell::new(Vec::new()) };
}

/// One thread's writer of one buffer. Its drop, at the thread's end, finishes the thread's line.
#[derive(Debug)]
struct ThreadWriter {
    buffer: u64,
    writers: Weak<ThreadWriters>,
    kind: ThreadKind,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are writers, and a thread has few")]
enum ThreadKind {
    /// With a cell of its own. It keeps the ring's memory, as its lock does, until the thread has
    /// ended or writes into another buffer for the first time.
    Own(Writer),
    /// With the cell that further threads share, when there is none left.
    Shared { token: u64 },
}

impl ThreadWriters {
    /// Whose shared cell is that of `entry`, from the start.
    pub(crate) fn new(
        segment: Arc<Segment>,
        listing: Listing,
        entry: MirrorKind,
    ) -> Result<Arc<Self>, MirrorError> {
        let shared = SharedWriters::with(Writer::new(&segment, entry)?, listing);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (closed, dropped) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Arc::new(Self { id, segment, listing, closed, dropped, shared }))
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes what this thread has to say.
    pub(super) fn write(self: &Arc<Self>, bytes: &[u8]) -> Result<(), WriteError> {
        self.with(|kind| match kind {
            ThreadKind::Own(writer) => writer.write(bytes, Style::default()),
            ThreadKind::Shared { .. } => self.shared.write(&self.segment, bytes, Style::default()),
        })
    }

    /// Writes a record.
    pub(crate) fn record(self: &Arc<Self>, meta: Meta, bytes: &[u8]) -> Result<(), WriteError> {
        let written = self.with(|kind| match kind {
            ThreadKind::Own(writer) => self.counting(writer, |writer| writer.record(meta, bytes)),
            ThreadKind::Shared { .. } => self.shared.record(&self.segment, meta, bytes),
        });
        self.or_at_end(written, meta, bytes)
    }

    /// Writes any bytes: a record, if they are whole lines and no line is unfinished.
    pub(crate) fn write_text(self: &Arc<Self>, meta: Meta, bytes: &[u8]) -> Result<(), WriteError> {
        let written = self.with(|kind| match kind {
            ThreadKind::Own(writer) => {
                self.counting(writer, |writer| writer.write_text(meta, bytes))
            }
            ThreadKind::Shared { .. } => self.shared.write_text(&self.segment, meta, bytes),
        });
        self.or_at_end(written, meta, bytes)
    }

    /// A thread whose writers are gone, since it ends, writes through the shared cell.
    fn or_at_end(
        &self,
        written: Result<(), WriteError>,
        meta: Meta,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        match written {
            Err(WriteError::Ended) if WRITERS.try_with(|_| ()).is_err() => {
                self.shared.write_at_end(&self.segment, meta, bytes)
            }
            other => other,
        }
    }

    fn counting(
        &self,
        writer: &mut Writer,
        write: impl FnOnce(&mut Writer) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let before = writer.dropped();
        let written = write(writer);
        let dropped = writer.dropped().wrapping_sub(before);
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        written
    }

    /// Lines that the threads of this process dropped since it was made, or since the fork.
    pub(crate) fn dropped(&self) -> u64 {
        let shared = self.shared.find().map_or(0, |shared| shared.lock().dropped());
        self.dropped.load(Ordering::Relaxed).wrapping_add(shared)
    }

    /// Ends this thread's line, if it has one.
    pub(super) fn finish_line(self: &Arc<Self>) -> Result<(), WriteError> {
        self.with(|kind| match kind {
            ThreadKind::Own(writer) => writer.end_unfinished(0),
            ThreadKind::Shared { .. } => self.shared.end_line(&self.segment),
        })
    }

    /// Forgets this thread's line, if it has one.
    pub(super) fn discard_partial(self: &Arc<Self>) -> Result<(), WriteError> {
        self.with(|kind| {
            match kind {
                ThreadKind::Own(writer) => writer.discard_partial(),
                ThreadKind::Shared { .. } => self.shared.forget(),
            }
            Ok(())
        })
    }

    /// Runs `action` with this thread's writer, which is made first if need be.
    fn with(
        self: &Arc<Self>,
        action: impl FnOnce(&mut ThreadKind) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if self.is_closed() {
            return Err(WriteError::Closed);
        }
        let run = |writers: &RefCell<Vec<ThreadWriter>>| {
            // Borrowed already: a signal handler, or a `Drop` in the middle of a write.
            let mut writers = writers.try_borrow_mut().map_err(|_| WriteError::Reentrant)?;
            let index = match writers.iter().position(|writer| writer.buffer == self.id) {
                Some(index) if writers[index].kind.is_of_this_process() => index,
                found => {
                    // In a forked child: the parent thread's.
                    found.map(|index| writers.swap_remove(index));
                    writers.retain(|writer| writer.writers.strong_count() > 0);
                    writers.push(ThreadWriter::new(self)?);
                    writers.len() - 1
                }
            };
            action(&mut writers[index].kind)
        };
        // Gone already: a destructor of this thread that runs after ours.
        WRITERS.try_with(run).unwrap_or(Err(WriteError::Ended))
    }
}

/// Runs `action` while this thread can write into no buffer: a signal handler that tries to is
/// refused, and does not wait for a lock that `action` has. `None` if the thread is in the middle
/// of a write, which may have that lock, or if its writers are gone.
pub(crate) fn without_writes<T>(action: impl FnOnce() -> T) -> Option<T> {
    let run = |writers: &RefCell<Vec<ThreadWriter>>| {
        let _borrowed = writers.try_borrow().ok()?;
        Some(action())
    };
    WRITERS.try_with(run).ok().flatten()
}

impl ThreadKind {
    fn is_of_this_process(&self) -> bool {
        match self {
            Self::Own(writer) => writer.registration().is_of_this_process(),
            Self::Shared { token } => fork::is_token(*token),
        }
    }
}

impl ThreadWriter {
    fn new(writers: &Arc<ThreadWriters>) -> Result<Self, WriteError> {
        let thread = thread::current();
        let entry = writers.listing.entry(thread.name().unwrap_or_default());
        let kind = match Writer::new(&writers.segment, entry) {
            Ok(writer) => ThreadKind::Own(writer),
            Err(MirrorError::TooManyMirrors { .. } | MirrorError::TooManySeats { .. }) => {
                ThreadKind::Shared { token: fork::token() }
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { buffer: writers.id, writers: Arc::downgrade(writers), kind })
    }
}

impl Drop for ThreadWriter {
    fn drop(&mut self) {
        if !self.kind.is_of_this_process() {
            return;
        }
        match &mut self.kind {
            ThreadKind::Own(writer) => {
                let ended = writer.end_unfinished(0);
                let _ = ended.and(writer.end(Finish::Eof));
            }
            ThreadKind::Shared { .. } => {
                // Without the others the line has no cell any more.
                if let Some(writers) = self.writers.upgrade() {
                    let _ = writers.shared.end_line(&writers.segment);
                }
            }
        }
    }
}

/// Ends this thread's mirror too. Those of other threads end with them.
impl Drop for ThreadWriters {
    fn drop(&mut self) {
        let _ = WRITERS.try_with(|writers| {
            // Borrowed: this is the drop of the last handle, in the middle of a write.
            if let Ok(mut writers) = writers.try_borrow_mut() {
                writers.retain(|writer| writer.buffer != self.id);
            }
        });
    }
}
