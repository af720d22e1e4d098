//! [`DrainGuard`]: what a program holds of the thread that drains its log.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::complaint::say;
use crate::error::ReadError;
use crate::handles::line_ring::LineRing;
use crate::handles::reader::Reader;
use crate::handles::waker::Waker;
use crate::sys::fork;

/// How long a guard that is dropped waits for its last round.
const LAST_ROUND: Duration = Duration::from_secs(5);

/// What a drain has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Items that were lines or groups of lines, and that the sink has.
    pub lines: u64,
    /// Lines that were lost in the ring, and told.
    pub lost: u64,
    /// Mirrors that ended.
    pub ended: u64,
    /// Calls of the sink that failed, and were made again.
    pub failures: u64,
    /// Positions that were in the ring when the drain ended, or its time was over: lines, and parts
    /// of long lines.
    pub left: u64,
}

/// What the thread is to do, and has done. Locked for moments, by the thread and the guard alone: a
/// forked child, in which it may be locked for ever, does not look.
#[derive(Debug, Default)]
pub(super) struct Orders {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) reopen: bool,
    /// When its last round is to end.
    pub(super) stop: Option<Instant>,
    pub(super) totals: Totals,
    pub(super) is_done: bool,
}

impl Orders {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes who waits for a change.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits for `limit` at most, or until `is_enough`.
    pub(super) fn wait(&self, limit: Duration, is_enough: impl Fn(&State) -> bool) {
        let guard = self.lock();
        let waited = self.changed.wait_timeout_while(guard, limit, |state| !is_enough(state));
        drop(waited);
    }
}

/// The thread that drains a service's log, from [`LogDrain::spawn`](crate::LogDrain::spawn) or
/// [`non_blocking`](crate::non_blocking). Keep it for as long as the service runs.
///
/// Its drop stops the thread, as [`stop`](Self::stop) with 5 seconds. In a forked child it does
/// nothing, also when it is dropped: the thread is the parent's, and drains what the child writes.
#[must_use = "a guard that is dropped stops the drain"]
#[derive(Debug)]
pub struct DrainGuard {
    ring: LineRing,
    waker: Waker,
    orders: Arc<Orders>,
    token: u64,
    thread: Option<JoinHandle<()>>,
}

impl DrainGuard {
    pub(super) fn new(reader: &Reader, orders: &Arc<Orders>) -> Self {
        Self {
            ring: reader.ring(),
            waker: reader.waker(),
            orders: Arc::clone(orders),
            token: fork::token(),
            thread: None,
        }
    }

    pub(super) fn of(mut self, thread: JoinHandle<()>) -> Self {
        self.thread = Some(thread);
        self
    }

    fn is_inherited(&self) -> bool {
        !fork::is_token(self.token)
    }

    /// Waits until the sink has everything that was written before this call, for `limit` at most:
    /// whether it has. Lines that are not finished do not count.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let (log, guard) = linering::non_blocking(std::io::stderr())?;
    /// log.record(linering::Level::Info, "before something dangerous")?;
    /// assert!(guard.flush(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self, limit: Duration) -> bool {
        self.ring.wait_accepted(self.ring.position(), limit)
    }

    /// Has the sink open its file anew, before the next batch: after logrotate, say, in a service
    /// that is sent a signal then. A [`RotatingFile`](crate::RotatingFile) needs no such call.
    pub fn reopen(&self) {
        if !self.is_inherited() {
            self.orders.change(|state| state.reopen = true);
            self.waker.wake();
        }
    }

    /// What the drain has done so far.
    pub fn totals(&self) -> Totals {
        if self.is_inherited() { Totals::default() } else { self.orders.lock().totals }
    }

    /// Makes a last round, and ends the thread: what was written before this call, and the last
    /// words and ends of processes that are dead by now, are in the sink when it returns. If they
    /// are not within `limit`, because the sink fails or waits, it returns all the same and says
    /// on standard error how many are left; they are in [`Totals::left`] too.
    ///
    /// What is written later stays in the ring. It is lost with the ring, but for one in a file.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child.
    pub fn stop(mut self, limit: Duration) -> io::Result<Totals> {
        if self.is_inherited() {
            return Err(ReadError::Forked.into());
        }
        Ok(self.stop_within(limit))
    }

    fn stop_within(&mut self, limit: Duration) -> Totals {
        let Some(thread) = self.thread.take() else { return self.totals() };
        // One that the clock cannot name is a year ahead.
        let (now, longest) = (Instant::now(), Duration::from_secs(365 * 86_400));
        // A little earlier, so that a thread whose sink only fails has ended by then.
        let deadline = now.checked_add(limit - limit / 10).unwrap_or(now + longest);
        self.orders.change(|state| state.stop = Some(deadline));
        self.waker.wake();
        self.orders.wait(limit, |state| state.is_done);
        let (is_done, mut totals) = {
            let state = self.orders.lock();
            (state.is_done, state.totals)
        };
        if is_done {
            // It ends now, and cannot panic any more.
            let _ = thread.join();
        } else {
            totals.left = self.ring.unread();
        }
        if totals.left > 0 {
            say(format_args!(
                "the log's drain was stopped with {} lines or parts of lines left in the ring, \
                 expected none: its sink fails, or needs more time",
                totals.left
            ));
        }
        totals
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        if self.is_inherited() {
            // The thread is the parent's.
            core::mem::forget(self.thread.take());
        } else {
            self.stop_within(LAST_ROUND);
        }
    }
}
