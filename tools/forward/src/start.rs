//! [`Destination`]: where a ring goes; [`start`] opens it, and begins to forward.

use std::time::Duration;

use linering::{LineRing, Reader};
use tokio::time::{Instant, sleep};

use crate::access::Access;
use crate::engine::{Engine, Last, Trouble};
use crate::exit::{Failure, Kind};
use crate::forward::{Forwarder, Options, Totals, Watch};
use crate::json;
#[cfg(feature = "kafka")]
use crate::kafka::Kafka;
use crate::message::Message;
use crate::nats::{self, Create, Nats};
use crate::target::{Target, token};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a record beside those of its line: its head and label.
const OF_A_RECORD: usize = 512;

/// Where a ring goes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The servers, and what keeps the messages there.
    pub target: Target,
    /// The ring's own subject.
    pub subject: String,
    /// Who connects.
    pub access: Access,
    /// How a stream is made that is not there.
    pub create: Option<Create>,
}

impl Destination {
    /// With the subject that the target names, or else `linering.SITE.HOST.NAME`.
    pub fn new(target: Target, site: &str, name: &str) -> Self {
        let subject = target.subject.clone().unwrap_or_else(|| subject(site, None, name));
        Self { target, subject, access: Access::default(), create: None }
    }
}

/// `linering.SITE.HOST.NAME`, with this machine's name if none is given.
pub fn subject(site: &str, host: Option<&str>, name: &str) -> String {
    let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.map_or_else(hostname, str::to_owned);
    format!("linering.{}.{}.{}", token(site), token(host.trim()), token(name))
}

/// An engine that a [`Destination`] names.
#[derive(Debug)]
#[non_exhaustive]
pub enum Opened {
    /// NATS JetStream.
    Nats(Box<Nats>),
    /// Kafka.
    #[cfg(feature = "kafka")]
    Kafka(Kafka),
}

impl Opened {
    /// What limits a body.
    fn limit(&self) -> &'static str {
        match self {
            Opened::Nats(_) => "max_payload, or max_msg_size of the stream",
            #[cfg(feature = "kafka")]
            Opened::Kafka(_) => "max.message.bytes",
        }
    }

    /// The longest body that it takes.
    fn most_bytes(&self) -> usize {
        match self {
            Opened::Nats(nats) => nats.most_bytes(),
            #[cfg(feature = "kafka")]
            Opened::Kafka(kafka) => kafka.most_bytes(),
        }
    }
}

impl Engine for Opened {
    fn staleness(&self) -> Duration {
        match self {
            Opened::Nats(nats) => nats.staleness(),
            #[cfg(feature = "kafka")]
            Opened::Kafka(kafka) => kafka.staleness(),
        }
    }

    fn fences(&self) -> bool {
        match self {
            Opened::Nats(nats) => nats.fences(),
            #[cfg(feature = "kafka")]
            Opened::Kafka(kafka) => kafka.fences(),
        }
    }

    async fn last(&self) -> Result<Option<Last>, Trouble> {
        match self {
            Opened::Nats(nats) => nats.last().await,
            #[cfg(feature = "kafka")]
            Opened::Kafka(kafka) => kafka.last().await,
        }
    }

    async fn append(&self, after: u64, message: &Message) -> Result<u64, Trouble> {
        match self {
            Opened::Nats(nats) => nats.append(after, message).await,
            #[cfg(feature = "kafka")]
            Opened::Kafka(kafka) => kafka.append(after, message).await,
        }
    }
}

/// Connects, waits for the engine as [`Options::away`] says, and makes a forwarder of the ring's
/// reader; `None` if it is to stop. With a reader that was there before, writers wait for an engine
/// that is away as for a slow reader.
///
/// # Errors
///
/// What no waiting mends: another process that reads the ring, wrong credentials, no such stream,
/// lines that are longer than the engine takes.
pub async fn start(
    ring: &LineRing,
    reader: Option<Reader>,
    destination: &Destination,
    options: Options,
    watch: &mut impl Watch,
) -> Result<Option<Forwarder<Opened>>, Failure> {
    let Some(engine) = open(destination, options.away, watch).await? else { return Ok(None) };
    let (most, line, is_json) = (engine.most_bytes(), ring.max_line(), options.encoding.is_json());
    let longest = if is_json { json::most_bytes(line) } else { line + OF_A_RECORD };
    if longest > most {
        let as_json = if is_json { format!(", {longest} as JSON") } else { String::new() };
        let sentence = format!(
            "lines of this ring have up to {line} bytes{as_json}, and the server takes messages of \
             {most}: expected a larger {}, or a ring with a smaller --max-line",
            engine.limit()
        );
        return Err(Failure::new(Kind::Usage, sentence));
    }
    // A message has one record more than that at most, and keys of those of another one.
    let message_bytes = options.message_bytes.clamp(1, (most - longest) / 2 + 1);
    let options = Options { message_bytes, ..options };
    let forwarder = match reader {
        Some(reader) => Forwarder::with_reader(ring, reader, engine, options),
        None => Forwarder::new(ring, engine, options),
    };
    forwarder.map(Some)
}

async fn open(
    destination: &Destination,
    away: Option<Duration>,
    watch: &mut impl Watch,
) -> Result<Option<Opened>, Failure> {
    let began = Instant::now();
    let mut is_said = false;
    loop {
        let trouble = match try_open(destination).await? {
            Ok(engine) => return Ok(Some(engine)),
            Err(trouble) => trouble,
        };
        if !std::mem::replace(&mut is_said, true) {
            watch.say(&format!("{trouble}; it is tried again"));
        }
        if let Some(limit) = away.filter(|limit| began.elapsed() >= *limit) {
            let limit = humantime::format_duration(limit);
            let sentence = format!("the engine is away for {limit}: {trouble}");
            return Err(Failure::new(Kind::Away, sentence));
        }
        if watch.is_over(&Totals::default()) {
            return Ok(None);
        }
        sleep(PAUSE).await;
    }
}

async fn try_open(destination: &Destination) -> Result<Result<Opened, Trouble>, Failure> {
    let Destination { target, subject, access, create } = destination;
    #[cfg(feature = "kafka")]
    if target.is_kafka() {
        let opened = Kafka::open(target, access, subject, *create).await?;
        return Ok(opened.map(Opened::Kafka));
    }
    if access.sasl.is_some() {
        return Err(Failure::new(Kind::Usage, "--sasl is of Kafka, expected none for NATS"));
    }
    let client = match nats::connect(target, access).await? {
        Ok(client) => client,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let opened = Nats::open(client, target, subject.clone(), *create).await?;
    Ok(opened.map(|nats| Opened::Nats(Box::new(nats))))
}
