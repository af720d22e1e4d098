//! A task of tokio's reads what threads write, while other tasks run.
//!
//! `cargo run --example async_reader --features tokio`

use std::thread;

use linering::{AsyncReader, LineRing, Options, WakeUp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ring = LineRing::new(Options::new().wake_up(WakeUp::Pipe))?;
    let log = ring.writer()?;
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let log = log.clone();
            thread::spawn(move || log.record(linering::Level::Info, format!("thread {number}")))
        })
        .collect();
    drop(log);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut reader = AsyncReader::new(ring.reader()?)?;
        while let Some(item) = reader.recv().await? {
            println!("{item}");
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    for thread in threads {
        thread.join().expect("no panic")?;
    }
    Ok(())
}
