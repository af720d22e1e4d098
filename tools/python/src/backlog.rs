//! What was taken out of the ring and Python does not have yet.
//!
//! It is filled without the interpreter lock, so nothing here is Python's: bytes, and plain data
//! about them. An exception between the taking and the handing on loses nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use linering::{Ended, Item, Kind, Line, ReadError, Reader};

use crate::line::{Info, text_of};
use crate::partial_lines::PartialLines;

/// One thing for Python.
#[derive(Clone, Copy, Debug)]
struct Out {
    what: What,
    info: Info,
    /// How many labels its chunk had then, of which the last is its own; 0 for none.
    labels: u32,
    /// Its bytes begin where those of the one before end.
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Line,
    /// A state of a line that goes on.
    Change,
    Lost,
}

/// What was taken in one go.
#[derive(Debug, Default)]
struct Chunk {
    outs: Vec<Out>,
    bytes: Vec<u8>,
    labels: Vec<String>,
}

impl Chunk {
    fn push(&mut self, what: What, info: Info, label: &str, bytes: &[u8]) {
        if !label.is_empty() && self.labels.last().is_none_or(|last| last != label) {
            self.labels.push(label.to_owned());
        }
        self.bytes.extend_from_slice(bytes);
        let labels = if label.is_empty() { 0 } else { self.labels.len() as u32 };
        self.outs.push(Out { what, info, labels, end: self.bytes.len() });
    }

    fn push_line(&mut self, what: What, line: &Line<'_>) {
        self.push(what, Info::of(line), &line.label, text_of(line));
    }

    /// Lines that were written together; how many.
    fn push_packed(&mut self, line: &Line<'_>) -> u64 {
        let last = line.lines().count();
        for (number, text) in (1..).zip(line.lines()) {
            self.push(What::Line, Info::of_packed(line, number == last), &line.label, text);
        }
        last as u64
    }
}

/// One of the backlog, which stays valid whatever becomes of that.
#[derive(Debug)]
pub struct Taken {
    chunk: Arc<Chunk>,
    index: usize,
}

impl Taken {
    fn out(&self) -> &Out {
        &self.chunk.outs[self.index]
    }

    pub fn what(&self) -> What {
        self.out().what
    }

    pub fn info(&self) -> Info {
        self.out().info
    }

    pub fn label(&self) -> &str {
        (self.out().labels as usize).checked_sub(1).map_or("", |last| &self.chunk.labels[last])
    }

    pub fn bytes(&self) -> &[u8] {
        let begin = self.index.checked_sub(1).map_or(0, |before| self.chunk.outs[before].end);
        &self.chunk.bytes[begin..self.out().end]
    }
}

#[derive(Debug)]
pub struct Backlog {
    /// None is empty.
    chunks: VecDeque<Arc<Chunk>>,
    /// The first of the first chunk that was not popped.
    next: usize,
    /// What was popped and given back; the oldest last.
    returned: Vec<Taken>,
    partial: PartialLines,
    /// Whether the caller wants to see the states of lines that change.
    changes: bool,
    ends: Vec<Ended<'static>>,
    /// Lines of each writer, by its number, that came with another one in one item.
    further: HashMap<u32, u64>,
    lost: u64,
}

impl Backlog {
    /// An empty one, of a ring whose longest line has `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            next: 0,
            returned: Vec::new(),
            partial: PartialLines::new(max_line),
            changes: false,
            ends: Vec::new(),
            further: HashMap::new(),
            lost: 0,
        }
    }

    /// From now on the states of lines that change come too.
    pub fn want_changes(&mut self) {
        self.changes = true;
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.returned.is_empty()
    }

    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.outs.len()).sum::<usize>() - self.next
            + self.returned.len()
    }

    /// Takes what is decoded next.
    pub fn take(&mut self, reader: &mut Reader) -> Result<(), ReadError> {
        let batch = reader.batch()?;
        let mut chunk = Chunk::default();
        chunk.outs.reserve(batch.len());
        batch.iter().for_each(|item| self.accept(&mut chunk, item));
        batch.commit();
        self.push(chunk);
        Ok(())
    }

    /// Takes one item; if there is none, the reader's descriptor becomes readable when one comes:
    /// `false`.
    pub fn take_one(&mut self, reader: &mut Reader) -> Result<bool, ReadError> {
        let Some(item) = reader.try_recv()? else { return Ok(false) };
        let mut chunk = Chunk::default();
        self.accept(&mut chunk, item);
        reader.commit()?;
        self.push(chunk);
        Ok(true)
    }

    /// Takes items that come from elsewhere than the reader.
    pub fn add(&mut self, items: Vec<Item<'static>>) {
        let mut chunk = Chunk::default();
        items.into_iter().for_each(|item| self.accept(&mut chunk, item));
        self.push(chunk);
    }

    fn push(&mut self, chunk: Chunk) {
        if !chunk.outs.is_empty() {
            self.chunks.push_back(Arc::new(chunk));
        }
    }

    fn accept(&mut self, chunk: &mut Chunk, item: Item<'_>) {
        match item {
            Item::Line(line) if line.kind == Kind::Packed => {
                let ended = self.partial.ended_by(&line);
                ended.iter().for_each(|ended| chunk.push_line(What::Line, ended));
                let came = chunk.push_packed(&line);
                *self.further.entry(line.writer_id).or_default() += came.saturating_sub(1);
            }
            Item::Line(line) if self.partial.is_plain(&line) => chunk.push_line(What::Line, &line),
            Item::Line(line) => {
                self.partial
                    .ended_by(&line)
                    .iter()
                    .for_each(|ended| chunk.push_line(What::Line, ended));
                let cell = line.cell;
                match self.partial.assemble(line.into_owned()) {
                    Some(line) => chunk.push_line(What::Line, &line),
                    // The whole line so far, each time: only if the caller wants that.
                    None if self.changes => {
                        self.partial
                            .state(cell)
                            .into_iter()
                            .for_each(|it| chunk.push_line(What::Change, it));
                    }
                    None => {}
                }
            }
            Item::Lost(lost) => {
                self.lost += lost.lines;
                let words = lost.to_string();
                chunk.push(What::Lost, Info::of_lost(&lost), &lost.label, words.as_bytes());
            }
            other => {
                if let Item::Ended(mut ended) = other.into_owned() {
                    ended.lines += self.further.remove(&ended.writer_id).unwrap_or(0);
                    // Flagged `unfinished`, as they were.
                    let partial = ended.cell.and_then(|cell| self.partial.end(cell));
                    partial.iter().for_each(|line| chunk.push_line(What::Line, line));
                    self.ends.push(ended);
                }
            }
        }
    }

    pub fn pop(&mut self) -> Option<Taken> {
        if let Some(taken) = self.returned.pop() {
            return Some(taken);
        }
        let chunk = self.chunks.front()?;
        let taken = Taken { chunk: Arc::clone(chunk), index: self.next };
        self.next += 1;
        if self.next == chunk.outs.len() {
            self.chunks.pop_front();
            self.next = 0;
        }
        Some(taken)
    }

    /// Puts back what could not be handed on: the next pop returns it again.
    pub fn give_back(&mut self, taken: Taken) {
        self.returned.push(taken);
    }

    /// The partial lines that were sent ahead, oldest first.
    pub fn partial_lines(&self) -> Vec<Line<'static>> {
        self.partial.lines()
    }

    pub fn discard_partial_lines(&mut self) {
        self.partial.clear();
    }

    /// The ends that have come since the last call.
    pub fn ends(&mut self) -> Vec<Ended<'static>> {
        std::mem::take(&mut self.ends)
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }
}
