//! `linering-merge`: the lines of many rings out of a stream, in one order.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer};
use clap::{Parser, ValueEnum};
use futures_util::StreamExt;
use linering::End;
use linering_forward::access::{Access, AccessArgs};
use linering_forward::exit::{Failure, Kind, note};
use linering_forward::merge::{Merge, Merged, json, short};
use linering_forward::message::Message;
use linering_forward::nats;
use linering_forward::record::What;
use linering_forward::stream;
use linering_forward::target::Target;

/// How long a stream may not be read before that is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the server says that the consumer is there still: it is in the server's memory.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Bytes that the server sends ahead.
const AHEAD: usize = 16 << 20;

/// Prints the lines of many rings that were forwarded, in one order
///
/// Each ring's own order is kept, and checked: what is missing is said in its place. Rings are
/// merged by time, as far as their machines' clocks agree.
#[derive(Debug, Parser)]
#[command(name = "linering-merge", version, arg_required_else_help = true)]
#[command(after_help = "\
Exit code: 0 all is whole; 1 a failure; 2 wrong usage; 5 something is missing.

Example:
  linering merge --from nats://localhost/LINES --subject 'linering.local.>' -o json")]
struct Args {
    /// Where from: nats://HOST[:PORT][,HOST…]/STREAM, or kafka://…/TOPIC
    #[arg(long, value_name = "TARGET")]
    from: Target,

    /// Of these subjects alone; * and > stand for others
    #[arg(long, value_name = "SUBJECT", default_value = ">")]
    subject: String,

    /// How: short (time, subject, label and text) or json
    #[arg(short, long, value_enum, default_value = "short")]
    output: Output,

    /// How much the machines' clocks may differ: so long a line waits for older ones
    #[arg(long, value_name = "TIME", default_value = "2s")]
    skew: humantime::Duration,

    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Short,
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let merged = match runtime {
        Ok(runtime) => runtime.block_on(merge(&args)),
        Err(error) => Err(Failure::failed(format!("cannot start: {error}"))),
    };
    match merged {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note("linering-merge", &failure);
            ExitCode::from(failure.kind as u8)
        }
    }
}

