//! [`LogDrain`]: from a ring into a sink.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use super::drain_guard::{DrainGuard, Orders, Totals};
use super::format::{Ends, Format, Formatter};
use super::pump::{LOOK_EVERY, Pump};
use super::shared_writer::SharedWriter;
use super::sink::Sink;
use crate::handles::line_ring::LineRing;
use crate::handles::reader::Reader;
use crate::line::item::Item;
use crate::segment::options::{Options, Policy};

/// Drains a ring into a [`Sink`], in a thread of its own or in this one.
///
/// ```
/// use std::io::Write;
/// use std::time::Duration;
/// use linering::{Ends, Format, Level, LineRing, LogDrain, Options, RotatingFile};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("service.log");
/// let ring = LineRing::new(Options::new())?;
/// let drain = LogDrain::new(ring.reader()?)
///     .to(RotatingFile::open(&path, 10_000_000, 5)?)
///     .format(Format::Json)
///     .ends(Ends::All)
///     .spawn()?;
/// let log = ring.writer()?;
/// std::thread::scope(|scope| {
///     for number in 0..4 {
///         let log = &log;
///         scope.spawn(move || writeln!(log.at(Level::Info), "thread {number} serves"));
///     }
/// });
/// let totals = drain.stop(Duration::from_secs(60))?;
/// assert_eq!((totals.lines, totals.left), (4, 0));
/// # assert_eq!(std::fs::read_to_string(&path)?.matches("serves").count(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **The sink** gets a page of text for each batch, and what it has taken leaves the ring. If it
/// fails it is tried again, from the byte at which it failed, until it succeeds or the drain is
/// stopped; the first failure is told on standard error. Meanwhile the ring's policy says what
/// becomes of new lines.
///
/// **Losses** are told in their places, at most once a second for each writer, as records of level
/// warn. A loss is known by the number of its writer's next line, or at the writer's end: what a
/// thread dropped last is not told while it writes nothing more
/// ([`dropped_lines`](SharedWriter::dropped_lines) counts it at once).
///
/// **Idle**, its thread wakes twice a second: so late, at the most, the death of a child is told.
///
/// **Death**: what the sink had not taken is in the ring. In a ring in a file it is there for the
/// next process; the last batch may come twice.
#[doc(alias("worker", "appender", "drain"))]
#[must_use = "it drains nothing until it runs"]
pub struct LogDrain {
    reader: Reader,
    sink: Box<dyn Sink>,
    formatter: Formatter,
    ends: Ends,
}

impl fmt::Debug for LogDrain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reader, ends, .. } = self;
        f.debug_struct("LogDrain")
            .field("reader", reader)
            .field("ends", ends)
            .finish_non_exhaustive()
    }
}

impl LogDrain {
    /// Of this reader, to standard error, as text, with the ends that are failures.
    pub fn new(reader: Reader) -> Self {
        let (sink, formatter) = (Box::new(io::stderr()), of(Format::default()));
        Self { reader, sink, formatter, ends: Ends::default() }
    }

    /// Into this sink.
    pub fn to(self, sink: impl Sink + 'static) -> Self {
        Self { sink: Box::new(sink), ..self }
    }

    /// In this format.
    pub fn format(self, format: Format) -> Self {
        Self { formatter: of(format), ..self }
    }

    /// In a format of the caller's: what it adds for an item, a line end included, is put into the
    /// sink; nothing, for an item that is left out. Where it panics, the item comes as
    /// [`Format::Text`].
    ///
    /// ```
    /// use linering::{End, Ended, Item, Line, LineRing, LogDrain, Options};
    ///
    /// fn loud(item: &Item<'_>, page: &mut Vec<u8>) {
    ///     if let Some(line) = item.line() {
    ///         page.extend_from_slice(line.to_string().to_uppercase().as_bytes());
    ///         page.push(b'\n');
    ///     }
    /// }
    ///
    /// # let ring = LineRing::new(Options::new())?;
    /// let drain = LogDrain::new(ring.reader()?).format_with(loud);
    ///
    /// // Its test needs no ring.
    /// let mut page = Vec::new();
    /// loud(&Line::new("text").into(), &mut page);
    /// loud(&Ended::new(0, End::Eof).into(), &mut page);
    /// assert_eq!(page, b"TEXT\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn format_with(
        self,
        formatter: impl FnMut(&Item<'_>, &mut Vec<u8>) + Send + 'static,
    ) -> Self {
        Self { formatter: Box::new(formatter), ..self }
    }

    /// With these ends.
    pub fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// Drains in a thread of its own, while mirrors come and go, until the guard is stopped or
    /// dropped. Fork what is to write before or after: a child that is forked later uses the
    /// parent's drain.
    ///
    /// # Errors
    ///
    /// The system's refusal of a thread.
    pub fn spawn(mut self) -> io::Result<DrainGuard> {
        self.reader.keep_open(true);
        self.reader.set_longest_sleep(LOOK_EVERY);
        let orders = Arc::new(Orders::default());
        let guard = DrainGuard::new(&self.reader, &orders);
        let mut pump = self.into_pump(orders);
        let run = move || drop(pump.run());
        let thread = thread::Builder::new().name("linering drain".to_owned()).spawn(run)?;
        Ok(guard.of(thread))
    }

    /// Drains in this thread until the ring is over.
    ///
    /// ```
    /// # use linering::{LineRing, LogDrain, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// ring.mirror()?.write_line(b"one line")?;
    /// assert_eq!(LogDrain::new(ring.reader()?).run()?.lines, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError`](crate::ReadError), if the ring cannot be read any more.
    pub fn run(self) -> io::Result<Totals> {
        self.into_pump(Arc::default()).run()
    }

    fn into_pump(self, orders: Arc<Orders>) -> Pump {
        let Self { reader, sink, formatter, ends } = self;
        Pump::new(reader, sink, formatter, ends, orders)
    }
}

fn of(format: Format) -> Formatter {
    Box::new(move |item, page| format.add(page, item))
}

/// A service's log in one call: a ring, a thread that drains it into `sink`, and a writer to share
/// among all threads.
///
/// No writer ever waits for the sink: where the ring is full (4096 lines) new lines are dropped,
/// and told in their place. For other options make the ring, and use [`LogDrain`].
///
/// ```
/// use linering::{Level, non_blocking};
///
/// let (log, _guard) = non_blocking(std::io::stderr())?;
/// log.record(Level::Info, "the service starts")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The guard is to live as long as the service: its drop makes the last round.
///
/// # Errors
///
/// The system's refusal of memory or of a thread.
pub fn non_blocking(sink: impl Sink + 'static) -> io::Result<(SharedWriter, DrainGuard)> {
    let ring = LineRing::new(Options::new().policy(Policy::DropNewest))?;
    let guard = LogDrain::new(ring.reader()?).to(sink).spawn()?;
    Ok((ring.writer()?, guard))
}
