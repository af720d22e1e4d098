//! Failures that cannot be logged: the first is told on the original standard error, the others are
//! counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::text;
use crate::sys::stderr;

/// Failures of one kind.
#[derive(Debug, Default)]
pub(super) struct Complaint(AtomicU64);

impl Complaint {
    /// One more. Never panics, and logs nothing.
    pub(super) fn add(&self, failure: fmt::Arguments<'_>) {
        if self.0.fetch_add(1, Relaxed) == 0 {
            say(format_args!("{failure}; more of this are counted, and not told"));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Says a sentence on the original standard error, in one line.
pub(super) fn say(sentence: fmt::Arguments<'_>) {
    let mut line = b"linering: ".to_vec();
    text::escape(&mut line, sentence.to_string().as_bytes());
    line.push(b'\n');
    stderr::say(&line);
}
