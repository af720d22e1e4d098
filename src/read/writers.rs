//! The mirrors that a reader knows: which of them wrote a line, what is missing, how each ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::layout::sync::Ordering;
use crate::layout::{LINE_MASK, MirrorId, Owner, TicketWord};
use crate::line::item::End;
use crate::segment::Segment;

use Ordering::{Acquire, Relaxed};

/// A mirror, as its reader knows it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) worker: u32,
    pub(crate) label: Arc<str>,
    pub(crate) mirror: MirrorId,
    pub(crate) ticket: Option<u32>,
    /// The number of its next line.
    pub(crate) expected: u64,
    pub(crate) lines: u64,
    pub(crate) lost: u64,
    end: Option<NotedEnd>,
}

/// An end that was seen, and is reported once every line before it has been.
#[derive(Clone, Copy, Debug)]
struct NotedEnd {
    how: End,
    /// The number after its last line.
    lines: u64,
    /// No line of it stands at or after this position.
    bound: u64,
}

/// All mirrors that have lines in the ring or an end that was not reported.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    known: Slab<Source>,
    by_ticket: HashMap<u32, u32>,
    by_cell: Vec<CellSources>,
    /// Seats not opened and mirrors not ended, at the last look.
    pub(crate) open: usize,
    /// Ends noted and not reported yet.
    noted: VecDeque<u32>,
    /// Seats that ended without having been opened, to be reported,
    never_opened: Vec<(u32, End)>,
    /// and all of which that is known, until it is accepted.
    known_unopened: HashSet<u32>,
}

/// The mirrors that have had a cell, by their first line.
#[derive(Debug, Default)]
struct CellSources {
    /// The cell's epoch when the list was made: while it is the same, the list is complete.
    epoch: u64,
    list: BTreeMap<u64, u32>,
    /// The one of that epoch, while it is in the list.
    present: Option<u32>,
    /// Those that had no ticket when they came, oldest first.
    unlisted: VecDeque<u64>,
}

impl CellSources {
    fn remove(&mut self, first: u64) -> Option<u32> {
        let id = self.list.remove(&first);
        if self.present == id {
            self.present = None;
        }
        id
    }
}

/// Nobody says when a mirror without a ticket may be forgotten: of each cell's, as many are kept.
const MOST_OF_A_CELL: usize = 32;

/// What is due once everything before an end has been delivered.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) source: u32,
    pub(crate) end: End,
    /// The number after its last line.
    pub(crate) lines: u64,
    /// Lines that are missing after the last one delivered.
    pub(crate) gap: u64,
    /// Whether its error is among them.
    pub(crate) error_is_lost: bool,
}

/// How many line numbers `to` is ahead of `from`; 0 if it is behind.
pub(crate) fn lines_between(from: u64, to: u64) -> u64 {
    let ahead = to.wrapping_sub(from) & LINE_MASK;
    if ahead > LINE_MASK / 2 { 0 } else { ahead }
}

/// Whether a mirror's cell has gone to another, or to nobody.
fn is_abandoned(segment: &Segment, mirror: MirrorId) -> bool {
    let Some(cell) = segment.cells().get(usize::from(mirror.cell)) else { return true };
    // ORD epoch:D, acquire; pairs with epoch:A; the owner below is no older than the epoch.
    cell.reader.0.epoch.load(Acquire) != mirror.epoch || cell.owner() == Some(Owner::Free)
}

