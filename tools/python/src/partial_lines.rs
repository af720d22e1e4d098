//! Puts together the pieces of partial lines that workers have sent ahead.

use std::borrow::Cow;
use std::collections::HashMap;

use linering::{Kind, Line};

use crate::thread_writer::{CONTINUES, DISCARDS, REPLACES, is_piece};

/// The partial lines, by the cell of the mirror that they came from: each thread and stream has a
/// mirror of its own.
#[derive(Debug)]
pub struct PartialLines {
    lines: HashMap<u16, Line<'static>>,
    /// Bytes of the longest line.
    max_line: usize,
}

impl PartialLines {
    pub fn new(max_line: usize) -> Self {
        Self { lines: HashMap::new(), max_line }
    }

    /// Whether the line is whole by itself and ends no partial line. Most lines are plain.
    pub fn is_plain(&self, line: &Line<'_>) -> bool {
        self.lines.is_empty() && !is_piece(line.tag) && !line.unfinished
    }

    /// The partial line of the same cell, if `line` shows that it will not go on.
    pub fn ended_by(&mut self, line: &Line<'_>) -> Option<Line<'static>> {
        let goes_on = line.kind == Kind::Line && is_piece(line.tag);
        if goes_on { None } else { self.end(line.cell) }
    }

    /// Appends a piece to its partial line. Returns the line once it has its end; `None` while it
    /// has none, and when it was discarded.
    pub fn assemble(&mut self, mut line: Line<'static>) -> Option<Line<'static>> {
        // Other kinds, and all other tags, have the meaning that their writer gives them.
        if line.kind != Kind::Line || !is_piece(line.tag) && !line.unfinished {
            return Some(line);
        }
        match (self.lines.remove(&line.cell), line.tag) {
            (Some(before), CONTINUES) => self.append(&mut line, before),
            // What it continues was overwritten, or discarded by a `clear`.
            (None, CONTINUES) => line.truncated = true,
            (Some(before), REPLACES) => line.time = before.time,
            (_, DISCARDS) => return None,
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
        let room = self.max_line.saturating_sub(bytes.len()).min(line.bytes.len());
        let cut = line.bytes.len() - room;
        bytes.extend_from_slice(&line.bytes[..room]);
        line.bytes = Cow::Owned(bytes);
        line.time = before.time;
        line.truncated |= before.truncated || cut > 0;
        line.damaged |= before.damaged;
        line.missing += before.missing + cut as u64;
    }

    /// The partial line of a cell.
    pub fn state(&self, cell: u16) -> Option<&Line<'static>> {
        self.lines.get(&cell)
    }

    /// Removes the partial line of a cell, which has ended.
    pub fn end(&mut self, cell: u16) -> Option<Line<'static>> {
        if self.lines.is_empty() { None } else { self.lines.remove(&cell) }
    }

    /// All partial lines, oldest first.
    pub fn lines(&self) -> Vec<Line<'static>> {
        let mut lines: Vec<_> = self.lines.values().cloned().collect();
        lines.sort_by_key(|line| line.position);
        lines
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }
}
