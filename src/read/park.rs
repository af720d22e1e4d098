//! Parking: the reader on an empty ring.
//!
//! Nothing is decided by a timeout here. Every sleep is short and timed only so that a wake-up that
//! was lost with a killed process costs one period.
//!
//! With a wake-up pipe, whenever the reader is not asleep, a byte is in the pipe or the next writer
//! puts one there: so an event loop may poll it at any moment, also with items left. It is emptied
//! here alone, and only when nothing has come.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{ReadError, SystemError};
use crate::exchange::park::{Awaited, may_sleep};
use crate::layout::Position;
use crate::layout::sync::Ordering;
use crate::segment::Segment;
use crate::segment::wake::{wake_all, wake_reader};
use crate::sys::futex::{self, timespec};

use Ordering::SeqCst;

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

/// Waits until what is `wanted` may have come, or `woken` was set and the reader woken: at most
/// `limit`, which is a period at most.
pub(crate) fn pause(
    segment: &Segment,
    wanted: Wanted,
    limit: Duration,
    patience: Patience,
    woken: Option<&AtomicBool>,
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
    let Some(asleep) = arm(segment, wanted) else { return Ok(()) };
    // ORD woken:B, SeqCst; pairs with woken:A; either this sees that the reader is to wake, or its
    // waker sees that it sleeps.
    let is_woken = woken.is_some_and(|woken| woken.load(SeqCst));
    let time = if is_woken { Duration::ZERO } else { limit };
    let slept = match segment.pipe() {
        None => {
            // After a sleep that no writer ended one is to wake it still: so that observers, which
            // sleep on this word too, hear of a line that comes before the next sleep.
            futex::wait(sleeps, asleep, time).map(drop)
        }
        // Then too the next writer writes into the pipe: the caller may poll it from now on.
        Some(pipe) => {
            let end = pipe.read_end();
            poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timespec(time))).map(drop)
        }
    };
    match slept {
        Ok(()) => Ok(()),
        Err(Errno::INTR) => Err(ReadError::Interrupted),
        Err(error) => Err(SystemError::new("wait for a line", error).into()),
    }
}

/// Has the next writer wake the reader: the value of its word to sleep on, if what is `wanted` has
/// not come yet. If it has, the wake-up pipe is readable already, and observers that were to be
/// woken with the reader are.
fn arm(segment: &Segment, wanted: Wanted) -> Option<u32> {
    let sleeps = &segment.header().flags.0.reader_sleeps;
    if let Some(pipe) = segment.pipe() {
        pipe.drain();
    }
    let may_sleep = may_sleep(&wanted.of(segment), sleeps, || wake_all(segment));
    if let (None, Some(pipe)) = (may_sleep, segment.pipe()) {
        pipe.wake();
    }
    may_sleep
}

/// Before an event loop polls the wake-up pipe: `true` if what is `wanted` has not come yet.
/// Without a pipe the caller may look at any time.
pub(crate) fn arm_pipe(segment: &Segment, wanted: Wanted) -> bool {
    match segment.pipe() {
        None => !wanted.of(segment).has_come(),
        Some(_) => arm(segment, wanted).is_some(),
    }
}

/// Ends the reader's wait, the one under way or the next.
pub(crate) fn wake(segment: &Segment, woken: &AtomicBool) {
    // ORD woken:A, SeqCst; pairs with woken:B; as there.
    woken.store(true, SeqCst);
    wake_reader(segment);
}
