//! Parking: the reader on an empty ring.
//!
//! Nothing is decided by a timeout here. Every sleep is short and timed only so that a wake-up that
//! was lost with a killed process costs one period.

use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{ReadError, SystemError};
use crate::exchange::park::{ASLEEP, AWAKE, Awaited, may_sleep};
use crate::layout::sync::Ordering;
use crate::segment::Segment;
use crate::sys::futex::{self, PERIOD, timespec};

use Ordering::Relaxed;

/// How long the reader lets a batch gather when it finds the ring empty, in spins of one round.
const SPINS: u32 = 1000;
/// How many such rounds a reader does that stays awake for longer.
const SPIN_ROUNDS: u32 = 4;

/// How long lines gather before a reader that takes them in batches looks for more.
const GATHER: Duration = Duration::from_micros(10);
/// Spins between two looks at how far the writers have come.
const GATHER_SPINS: u32 = 50;

/// Lets lines gather that come from `position` on, which was the end of what there was.
///
/// A reader that is faster than its writers would otherwise take each line as it comes: the cache
/// lines of its entry and slot go back and forth for one line of text. A quarter of the ring is
/// never exceeded, so writers find room however small the ring is.
pub(crate) fn gather(segment: &Segment, position: u64) {
    let ring = segment.ring();
    // Once it is filled all before it are (I4).
    let enough = position.wrapping_add(ring.shape.positions() / 4);
    let began = Instant::now();
    while began.elapsed() < GATHER {
        for _ in 0..GATHER_SPINS {
            core::hint::spin_loop();
        }
        if ring.is_filled_at(enough) {
            break;
        }
    }
}

/// What the reader does before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It stays awake for some 50 microseconds.
    Spin,
    /// It leaves its processor to writers, after one short look more.
    Sleep,
}

/// Waits until what is `awaited` may have come: at most a period, at most `limit`.
pub(crate) fn pause(
    segment: &Segment,
    awaited: &Awaited<'_>,
    limit: Duration,
    patience: Patience,
) -> Result<(), ReadError> {
    let sleeps = &segment.header().flags.0.reader_sleeps;
    for round in 0..if patience == Patience::Spin { SPIN_ROUNDS } else { 1 } {
        if round > 0 {
            // The writer that the reader waits for may need this very processor.
            thread::yield_now();
        }
        for _ in 0..SPINS {
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
        None => futex::wait(sleeps, ASLEEP, time),
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
        Err(error) => Err(SystemError::new("wait for a line", error).into()),
    }
}

/// Arms the wake-up pipe before an event loop polls it: `true` if what is `awaited` has not come
/// yet.
pub(crate) fn arm(segment: &Segment, awaited: &Awaited<'_>) -> bool {
    match segment.pipe() {
        None => !awaited.has_come(),
        Some(pipe) => {
            pipe.drain();
            may_sleep(awaited, &segment.header().flags.0.reader_sleeps)
        }
    }
}
