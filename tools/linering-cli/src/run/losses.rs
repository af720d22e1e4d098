//! What is said of lost lines: at once, but not at every gap of a flood.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use linering::{LossCause, Lost};

/// How often it is said, at most.
const EVERY: Duration = Duration::from_secs(1);

/// Losses that were not told yet.
#[derive(Debug, Default)]
pub struct Losses {
    /// For each worker and cause.
    untold: BTreeMap<(Option<usize>, &'static str), u64>,
    told: Option<Instant>,
}

impl Losses {
    /// A line of which bytes are missing.
    pub fn cut(&mut self, worker: Option<usize>) {
        *self.untold.entry((worker, "cut short")).or_default() += 1;
    }

    /// A line whose checksum does not agree.
    pub fn damaged(&mut self, worker: Option<usize>) {
        *self.untold.entry((worker, "damaged")).or_default() += 1;
    }

    pub fn add(&mut self, worker: Option<usize>, lost: &Lost<'_>) {
        let cause = match lost.cause {
            LossCause::Overwritten => "lost, overwritten",
            _ => "lost, ring full",
        };
        *self.untold.entry((worker, cause)).or_default() += lost.lines;
    }

    /// When it is time to tell what was not told; `None` if there is nothing.
    pub fn due_in(&self) -> Option<Duration> {
        let due = self.told.map_or(Duration::ZERO, |told| EVERY.saturating_sub(told.elapsed()));
        (!self.untold.is_empty()).then_some(due)
    }

    /// Hands a sentence for each worker to `tell`, if it is time.
    pub fn tell_if_due(&mut self, tell: impl FnMut(String)) {
        if self.due_in() == Some(Duration::ZERO) {
            self.tell(tell);
        }
    }

    /// Hands a sentence for each worker to `tell`.
    pub fn tell(&mut self, mut tell: impl FnMut(String)) {
        if self.untold.is_empty() {
            return;
        }
        self.told = Some(Instant::now());
        for ((worker, what), lines) in core::mem::take(&mut self.untold) {
            let who = worker.map_or("no worker's".to_owned(), |worker| format!("worker {worker}"));
            let noun = if lines == 1 { "line" } else { "lines" };
            tell(format!("{who}: {lines} {noun} {what}"));
        }
    }
}
