//! What comes into a ring, for an observer that changes nothing and keeps no writer waiting: from
//! the oldest line that is there on, and what passed by before it was looked at is counted.

use std::collections::HashSet;

use crate::exchange::park::Awaited;
use crate::layout::sync::Ordering;
use crate::layout::{Geometry, Position};
use crate::line::item::Item;
use crate::read::named_writers::{NamedWriters, ticket_ends};
use crate::read::snapshot::{CopiedSlot, Snapshot, copy_slot};
use crate::segment::Parts;

use Ordering::Acquire;

/// Positions that are looked at in one call.
const MOST: u64 = 4096;

/// How often a slot is looked at that changes meanwhile: a reader takes its line, or a writer
/// overwrites it.
const LOOKS: u32 = 4;

/// What an observer that follows a ring is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Followed {
    /// What a reader would be handed, too.
    Item(Item<'static>),
    /// So many positions were used for other lines before this observer looked at them, in their
    /// place: as many lines, or fewer where some were long.
    PassedBy(u64),
}

/// How far an observer has come.
#[derive(Debug)]
pub(crate) struct Following {
    seen: Snapshot,
    next: Option<Position>,
    /// Lines before it were taken when this began: that some are not there any more is no news.
    taken_before: Position,
    /// The count of events, of which ends are some, before the last look.
    seen_events: u64,
    /// The mirrors whose ends were told, of those that tickets name.
    told: HashSet<u32>,
    /// It begins behind lines that were there, of writers that it does not know yet.
    begins_late: bool,
    found: Vec<Followed>,
}

impl Following {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        Self {
            seen: Snapshot::new(geometry, NamedWriters::default()),
            next: None,
            taken_before: Position(geometry.start_position),
            seen_events: 0,
            told: HashSet::new(),
            begins_late: false,
            found: Vec::new(),
        }
    }

    /// What a look changes that finds something, be it no item yet.
    pub(crate) fn progress(&self) -> (Option<Position>, u64) {
        (self.next, self.seen_events)
    }

    /// The next position that it looks at.
    pub(crate) fn position(&self) -> Option<Position> {
        self.next
    }

    /// Passes by all but the last so many positions.
    pub(crate) fn skip_to_last(&mut self, parts: &Parts, accepted: Position, positions: u64) {
        let ring = parts.ring();
        let tail = ring.tail();
        let start = tail.minus(positions.min(ring.shape.positions()));
        let next = self.next.unwrap_or(self.taken_before);
        if next.is_before(start) {
            // What stood there before it began is not asked for.
            let is_known = self.next.is_some();
            self.next = Some(start);
            if is_known {
                self.pass_by(start, start.since(next));
            } else {
                self.taken_before = accepted;
                self.begins_late = true;
            }
        }
    }

    /// What more there is to look at begins with this; `None` before the first look.
    pub(crate) fn awaited<'a>(&self, parts: &'a Parts) -> Option<Awaited<'a>> {
        let (ring, events) = (parts.ring(), &parts.header().counts.0.events);
        Some(Awaited { ring, position: self.next?, events, seen_events: self.seen_events })
    }

    /// What has come, up to [`MOST`] positions of it, oldest first.
    ///
    /// In this order, as a snapshot: ends, slots, names.
    pub(crate) fn more(&mut self, parts: &Parts, accepted: Position) -> Vec<Followed> {
        // ORD event:C, acquire; pairs with event:A; the ends that it counts are found below.
        self.seen_events = parts.header().counts.0.events.load(Acquire);
        let ends = ticket_ends(parts);
        let ring = parts.ring();
        let (tail, positions) = (ring.tail(), ring.shape.positions());
        let oldest = tail.minus(positions);
        let mut next = match self.next {
            // A tail that goes back is no tail.
            Some(next) if tail.is_before(next) => tail,
            Some(next) => next,
            None => {
                let start = self.taken_before;
                self.taken_before = accepted;
                if start.is_before(oldest) { oldest } else { start }
            }
        };
        let mut copied = Vec::new();
        let mut image = vec![0; ring.shape.slot_words];
        let passed = if next.is_before(oldest) { oldest.since(next) } else { 0 };
        next = next.plus(passed);
        for position in 0..MOST.min(tail.since(next)) {
            let position = next.plus(position);
            copied.push(copy_at(parts, position, tail, &mut image));
        }
        self.seen.writers.update(parts, &ends);
        if std::mem::take(&mut self.begins_late) {
            self.seen.writers.note_passed_by();
        }
        self.pass_by(next, passed);
        for slot in copied {
            match slot {
                Some(slot) => self.seen.add(&slot),
                None => self.pass_by(next.next(), 1),
            }
            next = next.next();
        }
        self.next = Some(next);
        // All lines of a mirror that has ended stand before the tail that was found after that.
        if next == tail {
            let named = ends.iter().map(|end| end.worker).collect();
            let told = std::mem::replace(&mut self.told, named);
            let news = ends.into_iter().filter(|end| !told.contains(&end.worker));
            news.for_each(|end| self.seen.end(end));
        }
        self.keep_seen();
        std::mem::take(&mut self.found)
    }

    fn keep_seen(&mut self) {
        self.found.extend(self.seen.items.drain(..).map(Followed::Item));
    }

    /// So many positions before `next` were missed.
    fn pass_by(&mut self, next: Position, count: u64) {
        if count == 0 {
            return;
        }
        self.seen.assemblies.note_skipped();
        if !self.taken_before.is_before(next) {
            return;
        }
        self.keep_seen();
        self.seen.writers.note_passed_by();
        match self.found.last_mut() {
            Some(Followed::PassedBy(passed)) => *passed += count,
            _ => self.found.push(Followed::PassedBy(count)),
        }
    }
}

/// What stands at this position, which was filled; `None` if it has passed by.
fn copy_at(
    parts: &Parts,
    position: Position,
    tail: Position,
    image: &mut [u64],
) -> Option<CopiedSlot> {
    let shape = parts.ring().shape;
    let copies = (0..LOOKS).filter_map(|_| copy_slot(parts, shape.index(position), tail, image));
    // The first that came whole, if it is still this position's.
    copies.take(1).find(|slot| shape.is_same_place(slot.header.position, position))
}
