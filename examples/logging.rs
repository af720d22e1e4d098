//! A service's log: forked workers and threads write, one thread drains them into a file that
//! rotates.
//!
//! `cargo run --example logging [FOLDER]`; without a folder, a new one below the system's for
//! temporary files.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use linering::{
    Item, Level, Line, LineProcMirror, LineRing, Options, RotatingFile, Timestamps, WorkerPool,
};

const REQUESTS: usize = 2000;
/// Bytes of a log file, and how many old ones stay.
const LIMIT: u64 = 100_000;
const KEEP: u32 = 9;

/// What a worker does: a line for each request, at its level; what takes several lines stays
/// together.
fn serve(worker: usize, log: &mut LineProcMirror) -> io::Result<()> {
    for request in 0..REQUESTS {
        log.set_level(Level::Info);
        writeln!(log, "worker {worker}: request {request} served")?;
        if request % 500 == 499 {
            log.send_warning(&format!(
                "worker {worker}: request {request} was slow\n  waited for the disk\n"
            ))?;
        }
    }
    Ok(())
}

/// How a line stands in the file.
fn add(page: &mut Vec<u8>, line: &Line<'_>) -> io::Result<()> {
    let time = line.time.and_then(|time| jiff::Timestamp::try_from(time).ok()).unwrap_or_default();
    for text in line.lines() {
        write!(page, "{time:.3} {:?} [{}] ", line.level, line.writer_id)?;
        page.extend_from_slice(text);
        page.push(b'\n');
    }
    Ok(())
}

/// Drains the ring until everybody has ended. A batch is accepted once it is in the file: killed in
/// between, nothing is lost.
fn drain(ring: &LineRing, path: &Path) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let mut file = RotatingFile::open(path, LIMIT, KEEP)?;
    let mut reader = ring.reader()?;
    let (mut page, mut lines) = (Vec::new(), 0);
    loop {
        let batch = reader.batch()?;
        if batch.is_empty() {
            return Ok(lines);
        }
        for item in batch.iter() {
            match &item {
                Item::Line(line) => {
                    add(&mut page, line)?;
                    lines += line.lines().count() as u64;
                }
                // Losses and ends belong into the log too.
                other => writeln!(page, "{other}")?,
            }
        }
        file.write_all(&page)?;
        page.clear();
        batch.commit();
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join(format!("linering-logging-{}", std::process::id())),
    };
    fs::create_dir_all(&folder)?;
    let path = folder.join("service.log");

    let ring = LineRing::new(Options::new().timestamps(Timestamps::Coarse))?;
    // Processes before threads: a child has none of its parent's.
    let mut pool = WorkerPool::fork(&ring, 2, serve)?;
    let mut threads = Vec::new();
    for worker in 2..4 {
        let mut log = ring.mirror()?;
        threads.push(thread::spawn(move || serve(worker, &mut log)));
    }
    let lines = drain(&ring, &path)?;
    for thread in threads {
        thread.join().expect("no worker panics")?;
    }
    pool.join();

    let mut files: Vec<_> =
        fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    println!("{lines} lines in {} files:", files.len());
    for file in &files {
        println!("{:>7} bytes  {}", fs::metadata(file)?.len(), file.display());
    }
    let newest = fs::read_to_string(&path)?;
    println!("the last of them:");
    newest.lines().rev().take(3).for_each(|line| println!("  {line}"));
    Ok(())
}
