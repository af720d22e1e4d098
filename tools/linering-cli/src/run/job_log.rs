//! What became of each job, as a table in a file: the columns of GNU parallel's.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::end::End;
use super::supervisor::{Report, Verdict};
use super::system::Job;

/// A file that gets a line for each end of a job.
#[derive(Debug)]
pub struct JobLog {
    path: PathBuf,
    file: File,
    /// As a shell would read them.
    commands: Vec<String>,
}

impl JobLog {
    /// Begins the file anew.
    pub fn create(path: &Path, jobs: &[Job]) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let columns = [
            "Seq",
            "Host",
            "Starttime",
            "JobRuntime",
            "Send",
            "Receive",
            "Exitval",
            "Signal",
            "Command",
        ];
        writeln!(file, "{}", columns.join("\t"))?;
        let shown =
            |job: &Job| shell_words::join(job.command.iter().map(|word| word.to_string_lossy()));
        Ok(Self { path: path.to_owned(), file, commands: jobs.iter().map(shown).collect() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a job's end; `received` is how many bytes it has written, as far as they came.
    pub fn add(&mut self, report: &Report, received: u64) -> io::Result<()> {
        let (code, signal) = match report.end {
            // As there.
            _ if report.kind == Verdict::TimedOut => (-1, 0),
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
            self.commands[report.job].replace(['\t', '\n'], " ")
        );
        self.file.write_all(line.as_bytes())
    }
}
