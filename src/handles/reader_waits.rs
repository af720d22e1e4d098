//! How a [`Reader`] waits: for what, for how long, and what ends it.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::line_ring::LineRing;
use super::reader::Reader;
use super::waker::Waker;
use crate::error::ReadError;
use crate::read::park;
use crate::sys::futex::PERIOD;

impl Reader {
    /// As [`batch`](Self::batch), for `limit` at most: empty if nothing has come, as in
    /// [`recv_timeout`](Self::recv_timeout). For a drain that has other things to do now and then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut reader = ring.reader()?;
    /// let mut mirror = ring.mirror()?;
    /// assert!(reader.batch_timeout(Duration::from_millis(1))?.is_empty());
    /// mirror.write_line(b"a line")?;
    /// let batch = reader.batch_timeout(Duration::from_secs(60))?;
    /// assert_eq!(batch.len(), 1);
    /// batch.commit();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn batch_timeout(&mut self, limit: Duration) -> Result<Batch<'_>, ReadError> {
        self.commit()?;
        self.wait_for_some(Some(limit))?;
        Ok(Batch::of(&mut self.drain))
    }

    /// Looks for dead mirrors now. Reading does so by itself, but ten times a second at most: after
    /// this, the last words and the end of each process that was dead before are there to be read.
    /// (Last words for which a full ring has no room come once there is some: read, and call this
    /// again.)
    ///
    /// A system call for each open mirror, and a few for each dead one.
    ///
    /// ```
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut reader = ring.reader()?;
    /// let seat = ring.seat()?;
    /// // SAFETY: the child writes a line, and is killed.
    /// match unsafe { libc::fork() } {
    ///     0 => {
    ///         seat.open().unwrap().write_line(b"the last words").unwrap();
    ///         unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    ///     }
    ///     child => assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child),
    /// }
    /// reader.poll_deaths()?;
    /// let mut seen = Vec::new();
    /// while let Some(item) = reader.try_recv()? {
    ///     seen.push(item.to_string());
    /// }
    /// assert_eq!(seen[0], "the last words");
    /// assert_eq!(seen.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child;
    /// [`MirrorError::DescriptorClosed`](crate::MirrorError::DescriptorClosed): no death will be
    /// seen any more.
    pub fn poll_deaths(&mut self) -> Result<(), ReadError> {
        self.drain.check()?;
        self.drain.reap_dead_now()
    }

    /// Whether the ring is never over, so that the reader waits for mirrors that come and go. False
    /// at first. A [`Waker`] ends a wait then.
    ///
    /// ```
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut reader = ring.reader()?;
    /// reader.keep_open(true);
    /// let waker = reader.waker();
    /// let drain = std::thread::spawn(move || {
    ///     let mut lines = 0;
    ///     while let Ok(Some(item)) = reader.recv() {
    ///         lines += usize::from(item.line().is_some());
    ///     }
    ///     lines
    /// });
    /// for _ in 0..3 {
    ///     // Between two of these no mirror is open.
    ///     ring.mirror()?.write_line(b"a line")?;
    /// }
    /// // Ends a wait, so everything that was written is read before.
    /// waker.wake();
    /// assert_eq!(drain.join().unwrap(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_open(&mut self, keeps_open: bool) {
        self.keeps_open = keeps_open;
    }

    /// How long a sleep lasts at most, before the reader looks by itself whether something has
    /// come: 10 ms at first, and at least. So late it sees a line whose writer was killed or
    /// stopped just before it would have woken the reader, and a mirror that was killed. A process
    /// that is idle for long wakes less often with longer ones; a [`LogDrain`](crate::LogDrain) has
    /// half a second.
    pub fn set_longest_sleep(&mut self, time: Duration) {
        self.period = time.max(PERIOD);
    }

    /// What ends this reader's wait from another thread.
    pub fn waker(&self) -> Waker {
        Waker::new(self.drain.segment(), &self.woken)
    }

    /// The descriptor for an event loop: the read end of the wake-up pipe. `None` without
    /// [`WakeUp::Pipe`](crate::WakeUp::Pipe), and where the process that made the ring was gone
    /// before this one attached: nothing could be polled then.
    ///
    /// It is readable whenever an item is there, and stays so until
    /// [`try_recv`](Self::try_recv) has given `None`; so a loop may stop early, with items left.
    /// (In an event loop that tells changes alone, such as tokio's or mio's: go on until `None`.)
    /// That it is readable does not mean that an item is there. Poll it with a time limit (a
    /// second, say), and call `try_recv` then too: a mirror that is killed makes nothing readable.
    ///
    /// ```
    /// # use linering::{LineRing, Options, WakeUp};
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// let ring = LineRing::new(Options::new().wake_up(WakeUp::Pipe))?;
    /// let mut reader = ring.reader()?;
    /// ring.mirror()?.write_line(b"a line")?;
    /// let pipe = reader.poll_fd().ok_or("no pipe")?;
    /// assert_eq!(poll(&mut [PollFd::new(&pipe, PollFlags::IN)], None)?, 1);
    /// assert_eq!(reader.try_recv()?.unwrap().to_string(), "a line");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("as_fd", "as_raw_fd", "fileno"))]
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.drain.segment().pipe().map(|pipe| pipe.read_end())
    }

    /// Its ring.
    pub(crate) fn ring(&self) -> LineRing {
        LineRing::of(Arc::clone(self.drain.segment()))
    }

    /// How often it has waited.
    pub(crate) fn wake_ups(&self) -> u64 {
        self.wake_ups
    }

    /// Says that this thread, and no other, reads from now on; or, with `false`, that another may.
    /// What this thread logs into the ring with a [`SharedWriter`](crate::SharedWriter) of this
    /// process goes to standard error then: it would wait for itself once the ring is full. For a
    /// loop that does as a [`LogDrain`](crate::LogDrain), which calls it. The reader's drop ends
    /// it.
    ///
    /// ```
    /// # use linering::{Level, LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let (log, mut reader) = (ring.writer()?, ring.reader()?);
    /// reader.set_staying(true);
    /// log.record(Level::Info, "on standard error")?;
    /// assert!(reader.try_recv()?.is_none() && log.diverted_lines() == 1);
    /// drop(reader);
    /// log.record(Level::Info, "in the ring")?;
    /// assert_eq!(ring.reader()?.recv()?.unwrap().to_string(), "in the ring");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_staying(&self, stays: bool) {
        self.drain.segment().read_by.set_staying(stays);
    }

    /// Whether a waker ends this wait.
    #[cfg(feature = "tokio")]
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Relaxed)
    }

    /// Whether a loop that reads is to end.
    pub(crate) fn has_ended(&self) -> bool {
        !self.keeps_open && self.is_over()
    }

    /// Whether the caller is to be told now that the ring is over.
    fn tells_over(&mut self, is_limited: bool) -> bool {
        let is_over = self.has_ended();
        let was_told = std::mem::replace(&mut self.told_over, is_over);
        is_over && !(is_limited && was_told)
    }

    /// Waits until something is queued, the ring is over, the reader is woken, or `limit` has
    /// passed.
    pub(super) fn wait_for_some(&mut self, limit: Option<Duration>) -> Result<(), ReadError> {
        let mut began = None;
        while !self.fill()? {
            if self.tells_over(limit.is_some()) {
                return Ok(());
            }
            if self.woken.swap(false, Relaxed) {
                // What was written before it was woken comes first.
                self.fill()?;
                return Ok(());
            }
            let left = match limit {
                None => Duration::MAX,
                Some(limit) => {
                    limit.saturating_sub(began.get_or_insert_with(Instant::now).elapsed())
                }
            };
            if left.is_zero() {
                return Ok(());
            }
            // Before it sleeps: with many mirrors the look takes its time, for which a line that
            // wakes it would wait.
            self.drain.reap_dead()?;
            if self.fill()? {
                break;
            }
            let wanted = self.drain.wanted();
            let segment = self.drain.segment();
            let time = left.min(self.period);
            self.wake_ups += 1;
            match park::pause(segment, wanted, time, self.patience, Some(&self.woken)) {
                Err(ReadError::Interrupted) if !self.interruptible => {}
                paused => paused?,
            }
        }
        self.told_over = false;
        Ok(())
    }
}
