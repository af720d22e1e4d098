//! [`ReadQueue`]: what was decoded and not accepted yet.
//!
//! Lines of one slot are queued as images of their slots, which is the common case and has to be
//! cheap; everything else stands beside them as an [`Event`].

use std::borrow::Cow;
use std::process::ExitStatus;
use std::slice::ChunksExactMut;
use std::sync::Arc;

use crate::layout::sync::Ordering;
use crate::layout::{LineNumber, Position, Shape, SlotHeader, flag};
use crate::line::item::{End, Ended, Item, Line, LossCause, Lost};
use crate::read::assembly::{Long, NO_WRITER, image_of, trailer};
use crate::read::decode::line_of;
use crate::read::writers::WriterTable;
use crate::segment::Segment;

use Ordering::Relaxed;

/// A batch of decoded items, in the order in which they are handed out.
#[derive(Debug)]
pub(crate) struct ReadQueue {
    queue: Vec<Queued>,
    /// The items of `queue` before this one were accepted.
    first: usize,
    /// The queue's items that are no lines of one slot.
    events: Vec<Event>,
    /// The images of short lines' slots, each of `stride` words.
    arena: Vec<u64>,
    shape: Shape,
    stride: usize,
    /// Words of the arena that are in use.
    filled: usize,
}

/// A decoded item. Small, since every line goes through it.
#[derive(Clone, Copy, Debug)]
struct Queued {
    /// Accepting it takes every position before this one.
    end_position: Position,
    /// The mirror of a line of one slot; of an event [`NO_WRITER`].
    writer: u32,
    /// Of a line of one slot, which stands right before `end_position`: the word of the arena at
    /// which its image begins. Of an event: [`EVENT`] and its index among the events.
    at: u32,
}

impl Queued {
    /// Whether both are lines of one slot, of the same mirror.
    fn goes_on(&self, next: &Self) -> bool {
        self.writer == next.writer && self.writer != NO_WRITER
    }
}

/// Marks an item as an event. An arena has fewer words than this.
const EVENT: u32 = 1 << 31;

/// Anything but a line of one slot.
#[derive(Debug)]
pub(crate) enum Event {
    /// A line that was put together, or whose checksum does not agree.
    Long(Long),
    /// A line whose checksum does not agree, and which is not known to be the next one of the
    /// mirror that it names.
    Stray(Long),
    /// Lines that will not come; `next` is the number of the line after them.
    Lost { writer: u32, lines: u64, next: LineNumber },
    /// A mirror's end.
    Ended { writer: u32, end: End, process: Option<u32>, exit: Option<ExitStatus> },
    /// The end of a seat that was never opened.
    NeverOpened { ticket: u32, worker: u32, label: Arc<str>, end: End },
    /// A position at which no writer left what stands there.
    Damaged { position: Position },
}

impl ReadQueue {
    /// Empty, with room for the images of `lines` slots.
    pub(crate) fn new(lines: usize, shape: Shape) -> Self {
        let stride = shape.slot_words;
        Self {
            queue: Vec::with_capacity(lines),
            first: 0,
            events: Vec::new(),
            arena: vec![0; lines * stride],
            shape,
            stride,
            filled: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.len() - self.first
    }

    // -------------------------------------------------------------------------------------- put in

    /// The header and payload of the next image, once it is filled.
    pub(crate) fn next_part(&self) -> (SlotHeader, &[u8]) {
        image_of(self.shape, &self.arena[self.filled..])
    }

    /// Room for the next image.
    pub(crate) fn next_image(&mut self) -> &mut [u64] {
        &mut self.arena[self.filled..]
    }

    /// Room for the next images, and the end of the queue, where lines are put whose images are
    /// filled.
    pub(crate) fn images(&mut self) -> (ChunksExactMut<'_, u64>, Tail<'_>) {
        let images = self.arena[self.filled..].chunks_exact_mut(self.stride);
        (images, Tail { queue: &mut self.queue, filled: &mut self.filled, stride: self.stride })
    }

    /// Queues the line whose slot's image was put in the next room; accepting it takes every
    /// position before `end_position`.
    pub(crate) fn push_line(&mut self, end_position: Position, writer: u32) {
        let (_, mut tail) = self.images();
        tail.push_line(end_position, writer);
    }

    pub(crate) fn push(&mut self, end_position: Position, event: Event) {
        self.queue.push(Queued {
            end_position,
            writer: NO_WRITER,
            at: EVENT + self.events.len() as u32,
        });
        self.events.push(event);
    }

    // ----------------------------------------------------------------------------------- hand out

    /// The items, in order.
    #[inline]
    pub(crate) fn items<'d>(
        &'d self,
        segment: &'d Segment,
        writers: &'d WriterTable,
    ) -> impl Iterator<Item = Item<'d>> {
        self.queue[self.first..].iter().map(|queued| self.item(segment, writers, queued))
    }

    #[inline(always)]
    fn item<'d>(
        &'d self,
        segment: &Segment,
        writers: &'d WriterTable,
        queued: &Queued,
    ) -> Item<'d> {
        let Queued { end_position, writer, at } = *queued;
        if at >= EVENT {
            return *event_item(segment, writers, &self.events[(at - EVENT) as usize]);
        }
        let (header, payload) = image_of(self.shape, &self.arena[at as usize..]);
        let header = SlotHeader { position: end_position.previous(), ..header };
        let (length, missing) = trailer(&header, payload);
        let truncated = header.is(flag::TRUNCATED);
        Item::Line(line(segment, writers, &header, writer, &payload[..length], missing, truncated))
    }

    // ------------------------------------------------------------------------------------- accept

    /// The position before which accepting the first `count` items takes all.
    #[inline]
    pub(crate) fn end_position(&self, count: usize) -> Option<Position> {
        self.queue[self.first..self.first + count].last().map(|queued| queued.end_position)
    }

    /// Accepts the first `count` items, step one of three, before their positions are taken: notes
    /// how far each mirror's lines were delivered, or are known to be lost.
    pub(crate) fn note_delivered(&self, count: usize, segment: &Segment, writers: &WriterTable) {
        for run in self.queue[self.first..self.first + count].chunk_by(Queued::goes_on) {
            // What the last line of a run notes includes those before it.
            let Some(Queued { at, .. }) = run.last() else { continue };
            if *at >= EVENT {
                note_event(segment, writers, &self.events[(at - EVENT) as usize]);
                continue;
            }
            let (cell, line) = SlotHeader::cell_and_line(self.arena[*at as usize + 2]);
            note_delivered(segment, cell, line.next());
        }
    }

    /// Step two, after the positions were taken: collects the ends.
    pub(crate) fn collect_ends(&self, count: usize, segment: &Segment, writers: &mut WriterTable) {
        if self.events.is_empty() {
            return;
        }
        let accepted = &self.queue[self.first..self.first + count];
        for Queued { at, .. } in accepted.iter().filter(|queued| queued.at >= EVENT) {
            match &self.events[(at - EVENT) as usize] {
                Event::Ended { writer, .. } => writers.forget(segment, *writer),
                Event::NeverOpened { ticket, .. } => writers.collect_never_opened(segment, *ticket),
                Event::Long(_) | Event::Stray(_) | Event::Lost { .. } | Event::Damaged { .. } => {}
            }
        }
    }

    /// Step three: drops them from the queue.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.first += count;
        if self.len() == 0 {
            self.queue.clear();
            self.events.clear();
            (self.first, self.filled) = (0, 0);
        }
    }
}

