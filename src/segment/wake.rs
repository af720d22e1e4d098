//! Waking: the reader that sleeps on an empty ring, its observers, and writers that sleep on a full
//! one.

use super::Segment;
use crate::exchange::park::wake_sleeper;
use crate::layout::sync::{Ordering, fence};
use crate::sys::futex;

use Ordering::Relaxed;

/// How many sleeping writers are woken at a time: thousands at once would only fight for the
/// processors.
const WAKE_WRITERS: u32 = 32;
/// The part of a full ring that its writers wait for.
pub(crate) const WAKE_THRESHOLD: u64 = 4;

/// Wakes the reader if it sleeps, and the observers then: one system call, with a pipe two, none
/// otherwise. `false` if there is none to wake, nor to read what was written, since the segment's
/// file was cut short.
#[inline]
pub(crate) fn wake_reader(segment: &Segment) -> bool {
    let sleeps = &segment.header().flags.0.reader_sleeps;
    wake_sleeper(sleeps, || {
        if segment.is_cut() {
            return false;
        }
        if let Some(pipe) = segment.pipe() {
            pipe.wake();
        }
        wake_all(segment);
        true
    })
}

/// Wakes all that sleep on the reader's word: observers, and the reader where it has no pipe.
pub(crate) fn wake_all(segment: &Segment) {
    futex::wake(&segment.header().flags.0.reader_sleeps, u32::MAX >> 1);
}

/// Tells writers that sleep on a full ring that there is space. One system call if there are any.
pub(crate) fn tell_space(segment: &Segment) {
    let space = &segment.header().space.0;
    // ORD space:A, SeqCst fence; pairs with full:A; either the writer's second look sees the free
    // entry, or this sees that the writer sleeps.
    fence(Ordering::SeqCst);
    if space.load(Relaxed) & 1 == 1 {
        // Bit 0 falls, the rest counts up: the value changes, so no writer goes to sleep on the old
        // one.
        space.fetch_add(1, Relaxed);
        if futex::wake(space, WAKE_WRITERS) == WAKE_WRITERS as usize {
            // More may sleep: they are told next time.
            space.fetch_or(1, Relaxed);
        }
    }
}
