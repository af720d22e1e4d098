//! Parking: the reader on an empty ring.
//!
//! Nothing is decided by a timeout here. Every sleep is short and timed only so that a wake-up that
//! was lost with a killed process costs one period.

use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{ReadError, SystemError};
use crate::exchange::park::{ASLEEP, AWAKE, Awaited, may_sleep};
use crate::layout::Position;
use crate::layout::sync::Ordering;
use crate::segment::Segment;
use crate::sys::futex::{self, PERIOD, timespec};

use Ordering::Relaxed;

/// How long the reader lets a batch gather when it finds the ring empty, in spins of one round.
const SPINS: u32 = 1000;
/// How many such rounds a reader does that stays awake for longer.
const SPIN_ROUNDS: u32 = 4;

/// What the reader does before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It stays awake for some 50 microseconds.
    Spin,
    /// It leaves its processor to writers, after one short look more.
    Sleep,
}

/// What a reader that has nothing to do waits for. It borrows nothing, so that a caller can let go
/// of the reader's state while it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// A line here,
    pub(crate) position: Position,
    /// or another count of events than this one.
    pub(crate) seen_events: u64,
}

impl Wanted {
    fn of(self, segment: &Segment) -> Awaited<'_> {
        let Self { position, seen_events } = self;
        Awaited { ring: segment.ring(), position, events: segment.event_count(), seen_events }
    }
}

/// Waits until what is `wanted` may have come: at most a period, at most `limit`.
pub(crate) fn pause(
    segment: &Segment,
    wanted: Wanted,
    limit: Duration,
    patience: Patience,
) -> Result<(), ReadError> {
    let awaited = wanted.of(segment);
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
    if !may_sleep(&awaited, sleeps) {
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

/// Arms the wake-up pipe before an event loop polls it: `true` if what is `wanted` has not come
/// yet.
pub(crate) fn arm(segment: &Segment, wanted: Wanted) -> bool {
    let awaited = wanted.of(segment);
    match segment.pipe() {
        None => !awaited.has_come(),
        Some(pipe) => {
            pipe.drain();
            may_sleep(&awaited, &segment.header().flags.0.reader_sleeps)
        }
    }
}
