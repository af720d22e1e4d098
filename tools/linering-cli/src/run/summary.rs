//! What became of each worker.

use std::fmt::Write as _;
use std::time::Duration;

use linering::{Kind, Line, Stream};

use super::supervisor::{Report, Verdict};

/// Counts what comes of each worker.
#[derive(Debug)]
pub struct Summary {
    workers: Vec<Tally>,
    /// Damaged lines and positions, of all workers and of none.
    damaged: u64,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    lines: u64,
    bytes: u64,
    lost: u64,
    /// Lines of which bytes are missing.
    cut: u64,
    /// The last line had no end, of stdout and of stderr: what comes next there belongs to it.
    open: [bool; 2],
    /// What it took, all attempts together.
    took: Duration,
    ended: String,
}

impl Summary {
    pub fn new(workers: usize) -> Self {
        Self { workers: vec![Tally::default(); workers], damaged: 0 }
    }

    pub fn line(&mut self, worker: Option<usize>, line: &Line<'_>) {
        self.damaged += u64::from(line.damaged);
        let Some(tally) = self.of(worker) else { return };
        let stream = usize::from(line.stream == Stream::Stderr);
        tally.bytes += line.bytes.len() as u64;
        tally.cut += u64::from(line.truncated);
        if line.kind == Kind::Line {
            let goes_on = core::mem::replace(&mut tally.open[stream], line.unfinished);
            tally.lines += u64::from(!goes_on);
            tally.bytes += u64::from(!line.unfinished);
        } else {
            tally.lines += memchr::memchr_iter(b'\n', &line.bytes).count() as u64;
        }
    }

    /// A position that was damaged, and skipped.
    pub fn skipped(&mut self) {
        self.damaged += 1;
    }

    pub fn lost(&mut self, worker: Option<usize>, lines: u64) {
        if let Some(tally) = self.of(worker) {
            tally.lost += lines;
        }
    }

    pub fn ended(&mut self, report: &Report) {
        if let Some(tally) = self.of(Some(report.job)) {
            tally.took += report.took;
            tally.ended = report.end.to_string();
            if report.kind == Verdict::TimedOut {
                tally.ended.push_str(", out of time");
            }
        }
    }

    fn of(&mut self, worker: Option<usize>) -> Option<&mut Tally> {
        self.workers.get_mut(worker?)
    }

    /// Whether a line was lost, cut short or damaged.
    pub fn any_lost(&self) -> bool {
        self.damaged > 0 || self.workers.iter().any(|tally| tally.lost + tally.cut > 0)
    }

    /// A row for each worker.
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<6} {:>12} {:>14} {:>8} {:>8} {:>9}  ended\n",
            "worker", "lines", "bytes", "lost", "cut", "seconds"
        );
        for (worker, tally) in self.workers.iter().enumerate() {
            let Tally { lines, bytes, lost, cut, took, ended, .. } = tally;
            let took = took.as_secs_f64();
            let ended = if ended.is_empty() { "not started" } else { ended };
            // Into a string: cannot fail.
            let _ = writeln!(
                table,
                "{worker:<6} {lines:>12} {bytes:>14} {lost:>8} {cut:>8} {took:>9.3}  {ended}"
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use linering::{Item, LineRing, Options};

    use super::*;

    #[test]
    fn a_damaged_line_and_a_skipped_position_are_failures_as_lost_lines_are() {
        let ring =
            LineRing::new(Options::new().lines(2).line_bytes(64).checksums(true)).expect("a ring");
        ring.mirror().expect("a mirror").write_line(b"a line").expect("room");
        let mut summary = Summary::new(1);
        assert!(!summary.any_lost());
        let file = File::from(
            ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor"),
        );
        let mut bytes = vec![0; file.metadata().expect("a file").len() as usize];
        file.read_exact_at(&mut bytes, 0).expect("so many bytes");
        let at = bytes.windows(6).position(|part| part == b"a line").expect("it is there");
        file.write_all_at(b"A", at as u64).expect("a file");
        let mut reader = ring.reader().expect("no other reader");
        let Ok(Some(Item::Line(line))) = reader.try_recv() else { panic!("there is a line") };
        // The worker makes no difference.
        summary.line(None, &line);
        assert!(line.damaged && summary.any_lost());
        let mut summary = Summary::new(1);
        summary.skipped();
        assert!(summary.any_lost());
    }
}
