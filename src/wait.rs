//! Parking: the reader on an empty ring, writers on a full one.
//!
//! Nothing is decided by a timeout here. Every sleep is short and timed only so that a wake-up that was lost
//! with a killed process costs one period, and so that a sleeping writer notices that the reader has died.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::error::{ReadError, WriteError};
use crate::layout::READER_CELL;
use crate::ring::{ASLEEP, AWAKE, Awaited, may_sleep, wake_sleeper};
use crate::segment::Segment;
use crate::sync::{Ordering, fence};

use Ordering::Relaxed;

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

/// Waits until what is `awaited` may have come: at most a period, at most `limit`. One that `spins` stays awake for
/// longer before it sleeps.
pub(crate) fn pause(
    segment: &Segment,
    awaited: &Awaited<'_>,
    limit: Duration,
    spins: bool,
) -> Result<(), ReadError> {
    let sleeps = &segment.header().look.0.reader_sleeps;
    for round in 0..if spins { GATHER.1 } else { 1 } {
        if round > 0 {
            // The writer that it waits for may be one that it keeps from this very processor.
            thread::yield_now();
        }
        for _ in 0..GATHER.0 {
            core::hint::spin_loop();
        }
        if awaited.has_come() {
            return Ok(());
        }
    }
    if !may_sleep(awaited, sleeps) {
        return Ok(());
    }
    let time = limit.min(PERIOD);
    let slept = match segment.pipe() {
        None => futex_wait(sleeps, ASLEEP, time),
        Some(pipe) => {
            let end = pipe.read_end();
            poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timespec(time))).map(drop)
        }
    };
    sleeps.store(AWAKE, Relaxed);
    if let Some(pipe) = segment.pipe() {
        pipe.drain();
    }
    match slept {
        Ok(()) => Ok(()),
        Err(Errno::INTR) => Err(ReadError::Interrupted),
        Err(error) => Err(ReadError::System { doing: "wait for a line", error: error.into() }),
    }
}

/// Arms the wake-up pipe before an event loop polls it: `true` if what is `awaited` has not come yet.
pub(crate) fn arm(segment: &Segment, awaited: &Awaited<'_>) -> bool {
    match segment.pipe() {
        None => !awaited.has_come(),
        Some(pipe) => {
            pipe.drain();
            may_sleep(awaited, &segment.header().look.0.reader_sleeps)
        }
    }
}

/// Wakes the reader if it sleeps: one system call then, none otherwise. `false` if there is none to wake, nor to read what
/// was written, since the segment's file was cut short.
#[inline]
pub(crate) fn wake_reader(segment: &Segment) -> bool {
    let sleeps = &segment.header().look.0.reader_sleeps;
    wake_sleeper(sleeps, || {
        match segment.pipe() {
            _ if segment.is_cut() => return false,
            None => drop(futex::wake(sleeps, futex::Flags::empty(), 1)),
            Some(pipe) => pipe.wake(),
        }
        true
    })
}

/// Tells writers that sleep on a full ring that there is space. One system call if there are any.
pub(crate) fn tell_space(segment: &Segment) {
    let space = &segment.header().space.0;
    // ORD space:A, SeqCst fence; pairs with full:A; either the writer's second look sees the free entry, or this
    // sees that the writer sleeps.
    fence(Ordering::SeqCst);
    if space.load(Relaxed) & 1 == 1 {
        // Bit 0 falls, the rest counts up: the value changes, so nobody goes to sleep on the old one.
        space.fetch_add(1, Relaxed);
        if futex::wake(space, futex::Flags::empty(), WAKE_WRITERS) == Ok(WAKE_WRITERS as usize) {
            // More may sleep: they are told next time.
            space.fetch_or(1, Relaxed);
        }
    }
}

// ---------------------------------------------------------------------------------------- writers

/// What a program does around a sleep; see [`around_writers_sleeps`].
type Around = fn(&mut dyn FnMut()) -> ControlFlow<()>;

static AROUND: OnceLock<Around> = OnceLock::new();

/// Has `around` called for each sleep of a writer on a full ring, in the writer's thread; it calls its argument, which sleeps
/// for some milliseconds at most. For programs that hold a lock while they write, which others need meanwhile: an interpreter's.
/// If it gives [`ControlFlow::Break`] the write is given up, with [`WriteError::GivenUp`].
///
/// For the whole process and for good: `false`, and nothing is done, the second time.
pub fn around_writers_sleeps(around: fn(&mut dyn FnMut()) -> ControlFlow<()>) -> bool {
    AROUND.set(around).is_ok()
}

