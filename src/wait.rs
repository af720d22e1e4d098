//! Parking: the reader on an empty ring, writers on a full one.
//!
//! Nothing is decided by a timeout here. Every sleep is short and timed only so that a wake-up that was lost
//! with a killed process costs one period, and so that a sleeping writer notices that the reader has died.

use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::error::{ReadError, WriteError};
use crate::layout::READER_CELL;
use crate::ring::{may_sleep, must_wake};
use crate::segment::Segment;
use crate::sync::{Ordering, fence};

/// The longest sleep.
const PERIOD: Duration = Duration::from_millis(10);
/// How long the reader lets a batch gather when it finds the ring empty, in spins, and how often.
const GATHER: (u32, u32) = (1000, 4);
/// How many sleeping writers are woken at a time: thousands at once would only fight for the processors.
const WAKE_WRITERS: u32 = 32;
/// The part of a full ring that its writers wait for.
pub(crate) const ROOMY: u64 = 4;
/// How often a writer of a full ring asks whether the reader is alive, in periods.
const ASK_EVERY: u32 = 8;

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Sleeps until `word` is not `value` any more, or for `time`, or until a signal handler ran.
fn futex_wait(word: &AtomicU32, value: u32, time: Duration) -> Result<(), Errno> {
    match futex::wait(word, futex::Flags::empty(), value, Some(&timespec(time))) {
        Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT) => Ok(()),
        Err(error) => Err(error),
    }
}

// ----------------------------------------------------------------------------------------- reader

/// Waits until something may have come to `position`: at most a period, at most `limit`. One that `spins` stays awake for
/// longer before it sleeps.
pub(crate) fn pause(segment: &Segment, position: u64, limit: Duration, spins: bool) -> Result<(), ReadError> {
    let ring = segment.ring();
    let sleeps = &segment.header().look.0.reader_sleeps;
    for _ in 0..if spins { GATHER.1 } else { 1 } {
        for _ in 0..GATHER.0 {
            core::hint::spin_loop();
        }
        if ring.is_filled_at(position) {
            return Ok(());
        }
    }
    if !may_sleep(ring, sleeps, position) {
        return Ok(());
    }
    let time = limit.min(PERIOD);
    let slept = match segment.pipe() {
        None => futex_wait(sleeps, 1, time),
        Some(pipe) => match pipe.read_end() {
            Some(end) => poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timespec(time))).map(drop),
            None => futex_wait(sleeps, 1, time),
        },
    };
    sleeps.store(0, Ordering::Relaxed);
    if let Some(pipe) = segment.pipe() {
        pipe.drain();
    }
    match slept {
        Ok(()) => Ok(()),
        Err(Errno::INTR) => Err(ReadError::Interrupted),
        Err(error) => Err(ReadError::System { doing: "wait for a line", error: error.into() }),
    }
}

/// Arms the wake-up pipe before an event loop polls it: `true` if nothing has come to `position` yet.
pub(crate) fn arm(segment: &Segment, position: u64) -> bool {
    match segment.pipe() {
        None => true,
        Some(pipe) => {
            pipe.drain();
            may_sleep(segment.ring(), &segment.header().look.0.reader_sleeps, position)
        }
    }
}

/// Wakes the reader if it sleeps: one system call then, none otherwise.
#[inline]
pub(crate) fn wake_reader(segment: &Segment) {
    let sleeps = &segment.header().look.0.reader_sleeps;
    if must_wake(sleeps) {
        wake_now(segment, sleeps);
    }
}

#[cold]
fn wake_now(segment: &Segment, sleeps: &AtomicU32) {
    match segment.pipe() {
        None => {
            let _ = futex::wake(sleeps, futex::Flags::empty(), 1);
        }
        Some(pipe) => pipe.wake(),
    }
}

/// Tells writers that sleep on a full ring that there is space. One system call if there are any.
pub(crate) fn tell_space(segment: &Segment) {
    let space = &segment.header().space.0;
    // ORD space:A, SeqCst fence; pairs with full:A; either the writer's second look sees the free entry, or this
    // sees that the writer sleeps.
    fence(Ordering::SeqCst);
    if space.load(Ordering::Relaxed) & 1 == 1 {
        // Bit 0 falls, the rest counts up: the value changes, so nobody goes to sleep on the old one.
        space.fetch_add(1, Ordering::Relaxed);
        if futex::wake(space, futex::Flags::empty(), WAKE_WRITERS) == Ok(WAKE_WRITERS as usize) {
            // More may sleep: they are told next time.
            space.fetch_or(1, Ordering::Relaxed);
        }
    }
}

// ---------------------------------------------------------------------------------------- writers

/// One writer's wait for space, over as many refusals as it takes.
#[derive(Debug)]
pub(crate) struct Patience<'w> {
    /// The writer has waited for a reader before, and in vain: once is enough.
    gone: &'w mut bool,
    began: Option<Instant>,
    without_reader: Option<Instant>,
    periods: u32,
    backoff: Backoff,
}

impl<'w> Patience<'w> {
    pub(crate) fn new(gone: &'w mut bool) -> Self {
        Self { gone, began: None, without_reader: None, periods: 0, backoff: Backoff::new() }
    }

    /// Waits until there may be space at `position`.
    ///
    /// # Errors
    ///
    /// [`WriteError::TimedOut`] and [`WriteError::ReaderGone`], when that is so.
    pub(crate) fn wait(&mut self, segment: &Segment, position: u64) -> Result<(), WriteError> {
        if *self.gone {
            self.periods = 0;
            self.look_for_reader(segment)?;
        }
        // Not for one free place: a writer that follows at the reader's heels fights it for every word. Should the reader
        // be slow, a period is the most that this costs.
        let roomy = position.wrapping_add((segment.ring().shape.positions() / ROOMY).saturating_sub(1));
        while !self.backoff.is_completed() {
            if !segment.ring().is_full_at(roomy) {
                return Ok(());
            }
            self.backoff.snooze();
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let limit = Duration::from_millis(segment.geometry().block_limit);
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(WriteError::TimedOut(limit));
        }
        let space = &segment.header().space.0;
        let value = space.fetch_or(1, Ordering::SeqCst) | 1;
        if segment.ring().is_full_at(roomy) {
            // A signal ends the sleep early, which is harmless: the caller looks again.
            let _ = futex_wait(space, value, left.min(PERIOD));
            self.look_for_reader(segment)?;
        }
        Ok(())
    }

    /// Every few periods: is there a reader, or has there been one within the grace time?
    fn look_for_reader(&mut self, segment: &Segment) -> Result<(), WriteError> {
        self.periods += 1;
        if self.periods % ASK_EVERY != 1 {
            return Ok(());
        }
        // Who cannot ask, for want of a descriptor, goes on waiting.
        let asked = segment.prober().ok().and_then(|prober| prober.would_take(READER_CELL as u64).ok());
        if asked != Some(true) {
            self.without_reader = None;
            *self.gone = false;
            return Ok(());
        }
        let grace = Duration::from_millis(segment.geometry().reader_grace);
        if *self.gone || self.without_reader.get_or_insert_with(Instant::now).elapsed() >= grace {
            *self.gone = true;
            return Err(WriteError::ReaderGone(grace));
        }
        Ok(())
    }
}
