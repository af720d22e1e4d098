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
    /// Bytes of the line that were stored, and bytes that were not.
    pub(super) stored: u64,
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
}

impl Unfinished {
    /// None yet. A line of fewer than `short_below` bytes goes the short way where none is
    /// unfinished.
    pub(super) fn none(short_below: usize) -> Self {
        Self { line: None, short_below, usually: short_below }
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
    pub(super) fn get_mut(&mut self) -> Option<&mut PartialLine> {
        self.line.as_mut()
    }

    #[inline]
    pub(super) fn set(&mut self, line: PartialLine) {
        (self.line, self.short_below) = (Some(line), 0);
    }

    /// There is none any more.
    #[inline]
    pub(super) fn take(&mut self) -> Option<PartialLine> {
        self.short_below = self.usually;
        self.line.take()
    }
}
