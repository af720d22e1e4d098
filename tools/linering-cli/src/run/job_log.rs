//! What became of each job, as a table in a file: the columns of GNU parallel's.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::end::End;
use super::plan::TOLD;
use super::supervisor::{Report, Verdict};
use super::system::Job;
use crate::failure::Failure;

const COLUMNS: [&str; 9] =
    ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command"];

/// A file that gets a line for each end of a job.
#[derive(Debug)]
pub struct JobLog {
    path: PathBuf,
    file: File,
    /// The commands, as a shell would read them.
    shown: Vec<String>,
}

impl JobLog {
    /// Begins the file anew.
    pub fn create(path: &Path, jobs: &[Job]) -> io::Result<Self> {
        Self::begin(File::create(path)?, path, jobs)
    }

    /// Goes on with the file of a run before, if there is one: and which jobs were done then.
    pub fn resume(path: &Path, jobs: &[Job]) -> Result<(Self, BTreeSet<usize>), Failure> {
        let refused = |error| Failure::of_path("write", path, &error);
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| Failure::of_path("read", path, &error))?,
        };
        let mut file = File::options().append(true).create(true).open(path).map_err(refused)?;
        if text.is_empty() {
            let log = Self::begin(file, path, jobs).map_err(refused)?;
            return Ok((log, BTreeSet::new()));
        }
        if !text.ends_with('\n') {
            // A line that was cut off is of no job that is known to be done.
            file.write_all(b"\n").map_err(refused)?;
        }
        let log = Self::of(file, path, jobs);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut done = BTreeSet::new();
        for line in whole.lines().skip(1) {
            let columns: Vec<&str> = line.splitn(COLUMNS.len(), '\t').collect();
            let &[number, _, _, _, _, _, "0", "0", command] = columns.as_slice() else { continue };
            let job = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            match job.and_then(|job| Some((job, log.shown.get(job)?))) {
                Some((job, expected)) if expected == command => done.insert(job),
                found => {
                    return Err(Failure::Usage(format!(
                        "{}: job {number} was {command}, expected {}: the log is of other jobs",
                        path.display(),
                        found.map_or("no such number", |(_, expected)| expected)
                    )));
                }
            };
        }
        Ok((log, done))
    }

    fn begin(mut file: File, path: &Path, jobs: &[Job]) -> io::Result<Self> {
        writeln!(file, "{}", COLUMNS.join("\t"))?;
        Ok(Self::of(file, path, jobs))
    }

    fn of(file: File, path: &Path, jobs: &[Job]) -> Self {
        let shown = |job: &Job| {
            let words = job.command.iter().map(|word| word.to_string_lossy());
            shell_words::join(words).replace(['\t', '\n'], " ")
        };
        Self { path: path.to_owned(), file, shown: jobs.iter().map(shown).collect() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a job's end; `received` is how many bytes it has written, as far as they came.
    pub fn add(&mut self, report: &Report, received: u64) -> io::Result<()> {
        let (code, signal) = match report.end {
            // As there.
            _ if report.kind == Verdict::TimedOut => (-1, 0),
            // It may not have done all that it had to do.
            End::Exited(0) if report.was_told => (0, TOLD),
            End::Exited(code) => (code, 0),
            End::Killed(signal) => (0, signal),
        };
        let since = SystemTime::now() - report.took;
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // One write: a line is there, or it is not.
        let line = format!(
            "{}\t:\t{:.3}\t{:.3}\t0\t{received}\t{code}\t{signal}\t{}\n",
            report.job + 1,
            since.as_secs_f64(),
            report.took.as_secs_f64(),
            self.shown[report.job]
        );
        self.file.write_all(line.as_bytes())
    }
}
