//! A service whose events go into a file, with tracing-appender.
//!
//! `cargo run --example with_tracing_appender FILE`

use std::fs::File;

mod service;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("expected the file to write, found nothing")?;
    let file = File::create(path)?;
    let (writer, _guard) = tracing_appender::non_blocking(file);
    tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(writer).init();
    service::serve();
    Ok(())
}
