//! Items as JSON: an object and a line end for each.

use std::fmt::Display;
use std::io::Write as _;
use std::time::SystemTime;

use super::text;
use crate::line::item::{Item, Kind, Level, Line};

/// Adds an item as a JSON object.
pub(super) fn item(page: &mut Vec<u8>, item: &Item<'_>) {
    match item {
        Item::Line(line) if line.kind == Kind::Packed => {
            line.lines().for_each(|text| record(page, line, text));
        }
        Item::Line(line) => record(page, line, &line.bytes),
        other => note(page, other),
    }
}

/// An object that is being written.
struct Object<'p>(&'p mut Vec<u8>);

impl<'p> Object<'p> {
    fn begin(page: &'p mut Vec<u8>) -> Self {
        page.push(b'{');
        Self(page)
    }

    fn end(self) {
        self.0.extend_from_slice(b"}\n");
    }

    /// Names of this module's own, which need no escapes.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.0.ends_with(b"{") {
            self.0.push(b',');
        }
        let _ = write!(self.0, "\"{key}\":");
        self.0
    }

    fn time(&mut self, time: Option<SystemTime>) {
        if let Some(time) = time {
            let page = self.key("time");
            page.push(b'"');
            text::rfc3339(page, time);
            page.push(b'"');
        }
    }

    fn number(&mut self, key: &str, number: impl Display) {
        let _ = write!(self.key(key), "{number}");
    }

    fn text(&mut self, key: &str, text: &str) {
        string(self.key(key), text);
    }

    fn level(&mut self, level: Level) {
        if level != Level::None {
            self.text("level", level.as_str());
        }
    }

    fn writer(&mut self, worker: u32, label: &str) {
        self.number("worker", worker);
        if !label.is_empty() {
            self.text("label", label);
        }
    }
}

fn record(page: &mut Vec<u8>, line: &Line<'_>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(bytes));
    let mut object = Object::begin(page);
    object.time(line.time);
    object.level(line.level);
    object.writer(line.writer_id, &line.label);
    object.text("stream", line.stream.as_str());
    if !matches!(line.kind, Kind::Line | Kind::Packed) {
        object.text("kind", line.kind.as_str());
    }
    if line.tag != 0 {
        object.number("tag", line.tag);
    }
    object.text("msg", &text);
    object.number("position", line.position);
    for (key, is_so) in [
        ("truncated", line.truncated),
        ("unfinished", line.unfinished),
        ("unacknowledged", line.unacknowledged),
        ("damaged", line.damaged),
        // Bytes of `msg` are replaced: JSON cannot carry them.
        ("lossy", std::str::from_utf8(bytes).is_err()),
    ] {
        if is_so {
            object.number(key, true);
        }
    }
    if line.missing > 0 {
        object.number("missing", line.missing);
    }
    object.end();
}

fn note(page: &mut Vec<u8>, item: &Item<'_>) {
    let mut object = Object::begin(page);
    object.time(Some(SystemTime::now()));
    object.level(text::level_of(item));
    match item {
        Item::Lost(lost) => {
            object.text("event", "lost");
            object.writer(lost.writer_id, &lost.label);
            object.number("lines", lost.lines);
            object.text("cause", lost.cause.as_str());
        }
        Item::Ended(ended) => {
            object.text("event", "ended");
            object.writer(ended.writer_id, &ended.label);
            object.text("end", ended.end.as_str());
            if let Some(process) = ended.process {
                object.number("process", process);
            }
            if let Some(exit) = ended.exit {
                object.text("exit", &exit.to_string());
            }
            object.number("lines", ended.lines);
            object.number("lost", ended.lost);
        }
        Item::Damaged { position } => {
            object.text("event", "damaged");
            object.number("position", position);
        }
        Item::Line(_) => {}
    }
    object.text("msg", &item.to_string());
    object.end();
}

/// Adds a text between quotes. Beside what JSON asks for, what ends a line for some programs is
/// escaped.
fn string(page: &mut Vec<u8>, text: &str) {
    page.push(b'"');
    for character in text.chars() {
        let _ = match character {
            '"' | '\\' => write!(page, "\\{character}"),
            '\n' => write!(page, "\\n"),
            '\r' => write!(page, "\\r"),
            '\t' => write!(page, "\\t"),
            // All of them are of the basic plane.
            _ if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                write!(page, "\\u{:04x}", u32::from(character))
            }
            _ => write!(page, "{character}"),
        };
    }
    page.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_string_in_one_line() {
        let mut page = Vec::new();
        string(&mut page, "a\"\\\n\r\t\u{1b}\u{2028}\u{85}ä");
        let expected = r#""a\"\\\n\r\t\u001b\u2028\u0085ä""#;
        assert_eq!(String::from_utf8(page).expect("UTF-8"), expected);
    }
}
