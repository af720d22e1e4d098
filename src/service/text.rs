//! Items as text: one line each, and marked ones for a record's further lines.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use crate::line::item::{Item, Kind, Level, Line};

/// What a record's further lines begin with. No record's first line does.
const FURTHER: &[u8] = b"    | ";

/// Adds an item as text.
pub(super) fn item(page: &mut Vec<u8>, item: &Item<'_>) {
    match item {
        Item::Line(line) if line.kind == Kind::Packed => {
            line.lines().for_each(|text| record(page, line, [text].into_iter()));
        }
        Item::Line(line) => record(page, line, line.lines()),
        other => {
            let level = level_of(other);
            head(page, Some(SystemTime::now()), level);
            escape(page, other.to_string().as_bytes());
            page.push(b'\n');
        }
    }
}

/// How serious it is that lines were lost, or that a mirror ended.
pub(super) fn level_of(item: &Item<'_>) -> Level {
    match item {
        Item::Line(line) => line.level,
        Item::Ended(ended) if ended.is_failure() => Level::Error,
        Item::Ended(_) => Level::Info,
        Item::Lost(_) | Item::Damaged { .. } => Level::Warn,
    }
}

fn record<'l>(page: &mut Vec<u8>, line: &Line<'_>, mut lines: impl Iterator<Item = &'l [u8]>) {
    head(page, line.time, line.level);
    page.push(b'[');
    match &*line.label {
        "" => drop(write!(page, "{}", line.writer_id)),
        label => escape(page, label.as_bytes()),
    }
    page.extend_from_slice(b"] ");
    escape(page, lines.next().unwrap_or_default());
    for further in lines {
        page.push(b'\n');
        page.extend_from_slice(FURTHER);
        escape(page, further);
    }
    for (is_so, flag) in [
        (line.truncated, "truncated"),
        (line.unfinished, "unfinished"),
        (line.unacknowledged, "unacknowledged"),
        (line.damaged, "damaged"),
    ] {
        if is_so {
            let _ = write!(page, " [{flag}]");
        }
    }
    page.push(b'\n');
}

fn head(page: &mut Vec<u8>, time: Option<SystemTime>, level: Level) {
    if let Some(time) = time {
        rfc3339(page, time);
        page.push(b' ');
    }
    let level = match level {
        Level::None => return,
        Level::Trace => "TRACE ",
        Level::Debug => "DEBUG ",
        Level::Info => "INFO  ",
        Level::Warn => "WARN  ",
        Level::Error => "ERROR ",
    };
    page.extend_from_slice(level.as_bytes());
}

/// Adds bytes that no terminal obeys, and that no reader of lines takes for more than one: what is
/// a control character, or not UTF-8, is escaped as Rust does it. A tab stays.
pub(super) fn escape(page: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(is_obeyed) {
            let (before, from) = rest.split_at(at);
            let obeyed = from.chars().next().unwrap_or_default();
            page.extend_from_slice(before.as_bytes());
            let _ = write!(page, "{}", obeyed.escape_default());
            rest = &from[obeyed.len_utf8()..];
        }
        page.extend_from_slice(rest.as_bytes());
        for byte in chunk.invalid() {
            let _ = write!(page, "\\x{byte:02x}");
        }
    }
}

/// Control characters, and those that end a line for some programs.
fn is_obeyed(character: char) -> bool {
    character.is_control() && character != '\t' || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Adds a time as RFC 3339 has it, to milliseconds, in UTC.
pub(super) fn rfc3339(page: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let milliseconds = since.subsec_millis();
    let _ = write!(
        page,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"
    );
}

/// The date of a day since 1970, in a calendar whose years begin in March, so that the day that
/// comes every four years is the last of one.
fn date_of(days: u64) -> (u64, u64, u64) {
    // Days since the first of March of the year 0, and their 400 years, of 146,097 days each.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months of 31 and 30 days by turns: five have 153.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, after) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + after, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut page = Vec::new();
        escape(&mut page, bytes);
        String::from_utf8(page).expect("UTF-8")
    }

    #[test]
    fn times_are_those_of_a_calendar() {
        // Each day for 900 years, at changing times of day.
        for day in 0..330_000_u64 {
            let time = Duration::from_millis(day * 86_400_000 + day * 7_919 % 86_400_000);
            let time = SystemTime::UNIX_EPOCH + time;
            let mut found = Vec::new();
            rfc3339(&mut found, time);
            let expected = jiff::Timestamp::try_from(time).expect("a date");
            assert_eq!(String::from_utf8(found).expect("ASCII"), format!("{expected:.3}"));
        }
    }

    #[test]
    fn nothing_in_a_line_is_obeyed_or_ends_it() {
        assert_eq!(escaped("ä\tb \u{1f600}".as_bytes()), "ä\tb \u{1f600}");
        assert_eq!(escaped(b"a\r\nb\x1b[31m\x7f\0"), r"a\r\nb\u{1b}[31m\u{7f}\u{0}");
        assert_eq!(escaped("\u{85}\u{2028}\u{9b}".as_bytes()), r"\u{85}\u{2028}\u{9b}");
        assert_eq!(escaped(b"a\xff\xfeb\xe2\x80"), r"a\xff\xfeb\xe2\x80");
        assert_eq!(escaped(b""), "");
    }
}
