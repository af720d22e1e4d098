//! What comes out: lines, groups, losses and ends.

use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;
use std::process::ExitStatus;
use std::time::SystemTime;

pub use super::kind::{Kind, Level, Stream};

/// One line, or one group of lines, of one writer.
///
/// Whole, unless one of its flags says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Line<'a> {
    /// Where it stands in the one order of the ring: every reader and observer sees it there. For
    /// a line of several parts, the position of its last one. Positions grow, with gaps; only
    /// a truncated line whose last part never came is handed out later than its position says.
    pub position: u64,
    /// The number of its mirror, in the order in which mirrors and seats were made; `u32::MAX` if
    /// that is not known any more.
    pub writer_id: u32,
    /// The cell of its mirror. Mirrors that are open at the same time have different ones, even
    /// those of one seat, which have one number; when a mirror has ended, another may get its
    /// cell. 0 of a begun line of a thread that shares a cell with others, in a
    /// [`LineBuffer`](crate::LineBuffer).
    pub cell: u16,
    /// Its number among the lines of its cell, those of the mirrors included that had the cell
    /// before: the same whichever reader or observer has it. With the cell, the key of a line that
    /// has no position, since it was [lost](Lost::first). Below 2^48, after which comes 0 again; 0
    /// of a begun line in a [`LineBuffer`](crate::LineBuffer).
    pub number: u64,
    /// Its mirror's label.
    pub label: Cow<'a, str>,
    /// The stream it was written to.
    pub stream: Stream,
    /// How serious it is.
    pub level: Level,
    /// A number whose meaning is the writer's.
    pub tag: u16,
    /// When its first byte was written, to a few milliseconds; `None` without time stamps.
    pub time: Option<SystemTime>,
    /// One line, or a group.
    pub kind: Kind,
    /// Some of its bytes are missing: it was too long, or a part of it was lost.
    pub truncated: bool,
    /// It has no end: its writer ended, died, or asked for it to be published as it was.
    pub unfinished: bool,
    /// Its writer died before `write` returned.
    pub unacknowledged: bool,
    /// Its checksum does not agree: some of its bytes, or of what else is said of it here, are not
    /// what its writer wrote; only its position is. Never without
    /// [checksums](crate::Options::checksums).
    pub damaged: bool,
    /// How many bytes are missing, as far as is known. 0 in a whole line; in a truncated one, at
    /// least that.
    pub missing: u64,
    /// Its bytes, without the line end; for a group, its lines with theirs.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::serde::bytes"))]
    pub bytes: Cow<'a, [u8]>,
}

impl Line<'_> {
    /// Its lines, without their ends: one, unless it is a group, or its writer put line ends into
    /// it ([`write_line`](crate::LineProcMirror::write_line) takes any bytes).
    pub fn lines(&self) -> impl FusedIterator<Item = &[u8]> {
        let is_empty_line = self.kind == Kind::Line && self.bytes.is_empty();
        is_empty_line.then_some(&[][..]).into_iter().chain(lines_of(&self.bytes))
    }

    /// The same, owning its bytes.
    pub fn into_owned(self) -> Line<'static> {
        Line {
            label: Cow::Owned(self.label.into_owned()),
            bytes: Cow::Owned(self.bytes.into_owned()),
            position: self.position,
            writer_id: self.writer_id,
            cell: self.cell,
            number: self.number,
            stream: self.stream,
            level: self.level,
            tag: self.tag,
            time: self.time,
            kind: self.kind,
            truncated: self.truncated,
            unfinished: self.unfinished,
            unacknowledged: self.unacknowledged,
            damaged: self.damaged,
            missing: self.missing,
        }
    }
}

/// The text, with U+FFFD for what is not UTF-8. No line end after a line; a group's last one is
/// left out too. A line end inside of what is one line is `\n`, in two characters: it looks like
/// two lines otherwise, of which the second says what it likes of its writer.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.kind != Kind::Line {
            return f.write_str(text.strip_suffix('\n').unwrap_or(&text));
        }
        let mut lines = text.split('\n');
        f.write_str(lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| write!(f, "\\n{line}"))
    }
}

/// Its bytes, as [`Line::bytes`].
impl AsRef<[u8]> for Line<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossCause {
    /// Their writer found the ring full and dropped them.
    Dropped,
    /// Newer lines overwrote them.
    Overwritten,
}

/// Lines of one writer that will not come, in the place where they would have come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Lost<'a> {
    /// The number of their mirror, as in [`Line::writer_id`].
    pub writer_id: u32,
    /// The cell of their mirror, as in [`Line::cell`].
    pub cell: u16,
    /// The [number](Line::number) of the first of them: with the cell, their key.
    pub first: u64,
    /// Its label.
    pub label: Cow<'a, str>,
    /// How many, one number after the other. Exact, but for one line that a killed writer had not
    /// finished writing.
    pub lines: u64,
    /// Why.
    pub cause: LossCause,
}

/// What a mirror is called: by its label, or by its number.
struct Name<'a>(u32, &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            "" => self.0.fmt(f),
            label => f.write_str(label),
        }
    }
}

