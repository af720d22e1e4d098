//! One mirror's spare and line numbers: parts go from here into the ring.

use core::ptr;
use std::sync::Arc;

use super::backpressure::SpaceWait;
use crate::error::{MirrorError, WriteError};
use crate::exchange::{Refused, Spare};
use crate::layout::sync::Ordering;
use crate::layout::{Cell, LineNumber, Owner, Position, SlotHeader, flag};
use crate::line::item::{Kind, Level, Stream};
use crate::registry::cell::{MirrorKind, Registration, register};
use crate::segment::Segment;
use crate::segment::options::Policy;
use crate::segment::wake::wake_reader;

use Ordering::Relaxed;

/// What a writer says about its lines, as headers have it. As large as a register, so that one
/// instruction loads it.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Style {
    /// Stream and kind, where the flags have them.
    flags: u32,
    level: u16,
    tag: u16,
}

impl Default for Style {
    fn default() -> Self {
        Self { flags: 0, level: 0, tag: 0 }
            .stream(Stream::default())
            .kind(Kind::default())
            .level(Level::default())
    }
}

impl Style {
    #[must_use]
    pub(crate) const fn stream(self, stream: Stream) -> Self {
        let others = self.flags & !(3 << flag::STREAM_SHIFT);
        Self { flags: others | (stream as u32) << flag::STREAM_SHIFT, ..self }
    }

    #[must_use]
    pub(crate) const fn kind(self, kind: Kind) -> Self {
        let others = self.flags & !(7 << flag::KIND_SHIFT);
        Self { flags: others | (kind as u32) << flag::KIND_SHIFT, ..self }
    }

    #[must_use]
    pub(crate) const fn level(self, level: Level) -> Self {
        Self { level: level as u16, ..self }
    }

    #[must_use]
    pub(crate) const fn tag(self, tag: u16) -> Self {
        Self { tag, ..self }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its last part is in the ring.
    Published,
    /// Some parts are, the last one is not: the reader delivers it as truncated, so it is not lost.
    Cut,
    /// No part is.
    Lost,
}

/// What became of a spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Published,
    /// The ring is full and its policy is to drop.
    Dropped,
}

/// Which part of its line is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Others follow.
    Inner,
    /// The line is complete with it, and the next one has the next number.
    Last,
}

/// A registered mirror, as the exchange knows it.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) registration: Registration,
    pub(super) spare: Spare,
    /// The number of the line that is unfinished or comes next.
    pub(super) line: LineNumber,
    /// The last line found no room and no reader: how far the last reader had come.
    reader_was_gone: Option<Position>,
    /// The mirror's cell, in the mapping that `segment` keeps.
    pub(super) cell: &'static Cell,
    /// Dropped after the lock on the cell, which the registration has.
    pub(super) segment: Arc<Segment>,
}

impl Publisher {
    pub(super) fn new(segment: &Arc<Segment>, entry: MirrorKind) -> Result<Self, MirrorError> {
        let (registration, spare) = register(segment, entry)?;
        let line = registration.mirror.epoch;
        let segment = Arc::clone(segment);
        // SAFETY: it lies in the segment's mapping, which lives as long as `segment`; that is
        // dropped with this value, and no longer reference to the cell is given out.
        let cell = unsafe { &*ptr::from_ref(registration.cell(&segment)) };
        Ok(Self { registration, spare, line, reader_was_gone: None, cell, segment })
    }

    /// The mirror's cell.
    #[inline]
    pub(super) fn cell(&self) -> &Cell {
        self.cell
    }

    /// Gives the cell back; see [`Registration::leave`].
    pub(super) fn leave(&mut self, owner: Owner) {
        self.registration.leave(&self.segment, owner);
    }

    /// The time of a line's first byte, as its header has it.
    #[inline]
    pub(super) fn stamp(&self) -> u64 {
        if self.segment.stamps() {
            let created = self.segment.geometry().created;
            1 + crate::sys::clock::since_1970().saturating_sub(created) / 1000
        } else {
            0
        }
    }

    #[inline]
    pub(super) fn header(
        &self,
        style: Style,
        time: u64,
        part: u32,
        length: usize,
        flags: u32,
    ) -> SlotHeader {
        SlotHeader {
            position: Position::default(),
            time,
            tag: style.tag,
            line: self.line,
            cell: self.registration.mirror.cell,
            level: style.level as u8,
            part,
            length: length as u16,
            flags: flags | style.flags,
        }
    }

