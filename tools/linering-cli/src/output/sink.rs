//! A place that lines go to.

use std::fmt;
use std::io::{self, Write};

use super::page::{Look, Page};
use crate::failure::note;

/// Bytes that are written at a time: what an empty pipe takes at once. A little more would wait for its reader twice.
const BLOCK: usize = 1 << 16;

/// A place that lines go to, and what became of it.
pub struct Sink {
    to: Box<dyn Write>,
    /// As a sentence about it calls it.
    name: String,
    look: Look,
    page: Page,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    /// Nobody reads it any more.
    Unread,
    /// It cannot be written, which was said.
    Failed,
}

impl Sink {
    pub fn new(name: impl Into<String>, look: Look, to: impl Write + 'static) -> Self {
        Self { to: Box::new(to), name: name.into(), look, page: Page::default(), state: State::Fine }
    }

    /// Adds what `add` puts on the page.
    #[inline]
    pub fn add(&mut self, add: impl FnOnce(&mut Page)) {
        if self.state != State::Fine {
            return;
        }
        add(&mut self.page);
        let whole = self.page.text.len() / BLOCK * BLOCK;
        if whole > 0 {
            self.write(whole);
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
            self.state = match self.to.write_all(&self.page.text[..bytes]).and_then(|()| self.to.flush()) {
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

    pub fn look(&self) -> Look {
        self.look
    }

    pub fn is_unread(&self) -> bool {
        self.state == State::Unread
    }

    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).field("state", &self.state).finish_non_exhaustive()
    }
}
