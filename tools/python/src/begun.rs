//! Lines that workers have begun and sent ahead: their pieces are put together here.

use std::borrow::Cow;
use std::collections::HashMap;

use linering::{Kind, Line};

use crate::way::{CONTINUES, FORGETS, REPLACES, is_piece};

/// Pieces of lines that were sent ahead, by the cell of the mirror that they came from: each thread
/// and stream has its own.
#[derive(Debug)]
pub struct Begun {
    lines: HashMap<u16, Line<'static>>,
    /// Bytes of the longest line.
    most: usize,
}

impl Begun {
    pub fn new(most: usize) -> Self {
        Self { lines: HashMap::new(), most }
    }

    /// Whether the line is none of anybody's pieces, and ends none: most are so.
    pub fn is_unconcerned(&self, line: &Line<'_>) -> bool {
        self.lines.is_empty() && !is_piece(line.tag) && !line.unfinished
    }

    /// The line that was begun and will not go on, now that this one comes.
    pub fn ended_by(&mut self, line: &Line<'_>) -> Option<Line<'static>> {
        let goes_on = line.kind == Kind::Line && is_piece(line.tag);
        if goes_on { None } else { self.end(line.cell) }
    }

    /// Puts a line's pieces together; nothing if it has no end yet, and stays here, or is none any
    /// more.
    pub fn assemble(&mut self, mut line: Line<'static>) -> Option<Line<'static>> {
        // Only lines and their pieces: what the others' tags mean is their writers' business.
        if line.kind != Kind::Line || !is_piece(line.tag) && !line.unfinished {
            return Some(line);
        }
        match (self.lines.remove(&line.cell), line.tag) {
            (Some(before), CONTINUES) => self.append(&mut line, before),
            // What it goes on with was overwritten, or forgotten by a `clear`.
            (None, CONTINUES) => line.truncated = true,
            (Some(before), REPLACES) => line.time = before.time,
            (_, FORGETS) => return None,
            _ => {}
        }
        if line.unfinished {
            self.lines.insert(line.cell, line);
            return None;
        }
        Some(line)
    }

    fn append(&self, line: &mut Line<'static>, before: Line<'static>) {
        let mut bytes = before.bytes.into_owned();
        let room = self.most.saturating_sub(bytes.len()).min(line.bytes.len());
        let cut = line.bytes.len() - room;
        bytes.extend_from_slice(&line.bytes[..room]);
        line.bytes = Cow::Owned(bytes);
        line.time = before.time;
        line.truncated |= before.truncated || cut > 0;
        line.damaged |= before.damaged;
        line.missing += before.missing + cut as u64;
    }

    /// What was begun in a cell.
    pub fn state(&self, cell: u16) -> Option<&Line<'static>> {
        self.lines.get(&cell)
    }

    /// The line that was begun in a cell: it has an end now.
    pub fn end(&mut self, cell: u16) -> Option<Line<'static>> {
        if self.lines.is_empty() { None } else { self.lines.remove(&cell) }
    }

    /// All of them, oldest first.
    pub fn lines(&self) -> Vec<Line<'static>> {
        let mut lines: Vec<_> = self.lines.values().cloned().collect();
        lines.sort_by_key(|line| line.position);
        lines
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }
}
