//! Sleeping and waking: how the reader falls asleep without missing a line, or an end.

use super::Ring;
use crate::layout::Position;
use crate::layout::sync::{AtomicU32, AtomicU64, Ordering, seq_cst_for_loom};

use Ordering::{Relaxed, SeqCst};

/// The bits of the word that the reader sleeps on, and observers, which say whether a writer has to
/// wake them. The other bits count how often one has, so that a sleeper that is late to fall asleep
/// on a value of the word does not sleep on what another one has announced meanwhile.
const STATE: u32 = 3;
/// No process is to be woken.
const AWAKE: u32 = 0;
/// A writer has to wake all that sleep.
const ASLEEP: u32 = 1;
/// A writer is about to.
const BEING_WOKEN: u32 = 2;
/// It stands in private memory, in the place of a file that was cut short: there is no reader to
/// wake.
pub(crate) const CUT: u32 = 3;
const ONE_WAKE_UP: u32 = 4;

/// What a reader or observer that has nothing to do waits for: a line at its next position, or
/// another count of events (ends, seats) than it has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited<'a> {
    pub(crate) ring: &'a Ring<'a>,
    pub(crate) position: Position,
    pub(crate) events: &'a AtomicU64,
    pub(crate) seen_events: u64,
}

impl Awaited<'_> {
    /// Whether one of them has come, also for the last look before a sleep.
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

/// Announces a sleeper; the value of the word to sleep on.
fn announce(sleeps: &AtomicU32) -> u32 {
    let mut found = sleeps.load(Relaxed);
    loop {
        let asleep = found & !STATE | ASLEEP;
        // ORD sleep:A, SeqCst; pairs with wake:A; with release it could be delayed past the look
        // that follows. Also where nothing changes.
        match sleeps.compare_exchange_weak(found, asleep, SeqCst, Relaxed) {
            Ok(_) => {
                seq_cst_for_loom();
                return asleep;
            }
            Err(other) => found = other,
        }
    }
}

/// The reader is about to sleep until `awaited` comes: on which value of the word, if it may.
///
/// It announces itself and looks once more; a writer publishes, or counts an event, and then looks
/// for the announcement. Both sides are SeqCst, so at least one of them sees the other. Where it
/// may not sleep it takes the announcement back, and wakes the observers that rested on it, as a
/// writer does: others wake them too until it has done so.
pub(crate) fn may_sleep(
    awaited: &Awaited<'_>,
    sleeps: &AtomicU32,
    wake_observers: impl FnOnce(),
) -> Option<u32> {
    let asleep = announce(sleeps);
    if awaited.has_come() {
        wake_now(sleeps, asleep, || {
            wake_observers();
            true
        });
        return None;
    }
    Some(asleep)
}

/// What an observer may do that has seen all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Look: more has come.
    Over,
    /// Sleep on this value of the word, until a writer wakes it.
    On(u32),
    /// Look again before long: no writer is going to wake it.
    Unannounced,
}

/// How an observer may rest until `awaited` comes. It announces itself, as the reader does, if it
/// `may_write`; else the reader has to have.
pub(crate) fn observer_rest(awaited: &Awaited<'_>, sleeps: &AtomicU32, may_write: bool) -> Rest {
    let asleep = if may_write {
        announce(sleeps)
    } else {
        // ORD bell:A, SeqCst; pairs with sleep:A and wake:A; with acquire the look below could be
        // satisfied by what was there before the announcement.
        let found = sleeps.load(SeqCst);
        seq_cst_for_loom();
        found
    };
    match asleep & STATE {
        _ if awaited.has_come() => Rest::Over,
        ASLEEP => Rest::On(asleep),
        _ => Rest::Unannounced,
    }
}

/// After a publish, or an event: wakes the reader if it sleeps, and observers. Of several writers
/// one does. Until it has done so others do too, since it may be dead by then. What `wake` says;
/// `true` where there is nothing to do.
#[inline]
pub(crate) fn wake_sleeper(sleeps: &AtomicU32, wake: impl FnOnce() -> bool) -> bool {
    seq_cst_for_loom();
    // ORD wake:A, SeqCst; pairs with sleep:A; an acquire load could be satisfied before publish:E.
    let found = sleeps.load(SeqCst);
    if found & STATE == AWAKE { true } else { wake_now(sleeps, found, wake) }
}

#[cold]
#[inline(never)]
fn wake_now(sleeps: &AtomicU32, found: u32, wake: impl FnOnce() -> bool) -> bool {
    // Of another writer, if there is one.
    let mut being_woken = found;
    if found & STATE == ASLEEP {
        being_woken = (found & !STATE).wrapping_add(ONE_WAKE_UP) | BEING_WOKEN;
        let _ = sleeps.compare_exchange(found, being_woken, Relaxed, Relaxed);
    }
    let is_whole = wake();
    // Not if one sleeps again by now: that sleep is for others to end. What says that a ring was
    // cut and is whole is damage, of which a writer pays for one line.
    if is_whole {
        let _ = sleeps.compare_exchange(being_woken, being_woken & !STATE, Relaxed, Relaxed);
    }
    is_whole
}
