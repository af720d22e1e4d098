//! A service that logs into a ring in a file and forwards that ring itself, without the command.
//!
//! `cargo run --example service app.ring nats://localhost/LINES 100` logs 100 lines in each of
//! three threads; without a number, until it is killed. Started again with the same ring it goes
//! on: what the one before had logged is forwarded first, and nothing twice.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use linering::{AttachError, Level, LineRing, Options};
use linering_forward::forward;
use linering_forward::nats::Create;
use linering_forward::spawn::spawn;
use linering_forward::start::Destination;

const THREADS: u64 = 3;

/// The ring of this path, or a new one.
fn ring(path: &Path) -> Result<LineRing, Box<dyn Error>> {
    match LineRing::open_file(path) {
        Ok(ring) => Ok(ring),
        Err(AttachError::System(error)) if error.error.kind() == std::io::ErrorKind::NotFound => {
            // While it starts again, writers of other processes wait.
            let options = Options::new().lines(1 << 14).reader_grace(Duration::MAX);
            Ok(LineRing::create_file(path, options)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, target, lines) = match &arguments[..] {
        [path, target] => (path, target, u64::MAX),
        [path, target, lines] => (path, target, lines.parse()?),
        _ => return Err("expected RING nats://HOST/STREAM [LINES]".into()),
    };
    let ring = ring(Path::new(path))?;
    let create = Create { replicas: 1, max_age: Duration::ZERO, max_bytes: -1 };
    let destination = Destination::new(target.parse()?, "local", "service");
    let destination = Destination { create: Some(create), ..destination };
    let options = forward::Options { linger: Duration::from_millis(10), ..Default::default() };
    let forwarding = spawn(&ring, destination, options)?;
    let (log, run) = (ring.writer()?, std::process::id());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..lines {
                    let text = format!("{run}.{thread} {number}");
                    if log.record(Level::Info, &text).is_err() {
                        // Counted, and told on standard error.
                        break;
                    }
                }
            });
        }
    });
    let totals = forwarding.stop(Duration::from_secs(60))?;
    println!("{} records in {} messages", totals.records, totals.messages);
    Ok(())
}
