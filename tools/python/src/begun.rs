//! Lines that workers have begun and sent ahead: their pieces are put together here.

use std::borrow::Cow;
use std::collections::HashMap;

use linering::{Kind, Line};

use crate::way::{CONTINUES, PIECE_BITS, REPLACES};

/// Pieces of lines that were sent ahead, by worker and thread.
#[derive(Debug, Default)]
pub struct Begun(HashMap<(u32, u16), Line<'static>>);

impl Begun {
    /// Whether the line is none of anybody's pieces, and ends none: most are so.
    pub fn is_unconcerned(&self, line: &Line<'_>) -> bool {
        self.0.is_empty() && line.tag & ((1 << PIECE_BITS) - 1) == 0 && !line.unfinished
    }

    /// Lines that were begun and will not go on, now that this one comes.
    pub fn ended_by(&mut self, line: &Line<'_>) -> Vec<Line<'static>> {
        let (piece, thread) = (line.tag & ((1 << PIECE_BITS) - 1), line.tag >> PIECE_BITS);
        match line.kind {
            _ if self.0.is_empty() => Vec::new(),
            // A mirror's last, and of no thread.
            Kind::Error => self.end(line.worker),
            Kind::Line if piece != 0 => Vec::new(),
            _ => self.0.remove(&(line.worker, thread)).into_iter().collect(),
        }
    }

    /// Puts a line's pieces together; `true` if it has no end yet, and stays here too.
    pub fn assemble(&mut self, mut line: Line<'static>) -> (Line<'static>, bool) {
        let (piece, thread) = (line.tag & ((1 << PIECE_BITS) - 1), line.tag >> PIECE_BITS);
        let is_whole = piece == 0 && !line.unfinished;
        // Only lines and their pieces: what the others' tags mean is their writers' business.
        if is_whole || line.kind != Kind::Line {
            return (line, false);
        }
        let key = (line.worker, thread);
        match self.0.remove(&key) {
            Some(before) if piece == CONTINUES => {
                let mut bytes = before.bytes.into_owned();
                bytes.extend_from_slice(&line.bytes);
                line.bytes = Cow::Owned(bytes);
                line.time = before.time;
            }
            Some(before) if piece == REPLACES => line.time = before.time,
            _ => {}
        }
        if line.unfinished {
            self.0.insert(key, line.clone());
            return (line, true);
        }
        (line, false)
    }

    /// The lines that a worker had begun: they have an end now.
    pub fn end(&mut self, worker: u32) -> Vec<Line<'static>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut lines: Vec<_> = self.0.extract_if(|key, _| key.0 == worker).map(|(_, line)| line).collect();
        lines.sort_by_key(|line| line.position);
        lines
    }

    /// All of them, oldest first.
    pub fn lines(&self) -> Vec<Line<'static>> {
        let mut lines: Vec<_> = self.0.values().cloned().collect();
        lines.sort_by_key(|line| line.position);
        lines
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
