//! Lines that have begun and not ended, read where they stand: in the spares of their cells.
//!
//! A snapshot of a spare races with the thread that writes into it. Three steps make it exact: take
//! the snapshot (unchanged meanwhile, by its hold word and `pending`), then drain the ring, then
//! compare. What the thread published between the snapshot and the drain came with the drain, and
//! the snapshot is dropped; what it published after the drain is still in the snapshot.

use std::borrow::Cow;
use std::sync::atomic::{Ordering, fence};
use std::thread;

use crate::exchange::peek_payload;
use crate::layout::{Hold, Owner, Position, SlotHeader, flag};
use crate::line::item::{Kind, Level, Line, Stream};
use crate::read::assembly::Collected;
use crate::read::decode::time_of;
use crate::read::drain::Drain;
use crate::segment::Segment;

/// How often a spare is read whose thread is in the middle of publishing it.
const MOST_TRIES: u32 = 1000;
/// After how many of these the thread that reads gives way to others.
const TRIES_BEFORE_YIELD: u32 = 10;

/// A thread's line that has begun and not ended.
pub(crate) struct PartialLine {
    /// Its place among the partial lines.
    pub(crate) order: u64,
    pub(crate) line: Line<'static>,
}

impl PartialLine {
    pub(crate) fn new(order: u64, worker: u32, cell: u16, bytes: Vec<u8>) -> Self {
        let line = Line {
            position: u64::MAX,
            writer_id: worker,
            cell,
            number: 0,
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
        };
        Self { order, line }
    }
}

/// What a cell's spare held of a partial line.
pub(crate) struct SpareSnapshot {
    /// The hold word.
    hold: u64,
    header: SlotHeader,
    bytes: Vec<u8>,
}

impl SpareSnapshot {
    /// `None` if no line has begun there, or the thread is in the middle of publishing at each try.
    pub(crate) fn of(segment: &Segment, index: usize) -> Option<Self> {
        let cell = &segment.cells()[index];
        let ring = segment.ring();
        if cell.owner() == Some(Owner::Free) {
            return None;
        }
        let mut bytes = vec![0; ring.shape.payload()];
        for tries in 0..MOST_TRIES {
            if tries > TRIES_BEFORE_YIELD {
                thread::yield_now();
            }
            // In this order: a line that was rewritten meanwhile has another hold word and may have
            // the same pending one.
            // ORD unfinished:C, acquire; pairs with publish:F and renew:A; the words below are no
            // older.
            let hold = cell.writer.0.hold.load(Ordering::Acquire);
            let pending = cell.pending();
            let Hold::Held(slot) = Hold::unpack(hold).0 else { continue };
            let header = peek_payload(ring, slot, &mut bytes)?;
            // ORD unfinished:B, acquire fence; pairs with publish:F, renew:A and pending:A; if a
            // word above came from the spare's next use, one of the two words below has changed.
            fence(Ordering::Acquire);
            if cell.pending() != pending || cell.writer.0.hold.load(Ordering::Relaxed) != hold {
                continue;
            }
            if pending.bytes == 0 {
                return None;
            }
            // The line was published a moment ago: this is an older line, of any mirror.
            if usize::from(header.cell) != index || header.line != pending.line {
                continue;
            }
            bytes.truncate(usize::from(pending.bytes));
            return Some(Self { hold, header, bytes });
        }
        None
    }
}

