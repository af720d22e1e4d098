//! [`Record`]: one item of a ring, as a message has it.
//!
//! A head of 38 bytes, all numbers little-endian, then the label, then the bytes:
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | position; 0 of a loss and of an end |
//! | 8 | 8 | time, in microseconds since 1970; 0 for none |
//! | 16 | 6 | number of the line; of a loss, of its first line; of an end, of the mirror's first line |
//! | 22 | 2 | cell; 65535 for none |
//! | 24 | 4 | the mirror's number |
//! | 28 | 2 | tag |
//! | 30 | 1 | 0 a line, 1 a loss, 2 an end, 3 damage, 4 the key of an end that a message before has |
//! | 31 | 1 | stream in bits 0 and 1, level in bits 2 to 4 |
//! | 32 | 1 | kind in bits 0 to 2, then truncated, unfinished, unacknowledged, damaged |
//! | 33 | 1 | bytes of the label |
//! | 34 | 4 | bytes after it |
//!
//! The bytes of a loss are how many lines were lost (8 bytes) and why (1 byte: 0 dropped, 1
//! overwritten); those of an end, the number after the mirror's last line (8 bytes), how it ended
//! (1), and the process (4; 0 for none).

use std::time::{Duration, SystemTime};

use linering::{End, Item, Kind, Level, Line, LineRef, LossCause, Stream};

const HEAD: usize = 38;
const NO_CELL: u16 = u16::MAX;
const NUMBERS: u64 = (1 << 48) - 1;

/// An item, as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where a line stands in the order of its ring, or damage; 0 of a loss and of an end.
    pub position: u64,
    /// When the line was begun.
    pub time: Option<SystemTime>,
    /// The key of what has no position, with the cell: see [`linering::Line::number`].
    pub number: u64,
    /// The mirror's cell; `None` of the end of a seat that was never opened.
    pub cell: Option<u16>,
    /// The mirror's number.
    pub writer_id: u32,
    /// The mirror's label.
    pub label: String,
    /// What it is.
    pub what: What,
}

/// What a [`Record`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A line, or a group of lines.
    Line {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its stream.
        stream: Stream,
        /// How serious it is.
        level: Level,
        /// One line, or a group.
        kind: Kind,
        /// A number whose meaning is the writer's.
        tag: u16,
        /// Some of its bytes are missing.
        truncated: bool,
        /// It has no end.
        unfinished: bool,
        /// Its writer died before the write returned.
        unacknowledged: bool,
        /// Its checksum does not agree.
        damaged: bool,
    },
    /// So many lines that will not come.
    Lost {
        /// How many.
        lines: u64,
        /// Why.
        cause: LossCause,
    },
    /// A mirror's end.
    Ended {
        /// The number after its last line.
        next: u64,
        /// How.
        end: End,
        /// The process that opened it.
        process: Option<u32>,
    },
    /// What stood at the position was nothing that a writer left there.
    Damaged,
    /// An end that an earlier message has, and that the ring may still give again.
    Known,
}

/// What tells an end from all others of its ring: cell, number, mirror.
pub type EndKey = (Option<u16>, u64, u32);

struct Head<'a> {
    position: u64,
    time: Option<SystemTime>,
    number: u64,
    cell: u16,
    writer_id: u32,
    tag: u16,
    what: u8,
    style: u8,
    flags: u8,
    label: &'a str,
}

fn put(page: &mut Vec<u8>, head: &Head<'_>, parts: &[&[u8]]) {
    let micros = head.time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let micros = micros.map_or(0, |since| since.as_micros() as u64);
    let label = &head.label.as_bytes()[..head.label.len().min(255)];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = [0; HEAD];
    bytes[0..8].copy_from_slice(&head.position.to_le_bytes());
    bytes[8..16].copy_from_slice(&micros.to_le_bytes());
    let numbers = head.number & NUMBERS | u64::from(head.cell) << 48;
    bytes[16..24].copy_from_slice(&numbers.to_le_bytes());
    bytes[24..28].copy_from_slice(&head.writer_id.to_le_bytes());
    bytes[28..30].copy_from_slice(&head.tag.to_le_bytes());
    bytes[30..34].copy_from_slice(&[head.what, head.style, head.flags, label.len() as u8]);
    bytes[34..38].copy_from_slice(&(length as u32).to_le_bytes());
    page.extend_from_slice(&bytes);
    page.extend_from_slice(label);
    parts.iter().for_each(|part| page.extend_from_slice(part));
}

