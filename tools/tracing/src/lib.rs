//! `tracing`'s events into a [`linering`], from all threads and forked children of a service.
//!
//! A program that writes with `tracing-appender` moves by one line:
//! `tracing_appender::non_blocking(file)` becomes [`non_blocking`]`(file)?`. It prints the same, a
//! forked child's events included, and says in the log what a full ring made it drop.
//!
//! ```
//! let (writer, _guard) = tracing_linering::non_blocking(std::io::stderr())?;
//! let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
//! tracing::subscriber::with_default(subscriber, || tracing::info!(port = 80, "listening"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`RingLayer`] records events with their fields and spans instead, as one JSON object each, and
//! [`json`] prints them so.

mod layer;

use std::io;

use linering::{DrainGuard, Level, LineRing, LogDrain, Options, Policy, SharedWriter, Sink};
use tracing_core::Metadata;
use tracing_subscriber::fmt::MakeWriter;

pub use layer::{RingLayer, json};

/// What `tracing_subscriber::fmt` writes through: each event is one record, of the event's level,
/// whatever lines it has.
#[derive(Clone, Debug)]
pub struct RingWriter(SharedWriter);

impl RingWriter {
    /// Into this writer's ring.
    pub fn new(writer: &SharedWriter) -> Self {
        Self(writer.clone())
    }
}

impl<'w> MakeWriter<'w> for RingWriter {
    type Writer = SharedWriter;

    fn make_writer(&'w self) -> SharedWriter {
        self.0.clone()
    }

    fn make_writer_for(&'w self, event: &Metadata<'_>) -> SharedWriter {
        self.0.at(level_of(event))
    }
}

fn level_of(event: &Metadata<'_>) -> Level {
    match *event.level() {
        tracing_core::Level::ERROR => Level::Error,
        tracing_core::Level::WARN => Level::Warn,
        tracing_core::Level::INFO => Level::Info,
        tracing_core::Level::DEBUG => Level::Debug,
        tracing_core::Level::TRACE => Level::Trace,
    }
}

/// A ring, a thread that drains it into `sink`, and what events are written through: in the place
/// of `tracing_appender::non_blocking`.
///
/// What the subscriber has formatted goes into the sink as it is, several lines of an event as
/// several lines ([`RingLayer`] and [`json`] make one of them). No event waits for the sink:
/// where the ring is full (4096 events of up to about 200 bytes) new ones are dropped, and told in
/// their place. For other options make the ring, and use [`LogDrain`] and [`RingWriter::new`].
///
/// The guard is to live as long as the program: its drop makes the last round.
///
/// # Errors
///
/// The system's refusal of memory or of a thread.
pub fn non_blocking(sink: impl Sink + 'static) -> io::Result<(RingWriter, DrainGuard)> {
    let ring = LineRing::new(Options::new().policy(Policy::DropNewest))?;
    let drain = LogDrain::new(ring.reader()?).to(sink).format(linering::Format::Raw);
    Ok((RingWriter(ring.writer()?), drain.spawn()?))
}