/// The partial line of a cell, by a snapshot of its spare and a drain after that. `tail`: the
/// ring's before both.
pub(crate) fn partial_line(
    drain: &Drain,
    index: usize,
    spare: Option<SpareSnapshot>,
    tail: Position,
) -> Option<PartialLine> {
    let segment = drain.segment();
    let cell = &segment.cells()[index];
    let (reader, writer) = (&cell.reader.0, &cell.writer.0);
    let is_current = |spare: &SpareSnapshot| spare.hold == writer.hold.load(Ordering::Relaxed);
    let (parts, spare) = of_one_line(drain.partial_line(index), spare, tail, is_current);
    let parts = parts.map(|parts| parts.line);
    let newest = parts.map(|line| &line.header);
    // Older than what the drain brought: it brought these bytes too.
    let spare = spare.filter(|SpareSnapshot { header, .. }| match newest {
        Some(newest) => header.line == newest.line && header.part > newest.part,
        None => cell.delivered().lines_to(header.line.next()) > 0,
    });
    // Parts before it were overwritten, or just made void, and it with them.
    let expected = newest.map_or(0, |newest| newest.part + 1);
    let lacks_parts = spare.as_ref().is_some_and(|spare| spare.header.part > expected);
    let spare = spare.filter(|spare| !lacks_parts || is_current(spare));
    let header = spare.as_ref().map(|spare| spare.header).or(newest.copied())?;
    let order = spare.as_ref().map_or(u64::MAX, |spare| spare.header.position.0);
    let (first, rest) =
        (parts.map_or(&[][..], |line| &line.bytes), spare.map_or(Vec::new(), |spare| spare.bytes));
    let worker = reader.serial.load(Ordering::Relaxed) as u32;
    let mut partial = PartialLine::new(order, worker, header.cell, [first, &rest].concat());
    partial.line.level = Level::from_bits(header.level);
    partial.line.stream = Stream::from_bits(header.flags >> flag::STREAM_SHIFT);
    partial.line.time = time_of(header.time, segment.geometry().created);
    partial.line.tag = header.tag;
    partial.line.truncated = lacks_parts || parts.is_some_and(|line| line.truncated);
    partial.line.damaged = parts.is_some_and(|line| line.damaged);
    Some(partial)
}

