//! What is to be said on stderr: by the printer, among the lines, or by another thread if the
//! printer is held up by an output that takes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a sentence waits for the printer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Sentences that were not said yet. Each is said by the thread that takes it.
#[derive(Clone, Debug, Default)]
pub struct Unsaid(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    waiting: VecDeque<(u64, Instant, String)>,
}

impl Unsaid {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sentence; gives what takes it.
    pub fn put(&self, sentence: String) -> u64 {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back((number, Instant::now(), sentence));
        number
    }

    /// Takes a sentence, if no other thread has taken it.
    pub fn take(&self, number: u64) -> Option<String> {
        let mut state = self.state();
        let index = state.waiting.iter().position(|(waiting, ..)| *waiting == number)?;
        state.waiting.remove(index).map(|(.., sentence)| sentence)
    }

    /// Takes those that have waited for too long.
    pub fn take_late(&self) -> Vec<String> {
        let mut state = self.state();
        let late = state.waiting.iter().take_while(|(_, since, _)| since.elapsed() >= PATIENCE);
        let late = late.count();
        state.waiting.drain(..late).map(|(.., sentence)| sentence).collect()
    }

    /// When the next one has waited for too long.
    pub fn due_in(&self) -> Option<Duration> {
        let state = self.state();
        state.waiting.front().map(|(_, since, _)| PATIENCE.saturating_sub(since.elapsed()))
    }
}
