//! What `--compress zstd` costs and saves, of lines that look like a service's.
//!
//! `NATS_SERVER=… cargo run --release --example compression [MILLION-LINES]`: first messages alone,
//! by level; then the same lines out of a ring into a server on loopback, with and without.

mod servers;

use std::error::Error;
use std::time::Instant;

use linering::{LineRing, Options};
use linering_forward::forward;
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::record;

use servers::{Servers, forwarded};

const MESSAGE_BYTES: usize = 512 << 10;

/// Requests, queries and traces, with addresses, identities and times that differ each time.
struct Lines(u64);

impl Lines {
    fn random(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (self.0 >> 33) % below
    }

    fn next(&mut self) -> String {
        const PATHS: [&str; 8] = [
            "/api/v2/orders",
            "/api/v2/users",
            "/login",
            "/static/app.js",
            "/api/v2/cart/items",
            "/healthz",
            "/api/v2/search",
            "/favicon.ico",
        ];
        const AGENTS: [&str; 4] = [
            "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
            "curl/8.5.0",
            "okhttp/4.12.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Safari/604.1",
        ];
        let (path, agent) = (PATHS[self.random(8) as usize], AGENTS[self.random(4) as usize]);
        let identity = format!("{:08x}{:08x}", self.random(1 << 31), self.random(1 << 31));
        match self.random(10) {
            0..6 => format!(
                "10.{}.{}.{} \"GET {path}/{}?page={} HTTP/1.1\" {} {} {:.3} \"{agent}\" {identity}",
                self.random(4),
                self.random(256),
                self.random(256),
                self.random(1_000_000),
                self.random(40),
                [200, 200, 200, 304, 404, 500][self.random(6) as usize],
                self.random(90_000),
                self.random(2000) as f64 / 1000.0
            ),
            6..9 => format!(
                "level=info trace={identity} component=db rows={} took={}us msg=\"select from \
                 orders where customer = {}\"",
                self.random(500),
                self.random(50_000),
                self.random(1_000_000)
            ),
            _ => format!(
                "level=warn trace={identity} component=payments attempt={} msg=\"gateway answered \
                 {}, trying again in {} ms\"",
                self.random(5),
                500 + self.random(4),
                self.random(3000)
            ),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let millions: f64 = std::env::args().nth(1).map_or(Ok(2.0), |text| text.parse())?;
    let mut source = Lines(7);
    let lines = Vec::leak((0..200_000).map(|_| source.next()).collect());
    alone(lines)?;
    let count = (millions * 1e6) as usize;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(through_a_server(lines, count))
}

/// Messages of these lines, as a forwarder makes them.
fn pages(lines: &[String]) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let ring = LineRing::new(Options::new().lines(1 << 12).line_bytes(256))?;
    let (mut mirror, mut reader) = (ring.mirror()?, ring.reader()?);
    let (mut pages, mut page) = (Vec::new(), Vec::new());
    for line in lines {
        mirror.write_line(line.as_bytes())?;
        if let Some(item) = reader.try_recv()? {
            record::add_item(&mut page, &item, 0);
        }
        if page.len() >= MESSAGE_BYTES {
            pages.push(std::mem::take(&mut page));
        }
    }
    Ok(pages)
}

fn alone(lines: &[String]) -> Result<(), Box<dyn Error>> {
    let pages = pages(lines)?;
    let bytes: usize = pages.iter().map(Vec::len).sum();
    println!("{} messages, {:.0} bytes a record", pages.len(), bytes as f64 / lines.len() as f64);
    let tell = |what: &str, began: Instant, compressed: usize| {
        let rate = bytes as f64 / began.elapsed().as_secs_f64() / 1e6;
        println!("{what:>16}: {rate:4.0} MB/s, {:.2} times", bytes as f64 / compressed as f64);
    };
    for level in [-5, -1, 1, 2, 3] {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        let began = Instant::now();
        let compressed = pages.iter().map(|page| compressor.compress(page).map(|it| it.len()));
        tell(&format!("level {level}"), began, compressed.sum::<Result<usize, _>>()?);
    }
    let began = Instant::now();
    let compressed = pages.iter().map(|page| zstd::bulk::compress(page, 1).map(|it| it.len()));
    tell("1, made anew", began, compressed.sum::<Result<usize, _>>()?);
    let began = Instant::now();
    let extent = Extent { ring: 1, first: 0, upto: 0, records: 0 };
    let message = |page: &Vec<u8>| Message::new(extent, Encoding::Zstd, page.clone()).body.len();
    tell("a message", began, pages.iter().map(message).sum());
    Ok(())
}

async fn through_a_server(lines: &'static [String], count: usize) -> Result<(), Box<dyn Error>> {
    let servers = Servers::start(1)?;
    for round in 0..3 {
        for encoding in [Encoding::None, Encoding::Zstd, Encoding::Json, Encoding::JsonZstd] {
            let subject = format!("linering.compression.{}.{round}", encoding as u8);
            let options = forward::Options { encoding, ..forward::Options::default() };
            let all = lines.iter().cycle().take(count);
            let (totals, time) =
                forwarded(servers.engine(&subject).await?, options, 256, all).await?;
            let a_second = |what: f64| what / time.as_secs_f64() / 1e6;
            println!(
                "{encoding:>9}: {:.2} M lines/s, {:4.0} MB/s of records",
                a_second(count as f64),
                a_second(totals.bytes as f64)
            );
        }
    }
    Ok(())
}
