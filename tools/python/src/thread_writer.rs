//! One thread's writer in a mirror, for one stream. It has a mirror of the library's of its own, so
//! that the pieces that this thread writes are not mixed with other threads'.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use linering::{Level, LineProcMirror, Stream, WriteError};

use crate::fork;
use crate::gil_cell::GilCell;

/// Tags of a line's pieces: what a piece is to the one before, which was sent ahead. All other tags
/// are free for programs in Rust that write into the same ring.
pub const CONTINUES: u16 = 0xfffd;
pub const REPLACES: u16 = 0xfffe;
/// On an empty line: the partial line is discarded.
pub const DISCARDS: u16 = 0xffff;

pub fn is_piece(tag: u16) -> bool {
    tag >= CONTINUES
}

thread_local! {
    /// This thread's number, times two; 0 until it has one.
    static KEY: Cell<u64> = const { Cell::new(0) };
    static ALIVE: Arc<()> = Arc::new(());
}

/// In the key of a writer for what a signal's handler prints in the middle of a write of its own
/// thread.
pub const ASIDE: u64 = 2;

/// This thread's key.
#[inline]
pub fn key_of_thread() -> u64 {
    match KEY.get() {
        0 => {
            KEY.set(new_key());
            KEY.get()
        }
        key => key,
    }
}

/// The key of this thread's writer for a stream; of another one, if `key` is not 0.
#[inline]
pub fn key_of(stream: Stream, key: u64) -> u64 {
    let key = if key == 0 { key_of_thread() } else { key };
    key | u64::from(stream == Stream::Stderr)
}

/// A key that no thread and no block has.
#[cold]
pub fn new_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed) << 2
}

/// What could not be written because its thread was in the middle of a write: written after that.
#[derive(Debug)]
pub enum Postponed {
    Text(Stream, Vec<u8>),
    Record(Vec<u8>, Level),
    Warning(String),
}

/// Bytes that are postponed at most; lines above that are counted.
const MAX_POSTPONED: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Aside {
    pub items: VecDeque<Postponed>,
    bytes: usize,
    pub lost: u64,
}

impl Aside {
    pub fn push(&mut self, item: Postponed) {
        let bytes = match &item {
            Postponed::Text(_, bytes) | Postponed::Record(bytes, _) => bytes.len(),
            Postponed::Warning(text) => text.len(),
        };
        // What surrounds them in memory counts too.
        let bytes = bytes + size_of::<Postponed>();
        if self.items.is_empty() {
            self.bytes = 0;
        }
        if self.bytes + bytes > MAX_POSTPONED {
            self.lost += 1;
            return;
        }
        self.bytes += bytes;
        self.items.push_back(item);
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.lost == 0
    }
}

/// The key of a writer that no thread has; the next thread that needs one takes it.
pub const FREE: u64 = 0;

#[derive(Debug)]
pub struct ThreadWriter {
    pub key: AtomicU64,
    /// Dangling once its thread has ended.
    owner: Mutex<Weak<()>>,
    /// Other threads lock it only to end the writer.
    pub state: GilCell<WriterState>,
    /// Another thread wanted to end it while its thread was in the middle of a write.
    pub end_wanted: AtomicBool,
    /// There is something in `aside`, or the end is wanted.
    pub has_more: AtomicBool,
    /// The interpreter will have what is held back written, see [`crate::held`].
    pub is_scheduled: AtomicBool,
    pub aside: Mutex<Aside>,
}

impl ThreadWriter {
    pub fn free() -> Self {
        Self {
            key: AtomicU64::new(FREE),
            owner: Mutex::new(Weak::new()),
            state: GilCell::default(),
            end_wanted: AtomicBool::new(false),
            has_more: AtomicBool::new(false),
            is_scheduled: AtomicBool::new(false),
            aside: Mutex::default(),
        }
    }

    /// Gives it to this thread.
    pub fn assign(&self, key: u64) {
        // While the thread ends, its own `ALIVE` may be gone: then the writer counts as abandoned.
        let alive = ALIVE.try_with(Arc::downgrade).unwrap_or_default();
        *self.owner.lock().unwrap_or_else(|it| it.into_inner()) = alive;
        self.key.store(key, Relaxed);
    }

