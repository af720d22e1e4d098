//! The thread of a [`LogDrain`](crate::LogDrain): batch after batch, from the ring into the sink.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::complaint::{Complaint, say};
use super::drain_guard::{Orders, Totals};
use super::format::{Ends, Format, Formatter};
use super::loss_notes::LossNotes;
use super::sink::Sink;
use crate::error::ReadError;
use crate::handles::reader::Reader;
use crate::line::item::Item;

/// How often an idle drain looks for the dead, and for losses that are to be told.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After what time a sink that fails is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a last round looks for the dead, while that brings something.
const LAST_LOOKS: u32 = 8;

/// A drain that runs.
pub(super) struct Pump {
    reader: Reader,
    out: Out,
}

/// All but the reader, from which batches borrow.
struct Out {
    sink: Box<dyn Sink>,
    formatter: Formatter,
    ends: Ends,
    orders: Arc<Orders>,
    page: Vec<u8>,
    losses: LossNotes,
    totals: Totals,
    sink_failures: Complaint,
    formatter_panics: Complaint,
    read_failures: Complaint,
}

/// The sink did not succeed before the drain had to stop.
struct GivenUp;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    Some,
    /// There was none.
    Nothing,
    GivenUp,
}

impl Pump {
    pub(super) fn new(
        reader: Reader,
        sink: Box<dyn Sink>,
        formatter: Formatter,
        ends: Ends,
        orders: Arc<Orders>,
    ) -> Self {
        let out = Out {
            sink,
            formatter,
            ends,
            orders,
            page: Vec::new(),
            losses: LossNotes::default(),
            totals: Totals::default(),
            sink_failures: Complaint::default(),
            formatter_panics: Complaint::default(),
            read_failures: Complaint::default(),
        };
        Self { reader, out }
    }

    pub(super) fn run(&mut self) -> io::Result<Totals> {
        // What the sink writes into this ring is known to come from here.
        self.reader.set_staying(true);
        let result = self.run_until_stopped();
        self.reader.set_staying(false);
        let (left, wake_ups) = (self.reader.ring().unread(), self.reader.wake_ups());
        let totals = Totals { left, wake_ups, ..self.out.totals };
        self.out.orders.change(|state| (state.totals, state.is_done) = (totals, true));
        Ok(result.map(|()| totals)?)
    }

    fn run_until_stopped(&mut self) -> Result<(), ReadError> {
        loop {
            let (stop, reopen) = {
                let mut state = self.out.orders.lock();
                state.totals = Totals { wake_ups: self.reader.wake_ups(), ..self.out.totals };
                (state.stop, std::mem::take(&mut state.reopen))
            };
            if reopen {
                self.out.reopen();
            }
            if let Some(deadline) = stop {
                return self.last_round(deadline);
            }
            match self.pass_on(LOOK_EVERY) {
                Ok(Passed::Nothing) if self.reader.has_ended() => {
                    let _ = self.out.finish();
                    return Ok(());
                }
                // Not again: the sink may have some of it.
                Ok(Passed::GivenUp) => return Ok(()),
                Ok(_) => {}
                Err(error @ (ReadError::Forked | ReadError::CutShort)) => {
                    say(format_args!("the log cannot be drained any more: {error}"));
                    return Err(error);
                }
                // Deaths may go unseen; lines do not.
                Err(error) => {
                    self.out.read_failures.add(format_args!("draining the log: {error}"));
                    self.out.orders.wait(LOOK_EVERY, |state| state.stop.is_some());
                }
            }
        }
    }

    /// Passes on everything that has come by now, the last words of the dead included.
    fn last_round(&mut self, deadline: Instant) -> Result<(), ReadError> {
        let ring = self.reader.ring();
        for _ in 0..LAST_LOOKS {
            // Again after each round: what the dead had to say may have found no room before.
            let _ = self.reader.poll_deaths();
            let (until, mut any) = (ring.position(), false);
            // Writers that never pause keep it no longer than what is there now.
            while !any || !ring.is_accepted(until) {
                match self.pass_on(Duration::ZERO)? {
                    Passed::Some if Instant::now() < deadline => any = true,
                    Passed::Some | Passed::GivenUp => return Ok(()),
                    Passed::Nothing => break,
                }
            }
            if !any {
                break;
            }
        }
        let _ = self.out.finish();
        Ok(())
    }