/// One writer's wait for space, over as many refusals as it takes.
#[derive(Debug)]
pub(crate) struct Patience<'w> {
    /// The writer has waited for a reader before, and in vain: once is enough. How far the last one had come.
    gone: &'w mut Option<u64>,
    /// Refused here, it found room further on and tried again.
    found_room: Option<u64>,
    began: Option<Instant>,
    without_reader: Option<Instant>,
    /// How far the reader was at the last look.
    read: Option<u64>,
    periods: u32,
    backoff: Backoff,
}

impl<'w> Patience<'w> {
    pub(crate) fn new(gone: &'w mut Option<u64>) -> Self {
        Self {
            read: *gone,
            gone,
            found_room: None,
            began: None,
            without_reader: None,
            periods: 0,
            backoff: Backoff::new(),
        }
    }

    /// Waits until there may be space at `position`.
    ///
    /// # Errors
    ///
    /// [`WriteError::TimedOut`], [`WriteError::ReaderGone`] and [`WriteError::GivenUp`], when that is so.
    pub(crate) fn wait(&mut self, segment: &Segment, position: u64) -> Result<(), WriteError> {
        if segment.is_cut() {
            return Err(WriteError::CutShort);
        }
        if self.gone.is_some() {
            self.periods = 0;
            self.look_for_reader(segment)?;
        }
        // Not for one free place: a writer that follows at the reader's heels fights it for every word. Should the reader
        // be slow, a period is the most that this costs.
        let mut roomy = position.wrapping_add((segment.ring().shape.positions() / ROOMY).saturating_sub(1));
        if let Some(refused) = self.found_room.take() {
            // At the same position again: the words further on are damaged, for a reader frees one after the other.
            if refused == position {
                roomy = position;
            }
            // Whoever is refused over and over comes to the limits below.
            self.backoff.snooze();
        }
        while !self.backoff.is_completed() {
            if !segment.ring().is_full_at(roomy) {
                self.found_room = Some(position);
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
            let mut sleep = || {
                let _ = futex_wait(space, value, left.min(PERIOD));
            };
            match AROUND.get() {
                None => sleep(),
                Some(around) => {
                    if around(&mut sleep).is_break() {
                        return Err(WriteError::GivenUp);
                    }
                }
            }
            self.look_for_reader(segment)?;
        } else {
            self.found_room = Some(position);
        }
        Ok(())
    }

    /// Every few periods: is there a reader, or has there been one within the grace time?
    fn look_for_reader(&mut self, segment: &Segment) -> Result<(), WriteError> {
        self.periods += 1;
        if self.periods % ASK_EVERY != 1 {
            return Ok(());
        }
        // To a process that cannot ask, say because it has closed the ring's descriptor, a reader lives that goes on.
        let read = segment.header().read_position.0.load(Relaxed);
        let lives = segment.has_owner(READER_CELL).ok().flatten().unwrap_or(self.read != Some(read));
        self.read = Some(read);
        if lives {
            self.without_reader = None;
            *self.gone = None;
            return Ok(());
        }
        let grace = Duration::from_millis(segment.geometry().reader_grace);
        if self.gone.is_some() || self.without_reader.get_or_insert_with(Instant::now).elapsed() >= grace {
            *self.gone = Some(read);
            return Err(WriteError::ReaderGone(grace));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Entry as Place;
    use crate::layout::Entry;
    use crate::options::Options;
    use crate::writer::{Style, Writer};

    #[test]
    fn a_full_ring_in_which_a_later_place_seems_free_keeps_a_writer_no_longer_than_its_limit() {
        let limit = Duration::from_millis(1);
        let segment = Segment::anonymous(&Options::new().lines(8).block_limit(limit)).expect("a segment");
        let mut writer = Writer::new(&segment, Place::Unlisted).expect("a cell");
        for _ in 0..8 {
            writer.line(&segment, b"line", Style::default()).expect("room");
        }
        // The place that the writer waits for.
        segment.ring().order[1].store(Entry::free(1, 1).0, Relaxed);
        let written = writer.line(&segment, b"one too many", Style::default());
        assert!(matches!(written, Err(WriteError::TimedOut(_))), "{written:?}");
    }
}
