//! What was decoded and not accepted yet: short lines as images of their slots, everything else
//! beside them.

use std::borrow::Cow;
use std::process::ExitStatus;
use std::slice::ChunksExactMut;
use std::sync::Arc;

use crate::layout::sync::Ordering;
use crate::layout::{LINE_MASK, Shape, SlotHeader, flag};
use crate::line::item::{Ended, Item, Line, LossCause, Lost};
use crate::read::assembly::{Long, image_of, trailer};
use crate::read::decode::line_of;
use crate::read::writers::Sources;
use crate::segment::Segment;

use Ordering::Relaxed;

/// A batch.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// From `first` on.
    queue: Vec<Queued>,
    first: usize,
    others: Vec<Other>,
    /// The images of short lines' slots, each of `stride` words.
    arena: Vec<u64>,
    shape: Shape,
    stride: usize,
    /// Words that are in use.
    filled: usize,
}

/// A decoded item, in the order in which it will be handed out. Small, since every line goes
/// through it.
#[derive(Clone, Copy, Debug)]
struct Queued {
    /// Accepting it takes every position before this one.
    upto: u64,
    /// The mirror, of a short line; else `NOBODY`.
    source: u32,
    /// A line of one slot: the word of the arena at which its image begins. It stands right before
    /// `upto`. Anything else: `OTHER` and its index among the rest.
    at: u32,
}

impl Queued {
    /// Whether `next` is a short line of the same mirror.
    fn goes_on(&self, next: &Self) -> bool {
        self.source == next.source && self.source != NOBODY
    }
}

/// More words than an arena has.
const OTHER: u32 = 1 << 31;
/// No mirror's number among the sources.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Everything but a line of one slot.
#[derive(Debug)]
pub(crate) enum Other {
    Long(Long),
    /// One whose checksum does not agree, and which is not known to be the next one of the mirror
    /// that it names.
    Stray(Long),
    /// `next` is the number of the line after them.
    Lost {
        source: u32,
        lines: u64,
        next: u64,
    },
    Ended {
        source: u32,
        end: crate::End,
        exit: Option<ExitStatus>,
    },
    NeverOpened {
        ticket: u32,
        worker: u32,
        label: Arc<str>,
        end: crate::End,
    },
    Damaged {
        position: u64,
    },
}

impl Decoded {
    /// Empty; with room for so many short lines.
    pub(crate) fn new(lines: usize, shape: Shape) -> Self {
        let stride = shape.slot_words;
        Self {
            queue: Vec::with_capacity(lines),
            first: 0,
            others: Vec::new(),
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

    /// What the next image has, once it is filled.
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
    /// position before `upto`.
    pub(crate) fn push_line(&mut self, upto: u64, source: u32) {
        let (_, mut tail) = self.images();
        tail.push_line(upto, source);
    }

    pub(crate) fn push(&mut self, upto: u64, other: Other) {
        self.queue.push(Queued { upto, source: NOBODY, at: OTHER + self.others.len() as u32 });
        self.others.push(other);
    }

    // ------------------------------------------------------------------------------------- hand
    // out

    /// The items, in order.
    #[inline]
    pub(crate) fn items<'d>(
        &'d self,
        segment: &'d Segment,
        sources: &'d Sources,
    ) -> impl Iterator<Item = Item<'d>> {
        self.queue[self.first..].iter().map(|queued| self.item(segment, sources, queued))
    }

    #[inline(always)]
    fn item<'d>(&'d self, segment: &Segment, sources: &'d Sources, queued: &Queued) -> Item<'d> {
        let Queued { upto, source, at } = *queued;
        if at >= OTHER {
            return *other_item(segment, sources, &self.others[(at - OTHER) as usize]);
        }
        let (header, payload) = image_of(self.shape, &self.arena[at as usize..]);
        let header = SlotHeader { position: upto.wrapping_sub(1), ..header };
        let (length, missing) = trailer(&header, payload);
        let truncated = header.is(flag::TRUNCATED);
        Item::Line(line(segment, sources, &header, source, &payload[..length], missing, truncated))
    }

    // ---------------------------------------------------------------------------------------
    // accept

    /// What accepting the first `count` items takes: every position before this.
    #[inline]
    pub(crate) fn upto(&self, count: usize) -> Option<u64> {
        self.queue[self.first..self.first + count].last().map(|queued| queued.upto)
    }

    /// The first `count` items were accepted: the part that comes before they are taken. Notes how
    /// far each mirror's lines were delivered, or are known to be lost.
    pub(crate) fn note_delivered(&self, count: usize, segment: &Segment, sources: &Sources) {
        for run in self.queue[self.first..self.first + count].chunk_by(Queued::goes_on) {
            // Of a run of lines the last one says it all.
            let Some(Queued { at, .. }) = run.last() else { continue };
            if *at >= OTHER {
                note_other(segment, sources, &self.others[(at - OTHER) as usize]);
                continue;
            }
            let (cell, line) = SlotHeader::cell_and_line(self.arena[*at as usize + 2]);
            note_delivered(segment, cell, line.wrapping_add(1));
        }
    }

