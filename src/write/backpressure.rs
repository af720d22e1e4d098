//! Backpressure: writers on a full ring.
//!
//! Every sleep is short and timed only so that a wake-up that was lost with a killed process costs
//! one period, and so that a sleeping writer notices that the reader has died.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use crate::error::WriteError;
use crate::layout::sync::Ordering;
use crate::layout::{Position, READER_CELL};
use crate::segment::Segment;
use crate::segment::wake::WAKE_THRESHOLD;
use crate::sys::futex::{self, PERIOD};

use Ordering::Relaxed;

/// How often a writer of a full ring asks whether the reader is alive, in periods.
const ASK_EVERY: u32 = 8;

/// What a program does around a sleep; see [`set_blocking_hook`].
type BlockingHook = fn(&mut dyn FnMut()) -> ControlFlow<()>;

static BLOCKING_HOOK: OnceLock<BlockingHook> = OnceLock::new();

/// Has `around` called for each sleep of a writer on a full ring, in the writer's thread; it calls
/// its argument, which sleeps for some milliseconds at most. For programs that hold a lock while
/// they write, which others need meanwhile: an interpreter's. If it gives [`ControlFlow::Break`]
/// the write is given up, with [`WriteError::Cancelled`].
///
/// For the whole process and for good: `false`, and nothing is done, the second time.
pub fn set_blocking_hook(around: fn(&mut dyn FnMut()) -> ControlFlow<()>) -> bool {
    BLOCKING_HOOK.set(around).is_ok()
}

/// One writer's wait for space, over as many refusals as it takes.
#[derive(Debug)]
pub(crate) struct SpaceWait<'w> {
    /// The writer has waited for a reader before, and in vain: once is enough. How far the last
    /// one had come.
    gone: &'w mut Option<Position>,
    /// Refused here, it found room further on and tried again.
    found_room: Option<Position>,
    began: Option<Instant>,
    without_reader: Option<Instant>,
    /// How far the reader was at the last look.
    read: Option<Position>,
    periods: u32,
    backoff: Backoff,
}

impl<'w> SpaceWait<'w> {
    pub(crate) fn new(gone: &'w mut Option<Position>) -> Self {
        Self {
            read: *gone,
            gone,
            found_room: None,
            began: None,
            without_reader: None,
            periods: 0,
            backoff: Backoff::new(),
        }
    }

    /// Waits until there may be space at `position`.
    ///
    /// # Errors
    ///
    /// [`WriteError::TimedOut`], [`WriteError::ReaderGone`], [`WriteError::OwnReader`] and
    /// [`WriteError::Cancelled`], when that is so.
    pub(crate) fn wait(&mut self, segment: &Segment, position: Position) -> Result<(), WriteError> {
        if segment.is_cut() {
            return Err(WriteError::CutShort);
        }
        if segment.read_by.is_only_here() {
            return Err(WriteError::OwnReader);
        }
        if self.gone.is_some() {
            self.periods = 0;
            self.check_for_reader(segment)?;
        }
        // Not for one free place: a writer that follows at the reader's heels fights it for every
        // word. Should the reader be slow, a period is the most that this costs.
        let mut roomy =
            position.plus((segment.ring().shape.positions() / WAKE_THRESHOLD).saturating_sub(1));
        if let Some(refused) = self.found_room.take() {
            // At the same position again: the words further on are damaged, for a reader frees one
            // after the other.
            if refused == position {
                roomy = position;
            }
            // A writer that is refused over and over comes to the limits below.
            self.backoff.snooze();
        }
        while !self.backoff.is_completed() {
            if !segment.ring().is_full_at(roomy) {
                self.found_room = Some(position);
                return Ok(());
            }
            self.backoff.snooze();
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let limit = Duration::from_millis(segment.geometry().block_limit);
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(WriteError::TimedOut(limit));
        }
        let space = &segment.header().space.0;
        // ORD space:B, SeqCst; pairs with space:A; either the reader sees that a writer sleeps, or
        // full:A sees the room.
        let value = space.fetch_or(1, Ordering::SeqCst) | 1;
        if segment.ring().is_full_at(roomy) {
            // A signal ends the sleep early, which is harmless: the caller looks again.
            let mut sleep = || {
                let _ = futex::wait(space, value, left.min(PERIOD));
            };
            match BLOCKING_HOOK.get() {
                None => sleep(),
                Some(around) => {
                    if around(&mut sleep).is_break() {
                        return Err(WriteError::Cancelled);
                    }
                }
            }
            self.check_for_reader(segment)?;
        } else {
            self.found_room = Some(position);
        }
        Ok(())
    }

    /// Every few periods: is there a reader, or has there been one within the grace time?
    fn check_for_reader(&mut self, segment: &Segment) -> Result<(), WriteError> {
        self.periods += 1;
        if self.periods % ASK_EVERY != 1 {
            return Ok(());
        }
        // To a process that cannot ask, say because it has closed the ring's descriptor, a reader
        // lives that goes on.
        let read = Position(segment.header().read_position.0.load(Relaxed));
        let lives =
            segment.has_owner(READER_CELL).ok().flatten().unwrap_or(self.read != Some(read));
        self.read = Some(read);
        // It may have handed the reader on, so it too has the time that there may be none.
        let is_own = lives && segment.read_by.is_here();
        if lives && !is_own {
            self.without_reader = None;
            *self.gone = None;
            return Ok(());
        }
        let grace = Duration::from_millis(segment.geometry().reader_grace);
        let has_waited = if is_own { *self.gone == Some(read) } else { self.gone.is_some() };
        if has_waited || self.without_reader.get_or_insert_with(Instant::now).elapsed() >= grace {
            *self.gone = Some(read);
            let error = WriteError::ReaderGone(grace);
            return Err(if is_own { WriteError::OwnReader } else { error });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layout::OrderEntry;
    use crate::registry::cell::MirrorKind;
    use crate::segment::options::Options;
    use crate::write::writer::{Style, Writer};

    #[test]
    fn a_full_ring_in_which_a_later_place_seems_free_keeps_a_writer_no_longer_than_its_limit() {
        let limit = Duration::from_millis(1);
        let options = Options::new().lines(8).block_limit(limit);
        let segment = Arc::new(Segment::anonymous(&options).expect("a segment"));
        let mut writer = Writer::new(&segment, MirrorKind::Unlisted).expect("a cell");
        for _ in 0..8 {
            writer.line(b"line", Style::default()).expect("room");
        }
        // The place that the writer waits for.
        segment.ring().order[1].store(OrderEntry::free(1, 1).0, Relaxed);
        let written = writer.line(b"one too many", Style::default());
        assert!(matches!(written, Err(WriteError::TimedOut(_))), "{written:?}");
    }
}
