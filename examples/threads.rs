//! Synchronise among threads: four threads print into one buffer, which keeps the last ten lines.
//!
//! `cargo run --example threads`

use std::io::{self, Write};
use std::thread;

use linering::LineBuffer;

/// Prints ten lines, each in pieces: lines are put together per thread, so nothing mixes.
fn worker_thread(mut out: &LineBuffer, worker: usize) -> io::Result<()> {
    for i in 0..10 {
        write!(out, "Thread: \"{worker}\"; ")?;
        write!(out, "Line: ")?;
        writeln!(out, "buffer new {i}")?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let buffer = LineBuffer::new(10)?; // Initialisation.
    thread::scope(|scope| {
        // Run 4 threads.
        let threads: Vec<_> = (0..4)
            .map(|worker| {
                scope.spawn({
                    let buffer = &buffer;
                    move || worker_thread(buffer, worker)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no worker panics"))
    })?;

    let messages = buffer.read(None)?; // Get results.
    for item in messages {
        println!("{item}");
    }
    Ok(())
}
