//! Looking for dead mirrors: the kernel gives their cells' locks away.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::{MirrorError, ReadError};
use crate::fork;
use crate::layout::{Cell, MirrorId, Owner, READER_CELL, TicketWord};
use crate::recover::publish_last_words;
use crate::ring::Refused;
use crate::segment::Segment;
use crate::sync::Ordering;

use Ordering::Relaxed;

/// How often the locks of live mirrors are tried.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In how many rounds a dead cell that cannot be settled is tried: others who move settle it in the next one, so
/// after these it is damaged.
const MOST_ROUNDS: u32 = 64;

/// The reader's memory of its looks.
#[derive(Debug)]
pub(crate) struct Deaths {
    looked: Instant,
    /// Dead cells of which nothing decides what their slot is, and in how many rounds that was so.
    unsettled: HashMap<usize, u32>,
}

/// What became of a dead cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burial {
    /// Its last words are published, its end is noted, and it is free.
    Done,
    /// The ring is full: its last words have to wait.
    Full,
    /// What slot it owns is not decided: too much is moving, or its words are damaged. Try again later.
    Unsettled,
}

/// Ends a dead mirror. The caller holds the lock of its cell, and keeps it.
pub(crate) fn bury(segment: &Segment, index: usize) -> Burial {
    match publish_last_words(segment.ring(), segment.cells(), index, segment.overwrites()) {
        Ok(true) => crate::wait::wake_reader(segment),
        Ok(false) => {}
        Err(Refused::Full(_)) => return Burial::Full,
        Err(Refused::Damaged) => return Burial::Unsettled,
    }
    note_death(segment, index);
    segment.cells()[index].set_owner(Owner::Free);
    Burial::Done
}

/// Ends a dead mirror whose words make no sense: its last ones are lost, and its cell is nobody's any more. The caller
/// holds the lock of its cell.
pub(crate) fn give_up(segment: &Segment, index: usize) {
    note_death(segment, index);
    segment.cells()[index].set_owner(Owner::KeepsError);
}

fn note_death(segment: &Segment, index: usize) {
    let cell = &segment.cells()[index];
    let mirror = MirrorId { cell: index as u16, epoch: cell.reader.0.epoch.load(Relaxed) };
    let listed = segment.tickets().iter().position(|ticket| ticket.state() == Some(TicketWord::Live(mirror)));
    if let Some(ticket) = listed {
        let dropped = cell.writer.0.dropped.load(Relaxed);
        segment.end_ticket(ticket as u32, mirror, TicketWord::Dead(mirror), cell.pending().line, dropped);
    }
}

/// Anything but the words of a cell that nobody has.
fn may_be_dead(cell: &Cell) -> bool {
    !matches!(cell.owner(), Some(Owner::Free | Owner::KeepsError))
}

impl Deaths {
    /// The first look is not put off: who becomes the reader after a crash finds the dead at once.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { looked: now.checked_sub(LOOK_EVERY).unwrap_or(now), unsettled: HashMap::new() }
    }

    /// Tries the locks of cells that may be dead and ends those that are; `None` if that was done just now.
    ///
    /// Without a free descriptor it does nothing: deaths are seen once there is one again.
    pub(crate) fn look(&mut self, segment: &Segment) -> Option<Result<(), ReadError>> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        Some(self.try_locks(segment))
    }

    fn try_locks(&mut self, segment: &Segment) -> Result<(), ReadError> {
        let may_be_seats = segment.has_unmade_seats();
        if !may_be_seats && !segment.cells().iter().skip(READER_CELL + 1).any(may_be_dead) {
            return Ok(());
        }
        let _no_fork = fork::no_fork();
        let prober = match segment.prober() {
            Ok(prober) => prober,
            Err(error @ MirrorError::DescriptorClosed { .. }) => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        if may_be_seats {
            segment.clear_unmade_seats(&prober);
        }
        for (index, cell) in segment.cells().iter().enumerate().skip(READER_CELL + 1) {
            if !may_be_dead(cell) || !matches!(prober.take(index as u64), Ok(true)) {
                continue;
            }
            // Again, under the lock.
            if may_be_dead(cell) {
                self.bury(segment, index);
            }
            prober.release(index as u64);
        }
        Ok(())
    }

    fn bury(&mut self, segment: &Segment, index: usize) {
        let burial = bury(segment, index);
        if burial == Burial::Done {
            self.unsettled.remove(&index);
            return;
        }
        // At once again: where the ring was full, the next lines are taken by then.
        self.looked -= LOOK_EVERY;
        if burial == Burial::Unsettled {
            let rounds = self.unsettled.entry(index).or_default();
            *rounds += 1;
            if *rounds == MOST_ROUNDS {
                give_up(segment, index);
                self.unsettled.remove(&index);
            }
        }
    }
}
