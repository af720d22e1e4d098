//! A service's log in systemd's journald: each record is an entry with fields.
//!
//! `cargo run --example journald --features journald`; then `journalctl -o verbose -t example`.

use std::time::Duration;

use linering::{Journald, Level, non_blocking};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let journal = Journald::new()?.identifier("example").field("SERVICE_VERSION", "1.2")?;
    let (log, guard) = non_blocking(journal)?;
    std::thread::Builder::new().name("api".to_owned()).spawn({
        let log = log.clone();
        move || log.record(Level::Warn, "slow\nwaited for the disk")
    })?;
    log.record(Level::Info, "the service starts")?;
    log.record(Level::Error, b"not text: \xff\0")?;
    // Where no journald is, this says so, and how many records are left.
    let totals = guard.stop(Duration::from_secs(2))?;
    println!("{} records are in the journal, {} are left", totals.lines, totals.left);
    Ok(())
}
