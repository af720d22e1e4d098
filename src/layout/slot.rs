//! A slot's header.

use super::{LineNumber, Position};

/// Words of a slot's header.
pub(crate) const SLOT_HEADER_WORDS: usize = 4;

/// Bytes of a slot's header, without the word of its checksum.
pub(crate) const SLOT_HEADER_BYTES: usize = SLOT_HEADER_WORDS * 8;

/// The word of a slot's header that says which line of which cell it has.
pub(crate) const SOURCE_WORD: usize = 2;

/// The word of a slot that has its checksum, where slots have one; the payload comes after it.
pub(crate) const CHECK_WORD: usize = SLOT_HEADER_WORDS;

/// A slot's header: what line, or part of a line, it holds.
///
/// ```text
/// word 0  position:64
/// word 1  time:48 | tag:16
/// word 2  line:48 | cell:12 | level:4
/// word 3  part:24 | length:16 | flags:24
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotHeader {
    /// Where the part stands in the one order. While a line is unfinished: its place
    /// in the order in which they were begun, if its writer has no ticket.
    pub(crate) position: Position,
    /// 1 + microseconds from the segment's creation to the line's first byte; 0 for none.
    pub(crate) time: u64,
    pub(crate) tag: u16,
    pub(crate) line: LineNumber,
    pub(crate) cell: u16,
    pub(crate) level: u8,
    /// Counts the parts of a line from 0.
    pub(crate) part: u32,
    /// Bytes of payload.
    pub(crate) length: u16,
    pub(crate) flags: u32,
}

/// Flags of a slot.
pub(crate) mod flag {
    /// The first part of its line. With a line number that is already being put together: start
    /// anew.
    pub(crate) const FIRST: u32 = 1;
    /// The last part of its line.
    pub(crate) const LAST: u32 = 1 << 1;
    /// The writer cut the line; the last 8 bytes of the last part are the number of bytes it left
    /// out.
    pub(crate) const TRUNCATED: u32 = 1 << 2;
    /// The line has no end.
    pub(crate) const UNFINISHED: u32 = 1 << 3;
    /// Published by another process after its writer died; its `write` never returned.
    pub(crate) const UNACKNOWLEDGED: u32 = 1 << 4;
    /// The line is void, with whatever came of it before.
    pub(crate) const FORGOTTEN: u32 = 1 << 5;
    /// In each part of a line of several: its number was that of a line before it, of which parts
    /// were published that are void. A reader that skipped positions cannot know whether parts from
    /// before them are of the same line; with a part without this flag they are.
    pub(crate) const ANEW: u32 = 1 << 6;
    /// Two bits: a [`Stream`](crate::Stream)'s number.
    pub(crate) const STREAM_SHIFT: u32 = 8;
    /// Three bits: a [`Kind`](crate::Kind)'s number.
    pub(crate) const KIND_SHIFT: u32 = 12;
}

impl SlotHeader {
    #[inline]
    pub(crate) fn time_word(&self) -> u64 {
        self.time << 16 | u64::from(self.tag)
    }
    #[inline]
    pub(crate) fn line_word(&self) -> u64 {
        self.line.word() | u64::from(self.cell & 0xfff) << 4 | u64::from(self.level & 0xf)
    }
    #[inline]
    pub(crate) fn part_word(&self) -> u64 {
        u64::from(self.part) << 40 | u64::from(self.length) << 24 | u64::from(self.flags)
    }
    #[inline]
    pub(crate) fn unpack(words: [u64; SLOT_HEADER_WORDS]) -> Self {
        let [position, time, line, part] = words;
        Self {
            position: Position(position),
            time: time >> 16,
            tag: time as u16,
            line: Self::cell_and_line(line).1,
            cell: Self::cell_and_line(line).0,
            level: (line & 0xf) as u8,
            part: (part >> 40) as u32,
            length: Self::length_of(part) as u16,
            flags: (part & 0xff_ffff) as u32,
        }
    }
    /// What the third word says.
    #[inline]
    pub(crate) fn cell_and_line(word: u64) -> (u16, LineNumber) {
        ((word >> 4 & 0xfff) as u16, LineNumber::of_word(word))
    }
    /// The same but for the level: the cell and the line alone.
    #[inline]
    pub(crate) fn source_word(word: u64) -> u64 {
        word & !0xf
    }
    /// The same of the next line of that cell.
    #[inline]
    pub(crate) fn next_source(word: u64) -> u64 {
        word.wrapping_add(LineNumber::new(1).word())
    }
    /// Bytes of payload, by the fourth.
    #[inline]
    pub(crate) fn length_of(word: u64) -> usize {
        usize::from((word >> 24) as u16)
    }
    #[inline]
    pub(crate) fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}
