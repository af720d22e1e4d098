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
    /// But for colours and the like (SGR), which end with the line.
    pub sgr: bool,
}

/// Text that goes to one place.
#[derive(Debug, Default)]
pub struct Page {
    pub text: Vec<u8>,
    /// Which ring lines are of, where JSON says so.
    pub ring: Option<String>,
    /// Whose line stands at the end of all text so far, without an end.
    open: Option<(u32, Stream)>,
    /// That line ends with half a control character.
    half: bool,
    /// It ends with a \r that was not shown yet: nothing, if the line ends there.
    held: bool,
    /// It has colours that it has not set back.
    colored: bool,
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
            return json(&mut self.text, clock, self.ring.as_deref(), worker, line);
        }
        if self.open.is_some_and(|open| open != (line.writer_id, line.stream)) {
            self.end();
        }
        let mut goes_on = self.open.is_some();
        self.open = line.unfinished.then_some((line.writer_id, line.stream));
        let time = line.time.filter(|_| look.timestamps).map(|time| clock.text(time));
        if look.caret || time.is_some() || !tag.is_empty() {
            let mut texts = line.lines().peekable();
            while let Some(text) = texts.next() {
                if !core::mem::take(&mut goes_on) {
                    self.prefix(look, worker, time, tag);
                }
                self.text_of(look, text);
                if !line.unfinished || texts.peek().is_some() {
                    self.end_of_line();
                }
            }
            if line.unfinished && look.caret && self.text.pop_if(|last| *last == b'\r').is_some() {
                self.held = true;
            }
        } else {
            self.text.extend_from_slice(&line.bytes);
            let has_end = line.bytes.last() == Some(&b'\n');
            // An unfinished one goes on, or that was all.
            if !line.unfinished && (line.kind == Kind::Line || !line.bytes.is_empty() && !has_end) {
                self.text.push(b'\n');
            }
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

    /// Adds a line's text that has no end yet, colours included.
    pub fn whole_text(&mut self, look: &Look, bytes: &[u8]) {
        self.end();
        self.half = false;
        self.text_of(look, bytes);
        if core::mem::take(&mut self.colored) {
            self.text.extend_from_slice(b"\x1b[0m");
        }
    }

    fn text_of(&mut self, look: &Look, bytes: &[u8]) {
        if !look.caret {
            return self.text.extend_from_slice(bytes);
        }
        if core::mem::take(&mut self.held) {
            self.text.extend_from_slice(if bytes.is_empty() { b"\r" } else { b"^M" });
        }
        let mut before = 0;
        let mut index = 0;
        while let Some(&byte) = bytes.get(index) {
            let at = index;
            index += 1;
            // U+0080 to U+009F, which some terminals obey too, are C2 80 to C2 9F.
            let is_c1 = (0x80..0xa0).contains(&byte)
                && match at {
                    0 => self.half,
                    _ => bytes[at - 1] == 0xc2,
                };
            let shown = match byte {
                b'\t' => continue,
                // What is left of a line's end of Windows.
                b'\r' if index == bytes.len() => continue,
                0x1b if look.sgr => match sgr(&bytes[index..]) {
                    Some((length, colored)) => {
                        self.colored = colored;
                        index += length;
                        continue;
                    }
                    None => byte ^ 0x40,
                },
                0..0x20 | 0x7f => byte ^ 0x40,
                _ if is_c1 => byte - 0x40,
                _ => continue,
            };
            self.text.extend_from_slice(&bytes[before..at - usize::from(is_c1 && at > before)]);
            self.text.extend_from_slice(if is_c1 { b"M-^" } else { b"^" });
            self.text.push(shown);
            before = index;
        }
        self.text.extend_from_slice(&bytes[before..]);
        self.half = bytes.last() == Some(&0xc2);
    }

    /// Ends a line of text, and its colours with it.
    fn end_of_line(&mut self) {
        if core::mem::take(&mut self.colored) {
            let is_return = self.text.pop_if(|last| *last == b'\r').is_some();
            self.text.extend_from_slice(b"\x1b[0m");
            self.text.extend(is_return.then_some(b'\r'));
        }
        self.text.push(b'\n');
    }

    /// Ends the line that has no end.
    pub fn end(&mut self) {
        if self.open.take().is_some() {
            self.held = false;
            self.end_of_line();
        }
    }
}

/// What follows an escape, if that makes a colour or the like: how many bytes, and whether it
/// leaves one set.
fn sgr(bytes: &[u8]) -> Option<(usize, bool)> {
    let rest = bytes.strip_prefix(b"[")?;
    let length = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    let parameters = &rest[..length];
    let is_reset = parameters.iter().all(|byte| matches!(byte, b'0' | b';'));
    (rest[length] == b'm').then_some((length + 2, !is_reset))
}
