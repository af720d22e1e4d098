//! [`Observer`]: what is in a ring, for who does not take part in it.
//!
//! A look goes over the entries, copies their slots, full or free, and sorts what is in them by
//! position: a free entry's slot still has a line that was taken. Then the tickets and cells say
//! whose lines these are, and which are missing.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;

use crate::error::AttachError;
use crate::exchange::checksum;
use crate::handles::line_ring::LineRing;
use crate::layout::sync::Ordering;
use crate::layout::{
    Entry, LINE_MASK, MirrorId, READER_CELL, SLOT_HEADER_WORDS, SlotHeader, TicketWord, flag,
};
use crate::line::item::{End, Ended, Item, Line, LossCause, Lost};
use crate::read::assembly::{Assemblies, Long, image_of, trailer};
use crate::read::decode::line_of;
use crate::read::queue::NOBODY;
use crate::read::writers::lines_between;
use crate::segment::options::Policy;
use crate::segment::{Parts, RingName, Segment, View, view_file, view_named};

use Ordering::{Acquire, Relaxed};

/// In how many rounds a dead ring's copy is looked at in which nothing comes.
const MOST_ROUNDS: u32 = 1000;

/// A ring that is looked at: nothing in it is changed, and nobody is delayed.
///
/// Works for a ring in use, which is mapped for reading, and for one that a crash has left: where
/// nobody uses it a copy is read, so that neither whoever comes next nor who cuts the file short
/// does any harm. It needs the right to read alone.
///
/// ```
/// use linering::{LineRing, Observer, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// mirror.write_line(b"hello")?;
///
/// let observer = Observer::attach(ring.descriptor()?)?;
/// assert_eq!(observer.snapshot()[0].to_string(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    view: View,
}

