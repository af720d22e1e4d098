//! Three workers that hang, for docs/watch.md: one runs out of memory, and what reads their lines
//! dies when it reads that.
//!
//! `hanging_workers builds`, then look into the ring `builds`; `linering gc` removes it once the
//! workers were killed.

use std::process::{Command, abort};
use std::thread::sleep;
use std::time::Duration;

use linering::{Item, LineRing, Options, Timestamps};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [ring] => read(ring),
        [ring, label] => work(ring, label),
        _ => Err("expected the name of a ring".into()),
    }
}

fn read(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::new().lines(1024).line_bytes(128).timestamps(Timestamps::Coarse);
    let ring = LineRing::create_named(name, options)?;
    for label in ["web-1", "web-2", "web-3"] {
        Command::new(std::env::current_exe()?).args([name, label]).spawn()?;
    }
    let mut reader = ring.reader()?;
    while let Some(item) = reader.recv()? {
        if let Item::Line(line) = &item
            && line.bytes.ends_with(b"memory")
        {
            abort();
        }
    }
    Ok(())
}

fn work(name: &str, label: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut mirror = LineRing::open_named(name)?.mirror_labelled(label)?;
    for request in 1.. {
        let line = format!("GET /reports/{request} took {} ms", 20 + request * 7 % 13);
        mirror.write_line(line.as_bytes())?;
        if label == "web-2" && request == 2000 {
            mirror.write_line(b"GET /reports/all took 30.1 s")?;
            mirror.write_line(b"out of memory")?;
            abort();
        }
        sleep(Duration::from_micros(500));
    }
    Ok(())
}
