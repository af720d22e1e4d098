//! Records as JSON lines: the names are those of `linering cat -o json`, and of a service's log.
//!
//! What is no UTF-8 stands in `bytes` too, in base64, so that every byte is read back; `msg` then
//! has replacements, and `lossy` says so. It stands there alone where `msg` would be much longer:
//! see [`most_bytes`]. `number`, `cell` and `next` are what tells one that came twice: see
//! [`Record`].

use std::borrow::Cow;
use std::time::SystemTime;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::record::{self, NoRecord, Record, What};

/// The most bytes of a line of so many: those of base64, and names, numbers and a label.
pub const fn most_bytes(line: usize) -> usize {
    line / 3 * 4 + 4096
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Object<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    level: Option<Cow<'a, str>>,
    worker: u32,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    label: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_unset")]
    tag: u16,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    msg: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "is_unset")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_unset")]
    unfinished: bool,
    #[serde(skip_serializing_if = "is_unset")]
    unacknowledged: bool,
    #[serde(skip_serializing_if = "is_unset")]
    damaged: bool,
    #[serde(skip_serializing_if = "is_unset")]
    lossy: bool,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    bytes: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    cause: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    end: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<u32>,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<u16>,
}

fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn word<'a>(word: &'static str) -> Option<Cow<'a, str>> {
    Some(word.into())
}

/// As RFC 3339 has it; `None` of a time that a calendar cannot name.
pub fn time(time: SystemTime) -> Option<String> {
    use std::fmt::Write as _;
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_micros(time)).ok().map(|()| text)
}

/// Bytes as a text and, if they are none, in base64 too.
pub fn text_and_bytes(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    let text = String::from_utf8_lossy(bytes);
    let more = matches!(text, Cow::Owned(_)).then(|| BASE64.encode(bytes));
    (text, more)
}

/// Puts JSON lines in the place of the records from `from` on.
pub fn replace(page: &mut Vec<u8>, from: usize) {
    let records = page.split_off(from);
    let mut rest = &records[..];
    while let Some(Ok(record)) = record::take(&mut rest) {
        add(page, &record);
    }
}

fn add(page: &mut Vec<u8>, record: &Record) {
    let mut object = Object {
        time: record.time.and_then(time).map(Cow::from),
        worker: record.writer_id,
        label: Some(&*record.label).filter(|label| !label.is_empty()).map(Cow::from),
        number: record.number,
        cell: record.cell,
        ..Object::default()
    };
    match &record.what {
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
            let (text, more) = text_and_bytes(bytes);
            (object.lossy, object.msg, object.bytes) =
                (more.is_some(), Some(text), more.map(Cow::from));
            object.position = Some(record.position);
            (object.stream, object.tag) = (word(stream.as_str()), *tag);
            object.level = word(level.as_str()).filter(|_| *level != linering::Level::None);
            object.kind = word(kind.as_str()).filter(|_| *kind != linering::Kind::Line);
            (object.truncated, object.unfinished) = (*truncated, *unfinished);
            (object.unacknowledged, object.damaged) = (*unacknowledged, *damaged);
        }
        What::Lost { lines, cause } => {
            object.event = word("lost");
            (object.lines, object.cause) = (Some(*lines), word(cause.as_str()));
        }
        What::Ended { next, end, process } => {
            object.event = word("ended");
            object.lines = Some(record::lines_between(record.number, *next));
            (object.next, object.end, object.process) = (Some(*next), word(end.as_str()), *process);
        }
        What::Damaged => (object.event, object.position) = (word("damaged"), Some(record.position)),
        What::Known => object.event = word("known"),
    }
    let begin = page.len();
    // Into memory, of strings and numbers: cannot fail.
    let _ = serde_json::to_writer(&mut *page, &object);
    if let What::Line { bytes, .. } = &record.what {
        // Control characters take six bytes each, replacements three.
        if page.len() - begin >= most_bytes(bytes.len()) {
            page.truncate(begin);
            (object.msg, object.lossy) = (None, true);
            object.bytes = Some(BASE64.encode(bytes).into());
            let _ = serde_json::to_writer(&mut *page, &object);
        }
    }
    page.push(b'\n');
}

/// The records of these JSON lines.
///
/// # Errors
///
/// A line is no record.
pub fn records(body: &[u8]) -> Result<Vec<Record>, NoRecord> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| record_of(line).ok_or(NoRecord)).collect()
}