impl Observer {
    /// Opens the ring of this name: this user's, unless [`RingName`] says otherwise.
    ///
    /// # Errors
    ///
    /// As [`LineRing::open_named`](crate::LineRing::open_named).
    pub fn open_named<'n>(name: impl Into<RingName<'n>>) -> Result<Self, AttachError> {
        Ok(Self { view: View::of(view_named(name.into())?)? })
    }

    /// Opens the ring in a file.
    ///
    /// # Errors
    ///
    /// As [`LineRing::open_file`](crate::LineRing::open_file).
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        Ok(Self { view: View::of(view_file(path.as_ref())?)? })
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

    /// Whether somebody used the ring when it was opened, and did not only look at it: else it does
    /// not change any more.
    pub fn is_used(&self) -> bool {
        self.view.is_used
    }

    /// Whether the ring's file was found to be cut short, after
    /// [`turn_sigbus_into_errors`](crate::turn_sigbus_into_errors): what
    /// [`snapshot`](Self::snapshot) gives then is not what was there.
    pub fn is_cut_short(&self) -> bool {
        self.view.is_cut()
    }

    /// Whether each slot of the ring has a checksum, which a look verifies; see
    /// [`Options::checksums`](crate::Options::checksums).
    pub fn has_checksums(&self) -> bool {
        self.view.geometry.shape().has_checks()
    }

    /// The finished lines that are there now, oldest first: those that no reader has taken yet and,
    /// before them, as many of those that were taken as the ring still has. Losses stand before
    /// their writer's next line. Then come the ends that no reader has accepted yet.
    ///
    /// Of a ring that nobody uses, the last words of those who died are among them, flagged, and
    /// how each of them ended, as if it had been taken over: that is done with a copy.
    ///
    /// Lines that are finished later than the call begins are left out. Takes time and memory in
    /// proportion to the ring.
    pub fn snapshot(&self) -> Vec<Item<'static>> {
        match self.view.copy() {
            Some(copy) => self.look_at_dead(copy),
            None => self.look_at_living(),
        }
    }

    /// What was taken, and then what a reader finds who takes the ring over.
    fn look_at_dead(&self, copy: Segment) -> Vec<Item<'static>> {
        // ORD read:C, acquire; pairs with read:A; what was accepted was taken before.
        let accepted = self.view.parts.header().read_position.0.load(Acquire);
        let mut items = self.look_at_living();
        let is_taken = |position: u64| accepted.wrapping_sub(position) as i64 > 0;
        items.retain(|item| match item {
            Item::Line(line) => is_taken(line.position),
            Item::Damaged { position } => is_taken(*position),
            _ => false,
        });
        let ring = LineRing::of(Arc::new(copy));
        let Ok(mut reader) = ring.reader() else { return items };
        // A seat that nobody has opened is nobody's. Damaged words keep their mirror from being
        // buried for some rounds.
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

    fn look_at_living(&self) -> Vec<Item<'static>> {
        // In this order: every line of a mirror that has ended stands before the tail, and a line
        // that a slot does not have any more when it is looked at was noted as delivered
        // before that, or is lost.
        let endings = self.endings();
        let parts = self.parts();
        let mut mirrors = Mirrors::of(&self.view.parts, &endings);
        let mut assemblies = Assemblies::new(&self.view.geometry, usize::MAX);
        let mut items = Vec::new();
        let mut next = None;
        for Part { header, payload, state } in parts {
            // What stood in between was overwritten before it was looked at.
            if next != Some(header.position) {
                assemblies.note_skipped();
            }
            next = Some(header.position.wrapping_add(1));
            match state {
                State::Sound => {}
                State::Damaged => {
                    items.extend(self.damaged(&mut mirrors, &mut assemblies, header, &payload));
                    continue;
                }
                State::Nothing => {
                    assemblies.note_skipped();
                    items.push(Item::Damaged { position: header.position });
                    continue;
                }
            }
            let id = mirrors.of_line(header.cell, header.line);
            if let Some(cut) = assemblies.make_way(header.cell.into(), &header) {
                items.push(self.line(&mirrors, cut));
            }
            items.extend(self.missing_before(&mut mirrors.known[id], header.line));
            let line = if header.is(flag::FORGOTTEN) {
                mirrors.known[id].expect_again(header.line);
                None
            } else if header.is(flag::FIRST) && header.is(flag::LAST) {
                let (length, missing) = trailer(&header, &payload);
                let truncated = header.is(flag::TRUNCATED);
                let bytes = payload[..length].to_vec();
                Some(Long { header, source: id as u32, bytes, missing, truncated, damaged: false })
            } else {
                assemblies.add(id as u32, header, &payload, false)
            };
            items.extend(line.map(|line| self.line(&mirrors, line)));
        }
        for Ending { mirror, worker, label, end, next } in endings {
            let (mut lines, mut lost) = (0, 0);
            if let Some(known) = mirror.and_then(|mirror| mirrors.get_mut(mirror)) {
                items.extend(self.missing_before(known, next));
                lost = known.lost;
                lines = lines_between(known.id.epoch, next).saturating_sub(lost);
            }
            let cell = mirror.map(|mirror| mirror.cell);
            items.push(Item::Ended(Ended {
                writer_id: worker,
                cell,
                label: label.into(),
                end,
                lines,
                lost,
                exit: None,
            }));
        }
        items
    }

    /// A part whose checksum does not agree: what it is a part of, or a line by itself. As the
    /// reader's `decode_damaged`.
    fn damaged(
        &self,
        mirrors: &mut Mirrors,
        assemblies: &mut Assemblies,
        header: SlotHeader,
        part: &[u8],
    ) -> Option<Item<'static>> {
        assemblies.note_skipped();
        if assemblies.add_damaged(&header, part) {
            return None;
        }
        let id = mirrors.known_of(header.cell, header.line);
        let line = Long::damaged(id.map_or(NOBODY, |id| id as u32), header, part);
        let mirror = id.and_then(|id| mirrors.known.get_mut(id));
        if let Some(mirror) = mirror.filter(|mirror| mirror.expected == header.line)
            && !assemblies.has(header.cell.into())
        {
            mirror.note(header.line);
            if !header.is(flag::LAST) {
                assemblies.add(line.source, header, part, true);
                return None;
            }
        }
        Some(self.line(mirrors, line))
    }

    fn line(&self, mirrors: &Mirrors, long: Long) -> Item<'static> {
        let Long { header, source, bytes, missing, truncated, damaged } = long;
        let mirror = mirrors.known.get(source as usize);
        let (worker, label) =
            mirror.map_or((u32::MAX, ""), |mirror| (mirror.worker, &mirror.label));
        let created = self.view.geometry.created;
        let line = line_of(&header, created, worker, label.to_owned().into(), bytes.into());
        Item::Line(Line { truncated, missing, damaged, ..line })
    }

    /// The loss of what is missing before line `line` of a mirror, if something is.
    fn missing_before(&self, mirror: &mut Mirror, line: u64) -> Option<Item<'static>> {
        let lines = mirror.note(line);
        let overwrites = self.view.geometry.policy == Policy::OverwriteOldest as u16;
        let cause = if overwrites { LossCause::Overwritten } else { LossCause::Dropped };
        let label = mirror.label.clone().into();
        (lines > 0).then_some(Item::Lost(Lost { writer_id: mirror.worker, label, lines, cause }))
    }

    /// All parts of lines that are there, in the order of their positions.
    fn parts(&self) -> Vec<Part> {
        let Parts { ring, cells, .. } = &self.view.parts;
        // What is published from now on is left out, so that there is no line whose former is
        // missing.
        let tail = ring.tail();
        let mut found = Vec::new();
        let mut image = vec![0; ring.shape.slot_words];
        for index in 0..ring.order.len() {
            let Some((entry, header)) = ring.observe(index, &mut image) else { continue };
            let position = self.position_of(index, entry, tail);
            let is_here = |header: &SlotHeader| ring.shape.is_same_place(header.position, position);
            let has_cell =
                |header: &SlotHeader| (READER_CELL + 1..cells.len()).contains(&header.cell.into());
            let state = match &header {
                Some(header) if is_here(header) && has_cell(header) => {
                    let agrees = checksum::agrees(ring.shape, &image);
                    if agrees { State::Sound } else { State::Damaged }
                }
                _ if entry.is_full() => State::Nothing,
                // It was never filled, or skipped.
                _ if !ring.shape.has_checks() || image.starts_with(&[0; SLOT_HEADER_WORDS]) => {
                    continue;
                }
                Some(_) if checksum::agrees(ring.shape, &image) => continue,
                _ => State::Nothing,
            };
            let header = match header {
                Some(header) if state == State::Sound => header,
                header => SlotHeader { position, ..header.unwrap_or_default() },
            };
            let payload = match state {
                State::Nothing => Vec::new(),
                State::Sound | State::Damaged => image_of(ring.shape, &image).1.to_vec(),
            };
            found.push(Part { header, payload, state });
        }
        found.retain(|part| part.before(tail) > 0);
        found.sort_by_key(|part| core::cmp::Reverse(part.before(tail)));
        found.dedup_by_key(|part| part.header.position);
        found
    }

    /// Which position the slot has that `entry`, the one at `index`, names: it is full, or free for
    /// the lap after.
    fn position_of(&self, index: usize, entry: Entry, tail: u64) -> u64 {
        let shape = self.view.parts.ring.shape;
        let near = tail.wrapping_sub(shape.index(tail) as u64).wrapping_add(index as u64);
        shape.after_laps(near, entry.laps_since(shape.lap(near)) - i64::from(!entry.is_full()))
    }

    /// The ends that no reader has accepted, in the order of their mirrors.
    fn endings(&self) -> Vec<Ending> {
        let mut endings = Vec::new();
        for ticket in self.view.parts.used_tickets() {
            let (end, mirror) = match ticket.state() {
                Some(TicketWord::Eof(mirror)) => (End::Eof, Some(mirror)),
                Some(TicketWord::Error(mirror)) => (End::Error, Some(mirror)),
                Some(TicketWord::Dead(mirror)) => (End::Died, Some(mirror)),
                Some(TicketWord::Cancelled(_)) => (End::Cancelled, None),
                Some(TicketWord::TimedOut(_)) => (End::NeverOpened, None),
                _ => continue,
            };
            let worker = ticket.serial.load(Relaxed) as u32;
            endings.push(Ending {
                mirror,
                worker,
                label: ticket.label(),
                end,
                next: ticket.lines.load(Relaxed),
            });
        }
        endings.sort_by_key(|ending| ending.worker);
        endings
    }
}

