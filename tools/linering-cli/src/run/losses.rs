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
    pub fn add(&mut self, worker: Option<usize>, lost: &Lost<'_>) {
        let cause = match lost.cause {
            LossCause::Overwritten => "overwritten",
            _ => "ring full",
        };
        *self.untold.entry((worker, cause)).or_default() += lost.lines;
    }

    /// Hands a sentence for each worker to `tell`, if there is one and it is time, or the end.
    pub fn tell(&mut self, is_end: bool, mut tell: impl FnMut(String)) {
        let is_time = || self.told.is_none_or(|told| told.elapsed() >= EVERY);
        if self.untold.is_empty() || !is_end && !is_time() {
            return;
        }
        self.told = Some(Instant::now());
        for ((worker, cause), lines) in core::mem::take(&mut self.untold) {
            let who = worker.map_or("no worker's".to_owned(), |worker| format!("worker {worker}"));
            let noun = if lines == 1 { "line" } else { "lines" };
            tell(format!("{who}: {lines} {noun} lost, {cause}"));
        }
    }
}