    /// Whether its line and its mirror have ended.
    pub fn is_free(&self) -> bool {
        self.key.load(Relaxed) == FREE
    }

    pub fn is_abandoned(&self) -> bool {
        let owner = self.owner.lock().unwrap_or_else(|it| it.into_inner());
        !self.is_free() && owner.strong_count() == 0
    }
}

/// What a thread's writer keeps between writes.
#[derive(Debug, Default)]
pub struct WriterState {
    pub mirror: Option<LineProcMirror>,
    /// The process that the rest is about.
    generation: u32,
    /// The text after the last line end.
    partial: Vec<u8>,
    /// How many bytes of it were sent ahead.
    sent: usize,
    /// The next line's first piece was sent ahead: what follows carries a tag.
    tagged: bool,
    /// Whole lines and the beginning of one, which wait for the rest of their print.
    held: Vec<u8>,
}

/// Bytes that are held back at most.
const MAX_HELD: usize = 1 << 16;

impl WriterState {
    pub fn opened(&mut self, mirror: LineProcMirror) {
        *self = Self { generation: fork::generation(), mirror: Some(mirror), ..Self::default() };
    }

    fn tag(&mut self, piece: u16) {
        if let Some(mirror) = &mut self.mirror {
            mirror.set_tag(piece);
        }
    }

