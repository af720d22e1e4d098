//! [`Observer`]: read-only snapshots of a ring, live or post-mortem.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;

use crate::error::{AttachError, ReadError};
use crate::handles::line_ring::LineRing;
use crate::handles::statistics::Statistics;
use crate::layout::Position;
use crate::layout::sync::Ordering;
use crate::line::item::Item;
use crate::read::snapshot::snapshot;
use crate::segment::{RingName, Segment, View, view_file, view_named};

use Ordering::Acquire;

/// Rounds in which nothing comes, after which reading the copy of a dead ring ends.
const MOST_ROUNDS: u32 = 1000;

/// Reads what is in a ring: changes nothing in it, and delays no process that uses it.
///
/// Works for a ring in use, which is mapped for reading, and for one that a crash has left: where
/// no process uses the ring a copy is read, which no process can change or cut short. Needs the
/// right to read alone.
///
/// ```
/// use linering::{LineRing, Observer, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// mirror.write_line(b"hello")?;
///
/// let observer = Observer::attach(ring.descriptor()?)?;
/// assert_eq!(observer.snapshot()?[0].to_string(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Observer {
    pub(super) view: Arc<View>,
}

impl Observer {
    /// Opens the ring of this name: this user's, unless [`RingName`] says otherwise.
    ///
    /// # Errors
    ///
    /// As [`LineRing::open_named`](crate::LineRing::open_named).
    pub fn open_named<'n>(name: impl Into<RingName<'n>>) -> Result<Self, AttachError> {
        let name = name.into();
        Ok(Self { view: Arc::new(View::of(|| view_named(name))?) })
    }

    /// Opens the ring in a file.
    ///
    /// # Errors
    ///
    /// As [`LineRing::open_file`](crate::LineRing::open_file).
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        Ok(Self { view: Arc::new(View::of(|| view_file(path.as_ref()))?) })
    }

    /// Opens the ring behind a descriptor.
    ///
    /// # Errors
    ///
    /// As [`LineRing::attach`](crate::LineRing::attach).
    pub fn attach(descriptor: impl AsFd) -> Result<Self, AttachError> {
        let number = descriptor.as_fd().as_raw_fd();
        Self::open_file(format!("/proc/self/fd/{number}"))
    }

    /// Whether a process used the ring when it was opened, as a reader or with mirrors: else what
    /// is observed does not change any more.
    pub fn is_used(&self) -> bool {
        self.view.is_used
    }

    /// Whether a process uses the ring now. One that was not used when it was opened is not any
    /// more: what is observed then is a copy.
    pub fn is_used_now(&self) -> bool {
        self.view.is_used_now()
    }

    /// What the ring is, how far it has come, and who writes into it. Takes time in proportion to
    /// the mirrors that are open or have ended unread.
    ///
    /// ```
    /// use linering::{LineRing, Observer, Options};
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// let mut mirror = ring.mirror_labelled("web")?;
    /// mirror.write_line(b"hello")?;
    ///
    /// let statistics = Observer::attach(ring.descriptor()?)?.statistics()?;
    /// assert_eq!((statistics.unread(), statistics.has_reader), (1, false));
    /// let [web] = &statistics.writers[..] else { panic!("one writer") };
    /// assert_eq!((web.label.as_str(), web.lines), ("web", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    pub fn statistics(&self) -> Result<Statistics, ReadError> {
        let found = Statistics::of(&self.view);
        if self.view.is_cut() { Err(ReadError::CutShort) } else { Ok(found) }
    }

    /// Whether each slot of the ring has a checksum, which a snapshot verifies; see
    /// [`Options::checksums`](crate::Options::checksums).
    pub fn has_checksums(&self) -> bool {
        self.view.geometry.shape().has_checks()
    }

    /// The finished lines that are there now, oldest first: those that no reader has taken yet and,
    /// before them, as many of those that were taken as the ring still has. Losses stand before
    /// their writer's next line. Then come the ends that no reader has accepted yet.
    ///
    /// Of a ring that no process uses, the last words of mirrors that died are among them, flagged,
    /// and how each of these ended, as if a reader had taken the ring over: that is done with a
    /// copy.
    ///
    /// Lines that are finished after the call begins are left out. Takes time and memory in
    /// proportion to the ring.
    ///
    /// # Errors
    ///
    /// [`ReadError::CutShort`] if the ring's file was cut short, after
    /// [`turn_sigbus_into_errors`](crate::turn_sigbus_into_errors).
    pub fn snapshot(&self) -> Result<Vec<Item<'static>>, ReadError> {
        let items = match self.view.copy() {
            Some(copy) => self.post_mortem(copy),
            None => self.live(),
        };
        // What was read then may be no line.
        if self.view.is_cut() { Err(ReadError::CutShort) } else { Ok(items) }
    }

    pub(super) fn accepted(&self) -> Position {
        // ORD read:C, acquire; pairs with read:A; what was accepted was taken before.
        Position(self.view.parts.header().read_position.0.load(Acquire))
    }

    /// The lines that are in the slots, taken or not, and the ends that no reader has accepted.
    fn live(&self) -> Vec<Item<'static>> {
        snapshot(&self.view.parts, &self.view.geometry)
    }

    /// The lines that were taken, and then what a reader finds that takes the ring over.
    fn post_mortem(&self, copy: Segment) -> Vec<Item<'static>> {
        let accepted = self.accepted();
        let mut items = self.live();
        let is_taken = |position: u64| Position(position).is_before(accepted);
        items.retain(|item| match item {
            Item::Line(line) => is_taken(line.position),
            Item::Damaged { position } => is_taken(*position),
            _ => false,
        });
        let ring = LineRing::of(Arc::new(copy));
        let Ok(mut reader) = ring.reader() else { return items };
        // A seat that was not opened has no end. A dead mirror whose words are damaged is ended
        // after some rounds.
        let mut rounds = 0;
        while rounds < MOST_ROUNDS && !reader.is_over() {
            let Ok(item) = reader.try_recv() else { break };
            match item {
                Some(item) => items.push(item.into_owned()),
                None if ring.counts().live == 0 => break,
                None => rounds += 1,
            }
        }
        items
    }
}
