//! A line on the terminal that says how far the run is.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use linering::{Kind, Line};

/// How often the terminal shows it, in milliseconds.
const EVERY: u64 = 100;

/// A line on stderr, if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: u64,
    bytes: u64,
    ended: usize,
    workers: usize,
}

impl Progress {
    pub fn new(is_wanted: bool, workers: usize) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let bar = Some(bar).filter(|bar| is_wanted && !bar.is_hidden());
        if let Some(bar) = &bar {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(EVERY));
        }
        Self { bar, lines: 0, bytes: 0, ended: 0, workers }
    }

    pub fn count(&mut self, line: &Line<'_>) {
        if self.bar.is_some() {
            self.lines += match line.kind {
                Kind::Line => 1,
                _ => memchr::memchr_iter(b'\n', &line.bytes).count() as u64,
            };
            self.bytes +=
                line.bytes.len() as u64 + u64::from(line.kind == Kind::Line && !line.unfinished);
        }
    }

    /// A worker has ended.
    pub fn ended(&mut self) {
        self.ended += 1;
    }

    /// Runs `print`, which may print on the same terminal.
    pub fn aside(&self, print: impl FnOnce()) {
        let Some(bar) = &self.bar else { return print() };
        let (lines, bytes) = (HumanCount(self.lines), HumanBytes(self.bytes));
        let (ended, workers) = (self.ended, self.workers);
        bar.set_message(format!("{lines} lines, {bytes}, {ended} of {workers} workers ended"));
        bar.suspend(print);
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
