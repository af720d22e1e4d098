//! Servers on loopback, for the examples that measure, and what is measured through them.

use std::error::Error;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linering::{LineRing, Options};
use linering_forward::access::Access;
use linering_forward::forward::{self, Forwarder, Totals, Watch};
use linering_forward::nats::{self, Create, Nats};
use linering_forward::target::Target;

/// Of which each has a copy of the stream.
pub struct Servers {
    _folder: tempfile::TempDir,
    processes: Vec<Child>,
    target: Target,
}

impl Servers {
    pub fn start(nodes: usize) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let free_port = || Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let ports =
            (0..2 * nodes).map(|_| free_port()).collect::<Result<Vec<u16>, std::io::Error>>()?;
        let (clients, routes) = ports.split_at(nodes);
        let address = |port: &u16| format!("nats://127.0.0.1:{port}");
        let all = routes.iter().map(address).collect::<Vec<_>>().join(",");
        let hosts = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>();
        let target = format!("nats://{}/LINES", hosts.join(",")).parse()?;
        let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        let mut servers = Self { _folder: folder, processes: Vec::new(), target };
        for node in 0..nodes {
            let store = servers._folder.path().join(node.to_string());
            let mut server = Command::new(&program);
            server.args(["-a", "127.0.0.1", "-p", &clients[node].to_string(), "-js", "-sd"]);
            server.arg(store).stderr(Stdio::null());
            if nodes > 1 {
                let (name, own) = (format!("node-{node}"), address(&routes[node]));
                server.args(["-n", &name, "--cluster_name", "measured", "--cluster", &own]);
                server.args(["--routes", &all]);
            }
            let started = server.spawn().map_err(|error| {
                format!("cannot start {program}: {error}; NATS_SERVER says where it is")
            })?;
            servers.processes.push(started);
        }
        Ok(servers)
    }

    /// Once they have begun, and have chosen one that leads.
    pub async fn engine(&self, subject: &str) -> Result<Nats, Box<dyn Error>> {
        let (replicas, max_age, max_bytes) = (self.processes.len(), Duration::ZERO, 4 << 30);
        let create = Some(Create { replicas, max_age, max_bytes });
        let began = Instant::now();
        loop {
            let trouble = match nats::connect(&self.target, &Access::default()).await? {
                Ok(client) => {
                    match Nats::open(client, &self.target, subject.to_owned(), create).await? {
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
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
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

/// Lines out of a ring with slots of `line_bytes` that a thread writes: what was forwarded, and in
/// which time.
pub async fn forwarded(
    engine: Nats,
    options: forward::Options,
    line_bytes: usize,
    lines: impl Iterator<Item: AsRef<[u8]>> + Send + 'static,
) -> Result<(Totals, Duration), Box<dyn Error>> {
    let ring = LineRing::new(Options::new().lines(1 << 16).line_bytes(line_bytes))?;
    let mut mirror = ring.mirror()?;
    let mut forwarder = Forwarder::new(&ring, engine, options)?;
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        let mut written = 0;
        for line in lines {
            mirror.write_line(line.as_ref())?;
            written += 1;
        }
        Ok::<u64, Box<dyn Error + Send + Sync>>(written)
    });
    let totals = forwarder.run(&mut Quiet).await?;
    let time = began.elapsed();
    let written =
        writer.join().map_err(|_| "the writer has panicked")?.map_err(|it| it.to_string())?;
    // And the mirror's end.
    assert_eq!(totals.records, written + 1);
    Ok((totals, time))
}
