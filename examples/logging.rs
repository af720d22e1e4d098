//! A service's log: forked workers and threads write, one thread drains them into a file that
//! rotates.
//!
//! `cargo run --example logging [FOLDER]`; without a folder, a new one below the system's for
//! temporary files.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use linering::{Level, LineRing, LogDrain, Options, RotatingFile, SharedWriter, WorkerPool};

const REQUESTS: usize = 2000;
/// Bytes of a log file, and how many old ones stay.
const LIMIT: u64 = 100_000;
const KEEP: u32 = 9;

/// A record for each request, at its level; what takes several lines is one record too.
fn serve(worker: usize, log: &SharedWriter) -> Result<(), linering::WriteError> {
    for request in 0..REQUESTS {
        let text = format_args!("worker {worker}: request {request} served");
        log.record_fmt(Level::Info, text)?;
        if request % 500 == 499 {
            let text = format_args!("request {request} was slow\nwaited for the disk");
            log.record_fmt(Level::Warn, text)?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join(format!("linering-logging-{}", std::process::id())),
    };
    fs::create_dir_all(&folder)?;
    let path = folder.join("service.log");

    // A full ring makes its writers wait, for a drain that is slow; `non_blocking` drops lines.
    let ring = LineRing::new(Options::new())?;
    let log = ring.writer()?;
    // Processes before threads: a child has none of its parent's.
    let mut pool = WorkerPool::fork(&ring, 2, |worker, _| serve(worker, &log))?;
    let drain =
        LogDrain::new(ring.reader()?).to(RotatingFile::open(&path, LIMIT, KEEP)?).spawn()?;
    thread::scope(|scope| {
        for worker in 2..4 {
            let log = &log;
            scope.spawn(move || serve(worker, log));
        }
    });
    pool.join();
    let totals = drain.stop(Duration::from_secs(60))?;

    let mut files: Vec<_> =
        fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    println!("{} records in {} files:", totals.lines, files.len());
    for file in &files {
        println!("{:>7} bytes  {}", fs::metadata(file)?.len(), file.display());
    }
    let newest = fs::read_to_string(&path)?;
    println!("the last of them:");
    newest.lines().rev().take(3).for_each(|line| println!("  {line}"));
    Ok(())
}
