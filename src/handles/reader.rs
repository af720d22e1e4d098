//! [`Reader`]: drains a ring's lines in their one order.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ReadError;
use crate::line::item::Item;
use crate::read::drain::Drain;
use crate::read::item_ref::ItemRef;
use crate::read::park::{self, Patience};
use crate::segment::Segment;

/// The ring's one reader: drains lines in their one order.
///
/// An item is accepted by asking for the next one or by [`commit`](Self::commit), never by being
/// returned: a reader that dies, or is dropped, leaves what it had not accepted to the next one.
///
/// As an iterator it gives owned items, waits, and ends when every mirror has ended.
#[doc(alias("receiver", "consumer"))]
#[must_use = "a ring without a reader fills up"]
#[derive(Debug)]
pub struct Reader {
    drain: Drain,
    /// The first queued item was handed out, and not accepted yet.
    handed: bool,
    patience: Patience,
    interruptible: bool,
}

impl Reader {
    /// Becomes the ring's reader.
    pub(crate) fn open(segment: &Arc<Segment>) -> Result<Self, ReadError> {
        Ok(Self {
            drain: Drain::open(segment)?,
            handed: false,
            patience: Patience::Spin,
            interruptible: false,
        })
    }

    /// The next item; waits for it. `None` once every seat and mirror has ended and everything was
    /// handed out (at once, if there was none).
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
    /// [`is_over`](Self::is_over) tells.
    ///
    /// With [`WakeUp::Pipe`](crate::WakeUp::Pipe), `None` means that [`as_fd`](AsFd::as_fd) becomes
    /// readable when the next line comes. Poll it with a time limit (a second, say) and call
    /// this then too: a mirror that is killed makes nothing readable.
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
    fn fill(&mut self) -> Result<bool, ReadError> {
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
            if park::arm(self.drain.segment(), self.drain.wanted()) {
                break;
            }
        }
        Ok(())
    }

    /// The next item, or `None` if none has come for `limit`, or every mirror has ended.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Item<'_>>, ReadError> {
        self.commit()?;
        self.wait_for_some(Some(limit))?;
        Ok(self.hand_out().map(ItemRef::to_item))
    }

    /// Waits until an item is there, for `limit` at most: `false` if none has come, or every mirror
    /// has ended. With no time it never waits, and says whether the next call would.
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
    /// mirror has ended.
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
        if core::mem::take(&mut self.handed) {
            self.drain.accept_first();
        }
        Ok(())
    }

    /// Whether every seat and mirror has ended and everything was accepted, as far as the last call
    /// saw.
    pub fn is_over(&self) -> bool {
        !self.handed && self.drain.is_over()
    }

    #[inline]
    fn hand_out(&mut self) -> Option<ItemRef<'_>> {
        let item = self.drain.next_ref();
        self.handed = item.is_some();
        item
    }

    /// Waits until something is queued, everything is over, or `limit` has passed.
    fn wait_for_some(&mut self, limit: Option<Duration>) -> Result<(), ReadError> {
        let mut began = None;
        while !self.fill()? && !self.drain.is_over() {
            let left = match limit {
                None => Duration::MAX,
                Some(limit) => {
                    limit.saturating_sub(began.get_or_insert_with(Instant::now).elapsed())
                }
            };
            if left.is_zero() {
                break;
            }
            let wanted = self.drain.wanted();
            match park::pause(self.drain.segment(), wanted, left, self.patience) {
                Err(ReadError::Interrupted) if !self.interruptible => {}
                paused => paused?,
            }
            self.drain.reap_dead()?;
        }
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = Result<Item<'static>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv().map(|item| item.map(Item::into_owned)).transpose()
    }
}

/// The read end of the wake-up pipe, to poll; without [`WakeUp::Pipe`](crate::WakeUp::Pipe), or
/// where the process that made the ring was gone before this one attached, the ring's own
/// descriptor, which is always readable.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let segment = self.drain.segment();
        match segment.pipe() {
            Some(pipe) => pipe.read_end(),
            // SAFETY: open for as long as the segment is, unless other code of this process closed
            // it, against which no borrowed descriptor is safe.
            None => unsafe { BorrowedFd::borrow_raw(segment.descriptor()) },
        }
    }
}

/// Items that were handed out together and are accepted together.
#[must_use = "lines of a batch that is dropped unread come again"]
#[derive(Debug)]
pub struct Batch<'r> {
    reader: &'r mut Reader,
}

impl Batch<'_> {
    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.reader.drain.queued()
    }

    /// Whether there is none: every mirror has ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        self.iter_ref().map(ItemRef::to_item)
    }

    /// The items, in order, of which lines of one slot are looked at where the reader copied them
    /// to: less than half the work. Stopping early accepts nothing, as with [`iter`](Self::iter).
    ///
    /// ```
    /// use linering::{ItemRef, LineRing, Options};
    ///
    /// # let ring = LineRing::new(Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// # mirror.write_line(b"hello")?;
    /// let mut reader = ring.reader()?;
    /// let batch = reader.batch()?;
    /// for item in batch.iter_ref() {
    ///     if let ItemRef::Line(line) = item {
    ///         assert_eq!(line.bytes(), b"hello");
    ///     }
    /// }
    /// batch.commit();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("visit", "lines"))]
    #[inline]
    pub fn iter_ref(&self) -> impl Iterator<Item = ItemRef<'_>> {
        self.reader.drain.items()
    }

    /// Accepts all of them.
    pub fn commit(self) {
        let all = self.len();
        self.reader.drain.accept(all);
    }
}