/// Leaves out the older of the two if the drained parts are of another line than the snapshot of
/// the spare, though both have the same number: a line that was begun anew has that of the void
/// one.
fn of_one_line<'d>(
    parts: Option<Collected<'d>>,
    spare: Option<SpareSnapshot>,
    tail: Position,
    is_current: impl Fn(&SpareSnapshot) -> bool,
) -> (Option<Collected<'d>>, Option<SpareSnapshot>) {
    let (drained, seen) = match (parts, spare) {
        (Some(drained), Some(seen)) => (drained, seen),
        one => return one,
    };
    let newest = &drained.line.header;
    if seen.header.line != newest.line || seen.header.part <= newest.part {
        return (Some(drained), Some(seen));
    }
    // Whether the parts began before the snapshot, and so are of the line that was seen, or of one
    // before that.
    let began_before = || drained.began.is_some_and(|began| began.is_before(tail));
    match (newest.is(flag::ANEW), seen.header.is(flag::ANEW)) {
        // Both are of the first line of that number.
        (false, false) => (Some(drained), Some(seen)),
        (true, false) => (Some(drained), None),
        // What the drain skipped made the parts void, or may have.
        (false, true) => (None, Some(seen)),
        (true, true) if drained.skipped => (None, Some(seen)),
        // The drain skipped nothing: the parts are of the line that was seen, or of one after it.
        (true, true) if is_current(&seen) || began_before() => (Some(drained), Some(seen)),
        (true, true) => (Some(drained), None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::cell::MirrorKind;
    use crate::segment::options::{Options, Policy};
    use crate::write::writer::{Style, Writer};

    /// A snapshot of a spare that takes as long as a whole rewrite finds the same line and the same
    /// number of bytes.
    #[test]
    fn a_line_that_is_begun_anew_has_another_hold_word() {
        let options = Options::new().policy(Policy::OverwriteOldest).rewrite(true);
        let segment = Arc::new(Segment::anonymous(&options).expect("a segment"));
        let mut writer = Writer::new(&segment, MirrorKind::Unlisted).expect("a cell");
        let words = |writer: &Writer| {
            let cell = writer.registration().cell(&segment);
            (cell.writer.0.hold.load(Ordering::Relaxed), cell.pending())
        };
        writer.write(b" 50%", Style::default()).expect("room");
        let before = words(&writer);
        writer.write(b"\r100%", Style::default()).expect("room");
        let after = words(&writer);
        assert_eq!(before.1, after.1, "the same line, as long as before");
        assert_ne!(before.0, after.0);
        writer.discard_partial();
        writer.write(b"last", Style::default()).expect("room");
        assert_eq!(words(&writer).1, after.1);
        assert_ne!(words(&writer).0, after.0, "cleared, and begun anew");
    }

    /// Between the snapshot of the spare and the drain, and before, the line is begun anew any
    /// number of times, and goes on; in some rounds other lines overwrite it meanwhile. What is
    /// made of the two is never of two lines.
    #[test]
    fn a_snapshot_and_a_drain_of_lines_with_the_same_number_are_not_joined() {
        let options = Options::new()
            .policy(Policy::OverwriteOldest)
            .lines(32)
            .line_bytes(64)
            .max_line(500)
            .rewrite(true);
        let (mut joined, mut whole) = (0, 0);
        for round in 0..3 * 3 * 3 * 3 * 8 {
            let segment = Segment::anonymous(&options.clone().mirrors(3)).expect("a segment");
            let segment = Arc::new(segment);
            let style = Style::default();
            let [mut writer, mut other] =
                [0, 1].map(|_| Writer::new(&segment, MirrorKind::Unlisted).expect("a cell"));
            let mut drain = Drain::open(&segment).expect("the first");
            let read = |drain: &mut Drain| {
                while drain.fill() {
                    drain.accept(1);
                }
            };
            let mut overrun = || {
                (0..40).for_each(|_| other.line(b"other", style).expect("room"));
            };
            let (mut letter, mut written) = (b'a', 0);
            let mut go_on = |voids: usize, parts: usize| {
                for _ in 0..voids {
                    writer.rewrite();
                    (letter, written) = (letter + 1, 0);
                    writer.append(&[letter; 33], style).expect("room");
                    written += 33;
                }
                let more = vec![letter; parts * 32 + usize::from(written == 0)];
                writer.append(&more, style).expect("room");
                written += more.len();
                written
            };
            let digits = [1, 3, 9, 27].map(|unit| round / unit % 3);
            let flags = [1, 2, 4].map(|bit| (round / 81) & bit != 0);
            go_on(digits[0], digits[1]);
            if flags[0] {
                read(&mut drain);
            }
            if flags[1] {
                overrun();
            }
            let length = go_on(usize::from(flags[1]) * digits[0], digits[1]);
            let tail = segment.ring().tail();
            let spare = SpareSnapshot::of(&segment, 1);
            let newest = go_on(digits[2], digits[3]);
            if flags[2] {
                overrun();
            }
            read(&mut drain);
            let Some(PartialLine { line, .. }) = partial_line(&drain, 1, spare, tail) else {
                // All that was seen of it was void or overwritten by then.
                assert!(flags[2], "{digits:?} {flags:?}");
                continue;
            };
            let is_one = line.bytes.iter().all(|byte| *byte == line.bytes[0]);
            assert!(is_one, "{digits:?} {flags:?}: {}", String::from_utf8_lossy(&line.bytes));
            joined += usize::from(line.bytes.len() > 32);
            // Nothing was overwritten, and the line went on as it was.
            if !flags[1] && !flags[2] && digits[2] == 0 {
                assert!(
                    (length..=newest).contains(&line.bytes.len()),
                    "{digits:?} {flags:?}: {line:?}"
                );
                whole += 1;
            }
        }
        assert!(joined > 100 && whole > 20, "{joined}, {whole}");
    }

    /// A snapshot whose line was begun anew before it, and went on since, is joined to the drained
    /// parts.
    #[test]
    fn a_line_begun_anew_that_goes_on_between_the_snapshot_and_the_drain_is_all_there() {
        let options = Options::new()
            .policy(Policy::OverwriteOldest)
            .lines(32)
            .line_bytes(64)
            .max_line(500)
            .rewrite(true);
        let segment = Arc::new(Segment::anonymous(&options).expect("a segment"));
        let mut writer = Writer::new(&segment, MirrorKind::Unlisted).expect("a cell");
        let mut drain = Drain::open(&segment).expect("the first");
        writer.append(&[b'a'; 40], Style::default()).expect("room");
        writer.rewrite();
        writer.append(&[b'b'; 40], Style::default()).expect("room");
        let tail = segment.ring().tail();
        let spare = SpareSnapshot::of(&segment, 1);
        assert!(!drain.fill());
        // What is published after the drain changes the hold word, and is still in the snapshot.
        writer.append(&[b'b'; 40], Style::default()).expect("room");
        let line = partial_line(&drain, 1, spare, tail).expect("it has begun").line;
        assert_eq!((&*line.bytes, line.truncated), (&[b'b'; 40][..], false));
    }
}
