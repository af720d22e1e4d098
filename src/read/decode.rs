//! From a slot's words to a line.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::layout::{SlotHeader, flag};
use crate::line::item::{Kind, Level, Line, Stream};

/// A line as its slot's header says; whole.
#[inline]
pub(crate) fn line_of<'a>(
    header: &SlotHeader,
    created: u64,
    worker: u32,
    label: Cow<'a, str>,
    bytes: Cow<'a, [u8]>,
) -> Line<'a> {
    Line {
        position: header.position.0,
        writer_id: worker,
        cell: header.cell,
        number: header.line.get(),
        label,
        stream: Stream::from_bits(header.flags >> flag::STREAM_SHIFT),
        level: Level::from_bits(header.level),
        tag: header.tag,
        time: time_of(header.time, created),
        kind: Kind::from_bits(header.flags >> flag::KIND_SHIFT),
        truncated: false,
        unfinished: header.is(flag::UNFINISHED),
        unacknowledged: header.is(flag::UNACKNOWLEDGED),
        damaged: false,
        missing: 0,
        bytes,
    }
}

/// The time of a slot: microseconds since the segment's creation, plus one.
#[inline]
pub(crate) fn time_of(raw: u64, created: u64) -> Option<SystemTime> {
    let micros = raw.checked_sub(1)?;
    let since = Duration::from_nanos(created) + Duration::from_micros(micros);
    SystemTime::UNIX_EPOCH.checked_add(since)
}
