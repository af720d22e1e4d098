//! [`Waker`]: ends a reader's wait from another thread.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::read::park;
use crate::segment::Segment;

/// Ends a wait of its [`Reader`](crate::Reader) from another thread: to have it stop, or look at
/// something else. From [`Reader::waker`](crate::Reader::waker).
///
/// ```
/// # use linering::{LineRing, Options};
/// let ring = LineRing::new(Options::new())?;
/// let mut reader = ring.reader()?;
/// let waker = reader.waker();
/// std::thread::scope(|scope| {
///     let waits = scope.spawn(|| reader.recv().map(|item| item.is_none()));
///     waker.wake();
///     assert!(waits.join().unwrap().unwrap());
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Waker {
    segment: Arc<Segment>,
    woken: Arc<AtomicBool>,
}

impl Waker {
    pub(super) fn new(segment: &Arc<Segment>, woken: &Arc<AtomicBool>) -> Self {
        Self { segment: Arc::clone(segment), woken: Arc::clone(woken) }
    }

    /// Ends the wait under way, or else the next one, with `None`, `false` or an empty batch. What
    /// is in the ring by then comes first: a call that finds an item does not wait. Several such
    /// calls before a wait end that one alone.
    ///
    /// With [`WakeUp::Pipe`](crate::WakeUp::Pipe) the descriptor becomes readable too. One system
    /// call at most. In a forked child it ends no wait: the parent has the reader.
    pub fn wake(&self) {
        park::wake(&self.segment, &self.woken);
    }
}
