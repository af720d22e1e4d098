//! A queue with a descriptor to poll: how the run's threads tell each other what happened.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// A queue that any thread may put letters into, and whose descriptor is readable while some are
/// there.
#[derive(Debug)]
pub struct Mailbox<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    letters: Mutex<VecDeque<T>>,
    ready: OwnedFd,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Mailbox<T> {
    pub fn new() -> io::Result<Self> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { letters: Mutex::default(), ready })))
    }

    pub fn put(&self, letter: T) {
        let mut letters = self.0.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push_back(letter);
        // It cannot be refused before it was called 2⁶⁴ times.
        let _ = rustix::io::write(&self.0.ready, &1_u64.to_ne_bytes());
    }

    /// Everything that is there. Never waits.
    pub fn take(&self) -> VecDeque<T> {
        let mut letters = self.0.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if !letters.is_empty() {
            let _ = rustix::io::read(&self.0.ready, &mut [0_u8; 8]);
        }
        core::mem::take(&mut letters)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}
