//! One thread's way into a mirror, for one stream: a mirror of the library's own, so that what this
//! thread writes in pieces is mixed with nothing.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use linering::{LineProcMirror, Stream, WriteError};

use crate::claim::Claim;
use crate::fork;

/// Tags of pieces of a line: what they are to the piece before, which was sent ahead. All others
/// are their writers' own: a program in Rust may write into the ring too.
pub const CONTINUES: u16 = 0xfffd;
pub const REPLACES: u16 = 0xfffe;
/// Of an empty line: the line that was begun is none.
pub const FORGETS: u16 = 0xffff;

pub fn is_piece(tag: u16) -> bool {
    tag >= CONTINUES
}

thread_local! {
    /// This thread's number, times two; 0 until it has one.
    static KEY: Cell<u64> = const { Cell::new(0) };
    static ALIVE: Arc<()> = Arc::new(());
}

/// The key of this thread's way for a stream.
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

/// Nobody's: the first who writes takes it.
pub const FREE: u64 = 0;

#[derive(Debug)]
pub struct Way {
    pub key: AtomicU64,
    /// Whether its thread lives.
    owner: Mutex<Weak<()>>,
    /// By others than its thread claimed only to end it.
    pub held: Claim<Held>,
    /// Somebody wanted to end it while its thread was in the middle of a write.
    pub end_wanted: AtomicBool,
}

impl Way {
    pub fn free() -> Self {
        Self {
            key: AtomicU64::new(FREE),
            owner: Mutex::new(Weak::new()),
            held: Claim::default(),
            end_wanted: AtomicBool::new(false),
        }
    }

    /// Makes it this thread's.
    pub fn take(&self, key: u64) {
        // Past its end: nobody's, and abandoned.
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

/// What a way holds between writes.
#[derive(Debug, Default)]
pub struct Held {
    pub mirror: Option<LineProcMirror>,
    /// The process that the rest is about.
    generation: u32,
    /// What was written of the line that has no end yet.
    begun: Vec<u8>,
    /// How much of it was sent ahead.
    sent: usize,
    /// The next line's first piece was sent ahead: what follows carries a tag.
    tagged: bool,
}

impl Held {
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
            // What was begun is the parent's.
            self.generation = fork::generation();
            (self.begun, self.sent, self.tagged) = (Vec::new(), 0, false);
            self.tag(0);
        }
        let mut rest = bytes;
        if self.sent > 0 || self.tagged {
            rest = self.go_on(bytes)?;
        }
        let Some(mirror) = &mut self.mirror else { return Err(WriteError::Ended) };
        if rest == b"\n" && self.begun.last().is_some_and(|last| *last != b'\r') {
            // The second half of a print: no need to look for line ends.
            self.begun.clear();
            return mirror.finish_line();
        }
        if !rest.is_empty() {
            let mut begun = rest;
            if let Some(end) = memchr::memrchr(b'\n', rest) {
                self.begun.clear();
                begun = &rest[end + 1..];
            }
            self.begun.extend_from_slice(begun);
            trim(&mut self.begun);
            return whole(mirror.write_all(rest));
        }
        Ok(())
    }

    /// Goes on with a line of which something was sent ahead, up to its end; gives what comes after
    /// it.
    ///
    /// What a `\r` means is decided here, since the mirror knows nothing of what has left it.
    #[cold]
    fn go_on<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], WriteError> {
        let end = memchr::memchr(b'\n', bytes);
        let (line, rest) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]));
        // The `\r`s behind wait for what comes after them, unless that is the end.
        let text = &line[..line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1)];
        let replaced = memchr::memrchr(b'\r', text).map(|last| last + 1);
        let replaced = replaced.or((self.begun.last() == Some(&b'\r')).then_some(0));
        let (text, begins) = match replaced {
            Some(from) if !text.is_empty() => (&text[from..], REPLACES),
            _ => (text, CONTINUES),
        };
        let Some(mirror) = &mut self.mirror else { return Err(WriteError::Ended) };
        if begins == REPLACES {
            mirror.discard_partial()?;
            self.begun.clear();
        }
        if begins == REPLACES || self.sent > 0 && (!text.is_empty() || end.is_some()) {
            mirror.set_tag(begins);
            (self.sent, self.tagged) = (0, true);
        }
        if end.is_none() {
            self.begun.extend_from_slice(text);
            self.begun.extend(line.iter().rev().take_while(|byte| **byte == b'\r'));
            trim(&mut self.begun);
            if !text.is_empty() {
                whole(mirror.write_all(text))?;
            }
            return Ok(rest);
        }
        self.begun.clear();
        self.tagged = false;
        let written = mirror.write_all(text).and_then(|()| mirror.write_all(b"\n"));
        mirror.set_tag(0);
        whole(written)?;
        Ok(rest)
    }

    /// What was written of the line that has no end yet, by this process: what its parent has begun
    /// is not its own.
    pub fn begun(&self) -> &[u8] {
        if self.generation == fork::generation() { &self.begun } else { &[] }
    }

    /// Sends ahead what was begun, so that the reader sees it now.
    pub fn send_ahead(&mut self) -> Result<(), WriteError> {
        if self.begun().is_empty() {
            return Ok(());
        }
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        mirror.flush_partial()?;
        self.sent = self.begun.len();
        Ok(())
    }

    /// Ends the line that was begun, if there is one.
    pub fn finish_line(&mut self) -> Result<(), WriteError> {
        if self.begun().is_empty() {
            return Ok(());
        }
        self.write(b"\n")
    }

    /// Forgets the line that was begun, here and at the reader.
    pub fn forget(&mut self) -> Result<(), WriteError> {
        if self.begun().is_empty() {
            return Ok(());
        }
        self.begun.clear();
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        mirror.discard_partial()?;
        if self.sent > 0 || self.tagged {
            (self.sent, self.tagged) = (0, false);
            mirror.set_tag(FORGETS);
            let told = mirror.write_all(b"\n");
            mirror.set_tag(0);
            whole(told)?;
        }
        Ok(())
    }
}

/// Bytes of a begun line that are kept for who reads them back.
const MOST_BEGUN: usize = 1 << 16;

/// A bar that is redrawn for hours must not be kept whole, and a line that has no end not for ever.
fn trim(begun: &mut Vec<u8>) {
    if begun.len() > MOST_BEGUN {
        let last = memchr::memrchr(b'\r', begun).unwrap_or(0);
        begun.drain(..last.max(begun.len() - MOST_BEGUN / 2));
    }
}

/// The library's error, out of the one that its `Write` wraps it in.
fn whole(written: std::io::Result<()>) -> Result<(), WriteError> {
    written.map_err(|error| match error.downcast::<WriteError>() {
        Ok(error) => error,
        Err(_) => WriteError::Damaged,
    })
}
