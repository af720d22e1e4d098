//! [`Reader`]: drains a ring's lines in their one order.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::ReadError;
use crate::handles::batch::Batch;
use crate::line::item::Item;
use crate::read::drain::Drain;
use crate::read::item_ref::ItemRef;
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
    /// The first queued item was handed out, and not accepted yet.
    handed: bool,
    pub(super) patience: Patience,
    pub(super) interruptible: bool,
    /// The longest sleep.
    pub(super) period: Duration,
    pub(super) keeps_open: bool,
    /// A call with a time limit has said that the ring is over.
    pub(super) told_over: bool,
    pub(super) woken: Arc<AtomicBool>,
    /// How often it has come back from a wait.
    pub(super) wake_ups: u64,
}

impl Reader {
    /// Becomes the ring's reader.
    pub(crate) fn open(segment: &Arc<Segment>) -> Result<Self, ReadError> {
        let drain = Drain::open(segment)?;
        // An event loop may poll before its first look.
        park::arm_pipe(segment, drain.wanted());
        Ok(Self {
            drain,
            handed: false,
            patience: Patience::Spin,
            interruptible: false,
            period: PERIOD,
            keeps_open: false,
            told_over: false,
            woken: Arc::default(),
            wake_ups: 0,
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
        Ok(self.recv_ref()?.map(ItemRef::to_item))
    }

    /// As [`recv`](Self::recv), but a line of one slot is not made an [`Item`] of, which costs as
    /// much as all else: it is looked at where the reader copied it to.
    ///
    /// It is accepted as an item of `recv` is: by the next call, or by [`commit`](Self::commit).
    /// A caller that stops before, be it by an error of its own or by a panic, and drops the
    /// reader, leaves it to the next one.
    ///
    /// ```
    /// use linering::{ItemRef, LineRing, Options};
    /// use std::io::Write;
    ///
    /// # let ring = LineRing::new(Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// # mirror.write_line(b"hello")?;
    /// # drop(mirror);
    /// # let mut log = Vec::new();
    /// let mut reader = ring.reader()?;
    /// while let Some(item) = reader.recv_ref()? {
    ///     match item {
    ///         ItemRef::Line(line) => log.write_all(line.bytes())?,
    ///         // Longer lines, losses, ends.
    ///         ItemRef::Other(other) => write!(log, "{}", other.to_item())?,
    ///     }
    ///     log.write_all(b"\n")?;
    /// }
    /// # assert_eq!(log, b"hello\n-- worker 0 ended --\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[doc(alias("visit", "borrow"))]
    #[inline]
    pub fn recv_ref(&mut self) -> Result<Option<ItemRef<'_>>, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.wait_for_some(None)?;
        }
        Ok(self.hand_out())
    }

    /// As [`recv_ref`](Self::recv_ref), without waiting: `None` as from
    /// [`try_recv`](Self::try_recv).
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    #[doc(alias = "try_visit")]
    #[inline]
    pub fn try_recv_ref(&mut self) -> Result<Option<ItemRef<'_>>, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.reap_some()?;
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
        Ok(self.try_recv_ref()?.map(ItemRef::to_item))
    }

    /// Queues what is there; `false` if nothing is.
    pub(super) fn fill(&mut self) -> Result<bool, ReadError> {
        self.drain.segment().read_by.note();
        let is_queued = self.drain.fill();
        // What was queued then may be no line.
        if self.drain.segment().is_cut() { Err(ReadError::CutShort) } else { Ok(is_queued) }
    }

    /// Accepts what was handed out: whether something is there. Else the wake-up pipe is armed.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_some(&mut self) -> Result<bool, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.reap_some()?;
        }
        Ok(self.drain.queued() > 0)
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
        Ok(self.hand_out().map(ItemRef::to_item))
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

    /// The next items, as many as are there (64 at most, or as
    /// [`set_batch_size`](Self::set_batch_size) says); waits for the first. Empty once every
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
        Ok(Batch::of(&mut self.drain))
    }

    /// How many items [`batch`](Self::batch) hands out at most, and [`more`](Self::more) adds to:
    /// 64 at first. They are copied out of the ring, so each takes as much memory as a slot. A
    /// batch has no more than a quarter of the ring's lines, so that writers can go on meanwhile;
    /// more of them, up to all, come by `more`.
    ///
    /// More at a time where each batch has a price of its own, such as a message or a transaction.
    /// A smaller number than before takes effect once what is queued was accepted.
    pub fn set_batch_size(&mut self, items: usize) {
        self.drain.set_batch_size(items);
    }

    /// Reads on, behind what was read and is not accepted: the next [`batch`](Self::batch) has
    /// both. Gives whether something came. Never waits; no system call.
    ///
    /// So a batch can be on its way to wherever it is kept, and is accepted once it is there, while
    /// the one after it gathers:
    ///
    /// ```
    /// use linering::{LineRing, Options};
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// let (mut mirror, mut reader) = (ring.mirror()?, ring.reader()?);
    /// mirror.write_line(b"first")?;
    /// let sent = reader.batch()?.len();
    /// mirror.write_line(b"second")?;
    /// assert!(reader.more()?);
    /// let batch = reader.batch()?;
    /// assert_eq!((sent, batch.len()), (1, 2));
    /// // Those that were sent are stored now.
    /// batch.commit_first(sent);
    /// assert_eq!(reader.batch()?.iter().next().unwrap().to_string(), "second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn more(&mut self) -> Result<bool, ReadError> {
        self.commit()?;
        self.drain.segment().read_by.note();
        let came = self.drain.fill_on();
        if self.drain.segment().is_cut() { Err(ReadError::CutShort) } else { Ok(came) }
    }

    /// How far it is: every line whose [position](crate::Line::position) is before this one was
    /// accepted, or will never come. A new reader's is at most what the caller of the one before
    /// had accepted: parts of a long line that had come alone are not in it.
    pub fn position(&self) -> u64 {
        self.drain.position().0
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
        if core::mem::take(&mut self.handed) {
            self.drain.accept_first();
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
        !self.handed && self.drain.is_idle()
    }

    #[inline]
    fn hand_out(&mut self) -> Option<ItemRef<'_>> {
        let item = self.drain.next_ref();
        self.handed = item.is_some();
        item
    }
}

impl Iterator for Reader {
    type Item = Result<Item<'static>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv().map(|item| item.map(Item::into_owned)).transpose()
    }
}
