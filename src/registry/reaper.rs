//! Looking for dead mirrors: the kernel gives their cells' locks away.

use std::collections::HashMap;
use std::io;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::WaitIdOptions;

use crate::error::{MirrorError, ReadError, SystemError};
use crate::exchange::Refused;
use crate::exchange::settle::publish_last_words;
use crate::layout::sync::Ordering;
use crate::layout::{Cell, LineNumber, MirrorId, Owner, Position, READER_CELL, Ticket, TicketWord};
use crate::segment::Segment;
use crate::segment::options::Policy;
use crate::sys::process::peek_exit_status;

use Ordering::{Acquire, Relaxed};

/// How often the locks of live mirrors are tried.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In how many rounds a dead cell that cannot be settled is tried: other mirrors that move settle
/// it in the next one, so after these it is damaged.
const MOST_ROUNDS: u32 = 64;
/// In how many looks on end a reader without a free descriptor puts up with not being able to prove
/// a death.
const MOST_WANTS: u32 = 20;
/// How often, and after what time each, a dead child is looked at that has not exited yet.
const EXIT_LOOKS: u32 = 20;
const EXIT_EVERY: Duration = Duration::from_millis(1);

/// The reader's memory of its looks.
#[derive(Debug)]
pub(crate) struct Reaper {
    looked: Instant,
    /// Looks on end that saw a death and had no descriptor to prove it with.
    wants: u32,
    /// Dead cells of which nothing decides what their slot is, and in how many rounds that was so.
    unsettled: HashMap<usize, u32>,
}

/// What became of a dead cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReapOutcome {
    /// Its last words are published, its end is noted, and it is free.
    Done,
    /// The ring is full: its last words have to wait.
    Full,
    /// What slot it owns is not decided: too much is moving, or its words are damaged. Try again
    /// later.
    Unsettled,
}

/// Ends a dead mirror. The caller holds the lock of its cell, and keeps it.
pub(crate) fn reap_cell(segment: &Segment, index: usize) -> ReapOutcome {
    match publish_last_words(segment.ring(), segment.cells(), index, segment.mode()) {
        Ok(true) => drop(crate::segment::wake::wake_reader(segment)),
        Ok(false) => {}
        // No writer waits for room there.
        Err(Refused::Full(_)) if segment.policy() == Policy::DropNewest => {
            drop_last_words(&segment.cells()[index]);
        }
        Err(Refused::Full(position)) if is_unread(segment, position) => return ReapOutcome::Full,
        // The entry is damaged.
        Err(Refused::Full(_)) => return ReapOutcome::Unsettled,
        Err(Refused::Damaged) => return ReapOutcome::Unsettled,
    }
    let end = note_death(segment, index);
    let keeps_error = matches!(end, Some(TicketWord::Error(_)));
    segment.cells()[index].set_owner(if keeps_error { Owner::KeepsError } else { Owner::Free });
    ReapOutcome::Done
}

/// Whether the line that stands a lap before `position` is still to be read: an entry is freed
/// before a reader says that it was.
fn is_unread(segment: &Segment, position: Position) -> bool {
    // ORD read:F, acquire; pairs with read:A; the entries before it were freed.
    let accepted = Position(segment.header().read_position.0.load(Acquire));
    !position.minus(segment.ring().shape.positions()).is_before(accepted)
}

/// Ends a dead mirror whose words make no sense: its last ones are lost, and its cell is free
/// any more. The caller holds the lock of its cell.
pub(crate) fn abandon_cell(segment: &Segment, index: usize) {
    let _ = note_death(segment, index);
    segment.cells()[index].set_owner(Owner::KeepsError);
}

/// Gives what its ticket says of its end, which may be more than that it died.
fn note_death(segment: &Segment, index: usize) -> Option<TicketWord> {
    let cell = &segment.cells()[index];
    let epoch = LineNumber::new(cell.reader.0.epoch.load(Relaxed));
    let mirror = MirrorId { cell: index as u16, epoch };
    let (live, error) = (TicketWord::Live(mirror), TicketWord::Error(mirror));
    let states = segment.used_tickets().iter().map(Ticket::state).enumerate();
    let (index, state) =
        states.into_iter().find(|(_, state)| [Some(live), Some(error)].contains(state))?;
    if state == Some(live) {
        let dropped = cell.writer.0.dropped.load(Relaxed);
        segment.end_ticket(
            index as u32,
            mirror,
            TicketWord::Dead(mirror),
            cell.pending().line,
            dropped,
        );
    }
    state
}

