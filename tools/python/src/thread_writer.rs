//! One thread's writer in a mirror, for one stream. It has a mirror of the library's of its own, so
//! that the pieces that this thread writes are not mixed with other threads'.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use linering::{LineProcMirror, Stream, WriteError};

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

/// The key of this thread's writer for a stream.
#[inline]
pub fn key_of(stream: Stream) -> u64 {
    let key = match KEY.get() {
        0 => new_key(),
        key => key,
    };
    key | u64::from(stream == Stream::Stderr)
}

#[cold]
fn new_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    KEY.set(NEXT.fetch_add(1, Relaxed) << 1);
    KEY.get()
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
}

impl ThreadWriter {
    pub fn free() -> Self {
        Self {
            key: AtomicU64::new(FREE),
            owner: Mutex::new(Weak::new()),
            state: GilCell::default(),
            end_wanted: AtomicBool::new(false),
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
}

impl WriterState {
    pub fn opened(&mut self, mirror: LineProcMirror) {
        *self = Self { generation: fork::generation(), mirror: Some(mirror), ..Self::default() };
    }

    fn tag(&mut self, piece: u16) {
        if let Some(mirror) = &mut self.mirror {
            mirror.set_tag(piece);
        }
    }

    /// Writes a piece of text. The mirror is open.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.generation != fork::generation() {
            // The partial line is the parent's.
            self.generation = fork::generation();
            (self.partial, self.sent, self.tagged) = (Vec::new(), 0, false);
            self.tag(0);
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
            let mut partial = rest;
            if let Some(end) = memchr::memrchr(b'\n', rest) {
                self.partial.clear();
                partial = &rest[end + 1..];
            }
            self.partial.extend_from_slice(partial);
            trim(&mut self.partial);
            return whole(mirror.write_all(rest));
        }
        Ok(())
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

    /// The text after the last line end, of what this process has written: a forked child does not
    /// continue its parent's line.
    pub fn partial_line(&self) -> &[u8] {
        if self.generation == fork::generation() { &self.partial } else { &[] }
    }

    /// Sends the partial line ahead, so that the reader sees it now.
    pub fn send_ahead(&mut self) -> Result<(), WriteError> {
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
        if self.partial_line().is_empty() {
            return Ok(());
        }
        self.write(b"\n")
    }

    /// Discards the partial line, here and at the reader.
    pub fn discard_partial_line(&mut self) -> Result<(), WriteError> {
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
