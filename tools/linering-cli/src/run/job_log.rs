//! What became of each job, in a file: a JSON object on a line for each end.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::supervisor::{Report, Verdict};
use super::system::Job;
use crate::failure::Failure;

/// How every line of the file begins, also one that was cut off.
const BEGINNING: &str = "{\"worker\":";

/// The end of a job; of one that is started again, each.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<'e> {
    worker: usize,
    /// As a shell would read it.
    command: Cow<'e, str>,
    began: Cow<'e, str>,
    seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    /// The name of the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<Cow<'e, str>>,
    /// It had `--timeout`, and took longer.
    #[serde(default, skip_serializing_if = "is_false")]
    timed_out: bool,
    /// It was told to end before it did: it may not have done all that it had to do.
    #[serde(default, skip_serializing_if = "is_false")]
    told: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(it: &bool) -> bool {
    !it
}

impl Entry<'_> {
    fn is_done(&self) -> bool {
        self.code == Some(0) && !self.timed_out && !self.told
    }
}

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
        Ok(Self { path: path.to_owned(), file: File::create(path)?, shown: shown(jobs) })
    }

    /// Goes on with the file of a run before, if there is one: and which jobs were done then.
    pub fn resume(path: &Path, jobs: &[Job]) -> Result<(Self, BTreeSet<usize>), Failure> {
        let refused = |error| Failure::of_path("write", path, &error);
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| Failure::of_path("read", path, &error))?,
        };
        let shown = shown(jobs);
        let mut done = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let of_others = |found: &str, expected: &str| {
                let (path, number) = (path.display(), index + 1);
                Failure::Usage(format!("{path}, line {number}: found {found}, expected {expected}"))
            };
            let entry: Entry<'_> = match serde_json::from_str(line) {
                Ok(entry) => entry,
                // Of a job that is not known to be done.
                Err(_) if line.starts_with(BEGINNING) || BEGINNING.starts_with(line) => continue,
                Err(_) => return Err(of_others(line, "the end of a job")),
            };
            match shown.get(entry.worker) {
                Some(shown) if *shown == entry.command => {
                    if entry.is_done() {
                        done.insert(entry.worker);
                    }
                }
                other => {
                    let expected = other.map_or("no such job", String::as_str);
                    let found = format!("job {}, {}", entry.worker, entry.command);
                    return Err(of_others(&found, &format!("{expected}: it is of other jobs")));
                }
            }
        }
        let mut file = File::options().append(true).create(true).open(path).map_err(refused)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // Behind a line that was cut off.
            file.write_all(b"\n").map_err(refused)?;
        }
        Ok((Self { path: path.to_owned(), file, shown }, done))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a job's end.
    pub fn add(&mut self, report: &Report) -> io::Result<()> {
        let (code, signal) = match report.end.how() {
            Ok(code) => (Some(code), None),
            Err(signal) => (None, Some(signal.into())),
        };
        let began = humantime::format_rfc3339_millis(SystemTime::now() - report.took).to_string();
        let mut line = serde_json::to_vec(&Entry {
            worker: report.job,
            command: self.shown[report.job].as_str().into(),
            began: began.into(),
            seconds: report.took.as_millis() as f64 / 1000.0,
            code,
            signal,
            timed_out: report.kind == Verdict::TimedOut,
            told: report.was_told,
        })?;
        line.push(b'\n');
        // One write: a line is there, or it is not.
        self.file.write_all(&line)
    }
}

fn shown(jobs: &[Job]) -> Vec<String> {
    let command = |job: &Job| shell_words::join(job.command.iter().map(|it| it.to_string_lossy()));
    jobs.iter().map(command).collect()
}
