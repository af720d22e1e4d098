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
use crate::read::follow::{Followed, Following};
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
    view: Arc<View>,
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

    /// Begins to follow the ring, from the oldest line that is there on: see [`Follow`].
    pub fn follow(&self) -> Follow {
        Follow {
            observer: self.clone(),
            following: Following::new(&self.view.geometry),
            is_over: false,
        }
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

    fn accepted(&self) -> Position {
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

/// An observer that follows a ring: it hands out what comes, changes nothing, and keeps no process
/// waiting, so that it can be too slow. Then it says how much has passed by.
///
/// It has no wake-up: ask it again after a while. Each mirror that comes costs it some hundred
/// bytes.
///
/// ```
/// use linering::{Followed, LineRing, Observer, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// let observer = Observer::attach(ring.descriptor()?)?;
/// let mut follow = observer.follow();
/// assert_eq!(follow.next_items()?, []);
/// mirror.write_line(b"hello")?;
/// let [Followed::Item(item)] = &follow.next_items()?[..] else { panic!("one item") };
/// assert_eq!(item.to_string(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Follow {
    observer: Observer,
    following: Following,
    /// Of a ring that no process uses, all was handed out.
    is_over: bool,
}

impl Follow {
    /// What has come since the last call: some thousand items at most, oldest first, and none where
    /// nothing has. The first calls give what is there already, as [`Observer::snapshot`] has it;
    /// of a ring that no process used when it was opened they give all of that, and then nothing.
    ///
    /// An end that a reader has accepted before this call is not among them, unless it was told
    /// before: [`Statistics::counts`] has it. A line whose beginning has passed by is cut, as for a
    /// reader.
    ///
    /// # Errors
    ///
    /// As [`Observer::snapshot`].
    pub fn next_items(&mut self) -> Result<Vec<Followed>, ReadError> {
        let view = &self.observer.view;
        if !view.is_used {
            let is_first = !std::mem::replace(&mut self.is_over, true);
            let items = if is_first { self.observer.snapshot()? } else { Vec::new() };
            return Ok(items.into_iter().map(Followed::Item).collect());
        }
        let items = self.following.more(&view.parts, self.observer.accepted());
        if view.is_cut() { Err(ReadError::CutShort) } else { Ok(items) }
    }

    /// Goes on with the last `positions` lines alone, and leaves out those before them that were
    /// not looked at yet: for one that looks now and then, and need not see all. They are among
    /// those that have [passed by](Followed::PassedBy), unless this is the first call.
    ///
    /// ```
    /// # use linering::{Followed, LineRing, Observer, Options};
    /// # let ring = LineRing::new(Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// # let mut follow = Observer::attach(ring.descriptor()?)?.follow();
    /// # follow.next_items()?;
    /// for line in [b"1", b"2", b"3"] {
    ///     mirror.write_line(line)?;
    /// }
    /// follow.skip_to_last(1);
    /// let [Followed::PassedBy(2), Followed::Item(item)] = &follow.next_items()?[..] else {
    ///     panic!("two passed by, and one item")
    /// };
    /// assert_eq!(item.to_string(), "3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip_to_last(&mut self, positions: u64) {
        let view = &self.observer.view;
        if view.is_used {
            self.following.skip_to_last(&view.parts, self.observer.accepted(), positions);
        }
    }

    /// The position from which on the next call looks: all lines before it were handed out, or have
    /// passed by. `None` before the first call, and where it is over.
    pub fn position(&self) -> Option<u64> {
        self.following.position().map(|position| position.0)
    }
}