async fn merge(args: &Args) -> Result<(), Failure> {
    let access = Access::from(args.access.clone());
    #[cfg(feature = "kafka")]
    if args.from.is_kafka() {
        return merge_topic(args, &access);
    }
    let client = nats::connect(&args.from, &access).await?.map_err(Failure::failed)?;
    let context = jetstream::new(client.clone());
    let name = &args.from.stream;
    let missing = || Failure::new(Kind::Usage, format!("there is no stream {name}"));
    let found = stream::find(&client, &context, name, None, missing).await?;
    let mut stream = found.map_err(Failure::failed)?;
    let mut merge = Merge::new(args.skew.into());
    let mut printer =
        Printer { output: args.output, has_gap: false, to: BufWriter::new(io::stdout()) };
    let mut place = Place { next: 1, last: None };
    let (mut came, mut tried) = (place.next, Instant::now());
    while let Err(trouble) = read(args, &mut stream, &mut place, &mut merge, &mut printer).await {
        let trouble = match trouble.downcast::<Failure>() {
            Ok(failure) => return Err(*failure),
            Err(trouble) => trouble,
        };
        // Servers that choose one that leads answer before long, and it goes on where it was.
        if place.next > came {
            (came, tried) = (place.next, Instant::now());
        }
        if tried.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("cannot read the stream {name}: {trouble}")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    printer.end(merge)
}

/// How far a merge is in its stream.
struct Place {
    /// The sequence number that is read next.
    next: u64,
    /// The stream's last one when it was looked at first.
    last: Option<u64>,
}

/// Reads on, to the stream's end unless it is followed. What is no [`Failure`] the servers have
/// refused or not answered, and may be tried again.
async fn read(
    args: &Args,
    stream: &mut jetstream::stream::Stream,
    place: &mut Place,
    merge: &mut Merge,
    printer: &mut Printer,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let last = match place.last {
        Some(last) => last,
        None => *place.last.insert(stream.info().await?.state.last_sequence),
    };
    let config = consumer::pull::Config {
        filter_subject: args.subject.clone(),
        deliver_policy: consumer::DeliverPolicy::ByStartSequence { start_sequence: place.next },
        ack_policy: consumer::AckPolicy::None,
        inactive_threshold: Duration::from_secs(60),
        memory_storage: true,
        ..consumer::pull::Config::default()
    };
    let mut consumer = stream.create_consumer(config).await?;
    let mut left = consumer.cached_info().num_pending;
    // By bytes: many long messages are more than the server sends to one client.
    let messages = consumer.stream().max_bytes_per_batch(AHEAD).heartbeat(HEARTBEAT);
    let mut messages = messages.messages().await?;
    while left > 0 || args.follow {
        let waited = tokio::time::timeout(Duration::from_secs(1), messages.next()).await;
        let Ok(next) = waited else {
            // Nothing came: what waits for older ones waits no longer.
            while let Some(tagged) = merge.next(true) {
                printer.print(&tagged)?;
            }
            printer.flush()?;
            // What was deleted meanwhile does not come any more.
            if !args.follow && consumer.info().await?.num_pending == 0 {
                break;
            }
            continue;
        };
        let Some(message) = next else { break };
        let message = message?;
        let info = message.info()?;
        let sequence = info.stream_sequence;
        merge.arrives(info.published.into());
        let header = |name| message.headers.as_ref()?.get(name).map(|value| value.as_str());
        merge.add(&message.subject, Message::of(header, message.payload.clone()));
        while let Some(tagged) = merge.next(false) {
            printer.print(&tagged)?;
        }
        place.next = sequence + 1;
        left = left.saturating_sub(1);
        if sequence >= last && !args.follow {
            break;
        }
    }
    Ok(())
}

#[cfg(feature = "kafka")]
fn merge_topic(args: &Args, access: &Access) -> Result<(), Failure> {
    use linering_forward::kafka_merge::{Next, Topic};
    let mut topic = Topic::open(&args.from, access)?;
    let mut merge = Merge::new(args.skew.into());
    let mut printer =
        Printer { output: args.output, has_gap: false, to: BufWriter::new(io::stdout()) };
    loop {
        let is_idle = match topic.next_message()? {
            Next::Message(subject, message) if stream::takes(&args.subject, &subject) => {
                merge.add(&subject, message);
                false
            }
            Next::Message(..) | Next::Nothing => false,
            Next::End if args.follow => true,
            Next::End => return printer.end(merge),
        };
        while let Some(tagged) = merge.next(is_idle) {
            printer.print(&tagged)?;
        }
        if is_idle {
            printer.flush()?;
        }
    }
}

/// Whether it is the end of a seat that no process opened.
fn is_cancelled(merged: &Merged) -> bool {
    let Merged::Record(record) = merged else { return false };
    matches!(record.what, What::Ended { end: End::Cancelled, .. })
}

struct Printer {
    output: Output,
    has_gap: bool,
    to: BufWriter<io::Stdout>,
}

impl Printer {
    fn end(mut self, mut merge: Merge) -> Result<(), Failure> {
        while let Some(tagged) = merge.next(true) {
            self.print(&tagged)?;
        }
        self.flush()?;
        if self.has_gap {
            let sentence = "something is missing, expected whole chains: see the lines between --";
            return Err(Failure::new(Kind::Lost, sentence));
        }
        Ok(())
    }

    fn print(&mut self, tagged: &(String, Merged)) -> Result<(), Failure> {
        self.has_gap |= !matches!(tagged.1, Merged::Record(_));
        let mut line = match self.output {
            // No process wrote there.
            Output::Short if is_cancelled(&tagged.1) => return Ok(()),
            Output::Short => short(tagged),
            Output::Json => json(tagged).to_string().into_bytes(),
        };
        line.push(b'\n');
        self.written(|to| to.write_all(&line))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.written(BufWriter::flush)
    }

    fn written(
        &mut self,
        write: impl FnOnce(&mut BufWriter<io::Stdout>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        write(&mut self.to).map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                // Whatever reads it has enough.
                std::process::exit(0);
            }
            Failure::failed(format!("cannot write: {error}"))
        })
    }
}
