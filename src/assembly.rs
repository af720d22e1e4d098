//! Long lines, put together from their parts: one at a time for each cell, within a budget for all of them.

use crate::layout::{Geometry, SlotHeader, flag};

/// A line that was put together.
#[derive(Debug)]
pub(crate) struct Long {
    pub(crate) header: SlotHeader,
    pub(crate) source: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) missing: u64,
    pub(crate) truncated: bool,
}

/// A long line of which the last part has not come yet.
#[derive(Debug)]
struct Assembly {
    line: Long,
    next_part: u32,
}

/// What is being put together.
#[derive(Debug)]
pub(crate) struct Assemblies {
    by_cell: Vec<Option<Box<Assembly>>>,
    /// How many lines that are,
    open: usize,
    /// bytes of all of them,
    bytes: usize,
    /// and how many they may be.
    budget: usize,
    /// The most bytes of one: no writer sends more, but whoever writes parts of its own may.
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

    /// Before a part: a new line, or the same begun anew, ends what was being put together for its cell. Gives the line
    /// whose last part will not come, if there is one.
    #[inline]
    pub(crate) fn make_way(&mut self, cell: usize, header: &SlotHeader) -> Option<Long> {
        let line = &self.by_cell.get(cell)?.as_ref()?.line;
        if line.header.line != header.line {
            return self.cut_off(cell, |_| true);
        }
        if header.is(flag::FIRST) {
            self.take(cell);
        }
        None
    }

    /// The line of `cell` as far as it came, if it is of a mirror that `is_over`.
    pub(crate) fn cut_off(&mut self, cell: usize, is_over: impl Fn(u32) -> bool) -> Option<Long> {
        let source = self.by_cell.get(cell)?.as_ref()?.line.source;
        let line = if is_over(source) { self.take(cell)?.line } else { return None };
        Some(Long { truncated: true, ..line })
    }

    /// Adds a part. Gives the line, if it was its last one.
    pub(crate) fn add(&mut self, source: u32, header: SlotHeader, part: &[u8]) -> Option<Long> {
        let cell = usize::from(header.cell);
        if self.by_cell.len() <= cell {
            self.by_cell.resize_with(self.cells, || None);
        }
        let budget = self.budget.saturating_sub(self.bytes);
        let assembly = self.by_cell[cell].get_or_insert_with(|| {
            self.open += 1;
            let line = Long { header, source, bytes: Vec::new(), missing: 0, truncated: false };
            Box::new(Assembly { line, next_part: 0 })
        });
        let line = &mut assembly.line;
        let skipped = header.part.wrapping_sub(assembly.next_part);
        if skipped > 0 {
            line.missing = line.missing.saturating_add(u64::from(skipped) * self.payload as u64);
            line.truncated = true;
        }
        assembly.next_part = header.part.wrapping_add(1);
        let (length, cut) = trailer(&header, part);
        let kept = length.min(budget).min(self.max_line - line.bytes.len());
        line.bytes.extend_from_slice(&part[..kept]);
        line.missing = line.missing.saturating_add(cut).saturating_add((length - kept) as u64);
        line.truncated |= header.is(flag::TRUNCATED) || kept < length;
        line.header = SlotHeader { time: line.header.time, ..header };
        self.bytes += kept;
        if header.is(flag::LAST) { self.take(cell).map(|done| done.line) } else { None }
    }

    /// What there is for `cell`: the newest part's header, the bytes, and whether some are missing.
    pub(crate) fn unfinished(&self, cell: usize) -> Option<(&SlotHeader, &[u8], bool)> {
        let line = &self.by_cell.get(cell)?.as_ref()?.line;
        Some((&line.header, &line.bytes, line.truncated))
    }
}

/// A slot's header and payload, from its words.
#[inline]
pub(crate) fn image_of(words: &[u64]) -> (SlotHeader, &[u8]) {
    let (header, payload) = words.split_first_chunk().expect("an image has a header");
    let header = SlotHeader::unpack(*header);
    (header, &bytemuck::cast_slice(payload)[..usize::from(header.length)])
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
