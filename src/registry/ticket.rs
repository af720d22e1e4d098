//! The table of ends: an entry for each seat and each mirror, from its making until the reader has
//! noted how it ended.
//!
//! A ticket is one word, and each of its steps is one exchange:
//!
//! ```text
//!   free ──► making ──► reserved ──► live ──► eof, error, dead ──► free
//!    │                      └──► cancelled, timed out ──► free
//!    └──► opening ──► live
//! ```
//!
//! `making` is a seat whose fields are being written, `opening` a mirror without a seat
//! of its own. A process that dies there leaves a ticket whose lock is free, or one that names a
//! cell whose lock is free: the reader clears it. Only the reader makes a ticket free again, after
//! it has reported the end.

use crate::error::{MirrorError, cannot};
use crate::exchange::park::count_event;
use crate::layout::sync::{AtomicU64, Ordering};
use crate::layout::{LABEL_BYTES, LineNumber, MirrorId, Ticket, TicketWord};
use crate::segment::{LockProbe, Parts, Segment, lock_of_ticket};
use crate::sys::process::Process;

use Ordering::{AcqRel, Acquire, Relaxed, Release};

/// A seat's place in the table: good until the reader has collected its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeatId {
    pub(crate) ticket: u32,
    pub(crate) serial: u64,
}

/// In a ticket's detail: the rest is a [`Process`], and no deadline;
const PROCESS: u64 = 1 << 63;
/// the rest is what its end makes of the count of such ends.
const COUNTED: u64 = 1 << 62;

/// How often ends are counted anew while the reader collects some.
const LOOKS: u32 = 1024;

/// What stands at the end of a label that was cut.
const CUT: &str = "\u{2026}";

/// A label, of so many bytes at most, and padded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Label([u8; LABEL_BYTES]);

impl Label {
    /// A text that is too long is cut between two characters, and ends with an ellipsis.
    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = [0; LABEL_BYTES];
        let (kept, mark) = if text.len() <= LABEL_BYTES {
            (text, "")
        } else {
            let mut ends = (0..=LABEL_BYTES - CUT.len()).rev();
            let end = ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            (&text[..end], CUT)
        };
        let (to, rest) = bytes.split_at_mut(kept.len());
        to.copy_from_slice(kept.as_bytes());
        rest[..mark.len()].copy_from_slice(mark.as_bytes());
        Self(bytes)
    }
}

impl Ticket {
    pub(crate) fn state(&self) -> Option<TicketWord> {
        // ORD ticket:B, acquire; pairs with ticket:A; an end is seen with its numbers, and a live
        // mirror with its serial and label.
        TicketWord::unpack(self.word.load(Acquire))
    }

    /// Moves from one state to another; `false` if it was in a third.
    pub(crate) fn change(&self, from: TicketWord, to: TicketWord) -> bool {
        // ORD ticket:A, AcqRel; pairs with ticket:B; what was written before the change is seen
        // after it.
        self.word.compare_exchange(from.pack(), to.pack(), AcqRel, Relaxed).is_ok()
    }

    pub(crate) fn label(&self) -> String {
        let bytes: Vec<u8> =
            self.label.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        // Whatever a process put there, no terminal obeys it.
        String::from_utf8_lossy(&bytes[..end]).replace(char::is_control, "\u{fffd}")
    }

    /// The process that opened the mirror, as it knows it.
    pub(crate) fn process(&self) -> Option<Process> {
        let detail = self.detail.load(Relaxed);
        (detail & PROCESS != 0).then_some(Process(detail & !(PROCESS | COUNTED)))
    }

    /// Whether it is of a mirror whose end was accepted.
    pub(crate) fn is_counted(&self) -> bool {
        self.state().and_then(kind_of_end).is_some() && self.detail.load(Relaxed) & COUNTED != 0
    }

    fn set_label(&self, label: Label) {
        for (word, bytes) in self.label.iter().zip(label.0.chunks_exact(8)) {
            word.store(u64::from_ne_bytes(bytes.try_into().expect("8 bytes")), Relaxed);
        }
    }
}

/// By EOF, by an error or by death: which of the three; `None` if a mirror has not ended.
fn kind_of_end(state: TicketWord) -> Option<usize> {
    match state {
        TicketWord::Eof(_) => Some(0),
        TicketWord::Error(_) => Some(1),
        TicketWord::Dead(_) => Some(2),
        _ => None,
    }
}

impl Parts {
    /// Those that were ever in use.
    pub(crate) fn used_tickets(&self) -> &[Ticket] {
        // ORD used:A, acquire; pairs with ticket:A; a ticket in use is below it.
        let used = self.header().counts.0.tickets_used.load(Acquire) as usize;
        &self.tickets()[..used.min(self.tickets().len())]
    }

    /// How many ends of each kind were collected.
    fn collected(&self) -> [&AtomicU64; 3] {
        let counts = &self.header().counts.0;
        [&counts.eofs, &counts.errors, &counts.deaths]
    }