/// Adds the key of an end.
pub fn add_key(page: &mut Vec<u8>, (cell, number, writer_id): EndKey) {
    let (position, time, tag, style, flags, label) = (0, None, 0, 0, 0, "");
    let (cell, what) = (cell.unwrap_or(NO_CELL), 4);
    let head = Head { position, time, number, cell, writer_id, tag, what, style, flags, label };
    put(page, &head, &[]);
}

/// Adds a line of one slot.
pub fn add_ref(page: &mut Vec<u8>, line: &LineRef<'_>) {
    let flags = line.kind() as u8
        | u8::from(line.is_truncated()) << 3
        | u8::from(line.is_unfinished()) << 4
        | u8::from(line.is_unacknowledged()) << 5;
    let head = Head {
        position: line.position(),
        time: line.time(),
        number: line.number(),
        cell: line.cell(),
        writer_id: line.writer_id(),
        tag: line.tag(),
        what: 0,
        style: line.stream() as u8 | (line.level() as u8) << 2,
        flags,
        label: line.label(),
    };
    put(page, &head, &[line.bytes()]);
}

fn add_line(page: &mut Vec<u8>, line: &Line<'_>) {
    let flags = line.kind as u8
        | u8::from(line.truncated) << 3
        | u8::from(line.unfinished) << 4
        | u8::from(line.unacknowledged) << 5
        | u8::from(line.damaged) << 6;
    let head = Head {
        position: line.position,
        time: line.time,
        number: line.number,
        cell: line.cell,
        writer_id: line.writer_id,
        tag: line.tag,
        what: 0,
        style: line.stream as u8 | (line.level as u8) << 2,
        flags,
        label: &line.label,
    };
    put(page, &head, &[&line.bytes]);
}

/// Adds an item, without the first `skipped` of a loss's lines.
pub fn add_item(page: &mut Vec<u8>, item: &Item<'_>, skipped: u64) {
    let (time, tag, style, flags) = (None, 0, 0, 0);
    match item {
        Item::Line(line) => add_line(page, line),
        Item::Lost(lost) => {
            let (number, cell, label) = (lost.first + skipped, lost.cell, &*lost.label);
            let (position, writer_id, what) = (0, lost.writer_id, 1);
            let cause = u8::from(lost.cause == LossCause::Overwritten);
            let head =
                Head { position, time, number, cell, writer_id, tag, what, style, flags, label };
            let lines = lost.lines.saturating_sub(skipped);
            put(page, &head, &[&lines.to_le_bytes(), &[cause]]);
        }
        Item::Ended(ended) => {
            let (number, cell) = (ended.first, ended.cell.unwrap_or(NO_CELL));
            let (position, writer_id, what, label) = (0, ended.writer_id, 2, &*ended.label);
            let head =
                Head { position, time, number, cell, writer_id, tag, what, style, flags, label };
            let next = ended.next.to_le_bytes();
            let process = ended.process.unwrap_or(0).to_le_bytes();
            put(page, &head, &[&next, &[code_of(ended.end)], &process]);
        }
        Item::Damaged { position } => {
            let (position, number, cell, writer_id, what) = (*position, 0, NO_CELL, u32::MAX, 3);
            let label = "";
            let head =
                Head { position, time, number, cell, writer_id, tag, what, style, flags, label };
            put(page, &head, &[]);
        }
        // Nothing else is in this version of the library.
        _ => {}
    }
}

