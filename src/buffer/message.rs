//! What a [`LineProcBuffer`](crate::LineProcBuffer) keeps.

use std::fmt;

use crate::line::item::{Kind, Line, lines_of};

/// Several lines that belong together: a group, a warning, or the error that ended a mirror.
///
/// `Display` prints the lines, one after another, without a line end after the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupedMessage {
    kind: Kind,
    worker: u32,
    bytes: Vec<u8>,
    truncated: bool,
    damaged: bool,
}

impl GroupedMessage {
    /// Text, warning or error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of the mirror that sent it.
    pub fn writer_id(&self) -> u32 {
        self.worker
    }

    /// Its lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        lines_of(&self.bytes)
    }

    /// Whether some of it is missing.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Whether some of it is not what its writer wrote, as in [`Line::damaged`].
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }
}

impl fmt::Display for GroupedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        f.write_str(text.strip_suffix('\n').unwrap_or(&text))
    }
}

/// What a [`LineProcBuffer`](crate::LineProcBuffer) keeps: a line, or a group of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// One line.
    Line(Line<'static>),
    /// Several that belong together.
    Group(GroupedMessage),
}

impl From<Line<'_>> for Message {
    fn from(line: Line<'_>) -> Self {
        if line.kind == Kind::Line {
            return Message::Line(line.into_owned());
        }
        Message::Group(GroupedMessage {
            kind: line.kind,
            worker: line.writer_id,
            truncated: line.truncated,
            damaged: line.damaged,
            bytes: line.bytes.into_owned(),
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Line(line) => line.fmt(f),
            Message::Group(group) => group.fmt(f),
        }
    }
}
