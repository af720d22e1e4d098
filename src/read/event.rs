//! [`Event`]: what is queued that is no line of one slot, and what accepting either says of its
//! mirror.

use std::borrow::Cow;
use std::process::ExitStatus;
use std::sync::Arc;

use crate::layout::sync::Ordering;
use crate::layout::{LineNumber, Position, SlotHeader};
use crate::line::item::{End, Ended, Item, Line, LossCause, Lost};
use crate::read::assembly::Long;
use crate::read::decode::line_of;
use crate::read::writers::WriterTable;
use crate::segment::Segment;

use Ordering::Relaxed;

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

/// Boxed, so that the common case stays fast: were it returned in the item's own memory, each line
/// would be put together there too, and be moved from there in words that were just stored in
/// pieces. The processor waits longer for that than all other work on a line takes.
#[cold]
#[inline(never)]
pub(super) fn event_item<'d>(
    segment: &Segment,
    writers: &'d WriterTable,
    event: &'d Event,
) -> Box<Item<'d>> {
    Box::new(match event {
        Event::Long(long) | Event::Stray(long) => {
            let Long { header, writer, bytes, missing, truncated, damaged } = long;
            let line = line(segment, writers, header, *writer, bytes, *missing, *truncated);
            Item::Line(Line { damaged: *damaged, ..line })
        }
        Event::Lost { writer, lines, next } => {
            let (writer_id, label) = name(writers, *writer);
            let cell = writers.get(*writer).map_or(0, |known| known.progress.mirror.cell);
            let first = next.minus(*lines).get();
            let cause =
                if segment.overwrites() { LossCause::Overwritten } else { LossCause::Dropped };
            Item::Lost(Lost { writer_id, cell, first, label, lines: *lines, cause })
        }
        Event::Ended { writer, end, process, exit } => {
            let (writer_id, label) = name(writers, *writer);
            let progress = writers.get(*writer).map(|known| &known.progress);
            let cell = progress.map(|progress| progress.mirror.cell);
            let first = progress.map_or(0, |progress| progress.mirror.epoch.get());
            // Its end was noted.
            let next = progress.map_or(0, |progress| progress.expected.get());
            let (lines, lost) = progress.map_or((0, 0), |progress| (progress.lines, progress.lost));
            let (end, process, exit) = (*end, *process, *exit);
            Item::Ended(Ended {
                writer_id,
                process,
                cell,
                first,
                next,
                label,
                end,
                lines,
                lost,
                exit,
            })
        }
        Event::NeverOpened { worker, label, end, .. } => Item::Ended(Ended {
            writer_id: *worker,
            process: None,
            cell: None,
            first: 0,
            next: 0,
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

/// What accepting it says, before anything is taken.
pub(super) fn note_event(segment: &Segment, writers: &WriterTable, event: &Event) {
    match event {
        Event::Long(Long { header, .. }) => {
            note_delivered_before(segment, header.cell, header.line.next());
        }
        Event::Lost { writer, next, .. } => {
            if let Some(writer) = writers.get(*writer) {
                note_delivered_before(segment, writer.progress.mirror.cell, *next);
            }
        }
        Event::Ended { writer, .. } => {
            if let Some(ticket) = writers.get(*writer).and_then(|known| known.ticket) {
                segment.count_end(ticket);
            }
        }
        // No line is its.
        Event::NeverOpened { ticket, .. } => segment.free_ticket(*ticket),
        Event::Stray(_) | Event::Damaged { .. } => {}
    }
}

/// The line of which a header says this, and every line of its cell before it, was accepted or is
/// known to be lost.
#[inline]
pub(crate) fn note_delivered(segment: &Segment, source: u64) {
    let (cell, line) = SlotHeader::cell_and_line(source);
    note_delivered_before(segment, cell, line.next());
}

/// The same of every line of `cell` before line `next`.
#[inline]
fn note_delivered_before(segment: &Segment, cell: u16, next: LineNumber) {
    if let Some(cell) = segment.cells().get(usize::from(cell)) {
        cell.reader.0.delivered.store(next.get(), Relaxed);
    }
}
