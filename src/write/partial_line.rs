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
