//! [`Forwarder`]: compare and append, over any [`Engine`]; docs/forward.md draws the loop.

use std::pin::pin;
use std::time::Duration;

use linering::{LineRing, Observer, ReadError, Reader};
use tokio::time::{Instant, sleep};

use crate::doubt::Known;
use crate::engine::{Engine, Last, Trouble};
use crate::exit::{Failure, Kind};
use crate::json;
use crate::message::{Extent, Message, is_before};
use crate::page::{Page, Source};

pub use crate::watch::{Options, Totals, Watch};

/// How often the ring is looked at while a message is on its way, or gathers.
const TICK: Duration = Duration::from_millis(1);
/// The longest sleep on an idle ring: a line ends it, and so less than two wake-ups a second are
/// enough.
const IDLE: Duration = Duration::from_millis(1100);
/// Between two questions in doubt: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Becomes the ring's reader.
///
/// # Errors
///
/// Another process reads it.
pub fn reader(ring: &LineRing) -> Result<Reader, Failure> {
    ring.reader().map_err(|error| match error {
        ReadError::HasReader { .. } => Failure::new(Kind::Another, error),
        _ => Failure::failed(error),
    })
}

/// Forwards one ring.
#[derive(Debug)]
pub struct Forwarder<E> {
    source: Source,
    ring: u128,
    /// The ring's first position.
    start: u64,
    /// Everything before it was accepted, by this forwarder or one before. Not where the reader is:
    /// one that was overrun is further, and what was overwritten is still to be told.
    accepted: u64,
    /// The ring's next position when this began: an end that the reader before had told comes
    /// before it is reached, if it comes again.
    tail: u64,
    engine: E,
    options: Options,
    has_asked: bool,
    totals: Totals,
    /// Since when it is in doubt without having sent anything.
    away_since: Option<Instant>,
    /// Since when the engine lacks what it had acknowledged.
    lost_since: Option<Instant>,
    pause: Duration,
}

impl<E: Engine> Forwarder<E> {
    /// Becomes the ring's reader.
    ///
    /// # Errors
    ///
    /// Another process reads the ring.
    pub fn new(ring: &LineRing, engine: E, options: Options) -> Result<Self, Failure> {
        Self::with_reader(ring, reader(ring)?, engine, options)
    }

    /// With the ring's reader.
    ///
    /// # Errors
    ///
    /// The ring cannot be looked at.
    pub fn with_reader(
        ring: &LineRing,
        mut reader: Reader,
        engine: E,
        options: Options,
    ) -> Result<Self, Failure> {
        reader.set_spinning(false);
        reader.set_longest_sleep(IDLE);
        reader.keep_open(options.follows);
        let descriptor = ring.descriptor().map_err(Failure::failed)?;
        let observer = Observer::attach(descriptor).map_err(Failure::failed)?;
        let statistics = observer.statistics().map_err(Failure::failed)?;
        // A record has some forty bytes at least. One message is on its way, and one gathers.
        let message_bytes = options.message_bytes;
        reader.set_batch_size(2 * (message_bytes / 38 + 1));
        let most_items = (statistics.lines as usize / 4).max(1);
        let totals = Totals { upto: reader.position(), ..Totals::default() };
        Ok(Self {
            source: Source {
                reader,
                message_bytes,
                is_json: options.encoding.is_json(),
                other_at: None,
                most_items,
            },
            ring: ring.identity(),
            start: statistics.first,
            accepted: totals.upto,
            tail: statistics.next,
            engine,
            options,
            has_asked: false,
            totals,
            away_since: None,
            lost_since: None,
            pause: PAUSES.0,
        })
    }

