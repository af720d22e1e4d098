//! The threads of a process beyond the number of cells: they share one cell, behind a lock.
//!
//! Each thread's line is put together outside of the ring, since the shared cell's spare is not one
//! thread's, and is published whole.

use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::listing::Listing;
use crate::buffer::partial_line::PartialLine;
use crate::error::WriteError;
use crate::line::meta::Meta;
use crate::line::splitter::{LineSplitter, Piece};
use crate::segment::Segment;
use crate::sys::fork;
use crate::sys::thread::this_thread;
use crate::write::writer::{Finish, Style, Writer, splitter};

/// Threads beyond the number of cells: they share one, behind a lock.
///
/// One lock for each process that has written: a fork copies a lock in whatever state it is, and
/// the thread that would unlock it is not there. So a child finds no lock of its own token and adds
/// one.
#[derive(Debug)]
pub(crate) struct SharedWriters {
    listing: Listing,
    nodes: AtomicPtr<WriterNode>,
}

#[derive(Debug)]
pub(crate) struct WriterNode {
    token: u64,
    shared: Mutex<SharedCell>,
    next: *mut WriterNode,
}

// SAFETY: nodes are immutable but for their locks, and live until the list is dropped.
unsafe impl Send for SharedWriters {}
// SAFETY: as above.
unsafe impl Sync for SharedWriters {}

/// The cell and the unfinished lines of a process's further threads.
#[derive(Debug, Default)]
pub(crate) struct SharedCell {
    writer: Option<Writer>,
    begun: HashMap<usize, ThreadLine>,
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
    pub(crate) fn with(writer: Writer, listing: Listing) -> Self {
        let shared = Mutex::new(SharedCell { writer: Some(writer), begun: HashMap::new() });
        let node = WriterNode { token: fork::token(), shared, next: core::ptr::null_mut() };
        Self { listing, nodes: AtomicPtr::new(Box::into_raw(Box::new(node))) }
    }

    pub(crate) fn find(&self) -> Option<&WriterNode> {
        // ORD shared:B, acquire; pairs with shared:A; the nodes are complete.
        self.find_from(self.nodes.load(Ordering::Acquire))
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

    fn lock(&self) -> MutexGuard<'_, SharedCell> {
        loop {
            // ORD shared:C, acquire; pairs with shared:A; as shared:B.
            let next = self.nodes.load(Ordering::Acquire);
            if let Some(node) = self.find_from(next) {
                return node.lock();
            }
            let node = WriterNode { token: fork::token(), shared: Mutex::default(), next };
            let node = Box::into_raw(Box::new(node));
            // Fails if another thread has added one meanwhile.
            // ORD shared:A, AcqRel; pairs with shared:B and shared:C; after the node was made.
            if self.nodes.compare_exchange(next, node, Ordering::AcqRel, Ordering::Relaxed).is_err()
            {
                // SAFETY: no other thread has seen it.
                drop(unsafe { Box::from_raw(node) });
            }
        }
    }

    /// Writes any bytes; this thread's line is put together apart from those of others.
    pub(crate) fn write(
        &self,
        segment: &Arc<Segment>,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        self.lock().write(self.listing, segment, bytes, style)
    }

    /// A write that ends with a line end, and begins a line, is one record.
    pub(crate) fn write_text(
        &self,
        segment: &Arc<Segment>,
        meta: Meta,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        let shared = &mut *self.lock();
        if bytes.ends_with(b"\n") && !shared.has_begun() {
            return shared.writer(self.listing, segment)?.record(meta, bytes);
        }
        shared.write(self.listing, segment, bytes, meta.into())
    }

    pub(crate) fn record(
        &self,
        segment: &Arc<Segment>,
        meta: Meta,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        let shared = &mut *self.lock();
        let ended = shared.end_line(self.listing, segment);
        ended.and(shared.writer(self.listing, segment)?.record(meta, bytes))
    }

    /// For a thread that has nothing of its own any more: what is unfinished is published as it is.
    pub(crate) fn write_at_end(
        &self,
        segment: &Arc<Segment>,
        meta: Meta,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        let shared = &mut *self.lock();
        let writer = shared.writer(self.listing, segment)?;
        let written = writer.write_text(meta, bytes);
        written.and(writer.flush_partial())
    }

    pub(crate) fn end_line(&self, segment: &Arc<Segment>) -> Result<(), WriteError> {
        self.lock().end_line(self.listing, segment)
    }

    pub(crate) fn forget(&self) {
        self.lock().begun.remove(&this_thread());
    }
}

impl WriterNode {
    pub(crate) fn lock(&self) -> MutexGuard<'_, SharedCell> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedCell {
    fn writer(
        &mut self,
        listing: Listing,
        segment: &Arc<Segment>,
    ) -> Result<&mut Writer, WriteError> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(Writer::new(segment, listing.entry(""))?)),
        }
    }

    /// Whether this thread has begun a line.
    fn has_begun(&self) -> bool {
        self.begun.get(&this_thread()).is_some_and(|line| !line.bytes.is_empty())
    }

    fn write(
        &mut self,
        listing: Listing,
        segment: &Arc<Segment>,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        let new = || ThreadLine::new(splitter(segment));
        let mut line = self.begun.remove(&this_thread()).unwrap_or_else(new);
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
                    let writer = self.writer(listing, segment);
                    result = result.and(writer.and_then(|writer| publish(writer, &line, style)));
                    line.empty();
                    line.order = None;
                }
            }
        }
        line.splitter = splitter;
        self.begun.insert(this_thread(), line);
        result
    }

    /// Ends this thread's line, if it has one.
    fn end_line(&mut self, listing: Listing, segment: &Arc<Segment>) -> Result<(), WriteError> {
        match self.begun.remove(&this_thread()) {
            Some(line) if !line.bytes.is_empty() => {
                publish(self.writer(listing, segment)?, &line, Style::default())
            }
            _ => Ok(()),
        }
    }

    /// Lines that it dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::dropped)
    }

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
fn publish(writer: &mut Writer, line: &ThreadLine, style: Style) -> Result<(), WriteError> {
    if line.cut == 0 {
        return writer.line(&line.bytes, style);
    }
    let added = writer.append(&line.bytes, style);
    writer.cut(line.cut);
    added.and(writer.finish(style, 0))
}

impl Drop for SharedWriters {
    fn drop(&mut self) {
        if let (Listing::Named, Some(node)) = (self.listing, self.find())
            && let Some(writer) = &mut node.lock().writer
        {
            // It has an end that is waited for, like any other.
            let _ = writer.end(Finish::Eof);
        }
        let mut at = *self.nodes.get_mut();
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw`, and no other thread has the list any more.
            let node = unsafe { Box::from_raw(at) };
            at = node.next;
        }
    }
}
