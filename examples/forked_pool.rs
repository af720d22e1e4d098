//! Synchronise among processes: four forked workers print into mirrors of one buffer, and one of
//! them fails.
//!
//! `cargo run --example forked_pool`

use std::io::Write;

use linering::{End, LineProcBuffer, LineProcMirror, Message, WorkerPool};

/// What each worker process does. Its `Ok` becomes an EOF, its `Err` (or a panic) an error with its
/// trace.
fn worker_process(
    worker: usize,
    mirror: &mut LineProcMirror,
) -> Result<(), Box<dyn std::error::Error>> {
    writeln!(mirror, "Message item of worker {worker}")?;
    if worker == 2 {
        let number: i32 = "forty-two".parse()?;
        writeln!(mirror, "never printed: {number}")?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let buffer = LineProcBuffer::new(10)?; // Initialisation.
    let mut pool = WorkerPool::fork(&buffer, 4, worker_process)?; // Run four processes.
    let ends = pool.wait(&buffer)?; // Wait for the end of each.

    let messages = buffer.read(None)?; // Get results.
    for item in &messages {
        match item {
            Message::Line(line) => println!("{line}"),
            Message::Group(group) => {
                println!("--- worker {} sent:\n{group}\n---", group.writer_id())
            }
        }
    }
    let failed = ends.iter().filter(|ended| ended.end != End::Eof).count();
    println!("{} workers ended, {failed} of them with an error", ends.len());
    Ok(())
}
