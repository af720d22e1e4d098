//! How many of the ring's seats are in use: of workers that live, and of those whose ends were not
//! printed yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts up where workers are started, and down where the ends of their mirrors are printed. While
/// an output takes nothing, workers that print nothing may end for as long as there are seats.
#[derive(Clone, Debug)]
pub struct Backlog {
    used: Arc<AtomicUsize>,
    most: usize,
}

impl Backlog {
    pub fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// Whether another worker may be started.
    pub fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.most
    }

    /// So many seats are taken.
    pub fn take(&self, seats: usize) {
        self.used.fetch_add(seats, Ordering::Relaxed);
    }

    /// So many are taken in all.
    pub fn set(&self, seats: usize) {
        self.used.store(seats, Ordering::Relaxed);
    }

    /// An end was printed: perhaps of a mirror that a worker has made itself, and that was not
    /// counted.
    pub fn give_back(&self) {
        let less = |used: usize| Some(used.saturating_sub(1));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}
