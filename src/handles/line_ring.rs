//! [`LineRing`]: a ring as its users hold it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::mirror::LineProcMirror;
use super::reader::Reader;
use super::seat::Seat;
use crate::error::{AttachError, CreateError, MirrorError, ReadError};
use crate::layout::Position;
use crate::layout::sync::Ordering;
use crate::registry::ticket::Label;
use crate::segment::options::Options;
use crate::segment::{Backing, Parts, RingName, Segment, abandoned, open_file, open_named};

use Ordering::Relaxed;

/// A ring of lines in shared memory: many writers, one reader.
///
/// Cloning gives another handle of the same ring. The memory lives until the last process that has
/// a handle, a mirror or a reader drops it or ends; there is nothing to clean up.
///
/// ```
/// use linering::{Item, LineRing, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// mirror.write_line(b"hello")?;
/// drop(mirror);
///
/// let mut reader = ring.reader()?;
/// while let Some(item) = reader.recv()? {
///     if let Item::Line(line) = item {
///         assert_eq!(&line.bytes[..], b"hello");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("queue", "channel", "ring buffer", "shared memory"))]
#[derive(Clone, Debug)]
pub struct LineRing {
    segment: Arc<Segment>,
}

/// How many mirrors a ring has and has had. Each number may be a moment old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counts {
    /// Seats that no process has opened yet.
    pub seats: u64,
    /// Mirrors that are open.
    pub live: u64,
    /// Mirrors that ended with EOF.
    pub eofs: u64,
    /// Mirrors that ended with an error.
    pub errors: u64,
    /// Mirrors whose process was found dead.
    pub deaths: u64,
    /// How often a writer found the ring full.
    pub found_full: u64,
}

impl Counts {
    pub(crate) fn of(parts: &Parts) -> Self {
        let (live, [eofs, errors, deaths]) = parts.ends();
        let found_full = parts.header().counts.0.found_full.load(Relaxed);
        Self { seats: parts.kept_seats(), live, eofs, errors, deaths, found_full }
    }
}

impl LineRing {
    /// Makes a ring in anonymous shared memory. Forked children inherit it.
    ///
    /// # Errors
    ///
    /// An option out of its bounds, or the system's refusal to give the memory.
    pub fn new(options: Options) -> Result<Self, CreateError> {
        Ok(Self::of(Arc::new(Segment::anonymous(&options)?)))
    }

    /// Makes a ring in shared memory that has a name, under which other processes of this user
    /// [open](Self::open_named) it.
    ///
    /// The name is taken away when the last handle of the process that made it is dropped;
    /// processes that have the ring keep it. If that process is killed the name stays, as a
    /// file in `/dev/shm`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); a name that is taken, or cannot be one.
    pub fn create_named(name: &str, options: Options) -> Result<Self, CreateError> {
        Ok(Self { segment: Arc::new(Segment::create(&options, Backing::Named(name))?) })
    }

