//! Lines that have begun and not ended, for who wants to see them where they stand: in the spares.
//!
//! A look at a spare races with its thread. Three steps make it exact: look at the spare (unchanged meanwhile, by its
//! hold word and `pending`), then drain, then compare. What the thread published between the look and the drain came
//! with the drain, and the look is dropped; what it published after the drain is still in the look.

use std::borrow::Cow;
use std::sync::atomic::{Ordering, fence};
use std::thread;

use crate::drain::Drain;
use crate::layout::{Cell, Hold, Owner, SlotHeader, flag};
use crate::message::{Kind, Level, Line, Stream, time_of};
use crate::ring::peek_payload;
use crate::segment::Segment;
use crate::source::lines_between;

/// A thread's line that has begun and not ended.
pub(crate) struct Begun {
    pub(crate) order: u64,
    pub(crate) line: Line<'static>,
}

/// What a cell's spare held of an unfinished line.
pub(crate) struct SpareView {
    /// The hold word.
    hold: u64,
    header: SlotHeader,
    bytes: Vec<u8>,
}

impl SpareView {
    /// Nothing, if nothing is unfinished there, or the thread is in the middle of publishing all the while.
    pub(crate) fn of(segment: &Segment, index: usize) -> Option<Self> {
        let cell = &segment.cells()[index];
        let ring = segment.ring();
        if cell.owner() == Some(Owner::Free) {
            return None;
        }
        let mut bytes = vec![0; ring.shape.payload()];
        for look in 0..MOST_LOOKS {
            if look > 10 {
                thread::yield_now();
            }
            // In this order: a line that was rewritten meanwhile has another hold word and may have the same pending one.
            let hold = cell.writer.0.hold.load(Ordering::Acquire);
            let pending = cell.pending();
            let Hold::Held(slot) = Hold::unpack(hold).0 else { continue };
            let header = peek_payload(ring, slot, &mut bytes)?;
            // ORD unfinished:B, acquire fence; pairs with publish:F, renew:A and pending:A; if a word above came from the
            // spare's next use, one of the two words below has changed.
            fence(Ordering::Acquire);
            if cell.pending() != pending || cell.writer.0.hold.load(Ordering::Relaxed) != hold {
                continue;
            }
            if pending.bytes == 0 {
                return None;
            }
            // The line was published a moment ago: this is an older line, of anybody.
            if usize::from(header.cell) != index || header.line != pending.line {
                continue;
            }
            bytes.truncate(usize::from(pending.bytes));
            return Some(Self { hold, header, bytes });
        }
        None
    }
}

/// How often a spare is looked at whose thread is in the middle of publishing it.
const MOST_LOOKS: u32 = 1000;

/// The unfinished line of a cell, by a look at its spare and a drain after that.
pub(crate) fn unfinished(
    segment: &Segment,
    drain: &Drain,
    index: usize,
    view: Option<SpareView>,
) -> Option<Begun> {
    let Cell { reader, writer, .. } = &segment.cells()[index];
    let (reader, writer) = (&reader.0, &writer.0);
    let parts = drain.unfinished(index);
    let (cut, damaged) = parts.map_or((false, false), |line| (line.truncated, line.damaged));
    let parts = parts.map(|line| (&line.header, &*line.bytes));
    // Older than what the drain brought: it brought these bytes too.
    let view = view.filter(|view| match parts {
        Some((newest, _)) => view.header.line == newest.line && view.header.part > newest.part,
        None => lines_between(reader.delivered.load(Ordering::Relaxed), view.header.line + 1) > 0,
    });
    // Parts before it were overwritten, or just forgotten, and it with them.
    let expected = parts.map_or(0, |(newest, _)| newest.part + 1);
    let truncated = view.as_ref().is_some_and(|view| view.header.part > expected);
    let view = view.filter(|view| !truncated || view.hold == writer.hold.load(Ordering::Relaxed));
    let header = view.as_ref().map(|view| view.header).or(parts.map(|(newest, _)| *newest))?;
    let order = view.as_ref().map_or(u64::MAX, |view| view.header.position);
    let (parts, rest) =
        (parts.map_or(&[][..], |(_, bytes)| bytes), view.map_or(Vec::new(), |view| view.bytes));
    let line = Line {
        level: Level::from_bits(header.level),
        stream: Stream::from_bits(header.flags >> flag::STREAM_SHIFT),
        time: time_of(header.time, segment.geometry().created),
        tag: header.tag,
        truncated: truncated || cut,
        damaged,
        ..unfinished_line(reader.serial.load(Ordering::Relaxed) as u32, header.cell, [parts, &rest].concat())
    };
    Some(Begun { order, line })
}

pub(crate) fn unfinished_line(worker: u32, cell: u16, bytes: Vec<u8>) -> Line<'static> {
    Line {
        position: u64::MAX,
        worker,
        cell,
        label: Cow::Borrowed(""),
        stream: Stream::default(),
        level: Level::default(),
        tag: 0,
        time: None,
        kind: Kind::Line,
        truncated: false,
        unfinished: true,
        unacknowledged: false,
        damaged: false,
        missing: 0,
        bytes: Cow::Owned(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Entry;
    use crate::options::{Options, Policy};
    use crate::writer::{Style, Writer};

    /// A look that goes on over a whole rewrite finds the same line and the same number of bytes.
    #[test]
    fn a_line_that_is_begun_anew_has_another_hold_word() {
        let options = Options::new().policy(Policy::OverwriteOldest).rewrite(true);
        let segment = Segment::anonymous(&options).expect("a segment");
        let mut writer = Writer::new(&segment, Entry::Unlisted).expect("a cell");
        let words = |writer: &Writer| {
            let cell = writer.registration.cell(&segment);
            (cell.writer.0.hold.load(Ordering::Relaxed), cell.pending())
        };
        writer.write(&segment, b" 50%", Style::default()).expect("room");
        let before = words(&writer);
        writer.write(&segment, b"\r100%", Style::default()).expect("room");
        let after = words(&writer);
        assert_eq!(before.1, after.1, "the same line, as long as before");
        assert_ne!(before.0, after.0);
        writer.forget_unfinished(&segment);
        writer.write(&segment, b"last", Style::default()).expect("room");
        assert_eq!(words(&writer).1, after.1);
        assert_ne!(words(&writer).0, after.0, "cleared, and begun anew");
    }
}
