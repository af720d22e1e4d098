//! What became of each worker.

use std::fmt::Write as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

use linering::{Kind, Line, Stream};
use signal_hook::low_level::signal_name;

/// Counts what comes of each worker.
#[derive(Debug)]
pub struct Summary {
    began: Instant,
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
    /// Until its last pipe was at its end.
    took: Duration,
}

impl Summary {
    pub fn new(workers: usize) -> Self {
        Self { began: Instant::now(), workers: vec![Tally::default(); workers], damaged: 0 }
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

    pub fn ended(&mut self, worker: Option<usize>) {
        let took = self.began.elapsed();
        if let Some(tally) = self.of(worker) {
            tally.took = took;
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
    pub fn table(&self, statuses: &[Option<ExitStatus>]) -> String {
        let mut table = format!(
            "{:<6} {:>12} {:>14} {:>8} {:>8} {:>9}  ended\n",
            "worker", "lines", "bytes", "lost", "cut", "seconds"
        );
        for (worker, (tally, status)) in self.workers.iter().zip(statuses).enumerate() {
            let Tally { lines, bytes, lost, cut, took, .. } = tally;
            let (took, ended) = (took.as_secs_f64(), how(*status));
            // Into a string: cannot fail.
            let _ = writeln!(
                table,
                "{worker:<6} {lines:>12} {bytes:>14} {lost:>8} {cut:>8} {took:>9.3}  {ended}"
            );
        }
        table
    }
}

/// How a worker ended, in words.
pub fn how(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "unknown".to_owned() };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            let name =
                signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
            format!("killed by {name}")
        }
        (None, None) => "unknown".to_owned(),
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
