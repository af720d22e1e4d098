//! [`Drain`]: the reader's place in the ring. Decodes what comes next, and takes what was accepted.
//!
//! ```text
//!   ring ──peek──► queue of decoded items ──hand out──► caller
//!     ▲                                                   │
//!     └──────────────────── take ◄──────── accept ────────┘
//! ```
//!
//! Decoding copies and takes nothing: a line leaves the ring only when it was accepted (by asking
//! for the next one, or by `commit`), so a reader that dies loses nothing it had not handed over.
//! Parts of a long line stay in the ring until the line is accepted, and lines between them are
//! taken meanwhile. Parts that stand further back than half of the ring are taken as they are: a
//! line may be longer than the ring.

mod fill;

use std::sync::Arc;

use crate::error::ReadError;
use crate::layout::sync::Ordering;
use crate::layout::{Position, READER_CELL};
use crate::line::item::Item;
use crate::read::assembly::Collected;
use crate::read::backlog::Backlog;
use crate::read::ends::EndReporter;
use crate::read::event::note_delivered;
use crate::read::item_ref::ItemRef;
use crate::read::park::Wanted;
use crate::read::place::{BATCH, batch, before_parts, oldest_part, start};
use crate::read::queue::Items;
use crate::registry::cell::keep_cell;
use crate::segment::options::Policy;
use crate::segment::wake;
use crate::segment::{Lock, Segment};
use crate::sys::fork;

use Ordering::{Relaxed, Release};

/// The one reader's state.
#[derive(Debug)]
pub(crate) struct Drain {
    _lock: Lock,
    token: u64,
    /// The next position to decode.
    cursor: Position,
    /// Every position before this one was taken, but for parts of long lines that are held.
    taken: Position,
    /// Where it began, and before what the caller of the reader before this one had everything.
    began: (Position, Position),
    /// Positions taken since writers were last told of space.
    freed: u64,
    /// How many of them there are when writers are told.
    tell_at: u64,
    /// The position that was read last.
    previous: Position,
    /// How many entries are decoded at a time.
    batch: usize,
    /// Nothing was decoded since the last overrun.
    overrun: bool,
    backlog: Backlog,
    ends: EndReporter,
    /// Dropped after the lock on the cell.
    segment: Arc<Segment>,
}

/// Gives the reader's cell back, but for its lock, which goes with the fields. Nothing in a forked
/// child.
impl Drop for Drain {
    fn drop(&mut self) {
        if self.check().is_ok() {
            // Another thread may have this one's name later.
            self.segment.read_by.set_staying(false);
            self.segment.leave_cell(READER_CELL);
        }
    }
}

impl Drain {
    /// Becomes the ring's reader.
    pub(crate) fn open(segment: &Arc<Segment>) -> Result<Self, ReadError> {
        let probe = segment.probe()?;
        if !segment.take_cell(&probe, READER_CELL)? {
            if segment.is_kept_out(READER_CELL) {
                return Err(ReadError::KeptOut);
            }
            let process = segment.cells()[READER_CELL].reader.0.serial.load(Relaxed) as u32;
            return Err(ReadError::HasReader { process });
        }
        segment.cells()[READER_CELL].reader.0.serial.store(std::process::id().into(), Relaxed);
        let lock = keep_cell(segment, probe, READER_CELL)?;
        segment.finish_counting();
        let position = start(segment);
        let oldest = oldest_part(segment, position).unwrap_or(position);
        let backlog = Backlog::new(segment, BATCH, position);
        let began = (position, before_parts(segment, position, &backlog.inherited));
        Ok(Self {
            _lock: lock,
            token: fork::token(),
            cursor: oldest,
            taken: position,
            began,
            freed: 0,
            tell_at: segment.ring().shape.positions() / wake::WAKE_THRESHOLD,
            previous: oldest.previous(),
            batch: batch(segment),
            overrun: false,
            backlog,
            ends: EndReporter::new(),
            segment: Arc::clone(segment),
        })
    }