impl Sources {
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Source> {
        self.known.get(id as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Source> {
        self.known.get_mut(id as usize)
    }

    /// Which mirror wrote line `line` of `cell`. `bound` as in [`note_all`](Self::note_all).
    #[inline]
    pub(crate) fn of(&mut self, segment: &Segment, cell: u16, line: u64) -> u32 {
        match self.known_of(segment, cell, line) {
            Some(id) => id,
            // A mirror whose end nobody keeps any more.
            None => self.add(
                segment,
                MirrorId { cell, epoch: line },
                u64::from(u32::MAX),
                String::new(),
                None,
            ),
        }
    }

    /// The same; `None` if it is none that is known.
    #[inline]
    pub(crate) fn known_of(&mut self, segment: &Segment, cell: u16, line: u64) -> Option<u32> {
        let index = usize::from(cell);
        if self.by_cell.len() <= index {
            self.by_cell.resize_with(segment.cells().len(), CellSources::default);
        }
        // ORD epoch:B, acquire; pairs with epoch:A; a newer mirror's ticket and serial are seen
        // with its epoch.
        let epoch = segment.cells()[index].reader.0.epoch.load(Acquire);
        let known = &self.by_cell[index];
        if known.epoch == epoch
            && let Some(id) = known.present
            && line.wrapping_sub(epoch) & LINE_MASK <= LINE_MASK / 2
        {
            return Some(id);
        }
        self.search(segment, MirrorId { cell, epoch }, line)
    }

    /// Notes that line `line` of `cell` has come, if it is the next one of the mirror that was
    /// known to have the cell last: which mirror that is. (One that came after it has other
    /// numbers: each leaves one out at its beginning.)
    #[inline]
    pub(crate) fn next_line(&mut self, cell: u16, line: u64) -> Option<u32> {
        let id = self.by_cell.get(usize::from(cell))?.present?;
        let source = self.known.get_mut(id as usize).filter(|source| source.expected == line)?;
        source.expected = line.wrapping_add(1) & LINE_MASK;
        source.lines += 1;
        Some(id)
    }

    /// Line `line` of a mirror is void, and its number comes again: a line that had it and does not
    /// come is lost. Unless one was accepted already: then this comes a second time, since the
    /// reader that accepted it died.
    pub(crate) fn expect_again(&mut self, segment: &Segment, id: u32, line: u64) {
        let Some(source) = self.get_mut(id) else { return };
        let Some(cell) = segment.cells().get(usize::from(source.mirror.cell)) else { return };
        let is_accepted = lines_between(line, cell.reader.0.delivered.load(Relaxed)) > 0;
        if !is_accepted && source.expected == line.wrapping_add(1) & LINE_MASK {
            source.expected = line;
            source.lines = source.lines.saturating_sub(1);
        }
    }

    #[cold]
    fn search(&mut self, segment: &Segment, newest: MirrorId, line: u64) -> Option<u32> {
        let MirrorId { cell, epoch } = newest;
        let index = usize::from(cell);
        if self.by_cell[index].epoch != epoch || self.by_cell[index].list.is_empty() {
            self.note_all(segment);
            let reader = &segment.cells()[index].reader.0;
            if !self.by_cell[index].list.contains_key(&epoch) {
                // Without a ticket, or so new that its ticket is not live yet.
                let serial = reader.serial.load(Relaxed);
                self.add(segment, newest, serial, String::new(), None);
            }
            let known = &mut self.by_cell[index];
            (known.epoch, known.present) = (epoch, known.list.get(&epoch).copied());
        }
        let list = &self.by_cell[index].list;
        let before = |first: u64| line.wrapping_sub(first) & LINE_MASK <= LINE_MASK / 2;
        // Numbers begin again after the greatest.
        let last = list.range(..=line).next_back().or_else(|| list.last_key_value());
        last.filter(|(first, _)| before(**first)).map(|(_, id)| *id)
    }

    fn add(
        &mut self,
        segment: &Segment,
        mirror: MirrorId,
        serial: u64,
        label: String,
        ticket: Option<u32>,
    ) -> u32 {
        let index = usize::from(mirror.cell);
        if self.by_cell.len() <= index {
            self.by_cell.resize_with(segment.cells().len(), CellSources::default);
        }
        let cell = &mut self.by_cell[index];
        if let Some(id) = cell.list.get(&mirror.epoch) {
            let id = *id;
            if let (Some(source), Some(ticket)) = (self.known.get_mut(id as usize), ticket) {
                // It was known by a line before its ticket was live.
                (source.ticket, source.label, source.worker) =
                    (Some(ticket), label.into(), serial as u32);
                self.by_ticket.insert(ticket, id);
            }
            return id;
        }
        let delivered = segment.cells()[index].reader.0.delivered.load(Relaxed);
        let expected =
            mirror.epoch.wrapping_add(lines_between(mirror.epoch, delivered)) & LINE_MASK;
        let source = Source {
            worker: serial as u32,
            label: label.into(),
            mirror,
            ticket,
            expected,
            lines: 0,
            lost: 0,
            end: None,
        };
        if ticket.is_none() {
            cell.unlisted.push_back(mirror.epoch);
            if cell.unlisted.len() > MOST_OF_A_CELL
                && let Some(oldest) = cell.unlisted.pop_front()
                && let Some(id) = cell.list.get(&oldest)
                && self.known.get(*id as usize).is_none_or(|source| source.ticket.is_none())
                && let Some(id) = cell.remove(oldest)
            {
                self.known.try_remove(id as usize);
            }
        }
        // A slot of it is used again only after the end in it was accepted: nothing queued names it
        // then.
        let id = self.known.insert(source) as u32;
        cell.list.insert(mirror.epoch, id);
        if let Some(ticket) = ticket {
            self.by_ticket.insert(ticket, id);
        }
        id
    }

    /// Looks at every ticket: new mirrors, ends, seats whose time is over. `bound`: no line that
    /// was published before this call stands at or after it.
    pub(crate) fn note_all(&mut self, segment: &Segment) {
        let mut now = None;
        let mut open = 0;
        for (index, ticket) in segment.used_tickets().iter().enumerate() {
            let Some(state) = ticket.state() else { continue };
            let id = index as u32;
            match state {
                TicketWord::Free => {}
                TicketWord::Making => open += 1,
                TicketWord::Reserved(serial) => {
                    let deadline = ticket.detail.load(Relaxed);
                    let late = deadline != 0
                        && *now.get_or_insert_with(crate::sys::clock::monotonic_ms) >= deadline;
                    if late && ticket.change(state, TicketWord::TimedOut(serial)) {
                        self.note_never_opened(id, End::NeverOpened);
                    } else {
                        open += 1;
                    }
                }
                TicketWord::Cancelled(_) => self.note_never_opened(id, End::Cancelled),
                TicketWord::TimedOut(_) => self.note_never_opened(id, End::NeverOpened),
                TicketWord::Opening(mirror) => {
                    if is_abandoned(segment, mirror) {
                        ticket.change(state, TicketWord::Free);
                    } else {
                        open += 1;
                    }
                }
                // Nobody leaves a cell before its ticket has an end: the words are damaged.
                TicketWord::Live(mirror) if is_abandoned(segment, mirror) => {
                    // Or it had an end after the look above: that is seen next time.
                    if ticket.change(state, TicketWord::Dead(mirror)) {
                        self.note_end(segment, id, mirror, End::Died);
                    } else {
                        open += 1;
                    }
                }
                TicketWord::Live(mirror) => {
                    open += 1;
                    self.by_mirror(segment, id, mirror);
                }
                TicketWord::Eof(mirror) => self.note_end(segment, id, mirror, End::Eof),
                TicketWord::Error(mirror) => self.note_end(segment, id, mirror, End::Error),
                TicketWord::Dead(mirror) => self.note_end(segment, id, mirror, End::Died),
            }
        }
        self.open = open;
    }

    fn by_mirror(&mut self, segment: &Segment, ticket: u32, mirror: MirrorId) -> Option<u32> {
        if usize::from(mirror.cell) >= segment.cells().len() {
            return None;
        }
        if let Some(id) = self.by_ticket.get(&ticket) {
            return Some(*id);
        }
        let entry = &segment.tickets()[ticket as usize];
        Some(self.add(segment, mirror, entry.serial.load(Relaxed), entry.label(), Some(ticket)))
    }

    fn note_end(&mut self, segment: &Segment, ticket: u32, mirror: MirrorId, how: End) {
        let Some(id) = self.by_mirror(segment, ticket, mirror) else {
            return self.note_never_opened(ticket, how);
        };
        let lines = segment.tickets()[ticket as usize].lines.load(Relaxed);
        if let Some(source) = self.known.get_mut(id as usize)
            && source.end.is_none()
        {
            // The end was seen before: none of its lines stands at or after the tail.
            let bound = segment.ring().tail();
            source.end = Some(NotedEnd { how, lines, bound });
            self.noted.push_back(id);
        }
    }

    fn note_never_opened(&mut self, ticket: u32, end: End) {
        if self.known_unopened.insert(ticket) {
            self.never_opened.push((ticket, end));
        }
    }

    /// The next end whose lines have all been delivered: everything before `cursor` has, or
    /// everything at all.
    pub(crate) fn due(&mut self, cursor: u64, everything: bool) -> Option<Due> {
        let ready = |id: &u32| {
            let end = self.known.get(*id as usize).and_then(|source| source.end);
            end.is_none_or(|end| everything || cursor.wrapping_sub(end.bound) as i64 >= 0)
        };
        let index = self.noted.iter().position(ready)?;
        self.take_due(index)
    }

    /// The next end of a mirror that had `cell` before the mirror `id`.
    #[inline]
    pub(crate) fn due_before(&mut self, cell: u16, id: u32) -> Option<Due> {
        if self.noted.is_empty() {
            return None;
        }
        let epoch = self.known.get(id as usize)?.mirror.epoch;
        let is_before =
            |other: &MirrorId| other.cell == cell && lines_between(other.epoch, epoch) > 0;
        let had_cell = |other: &u32| {
            self.known.get(*other as usize).is_some_and(|source| is_before(&source.mirror))
        };
        let index = self.noted.iter().position(had_cell)?;
        self.take_due(index)
    }

    fn take_due(&mut self, index: usize) -> Option<Due> {
        let id = self.noted.remove(index)?;
        let source = self.known.get_mut(id as usize)?;
        let end = source.end?;
        let gap = lines_between(source.expected, end.lines);
        source.expected = end.lines;
        source.lost = source.lost.saturating_add(gap);
        Some(Due {
            source: id,
            end: end.how,
            lines: end.lines,
            gap,
            error_is_lost: end.how == End::Error && gap > 0,
        })
    }

    /// A seat that ended without having been opened: its ticket, number, label and end.
    pub(crate) fn next_never_opened(
        &mut self,
        segment: &Segment,
    ) -> Option<(u32, u32, String, End)> {
        let (ticket, end) = self.never_opened.pop()?;
        let entry = &segment.tickets()[ticket as usize];
        Some((ticket, entry.serial.load(Relaxed) as u32, entry.label(), end))
    }

    /// The end of a seat that was never opened was accepted: its ticket is free.
    pub(crate) fn collect_never_opened(&mut self, segment: &Segment, ticket: u32) {
        self.known_unopened.remove(&ticket);
        segment.collect(ticket);
    }

    /// Forgets a mirror whose end was accepted, and makes its ticket free.
    pub(crate) fn forget(&mut self, segment: &Segment, id: u32) {
        let Some(source) = self.known.try_remove(id as usize) else { return };
        if let Some(known) = self.by_cell.get_mut(usize::from(source.mirror.cell)) {
            known.remove(source.mirror.epoch);
        }
        if let Some(ticket) = source.ticket {
            self.by_ticket.remove(&ticket);
            segment.collect(ticket);
        }
    }

    /// Whether an end waits to be reported.
    pub(crate) fn has_noted(&self) -> bool {
        !self.noted.is_empty() || !self.never_opened.is_empty()
    }
}
