//! [`LineBuffer`]: keeps the last lines of one process's threads.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};

use crate::cell::Entry;
use crate::drain::Drain;
use crate::error::{CreateError, MirrorError, ReadError, WriteError};
use crate::fork;
use crate::layout::{Cell, Hold, MAX_CELLS, Owner, READER_CELL, SlotHeader, flag};
use crate::message::{Item, Kind, Level, Line, Stream, time_of};
use crate::options::{Options, Timestamps};
use crate::proc_buffer::{first_reader, rotating};
use crate::ring::peek_payload;
use crate::segment::Segment;
use crate::source::lines_between;
use crate::split::LineSplitter;
use crate::writer::{Finish, Style, Writer};

/// Keeps the last `maxlen` lines that the threads of a process write into it.
///
/// Any number of threads may write through a shared reference; lines are put together per thread, so what one
/// thread prints in pieces is never mixed with what another prints. A thread's end finishes its line. (The end of a
/// [`std::thread::scope`] can come a moment before that; joining a thread's handle cannot.)
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
#[derive(Debug)]
pub struct LineBuffer {
    shared: Arc<Shared>,
    maxlen: usize,
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Shared {
    /// Names it among the buffers of a process.
    id: u64,
    segment: Segment,
    token: u64,
    closed: AtomicBool,
    crowd: CrowdList,
}

#[derive(Debug)]
struct Store {
    drain: Drain,
    lines: VecDeque<Line<'static>>,
}

/// A thread's line that has begun and not ended.
struct Begun {
    order: u64,
    line: Line<'static>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's writers, one for each buffer it has written into.
    static WRITERS: RefCell<Vec<ThreadWriter>> = const { RefCell::new(Vec::new()) };
}

/// One thread's way into one buffer. Its drop, at the thread's end, finishes the thread's line.
#[derive(Debug)]
struct ThreadWriter {
    buffer: u64,
    shared: Weak<Shared>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// A cell of its own.
    Own(Writer),
    /// The cell that further threads share, when there is none left.
    Shared { token: u64 },
}

impl LineBuffer {
    /// Keeps the last `maxlen` lines, for as long as they fit in the ring's bytes (1 MiB, and more for a
    /// `maxlen` over 2048) while nobody reads.
    ///
    /// # Errors
    ///
    /// A `maxlen` of 0 or over 4,194,304, or the system's refusal to give the memory.
    pub fn new(maxlen: usize) -> Result<Self, CreateError> {
        Self::with_options(maxlen, Options::new().seats(1).timestamps(Timestamps::Off))
    }

    /// The same with options. The policy is always [`Policy::OverwriteOldest`](crate::Policy::OverwriteOldest),
    /// and `lines` at least twice `maxlen`. `mirrors` is the number of threads with a cell of their own;
    /// further ones share one, behind a lock.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and options out of their bounds.
    pub fn with_options(maxlen: usize, options: Options) -> Result<Self, CreateError> {
        // One cell more, for the threads that get none of their own.
        let options = rotating(maxlen, options)?;
        options.geometry()?;
        let mirrors = (options.mirrors + 1).min(MAX_CELLS - 1);
        let segment = Segment::anonymous(&options.mirrors(mirrors))?;
        let drain = Drain::open(&segment).map_err(first_reader)?;
        let crowd = CrowdList::with(Writer::new(&segment, Entry::Unlisted).map_err(first_mirror)?);
        let shared = Shared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            segment,
            token: fork::token(),
            closed: AtomicBool::new(false),
            crowd,
        };
        let store = Mutex::new(Store { drain, lines: VecDeque::with_capacity(maxlen.min(1024)) });
        Ok(Self { shared: Arc::new(shared), maxlen, store })
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
    pub fn new_line(&self) -> Result<(), WriteError> {
        self.with_way(|shared, way| match way {
            Way::Own(writer) => writer.end_unfinished(&shared.segment, 0),
            Way::Shared { .. } => shared.crowd.end_line(shared),
        })
    }