    /// The part that comes after: ends are collected.
    pub(crate) fn collect_ends(&self, count: usize, segment: &Segment, sources: &mut Sources) {
        if self.others.is_empty() {
            return;
        }
        let accepted = &self.queue[self.first..self.first + count];
        for Queued { at, .. } in accepted.iter().filter(|queued| queued.at >= OTHER) {
            match &self.others[(at - OTHER) as usize] {
                Other::Ended { source, .. } => sources.forget(segment, *source),
                Other::NeverOpened { ticket, .. } => sources.collect_never_opened(segment, *ticket),
                Other::Long(_) | Other::Stray(_) | Other::Lost { .. } | Other::Damaged { .. } => {}
            }
        }
    }

    /// They are done with.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.first += count;
        if self.len() == 0 {
            self.queue.clear();
            self.others.clear();
            (self.first, self.filled) = (0, 0);
        }
    }
}

/// The end of the queue.
#[derive(Debug)]
pub(crate) struct Tail<'d> {
    queue: &'d mut Vec<Queued>,
    filled: &'d mut usize,
    stride: usize,
}

impl Tail<'_> {
    /// As [`Decoded::push_line`].
    #[inline]
    pub(crate) fn push_line(&mut self, upto: u64, source: u32) {
        self.queue.push(Queued { upto, source, at: *self.filled as u32 });
        *self.filled += self.stride;
    }
}

/// Boxed: if it came in the item's own memory, each line would have to be put together there too,
/// and moved from there in words that were just stored in pieces, for which the processor waits
/// longer than all else takes that is done for a line.
#[cold]
#[inline(never)]
fn other_item<'d>(segment: &Segment, sources: &'d Sources, other: &'d Other) -> Box<Item<'d>> {
    Box::new(match other {
        Other::Long(long) | Other::Stray(long) => {
            let Long { header, source, bytes, missing, truncated, damaged } = long;
            let line = line(segment, sources, header, *source, bytes, *missing, *truncated);
            Item::Line(Line { damaged: *damaged, ..line })
        }
        Other::Lost { source, lines, .. } => {
            let (worker, label) = name(sources, *source);
            let cause =
                if segment.overwrites() { LossCause::Overwritten } else { LossCause::Dropped };
            Item::Lost(Lost { writer_id: worker, label, lines: *lines, cause })
        }
        Other::Ended { source, end, exit } => {
            let (worker, label) = name(sources, *source);
            let (lines, lost) = sources.get(*source).map_or((0, 0), |s| (s.lines, s.lost));
            let cell = sources.get(*source).map(|s| s.mirror.cell);
            Item::Ended(Ended {
                writer_id: worker,
                cell,
                label,
                end: *end,
                lines,
                lost,
                exit: *exit,
            })
        }
        Other::NeverOpened { worker, label, end, .. } => Item::Ended(Ended {
            writer_id: *worker,
            cell: None,
            label: Cow::Borrowed(label),
            end: *end,
            lines: 0,
            lost: 0,
            exit: None,
        }),
        Other::Damaged { position } => Item::Damaged { position: *position },
    })
}

#[inline]
fn name(sources: &Sources, source: u32) -> (u32, Cow<'_, str>) {
    sources.get(source).map_or((u32::MAX, "".into()), |s| (s.worker, Cow::Borrowed(&*s.label)))
}

#[inline(always)]
fn line<'d>(
    segment: &Segment,
    sources: &'d Sources,
    header: &SlotHeader,
    source: u32,
    bytes: &'d [u8],
    missing: u64,
    truncated: bool,
) -> Line<'d> {
    let (worker, label) = name(sources, source);
    Line {
        truncated,
        missing,
        ..line_of(header, segment.geometry().created, worker, label, bytes.into())
    }
}

fn note_other(segment: &Segment, sources: &Sources, other: &Other) {
    match other {
        Other::Long(Long { header, .. }) => {
            note_delivered(segment, header.cell, header.line.wrapping_add(1));
        }
        Other::Lost { source, next, .. } => {
            if let Some(source) = sources.get(*source) {
                note_delivered(segment, source.mirror.cell, *next);
            }
        }
        Other::Stray(_)
        | Other::Ended { .. }
        | Other::NeverOpened { .. }
        | Other::Damaged { .. } => {}
    }
}

/// Every line of `cell` before line `next` was accepted, or is known to be lost.
#[inline]
fn note_delivered(segment: &Segment, cell: u16, next: u64) {
    if let Some(cell) = segment.cells().get(usize::from(cell)) {
        cell.reader.0.delivered.store(next & LINE_MASK, Relaxed);
    }
}
