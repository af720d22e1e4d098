//! The ring as its users hold it: [`LineRing`], its [`Seat`]s and its [`Reader`].

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::drain::Drain;
use crate::error::{AttachError, CreateError, MirrorError, ReadError};
use crate::message::Item;
use crate::mirror::LineProcMirror;
use crate::options::{Options, millis};
use crate::segment::{Backing, RingName, Segment, abandoned, open_file, open_named, open_of_process};
use crate::sync::Ordering;
use crate::ticket::{Label, SeatId};
use crate::wait;

use Ordering::Relaxed;

/// A ring of lines in shared memory: many writers, one reader.
///
/// Cloning gives another handle of the same ring. The memory lives until the last process that has a handle,
/// a mirror or a reader drops it or ends; there is nothing to clean up.
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
#[derive(Clone, Debug)]
pub struct LineRing {
    segment: Arc<Segment>,
}

/// How many mirrors a ring has and has had. Each number may be a moment old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Seats that nobody has opened yet.
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

impl LineRing {
    /// Makes a ring in anonymous shared memory. Forked children inherit it.
    ///
    /// # Errors
    ///
    /// An option out of its bounds, or the system's refusal to give the memory.
    pub fn new(options: Options) -> Result<Self, CreateError> {
        Segment::anonymous(&options).map(Self::of)
    }

    /// Makes a ring in shared memory that has a name, under which other processes of this user
    /// [open](Self::open_named) it.
    ///
    /// The name is taken away when the last handle of the process that made it is dropped; processes that have the ring
    /// keep it. If that process is killed the name stays, as a file in `/dev/shm`.
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
    /// As [`attach`](Self::attach), and the system's, if there is no such name. What is no regular file of this user's is
    /// neither waited for nor read.
    pub fn open_named<'n>(name: impl Into<RingName<'n>>) -> Result<Self, AttachError> {
        Ok(Self { segment: Arc::new(Segment::open(open_named(name.into())?)?) })
    }

    /// Takes the name of a ring away that a killed process has left there: one that made the ring, or was making it.
    /// `false`, and nothing is done, while a process has the ring, be it to look at it.
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

    /// Makes a ring in a new file, for this user alone. The file stays: whatever becomes of the processes that write
    /// into it, what they wrote can be read by who [opens](Self::open_file) it.
    ///
    /// Whoever cuts the file short kills those who use it (SIGBUS).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); a path at which there is something already, or a full disk: then no file is left.
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

    /// Attaches to the ring behind a descriptor, which is duplicated: one inherited through `exec`, say.
    ///
    /// # Errors
    ///
    /// Each way in which an object can fail to be a ring is an [`AttachError`] of its own.
    pub fn attach(descriptor: impl AsFd) -> Result<Self, AttachError> {
        let segment = Segment::attach(descriptor.as_fd())?;
        Ok(Self { segment: Arc::new(segment) })
    }

    /// The ring's descriptor, to be handed to another process. It is closed on exec unless you clear that flag.
    ///
    /// # Errors
    ///
    /// [`MirrorError::DescriptorClosed`] if somebody in this process closed it.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, MirrorError> {
        self.segment.borrow_descriptor()
    }

    pub(crate) fn of(segment: Segment) -> Self {
        Self { segment: Arc::new(segment) }
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// A live mirror of this process. A few system calls.
    ///
    /// In a forked child it becomes a mirror of its own at its first write, and counts from then on; unused it does
    /// nothing there. To hand a mirror to a child whose end is waited for from now on, use [`seat`](Self::seat).
    ///
    /// # Errors
    ///
    /// Too many mirrors or seats, or the system's refusal.
    pub fn mirror(&self) -> Result<LineProcMirror, MirrorError> {
        self.mirror_labelled("")
    }

    /// The same with a label of at most 24 bytes, which its lines will carry.
    ///
    /// # Errors
    ///
    /// As [`mirror`](Self::mirror), and a label that is too long.
    pub fn mirror_labelled(&self, label: &str) -> Result<LineProcMirror, MirrorError> {
        LineProcMirror::open(self, None, Label::new(label)?)
    }

    /// Keeps a place for a mirror that another process will open. It counts at once. A few system calls.
    ///
    /// # Errors
    ///
    /// Too many seats, or the system's refusal.
    pub fn seat(&self) -> Result<Seat, MirrorError> {
        self.seat_labelled("")
    }

    /// The same with a label of at most 24 bytes.
    ///
    /// # Errors
    ///
    /// As [`seat`](Self::seat), and a label that is too long.
    pub fn seat_labelled(&self, label: &str) -> Result<Seat, MirrorError> {
        let label = Label::new(label)?;
        let limit = self.segment.seat_limit;
        let deadline = limit.map_or(0, |limit| crate::time::monotonic_ms().saturating_add(millis(limit)));
        Ok(Seat { ring: self.clone(), id: self.segment.reserve(label, deadline)?, label })
    }

    /// Becomes the ring's reader. There is one at a time.
    ///
    /// # Errors
    ///
    /// [`ReadError::HasReader`] while another lives.
    pub fn reader(&self) -> Result<Reader, ReadError> {
        Ok(Reader {
            drain: Drain::open(&self.segment)?,
            segment: Arc::clone(&self.segment),
            handed: 0,
            spins: true,
        })
    }

    /// Tells every writer to stop: its next write is [`WriteError::Stopped`](crate::WriteError::Stopped). Its
    /// `send_eof`, `send_error` and drop still end it.
    pub fn stop_all_mirrors(&self) {
        self.segment.header().look.0.stopped.store(1, Relaxed);
    }

    /// Bytes of the longest line; what a writer gives beyond that is cut off, see [`Options::max_line`].
    pub fn max_line(&self) -> usize {
        self.segment.geometry().max_line as usize
    }

    /// Whether each slot has a checksum; see [`Options::checksums`].
    pub fn has_checksums(&self) -> bool {
        self.segment.ring().shape.has_checks()
    }

    /// How many mirrors there are and have been. Taken from their tickets, so that no crash makes it wrong; while
    /// others open and end, those under way may be in it or not.
    pub fn counts(&self) -> Counts {
        let (live, [eofs, errors, deaths]) = self.segment.ends();
        let found_full = self.segment.header().counts.0.found_full.load(Relaxed);
        Counts { seats: self.segment.kept_seats(), live, eofs, errors, deaths, found_full }
    }
}

