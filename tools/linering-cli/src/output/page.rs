//! Lines as text: with what comes before them, and what a terminal must not obey made visible.

use anstyle::{AnsiColor, Effects, Style};
use linering::{Kind, Line, Stream};

use super::format::{Clock, Format, json};

/// How lines look in one place.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub format: Format,
    pub timestamps: bool,
    pub color: bool,
    /// Control characters are shown as `^[` and the like: a terminal would obey them.
    pub caret: bool,
}

/// Text that goes to one place.
#[derive(Debug, Default)]
pub struct Page {
    pub text: Vec<u8>,
    /// Whose line stands at the end of all text so far, without an end.
    open: Option<(u32, Stream)>,
    /// That line ends with half a control character.
    half: bool,
}

/// A worker's colour is that of its number.
const COLORS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

impl Page {
    /// Adds a line or a group of lines; a piece of a line has no end.
    pub fn line(
        &mut self,
        look: &Look,
        clock: &mut Clock,
        worker: Option<usize>,
        tag: &str,
        line: &Line<'_>,
    ) {
        if look.format == Format::Json {
            return json(&mut self.text, clock, worker, line);
        }
        if self.open.is_some_and(|open| open != (line.writer_id, line.stream)) {
            self.end();
        }
        let mut goes_on = self.open.is_some();
        self.open = line.unfinished.then_some((line.writer_id, line.stream));
        let time = line.time.filter(|_| look.timestamps).map(|time| clock.text(time));
        if look.caret || time.is_some() || !tag.is_empty() {
            for text in line.lines() {
                if !core::mem::take(&mut goes_on) {
                    self.prefix(look, worker, time, tag);
                }
                self.text_of(look, text);
                self.text.push(b'\n');
            }
        } else {
            self.text.extend_from_slice(&line.bytes);
            if line.kind == Kind::Line || line.bytes.last().is_some_and(|last| *last != b'\n') {
                self.text.push(b'\n');
            }
        }
        if line.unfinished {
            // It goes on, or that was all.
            self.text.pop();
        }
    }

    fn prefix(&mut self, look: &Look, worker: Option<usize>, time: Option<&str>, tag: &str) {
        let style = |style: Style| if look.color { style } else { Style::new() };
        let (dim, own) = (
            style(Effects::DIMMED.into()),
            style(COLORS[worker.unwrap_or(0) % COLORS.len()].on_default()),
        );
        if let Some(time) = time {
            self.text.extend_from_slice(format!("{dim}{time}{dim:#} ").as_bytes());
        }
        if look.color && !tag.is_empty() {
            self.text.extend_from_slice(format!("{own}{tag}{own:#}").as_bytes());
        } else {
            self.text.extend_from_slice(tag.as_bytes());
        }
    }

    fn text_of(&mut self, look: &Look, bytes: &[u8]) {
        if !look.caret {
            return self.text.extend_from_slice(bytes);
        }
        let mut before = 0;
        for (index, &byte) in bytes.iter().enumerate() {
            // U+0080 to U+009F, which some terminals obey too, are C2 80 to C2 9F.
            let is_c1 = (0x80..0xa0).contains(&byte)
                && match index {
                    0 => self.half,
                    _ => bytes[index - 1] == 0xc2,
                };
            let shown = match byte {
                b'\t' => continue,
                0..0x20 | 0x7f => byte ^ 0x40,
                _ if is_c1 => byte - 0x40,
                _ => continue,
            };
            self.text
                .extend_from_slice(&bytes[before..index - usize::from(is_c1 && index > before)]);
            self.text.extend_from_slice(if is_c1 { b"M-^" } else { b"^" });
            self.text.push(shown);
            before = index + 1;
        }
        self.text.extend_from_slice(&bytes[before..]);
        self.half = bytes.last() == Some(&0xc2);
    }

    /// Ends the line that has no end.
    pub fn end(&mut self) {
        if self.open.take().is_some() {
            self.text.push(b'\n');
        }
    }
}