    /// Open mirrors, and ends by EOF, by an error and by death: those that were collected, and what
    /// the tickets say.
    pub(crate) fn ends(&self) -> (u64, [u64; 3]) {
        // ORD counted:B, acquire; pairs with counted:A; as there.
        let collected = || self.collected().map(|count| count.load(Acquire));
        let mut before = collected();
        for _ in 0..LOOKS {
            let counted = self.count_ends(before);
            let now = collected();
            if now == before {
                return counted;
            }
            // One that was collected meanwhile may be in neither.
            before = now;
        }
        self.count_ends(before)
    }

    /// Seats that no process has opened or given up yet.
    pub(crate) fn kept_seats(&self) -> u64 {
        let is_kept = |ticket: &&Ticket| matches!(ticket.state(), Some(TicketWord::Reserved(_)));
        self.used_tickets().iter().filter(is_kept).count() as u64
    }

    fn count_ends(&self, collected: [u64; 3]) -> (u64, [u64; 3]) {
        let (mut live, mut ends) = (0, collected);
        for ticket in self.used_tickets() {
            let Some(state) = ticket.state() else { continue };
            let Some(kind) = kind_of_end(state) else {
                live += u64::from(matches!(state, TicketWord::Live(_)));
                continue;
            };
            // The reader that collected it may have died before it was free.
            let detail = ticket.detail.load(Relaxed);
            let is_in = detail & COUNTED != 0 && detail & !COUNTED <= collected[kind];
            ends[kind] = ends[kind].wrapping_add(u64::from(!is_in));
        }
        (live, ends)
    }
}

impl Segment {
    pub(crate) fn used_tickets(&self) -> &[Ticket] {
        self.parts().used_tickets()
    }

    /// Takes a free ticket: the first that `take` gets out of that state.
    fn take_ticket(
        &self,
        take: impl Fn(usize, &Ticket) -> Result<bool, MirrorError>,
    ) -> Result<u32, MirrorError> {
        let tickets = self.tickets();
        let counts = &self.header().counts.0;
        let first = counts.ticket_hint.load(Relaxed) as usize % tickets.len();
        for index in (first..tickets.len()).chain(0..first) {
            if tickets[index].word.load(Relaxed) != TicketWord::Free.pack() {
                continue;
            }
            // Before: a process that dies with a ticket that is not among the used ones leaves one
            // that is never clears.
            // ORD used:B, release; pairs with used:A; below it before it is taken.
            counts.tickets_used.fetch_max(index as u64 + 1, Release);
            if take(index, &tickets[index])? {
                counts.ticket_hint.store(index as u64 + 1, Relaxed);
                return Ok(index as u32);
            }
        }
        Err(MirrorError::TooManySeats { limit: tickets.len() })
    }

    /// Numbers for a new seat or mirror.
    pub(crate) fn next_serial(&self) -> u64 {
        self.header().counts.0.serial.fetch_add(1, Relaxed)
    }

    /// Keeps a seat, until `deadline` (monotonic milliseconds, 0 for ever). Some system calls.
    pub(crate) fn reserve(&self, label: Label, deadline: u64) -> Result<SeatId, MirrorError> {
        let probe = self.probe()?;
        let ticket = self.take_ticket(|index, entry| {
            // The lock first: one that is being made and has no lock is a dead one's. Shared, which
            // no process that may only read keeps away: of two makers the exchange of
            // the word takes one.
            let lock = lock_of_ticket(index);
            if !probe.share(lock).map_err(cannot("lock a seat"))? {
                return Ok(false);
            }
            let is_taken = entry.change(TicketWord::Free, TicketWord::Making);
            if !is_taken {
                probe.release(lock);
            }
            Ok(is_taken)
        })?;
        let serial = self.next_serial();
        let entry = &self.tickets()[ticket as usize];
        entry.set_label(label);
        entry.serial.store(serial, Relaxed);
        entry.detail.store(deadline, Relaxed);
        entry.change(TicketWord::Making, TicketWord::Reserved(serial));
        drop(probe);
        self.note_event();
        Ok(SeatId { ticket, serial })
    }

    /// Whether a ticket is being made into a seat, or was when its maker died.
    pub(crate) fn has_unmade_seats(&self) -> bool {
        self.used_tickets().iter().any(|ticket| ticket.state() == Some(TicketWord::Making))
    }

    /// Makes tickets free whose maker died before they were seats.
    pub(crate) fn clear_unmade_seats(&self, probe: &LockProbe) {
        for (index, ticket) in self.used_tickets().iter().enumerate() {
            let lock = lock_of_ticket(index);
            if ticket.state() == Some(TicketWord::Making) && matches!(probe.take(lock), Ok(true)) {
                if ticket.change(TicketWord::Making, TicketWord::Free) {
                    self.note_event();
                }
                probe.release(lock);
            }
        }
    }

    /// Gives a seat up; `false` if a process has opened it.
    pub(crate) fn cancel(&self, seat: SeatId) -> bool {
        let entry = &self.tickets()[seat.ticket as usize];
        let changed =
            entry.change(TicketWord::Reserved(seat.serial), TicketWord::Cancelled(seat.serial));
        self.note_event();
        changed
    }

