//! Long lines, put together from their parts: one at a time for each cell, within a budget for all
//! of them.

use crate::layout::{Geometry, Position, SLOT_HEADER_WORDS, Shape, SlotHeader, flag};
use crate::read::lineage::Progress;

/// No mirror's index among those that are known.
pub(crate) const NO_WRITER: u32 = u32::MAX;

/// A line that was put together.
#[derive(Debug)]
pub(crate) struct Long {
    pub(crate) header: SlotHeader,
    /// The mirror's index among those that are known, or [`NO_WRITER`].
    pub(crate) writer: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) missing: u64,
    pub(crate) truncated: bool,
    /// A part of it is not what its writer put there, or may not be of this line.
    pub(crate) damaged: bool,
}

/// A long line whose last part has not come yet.
#[derive(Debug)]
struct Assembly {
    line: Long,
    next_part: u32,
    /// A damaged part, and none after it, says that it is the last one.
    seems_over: bool,
    /// The position of its first part, if that one came.
    began: Option<Position>,
    /// Positions were skipped after its newest part. There it may have become void, and its number
    /// that of another line, whose parts do not belong to these.
    skipped: bool,
}

impl Assembly {
    /// The line as far as it came.
    fn cut_off(self) -> Long {
        Long { truncated: self.line.truncated || !self.seems_over, ..self.line }
    }
}

/// What became of a part whose checksum does not agree.
#[derive(Debug)]
pub(crate) enum DamagedPart {
    /// It waits for the rest of its line.
    Kept,
    /// It is all of its mirror's next line.
    NextLine(Long),
    /// It is a line by itself that is not known to be the next one of the mirror that it names.
    Stray(Long),
}

/// What came of a line that is being put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collected<'a> {
    pub(crate) line: &'a Long,
    /// The position of its first part, if that one came.
    pub(crate) began: Option<Position>,
    /// Whether positions were skipped after its newest part.
    pub(crate) skipped: bool,
}

/// The long lines that are being put together.
#[derive(Debug)]
pub(crate) struct Assemblies {
    by_cell: Vec<Option<Box<Assembly>>>,
    /// Lines that are being put together.
    open: usize,
    /// Bytes of all of them.
    bytes: usize,
    /// The most bytes of all of them.
    budget: usize,
    /// The most bytes of one line: no writer of this library sends more, but a hostile process may.
    max_line: usize,
    cells: usize,
    /// Bytes of a part that is not the last.
    payload: usize,
}

impl Assemblies {
    /// None yet; of all together `budget` bytes will be kept.
    pub(crate) fn new(geometry: &Geometry, budget: usize) -> Self {
        let (cells, payload) = (geometry.cells as usize, geometry.shape().payload());
        let max_line = geometry.max_line as usize;
        Self { by_cell: Vec::new(), open: 0, bytes: 0, budget, max_line, cells, payload }
    }

