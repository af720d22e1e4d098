//! `linering-forward`: a ring's lines to NATS JetStream, each position once.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use linering::LineRing;
use linering_forward::exit::{Failure, note};
use linering_forward::forward::{Options, Totals, Watch};
use linering_forward::message::Encoding;
use linering_forward::nats::{Access, Create};
use linering_forward::start::{Destination, start};
use linering_forward::target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// Forwards a ring's lines to a stream of NATS JetStream, each position once
///
/// There is no checkpoint: the last message in the stream says how far the ring came. It may be
/// killed and started again at any moment, and ends once the ring is over.
#[derive(Debug, Parser)]
#[command(name = "linering-forward", version, arg_required_else_help = true)]
#[command(after_help = "\
Exit code: 0 all is forwarded, and the ring is over; 1 a failure; 2 wrong usage, no such stream, or
lines that are longer than the server takes; 3 another forwarder has the ring; 4 the engine was away
for longer than --on-away allows; 5 acknowledged lines are not in the stream; 130 or 143 after a
signal.

Example:
  linering run --no-drain --file app.ring -- ./app &
  linering forward app.ring --to nats://localhost/LINES --create --replicas 1")]
struct Args {
    /// The ring: the path of its file, or its name in shared memory
    #[arg(value_name = "RING")]
    ring: PathBuf,

    /// Where it goes: nats://HOST[:PORT][,HOST…]/STREAM[/SUBJECT], or kafka://…/TOPIC[/SUBJECT]
    ///
    /// SUBJECT is linering.SITE.HOST.RING without it: the site, this machine's name, the ring's.
    #[arg(long, value_name = "TARGET")]
    to: Target,

    /// The site that the subject names
    #[arg(long, default_value = "local")]
    site: String,

    /// Make the stream if it is not there
    #[arg(long)]
    create: bool,

    /// Of a stream that is made: servers that keep a copy each
    #[arg(long, value_name = "N", default_value = "3", requires = "create")]
    replicas: usize,

    /// Of a stream that is made: how long a line is kept; 0s for ever
    #[arg(long, value_name = "TIME", default_value = "0s", requires = "create")]
    max_age: humantime::Duration,

    /// Of a stream that is made: the most bytes of it; -1 without a limit
    #[arg(long, value_name = "BYTES", default_value = "-1", requires = "create")]
    #[arg(allow_negative_numbers = true)]
    max_bytes: i64,

    /// Bytes of records in a message, before it is compressed
    #[arg(long, value_name = "BYTES", default_value = "524288")]
    message_bytes: usize,

    /// How long a message gathers that has fewer
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    linger: humantime::Duration,

    /// How messages are compressed: none or zstd
    #[arg(long, value_name = "HOW", default_value = "none")]
    compress: Encoding,

    /// What to do while the engine is away: block, or wait:TIME, after which the exit code is 4
    #[arg(long, value_name = "WHAT", default_value = "block", value_parser = away)]
    on_away: Away,

    /// Go on after the ring is over: more may come into it
    #[arg(long)]
    follow: bool,

    /// Go on where acknowledged lines are not in the stream
    #[arg(long)]
    accept_loss: bool,

    /// A file with the credentials that nsc made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nkey", "user"])]
    creds: Option<PathBuf>,

    /// A file with the seed of a nkey
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    nkey: Option<PathBuf>,

    /// A user's name
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,

    /// A file whose first line is the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// How the password is shown to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (PLAIN without it)
    #[arg(long, value_name = "MECHANISM", requires = "user")]
    #[arg(value_parser = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])]
    sasl: Option<String>,

    /// Trust the certificates of this file too
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// This program's certificate
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Write metrics to this file each second, as Prometheus reads them
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,

    /// Say on stderr each second how far it is
    #[arg(long)]
    status: bool,
}

const NAME: &str = "linering-forward";

#[derive(Clone, Copy, Debug)]
struct Away(Option<Duration>);