    /// Passes one batch on, if one comes within `limit`.
    fn pass_on(&mut self, limit: Duration) -> Result<Passed, ReadError> {
        let batch = self.reader.batch_timeout(limit)?;
        if self.out.put_all(batch.iter()).is_err() {
            return Ok(Passed::GivenUp);
        }
        let passed = if batch.is_empty() { Passed::Nothing } else { Passed::Some };
        batch.commit();
        Ok(passed)
    }
}

impl Out {
    /// Puts items into the sink, and losses that are due.
    fn put_all<'i>(&mut self, items: impl Iterator<Item = Item<'i>>) -> Result<(), GivenUp> {
        let now = Instant::now();
        let mut totals = self.totals;
        let mut any = false;
        for item in items {
            any = true;
            match item {
                Item::Lost(lost) => {
                    totals.lost = totals.lost.saturating_add(lost.lines);
                    if let Some(lost) = self.losses.add(lost, now) {
                        self.add(&Item::Lost(lost))?;
                    }
                }
                Item::Ended(ended) => {
                    totals.ended += 1;
                    if let Some(untold) = self.losses.ended(ended.writer_id) {
                        self.add(&untold)?;
                    }
                    if self.ends.has(&ended) {
                        self.add(&Item::Ended(ended))?;
                    }
                }
                item => {
                    totals.lines += u64::from(item.line().is_some());
                    self.add(&item)?;
                }
            }
        }
        self.put_losses(now, false)?;
        if any {
            self.end_batch()?;
        }
        // Of the failures meanwhile it knows nothing.
        self.totals = Totals { failures: self.totals.failures, ..totals };
        Ok(())
    }

    /// Tells every loss that was not told yet.
    fn finish(&mut self) -> Result<(), GivenUp> {
        self.put_losses(Instant::now(), true)
    }

    fn put_losses(&mut self, now: Instant, at_end: bool) -> Result<(), GivenUp> {
        let due = self.losses.due(now, at_end);
        due.iter().try_for_each(|lost| self.add(lost))?;
        if due.is_empty() { Ok(()) } else { self.end_batch() }
    }

    /// Shows the item to the sink, and adds it to the page.
    fn add(&mut self, item: &Item<'_>) -> Result<(), GivenUp> {
        let begin = self.page.len();
        let format = || (self.formatter)(item, &mut self.page);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(format)) {
            // Its drop is the caller's code too.
            core::mem::forget(payload);
            self.formatter_panics.add(format_args!("the log's format panicked at: {item}"));
            self.page.truncate(begin);
            Format::Text.add(&mut self.page, item);
        }
        self.try_until_done(|sink| sink.item(item))
    }

    /// Puts the page into the sink, and ends the batch there.
    fn end_batch(&mut self) -> Result<(), GivenUp> {
        let mut page = std::mem::take(&mut self.page);
        let mut rest = &page[..];
        while !rest.is_empty() {
            let put = self.try_until_done(|sink| match sink.put(rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            })?;
            rest = &rest[put.min(rest.len())..];
        }
        self.try_until_done(|sink| sink.end_batch())?;
        page.clear();
        self.page = page;
        Ok(())
    }

    fn reopen(&mut self) {
        if let Err(failure) = self.try_once(|sink| sink.reopen()) {
            self.totals.failures += 1;
            self.sink_failures.add(format_args!("the log's sink cannot be opened anew: {failure}"));
        }
    }

    /// One call of the sink; its failure or panic as a sentence.
    fn try_once<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Sink) -> io::Result<T>,
    ) -> Result<T, String> {
        match catch_unwind(AssertUnwindSafe(|| call(&mut *self.sink))) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
                core::mem::forget(payload);
                Err(format!("it panicked: {}", text.unwrap_or_default()))
            }
        }
    }

    /// Calls the sink until it succeeds, or the time of the last round is over.
    fn try_until_done<T>(
        &mut self,
        mut call: impl FnMut(&mut dyn Sink) -> io::Result<T>,
    ) -> Result<T, GivenUp> {
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.try_once(&mut call) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            self.totals.failures += 1;
            self.sink_failures.add(format_args!(
                "the log's sink failed, and is tried again, nothing is lost: {failure}"
            ));
            let stop = {
                let mut state = self.orders.lock();
                state.totals.failures = self.totals.failures;
                state.stop
            };
            let left = stop.map_or(pause, |stop| stop.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(GivenUp);
            }
            self.orders.wait(left.min(pause), |state| state.stop != stop);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}