fn parsed<T: std::str::FromStr>(word: Option<Cow<'_, str>>) -> Option<T> {
    word?.parse().ok()
}

fn record_of(line: &[u8]) -> Option<Record> {
    let object: Object<'_> = serde_json::from_slice(line).ok()?;
    let what = match object.event.as_deref() {
        None => What::Line {
            bytes: match object.bytes {
                Some(bytes) => BASE64.decode(bytes.as_bytes()).ok()?,
                None => object.msg?.into_owned().into_bytes(),
            },
            stream: parsed(object.stream)?,
            level: parsed(object.level.or(word("none")))?,
            kind: parsed(object.kind.or(word("line")))?,
            tag: object.tag,
            truncated: object.truncated,
            unfinished: object.unfinished,
            unacknowledged: object.unacknowledged,
            damaged: object.damaged,
        },
        Some("lost") => What::Lost { lines: object.lines?, cause: parsed(object.cause)? },
        Some("ended") => {
            What::Ended { next: object.next?, end: parsed(object.end)?, process: object.process }
        }
        Some("damaged") => What::Damaged,
        Some("known") => What::Known,
        Some(_) => return None,
    };
    let time = match object.time {
        Some(time) => Some(humantime::parse_rfc3339(&time).ok()?),
        None => None,
    };
    Some(Record {
        position: object.position.unwrap_or(0),
        time,
        number: object.number,
        cell: object.cell,
        writer_id: object.worker,
        label: object.label.unwrap_or_default().into_owned(),
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use linering::{End, Kind, Level, LossCause, Stream};
    use proptest::prelude::*;
    use std::time::Duration;

    fn there_and_back(record: &Record) -> Vec<u8> {
        let mut page = Vec::new();
        add(&mut page, record);
        assert_eq!(page.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        assert_eq!(records(&page), Ok(vec![record.clone()]));
        page
    }

    fn line(bytes: Vec<u8>) -> Record {
        Record {
            position: 1 << 40,
            time: Some(SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456)),
            number: 3,
            cell: Some(2),
            writer_id: 9,
            label: "web-1 \"x\"".to_owned(),
            what: What::Line {
                bytes,
                stream: Stream::Stderr,
                level: Level::Warn,
                kind: Kind::Text,
                tag: 7,
                truncated: true,
                unfinished: false,
                unacknowledged: true,
                damaged: false,
            },
        }
    }

    #[test]
    fn every_record_is_read_back_as_it_was() {
        let text = String::from_utf8(there_and_back(&line(b"a\xff\n".to_vec()))).expect("text");
        let expected = "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"warn\",\"worker\":9,\
            \"label\":\"web-1 \\\"x\\\"\",\"stream\":\"stderr\",\"kind\":\"group\",\"tag\":7,\
            \"msg\":\"a\u{fffd}\\n\",\"position\":1099511627776,\"truncated\":true,\
            \"unacknowledged\":true,\"lossy\":true,\"bytes\":\"Yf8K\",\"number\":3,\"cell\":2}\n";
        assert_eq!(text, expected);
        for what in [
            What::Lost { lines: u64::MAX, cause: LossCause::Overwritten },
            What::Ended { next: 5, end: End::NeverOpened, process: Some(1) },
            What::Damaged,
            What::Known,
        ] {
            let position = if what == What::Damaged { 5 } else { 0 };
            let record = Record { position, time: None, cell: None, what, ..line(Vec::new()) };
            there_and_back(&record);
        }
        // No calendar names it: the line is there without it.
        let never = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
        let mut page = Vec::new();
        add(&mut page, &Record { time: Some(never), ..line(Vec::new()) });
        assert_eq!(records(&page), Ok(vec![Record { time: None, ..line(Vec::new()) }]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_back_and_are_not_longer_than_said(bytes: Vec<u8>, controls in 0_usize..2000) {
            let bytes = [bytes, vec![0; controls]].concat();
            let most = most_bytes(bytes.len());
            let json = there_and_back(&line(bytes));
            prop_assert!(json.len() <= most);
        }

        #[test]
        fn whatever_bytes_there_are_none_are_a_panic(body: Vec<u8>) {
            let _ = records(&body);
        }
    }
}
