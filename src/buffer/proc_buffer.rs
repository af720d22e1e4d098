//! [`LineProcBuffer`]: keeps the last lines of many processes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::buffer::message::Message;
use crate::error::{CreateError, MirrorError, ReadError, cannot};
use crate::handles::line_ring::LineRing;
use crate::handles::mirror::LineProcMirror;
use crate::handles::seat::Seat;
use crate::line::item::{Ended, Item};
use crate::read::drain::Drain;
use crate::read::park::{self, Patience};
use crate::segment::options::{Options, Policy, Timestamps};
use crate::sys::fork;
use crate::sys::futex::PERIOD;

/// Keeps the last `maxlen` lines of many processes, and notices how each of them ends.
///
/// Workers write into [mirrors](LineProcMirror); the parent calls [`wait`](Self::wait) and then
/// [`read`](Self::read). No worker ever waits for the parent: the ring below overwrites its oldest
/// lines, so a parent may as well join its workers first. Whatever the parent does here, it drains
/// the ring into its own store.
///
/// ```
/// use linering::LineProcBuffer;
///
/// let buffer = LineProcBuffer::new(10)?;
/// let seat = buffer.seat()?;
/// // ... in a worker:
/// let mut mirror = seat.open()?;
/// mirror.write_line(b"Message item")?;
/// mirror.send_eof()?;
/// // ... in the parent:
/// buffer.wait()?;
/// assert_eq!(buffer.read(None)?[0].to_string(), "Message item");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Cloning gives another handle of the same buffer.
#[derive(Clone, Debug)]
pub struct LineProcBuffer {
    ring: LineRing,
    maxlen: usize,
    /// The process that made it: the store may be locked in a fork's child, so this is looked at
    /// first.
    token: u64,
    interruptible: Arc<AtomicBool>,
    store: Arc<Mutex<Store>>,
}

#[derive(Debug)]
struct Store {
    drain: Drain,
    messages: VecDeque<Message>,
    /// Since the last `wait` that returned; the last ones, if no caller waits.
    ends: VecDeque<Ended<'static>>,
}

/// Ends that are kept for the next `wait`.
const MOST_ENDS: usize = 1 << 16;

impl LineProcBuffer {
    /// Keeps the last `maxlen` lines, for as long as they fit in the ring's bytes (1 MiB, and more
    /// for a `maxlen` over 2048) while the buffer is not read.
    ///
    /// # Errors
    ///
    /// A `maxlen` of 0 or over 4,194,304, or the system's refusal to give the memory.
    pub fn new(maxlen: usize) -> Result<Self, CreateError> {
        Self::with_options(maxlen, Options::new().timestamps(Timestamps::Off))
    }

    /// The same with options. The policy is always [`Policy::OverwriteOldest`], and `lines` at
    /// least twice `maxlen`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and options out of their bounds.
    pub fn with_options(maxlen: usize, options: Options) -> Result<Self, CreateError> {
        let options = rotating(maxlen, options)?;
        let ring = LineRing::new(options)?;
        let drain = Drain::open(ring.segment()).map_err(cannot("become the ring's reader"))?;
        let store = Store {
            drain,
            messages: VecDeque::with_capacity(maxlen.min(1024)),
            ends: VecDeque::new(),
        };
        let (token, interruptible) = (fork::token(), Arc::default());
        Ok(Self { ring, maxlen, token, interruptible, store: Arc::new(Mutex::new(store)) })
    }

    /// The ring below: for its descriptor and counts.
    pub fn ring(&self) -> &LineRing {
        &self.ring
    }

    /// A live mirror of this process; see [`LineRing::mirror`].
    ///
    /// # Errors
    ///
    /// Too many mirrors or seats, or the system's refusal.
    pub fn mirror(&self) -> Result<LineProcMirror, MirrorError> {
        self.ring.mirror()
    }

    /// A place for a mirror that a worker will open; see [`Seat`].
    ///
    /// # Errors
    ///
    /// Too many seats.
    pub fn seat(&self) -> Result<Seat, MirrorError> {
        self.ring.seat()
    }

    /// Tells every writer to stop; see [`LineRing::stop_all_mirrors`].
    pub fn stop_all_mirrors(&self) {
        self.ring.stop_all_mirrors();
    }

    /// How many messages are kept at most.
    pub fn maxlen(&self) -> usize {
        self.maxlen
    }

    fn lock(&self) -> Result<MutexGuard<'_, Store>, ReadError> {
        if self.token != fork::token() {
            return Err(ReadError::Forked);
        }
        // A panic cannot leave the store half changed: what was not accepted comes again.
        Ok(self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves everything that has come into the store.
    fn drained(&self) -> Result<MutexGuard<'_, Store>, ReadError> {
        let mut store = self.lock()?;
        // No further than what is there now: writers that never pause must not keep this from
        // returning.
        let until = self.ring.segment().ring().tail();
        while store.drain.fill_to(until) {
            store.accept_one(self.maxlen);
            if !store.drain.comes_before(until) {
                break;
            }
        }
        Ok(store)
    }