    /// No further write is accepted, in this process. What was written stays readable.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    fn write_bytes(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.with_way(|shared, way| match way {
            Way::Own(writer) => writer.write(&shared.segment, bytes, Style::default()),
            Way::Shared { .. } => shared.crowd.write(shared, bytes),
        })
    }

    /// Runs `action` on this thread's way into the buffer, which is made first if need be.
    fn with_way(
        &self,
        action: impl FnOnce(&Shared, &mut Way) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        if self.is_closed() {
            return Err(WriteError::Closed);
        }
        let run = |writers: &RefCell<Vec<ThreadWriter>>| {
            // Borrowed already: a signal handler, or a `Drop` in the middle of a write.
            let mut writers = writers.try_borrow_mut().map_err(|_| WriteError::Reentrant)?;
            let index = match writers.iter().position(|writer| writer.buffer == self.shared.id) {
                Some(index) if writers[index].way.is_of_this_process() => index,
                found => {
                    // In a forked child: the parent thread's.
                    found.map(|index| writers.swap_remove(index));
                    writers.retain(|writer| writer.shared.strong_count() > 0);
                    writers.push(ThreadWriter::new(&self.shared)?);
                    writers.len() - 1
                }
            };
            action(&self.shared, &mut writers[index].way)
        };
        // Gone already: a destructor of this thread that runs after ours.
        WRITERS.try_with(run).unwrap_or(Err(WriteError::Ended))
    }

    // ---------------------------------------------------------------------------------------- read

    fn lock(&self) -> Result<MutexGuard<'_, Store>, ReadError> {
        if self.shared.token != fork::token() {
            return Err(ReadError::Forked);
        }
        // A panic cannot leave the store half changed: what was not accepted comes again.
        Ok(self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves everything that has come into the store.
    fn drain(&self, store: &mut Store) {
        let segment = &self.shared.segment;
        // Only a forked child can die and leave the others here; that it did is seen another time, if not now.
        let _ = store.drain.look_for_deaths(segment);
        // No further than what is there now: writers that never pause must not keep this from returning.
        let until = segment.ring().tail();
        while store.drain.fill_to(segment, until) {
            let line = match store.drain.item(segment, 0) {
                Item::Line(line) => Some(line.into_owned()),
                _ => None,
            };
            store.drain.accept(segment, 1);
            if let Some(line) = line {
                if store.lines.len() == self.maxlen {
                    store.lines.pop_front();
                }
                store.lines.push_back(line);
            }
            if !store.drain.comes_before(until) {
                break;
            }
        }
    }

    /// The store with everything that has come, and every thread's unfinished line, in the order in which they were
    /// begun.
    ///
    /// The spares are looked at before the drain: what a thread publishes meanwhile comes with the drain, or is still in
    /// the look. The crowd's lines have no numbers to tell that by, so its lock is held.
    fn drained(&self) -> Result<(MutexGuard<'_, Store>, Vec<Begun>), ReadError> {
        let mut store = self.lock()?;
        let segment = &self.shared.segment;
        let cells = READER_CELL + 1..segment.cells().len();
        let spares: Vec<_> = cells.clone().map(|cell| SpareView::of(segment, cell)).collect();
        let mut begun = Vec::new();
        let crowd = self.shared.crowd.find();
        // While this thread's writers are borrowed, a signal handler that writes is refused and does not wait for the
        // crowd's lock; if they are borrowed already, a write that has the lock is what was interrupted.
        let with_crowd = WRITERS.try_with(|writers| {
            let Ok(_borrowed) = writers.try_borrow() else { return false };
            let crowd = crowd.map(CrowdNode::lock);
            self.drain(&mut store);
            begun.extend(crowd.iter().flat_map(|crowd| crowd.begun()));
            true
        });
        if with_crowd != Ok(true) {
            self.drain(&mut store);
        }
        let views = cells.zip(spares);
        begun.extend(views.filter_map(|(cell, view)| unfinished(segment, &store.drain, cell, view)));
        begun.sort_by_key(|begun| begun.order);
        Ok((store, begun))
    }

    /// The last `count` lines (`maxlen`, for `None`), oldest first: the finished ones, then those that threads
    /// have begun, in the order in which they were begun. They stay.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child: only the process that made the buffer reads it.
    pub fn read(&self, count: Option<usize>) -> Result<Vec<Line<'static>>, ReadError> {
        let (store, begun) = self.drained()?;
        let count = count.unwrap_or(self.maxlen).min(self.maxlen);
        let skip = (store.lines.len() + begun.len()).saturating_sub(count);
        let begun = begun.into_iter().map(|begun| begun.line);
        Ok(store.lines.iter().cloned().chain(begun).skip(skip).collect())
    }

    /// How many lines [`read`](Self::read) would give.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[expect(clippy::len_without_is_empty, reason = "it drains, and so can fail")]
    pub fn len(&self) -> Result<usize, ReadError> {
        let (store, begun) = self.drained()?;
        Ok((store.lines.len() + begun.len()).min(self.maxlen))
    }

    /// Forgets every finished line, and this thread's unfinished one. Those of other threads stay theirs.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn clear(&self) -> Result<(), ReadError> {
        self.drained()?.0.lines.clear();
        // Closed, or a thread without cell: then it has no unfinished line to forget.
        let _ = self.with_way(|shared, way| {
            match way {
                Way::Own(writer) => writer.forget_unfinished(&shared.segment),
                Way::Shared { .. } => shared.crowd.forget(),
            }
            Ok(())
        });
        Ok(())
    }
}

