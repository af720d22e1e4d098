//! `linering ls`: the rings that can be found.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use linering::{AttachError, Observer, Statistics, turn_sigbus_into_errors};

use crate::cat::Whose;
use crate::failure::{Failure, note};
use crate::gc;
use crate::stat::{age, aligned, json, size};

/// List the rings that can be found, alive or left by a crash
///
/// Those with a name in shared memory, and those without one that processes of this user have
/// open; or those in the files and folders that are given. Changes nothing in them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files with rings, or folders with such files
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    whose: Whose,

    /// How they are printed
    #[arg(short = 'o', long, value_enum, default_value = "short")]
    format: Form,
}

const EXAMPLES: &str = "\
Examples:
  linering ls                  all that this user's processes have, and what kills have left
  linering ls /var/log/rings   the files in a folder
  linering ls -o json | jq 'select(.used | not) | .ring'

Exit code: 0 when all is well, 1 for a failure, 2 for wrong usage.";

/// How rings are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A table
    Short,
    /// A JSON object for each, as `stat` has it
    Json,
}

/// How long lines are counted for.
const MEASURED: Duration = Duration::from_millis(100);

struct Found {
    name: String,
    owner: u32,
    observer: Observer,
    at: Instant,
    statistics: Statistics,
}

/// Lists them.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let cannot_watch = |error| Failure::Failed(format!("cannot watch the rings: {error}"));
    turn_sigbus_into_errors().map_err(cannot_watch)?;
    let mut list = List { found: Vec::new(), seen: HashSet::new(), failed: false };
    if args.paths.is_empty() {
        list.named(args.whose);
        list.of_processes();
    }
    for path in &args.paths {
        list.path(path);
    }
    let mut text = String::new();
    match args.format {
        Form::Json => {
            for found in &list.found {
                text.push_str(&json(&found.name, &found.statistics));
            }
        }
        Form::Short => text = list.table(),
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::of_write("the standard output", &error))?;
    Ok(if list.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct List {
    found: Vec<Found>,
    /// Device and inode: a ring may be found in many ways.
    seen: HashSet<(u64, u64)>,
    failed: bool,
}

impl List {
    fn add(
        &mut self,
        name: String,
        at: &Path,
        open: impl FnOnce() -> Result<Observer, AttachError>,
    ) -> Result<(), AttachError> {
        let Ok(data) = fs::metadata(at) else { return Ok(()) };
        if self.seen.contains(&(data.dev(), data.ino())) {
            return Ok(());
        }
        let observer = open()?;
        self.seen.insert((data.dev(), data.ino()));
        // One that is cut short meanwhile is none any more.
        if let Ok(statistics) = observer.statistics() {
            let (owner, at) = (data.uid(), Instant::now());
            // Any user can make a file, of any name: no terminal obeys it.
            let name = name.replace(char::is_control, "\u{fffd}");
            self.found.push(Found { name, owner, observer, at, statistics });
        }
        Ok(())
    }

    /// Those with a name in shared memory.
    fn named(&mut self, whose: Whose) {
        for path in files_in(Path::new(gc::FOLDER)).unwrap_or_default() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            // What is no ring, or another user's, is none of ours.
            let _ = self.add(name.to_owned(), &path, || Observer::open_named(whose.name(name)));
        }
    }

    /// Those without a name, by the descriptors of processes.
    fn of_processes(&mut self) {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes.map(|entry| entry.path()) {
            // Of another user's processes the system does not say.
            for link in files_in(&process.join("fd")).unwrap_or_default() {
                let is_ring = fs::read_link(&link)
                    .is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:linering"));
                if is_ring {
                    let name = link.display().to_string();
                    let _ = self.add(name, &link, || Observer::open_file(&link));
                }
            }
        }
    }

    /// A file, or those in a folder.
    fn path(&mut self, path: &Path) {
        let name = |path: &Path| path.display().to_string();
        if !path.is_dir() {
            let added = match fs::metadata(path) {
                Ok(_) => self
                    .add(name(path), path, || Observer::open_file(path))
                    .map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = added {
                note(format_args!("cannot read {}: {error}", path.display()));
                self.failed = true;
            }
            return;
        }
        match files_in(path) {
            Ok(files) => {
                for file in files {
                    // What is no ring is passed over.
                    let _ = self.add(name(&file), &file, || Observer::open_file(&file));
                }
            }
            Err(error) => {
                note(format_args!("cannot list {}: {error}", path.display()));
                self.failed = true;
            }
        }
    }

    fn table(&mut self) -> String {
        const TITLES: [&str; 11] = [
            "RING", "STATE", "WRITERS", "ENDED", "DIED", "UNREAD", "LINES/S", "SIZE", "AGE",
            "POLICY", "OWNER",
        ];
        if self.found.iter().any(|found| found.statistics.is_used) {
            thread::sleep(MEASURED);
        }
        let mut rows = vec![TITLES.map(str::to_owned)];
        for found in &self.found {
            let first = &found.statistics;
            let seconds = found.at.elapsed().as_secs_f64();
            let last = if first.is_used { found.observer.statistics().ok() } else { None };
            let last = last.unwrap_or_else(|| first.clone());
            let came = last.next.wrapping_sub(first.next);
            rows.push([
                found.name.clone(),
                (if last.is_used { "alive" } else { "dead" }).to_owned(),
                last.counts.live.to_string(),
                (last.counts.eofs + last.counts.errors).to_string(),
                last.counts.deaths.to_string(),
                format!("{}/{}", last.unread(), last.lines),
                format!("{:.0}", came as f64 / seconds),
                size(last.bytes),
                age(last.created),
                last.policy.to_string(),
                found.owner.to_string(),
            ]);
        }
        let numbers = [false, false, true, true, true, true, true, true, true, false, true];
        aligned(&rows, &numbers)
    }
}

/// What is in a folder, by name.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}
