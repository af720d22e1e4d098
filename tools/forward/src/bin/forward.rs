//! `linering-forward`: a ring's lines to NATS JetStream, each position once.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use linering::{AttachError, LineRing, Observer, turn_sigbus_into_errors};
use linering_forward::access::{Access, AccessArgs};
use linering_forward::exit::{Failure, note};
use linering_forward::forward::{Options, Totals, Watch};
use linering_forward::message::Encoding;
use linering_forward::metrics::{Metrics, Place};
use linering_forward::nats::Create;
use linering_forward::start::{Destination, start, subject};
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

    /// The machine that the subject names, by its hostname without this: for containers, whose
    /// hostname is another each time
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

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

    /// How messages are compressed
    #[arg(long, value_name = "HOW", value_enum, default_value = "none")]
    compress: Compression,

    /// How records are written: binary, or json for readers that are not linering merge
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "binary")]
    format: Format,

    /// What to do while the engine is away: block, or wait:TIME, after which the exit code is 4
    #[arg(long, value_name = "WHAT", default_value = "block", value_parser = away)]
    on_away: Away,

    /// Go on after the ring is over: more may come into it; also wait for a ring that is not there
    #[arg(long)]
    follow: bool,

    /// Go on where acknowledged lines are not in the stream
    #[arg(long)]
    accept_loss: bool,

    #[command(flatten)]
    access: AccessArgs,

    /// Give metrics as Prometheus reads them: FILE, or [ADDRESS]:PORT, where
    /// they are answered over HTTP; the address is 127.0.0.1 without one
    #[arg(long, value_name = "PLACE")]
    metrics: Option<Place>,

    /// Say on stderr each second how far it is
    #[arg(long)]
    status: bool,
}

const NAME: &str = "linering-forward";

/// How long a ring may take to be made that a program has begun to make just now.
const BEING_MADE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Binary,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compression {
    None,
    Zstd,
}

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
    // A file that is cut while it is read is an error and no signal.
    turn_sigbus_into_errors()
        .map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
    let Some(ring) = opened(&args, &stopped).await? else { return Ok(()) };
    let mut watch = Progress::new(&args, &ring, stopped)?;
    let encoding = match args.compress {
        Compression::None => Encoding::None,
        Compression::Zstd => Encoding::Zstd,
    };
    let options = Options {
        message_bytes: args.message_bytes,
        linger: args.linger.into(),
        encoding: encoding.with_json(args.format == Format::Json),
        away: args.on_away.0,
        follows: args.follow,
        accepts_loss: args.accept_loss,
    };
    let started = start(&ring, None, &destination(&args), options, &mut watch).await?;
    let Some(mut forwarder) = started else { return Ok(()) };
    let totals = forwarder.run(&mut watch).await;
    if let Ok(totals) = &totals {
        watch.is_over(totals);
        watch.tell(totals);
    }
    totals.map(drop)
}

/// The ring, once it is there: a moment, or for as long as it takes if it is followed. `None` if it
/// was stopped before.
async fn opened(args: &Args, stopped: &Cell<Option<u8>>) -> Result<Option<LineRing>, Failure> {
    let (path, began, mut has_said) = (args.ring.display(), Instant::now(), false);
    loop {
        let error = match open(&args.ring) {
            Ok(ring) => return Ok(Some(ring)),
            Err(error) => error,
        };
        let is_late = began.elapsed() >= BEING_MADE;
        if !error.is_missing() || is_late && !args.follow {
            return Err(Failure::failed(format!("cannot open the ring {path}: {error}")));
        }
        if stopped.get().is_some() {
            return Ok(None);
        }
        if is_late && !has_said {
            note(NAME, format_args!("waits for a ring {path}, which is not there yet"));
            has_said = true;
        }
        tokio::time::sleep(Duration::from_millis(if is_late { 500 } else { 20 })).await;
    }
}

fn open(path: &Path) -> Result<LineRing, AttachError> {
    let is_name = path.components().count() == 1 && !path.exists();
    match path.to_str().filter(|_| is_name) {
        Some(name) => LineRing::open_named(name),
        None => LineRing::open_file(path),
    }
}

fn destination(args: &Args) -> Destination {
    let name = args.ring.file_stem().unwrap_or_default().to_string_lossy();
    let subject = || subject(&args.site, args.host.as_deref(), &name);
    let subject = args.to.subject.clone().unwrap_or_else(subject);
    let access = Access::from(args.access.clone());
    let (replicas, max_age, max_bytes) = (args.replicas, args.max_age.into(), args.max_bytes);
    let create = args.create.then_some(Create { replicas, max_age, max_bytes });
    Destination { target: args.to.clone(), subject, access, create }
}

/// Says how far it is.
struct Progress {
    /// Where the ring was opened,
    path: PathBuf,
    /// and which one.
    ring: u128,
    stopped: Rc<Cell<Option<u8>>>,
    metrics: Option<Metrics>,
    status: bool,
    told: Instant,
}

impl Progress {
    fn new(args: &Args, ring: &LineRing, stopped: Rc<Cell<Option<u8>>>) -> Result<Self, Failure> {
        let metrics = args.metrics.as_ref().map(|place| {
            let descriptor = ring.descriptor().map_err(Failure::failed)?;
            let observer = Observer::attach(descriptor).map_err(Failure::failed)?;
            Metrics::new(place, &args.ring.to_string_lossy(), observer)
        });
        let (metrics, status) = (metrics.transpose()?, args.status);
        let (path, ring) = (args.ring.clone(), ring.identity());
        Ok(Self { path, ring, stopped, metrics, status, told: Instant::now() })
    }

    fn tell(&mut self, totals: &Totals) {
        self.told = Instant::now();
        let Totals { messages, records, upto, .. } = *totals;
        if self.status {
            note(
                NAME,
                format_args!("{records} records in {messages} messages, to position {upto}"),
            );
        }
        if let Some(Err(sentence)) = self.metrics.as_mut().map(Metrics::write) {
            self.say(&sentence);
            self.metrics = None;
        }
    }
}

impl Watch for Progress {
    fn is_over(&mut self, totals: &Totals) -> bool {
        if let Some(metrics) = &self.metrics {
            metrics.note(totals);
        }
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.tell(totals);
        }
        self.stopped.get().is_some()
    }

    fn goes_on(&mut self) -> bool {
        let is_other = open(&self.path).is_ok_and(|ring| ring.identity() != self.ring);
        if is_other {
            let path = self.path.display();
            self.say(&format!(
                "all of the ring that was {path} is forwarded; another one is there"
            ));
        }
        !is_other
    }

    fn say(&mut self, sentence: &str) {
        note(NAME, sentence);
    }
}