/// The end of the queue, at which lines of one slot are put in.
#[derive(Debug)]
pub(crate) struct Tail<'d> {
    queue: &'d mut Vec<Queued>,
    filled: &'d mut usize,
    stride: usize,
}

impl Tail<'_> {
    /// As [`ReadQueue::push_line`].
    #[inline]
    pub(crate) fn push_line(&mut self, end_position: Position, writer: u32) {
        self.queue.push(Queued { end_position, writer, at: *self.filled as u32 });
        *self.filled += self.stride;
    }
}

/// Boxed, so that the common case stays fast: were it returned in the item's own memory, each line
/// would be put together there too, and be moved from there in words that were just stored in
/// pieces. The processor waits longer for that than all other work on a line takes.
#[cold]
#[inline(never)]
fn event_item<'d>(segment: &Segment, writers: &'d WriterTable, event: &'d Event) -> Box<Item<'d>> {
    Box::new(match event {
        Event::Long(long) | Event::Stray(long) => {
            let Long { header, writer, bytes, missing, truncated, damaged } = long;
            let line = line(segment, writers, header, *writer, bytes, *missing, *truncated);
            Item::Line(Line { damaged: *damaged, ..line })
        }
        Event::Lost { writer, lines, .. } => {
            let (worker, label) = name(writers, *writer);
            let cause =
                if segment.overwrites() { LossCause::Overwritten } else { LossCause::Dropped };
            Item::Lost(Lost { writer_id: worker, label, lines: *lines, cause })
        }
        Event::Ended { writer, end, process, exit } => {
            let (writer_id, label) = name(writers, *writer);
            let progress = writers.get(*writer).map(|known| &known.progress);
            let cell = progress.map(|progress| progress.mirror.cell);
            let (lines, lost) = progress.map_or((0, 0), |progress| (progress.lines, progress.lost));
            let (end, process, exit) = (*end, *process, *exit);
            Item::Ended(Ended { writer_id, process, cell, label, end, lines, lost, exit })
        }
        Event::NeverOpened { worker, label, end, .. } => Item::Ended(Ended {
            writer_id: *worker,
            process: None,
            cell: None,
            label: Cow::Borrowed(label),
            end: *end,
            lines: 0,
            lost: 0,
            exit: None,
        }),
        Event::Damaged { position } => Item::Damaged { position: position.0 },
    })
}

#[inline]
fn name(writers: &WriterTable, writer: u32) -> (u32, Cow<'_, str>) {
    writers
        .get(writer)
        .map_or((u32::MAX, "".into()), |known| (known.worker, Cow::Borrowed(&*known.label)))
}

#[inline(always)]
fn line<'d>(
    segment: &Segment,
    writers: &'d WriterTable,
    header: &SlotHeader,
    writer: u32,
    bytes: &'d [u8],
    missing: u64,
    truncated: bool,
) -> Line<'d> {
    let (worker, label) = name(writers, writer);
    Line {
        truncated,
        missing,
        ..line_of(header, segment.geometry().created, worker, label, bytes.into())
    }
}

fn note_event(segment: &Segment, writers: &WriterTable, event: &Event) {
    match event {
        Event::Long(Long { header, .. }) => {
            note_delivered(segment, header.cell, header.line.next());
        }
        Event::Lost { writer, next, .. } => {
            if let Some(writer) = writers.get(*writer) {
                note_delivered(segment, writer.progress.mirror.cell, *next);
            }
        }
        Event::Stray(_)
        | Event::Ended { .. }
        | Event::NeverOpened { .. }
        | Event::Damaged { .. } => {}
    }
}

/// Every line of `cell` before line `next` was accepted, or is known to be lost.
#[inline]
fn note_delivered(segment: &Segment, cell: u16, next: LineNumber) {
    if let Some(cell) = segment.cells().get(usize::from(cell)) {
        cell.reader.0.delivered.store(next.get(), Relaxed);
    }
}