    /// Forwards until the ring is over, or `watch` says that it is to stop.
    ///
    /// # Errors
    ///
    /// What ends it before. Nothing that was not acknowledged has left the ring.
    pub async fn run(&mut self, watch: &mut impl Watch) -> Result<Totals, Failure> {
        // After which message one was refused last, and how often in a row another program's came.
        let (mut refused, mut overtaken) = (None, 0);
        loop {
            let Some(last) = self.ask(watch).await? else { return Ok(self.totals) };
            let (mut after, first, mut known) = match self.know(last) {
                Err(failure) if failure.kind == Kind::Lost && self.may_be_stale() => {
                    let sentence =
                        "the engine answers with an older message than it had acknowledged";
                    self.doubt(&Trouble::Doubt(sentence.to_owned()), watch).await?;
                    continue;
                }
                known => known?,
            };
            self.lost_since = None;
            self.has_asked = true;
            // A message of its own may have been late, and brings it further.
            if first != self.totals.upto {
                overtaken = 0;
            } else if let Some(before) = refused.take() {
                if before == after && !self.engine.fences() {
                    // What came in between is not there to be seen yet.
                    self.doubt(&Trouble::Overtaken, watch).await?;
                    continue;
                }
                overtaken += 1;
                if overtaken > 1 {
                    let sentence = "another program appends to this subject, expected none: each \
                                    ring has a subject of its own";
                    return Err(Failure::new(Kind::Another, sentence));
                }
            }
            self.totals.upto = first;
            let before = self.totals.messages;
            let Some(trouble) = self.send(&mut after, &mut known, watch).await? else {
                return Ok(self.totals);
            };
            if self.totals.messages > before {
                overtaken = 0;
            }
            if trouble == Trouble::Overtaken {
                self.totals.doubts += 1;
                refused = Some(after);
            } else {
                refused = None;
                self.doubt(&trouble, watch).await?;
            }
        }
    }

    /// Positions are missing, and it may be that a server did not know yet that it has them.
    fn may_be_stale(&mut self) -> bool {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        since.elapsed() < self.engine.staleness()
    }

    /// Asks for the last message until the engine says; `None` if it is to stop.
    async fn ask(&mut self, watch: &mut impl Watch) -> Result<Option<Option<Last>>, Failure> {
        let mut was_away = false;
        loop {
            if watch.is_over(&self.totals) {
                return Ok(None);
            }
            match self.engine.last().await {
                Ok(last) => {
                    if was_away {
                        self.is_back(watch);
                    }
                    return Ok(Some(last));
                }
                Err(Trouble::Refused(sentence)) => return Err(Failure::failed(sentence)),
                Err(trouble) => self.doubt(&trouble, watch).await?,
            }
            was_away = true;
        }
    }

    fn is_back(&mut self, watch: &mut impl Watch) {
        if self.away_since.take().is_some() {
            self.pause = PAUSES.0;
            watch.say("the engine answers again");
        }
    }