impl AsRef<LineRing> for LineRing {
    fn as_ref(&self) -> &LineRing {
        self
    }
}

// ------------------------------------------------------------------------------------------- seats

/// A place kept for a mirror that another process will open.
///
/// It counts from its making until the mirror has ended, was cancelled, or its time limit has passed. It has no
/// cell and no lock, and dropping it does nothing. As a string it can travel in an environment variable
/// or an argument to any process of the same user, as long as the ring's creator lives:
///
/// ```
/// # use linering::{LineRing, Options, Seat};
/// let ring = LineRing::new(Options::new())?;
/// let text = ring.seat()?.to_string();
/// // ... in another process:
/// let seat: Seat = text.parse()?;
/// seat.open()?.write_line(b"hello")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Seat {
    ring: LineRing,
    id: SeatId,
    label: Label,
}

impl Seat {
    /// The seat that `linering run` keeps for this process, in the variable `LINERING_SEAT`; `None` without that variable.
    ///
    /// `None` as well in a process that has more rights than the one that started it (setuid, setgid, file capabilities:
    /// the kernel's `AT_SECURE`): its environment is the work of a process that it must not obey.
    ///
    /// ```
    /// if let Some(seat) = linering::Seat::from_env()? {
    ///     seat.open()?.write_line(b"straight into the ring")?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`FromStr`](Self::from_str), if the variable does not name a seat that can be had.
    pub fn from_env() -> Result<Option<Self>, AttachError> {
        // SAFETY: a look at what the kernel gave this process at its start.
        if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
            return Ok(None);
        }
        match std::env::var_os("LINERING_SEAT") {
            None => Ok(None),
            Some(text) => text.to_string_lossy().parse().map(Some),
        }
    }

    /// Opens the mirror, in this process. Opening a seat again makes an extra mirror, which counts too.
    ///
    /// # Errors
    ///
    /// Too many mirrors, or the system's refusal.
    pub fn open(&self) -> Result<LineProcMirror, MirrorError> {
        LineProcMirror::open(&self.ring, Some(self.id), self.label)
    }

    /// Gives the seat up; `false` if somebody has opened it already.
    pub fn cancel(&self) -> bool {
        self.ring.segment.cancel(self.id)
    }

    /// Whether nobody has opened it or given it up, and its time limit has not been found to have passed.
    pub fn is_kept(&self) -> bool {
        self.ring.segment.is_kept(self.id)
    }

    /// The number that its mirror's lines will carry.
    pub fn worker(&self) -> u32 {
        self.id.serial as u32
    }
}

/// Its ring.
impl AsRef<LineRing> for Seat {
    fn as_ref(&self) -> &LineRing {
        &self.ring
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = &self.ring.segment;
        let (identity, process, descriptor) = (segment.identity(), std::process::id(), segment.descriptor());
        write!(f, "linering1:{identity}:{process}:{descriptor}:{}:{}", self.id.ticket, self.id.serial)
    }
}

impl FromStr for Seat {
    type Err = AttachError;

    /// Attaches to the ring that the string names.
    fn from_str(text: &str) -> Result<Self, AttachError> {
        let no_seat = || AttachError::Seat { found: text.to_owned() };
        let parts: Vec<&str> = text.split(':').collect();
        let ["linering1", identity, process, descriptor, ticket, serial] = parts[..] else {
            return Err(no_seat());
        };
        let process = process.parse().map_err(|_| no_seat())?;
        let descriptor = descriptor.parse().map_err(|_| no_seat())?;
        let ticket: u32 = ticket.parse().map_err(|_| no_seat())?;
        let serial = serial.parse().map_err(|_| no_seat())?;
        let ring = LineRing::attach(open_of_process(process, descriptor)?)?;
        let found = ring.segment.identity();
        if found != identity {
            return Err(AttachError::Identity { found, expected: identity.to_owned() });
        }
        let Some(entry) = ring.segment.tickets().get(ticket as usize) else { return Err(no_seat()) };
        let label = Label::new(&entry.label()).unwrap_or_default();
        Ok(Self { ring, id: SeatId { ticket, serial }, label })
    }
}