    /// Makes a mirror live: in its seat's ticket if that is still kept, else in one of its own.
    pub(crate) fn go_live(
        &self,
        mirror: MirrorId,
        seat: Option<SeatId>,
        serial: u64,
        label: Label,
    ) -> Result<u32, MirrorError> {
        let ticket = match seat {
            Some(seat)
                if self.tickets()[seat.ticket as usize]
                    .change(TicketWord::Reserved(seat.serial), TicketWord::Live(mirror)) =>
            {
                seat.ticket
            }
            _ => {
                let opening = TicketWord::Opening(mirror);
                let ticket =
                    self.take_ticket(|_, entry| Ok(entry.change(TicketWord::Free, opening)))?;
                let entry = &self.tickets()[ticket as usize];
                entry.set_label(label);
                entry.serial.store(serial, Relaxed);
                entry.detail.store(0, Relaxed);
                entry.change(TicketWord::Opening(mirror), TicketWord::Live(mirror));
                ticket
            }
        };
        self.tickets()[ticket as usize].detail.store(PROCESS | Process::this().0, Relaxed);
        self.note_event();
        Ok(ticket)
    }

    /// Notes a live mirror's end. Safe to repeat; the first one counts.
    pub(crate) fn end_ticket(
        &self,
        ticket: u32,
        mirror: MirrorId,
        end: TicketWord,
        lines: LineNumber,
        dropped: u64,
    ) {
        let entry = &self.tickets()[ticket as usize];
        entry.lines.store(lines.get(), Relaxed);
        entry.dropped.store(dropped, Relaxed);
        if entry.change(TicketWord::Live(mirror), end) {
            self.note_event();
        }
    }

    /// Counts a mirror's end, which was accepted: no reader reports it any more. Reader only.
    ///
    /// What the count will be is noted first, for the next reader: this one may die in between.
    pub(crate) fn count_end(&self, ticket: u32) {
        let entry = &self.tickets()[ticket as usize];
        if let Some(count) = self.count_of(entry) {
            let with_it = count.load(Relaxed).wrapping_add(1) & !(PROCESS | COUNTED);
            entry.detail.store(COUNTED | with_it, Relaxed);
            // ORD counted:A, release; pairs with counted:B; a process that sees the count sees that
            // this one is in it.
            count.store(with_it, Release);
        }
    }

    /// Counts the end that the reader before this one died in the middle of counting: once another
    /// one was counted, what it noted is wrong.
    pub(crate) fn finish_counting(&self) {
        for entry in self.used_tickets().iter().filter(|entry| entry.is_counted()) {
            let with_it = entry.detail.load(Relaxed) & !(PROCESS | COUNTED);
            if let Some(count) = self.count_of(entry)
                && count.load(Relaxed).wrapping_add(1) & !(PROCESS | COUNTED) == with_it
            {
                // ORD counted:C, release; pairs with counted:B; as counted:A.
                count.store(with_it, Release);
            }
        }
    }

    /// Makes a ticket free whose end was accepted, and of which no line is in the ring that was
    /// not. Reader only.
    ///
    /// Its number and label stay until it is taken anew: observers of old lines find them there.
    pub(crate) fn free_ticket(&self, ticket: u32) {
        let entry = &self.tickets()[ticket as usize];
        // ORD ticket:C, release; pairs with ticket:A; the process that takes it next sees that its
        // end is counted.
        entry.word.store(TicketWord::Free.pack(), Release);
        self.header().counts.0.ticket_hint.fetch_min(u64::from(ticket), Relaxed);
    }

    /// The count of ends such as this ticket's.
    fn count_of(&self, ticket: &Ticket) -> Option<&AtomicU64> {
        kind_of_end(ticket.state()?).map(|kind| self.parts().collected()[kind])
    }

    /// Whether no process has opened a seat or given it up.
    pub(crate) fn is_kept(&self, seat: SeatId) -> bool {
        self.tickets()[seat.ticket as usize].state() == Some(TicketWord::Reserved(seat.serial))
    }

    /// Tells the reader that tickets have changed, and wakes it.
    pub(crate) fn note_event(&self) {
        count_event(self.event_count());
        crate::segment::wake::wake_reader(self);
    }

    pub(crate) fn events(&self) -> u64 {
        // ORD event:B, acquire; pairs with event:A; as there.
        self.event_count().load(Acquire)
    }

    pub(crate) fn event_count(&self) -> &AtomicU64 {
        &self.header().counts.0.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::Options;

    /// The last one of a table: no later one makes up for it.
    #[test]
    fn a_ticket_is_among_those_that_are_looked_at_before_it_is_somebodys() {
        let segment = Segment::anonymous(&Options::new().seats(1).mirrors(1)).expect("a segment");
        for _ in 0..segment.tickets().len() {
            let taken = segment.take_ticket(|index, ticket| {
                assert!(
                    index < segment.used_tickets().len(),
                    "a process that dies now leaves a ticket that is never cleared"
                );
                Ok(ticket.change(TicketWord::Free, TicketWord::Making))
            });
            assert!(taken.is_ok());
        }
        assert!(matches!(
            segment.take_ticket(|_, _| Ok(true)),
            Err(MirrorError::TooManySeats { .. })
        ));
    }
}