/// `-- worker 3: 2789 lines lost, ring full --`, with the label for the number if there is one.
impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = if self.lines == 1 { "line" } else { "lines" };
        let cause = match self.cause {
            LossCause::Dropped => "ring full",
            LossCause::Overwritten => "overwritten",
        };
        write!(
            f,
            "-- worker {}: {} {lines} lost, {cause} --",
            Name(self.writer_id, &self.label),
            self.lines
        )
    }
}

/// How a mirror ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// It said so: `send_eof`, or its drop.
    Eof,
    /// It sent an error.
    Error,
    /// Its process is gone and it had not said anything: killed, or exited without an end.
    /// [`Ended::exit`] tells, where it can be known.
    Died,
    /// A seat that was given up before a process opened it.
    Cancelled,
    /// A seat that no process opened within its time limit.
    NeverOpened,
}

/// A mirror's end. All its lines came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ended<'a> {
    /// The number of the mirror, as in [`Line::writer_id`].
    pub writer_id: u32,
    /// The process that opened the mirror, by the number that it has for itself; `None` of a seat
    /// that no process opened.
    pub process: Option<u32>,
    /// The mirror's cell, as in [`Line::cell`]; `None` of a seat that no process opened.
    pub cell: Option<u16>,
    /// The [number](Line::number) of its first line, had it written one: with the cell, the key of
    /// the end. 0 of a seat that no process opened.
    // Plain numbers: were this variant as large as a line, each `Item` would be larger than that.
    pub first: u64,
    /// The number after its last line: from the first to this one are all that it wrote and all
    /// that were lost, whichever reader tells the end. 0 of a seat that no process opened.
    pub next: u64,
    /// Its label.
    pub label: Cow<'a, str>,
    /// How it ended.
    pub end: End,
    /// Lines that were delivered to this reader.
    pub lines: u64,
    /// Lines that were lost.
    pub lost: u64,
    /// How the process of a mirror that [died](End::Died) exited, where this process is its
    /// parent, which can know it, and has not awaited it yet (it still has to be), or has done so
    /// in a [`WorkerPool`](crate::WorkerPool).
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::serde::exit"))]
    pub exit: Option<ExitStatus>,
}

impl Ended<'_> {
    /// Whether something went wrong: an error was sent, or the process died and is not known to
    /// have exited with 0, or no process opened the seat in time.
    pub fn is_failure(&self) -> bool {
        match self.end {
            End::Eof | End::Cancelled => false,
            End::Died => !self.exit.is_some_and(|exit| exit.success()),
            End::Error | End::NeverOpened => true,
        }
    }
}

/// `-- worker 3 died, signal: 9 (SIGKILL) --`, with the label for the number if there is one;
/// `exited, no EOF` of a process that is known to have exited with 0, and `is gone, no EOF` where
/// it is not known how it ended.
impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.end {
            End::Eof => "ended",
            End::Error => "ended with an error",
            End::Died if self.exit.is_none() => "is gone, no EOF",
            End::Died => "died",
            End::Cancelled => "was cancelled",
            End::NeverOpened => "was never opened",
        };
        let name = Name(self.writer_id, &self.label);
        match self.exit {
            // On purpose, perhaps.
            Some(exit) if exit.success() => write!(f, "-- worker {name} exited, no EOF --"),
            Some(exit) => write!(f, "-- worker {name} {how}, {exit} --"),
            None => write!(f, "-- worker {name} {how} --"),
        }
    }
}

/// What a reader hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Item<'a> {
    /// A line, or a group of lines.
    Line(Line<'a>),
    /// Lines that will not come.
    Lost(Lost<'a>),
    /// A mirror's end.
    Ended(Ended<'a>),
    /// What stood at this position was nothing that a writer left there, and was skipped.
    Damaged {
        /// The position.
        position: u64,
    },
}

// What is larger than a line costs each line half as much again, since it is moved then.
const _: () = assert!(size_of::<Item<'_>>() == size_of::<Line<'_>>());

impl<'a> Item<'a> {
    /// The line, if it is one.
    pub fn line(&self) -> Option<&Line<'a>> {
        match self {
            Item::Line(line) => Some(line),
            _ => None,
        }
    }

    /// The same, owning its bytes.
    pub fn into_owned(self) -> Item<'static> {
        match self {
            Item::Line(line) => Item::Line(line.into_owned()),
            Item::Lost(lost) => {
                Item::Lost(Lost { label: Cow::Owned(lost.label.into_owned()), ..lost })
            }
            Item::Ended(ended) => {
                Item::Ended(Ended { label: Cow::Owned(ended.label.into_owned()), ..ended })
            }
            Item::Damaged { position } => Item::Damaged { position },
        }
    }
}

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Line(line) => line.fmt(f),
            Item::Lost(lost) => lost.fmt(f),
            Item::Ended(ended) => ended.fmt(f),
            Item::Damaged { position } => write!(f, "-- position {position} was damaged --"),
        }
    }
}

/// The lines of a text, without their ends.
pub(crate) fn lines_of(mut text: &[u8]) -> impl FusedIterator<Item = &[u8]> {
    let lines = core::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', text);
        let (line, rest) = text.split_at(end.unwrap_or(text.len()));
        text = rest.get(1..).unwrap_or_default();
        (end.is_some() || !line.is_empty()).then_some(line)
    });
    lines.fuse()
}