    /// Attaches to the ring of this name: this user's, unless [`RingName`] says otherwise.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), and the system's, if there is no such name. What is no regular
    /// file of this user's is neither waited for nor read.
    pub fn open_named<'n>(name: impl Into<RingName<'n>>) -> Result<Self, AttachError> {
        Ok(Self { segment: Arc::new(Segment::open(open_named(name.into())?)?) })
    }

    /// Takes the name of a ring away that a killed process has left there: one that made the ring,
    /// or was making it. `false`, and nothing is done, while a process has the ring, be it to
    /// look at it.
    ///
    /// # Errors
    ///
    /// As [`open_named`](Self::open_named).
    pub fn remove_named<'n>(name: impl Into<RingName<'n>>) -> Result<bool, AttachError> {
        abandoned(name.into(), true)
    }

    /// Whether [`remove_named`](Self::remove_named) would take the name away. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`open_named`](Self::open_named).
    pub fn is_abandoned<'n>(name: impl Into<RingName<'n>>) -> Result<bool, AttachError> {
        abandoned(name.into(), false)
    }

    /// Makes a ring in a new file, for this user alone. The file stays: whatever becomes of the
    /// processes that write into it, what they wrote can be read by who
    /// [opens](Self::open_file) it.
    ///
    /// A process that cuts the file short kills the processes that use it (SIGBUS).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); a path at which there is something already, or a full disk: then no
    /// file is left.
    pub fn create_file(path: impl AsRef<Path>, options: Options) -> Result<Self, CreateError> {
        Ok(Self { segment: Arc::new(Segment::create(&options, Backing::File(path.as_ref()))?) })
    }

    /// Attaches to the ring in a file. A symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), and the system's, if there is no such file.
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        Ok(Self { segment: Arc::new(Segment::open(open_file(path.as_ref())?)?) })
    }

    /// Attaches to the ring behind a descriptor, which is duplicated: one inherited through `exec`,
    /// say.
    ///
    /// # Errors
    ///
    /// Each way in which an object can fail to be a ring is an [`AttachError`] of its own.
    pub fn attach(descriptor: impl AsFd) -> Result<Self, AttachError> {
        let segment = Segment::attach(descriptor.as_fd())?;
        Ok(Self { segment: Arc::new(segment) })
    }

    /// The ring's descriptor, to be handed to another process. It is closed on exec unless you
    /// clear that flag.
    ///
    /// # Errors
    ///
    /// [`MirrorError::DescriptorClosed`] if other code of this process closed it.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, MirrorError> {
        self.segment.borrow_descriptor()
    }

    pub(crate) fn of(segment: Arc<Segment>) -> Self {
        Self { segment }
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// A live mirror of this process. A few system calls.
    ///
    /// In a forked child it becomes a mirror of its own at its first write, and counts from then
    /// on; unused it does nothing there. To hand a mirror to a child whose end is waited for
    /// from now on, use [`seat`](Self::seat).
    ///
    /// # Errors
    ///
    /// Too many mirrors or seats, or the system's refusal.
    pub fn mirror(&self) -> Result<LineProcMirror, MirrorError> {
        self.mirror_labelled("")
    }

    /// The same with a label, which its lines will carry. Of one that has more than 24 bytes they
    /// carry the beginning and an ellipsis (`…`).
    ///
    /// ```
    /// # use linering::{LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut mirror = ring.mirror_labelled("tokio-runtime-worker-number-7")?;
    /// mirror.write_line(b"hello")?;
    /// let mut reader = ring.reader()?;
    /// let item = reader.recv()?.unwrap();
    /// assert_eq!(item.line().unwrap().label, "tokio-runtime-worker-…");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`mirror`](Self::mirror).
    pub fn mirror_labelled(&self, label: &str) -> Result<LineProcMirror, MirrorError> {
        LineProcMirror::open(&self.segment, None, Label::new(label))
    }

    /// Keeps a place for a mirror that another process will open. It counts at once. A few system
    /// calls.
    ///
    /// # Errors
    ///
    /// Too many seats, or the system's refusal.
    pub fn seat(&self) -> Result<Seat, MirrorError> {
        self.seat_labelled("")
    }

    /// The same with a label; see [`mirror_labelled`](Self::mirror_labelled).
    ///
    /// # Errors
    ///
    /// As [`seat`](Self::seat).
    pub fn seat_labelled(&self, label: &str) -> Result<Seat, MirrorError> {
        Seat::reserve(&self.segment, Label::new(label))
    }

    /// Becomes the ring's reader. There is one at a time.
    ///
    /// # Errors
    ///
    /// [`ReadError::HasReader`] while another lives.
    pub fn reader(&self) -> Result<Reader, ReadError> {
        Reader::open(&self.segment)
    }

    /// The position at which the next line will stand, or one after it: every line that was written
    /// before this call stands before it. See [`wait_accepted`](Self::wait_accepted).
    pub fn position(&self) -> u64 {
        self.segment.ring().tail().0
    }

    /// Whether the reader has accepted everything before `position`.
    pub(crate) fn is_accepted(&self, position: u64) -> bool {
        !self.accepted().is_before(Position(position))
    }

    /// Positions that no reader has accepted.
    pub(crate) fn unread(&self) -> u64 {
        let (accepted, tail) = (self.accepted(), self.segment.ring().tail());
        if accepted.is_before(tail) { tail.since(accepted) } else { 0 }
    }

    fn accepted(&self) -> Position {
        // ORD read:D, acquire; pairs with read:A; what was done with the lines before it is seen.
        Position(self.segment.header().read_position.0.load(Ordering::Acquire))
    }

    /// Tells every writer to stop: its next write is
    /// [`WriteError::Stopped`](crate::WriteError::Stopped). Its `send_eof`, `send_error` and
    /// drop still end it.
    pub fn stop_all_mirrors(&self) {
        self.segment.header().flags.0.stopped.store(1, Relaxed);
    }

    /// A number that no other ring has: what was made anew under the same name is another ring. The
    /// same to every process, and after a crash.
    pub fn identity(&self) -> u128 {
        self.segment.geometry().identity()
    }

    /// Bytes of the longest line; what a writer gives beyond that is cut off, see
    /// [`Options::max_line`].
    pub fn max_line(&self) -> usize {
        self.segment.geometry().max_line as usize
    }

    /// Whether each slot has a checksum; see [`Options::checksums`].
    pub fn has_checksums(&self) -> bool {
        self.segment.ring().shape.has_checks()
    }

    /// How many mirrors there are and have been. Taken from their tickets, so that no crash makes
    /// it wrong; while others open and end, those under way may be in it or not.
    pub fn counts(&self) -> Counts {
        Counts::of(self.segment.parts())
    }
}

impl AsRef<LineRing> for LineRing {
    fn as_ref(&self) -> &LineRing {
        self
    }
}

/// Another handle of the seat's ring.
impl From<&Seat> for LineRing {
    fn from(seat: &Seat) -> Self {
        Self::of(Arc::clone(&seat.segment))
    }
}
