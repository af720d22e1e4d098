//! A snapshot of a ring: every line that its slots have, for an observer that changes nothing.
//!
//! A snapshot reads the entries, copies their slots, full or free, and sorts what is in them by
//! position: a free entry's slot still has a line that was taken. Then the tickets and cells say
//! which mirrors wrote these lines, and which lines are missing.

use crate::exchange::checksum;
use crate::layout::{
    Geometry, LineNumber, OrderEntry, Position, READER_CELL, SLOT_HEADER_WORDS, SlotHeader, flag,
};
use crate::line::item::{Ended, Item, Line, LossCause, Lost};
use crate::read::assembly::{Assemblies, DamagedPart, Long, image_of, trailer};
use crate::read::decode::line_of;
use crate::read::named_writers::{NamedWriters, TicketEnd, ticket_ends};
use crate::segment::Parts;
use crate::segment::options::Policy;

/// The finished lines that are in the slots, oldest first, and then the ends that no reader has
/// accepted.
pub(crate) fn snapshot(parts: &Parts, geometry: &Geometry) -> Vec<Item<'static>> {
    // In this order: every line of a mirror that has ended stands before the tail, and a line that
    // is not in its slot any more when that is copied was noted as delivered before, or is lost.
    let ends = ticket_ends(parts);
    let slots = copy_slots(parts);
    let writers = NamedWriters::of(parts, &ends);
    let mut snapshot = Snapshot::new(geometry, writers);
    let mut next = None;
    for slot in slots {
        // What stood in between was overwritten before it was copied.
        if next != Some(slot.header.position) {
            snapshot.assemblies.note_skipped();
        }
        next = Some(slot.header.position.next());
        snapshot.add(&slot);
    }
    ends.into_iter().for_each(|end| snapshot.end(end));
    snapshot.items
}

/// A snapshot that is being made: slots are added in the order of their positions.
#[derive(Debug)]
pub(super) struct Snapshot {
    geometry: Geometry,
    pub(super) writers: NamedWriters,
    pub(super) assemblies: Assemblies,
    pub(super) items: Vec<Item<'static>>,
}

impl Snapshot {
    pub(super) fn new(geometry: &Geometry, writers: NamedWriters) -> Self {
        let assemblies = Assemblies::new(geometry, usize::MAX);
        Self { geometry: *geometry, writers, assemblies, items: Vec::new() }
    }

    pub(super) fn add(&mut self, slot: &CopiedSlot) {
        let CopiedSlot { header, payload, state } = slot;
        match state {
            CopyState::Sound => self.add_sound(*header, payload),
            CopyState::Damaged => self.add_damaged(*header, payload),
            CopyState::Nothing => {
                self.assemblies.note_skipped();
                self.items.push(Item::Damaged { position: header.position.0 });
            }
        }
    }

    fn add_sound(&mut self, header: SlotHeader, part: &[u8]) {
        let writer = self.writers.of_line(header.cell, header.line);
        if let Some(cut) = self.assemblies.make_way(header.cell.into(), &header) {
            self.push_line(cut);
        }
        if let Some(known) = self.writers.get_mut(writer) {
            let lost = known.note(header.line);
            self.push_lost(writer, header.line, lost);
        }
        if header.is(flag::FORGOTTEN) {
            if let Some(known) = self.writers.get_mut(writer) {
                known.progress.expect_again(header.line, known.accepted);
            }
        } else if header.is(flag::FIRST) && header.is(flag::LAST) {
            let (length, missing) = trailer(&header, part);
            let (bytes, truncated) = (part[..length].to_vec(), header.is(flag::TRUNCATED));
            self.push_line(Long { header, writer, bytes, missing, truncated, damaged: false });
        } else if let Some(line) = self.assemblies.add(writer, header, part, false) {
            self.push_line(line);
        }
    }

    fn add_damaged(&mut self, header: SlotHeader, part: &[u8]) {
        let writers = &mut self.writers;
        let placed = self.assemblies.place_damaged(header, part, || {
            let writer = writers.known_of(header.cell, header.line)?;
            Some((writer, &mut writers.get_mut(writer)?.progress))
        });
        match placed {
            DamagedPart::Kept => {}
            DamagedPart::NextLine(line) | DamagedPart::Stray(line) => self.push_line(line),
        }
    }

    /// Adds an end, after the loss of what is missing before it.
    pub(super) fn end(&mut self, ended: TicketEnd) {
        let TicketEnd { mirror, worker, process, label, end, next } = ended;
        let (mut lines, mut lost) = (0, 0);
        if let Some(mirror) = mirror
            && let Some(writer) = self.writers.by_mirror(mirror)
            && let Some(known) = self.writers.get_mut(writer)
        {
            let missing = known.note_end(next);
            lost = known.progress.lost;
            lines = mirror.epoch.lines_to(next).saturating_sub(lost);
            self.push_lost(writer, next, missing);
        }
        let cell = mirror.map(|mirror| mirror.cell);
        let first = mirror.map_or(0, |mirror| mirror.epoch.get());
        let (writer_id, label) = (worker, label.into());
        self.items.push(Item::Ended(Ended {
            writer_id,
            process,
            cell,
            first,
            next: mirror.map_or(0, |_| next.get()),
            label,
            end,
            lines,
            lost,
            exit: None,
        }));
    }

