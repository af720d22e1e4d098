//! Lines a second into one server, beside what the server does by itself.
//!
//! `NATS_SERVER=… cargo run --release --example speed [MILLION-LINES [SERVERS]]` starts servers on
//! loopback, each of which has a copy. In turns: messages of 4,096 lines of 100 bytes, each
//! appended after the one before was acknowledged, that are made once (the servers' own limit), and
//! the same lines out of a ring, which a thread writes.

use std::error::Error;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linering::{LineRing, Options};
use linering_forward::engine::Engine;
use linering_forward::forward::{self, Forwarder, Totals, Watch};
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::nats::{self, Access, Create, Nats};
use linering_forward::target::Target;

const LINES_A_MESSAGE: usize = 4096;
const RECORD_BYTES: usize = 38 + 100;
const MESSAGE_BYTES: usize = LINES_A_MESSAGE * RECORD_BYTES;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Quiet;

impl Watch for Quiet {
    fn is_over(&mut self, _: &Totals) -> bool {
        false
    }

    fn say(&mut self, sentence: &str) {
        eprintln!("{sentence}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let millions: u64 = args.next().map_or(Ok(5), |text| text.parse())?;
    let nodes: usize = args.next().map_or(Ok(1), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let free_port = || Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    let ports =
        (0..2 * nodes).map(|_| free_port()).collect::<Result<Vec<u16>, std::io::Error>>()?;
    let (clients, routes) = ports.split_at(nodes);
    let address = |port: &u16| format!("nats://127.0.0.1:{port}");
    let all = routes.iter().map(address).collect::<Vec<_>>().join(",");
    let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
    let mut servers = Vec::new();
    for node in 0..nodes {
        let mut server = Command::new(&program);
        server.args(["-a", "127.0.0.1", "-p", &clients[node].to_string(), "-js", "-sd"]);
        server.arg(folder.path().join(node.to_string())).stderr(Stdio::null());
        if nodes > 1 {
            let (name, own) = (format!("node-{node}"), address(&routes[node]));
            server.args(["-n", &name, "--cluster_name", "speed", "--cluster", &own]);
            server.args(["--routes", &all]);
        }
        let started = server.spawn().map_err(|error| {
            format!("cannot start {program}: {error}; NATS_SERVER says where it is")
        })?;
        servers.push(Server(started));
    }
    let hosts = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>();
    let target: Target = format!("nats://{}/LINES", hosts.join(",")).parse()?;
    let (replicas, max_age, max_bytes) = (nodes, Duration::ZERO, 4 << 30);
    let create = Create { replicas, max_age, max_bytes };
    for round in 0..3 {
        for kind in ["engine", "ring"] {
            let subject = format!("linering.speed.{kind}.{round}");
            let engine = engine(&target, &subject, create).await?;
            let (lines, time) = match kind {
                "engine" => alone(engine, millions * 1_000_000).await?,
                _ => forwarded(engine, millions * 1_000_000).await?,
            };
            let rate = lines as f64 / time.as_secs_f64() / 1e6;
            println!("{kind:>6}: {rate:.2} M lines/s");
        }
    }
    Ok(())
}

/// Once the servers have begun, and have chosen one that leads.
async fn engine(target: &Target, subject: &str, create: Create) -> Result<Nats, Box<dyn Error>> {
    let began = Instant::now();
    loop {
        let trouble = match nats::connect(target, &Access::default()).await? {
            Ok(client) => {
                match Nats::open(client, target, subject.to_owned(), Some(create)).await? {
                    Ok(engine) => return Ok(engine),
                    Err(trouble) => trouble,
                }
            }
            Err(trouble) => trouble,
        };
        if began.elapsed() > Duration::from_secs(20) {
            return Err(trouble.to_string().into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

async fn forwarded(engine: Nats, lines: u64) -> Result<(u64, Duration), Box<dyn Error>> {
    let ring = LineRing::new(Options::new().lines(1 << 16).line_bytes(192))?;
    let mut mirror = ring.mirror()?;
    let options = forward::Options { message_bytes: MESSAGE_BYTES, ..forward::Options::default() };
    let mut forwarder = Forwarder::new(&ring, engine, options)?;
    let began = Instant::now();
    let writer =
        std::thread::spawn(move || (0..lines).try_for_each(|_| mirror.write_line(&[b'x'; 100])));
    let totals = forwarder.run(&mut Quiet).await?;
    let time = began.elapsed();
    writer.join().map_err(|_| "the writer has panicked")??;
    println!("        {} messages", totals.messages);
    // And the mirror's end.
    assert_eq!(totals.records, lines + 1);
    Ok((lines, time))
}
