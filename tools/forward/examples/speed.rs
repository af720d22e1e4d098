//! Lines a second into one server, beside what the server does by itself.
//!
//! `NATS_SERVER=… cargo run --release --example speed [MILLION-LINES [SERVERS]]` starts servers on
//! loopback, each of which has a copy. In turns: messages of 4,096 lines of 100 bytes, each
//! appended after the one before was acknowledged, that are made once (the servers' own limit), and
//! the same lines out of a ring, which a thread writes.

mod servers;

use std::error::Error;
use std::time::{Duration, Instant};

use linering_forward::engine::Engine;
use linering_forward::forward::Options;
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::nats::Nats;

use servers::{Servers, forwarded};

const LINES_A_MESSAGE: usize = 4096;
const RECORD_BYTES: usize = 38 + 100;
const MESSAGE_BYTES: usize = LINES_A_MESSAGE * RECORD_BYTES;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let millions: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    let nodes: usize = args.next().map_or(Ok(1), |text| text.parse())?;
    let (servers, lines) = (Servers::start(nodes)?, millions * 1_000_000);
    for round in 0..3 {
        let engine = servers.engine(&format!("linering.speed.engine.{round}")).await?;
        tell("engine", alone(engine, lines as u64).await?);
        let engine = servers.engine(&format!("linering.speed.ring.{round}")).await?;
        let options = Options { message_bytes: MESSAGE_BYTES, ..Options::default() };
        let all = std::iter::repeat_n([b'x'; 100], lines);
        let (totals, time) = forwarded(engine, options, 192, all).await?;
        tell("ring", (lines as u64, time));
        println!("        {} messages", totals.messages);
    }
    Ok(())
}

fn tell(what: &str, (lines, time): (u64, Duration)) {
    println!("{what:>6}: {:.2} M lines/s", lines as f64 / time.as_secs_f64() / 1e6);
}

async fn alone(engine: Nats, lines: u64) -> Result<(u64, Duration), Box<dyn Error>> {
    let records = LINES_A_MESSAGE as u64;
    let extent = Extent { ring: 1, first: 0, upto: 0, records };
    let message = Message::new(extent, Encoding::None, vec![b'x'; MESSAGE_BYTES]);
    let began = Instant::now();
    let (mut after, mut sent) = (0, 0);
    while sent < lines {
        after = engine.append(after, &message).await.map_err(|trouble| trouble.to_string())?;
        sent += records;
    }
    Ok((sent, began.elapsed()))
}