    fn push_line(&mut self, long: Long) {
        let Long { header, writer, bytes, missing, truncated, damaged } = long;
        let writer = self.writers.get(writer);
        let (worker, label) =
            writer.map_or((u32::MAX, ""), |writer| (writer.worker, &writer.label));
        let created = self.geometry.created;
        let line = line_of(&header, created, worker, label.to_owned().into(), bytes.into());
        self.items.push(Item::Line(Line { truncated, missing, damaged, ..line }));
    }

    /// Adds the loss of the `lines` lines of a mirror before line `next`, if that is any.
    fn push_lost(&mut self, writer: u32, next: LineNumber, lines: u64) {
        let Some(writer) = self.writers.get(writer).filter(|_| lines > 0) else { return };
        let overwrites = self.geometry.policy == Policy::OverwriteOldest as u16;
        let cause = if overwrites { LossCause::Overwritten } else { LossCause::Dropped };
        let (writer_id, label) = (writer.worker, writer.label.clone().into());
        let (cell, first) = (writer.progress.mirror.cell, next.minus(lines).get());
        self.items.push(Item::Lost(Lost { writer_id, cell, first, label, lines, cause }));
    }
}

/// A copy of a slot: a line, or a part of one.
#[derive(Debug)]
pub(super) struct CopiedSlot {
    pub(super) header: SlotHeader,
    payload: Vec<u8>,
    state: CopyState,
}

/// What is known of what stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyState {
    /// All of it is what its writer put there, as far as can be known.
    Sound,
    /// Its checksum does not agree.
    Damaged,
    /// The position is filled, and what its entry names is no part of any line.
    Nothing,
}

/// All lines and parts of lines that are there, in the order of their positions.
fn copy_slots(parts: &Parts) -> Vec<CopiedSlot> {
    let ring = parts.ring();
    // What is published from now on is left out, so that there is no line whose predecessor is
    // missing.
    let tail = ring.tail();
    let mut image = vec![0; ring.shape.slot_words];
    let indexes = 0..ring.order.len();
    let mut found: Vec<_> =
        indexes.filter_map(|index| copy_slot(parts, index, tail, &mut image)).collect();
    found.retain(|slot| slot.header.position.is_before(tail));
    found.sort_by_key(|slot| core::cmp::Reverse(tail.since(slot.header.position)));
    found.dedup_by_key(|slot| slot.header.position);
    found
}

/// What the slot has that the entry at `index` names; `None` if that changes at the moment, was
/// never filled, or was skipped.
pub(super) fn copy_slot(
    parts: &Parts,
    index: usize,
    tail: Position,
    image: &mut [u64],
) -> Option<CopiedSlot> {
    let ring = parts.ring();
    let (entry, header) = ring.observe(index, image)?;
    let position = position_of(parts, index, entry, tail);
    let is_part = |header: &SlotHeader| {
        let cells = READER_CELL + 1..parts.cells().len();
        ring.shape.is_same_place(header.position, position) && cells.contains(&header.cell.into())
    };
    let agrees = || checksum::agrees(ring.shape, image);
    let state = match &header {
        Some(header) if is_part(header) && agrees() => CopyState::Sound,
        Some(header) if is_part(header) => CopyState::Damaged,
        _ if entry.is_full() => CopyState::Nothing,
        _ if !ring.shape.has_checks() || image.starts_with(&[0; SLOT_HEADER_WORDS]) => return None,
        Some(_) if agrees() => return None,
        _ => CopyState::Nothing,
    };
    let header = match header {
        Some(header) if state == CopyState::Sound => header,
        header => SlotHeader { position, ..header.unwrap_or_default() },
    };
    let payload = match state {
        CopyState::Nothing => Vec::new(),
        CopyState::Sound | CopyState::Damaged => image_of(ring.shape, image).1.to_vec(),
    };
    Some(CopiedSlot { header, payload, state })
}

/// Which position the slot has that `entry`, the one at `index`, names: the entry is full, or free
/// for the lap after.
fn position_of(parts: &Parts, index: usize, entry: OrderEntry, tail: Position) -> Position {
    let shape = parts.ring().shape;
    let near = tail.minus(shape.index(tail) as u64).plus(index as u64);
    shape.after_laps(near, entry.laps_since(shape.lap(near)) - i64::from(!entry.is_full()))
}