    /// The ring's memory.
    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Refuses in a forked child.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        if fork::is_token(self.token) { Ok(()) } else { Err(ReadError::Forked) }
    }

    /// Whether everything has come: nothing is queued, and no seat or mirror is open or has an end
    /// to report. Also before the first.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_drained()
            && self.backlog.writers.open == 0
            && !self.backlog.writers.has_pending_ends()
            && self.ends.has_seen_events(&self.segment)
    }

    /// Whether a seat or a mirror was made in the ring, ever: that is an event, once it counts.
    pub(crate) fn has_begun(&self) -> bool {
        self.ends.seen_events != 0
    }

    /// Whether something is queued, or the next position is before this one.
    pub(crate) fn comes_before(&self, position: Position) -> bool {
        !self.is_drained() || self.cursor.is_before(position)
    }

    /// What has not come yet, once nothing more is there.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { position: self.cursor, seen_events: self.ends.seen_events }
    }

    /// Tries the locks of live mirrors; see [`EndReporter::reap_dead`].
    pub(crate) fn reap_dead(&mut self) -> Result<(), ReadError> {
        self.ends.reap_dead(&self.segment, &mut self.backlog.writers)
    }

    /// The same at once, however short ago they were tried.
    pub(crate) fn reap_dead_now(&mut self) -> Result<(), ReadError> {
        self.ends.reap_dead_now(&self.segment, &mut self.backlog.writers)
    }

    /// What was put together of the line of `cell` whose last part has not come.
    pub(crate) fn partial_line(&self, cell: usize) -> Option<Collected<'_>> {
        self.backlog.assemblies.partial_line(cell)
    }

    /// Everything before this position was accepted, but for lines of several parts that are not
    /// complete.
    pub(crate) fn position(&self) -> Position {
        let (start, before_parts) = self.began;
        if self.taken == start { before_parts } else { self.taken }
    }

    /// The position before which accepting the first `count` queued items takes all.
    pub(crate) fn upto(&self, count: usize) -> Position {
        let end = self.backlog.queue.end_of_first(count);
        end.filter(|end| self.taken.is_before(*end)).unwrap_or_else(|| self.position())
    }

    /// How many items are decoded and not accepted, at most.
    pub(crate) fn set_batch_size(&mut self, lines: usize) {
        let positions = self.segment.ring().shape.positions();
        let lines = (lines as u64).clamp(1, positions);
        self.batch = lines.min(positions / 4).max(1) as usize;
        self.backlog.queue.set_capacity(lines as usize);
    }

    // ------------------------------------------------------------------------------------- accept

    fn is_drained(&self) -> bool {
        self.backlog.queue.len() == 0
    }

    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.backlog.queue.len()
    }

    /// The queued items, in order.
    #[inline]
    pub(crate) fn items(&self) -> Items<'_> {
        self.backlog.queue.items(&self.segment, &self.backlog.writers)
    }

    /// The first of them.
    #[inline]
    pub(crate) fn next_ref(&self) -> Option<ItemRef<'_>> {
        self.items().next()
    }

    /// The same as an item.
    pub(crate) fn next_item(&self) -> Option<Item<'_>> {
        self.next_ref().map(ItemRef::to_item)
    }

    /// The caller has the first `count` queued items: they leave the ring.
    #[inline]
    pub(crate) fn accept(&mut self, count: usize) {
        let Backlog { queue, writers, .. } = &self.backlog;
        // Before the lines are taken: a reader that dies in between has them delivered twice, and
        // not counted as lost. Nor does an end come again after lines that came after it.
        if let Some(end_position) = queue.note_delivered(count, &self.segment, writers) {
            self.take(end_position);
        }
        // After the lines before them are taken: should they come again, their mirrors are still
        // known.
        self.backlog.queue.forget_ended(count, &self.segment, &mut self.backlog.writers);
        self.backlog.queue.drop_first(count);
    }

    /// The caller has the first queued item: it leaves the ring.
    #[inline]
    pub(crate) fn accept_first(&mut self) {
        let Some((end_position, source)) = self.backlog.queue.pop_line() else {
            return self.accept(1);
        };
        // In the order of `accept`. There is no end to collect.
        note_delivered(&self.segment, source);
        if self.taken.next() == end_position && self.backlog.held.is_empty() {
            self.segment.ring().take(self.taken, self.segment.mode());
            self.note_taken(1, end_position);
        } else {
            self.take(end_position);
        }
    }

    fn take(&mut self, end_position: Position) {
        if !self.backlog.held.is_empty() {
            return self.take_but_held(end_position);
        }
        // Behind, if the reader was overrun meanwhile.
        if !self.taken.is_before(end_position) {
            return;
        }
        let (mut position, ring) = (self.taken, self.segment.ring());
        while position != end_position {
            let most = end_position.since(position);
            position = position.plus(ring.take_run(position, most, self.segment.mode()));
        }
        self.note_taken(end_position.since(self.taken), end_position);
    }

    /// As [`take`](Self::take), but for the parts that are held for the next reader.
    #[cold]
    fn take_but_held(&mut self, end_position: Position) {
        let (held, ring, mode) = (&mut self.backlog.held, self.segment.ring(), self.segment.mode());
        // Lines that need more than half of the ring would keep writers from the rest of it.
        held.let_go(self.cursor.minus(ring.shape.positions() / 2));
        let mut positions = 0;
        held.take(self.taken, end_position, |position| {
            ring.take(position, mode);
            positions += 1;
        });
        let taken = if self.taken.is_before(end_position) { end_position } else { self.taken };
        self.note_taken(positions, taken);
    }

    /// So many positions were taken: all before this one are, but for those that are held.
    #[inline]
    fn note_taken(&mut self, positions: u64, end_position: Position) {
        self.taken = end_position;
        // ORD read:A, release; pairs with read:B; after the positions were taken.
        self.segment.header().read_position.0.store(end_position.0, Release);
        self.freed += positions;
        if self.freed >= self.tell_at {
            self.tell_space();
        }
    }

    #[cold]
    fn tell_space(&mut self) {
        self.freed = 0;
        if self.segment.policy() == Policy::Block {
            wake::tell_space(&self.segment);
        }
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