    /// Waits before it asks anew.
    async fn doubt(&mut self, trouble: &Trouble, watch: &mut impl Watch) -> Result<(), Failure> {
        self.totals.doubts += 1;
        let since = *self.away_since.get_or_insert_with(|| {
            watch.say(&format!("{trouble}; nothing is lost, and it is tried again"));
            Instant::now()
        });
        if let Some(limit) = self.options.away.filter(|limit| since.elapsed() >= *limit) {
            let limit = humantime::format_duration(limit);
            let sentence = format!("the engine is away for {limit}: {trouble}");
            return Err(Failure::new(Kind::Away, sentence));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }

    /// By the last message: after which to append, where the next message begins, and what it need
    /// not have.
    fn know(&self, last: Option<Last>) -> Result<(u64, u64, Known), Failure> {
        let position = self.accepted;
        let Some(last) = last else { return self.begin(0, position) };
        let message = last.message.map_err(|sentence| {
            Failure::failed(format!("{sentence}; expected a subject that only forwarders write to"))
        })?;
        let Extent { ring, first, upto, .. } = message.extent;
        if ring != self.ring {
            return self.begin(last.sequence, position);
        }
        // Of one message it may not know yet, its own or that of the forwarder before; and the
        // engine has nothing that the ring had not.
        let is_ahead = match self.has_asked {
            true => is_before(self.totals.upto, first),
            false => is_before(self.tail, upto),
        };
        if is_ahead && !self.options.accepts_loss {
            return Err(other_line(upto.wrapping_sub(1)));
        }
        if is_before(upto, position) {
            self.lose("has lost what it acknowledged", upto, position)?;
            return Ok((last.sequence, position, Known::default()));
        }
        let known = Known::by(&message).map_err(Failure::failed)?;
        Ok((last.sequence, upto, known))
    }

    /// The engine has no message of this ring.
    fn begin(&self, sequence: u64, position: u64) -> Result<(u64, u64, Known), Failure> {
        if position != self.start {
            let what = "has no message of this ring, from which it, or another program, has read";
            self.lose(what, self.start, position)?;
        }
        Ok((sequence, position, Known::default()))
    }

    /// Lines that left the ring are not there.
    fn lose(&self, what: &str, from: u64, to: u64) -> Result<(), Failure> {
        if self.options.accepts_loss {
            return Ok(());
        }
        let (last, count) = (to.wrapping_sub(1), to.wrapping_sub(from));
        let sentence = format!(
            "the engine {what}: positions {from} to {last}, {count} in all; --accept-loss goes on \
             without them"
        );
        Err(Failure::new(Kind::Lost, sentence))
    }

    /// Sends one message after the other: what put it in doubt, or `None` once it is over.
    async fn send(
        &mut self,
        after: &mut u64,
        known: &mut Known,
        watch: &mut impl Watch,
    ) -> Result<Option<Trouble>, Failure> {
        let (mut page, mut memory) = (Page::default(), Vec::new());
        while self.gather(&mut page, known, watch).await? {
            let next = Page { records: std::mem::take(&mut memory), ..Page::default() };
            let mut sending = std::mem::replace(&mut page, next);
            let batch = self.source.reader.batch_timeout(Duration::ZERO);
            let upto = batch.map_err(Failure::failed)?.upto_of(sending.items);
            if sending.count > 0 {
                let (ring, first) = (self.ring, self.totals.upto);
                let from = sending.records.len();
                let keys = known.pass_on(&mut sending.records);
                if self.source.is_json {
                    json::replace(&mut sending.records, from);
                }
                let extent = Extent { ring, first, upto, records: sending.count + keys };
                let bytes = sending.records.len() as u64;
                let message = Message::new(extent, self.options.encoding, sending.records);
                match self.append(*after, &message, sending.items, &mut page, known).await? {
                    Ok(sequence) => *after = sequence,
                    Err(trouble) => return Ok(Some(trouble)),
                }
                memory = message.into_memory();
                self.is_back(watch);
                self.totals.messages += 1;
                self.totals.records += sending.count;
                self.totals.bytes += bytes;
            }
            // Only what the engine has leaves the ring.
            let batch = self.source.reader.batch_timeout(Duration::ZERO);
            batch.map_err(Failure::failed)?.commit_first(sending.items);
            // What the engine has brings it no further, though after an overrun the reader is.
            let has = self.totals.upto;
            let upto = if sending.count > 0 || is_before(upto, has) { upto } else { has };
            if is_before(has, upto) {
                self.totals.upto = upto;
            }
            if is_before(self.accepted, upto) {
                self.accepted = upto;
            }
            if !is_before(self.accepted, self.tail) {
                known.forget_ends();
            }
        }
        Ok(None)
    }

    /// Sends a message, and meanwhile gathers the next one behind its `items`.
    async fn append(
        &mut self,
        after: u64,
        message: &Message,
        items: usize,
        next: &mut Page,
        known: &Known,
    ) -> Result<Result<u64, Trouble>, Failure> {
        let Self { source, engine, .. } = self;
        let mut appending = pin!(engine.append(after, message));
        loop {
            tokio::select! {
                biased;
                appended = &mut appending => return match appended {
                    Err(Trouble::Refused(sentence)) => Err(Failure::failed(sentence)),
                    appended => Ok(appended),
                },
                () = sleep(TICK) => source.add(next, items, known).map_err(Failure::failed)?,
            }
        }
    }

    /// Gathers the next message; `false` if the ring is over, or it is to stop.
    async fn gather(
        &mut self,
        page: &mut Page,
        known: &Known,
        watch: &mut impl Watch,
    ) -> Result<bool, Failure> {
        let (source, linger) = (&mut self.source, self.options.linger);
        loop {
            if watch.is_over(&self.totals) {
                return Ok(false);
            }
            source.add(page, 0, known).map_err(Failure::failed)?;
            if let Some(position) = source.other_at {
                return Err(other_line(position));
            }
            let is_old = page.began.is_some_and(|began| began.elapsed() >= linger);
            let is_known = page.items > 0 && page.count == 0;
            if source.has_enough(page) || is_old || is_known {
                return Ok(true);
            }
            let reader = &mut source.reader;
            let follows = self.options.follows;
            let is_over = page.items == 0 && reader.is_over();
            if page.items == 0 && watch.ends_idle() || is_over && !(follows && watch.goes_on()) {
                return Ok(false);
            }
            // The client works meanwhile.
            sleep(TICK).await;
            if page.items == 0 {
                reader.wait_timeout(IDLE).map_err(Failure::failed)?;
            }
        }
    }
}

fn other_line(position: u64) -> Failure {
    let sentence = format!(
        "another forwarder has sent other lines as this ring's, up to position {position}: \
         expected no copy of the ring to be forwarded to the same subject"
    );
    Failure::new(Kind::Another, sentence)
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
