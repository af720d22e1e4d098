//! A worker that writes straight into the ring of `linering run`, and prints where there is none.
//!
//! `linering run -n 4 -- target/debug/examples/native_worker 1000`, lines; 1000 by default.

use std::io::{self, Write};

use linering::Seat;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let worker = std::env::var("LINERING_WORKER").unwrap_or_else(|_| "alone".to_owned());
    let mut out: Box<dyn Write> = match Seat::from_env()? {
        Some(seat) => Box::new(seat.open()?),
        None => Box::new(io::stdout()),
    };
    let lines = std::env::args().nth(1).map_or(Ok(1000), |lines| lines.parse::<u64>())?;
    for line in 0..lines {
        writeln!(out, "worker {worker}, line {line}")?;
    }
    println!("printed by {worker}");
    Ok(())
}