fn code_of(end: End) -> u8 {
    match end {
        End::Eof => 0,
        End::Died => 2,
        End::Cancelled => 3,
        End::NeverOpened => 4,
        // An error, and what a later version of the library may add.
        _ => 1,
    }
}

fn end_of(code: u8) -> Option<End> {
    Some(match code {
        0 => End::Eof,
        1 => End::Error,
        2 => End::Died,
        3 => End::Cancelled,
        4 => End::NeverOpened,
        _ => return None,
    })
}

/// How many numbers there are from `first` to the one before `next`: they begin again after
/// 2^48 - 1.
pub fn lines_between(first: u64, next: u64) -> u64 {
    next.wrapping_sub(first) & NUMBERS
}

/// Takes the next record off `body`; `None` at its end, and an error where what stands there is no
/// record.
pub fn take(body: &mut &[u8]) -> Option<Result<Record, NoRecord>> {
    if body.is_empty() {
        return None;
    }
    let record = try_take(body).ok_or(NoRecord);
    if record.is_err() {
        *body = &[];
    }
    Some(record)
}

/// What stands in a message is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecord;

fn try_take(body: &mut &[u8]) -> Option<Record> {
    let (head, rest) = body.split_first_chunk::<HEAD>()?;
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let (label, rest) = rest.split_at_checked(head[33].into())?;
    let (bytes, rest) = rest.split_at_checked(half(34) as usize)?;
    let (flags, style) = (head[32], head[31]);
    let what = match head[30] {
        0 => What::Line {
            bytes: bytes.to_vec(),
            stream: stream_of(style & 3)?,
            level: level_of(style >> 2 & 7)?,
            kind: kind_of(flags & 7)?,
            tag: u16::from_le_bytes([head[28], head[29]]),
            truncated: flags & 1 << 3 != 0,
            unfinished: flags & 1 << 4 != 0,
            unacknowledged: flags & 1 << 5 != 0,
            damaged: flags & 1 << 6 != 0,
        },
        1 => {
            let (lines, cause) = bytes.split_first_chunk()?;
            let cause = match cause {
                [0] => LossCause::Dropped,
                [1] => LossCause::Overwritten,
                _ => return None,
            };
            What::Lost { lines: u64::from_le_bytes(*lines), cause }
        }
        2 => {
            let (next, rest) = bytes.split_first_chunk()?;
            let (end, process) = rest.split_first()?;
            let process = u32::from_le_bytes(process.try_into().ok()?);
            let (next, end) = (u64::from_le_bytes(*next), end_of(*end)?);
            What::Ended { next, end, process: (process != 0).then_some(process) }
        }
        3 if bytes.is_empty() => What::Damaged,
        4 if bytes.is_empty() => What::Known,
        _ => return None,
    };
    let (micros, numbers) = (word(8), word(16));
    let cell = (numbers >> 48) as u16;
    *body = rest;
    Some(Record {
        position: word(0),
        time: (micros != 0)
            .then(|| SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros)))
            .flatten(),
        number: numbers & NUMBERS,
        cell: (cell != NO_CELL).then_some(cell),
        writer_id: half(24),
        label: String::from_utf8_lossy(label).into_owned(),
        what,
    })
}

fn stream_of(code: u8) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr, Stream::Log].get(usize::from(code)).copied()
}

