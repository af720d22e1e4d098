//! [`Reader`]: drains a ring's lines in their one order.

use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::ReadError;
use crate::line::item::Item;
use crate::read::drain::Drain;
use crate::read::park::{self, Patience};
use crate::segment::Segment;
use crate::sys::futex::PERIOD;

/// The ring's one reader: drains lines in their one order.
///
/// An item is accepted by asking for the next one or by [`commit`](Self::commit), never by being
/// returned: a reader that dies, or is dropped, leaves what it had not accepted to the next one.
///
/// **The end**: a ring is over when seats and mirrors were made in it and all of them have ended.
/// Before the first one the reader waits, so it may be started before its writers. In a service, in
/// which no mirror may be open for a moment, [`keep_open`](Self::keep_open) has it wait for ever.
///
/// As an iterator it gives owned items, waits, and ends when the ring is over.
#[doc(alias("receiver", "consumer"))]
#[must_use = "a ring without a reader fills up"]
#[derive(Debug)]
pub struct Reader {
    pub(super) drain: Drain,
    /// Queued items that were handed out and not accepted yet.
    handed: usize,
    pub(super) patience: Patience,
    pub(super) interruptible: bool,
    /// The longest sleep.
    pub(super) period: Duration,
    pub(super) keeps_open: bool,
    /// A call with a time limit has said that the ring is over.
    pub(super) told_over: bool,
    pub(super) woken: Arc<AtomicBool>,
}

impl Reader {
    /// Becomes the ring's reader.
    pub(crate) fn open(segment: &Arc<Segment>) -> Result<Self, ReadError> {
        let drain = Drain::open(segment)?;
        // An event loop may poll before its first look.
        park::arm_pipe(segment, drain.wanted());
        Ok(Self {
            drain,
            handed: 0,
            patience: Patience::Spin,
            interruptible: false,
            period: PERIOD,
            keeps_open: false,
            told_over: false,
            woken: Arc::default(),
        })
    }

