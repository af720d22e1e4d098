//! Each thread's writer of a [`LineBuffer`](super::line_buffer::LineBuffer), which its end ends.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::buffer::shared_writer::SharedWriters;
use crate::error::{MirrorError, WriteError};
use crate::registry::cell::MirrorKind;
use crate::segment::Segment;
use crate::sys::fork;
use crate::write::writer::{Finish, Style, Writer};

/// A buffer as its threads write into it.
#[derive(Debug)]
pub(super) struct ThreadWriters {
    /// Names it among the buffers of a process.
    id: u64,
    pub(super) segment: Arc<Segment>,
    closed: AtomicBool,
    /// For the threads that find no cell of their own.
    pub(super) shared: SharedWriters,
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
    /// For a segment that was made just now.
    pub(super) fn new(segment: Arc<Segment>) -> Result<Arc<Self>, MirrorError> {
        let shared = SharedWriters::with(Writer::new(&segment, MirrorKind::Unlisted)?);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self { id, segment, closed: AtomicBool::new(false), shared }))
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
            ThreadKind::Shared { .. } => self.shared.write(&self.segment, bytes),
        })
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
pub(super) fn without_writes<T>(action: impl FnOnce() -> T) -> Option<T> {
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
        let kind = match Writer::new(&writers.segment, MirrorKind::Unlisted) {
            Ok(writer) => ThreadKind::Own(writer),
            Err(MirrorError::TooManyMirrors { .. }) => ThreadKind::Shared { token: fork::token() },
            Err(error) => return Err(error.into()),
        };
        Ok(Self { buffer: writers.id, writers: Arc::downgrade(writers), kind })
    }
}

impl Drop for ThreadWriter {
    fn drop(&mut self) {
        // Without the buffer the line is never read.
        let Some(writers) = self.writers.upgrade() else { return };
        if !self.kind.is_of_this_process() {
            return;
        }
        let _ = match &mut self.kind {
            ThreadKind::Own(writer) => {
                let ended = writer.end_unfinished(0);
                ended.and(writer.end(Finish::Eof))
            }
            ThreadKind::Shared { .. } => writers.shared.end_line(&writers.segment),
        };
    }
}