fn away(text: &str) -> Result<Away, String> {
    let wrong = || format!("{text:?}, expected block or wait:TIME, such as wait:10min");
    match text.split_once(':') {
        None if text == "block" => Ok(Away(None)),
        Some(("wait", time)) => {
            Ok(Away(Some(humantime::parse_duration(time).map_err(|_| wrong())?)))
        }
        _ => Err(wrong()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let stopped = Rc::new(Cell::new(None));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let forwarded = match runtime {
        Ok(runtime) => {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, forward(args, Rc::clone(&stopped)))
        }
        Err(error) => Err(Failure::failed(format!("cannot start: {error}"))),
    };
    match (forwarded, stopped.get()) {
        (Ok(()), None) => ExitCode::SUCCESS,
        (Ok(()), Some(signal)) => ExitCode::from(128 + signal),
        (Err(failure), _) => {
            note(NAME, &failure);
            ExitCode::from(failure.kind as u8)
        }
    }
}

async fn forward(args: Args, stopped: Rc<Cell<Option<u8>>>) -> Result<(), Failure> {
    for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
        let mut signal = signal(kind)
            .map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
        let stopped = Rc::clone(&stopped);
        tokio::task::spawn_local(async move {
            signal.recv().await;
            stopped.set(Some(number));
        });
    }
    let ring = open(&args.ring)?;
    let mut watch = Progress::new(&args, stopped);
    let options = Options {
        message_bytes: args.message_bytes,
        linger: args.linger.into(),
        encoding: args.compress,
        away: args.on_away.0,
        follows: args.follow,
        accepts_loss: args.accept_loss,
    };
    let started = start(&ring, None, &destination(&args), options, &mut watch).await?;
    let Some(mut forwarder) = started else { return Ok(()) };
    let totals = forwarder.run(&mut watch).await;
    if let Ok(totals) = &totals {
        watch.tell(totals);
    }
    totals.map(drop)
}

fn open(path: &Path) -> Result<LineRing, Failure> {
    let is_name = path.components().count() == 1 && !path.exists();
    let ring = match path.to_str().filter(|_| is_name) {
        Some(name) => LineRing::open_named(name),
        None => LineRing::open_file(path),
    };
    ring.map_err(|error| {
        let path = path.display();
        Failure::failed(format!("cannot open the ring {path}: {error}"))
    })
}

fn destination(args: &Args) -> Destination {
    let name = args.ring.file_stem().unwrap_or_default().to_string_lossy();
    let access = Access {
        creds: args.creds.clone(),
        nkey: args.nkey.clone(),
        user: args.user.clone().zip(args.password_file.clone()),
        sasl: args.sasl.clone(),
        tls_ca: args.tls_ca.clone(),
        tls_cert: args.tls_cert.clone().zip(args.tls_key.clone()),
    };
    let (replicas, max_age, max_bytes) = (args.replicas, args.max_age.into(), args.max_bytes);
    let create = args.create.then_some(Create { replicas, max_age, max_bytes });
    Destination { access, create, ..Destination::new(args.to.clone(), &args.site, &name) }
}

/// Says how far it is.
struct Progress {
    stopped: Rc<Cell<Option<u8>>>,
    metrics: Option<PathBuf>,
    status: bool,
    told: Instant,
}

impl Progress {
    fn new(args: &Args, stopped: Rc<Cell<Option<u8>>>) -> Self {
        let (metrics, status) = (args.metrics.clone(), args.status);
        Self { stopped, metrics, status, told: Instant::now() }
    }

    fn tell(&mut self, totals: &Totals) {
        self.told = Instant::now();
        let Totals { messages, records, bytes, doubts, upto, .. } = *totals;
        if self.status {
            note(
                NAME,
                format_args!("{records} records in {messages} messages, to position {upto}"),
            );
        }
        let Some(path) = &self.metrics else { return };
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("messages_total", "counter", "Messages that the engine acknowledged.", messages),
            ("records_total", "counter", "Lines, losses and ends in them.", records),
            ("record_bytes_total", "counter", "Bytes of these, uncompressed.", bytes),
            ("doubts_total", "counter", "How often it asked the engine anew.", doubts),
            ("position", "gauge", "Everything before it is in the engine.", upto),
        ] {
            let name = format!("linering_forward_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        // Whole, whenever it is read.
        let new = path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            self.say(&format!("cannot write {}: {error}", path.display()));
            self.metrics = None;
        }
    }
}

impl Watch for Progress {
    fn is_over(&mut self, totals: &Totals) -> bool {
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.tell(totals);
        }
        self.stopped.get().is_some()
    }

    fn say(&mut self, sentence: &str) {
        note(NAME, sentence);
    }
}