    /// Waits until every seat and mirror has ended, and says how each of them did since the last
    /// `wait` that returned (the last 65,536 of them). At once, if there was none.
    ///
    /// A mirror of this process that was not ended or dropped keeps it waiting; so does a seat that
    /// no process opens, unless [`Options::seat_limit`] says how long.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a child; [`ReadError::Interrupted`] only where
    /// [`set_interruptible`](Self::set_interruptible) asked for it: call again to go on.
    pub fn wait(&self) -> Result<Vec<Ended<'static>>, ReadError> {
        Ok(self.wait_until(None)?.unwrap_or_default())
    }

    /// The same for `limit` at most; `None` if not every mirror had ended by then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Vec<Ended<'static>>>, ReadError> {
        self.wait_until(Some(limit))
    }

    fn wait_until(
        &self,
        limit: Option<Duration>,
    ) -> Result<Option<Vec<Ended<'static>>>, ReadError> {
        let began = Instant::now();
        loop {
            let mut store = self.drained()?;
            if store.drain.is_idle() {
                return Ok(Some(core::mem::take(&mut store.ends).into()));
            }
            if !self.pause(store, began, limit)? {
                return Ok(None);
            }
        }
    }

    /// Whether a signal handler that runs while a thread waits here ends its call, with
    /// [`ReadError::Interrupted`]. False at first: the wait goes on.
    pub fn set_interruptible(&self, interruptible: bool) {
        self.interruptible.store(interruptible, Relaxed);
    }

    /// Waits for something to come, a period at most, without the lock; `false` once `limit` has
    /// passed.
    fn pause(
        &self,
        mut store: MutexGuard<'_, Store>,
        began: Instant,
        limit: Option<Duration>,
    ) -> Result<bool, ReadError> {
        let left = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(began.elapsed()));
        if left.is_zero() {
            return Ok(false);
        }
        store.drain.reap_dead()?;
        let wanted = store.drain.wanted();
        drop(store);
        match park::pause(self.ring.segment(), wanted, left.min(PERIOD), Patience::Spin, None) {
            Err(ReadError::Interrupted) if !self.interruptible.load(Relaxed) => {}
            paused => paused?,
        }
        Ok(true)
    }

    /// Waits for one message, which goes into the store too. `None` once every mirror has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn receive(&self) -> Result<Option<Message>, ReadError> {
        let began = Instant::now();
        loop {
            let mut store = self.lock()?;
            while let Some(accepted) = store.accept_one(self.maxlen) {
                if accepted {
                    return Ok(store.messages.back().cloned());
                }
            }
            if store.drain.is_idle() {
                return Ok(None);
            }
            self.pause(store, began, None)?;
        }
    }

    /// The last `count` messages (all that are kept, for `None`), oldest first. They stay.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a child.
    pub fn read(&self, count: Option<usize>) -> Result<Vec<Message>, ReadError> {
        let store = self.drained()?;
        let skip = store.messages.len().saturating_sub(count.unwrap_or(usize::MAX));
        Ok(store.messages.iter().skip(skip).cloned().collect())
    }

    /// How many messages are kept.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a child.
    #[expect(clippy::len_without_is_empty, reason = "it drains, and so can fail")]
    pub fn len(&self) -> Result<usize, ReadError> {
        Ok(self.drained()?.messages.len())
    }

    /// Forgets every message that has come.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a child.
    pub fn clear(&self) -> Result<(), ReadError> {
        self.drained()?.messages.clear();
        Ok(())
    }
}

impl AsRef<LineRing> for LineProcBuffer {
    fn as_ref(&self) -> &LineRing {
        &self.ring
    }
}

impl Store {
    /// Moves the next item into the store; `Some(true)` if it was a message, `None` if nothing has
    /// come.
    fn accept_one(&mut self, maxlen: usize) -> Option<bool> {
        if !self.drain.fill() {
            return None;
        }
        let message = match self.drain.next_item()? {
            Item::Line(line) => Some(Message::from(line)),
            Item::Ended(ended) => {
                let Item::Ended(ended) = Item::Ended(ended).into_owned() else {
                    unreachable!("stays what it is")
                };
                if self.ends.len() == MOST_ENDS {
                    self.ends.pop_front();
                }
                self.ends.push_back(ended);
                None
            }
            // Overwritten lines are what a rotating buffer is about.
            Item::Lost(_) | Item::Damaged { .. } => None,
        };
        self.drain.accept(1);
        let is_message = message.is_some();
        if let Some(message) = message {
            if self.messages.len() == maxlen {
                self.messages.pop_front();
            }
            self.messages.push_back(message);
        }
        Some(is_message)
    }
}

/// Options for a ring that keeps the last `maxlen` lines.
pub(crate) fn rotating(maxlen: usize, options: Options) -> Result<Options, CreateError> {
    if !(1..=1 << 22).contains(&maxlen) {
        let expected = format!("1 to {}", 1 << 22);
        return Err(CreateError::Option { option: "maxlen", found: maxlen as u64, expected });
    }
    let lines = options.lines.max(2 * maxlen);
    Ok(options.policy(Policy::OverwriteOldest).lines(lines).fold_crlf(true).rewrite(true))
}