    /// Publishes the spare, waiting for space if that is the ring's policy.
    ///
    /// What the spare held is not pending any more from the exchange on. Were that noted only after
    /// the new spare is held, the process that finds this writer dead could take an older part of
    /// the same line, in the new spare, for its last words.
    pub(super) fn publish(&mut self, part: Part) -> Result<Outcome, WriteError> {
        match self.try_publish_any(part) {
            Ok(()) => self.published(),
            Err(refused) => self.publish_later(part, refused),
        }
    }

    #[inline]
    fn try_publish_any(&mut self, part: Part) -> Result<(), Refused> {
        if self.segment.ring().shape.has_checks() {
            self.try_publish::<true>(part)
        } else {
            self.try_publish::<false>(part)
        }
    }

    #[inline(always)]
    fn try_publish<const CHECKS: bool>(&mut self, part: Part) -> Result<(), Refused> {
        let (cell, line) = (self.cell, self.line.plus(u64::from(part == Part::Last)));
        let (hold, mode) = (&cell.writer.0.hold, self.segment.mode());
        let then = || cell.set_pending(line, 0);
        let (ring, spare) = (self.segment.ring(), &mut self.spare);
        if ring.publish_next::<CHECKS>(hold, spare, mode, then).is_some() {
            return Ok(());
        }
        ring.publish_at_tail::<CHECKS>(hold, spare, mode, then).map(drop)
    }

    #[cold]
    fn publish_later(&mut self, part: Part, refused: Refused) -> Result<Outcome, WriteError> {
        self.segment.header().counts.0.found_full.fetch_add(1, Relaxed);
        let mut gone = self.reader_was_gone;
        let mut wait = SpaceWait::new(&mut gone);
        let result = self.publish_when_there_is_space(part, refused, &mut wait);
        self.reader_was_gone = gone.filter(|_| result.is_err());
        result
    }

    fn publish_when_there_is_space(
        &mut self,
        part: Part,
        mut refused: Refused,
        wait: &mut SpaceWait<'_>,
    ) -> Result<Outcome, WriteError> {
        loop {
            match refused {
                Refused::Damaged if self.segment.is_cut() => return Err(WriteError::CutShort),
                Refused::Damaged => return Err(WriteError::Damaged),
                Refused::Full(_) if self.segment.policy() == Policy::DropNewest => {
                    return Ok(Outcome::Dropped);
                }
                Refused::Full(position) => wait.wait(&self.segment, position)?,
            }
            match self.try_publish_any(part) {
                Ok(()) => return self.published(),
                Err(again) => refused = again,
            }
        }
    }

    /// Publishes the spare, in which a line stands that has no other parts, and is not `unfinished`
    /// any more.
    // All that a whole line needs is to be one piece of code: a call costs as much as the
    // exchange's own steps.
    #[inline(always)]
    pub(super) fn publish_line<const CHECKS: bool>(&mut self) -> Result<(), WriteError> {
        match self.try_publish::<CHECKS>(Part::Last) {
            Ok(()) => {
                let is_whole = wake_reader(&self.segment);
                self.line = self.line.next();
                if is_whole { Ok(()) } else { Err(WriteError::CutShort) }
            }
            Err(refused) => self.line_later(refused),
        }
    }

    /// The same for one that was refused at first.
    #[cold]
    #[inline(never)]
    fn line_later(&mut self, refused: Refused) -> Result<(), WriteError> {
        let outcome = self.publish_later(Part::Last, refused);
        let published = matches!(outcome, Ok(Outcome::Published));
        self.end_line(if published { Fate::Published } else { Fate::Lost });
        outcome.map(drop)
    }

    /// The line has its number for good, and `fate` says what became of it.
    pub(super) fn end_line(&mut self, fate: Fate) {
        self.line = self.line.next();
        if fate == Fate::Published {
            return;
        }
        let cell = self.cell();
        if fate == Fate::Lost {
            cell.count_dropped();
        }
        cell.set_pending(self.line, 0);
    }

    fn published(&self) -> Result<Outcome, WriteError> {
        if wake_reader(&self.segment) { Ok(Outcome::Published) } else { Err(WriteError::CutShort) }
    }
}