/// A line, or a part of one.
struct Part {
    header: SlotHeader,
    payload: Vec<u8>,
    state: State,
}

/// What is known of what stands at a position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// All of it is what its writer put there, as far as can be known.
    Sound,
    /// Its checksum does not agree.
    Damaged,
    /// The position is filled, and what its entry names is no part of any line.
    Nothing,
}

impl Part {
    /// How many positions it stands before `tail`; none or less: at or after it.
    fn before(&self, tail: u64) -> i64 {
        tail.wrapping_sub(self.header.position) as i64
    }
}

/// What a ticket says of an end.
struct Ending {
    /// `None` for a seat that nobody has opened.
    mirror: Option<MirrorId>,
    worker: u32,
    label: String,
    end: End,
    /// The number after its last line.
    next: u64,
}

/// A mirror, as far as the segment still names it.
struct Mirror {
    id: MirrorId,
    worker: u32,
    label: String,
    /// The number of its next line.
    expected: u64,
    /// Lines before this one were accepted, or nothing is known of them.
    accepted: u64,
    lost: u64,
}

impl Mirror {
    /// As the reader's `Sources::expect_again`.
    fn expect_again(&mut self, line: u64) {
        let is_accepted = lines_between(line, self.accepted) > 0;
        if !is_accepted && self.expected == line.wrapping_add(1) & LINE_MASK {
            self.expected = line;
        }
    }

