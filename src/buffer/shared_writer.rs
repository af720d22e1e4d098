//! The threads of a process beyond the number of cells: they share one cell, behind a lock.
//!
//! Each thread's line is put together outside of the ring, since the shared cell's spare is not one
//! thread's, and is published whole.

use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::buffer::partial_line::PartialLine;
use crate::error::WriteError;
use crate::line::splitter::{LineSplitter, Piece};
use crate::registry::cell::MirrorKind;
use crate::segment::Segment;
use crate::sys::fork;
use crate::write::writer::{Style, Writer, splitter};

/// Threads beyond the number of cells: they share one, behind a lock.
///
/// One lock for each process that has written: a fork copies a lock in whatever state it is, and
/// the thread that would unlock it is not there. So a child finds no lock of its own token and adds
/// one.
#[derive(Debug)]
pub(crate) struct SharedWriters(AtomicPtr<WriterNode>);

#[derive(Debug)]
pub(crate) struct WriterNode {
    token: u64,
    shared: Mutex<SharedWriter>,
    next: *mut WriterNode,
}

// SAFETY: nodes are immutable but for their locks, and live until the list is dropped.
unsafe impl Send for SharedWriters {}
// SAFETY: as above.
unsafe impl Sync for SharedWriters {}

/// The cell and the unfinished lines of a process's further threads.
#[derive(Debug, Default)]
pub(crate) struct SharedWriter {
    writer: Option<Writer>,
    begun: HashMap<ThreadId, ThreadLine>,
}

/// A line that is put together outside the ring, since the shared cell's spare is not one thread's.
#[derive(Debug)]
struct ThreadLine {
    /// Its place among the unfinished lines, if it has begun.
    order: Option<u64>,
    splitter: LineSplitter,
    bytes: Vec<u8>,
    /// Bytes over the longest line, which are not kept.
    cut: u64,
}

impl SharedWriters {
    /// With this process's shared, which has its cell from the start.
    pub(crate) fn with(writer: Writer) -> Self {
        let shared = Mutex::new(SharedWriter { writer: Some(writer), begun: HashMap::new() });
        let node = WriterNode { token: fork::token(), shared, next: core::ptr::null_mut() };
        Self(AtomicPtr::new(Box::into_raw(Box::new(node))))
    }

    pub(crate) fn find(&self) -> Option<&WriterNode> {
        // ORD shared:B, acquire; pairs with shared:A; the nodes are complete.
        self.find_from(self.0.load(Ordering::Acquire))
    }

    fn find_from(&self, mut at: *mut WriterNode) -> Option<&WriterNode> {
        let token = fork::token();
        // SAFETY: nodes are never freed while the list lives.
        while let Some(node) = unsafe { at.as_ref() } {
            if node.token == token {
                return Some(node);
            }
            at = node.next;
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, SharedWriter> {
        loop {
            // ORD shared:C, acquire; pairs with shared:A; as shared:B.
            let next = self.0.load(Ordering::Acquire);
            if let Some(node) = self.find_from(next) {
                return node.lock();
            }
            let node = WriterNode { token: fork::token(), shared: Mutex::default(), next };
            let node = Box::into_raw(Box::new(node));
            // Fails if another thread has added one meanwhile.
            // ORD shared:A, AcqRel; pairs with shared:B and shared:C; after the node was made.
            if self.0.compare_exchange(next, node, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // SAFETY: no other thread has seen it.
                drop(unsafe { Box::from_raw(node) });
            }
        }
    }

    pub(crate) fn write(&self, segment: &Arc<Segment>, bytes: &[u8]) -> Result<(), WriteError> {
        let shared = &mut *self.lock();
        let line = shared
            .begun
            .entry(thread::current().id())
            .or_insert_with(|| ThreadLine::new(splitter(segment)));
        let max_line = segment.geometry().max_line as usize;
        let mut splitter = core::mem::take(&mut line.splitter);
        let mut result = Ok(());
        for piece in splitter.split(bytes) {
            match piece {
                Piece::Bytes(bytes) => {
                    let orders = &segment.header().counts.0.unfinished;
                    line.order.get_or_insert_with(|| orders.fetch_add(1, Ordering::Relaxed));
                    let (kept, over) = bytes.split_at(bytes.len().min(max_line - line.bytes.len()));
                    line.bytes.extend_from_slice(kept);
                    line.cut += over.len() as u64;
                }
                Piece::Rewrite => line.empty(),
                Piece::End => {
                    let written = publish(&mut shared.writer, segment, line);
                    result = result.and(written);
                    line.empty();
                    line.order = None;
                }
            }
        }
        line.splitter = splitter;
        result
    }

    pub(crate) fn end_line(&self, segment: &Arc<Segment>) -> Result<(), WriteError> {
        let shared = &mut *self.lock();
        match shared.begun.remove(&thread::current().id()) {
            Some(line) if !line.bytes.is_empty() => publish(&mut shared.writer, segment, &line),
            _ => Ok(()),
        }
    }

    pub(crate) fn forget(&self) {
        self.lock().begun.remove(&thread::current().id());
    }
}

impl WriterNode {
    pub(crate) fn lock(&self) -> MutexGuard<'_, SharedWriter> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedWriter {
    pub(crate) fn begun(&self) -> impl Iterator<Item = PartialLine> {
        let lines = self.begun.values().filter(|line| !line.bytes.is_empty());
        lines.map(|line| {
            PartialLine::new(line.order.unwrap_or(u64::MAX), u32::MAX, 0, line.bytes.clone())
        })
    }
}

impl ThreadLine {
    fn new(splitter: LineSplitter) -> Self {
        Self { order: None, splitter, bytes: Vec::new(), cut: 0 }
    }

    fn empty(&mut self) {
        self.bytes.clear();
        self.cut = 0;
    }
}

/// Writes a whole line through the shared cell.
fn publish(
    writer: &mut Option<Writer>,
    segment: &Arc<Segment>,
    line: &ThreadLine,
) -> Result<(), WriteError> {
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(Writer::new(segment, MirrorKind::Unlisted)?),
    };
    if line.cut == 0 {
        return writer.line(&line.bytes, Style::default());
    }
    let added = writer.append(&line.bytes, Style::default());
    writer.cut(line.cut);
    added.and(writer.finish(Style::default(), 0))
}

impl Drop for SharedWriters {
    fn drop(&mut self) {
        let mut at = *self.0.get_mut();
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw`, and no other thread has the list any more.
            let node = unsafe { Box::from_raw(at) };
            at = node.next;
        }
    }
}