fn level_of(code: u8) -> Option<Level> {
    let all = [Level::None, Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    all.get(usize::from(code)).copied()
}

fn kind_of(code: u8) -> Option<Kind> {
    let all = [Kind::Line, Kind::Text, Kind::Warning, Kind::Error, Kind::Packed];
    all.get(usize::from(code)).copied()
}

/// A record as an item, to be shown as the library shows it.
impl From<Record> for Item<'static> {
    fn from(record: Record) -> Self {
        let Record { position, time, number, cell, writer_id, label, what } = record;
        match what {
            What::Line {
                bytes,
                stream,
                level,
                kind,
                tag,
                truncated,
                unfinished,
                unacknowledged,
                damaged,
            } => {
                let mut line = Line::new("").into_owned();
                (line.position, line.time, line.number) = (position, time, number);
                (line.cell, line.writer_id) = (cell.unwrap_or(0), writer_id);
                (line.label, line.bytes) = (label.into(), bytes.into());
                (line.stream, line.level, line.kind, line.tag) = (stream, level, kind, tag);
                (line.truncated, line.unfinished) = (truncated, unfinished);
                (line.unacknowledged, line.damaged) = (unacknowledged, damaged);
                Item::Line(line)
            }
            What::Lost { lines, cause } => {
                let mut lost = linering::Lost::new(writer_id, lines, cause);
                (lost.cell, lost.first, lost.label) = (cell.unwrap_or(0), number, label.into());
                Item::Lost(lost)
            }
            What::Ended { next, end, process } => {
                let mut ended = linering::Ended::new(writer_id, end);
                (ended.cell, ended.label, ended.process) = (cell, label.into(), process);
                (ended.first, ended.next) = (number, next);
                Item::Ended(ended)
            }
            What::Damaged => Item::Damaged { position },
            What::Known => {
                let mut ended = linering::Ended::new(writer_id, End::Eof);
                (ended.cell, ended.first) = (cell, number);
                Item::Ended(ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linering::{ItemRef, LineRing, Options, Policy};
    use proptest::prelude::*;
    use std::io::Write as _;

    #[test]
    fn every_item_is_read_back_as_it_was() {
        let options = Options::new().lines(64).line_bytes(64).policy(Policy::DropNewest);
        let ring = LineRing::new(options).expect("a ring");
        let mut mirror = ring.mirror_labelled("web-1").expect("a mirror");
        mirror.set_stream(Stream::Stderr).set_level(Level::Warn).set_tag(7);
        mirror.write_line(b"short").expect("room");
        mirror.write_line(&b"longer than a slot ".repeat(20)).expect("room");
        mirror.write_all(b"begun").expect("room");
        mirror.flush_partial().expect("room");
        (0..100).for_each(|_| mirror.write_line(b"too many").expect("dropped"));
        drop(mirror);
        drop(ring.seat().expect("a seat"));
        let mut reader = ring.reader().expect("the first");
        let (mut page, mut items) = (Vec::new(), Vec::new());
        while let Some(item) = reader.try_recv_ref().expect("ours") {
            match item {
                ItemRef::Line(line) => add_ref(&mut page, &line),
                ItemRef::Other(other) => add_item(&mut page, &other.to_item(), 0),
            }
            items.push(item.to_item().into_owned());
        }
        let mut body = &page[..];
        let back: Vec<Item<'_>> =
            std::iter::from_fn(|| take(&mut body)).map(|it| it.expect("a record").into()).collect();
        assert_eq!(back.len(), items.len());
        for (back, item) in back.iter().zip(&items) {
            match (back, item) {
                (Item::Ended(back), Item::Ended(item)) => {
                    // What only its own reader can say is not sent.
                    assert_eq!(
                        (back.cell, back.first, back.next),
                        (item.cell, item.first, item.next)
                    );
                    assert_eq!(
                        (back.end, back.process, &back.label),
                        (item.end, item.process, &item.label)
                    );
                }
                (Item::Line(back), Item::Line(item)) => {
                    // To the microsecond; and how much is missing is not sent.
                    let mut item = item.clone();
                    (item.time, item.missing) = (back.time, 0);
                    assert_eq!(back, &item);
                }
                _ => assert_eq!(back, item),
            }
        }
        assert!(items.iter().any(|item| matches!(item, Item::Lost(_))), "{items:?}");
    }

    proptest! {
        #[test]
        fn whatever_bytes_there_are_none_are_a_panic(bytes: Vec<u8>) {
            let mut body = &bytes[..];
            while take(&mut body).is_some() {}
        }
    }
}
