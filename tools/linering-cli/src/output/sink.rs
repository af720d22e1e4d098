//! A place that lines go to.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    /// Its reader has gone.
    Unread,
    /// It cannot be written, which was said.
    Failed,
}

/// What a sink writes to.
pub trait Output: Write + Send {
    /// Its descriptor, if its reader may be slow or gone.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Output for File {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Output for RotatingFile {}

impl<O: Output + ?Sized> Output for Box<O> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (**self).descriptor()
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
        }
    }

    /// Adds what `add` puts on the page.
    #[inline]
    pub fn add(&mut self, add: impl FnOnce(&mut Page)) {
        if self.state != State::Fine {
            return;
        }
        add(&mut self.page);
        let length = self.page.text.len();
        if length >= BLOCK {
            // Whole lines: another of our outputs may be the same file.
            let whole = length / BLOCK * BLOCK;
            let end = memchr::memrchr(b'\n', &self.page.text[..whole]);
            self.write(end.map_or(length, |end| end + 1));
        }
    }

    /// Writes out what was added.
    pub fn flush(&mut self) {
        if !self.page.text.is_empty() {
            self.write(self.page.text.len());
        }
    }

    fn write(&mut self, bytes: usize) {
        if self.state == State::Fine {
            self.state = match write_all(&mut self.to, &self.page.text[..bytes]) {
                Ok(()) => State::Fine,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => State::Unread,
                Err(error) => {
                    note(format_args!("cannot write {}: {error}", self.name));
                    State::Failed
                }
            };
        }
        self.page.text.drain(..bytes);
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

    /// Whether it cannot be written any more, because its reader has gone or a write has failed.
    pub fn is_dead(&self) -> bool {
        self.state != State::Fine
    }

    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }
}

/// As the method of that name, but waits where a pipe does not.
fn write_all(to: &mut impl Output, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(descriptor) = to.descriptor() {
                    // Whatever it says, the next write says more.
                    let _ = poll(&mut [PollFd::new(&descriptor, PollFlags::OUT)], None);
                }
            }
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