/// What a cell's spare held of an unfinished line.
struct SpareView {
    /// The hold word.
    hold: u64,
    header: SlotHeader,
    bytes: Vec<u8>,
}

impl SpareView {
    /// Nothing, if nothing is unfinished there, or the thread is in the middle of publishing all the while.
    fn of(segment: &Segment, index: usize) -> Option<Self> {
        let cell = &segment.cells()[index];
        let ring = segment.ring();
        if cell.owner() == Some(Owner::Free) {
            return None;
        }
        let mut bytes = vec![0; ring.shape.payload()];
        for look in 0..MOST_LOOKS {
            if look > 10 {
                thread::yield_now();
            }
            // In this order: a line that was rewritten meanwhile has another hold word and may have the same pending one.
            let hold = cell.writer.0.hold.load(Ordering::Acquire);
            let pending = cell.pending();
            let Hold::Held(slot) = Hold::unpack(hold).0 else { continue };
            let header = peek_payload(ring, slot, &mut bytes)?;
            // ORD unfinished:B, acquire fence; pairs with publish:F, renew:A and pending:A; if a word above came from the
            // spare's next use, one of the two words below has changed.
            fence(Ordering::Acquire);
            if cell.pending() != pending || cell.writer.0.hold.load(Ordering::Relaxed) != hold {
                continue;
            }
            if pending.bytes == 0 {
                return None;
            }
            // The line was published a moment ago: this is an older line, of anybody.
            if usize::from(header.cell) != index || header.line != pending.line {
                continue;
            }
            bytes.truncate(usize::from(pending.bytes));
            return Some(Self { hold, header, bytes });
        }
        None
    }
}

/// How often a spare is looked at whose thread is in the middle of publishing it.
const MOST_LOOKS: u32 = 1000;

/// The unfinished line of a cell, by a look at its spare and a drain after that.
fn unfinished(segment: &Segment, drain: &Drain, index: usize, view: Option<SpareView>) -> Option<Begun> {
    let Cell { reader, writer, .. } = &segment.cells()[index];
    let (reader, writer) = (&reader.0, &writer.0);
    let parts = drain.unfinished(index);
    let (parts, cut) = (parts.map(|(newest, bytes, _)| (newest, bytes)), parts.is_some_and(|(.., cut)| cut));
    // Older than what the drain brought: it brought these bytes too.
    let view = view.filter(|view| match parts {
        Some((newest, _)) => view.header.line == newest.line && view.header.part > newest.part,
        None => lines_between(reader.delivered.load(Ordering::Relaxed), view.header.line + 1) > 0,
    });
    // Parts before it were overwritten, or just forgotten, and it with them.
    let expected = parts.map_or(0, |(newest, _)| newest.part + 1);
    let truncated = view.as_ref().is_some_and(|view| view.header.part > expected);
    let view = view.filter(|view| !truncated || view.hold == writer.hold.load(Ordering::Relaxed));
    let header = view.as_ref().map(|view| view.header).or(parts.map(|(newest, _)| *newest))?;
    let order = view.as_ref().map_or(u64::MAX, |view| view.header.position);
    let (parts, rest) =
        (parts.map_or(&[][..], |(_, bytes)| bytes), view.map_or(Vec::new(), |view| view.bytes));
    let line = Line {
        level: Level::from_bits(header.level),
        stream: Stream::from_bits(header.flags >> flag::STREAM_SHIFT),
        time: time_of(header.time, segment.geometry().created),
        tag: header.tag,
        truncated: truncated || cut,
        ..unfinished_line(reader.serial.load(Ordering::Relaxed) as u32, [parts, &rest].concat())
    };
    Some(Begun { order, line })
}

