//! A place that lines go to.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use linering::RotatingFile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::page::{Look, Page};
use crate::failure::note;

/// Bytes that are written at a time, at most: what an empty pipe takes at once. A little more would
/// wait for its reader twice.
const BLOCK: usize = 1 << 16;

/// A place that lines go to, and what became of it.
pub struct Sink {
    to: Box<dyn Output>,
    /// As a sentence about it calls it.
    name: String,
    look: Look,
    page: Page,
    state: State,
    /// Lines that were not kept since it cannot be written.
    missing: u64,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    /// Its reader has gone.
    Unread,
    /// It cannot be written since then, which was said; it is tried again.
    Failing {
        since: Instant,
        again_at: Instant,
    },
}

/// How long after a write that failed the next is tried.
const RETRY: Duration = Duration::from_millis(100);

/// After so long a sink that cannot be written is as good as one without a reader, where no other
/// can be written either.
const HOPE: Duration = Duration::from_secs(5);

/// What a sink writes to.
pub trait Output: Send {
    /// Writes as much as it can: how many bytes, and why not more. The next call goes on there.
    fn put(&mut self, bytes: &[u8]) -> (usize, io::Result<()>);

    /// Its descriptor, if its reader may be slow or gone.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Output for File {
    /// Waits where a pipe does not.
    fn put(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut done = 0;
        while done < bytes.len() {
            match self.write(&bytes[done..]) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Whatever it says, the next write says more.
                    let _ = poll(&mut [PollFd::new(&*self, PollFlags::OUT)], None);
                }
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Output for RotatingFile {
    fn put(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        self.write_some(bytes)
    }
}

impl Sink {
    pub fn new(name: impl Into<String>, look: Look, to: impl Output + 'static) -> Self {
        Self {
            to: Box::new(to),
            name: name.into(),
            look,
            page: Page::default(),
            state: State::Fine,
            missing: 0,
            has_failed: false,
        }
    }

    /// Adds what `add` puts on the page.
    #[inline]
    pub fn add(&mut self, add: impl FnOnce(&mut Page)) {
        if self.state == State::Unread {
            return;
        }
        let before = self.page.text.len();
        add(&mut self.page);
        let length = self.page.text.len();
        if length >= BLOCK {
            if self.state != State::Fine {
                return self.make_room(before);
            }
            // Whole lines: another of our outputs may be the same file.
            let whole = length / BLOCK * BLOCK;
            let end = memchr::memrchr(b'\n', &self.page.text[..whole]);
            self.write(end.map_or(length, |end| end + 1));
        }
    }

    /// While it cannot be written: tries again, or forgets what was added after `before`.
    #[cold]
    fn make_room(&mut self, before: usize) {
        self.write(before);
        if !matches!(self.state, State::Failing { .. }) {
            return;
        }
        let before = before.min(self.page.text.len());
        if self.page.text.len() >= BLOCK {
            let ends = memchr::memchr_iter(b'\n', &self.page.text[before..]).count();
            self.missing += ends as u64;
            self.page.text.truncate(before);
        }
    }

    /// Writes out what was added.
    pub fn flush(&mut self) {
        if !self.page.text.is_empty() {
            self.write(self.page.text.len());
        }
    }

    /// Writes so much of the page out; what cannot be written stays on it.
    fn write(&mut self, bytes: usize) {
        if matches!(self.state, State::Failing { again_at, .. } if Instant::now() < again_at) {
            return;
        }
        let (written, result) = self.to.put(&self.page.text[..bytes]);
        self.page.text.drain(..written);
        self.state = match result {
            Ok(()) => {
                self.go_on();
                State::Fine
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.page.text.clear();
                State::Unread
            }
            Err(error) => {
                let since = match self.state {
                    State::Failing { since, .. } => since,
                    _ => {
                        note(format_args!("cannot write {}: {error}", self.name));
                        Instant::now()
                    }
                };
                self.has_failed = true;
                State::Failing { since, again_at: Instant::now() + RETRY }
            }
        };
    }

    /// Says what is missing, if it could not be written for a while.
    fn go_on(&mut self) {
        if matches!(self.state, State::Failing { .. }) {
            let missing = core::mem::take(&mut self.missing);
            note(format_args!("{} is written again: {missing} lines are missing", self.name));
        }
    }

    /// Finds out whether it still has a reader, though nothing is written now.
    pub fn look_for_reader(&mut self) {
        let Some(descriptor) = self.to.descriptor() else { return };
        let mut polled = [PollFd::new(&descriptor, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let looked = poll(&mut polled, Some(&now));
        if looked.is_ok()
            && polled[0].revents().contains(PollFlags::ERR)
            && self.state == State::Fine
        {
            self.state = State::Unread;
        }
    }

    pub fn look(&self) -> Look {
        self.look
    }

    /// Whether it has no reader any more, or could not be written for so long that there is no
    /// hope.
    pub fn is_dead(&self) -> bool {
        match self.state {
            State::Fine => false,
            State::Unread => true,
            State::Failing { since, .. } => since.elapsed() >= HOPE,
        }
    }

    /// Whether a write has failed, now or before.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
