//! What a writer knows of the line that it has begun: `partial` puts it together.

use super::publisher::Style;

/// A line that has begun and not ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartialLine {
    pub(super) style: Style,
    /// Its place among all unfinished lines, in a [`LineBuffer`](crate::LineBuffer).
    pub(super) order: u64,
    pub(super) time: u64,
    /// Parts published, and bytes in the spare.
    pub(super) parts: u32,
    pub(super) at: usize,
    /// Bytes of the line before those, and bytes that were not stored.
    pub(super) before: u64,
    pub(super) cut: u64,
    /// A part could not be published: all that follows is cut.
    pub(super) cutting: bool,
    /// The sum of what is in the spare, where slots have checksums.
    pub(super) sum: u32,
}

impl PartialLine {
    /// Whether all of it stands in the spare.
    #[inline]
    pub(super) fn is_one_part(&self) -> bool {
        self.parts == 0 && self.cut == 0
    }
}

/// The line that a writer has begun, if there is one.
#[derive(Debug)]
pub(super) struct Unfinished {
    line: Option<PartialLine>,
    /// A line of fewer bytes is one copy and one exchange: none is while another is unfinished.
    short_below: usize,
    /// The same when no line is unfinished.
    usually: usize,
    /// A piece of no more bytes, without an end, is one copy: none is where no line is unfinished.
    room: usize,
    /// What is left for pieces after the line's `at` bytes is this less them: `fits`, or 0 where
    /// they cannot be that, since slots have checksums or a `\r` has a meaning.
    fits: usize,
}

impl Unfinished {
    /// None yet. A line of `fits` bytes is one slot; it goes the short way where none is unfinished
    /// if that is `short`, and so does a piece if it is `has_plain_pieces`.
    pub(super) fn none(fits: usize, short: bool, has_plain_pieces: bool) -> Self {
        let usually = if short { fits + 1 } else { 0 };
        let fits = if has_plain_pieces { fits } else { 0 };
        Self { line: None, short_below: usually, usually, room: 0, fits }
    }

    /// Whether a whole line of so many bytes goes the short way now. One comparison: each line
    /// asks.
    #[inline]
    pub(super) fn lets_by(&self, bytes: usize) -> bool {
        bytes < self.short_below
    }

    #[inline]
    pub(super) fn get(&self) -> Option<&PartialLine> {
        self.line.as_ref()
    }

    #[inline]
    pub(super) fn set(&mut self, line: PartialLine) {
        self.room = if line.is_one_part() { self.fits.saturating_sub(line.at) } else { 0 };
        (self.line, self.short_below) = (Some(line), 0);
    }

    /// Whether a piece of so many bytes goes the short way, if it has no end. One comparison.
    #[inline(always)]
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.room
    }

    /// Counts such a piece: where it begins, and where it ends.
    #[inline(always)]
    pub(super) fn add(&mut self, bytes: usize) -> Option<(usize, usize)> {
        let line = self.line.as_mut()?;
        let at = line.at;
        line.at += bytes;
        self.room -= bytes;
        Some((at, line.at))
    }

    /// There is none any more.
    #[inline]
    pub(super) fn take(&mut self) -> Option<PartialLine> {
        (self.short_below, self.room) = (self.usually, 0);
        self.line.take()
    }
}