    /// Notes that line `line` is there, or its end; gives how many are missing before it.
    fn note(&mut self, line: u64) -> u64 {
        let missing = lines_between(self.expected, line);
        if missing > 0 || line == self.expected {
            self.expected = line.wrapping_add(1) & LINE_MASK;
        }
        self.lost = self.lost.saturating_add(missing);
        missing
    }
}

/// All mirrors that are named.
#[derive(Default)]
struct Mirrors {
    known: Vec<Mirror>,
    /// Their indexes, by cell and first line.
    by_cell: HashMap<u16, BTreeMap<u64, usize>>,
}

impl Mirrors {
    fn of(parts: &Parts, endings: &[Ending]) -> Self {
        let mut mirrors = Self::default();
        for ending in endings {
            if let Some(id) = ending.mirror {
                mirrors.add(parts, id, ending.worker, ending.label.clone());
            }
        }
        for ticket in parts.used_tickets() {
            if let Some(TicketWord::Live(id)) = ticket.state() {
                mirrors.add(parts, id, ticket.serial.load(Relaxed) as u32, ticket.label());
            }
        }
        // Those whose end was accepted are named by their cells alone, as long as nobody else has
        // those.
        for (cell, index) in parts.cells().iter().zip(0..).skip(1) {
            // ORD epoch:C, acquire; pairs with epoch:A; the mirror's ticket and serial are seen
            // with its epoch.
            let epoch = cell.reader.0.epoch.load(Acquire);
            let serial = cell.reader.0.serial.load(Relaxed);
            let ticket = cell.reader.0.ticket.load(Relaxed).wrapping_sub(1);
            let ticket = parts.tickets().get(ticket as usize);
            let ticket = ticket.filter(|ticket| ticket.serial.load(Relaxed) == serial);
            let label = ticket.map_or_else(String::new, |ticket| ticket.label());
            mirrors.add(parts, MirrorId { cell: index, epoch }, serial as u32, label);
        }
        mirrors
    }

    fn add(&mut self, parts: &Parts, id: MirrorId, worker: u32, label: String) {
        let Some(cell) = parts.cells().get(usize::from(id.cell)) else { return };
        if self.get_mut(id).is_none() {
            let delivered = cell.reader.0.delivered.load(Relaxed);
            let expected = id.epoch.wrapping_add(lines_between(id.epoch, delivered)) & LINE_MASK;
            self.push(Mirror { id, worker, label, expected, accepted: expected, lost: 0 });
        }
    }

    fn push(&mut self, mirror: Mirror) -> usize {
        let index = self.known.len();
        self.by_cell.entry(mirror.id.cell).or_default().insert(mirror.id.epoch, index);
        self.known.push(mirror);
        index
    }

    fn get_mut(&mut self, id: MirrorId) -> Option<&mut Mirror> {
        let index = self.by_cell.get(&id.cell)?.get(&id.epoch)?;
        self.known.get_mut(*index)
    }

    /// Which one wrote line `line` of `cell`: the last that began at it or before. One that nobody
    /// names any more is new.
    fn of_line(&mut self, cell: u16, line: u64) -> usize {
        self.known_of(cell, line).unwrap_or_else(|| {
            let id = MirrorId { cell, epoch: line };
            let accepted = line.wrapping_add(1) & LINE_MASK;
            self.push(Mirror {
                id,
                worker: u32::MAX,
                label: String::new(),
                expected: line,
                accepted,
                lost: 0,
            })
        })
    }

    /// The same; `None` if it is none that is known.
    fn known_of(&self, cell: u16, line: u64) -> Option<usize> {
        let since = |epoch: u64| line.wrapping_sub(epoch) & LINE_MASK;
        let of_cell = self.by_cell.get(&cell);
        // The one before it in the order of numbers, or the last, if they have begun again.
        let began =
            of_cell.and_then(|all| all.range(..=line).next_back().or_else(|| all.last_key_value()));
        began.filter(|(epoch, _)| since(**epoch) <= LINE_MASK / 2).map(|(_, index)| *index)
    }
}
