//! A service's log: forked workers and threads write, one thread drains them into a file that
//! rotates.
//!
//! `cargo run --example logging [FOLDER]`; without a folder, the system's for temporary files.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use linering::{
    Level, LineRing, LogDrain, Options, RotatingFile, SharedWriter, WorkerPool, WriteError,
};

/// A record for each request, at its level; what takes several lines is one record too.
fn serve(worker: usize, log: &SharedWriter) -> Result<(), WriteError> {
    for request in 0..2000 {
        let text = format_args!("worker {worker}: request {request} served");
        log.record_fmt(Level::Info, text)?;
        if request % 500 == 499 {
            log.record(Level::Warn, format!("request {request} was slow\nwaited for the disk"))?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("linering-service-{}.log", std::process::id()));

    // A full ring makes its writers wait, for a drain that is slow; `non_blocking` drops lines.
    let ring = LineRing::new(Options::new())?;
    let log = ring.writer()?;
    // Processes before threads: a child has none of its parent's.
    let mut pool = WorkerPool::fork(&ring, 2, |worker, _| serve(worker, &log))?;
    // Files of 100 kB, of which nine old ones stay.
    let file = RotatingFile::open(&path, 100_000, 9)?;
    let drain = LogDrain::new(ring.reader()?).to(file).spawn()?;
    thread::scope(|scope| {
        let threads = [2, 3].map(|worker| {
            let log = &log;
            scope.spawn(move || serve(worker, log))
        });
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    pool.join();
    let totals = drain.stop(Duration::from_secs(60))?;
    println!("{} records are in {} and the files beside it", totals.lines, path.display());
    Ok(())
}
