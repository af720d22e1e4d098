//! What tickets say: new mirrors, ends, seats whose time is over.

use super::{SeenEnd, WriterTable};
use crate::layout::sync::Ordering;
use crate::layout::{LineNumber, MirrorId, READER_CELL, Ticket, TicketWord};
use crate::line::item::End;
use crate::segment::Segment;

use Ordering::{Acquire, Relaxed};

/// Whether the cell that a ticket names has no mirror, or another one: no process looks there for
/// the death of this one.
fn is_abandoned(segment: &Segment, mirror: MirrorId) -> bool {
    let index = usize::from(mirror.cell);
    let Some(cell) = segment.cells().get(index).filter(|_| index != READER_CELL) else {
        return true;
    };
    // ORD epoch:D, acquire; pairs with epoch:A; the owner below is no older than the epoch.
    let epoch = LineNumber::new(cell.reader.0.epoch.load(Acquire));
    epoch != mirror.epoch || !cell.may_be_owned()
}

impl WriterTable {
    /// Reads every ticket: new mirrors, ends, seats whose time is over. Of a mirror that is found
    /// to have ended, no line stands at or after the ring's tail.
    pub(crate) fn read_tickets(&mut self, segment: &Segment) {
        let mut clock = None;
        let mut now = || *clock.get_or_insert_with(crate::sys::clock::monotonic_ms);
        let states = segment.used_tickets().iter().map(Ticket::state).zip(0..);
        self.open = states
            .filter(|(state, ticket)| {
                state.is_some_and(|state| self.read_ticket(segment, *ticket, state, &mut now))
            })
            .count();
    }

    /// Notes what the ticket says: whether its seat or mirror is open.
    fn read_ticket(
        &mut self,
        segment: &Segment,
        index: u32,
        state: TicketWord,
        now: impl FnOnce() -> u64,
    ) -> bool {
        let ticket = &segment.tickets()[index as usize];
        match state {
            TicketWord::Free => return false,
            TicketWord::Making => return true,
            TicketWord::Reserved(serial) => {
                let deadline = ticket.detail.load(Relaxed);
                let is_late = deadline != 0 && now() >= deadline;
                if !is_late || !ticket.change(state, TicketWord::TimedOut(serial)) {
                    return true;
                }
                self.note_never_opened(index, End::NeverOpened);
            }
            TicketWord::Cancelled(_) => self.note_never_opened(index, End::Cancelled),
            TicketWord::TimedOut(_) => self.note_never_opened(index, End::NeverOpened),
            TicketWord::Opening(mirror) => {
                if !is_abandoned(segment, mirror) {
                    return true;
                }
                ticket.change(state, TicketWord::Free);
            }
            // A mirror leaves its cell after its ticket has an end: the words are damaged. Or it
            // had an end after its state was read: that is seen next time.
            TicketWord::Live(mirror) if is_abandoned(segment, mirror) => {
                if !ticket.change(state, TicketWord::Dead(mirror)) {
                    return true;
                }
                self.note_end(segment, index, mirror, End::Died);
            }
            TicketWord::Live(mirror) => {
                self.by_mirror(segment, index, mirror);
                return true;
            }
            TicketWord::Eof(mirror) => self.note_end(segment, index, mirror, End::Eof),
            TicketWord::Error(mirror) => self.note_end(segment, index, mirror, End::Error),
            TicketWord::Dead(mirror) => self.note_end(segment, index, mirror, End::Died),
        }
        false
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
        let lines = LineNumber::new(segment.tickets()[ticket as usize].lines.load(Relaxed));
        if let Some(writer) = self.known.get_mut(id as usize)
            && writer.end.is_none()
        {
            // The end was seen before: none of its lines stands at or after the tail.
            let bound = segment.ring().tail();
            let is_accepted = segment.tickets()[ticket as usize].is_counted();
            writer.end = Some(SeenEnd { how, lines, is_accepted, bound });
            self.ended.push_back(id);
        }
    }

    fn note_never_opened(&mut self, ticket: u32, end: End) {
        if self.known_unopened.insert(ticket) {
            self.never_opened.push((ticket, end));
        }
    }
}