fn unfinished_line(worker: u32, bytes: Vec<u8>) -> Line<'static> {
    Line {
        position: u64::MAX,
        worker,
        label: Cow::Borrowed(""),
        stream: Stream::default(),
        level: Level::default(),
        tag: 0,
        time: None,
        kind: Kind::Line,
        truncated: false,
        unfinished: true,
        unacknowledged: false,
        missing: 0,
        bytes: Cow::Owned(bytes),
    }
}

/// Splits on `\n`, folds `\r\n`, and lets a lone `\r` rewrite the unfinished line.
impl io::Write for &LineBuffer {
    /// Writes all of `bytes`, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_bytes(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: what was written can be read already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Write for LineBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A ring that was made just now has cells: only the system can refuse.
fn first_mirror(error: MirrorError) -> CreateError {
    CreateError::System { doing: "register the first writer", error: io::Error::other(error) }
}

// ----------------------------------------------------------------------------------------- threads

impl Way {
    fn is_of_this_process(&self) -> bool {
        match self {
            Way::Own(writer) => writer.registration.is_of_this_process(),
            Way::Shared { token } => *token == fork::token(),
        }
    }
}

impl ThreadWriter {
    fn new(shared: &Arc<Shared>) -> Result<Self, WriteError> {
        let way = match Writer::new(&shared.segment, Entry::Unlisted) {
            Ok(writer) => Way::Own(writer),
            Err(MirrorError::TooManyMirrors { .. }) => Way::Shared { token: fork::token() },
            Err(error) => return Err(error.into()),
        };
        Ok(Self { buffer: shared.id, shared: Arc::downgrade(shared), way })
    }
}

impl Drop for ThreadWriter {
    fn drop(&mut self) {
        // Without the buffer nobody will read the line.
        let Some(shared) = self.shared.upgrade() else { return };
        if !self.way.is_of_this_process() {
            return;
        }
        let _ = match &mut self.way {
            Way::Own(writer) => {
                let ended = writer.end_unfinished(&shared.segment, 0);
                ended.and(writer.end(&shared.segment, Finish::Eof))
            }
            Way::Shared { .. } => shared.crowd.end_line(&shared),
        };
    }
}

// ------------------------------------------------------------------------------------------- crowd

/// Threads beyond the number of cells: they share one, behind a lock.
///
/// One lock for each process that has written: a fork copies a lock in whatever state it is, and the thread that
/// would unlock it is not there. So a child finds no lock of its own token and adds one.
#[derive(Debug)]
struct CrowdList(AtomicPtr<CrowdNode>);

#[derive(Debug)]
struct CrowdNode {
    token: u64,
    crowd: Mutex<Crowd>,
    next: *mut CrowdNode,
}

// SAFETY: nodes are immutable but for their locks, and live until the list is dropped.
unsafe impl Send for CrowdList {}
// SAFETY: as above.
unsafe impl Sync for CrowdList {}

/// The cell and the unfinished lines of a process's further threads.
#[derive(Debug, Default)]
struct Crowd {
    writer: Option<Writer>,
    begun: HashMap<ThreadId, Piecemeal>,
}

/// A line that is put together outside the ring, since the shared cell's spare is not one thread's.
#[derive(Debug)]
struct Piecemeal {
    /// Its place among the unfinished lines, if it has begun.
    order: Option<u64>,
    splitter: LineSplitter,
    bytes: Vec<u8>,
    /// Bytes over the longest line, which are not kept.
    cut: u64,
}

impl CrowdList {
    /// With this process's crowd, which has its cell from the start.
    fn with(writer: Writer) -> Self {
        let crowd = Mutex::new(Crowd { writer: Some(writer), begun: HashMap::new() });
        let node = CrowdNode { token: fork::token(), crowd, next: core::ptr::null_mut() };
        Self(AtomicPtr::new(Box::into_raw(Box::new(node))))
    }