    /// The next item; waits for it, and for the first mirror. `None` once every seat and mirror has
    /// ended and everything was handed out, and where a [`Waker`](crate::Waker) ended the wait.
    ///
    /// Accepts the item before. No system call while items are there.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child; [`ReadError::Interrupted`] only where
    /// [`set_interruptible`](Self::set_interruptible) asked for it.
    #[inline]
    pub fn recv(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.wait_for_some(None)?;
        }
        Ok(self.hand_out())
    }

    /// The next item if there is one now. Never waits. `None` also when every mirror has ended:
    /// [`is_over`](Self::is_over) tells. See [`poll_fd`](Self::poll_fd) for event loops.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child.
    #[doc(alias = "non_blocking")]
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.reap_some()?;
        }
        Ok(self.hand_out())
    }

    /// Queues what is there; `false` if nothing is.
    pub(super) fn fill(&mut self) -> Result<bool, ReadError> {
        self.drain.segment().read_by.note();
        let is_queued = self.drain.fill();
        // What was queued then may be no line.
        if self.drain.segment().is_cut() { Err(ReadError::CutShort) } else { Ok(is_queued) }
    }

    /// Queues what is there; arms the wake-up pipe if nothing is.
    fn reap_some(&mut self) -> Result<(), ReadError> {
        while !self.fill()? {
            self.drain.reap_dead()?;
            // Armed, and nothing came meanwhile, not even an end or a part: only then may the
            // caller sleep.
            if park::arm_pipe(self.drain.segment(), self.drain.wanted()) {
                break;
            }
        }
        Ok(())
    }

    /// The next item, or `None` if none has come for `limit`, or a [`Waker`](crate::Waker) ended
    /// the wait.
    ///
    /// That the ring is over, which [`is_over`](Self::is_over) tells, is said once without waiting:
    /// the first such call gives `None` at once, further ones wait, since mirrors may come. So a
    /// loop around this never spins.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut reader = ring.reader()?;
    /// drop(ring.mirror()?);
    /// let limit = Duration::from_secs(60);
    /// assert_eq!(reader.recv_timeout(limit)?.unwrap().to_string(), "-- worker 0 ended --");
    /// assert!(reader.recv_timeout(limit)?.is_none() && reader.is_over());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Item<'_>>, ReadError> {
        self.commit()?;
        self.wait_for_some(Some(limit))?;
        Ok(self.hand_out())
    }

    /// Waits until an item is there, for `limit` at most: `false` if none has come, as in
    /// [`recv_timeout`](Self::recv_timeout). With no time it never waits, and says whether the next
    /// call would.
    ///
    /// Accepts what was handed out before.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<bool, ReadError> {
        self.commit()?;
        self.wait_for_some(Some(limit))?;
        Ok(self.drain.queued() > 0)
    }

    /// The next items, as many as are there (64 at most); waits for the first. Empty once every
    /// seat and mirror has ended, and where a [`Waker`](crate::Waker) ended the wait.
    ///
    /// Accepts what was handed out before by other calls; the batch itself is accepted by
    /// [`Batch::commit`] alone, and comes again if it is dropped.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn batch(&mut self) -> Result<Batch<'_>, ReadError> {
        self.commit()?;
        self.wait_for_some(None)?;
        Ok(Batch { reader: self })
    }

    /// Whether it stays awake for some 50 microseconds on an empty ring before it sleeps, which
    /// saves writers of a steady stream from waking it. True at first; better false where
    /// writers need the processor that this takes.
    pub fn set_spinning(&mut self, spins: bool) {
        self.patience = if spins { Patience::Spin } else { Patience::Sleep };
    }

    /// Whether a signal handler that runs while the reader waits ends the call, with
    /// [`ReadError::Interrupted`]. False at first: the reader goes on, as `std`'s blocking calls
    /// do. For programs whose handlers leave word that the waiting thread is to look at.
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.interruptible = interruptible;
    }

    /// Accepts what was handed out.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child.
    #[inline]
    pub fn commit(&mut self) -> Result<(), ReadError> {
        self.drain.check()?;
        if self.handed > 0 {
            self.drain.accept(self.handed);
            self.handed = 0;
        }
        Ok(())
    }

    /// Whether there were seats or mirrors, ever, and all of them have ended and everything was
    /// accepted, as far as the last call saw. New mirrors may come all the same.
    pub fn is_over(&self) -> bool {
        self.is_idle() && self.drain.has_begun()
    }

    /// Whether no seat or mirror is open and everything was accepted, as far as the last call saw.
    /// Unlike [`is_over`](Self::is_over) also before the first one.
    pub fn is_idle(&self) -> bool {
        self.handed == 0 && self.drain.is_idle()
    }

    #[inline]
    fn hand_out(&mut self) -> Option<Item<'_>> {
        let item = self.drain.next_item();
        self.handed = usize::from(item.is_some());
        item
    }
}

impl Iterator for Reader {
    type Item = Result<Item<'static>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv().map(|item| item.map(Item::into_owned)).transpose()
    }
}

/// Items that were handed out together and are accepted together.
#[must_use = "lines of a batch that is dropped unread come again"]
#[derive(Debug)]
pub struct Batch<'r> {
    reader: &'r mut Reader,
}

impl<'r> Batch<'r> {
    /// Of what is queued.
    pub(super) fn of(reader: &'r mut Reader) -> Self {
        Self { reader }
    }

    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.reader.drain.queued()
    }

    /// Whether there is none: the ring is over, the time limit has passed, or a
    /// [`Waker`](crate::Waker) ended the wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, in order.
    #[inline]
    pub fn iter(&self) -> impl FusedIterator<Item = Item<'_>> {
        self.reader.drain.items().fuse()
    }

    /// Accepts all of them.
    pub fn commit(self) {
        let all = self.len();
        self.reader.drain.accept(all);
    }
}

/// `for item in &batch`: the items, in order. They are accepted by [`Batch::commit`].
impl<'b> IntoIterator for &'b Batch<'_> {
    type Item = Item<'b>;
    type IntoIter = Box<dyn Iterator<Item = Item<'b>> + 'b>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
