//! The crate `log`'s records, into a sink of the program's own that takes them with all that is
//! known of them: here as what `serde` makes of them.
//!
//! `cargo run --example own_sink --features log,serde`

use std::io;
use std::time::Duration;

use linering::{Ended, Item, LineRing, LogDrain, Logger, Options, Sink};

/// Sends items to a collector, or would.
struct Collector;

impl Sink for Collector {
    /// A failure is tried again: an item leaves the ring when it has been sent.
    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        println!("{}", serde_json::to_string(item)?);
        Ok(())
    }

    /// The text of the same items is not wanted.
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        Ok(text.len())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without a ring, as a test does it.
    Collector.item(&Ended::new(7, linering::End::Eof).into())?;

    let ring = LineRing::new(Options::new())?;
    let drain = LogDrain::new(ring.reader()?).to(Collector).spawn()?;
    Logger::new(&ring.writer()?).level(log::LevelFilter::Info).install()?;
    log::info!("the service starts");
    log::debug!("left out");
    std::thread::scope(|scope| scope.spawn(|| log::warn!("from a thread")).join()).ok();
    println!("{}", serde_json::to_string(&drain.stop(Duration::from_secs(60))?)?);
    Ok(())
}
