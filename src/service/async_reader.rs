//! [`AsyncReader`]: a task of tokio's reads a ring.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::error::ReadError;
use crate::handles::batch::Batch;
use crate::handles::reader::Reader;
use crate::line::item::Item;

/// How often a task that waits looks for the dead, which make nothing readable.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A [`Reader`] for tasks of tokio's: no call of it blocks the runtime, and what is written wakes
/// the task. For rings with [`WakeUp::Pipe`](crate::WakeUp::Pipe).
///
/// ```
/// use linering::{AsyncReader, LineRing, Options, WakeUp};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let ring = LineRing::new(Options::new().wake_up(WakeUp::Pipe))?;
/// ring.mirror()?.write_line(b"a line")?;
/// let mut reader = AsyncReader::new(ring.reader()?)?;
/// while let Some(item) = reader.recv().await? {
///     println!("{item}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// **Cancellation**: each call may be dropped before it is ready (`select!`, a time limit): what it
/// had not given comes with the next one, and nothing is accepted but what an earlier call gave.
///
/// **Idle**, a task wakes once a second, to look for processes that were killed.
///
/// A [`Waker`](crate::Waker) ends one call, as with the reader itself.
#[must_use = "a ring without a reader fills up"]
#[derive(Debug)]
pub struct AsyncReader {
    reader: Reader,
    pipe: AsyncFd<OwnedFd>,
}

impl AsyncReader {
    /// Of this reader, in the runtime that runs now.
    ///
    /// # Errors
    ///
    /// A ring that wakes its reader by a futex, or whose pipe is gone; no runtime of tokio's; the
    /// system's refusal of a descriptor.
    ///
    /// # Panics
    ///
    /// In a runtime that was built without input and output, or without time (tokio's
    /// `enable_all` has both).
    pub fn new(reader: Reader) -> io::Result<Self> {
        Handle::try_current().map_err(io::Error::other)?;
        let pipe = reader.poll_fd().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "found a ring without a pipe, expected one with WakeUp::Pipe",
            )
        })?;
        let pipe = pipe.try_clone_to_owned()?;
        // SAFETY: a descriptor of its own, which it keeps open.
        let pipe = unsafe { AsyncFd::register_with_interest(pipe, Interest::READABLE)? };
        // So that a runtime without time is told here.
        drop(tokio::time::sleep(LOOK_EVERY));
        Ok(Self { reader, pipe })
    }

    /// The next item, accepted by the next call or by [`Reader::commit`]; `None` once the ring is
    /// over, and where a [`Waker`](crate::Waker) ended the call.
    ///
    /// # Errors
    ///
    /// As [`Reader::try_recv`].
    pub async fn recv(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        self.wait_for_some().await?;
        self.reader.try_recv()
    }

    /// The next items, as many as are there (64 at most), accepted by [`Batch::commit`]; empty once
    /// the ring is over, and where a [`Waker`](crate::Waker) ended the call. What a batch does with
    /// its items may take the time of a write to a file: more than that is for another thread.
    ///
    /// # Errors
    ///
    /// As [`Reader::try_recv`].
    pub async fn batch(&mut self) -> Result<Batch<'_>, ReadError> {
        self.wait_for_some().await?;
        self.reader.batch_timeout(Duration::ZERO)
    }

    /// Its reader: whether the ring is over, a waker, and what else it has.
    pub fn get_ref(&self) -> &Reader {
        &self.reader
    }

    /// The same, to change what it does: [`Reader::keep_open`], say.
    pub fn get_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The reader alone.
    pub fn into_inner(self) -> Reader {
        self.reader
    }

    async fn wait_for_some(&mut self) -> Result<(), ReadError> {
        while !self.reader.has_some()? && !self.reader.has_ended() && !self.reader.take_woken() {
            if let Ok(Ok(mut ready)) = timeout(LOOK_EVERY, self.pipe.readable()).await {
                ready.clear_ready();
            }
        }
        Ok(())
    }
}