    /// Writes a piece of text, of which whole lines stay together. The mirror is open.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.generation != fork::generation() {
            // The partial line is the parent's.
            self.generation = fork::generation();
            (self.partial, self.sent, self.tagged) = (Vec::new(), 0, false);
            self.held = Vec::new();
            self.tag(0);
        }
        if !self.held.is_empty() {
            return self.write_behind(bytes);
        }
        let mut rest = bytes;
        if self.sent > 0 || self.tagged {
            rest = self.continue_line(bytes)?;
        }
        let Some(mirror) = &mut self.mirror else { return Err(WriteError::Ended) };
        if rest == b"\n" && self.partial.last().is_some_and(|last| *last != b'\r') {
            // The second half of a print: no need to look for line ends.
            self.partial.clear();
            return mirror.finish_line();
        }
        if !rest.is_empty() {
            if let Some(end) = memchr::memrchr(b'\n', rest) {
                return self.write_lines(rest, end, fork::is_main_thread);
            }
            self.partial.extend_from_slice(rest);
            trim(&mut self.partial);
            return whole(mirror.write_all(rest));
        }
        Ok(())
    }

    /// Writes a text with line ends, of which the last is at `end`. Whole lines with the beginning
    /// of one behind them, as the first piece of a `print` of several lines has, are held back
    /// instead, if they may be.
    #[inline(never)]
    fn write_lines(
        &mut self,
        bytes: &[u8],
        end: usize,
        may_hold: impl FnOnce() -> bool,
    ) -> Result<(), WriteError> {
        let begun = &bytes[end + 1..];
        let is_first = self.partial.is_empty() && bytes.len() <= MAX_HELD;
        if !begun.is_empty() && is_first && may_hold() {
            self.held.extend_from_slice(bytes);
            return Ok(());
        }
        let Some(mirror) = &mut self.mirror else { return Err(WriteError::Ended) };
        self.partial.clear();
        self.partial.extend_from_slice(begun);
        trim(&mut self.partial);
        match memchr::memchr(b'\n', &bytes[..end]) {
            Some(_) => mirror.write_together(bytes),
            None => whole(mirror.write_all(bytes)),
        }
    }

    /// Whether something is held back.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes what follows a text that is held back.
    #[cold]
    fn write_behind(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.held.extend_from_slice(bytes);
        let is_whole = bytes.last() == Some(&b'\n');
        if is_whole || self.held.len() > MAX_HELD { self.release() } else { Ok(()) }
    }

    /// Writes what is held back.
    pub fn release(&mut self) -> Result<(), WriteError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        // A forked child writes nothing of its parent's.
        match memchr::memrchr(b'\n', &held) {
            Some(end) if self.is_open_here() => self.write_lines(&held, end, || false),
            _ => Ok(()),
        }
    }

    /// Continues a line of which a piece was sent ahead, up to the line's end; returns the text
    /// after that end.
    ///
    /// What a `\r` means is decided here, since the mirror does not keep what was sent ahead.
    #[cold]
    fn continue_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], WriteError> {
        let end = memchr::memchr(b'\n', bytes);
        let (line, rest) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]));
        // The `\r`s behind wait for what comes after them, unless that is the end.
        let text = &line[..line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1)];
        let replaced = memchr::memrchr(b'\r', text).map(|last| last + 1);
        let replaced = replaced.or((self.partial.last() == Some(&b'\r')).then_some(0));
        let (text, begins) = match replaced {
            Some(from) if !text.is_empty() => (&text[from..], REPLACES),
            _ => (text, CONTINUES),
        };
        let Some(mirror) = &mut self.mirror else { return Err(WriteError::Ended) };
        if begins == REPLACES {
            mirror.discard_partial()?;
            self.partial.clear();
        }
        if begins == REPLACES || self.sent > 0 && (!text.is_empty() || end.is_some()) {
            mirror.set_tag(begins);
            (self.sent, self.tagged) = (0, true);
        }
        if end.is_none() {
            self.partial.extend_from_slice(text);
            self.partial.extend(line.iter().rev().take_while(|byte| **byte == b'\r'));
            trim(&mut self.partial);
            if !text.is_empty() {
                whole(mirror.write_all(text))?;
            }
            return Ok(rest);
        }
        self.partial.clear();
        self.tagged = false;
        let written = mirror.write_all(text).and_then(|()| mirror.write_all(b"\n"));
        mirror.set_tag(0);
        whole(written)?;
        Ok(rest)
    }

    /// Whether this process has written with it since it was opened.
    pub fn is_open_here(&self) -> bool {
        self.mirror.is_some() && self.generation == fork::generation()
    }

    /// The text after the last line end, of what this process has written: a forked child does not
    /// continue its parent's line.
    pub fn partial_line(&self) -> &[u8] {
        if self.generation == fork::generation() { &self.partial } else { &[] }
    }

    /// Sends the partial line ahead, so that the reader sees it now.
    pub fn send_ahead(&mut self) -> Result<(), WriteError> {
        self.release()?;
        if self.partial_line().is_empty() {
            return Ok(());
        }
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        mirror.flush_partial()?;
        self.sent = self.partial.len();
        Ok(())
    }

    /// Ends the partial line, if there is one.
    pub fn finish_line(&mut self) -> Result<(), WriteError> {
        self.release()?;
        if self.partial_line().is_empty() {
            return Ok(());
        }
        self.write(b"\n")
    }

    /// Discards the partial line, here and at the reader.
    pub fn discard_partial_line(&mut self) -> Result<(), WriteError> {
        self.release()?;
        if self.partial_line().is_empty() {
            return Ok(());
        }
        self.partial.clear();
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        mirror.discard_partial()?;
        if self.sent > 0 || self.tagged {
            (self.sent, self.tagged) = (0, false);
            mirror.set_tag(DISCARDS);
            let told = mirror.write_all(b"\n");
            mirror.set_tag(0);
            whole(told)?;
        }
        Ok(())
    }
}

/// Bytes of a partial line that are kept for the mirror's `read`.
const MAX_PARTIAL: usize = 1 << 16;

/// Keeps the last part of a long partial line: a progress bar that is redrawn for hours must not
/// grow without a bound.
fn trim(partial: &mut Vec<u8>) {
    if partial.len() > MAX_PARTIAL {
        let last = memchr::memrchr(b'\r', partial).unwrap_or(0);
        partial.drain(..last.max(partial.len() - MAX_PARTIAL / 2));
    }
}

/// The library's error, out of the one that its `Write` wraps it in.
fn whole(written: std::io::Result<()>) -> Result<(), WriteError> {
    written.map_err(|error| match error.downcast::<WriteError>() {
        Ok(error) => error,
        Err(_) => WriteError::Damaged,
    })
}
