//! [`LineBuffer`]: keeps the last lines of one process's threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use crate::buffer::listing::Listing;
use crate::buffer::partial_line::{PartialLine, SpareSnapshot, partial_line};
use crate::buffer::proc_buffer::rotating;
use crate::buffer::shared_writer::WriterNode;
use crate::buffer::thread_writers::{ThreadWriters, without_writes};
use crate::error::{CreateError, ReadError, WriteError, cannot};
use crate::layout::{MAX_CELLS, READER_CELL};
use crate::line::format;
use crate::line::item::{Item, Line};
use crate::read::drain::Drain;
use crate::registry::cell::MirrorKind;
use crate::segment::Segment;
use crate::segment::options::{Options, Timestamps};
use crate::sys::fork;

/// Keeps the last `maxlen` lines that the threads of a process write into it.
///
/// Any number of threads may write through a shared reference; lines are put together per thread,
/// so what one thread prints in pieces is never mixed with what another prints. A thread's end
/// finishes its line. (The end of a [`std::thread::scope`] can come a moment before that; joining a
/// thread's handle cannot.)
///
/// ```
/// use std::io::Write;
/// let buffer = linering::LineBuffer::new(10)?;
/// std::thread::scope(|scope| {
///     for worker in 0..4 {
///         let buffer = &buffer;
///         scope.spawn(move || writeln!(&*buffer, "worker {worker}"));
///     }
/// });
/// assert_eq!(buffer.read(None)?.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Cloning gives another handle of the same buffer.
#[derive(Clone, Debug)]
pub struct LineBuffer {
    writers: Arc<ThreadWriters>,
    /// Of the process that made it, which alone reads.
    token: u64,
    maxlen: usize,
    store: Arc<Mutex<Store>>,
}

#[derive(Debug)]
struct Store {
    drain: Drain,
    lines: VecDeque<Line<'static>>,
}

impl LineBuffer {
    /// Keeps the last `maxlen` lines, for as long as they fit in the ring's bytes (1 MiB, and more
    /// for a `maxlen` over 2048) while the buffer is not read.
    ///
    /// # Errors
    ///
    /// A `maxlen` of 0 or over 4,194,304, or the system's refusal to give the memory.
    pub fn new(maxlen: usize) -> Result<Self, CreateError> {
        Self::with_options(maxlen, Options::new().seats(1).timestamps(Timestamps::Off))
    }

    /// The same with options. The policy is always
    /// [`Policy::OverwriteOldest`](crate::Policy::OverwriteOldest), and `lines` at least twice
    /// `maxlen`. `mirrors` is the number of threads with a cell of their own; further ones
    /// share one, behind a lock.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and options out of their bounds.
    pub fn with_options(maxlen: usize, options: Options) -> Result<Self, CreateError> {
        // One cell more, for the threads that get none of their own.
        let options = rotating(maxlen, options)?;
        options.geometry(false)?;
        let mirrors = (options.mirrors + 1).min(MAX_CELLS - 1);
        let segment = Arc::new(Segment::anonymous(&options.mirrors(mirrors))?);
        // A ring that was made just now has cells and no reader: only the system can refuse.
        let drain = Drain::open(&segment).map_err(cannot("become the ring's reader"))?;
        let writers = ThreadWriters::new(segment, Listing::Unlisted, MirrorKind::Unlisted)
            .map_err(cannot("register the first writer"))?;
        let store = Store { drain, lines: VecDeque::with_capacity(maxlen.min(1024)) };
        let store = Arc::new(Mutex::new(store));
        Ok(Self { writers, token: fork::token(), maxlen, store })
    }

    /// How many lines are kept at most.
    pub fn maxlen(&self) -> usize {
        self.maxlen
    }

    // --------------------------------------------------------------------------------------- write

    /// Ends this thread's line, if it has one.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] after `close`.
    pub fn finish_line(&self) -> Result<(), WriteError> {
        self.writers.finish_line()
    }

    /// No further write is accepted, in this process. What was written stays readable.
    pub fn close(&self) {
        self.writers.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.writers.is_closed()
    }

    // ---------------------------------------------------------------------------------------- read

