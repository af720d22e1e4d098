//! Sleeping and waking: how the reader falls asleep without missing a line, or an end.

use super::Ring;
use crate::layout::Position;
use crate::layout::sync::{AtomicU32, AtomicU64, Ordering, seq_cst_for_loom};

use Ordering::{Relaxed, SeqCst};

/// What the word says that the reader sleeps on.
pub(crate) const AWAKE: u32 = 0;
/// A writer has to wake it.
pub(crate) const ASLEEP: u32 = 1;
/// A writer is about to.
const BEING_WOKEN: u32 = 2;
/// It stands in private memory, in the place of a file that was cut short: there is no reader to
/// wake.
pub(crate) const CUT: u32 = 3;

/// What a reader that has nothing to do waits for: a line at its next position, or another count of
/// events (ends, seats) than it has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited<'a> {
    pub(crate) ring: &'a Ring<'a>,
    pub(crate) position: Position,
    pub(crate) events: &'a AtomicU64,
    pub(crate) seen_events: u64,
}

impl Awaited<'_> {
    /// Whether one of them has come, also for the reader's last look before it sleeps.
    pub(crate) fn has_come(&self) -> bool {
        // ORD sleep:C, SeqCst; pairs with event:A; as sleep:B.
        self.ring.is_filled_at(self.position) || self.events.load(SeqCst) != self.seen_events
    }
}

/// Tells the reader, by another count of events, of what was stored before. It has to be woken
/// then.
pub(crate) fn count_event(events: &AtomicU64) {
    // ORD event:A, SeqCst; pairs with event:B and sleep:C; the reader sees the change that it is
    // told of. Release fails against a reader that falls asleep: wake:A could be read before.
    events.fetch_add(1, SeqCst);
}

/// The reader is about to sleep until `awaited` comes: `true` if it may.
///
/// It announces itself and looks once more; a writer publishes, or counts an event, and then looks
/// for the announcement. Both sides are SeqCst, so at least one of them sees the other.
pub(crate) fn may_sleep(awaited: &Awaited<'_>, sleeps: &AtomicU32) -> bool {
    // ORD sleep:A, SeqCst; pairs with wake:A; a release store could be delayed past the look below.
    sleeps.store(ASLEEP, SeqCst);
    seq_cst_for_loom();
    if awaited.has_come() {
        sleeps.store(AWAKE, Relaxed);
        return false;
    }
    true
}

/// After a publish, or an event: wakes the reader if it sleeps. Of several writers one does. Until
/// it has done so others do too, since it may be dead by then. What `wake` says; `true` where there
/// is nothing to do.
#[inline]
pub(crate) fn wake_sleeper(sleeps: &AtomicU32, wake: impl FnOnce() -> bool) -> bool {
    seq_cst_for_loom();
    // ORD wake:A, SeqCst; pairs with sleep:A; an acquire load could be satisfied before publish:E.
    if sleeps.load(SeqCst) == AWAKE { true } else { wake_now(sleeps, wake) }
}

#[cold]
#[inline(never)]
fn wake_now(sleeps: &AtomicU32, wake: impl FnOnce() -> bool) -> bool {
    let _ = sleeps.compare_exchange(ASLEEP, BEING_WOKEN, Relaxed, Relaxed);
    let is_whole = wake();
    // Not if it has woken and sleeps again by now: that sleep is for others to end.
    let _ = sleeps.compare_exchange(BEING_WOKEN, AWAKE, Relaxed, Relaxed);
    is_whole
}