    /// Whether nothing is being put together.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.open == 0
    }

    fn take(&mut self, cell: usize) -> Option<Assembly> {
        let assembly = self.by_cell.get_mut(cell)?.take()?;
        self.open -= 1;
        self.bytes -= assembly.line.bytes.len();
        Some(*assembly)
    }

    /// Before a part: a new line, or the same begun anew, ends what was being put together for its
    /// cell. Gives the line whose last part will not come, if there is one.
    #[inline]
    pub(crate) fn make_way(&mut self, cell: usize, header: &SlotHeader) -> Option<Long> {
        let assembly = self.by_cell.get(cell)?.as_ref()?;
        if assembly.line.header.line != header.line {
            return self.cut_off(cell, |_| true);
        }
        // After skipped positions, a part of a line begun anew may be of another line than these.
        if header.is(flag::FIRST) || assembly.skipped && header.is(flag::ANEW) {
            // Void, unless the damaged part in it was of some other line.
            let void = self.take(cell).filter(|assembly| assembly.line.damaged)?;
            return Some(void.cut_off());
        }
        None
    }

    /// Whether something is being put together for `cell`.
    #[inline]
    pub(crate) fn has(&self, cell: usize) -> bool {
        self.by_cell.get(cell).is_some_and(Option::is_some)
    }

    /// Finds the place of a part whose checksum does not agree: any bit of it may be another.
    ///
    /// It goes where it would if its header were sound, as long as nothing else hangs on that: it
    /// is a part of a line that is being put together if it names that, and it counts as a line of
    /// the mirror that it names, which `writer` finds, if it is the very next one. It ends no line
    /// that is being put together, makes none void, and tells of no loss.
    #[cold]
    #[inline(never)]
    pub(crate) fn place_damaged<'p>(
        &mut self,
        header: SlotHeader,
        part: &[u8],
        writer: impl FnOnce() -> Option<(u32, &'p mut Progress)>,
    ) -> DamagedPart {
        // Whichever line it was of, it may have made that void.
        self.note_skipped();
        if self.add_damaged(&header, part) {
            return DamagedPart::Kept;
        }
        let (writer, progress) = writer().unzip();
        let writer = writer.unwrap_or(NO_WRITER);
        let is_next = |progress: &mut Progress| {
            !self.has(header.cell.into()) && progress.note_next(header.line)
        };
        match (progress.is_some_and(is_next), header.is(flag::LAST)) {
            (false, _) => DamagedPart::Stray(Long::damaged(writer, header, part)),
            (true, true) => DamagedPart::NextLine(Long::damaged(writer, header, part)),
            (true, false) => {
                self.add(writer, header, part, true);
                DamagedPart::Kept
            }
        }
    }

    /// Adds a part whose checksum does not agree, if a line of its cell and number is being put
    /// together: as the next part, whatever else its header says. `false` if there is no such line.
    fn add_damaged(&mut self, header: &SlotHeader, part: &[u8]) -> bool {
        let Some(Some(assembly)) = self.by_cell.get_mut(usize::from(header.cell)) else {
            return false;
        };
        let line = &mut assembly.line;
        if line.header.line != header.line {
            return false;
        }
        line.damaged = true;
        // What else may have been joined to it is flagged with that.
        assembly.skipped = false;
        assembly.seems_over = header.is(flag::LAST);
        line.header.position = header.position;
        assembly.next_part = assembly.next_part.wrapping_add(1);
        let room = self.budget.saturating_sub(self.bytes).min(self.max_line - line.bytes.len());
        self.bytes += line.keep(part, room);
        true
    }

    /// A position was skipped. It may have been a part of any of the lines, have said that one is
    /// void, or have begun one anew, with the same number.
    pub(crate) fn note_skipped(&mut self) {
        if !self.is_empty() {
            self.by_cell.iter_mut().flatten().for_each(|assembly| assembly.skipped = true);
        }
    }

    /// The line of `cell` as far as it came, if it is of a mirror that `is_over`.
    pub(crate) fn cut_off(&mut self, cell: usize, is_over: impl Fn(u32) -> bool) -> Option<Long> {
        let writer = self.by_cell.get(cell)?.as_ref()?.line.writer;
        if is_over(writer) { Some(self.take(cell)?.cut_off()) } else { None }
    }

    /// Adds a part, which is `damaged` if its checksum does not agree. Gives the line, if it was
    /// its last one.
    pub(crate) fn add(
        &mut self,
        writer: u32,
        header: SlotHeader,
        part: &[u8],
        damaged: bool,
    ) -> Option<Long> {
        let cell = usize::from(header.cell);
        if self.by_cell.len() <= cell {
            self.by_cell.resize_with(self.cells, || None);
        }
        let budget = self.budget.saturating_sub(self.bytes);
        let assembly = self.by_cell[cell].get_or_insert_with(|| {
            self.open += 1;
            let (bytes, missing, truncated, damaged) = (Vec::new(), 0, false, false);
            let line = Long { header, writer, bytes, missing, truncated, damaged };
            let began = header.is(flag::FIRST).then_some(header.position);
            Box::new(Assembly { line, next_part: 0, seems_over: false, began, skipped: false })
        });
        let line = &mut assembly.line;
        let skipped = header.part.wrapping_sub(assembly.next_part);
        if skipped > 0 {
            line.missing = line.missing.saturating_add(u64::from(skipped) * self.payload as u64);
            line.truncated = true;
        }
        assembly.next_part = header.part.wrapping_add(1);
        // A part without `ANEW` is of the first line that had the number; so are those before it.
        (assembly.seems_over, assembly.skipped) = (false, false);
        let (length, cut) = trailer(&header, part);
        self.bytes += line.keep(&part[..length], budget.min(self.max_line - line.bytes.len()));
        line.missing = line.missing.saturating_add(cut);
        line.truncated |= header.is(flag::TRUNCATED);
        line.damaged |= damaged;
        line.header = SlotHeader { time: line.header.time, ..header };
        if header.is(flag::LAST) { self.take(cell).map(|done| done.line) } else { None }
    }

    /// What came of the line of `cell`, with the newest part's header.
    pub(crate) fn partial_line(&self, cell: usize) -> Option<Collected<'_>> {
        let Assembly { line, began, skipped, .. } = &**self.by_cell.get(cell)?.as_ref()?;
        Some(Collected { line, began: *began, skipped: *skipped })
    }
}

impl Long {
    /// A slot's line, whole as it stands there, whose checksum does not agree.
    fn damaged(writer: u32, header: SlotHeader, bytes: &[u8]) -> Self {
        Self { header, writer, bytes: bytes.to_vec(), missing: 0, truncated: false, damaged: true }
    }

    /// Adds as many of these bytes as there is `room` for. Gives their number.
    fn keep(&mut self, bytes: &[u8], room: usize) -> usize {
        let kept = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.missing = self.missing.saturating_add((bytes.len() - kept) as u64);
        self.truncated |= kept < bytes.len();
        kept
    }
}

/// A slot's header and payload, from its words.
#[inline]
pub(crate) fn image_of(shape: Shape, words: &[u64]) -> (SlotHeader, &[u8]) {
    let (header, rest) =
        words.split_first_chunk::<SLOT_HEADER_WORDS>().expect("an image has a header");
    let header = SlotHeader::unpack(*header);
    let start = shape.check_bytes;
    (header, &bytemuck::cast_slice(rest)[start..start + usize::from(header.length)])
}

/// How many of a slot's bytes are the line's, and how many its writer says it left out.
#[inline]
pub(crate) fn trailer(header: &SlotHeader, payload: &[u8]) -> (usize, u64) {
    let length = usize::from(header.length);
    if header.is(flag::TRUNCATED)
        && let Some((rest, count)) = payload[..length].split_last_chunk::<8>()
    {
        return (rest.len(), u64::from_ne_bytes(*count));
    }
    (length, 0)
}