    fn lock(&self) -> Result<MutexGuard<'_, Store>, ReadError> {
        if self.token != fork::token() {
            return Err(ReadError::Forked);
        }
        // A panic cannot leave the store half changed: what was not accepted comes again.
        Ok(self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves everything that has come into the store, which keeps the last `keep` lines.
    fn drain(&self, store: &mut Store, keep: usize) {
        // Only a forked child can die and leave the others here; that it did is seen another time,
        // if not now.
        let _ = store.drain.reap_dead();
        // No further than what is there now: writers that never pause must not keep this from
        // returning.
        let until = self.writers.segment.ring().tail();
        while store.drain.fill_to(until) {
            let line = match store.drain.next_item() {
                Some(Item::Line(line)) => Some(line.into_owned()),
                _ => None,
            };
            store.drain.accept(1);
            if let Some(line) = line {
                if store.lines.len() >= keep {
                    store.lines.pop_front();
                }
                store.lines.push_back(line);
            }
            if !store.drain.comes_before(until) {
                break;
            }
        }
    }

    /// The store with everything that has come, and every thread's unfinished line, in the order in
    /// which they were begun.
    ///
    /// Snapshots of the spares are taken before the drain: what a thread publishes meanwhile comes
    /// with the drain, or is in the snapshot. The lines of threads that share a cell have no
    /// numbers to tell that by, so their lock is held.
    fn drained(&self, keep: usize) -> Result<(MutexGuard<'_, Store>, Vec<PartialLine>), ReadError> {
        let mut store = self.lock()?;
        let segment = &self.writers.segment;
        let cells = READER_CELL + 1..segment.cells().len();
        let tail = segment.ring().tail();
        let spares: Vec<_> = cells.clone().map(|cell| SpareSnapshot::of(segment, cell)).collect();
        let mut begun = Vec::new();
        let shared = self.writers.shared.find();
        let drained = without_writes(|| {
            let shared = shared.map(WriterNode::lock);
            self.drain(&mut store, keep);
            begun.extend(shared.iter().flat_map(|shared| shared.begun()));
        });
        if drained.is_none() {
            self.drain(&mut store, keep);
        }
        let spares = cells.zip(spares);
        begun.extend(
            spares.filter_map(|(cell, spare)| partial_line(&store.drain, cell, spare, tail)),
        );
        begun.sort_by_key(|begun| begun.order);
        Ok((store, begun))
    }

    /// The last `count` lines (`maxlen`, for `None`), oldest first: the finished ones, then those
    /// that threads have begun, in the order in which they were begun. They stay.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child: only the process that made the buffer reads it.
    pub fn read(&self, count: Option<usize>) -> Result<Vec<Line<'static>>, ReadError> {
        let (store, begun) = self.drained(self.maxlen)?;
        let count = count.unwrap_or(self.maxlen).min(self.maxlen);
        let skip = (store.lines.len() + begun.len()).saturating_sub(count);
        let begun = begun.into_iter().map(|begun| begun.line);
        Ok(store.lines.iter().cloned().chain(begun).skip(skip).collect())
    }

    /// Takes the finished lines out, oldest first: all that have come since they were last looked
    /// at, as long as they fitted in the ring. Beside them those that threads have begun, which
    /// stay. For callers that keep lines in a place of their own.
    ///
    /// ```
    /// use std::io::Write;
    /// let buffer = linering::LineBuffer::new(1)?;
    /// write!(&buffer, "one\ntwo\nthr")?;
    /// let (finished, begun) = buffer.take()?;
    /// assert_eq!((finished.len(), &*begun[0].bytes), (2, &b"thr"[..]));
    /// assert_eq!(buffer.len()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn take(&self) -> Result<(Vec<Line<'static>>, Vec<Line<'static>>), ReadError> {
        let (mut store, begun) = self.drained(usize::MAX)?;
        let finished = core::mem::take(&mut store.lines).into();
        Ok((finished, begun.into_iter().map(|begun| begun.line).collect()))
    }

    /// How many lines [`read`](Self::read) would give.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[expect(clippy::len_without_is_empty, reason = "it drains, and so can fail")]
    pub fn len(&self) -> Result<usize, ReadError> {
        let (store, begun) = self.drained(self.maxlen)?;
        Ok((store.lines.len() + begun.len()).min(self.maxlen))
    }

    /// Forgets every finished line, and this thread's unfinished one. Those of other threads stay
    /// theirs.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn clear(&self) -> Result<(), ReadError> {
        self.drained(self.maxlen)?.0.lines.clear();
        // Closed, or a thread without cell: then it has no unfinished line to forget.
        let _ = self.writers.discard_partial();
        Ok(())
    }
}

/// Splits on `\n`, folds `\r\n`, and lets a lone `\r` rewrite the unfinished line.
impl io::Write for &LineBuffer {
    /// Writes all of `bytes`, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writers.write(bytes)?;
        Ok(bytes.len())
    }

    /// `write!` and `writeln!`: formats on the stack, 512 bytes at a time, and writes the result.
    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        format::write_fmt(arguments, |bytes| Ok(self.writers.write(bytes)?))
    }

    /// Does nothing: what was written can be read already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As that of `&LineBuffer`.
impl io::Write for LineBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        (&*self).write_fmt(arguments)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