// ------------------------------------------------------------------------------------------ reader

/// The ring's one reader: drains lines in their one order.
///
/// An item is accepted by asking for the next one or by [`commit`](Self::commit), never by being returned: a
/// reader that dies, or is dropped, leaves what it had not accepted to the next one.
///
/// As an iterator it gives owned items, waits, and ends when every mirror has ended.
#[derive(Debug)]
pub struct Reader {
    segment: Arc<Segment>,
    drain: Drain,
    /// Queued items that were handed out and not accepted yet.
    handed: usize,
    spins: bool,
}

impl Reader {
    /// The next item; waits for it. `None` once every seat and mirror has ended and everything was handed out
    /// (at once, if there was none).
    ///
    /// Accepts the item before. No system call while items are there.
    ///
    /// # Errors
    ///
    /// [`ReadError::Interrupted`] when a signal handler ran; [`ReadError::Forked`] in a forked child.
    #[inline]
    pub fn recv(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.wait_for_some(None)?;
        }
        Ok(self.hand_out())
    }

    /// The next item if there is one now. Never waits. `None` also when every mirror has ended:
    /// [`is_over`](Self::is_over) tells.
    ///
    /// With [`WakeUp::Pipe`](crate::WakeUp::Pipe), `None` means that [`as_fd`](AsFd::as_fd) becomes readable
    /// when the next line comes. Poll it with a time limit (a second, say) and call this then too: a mirror that is
    /// killed makes nothing readable.
    ///
    /// # Errors
    ///
    /// [`ReadError::Forked`] in a forked child.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        self.commit()?;
        if self.drain.queued() == 0 {
            self.look_for_some()?;
        }
        Ok(self.hand_out())
    }

    /// Queues what is there; `false` if nothing is.
    fn fill(&mut self) -> Result<bool, ReadError> {
        let is_queued = self.drain.fill(&self.segment);
        // What was queued then may be no line.
        if self.segment.is_cut() { Err(ReadError::CutShort) } else { Ok(is_queued) }
    }

    /// Queues what is there; arms the wake-up pipe if nothing is.
    fn look_for_some(&mut self) -> Result<(), ReadError> {
        while !self.fill()? {
            self.drain.look_for_deaths(&self.segment)?;
            // Armed, and nothing came meanwhile, not even an end or a part: only then may the caller sleep.
            if wait::arm(&self.segment, &self.drain.awaited(&self.segment)) {
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
        Ok(self.hand_out())
    }

    /// Waits until an item is there, for `limit` at most: `false` if none has come, or every mirror has ended. With no time it
    /// never waits, and says whether the next call would.
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

    /// The next items, as many as are there (64 at most); waits for the first. Empty once every mirror has ended.
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

    /// Whether it stays awake for some 50 microseconds on an empty ring before it sleeps, which saves writers of a steady stream
    /// from waking it. True at first; better false where writers need the processor that this takes.
    pub fn set_spinning(&mut self, spins: bool) {
        self.spins = spins;
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
            self.drain.accept(&self.segment, self.handed);
            self.handed = 0;
        }
        Ok(())
    }

    /// Whether every seat and mirror has ended and everything was accepted, as far as the last call saw.
    pub fn is_over(&self) -> bool {
        self.handed == 0 && self.drain.is_over(&self.segment)
    }

    #[inline]
    fn hand_out(&mut self) -> Option<Item<'_>> {
        let item = self.drain.next_item(&self.segment);
        self.handed = usize::from(item.is_some());
        item
    }

    /// Waits until something is queued, everything is over, or `limit` has passed.
    fn wait_for_some(&mut self, limit: Option<Duration>) -> Result<(), ReadError> {
        let mut began = None;
        while !self.fill()? && !self.drain.is_over(&self.segment) {
            let left = match limit {
                None => Duration::MAX,
                Some(limit) => limit.saturating_sub(began.get_or_insert_with(Instant::now).elapsed()),
            };
            if left.is_zero() {
                break;
            }
            wait::pause(&self.segment, &self.drain.awaited(&self.segment), left, self.spins)?;
            self.drain.look_for_deaths(&self.segment)?;
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

/// The read end of the wake-up pipe, to poll; without [`WakeUp::Pipe`](crate::WakeUp::Pipe), or where the
/// process that made the ring was gone before this one attached, the ring's own descriptor, which is always readable.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.segment.pipe() {
            Some(pipe) => pipe.read_end(),
            // SAFETY: open for as long as the segment is, unless somebody in this process closed it, against
            // which no borrowed descriptor is safe.
            None => unsafe { BorrowedFd::borrow_raw(self.segment.descriptor()) },
        }
    }
}

/// Items that were handed out together and are accepted together.
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
        self.reader.drain.items(&self.reader.segment)
    }

    /// Accepts all of them.
    pub fn commit(self) {
        let all = self.len();
        self.reader.drain.accept(&self.reader.segment, all);
    }
}