    fn find(&self) -> Option<&CrowdNode> {
        self.find_from(self.0.load(Ordering::Acquire))
    }

    fn find_from(&self, mut at: *mut CrowdNode) -> Option<&CrowdNode> {
        let token = fork::token();
        // SAFETY: nodes are never freed while the list lives.
        while let Some(node) = unsafe { at.as_ref() } {
            if node.token == token {
                return Some(node);
            }
            at = node.next;
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Crowd> {
        loop {
            let next = self.0.load(Ordering::Acquire);
            if let Some(node) = self.find_from(next) {
                return node.lock();
            }
            let node = CrowdNode { token: fork::token(), crowd: Mutex::default(), next };
            let node = Box::into_raw(Box::new(node));
            // Fails if another thread has added one meanwhile.
            if self.0.compare_exchange(next, node, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(node) });
            }
        }
    }

    fn write(&self, shared: &Shared, bytes: &[u8]) -> Result<(), WriteError> {
        use crate::split::Piece;
        let crowd = &mut *self.lock();
        let line = crowd
            .begun
            .entry(thread::current().id())
            .or_insert_with(|| Piecemeal::new(shared.segment.splitter()));
        let max_line = shared.segment.geometry().max_line as usize;
        let mut splitter = core::mem::take(&mut line.splitter);
        let mut result = Ok(());
        for piece in splitter.split(bytes) {
            match piece {
                Piece::Bytes(bytes) => {
                    let orders = &shared.segment.header().counts.0.unfinished;
                    line.order.get_or_insert_with(|| orders.fetch_add(1, Ordering::Relaxed));
                    let (kept, over) = bytes.split_at(bytes.len().min(max_line - line.bytes.len()));
                    line.bytes.extend_from_slice(kept);
                    line.cut += over.len() as u64;
                }
                Piece::Rewrite => line.empty(),
                Piece::End => {
                    let written = publish(&mut crowd.writer, shared, line);
                    result = result.and(written);
                    line.empty();
                    line.order = None;
                }
            }
        }
        line.splitter = splitter;
        result
    }

    fn end_line(&self, shared: &Shared) -> Result<(), WriteError> {
        let crowd = &mut *self.lock();
        match crowd.begun.remove(&thread::current().id()) {
            Some(line) if !line.bytes.is_empty() => publish(&mut crowd.writer, shared, &line),
            _ => Ok(()),
        }
    }

    fn forget(&self) {
        self.lock().begun.remove(&thread::current().id());
    }
}

impl CrowdNode {
    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    fn begun(&self) -> impl Iterator<Item = Begun> {
        let lines = self.begun.values().filter(|line| !line.bytes.is_empty());
        lines.map(|l| Begun {
            order: l.order.unwrap_or(u64::MAX),
            line: unfinished_line(u32::MAX, l.bytes.clone()),
        })
    }
}

impl Piecemeal {
    fn new(splitter: LineSplitter) -> Self {
        Self { order: None, splitter, bytes: Vec::new(), cut: 0 }
    }

    fn empty(&mut self) {
        self.bytes.clear();
        self.cut = 0;
    }
}

/// Writes a whole line through the shared cell.
fn publish(writer: &mut Option<Writer>, shared: &Shared, line: &Piecemeal) -> Result<(), WriteError> {
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(Writer::new(&shared.segment, Entry::Unlisted)?),
    };
    if line.cut == 0 {
        return writer.line(&shared.segment, &line.bytes, Style::default());
    }
    let added = writer.append(&shared.segment, &line.bytes, Style::default());
    writer.cut(line.cut);
    added.and(writer.finish(&shared.segment, Style::default(), 0))
}

impl Drop for CrowdList {
    fn drop(&mut self) {
        let mut at = *self.0.get_mut();
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw`, and nobody else has the list any more.
            let node = unsafe { Box::from_raw(at) };
            at = node.next;
        }
    }
}