/// As its writer would have done with a line for which there is no room.
fn drop_last_words(cell: &Cell) {
    cell.count_dropped();
    cell.set_pending(cell.pending().line.next(), 0);
}

/// Whether something was scarce that there may be again.
fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

impl Reaper {
    /// The first look is not put off: a process that becomes the reader after a crash finds the
    /// dead at once.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            looked: now.checked_sub(LOOK_EVERY).unwrap_or(now),
            wants: 0,
            unsettled: HashMap::new(),
        }
    }

    /// Tries the locks of cells that may be dead and ends those that are; `None` if that was done
    /// just now.
    ///
    /// Without a free descriptor it proves no death until there is one again, and says so after
    /// some seconds of that.
    pub(crate) fn poll(&mut self, segment: &Segment) -> Option<Result<(), ReadError>> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        Some(self.look(segment))
    }

    /// The same, also if that was done just now.
    pub(crate) fn look(&mut self, segment: &Segment) -> Result<(), ReadError> {
        self.looked = Instant::now();
        self.try_locks(segment)
    }

    fn try_locks(&mut self, segment: &Segment) -> Result<(), ReadError> {
        let may_be_seats = segment.has_unmade_seats();
        // Asked first, which needs no new descriptor: most of the time all of them live.
        let cells = segment.cells();
        let dead = segment.without_owner(
            (READER_CELL + 1..cells.len()).filter(|index: &usize| cells[*index].may_be_owned()),
        )?;
        if !may_be_seats && dead.is_empty() {
            return Ok(());
        }
        let probe = match segment.probe() {
            Ok(probe) => probe,
            Err(MirrorError::System(SystemError { error, .. }))
                if is_want(&error) && self.wants < MOST_WANTS =>
            {
                self.wants += 1;
                return Ok(());
            }
            Err(error) => {
                self.wants = 0;
                return Err(error.into());
            }
        };
        self.wants = 0;
        if may_be_seats {
            segment.clear_unmade_seats(&probe);
        }
        for index in dead {
            // An answer proves nothing; that the cell is taken does.
            if !matches!(segment.take_cell(&probe, index), Ok(true)) {
                continue;
            }
            // Again, under the lock.
            if segment.cells()[index].may_be_owned() {
                self.reap_cell(segment, index);
            }
            segment.release_cell(&probe, index);
        }
        Ok(())
    }

    fn reap_cell(&mut self, segment: &Segment, index: usize) {
        let outcome = reap_cell(segment, index);
        if outcome == ReapOutcome::Done {
            self.unsettled.remove(&index);
            return;
        }
        // At once again: where the ring was full, the next lines are taken by then.
        self.looked -= LOOK_EVERY;
        if outcome == ReapOutcome::Unsettled {
            let rounds = self.unsettled.entry(index).or_default();
            *rounds += 1;
            if *rounds == MOST_ROUNDS {
                abandon_cell(segment, index);
                self.unsettled.remove(&index);
            }
        }
    }
}

/// How the dead owner of a ticket exited, if it was a child of this process that was not awaited,
/// or by a pool of this process.
pub(crate) fn exit_of(segment: &Segment, ticket: u32) -> Option<ExitStatus> {
    let process = segment.tickets()[ticket as usize].process()?;
    for _ in 0..EXIT_LOOKS {
        // Not if another has its number by now, nor if it lives on as another program.
        let Some(is_ending) = process.is_ending() else { return process.remembered_exit() };
        match peek_exit_status(process.number(), WaitIdOptions::NOHANG) {
            Ok(None) => {}
            Ok(known) => return known,
            // It is no child of this process, or was awaited just now.
            Err(_) => return process.remembered_exit(),
        }
        if !is_ending {
            return None;
        }
        // Its lock is gone a moment before its parent can know.
        thread::sleep(EXIT_EVERY);
    }
    None
}
