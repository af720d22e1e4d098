//! What is said of a line in a few bits: its stream, how serious it is, what it is.

/// Which stream a line was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Stream {
    /// Standard output, and what is written into a mirror without a word about it.
    #[default]
    Stdout = 0,
    /// Standard error.
    Stderr = 1,
    /// A logger's records.
    Log = 2,
}

impl Stream {
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            1 => Stream::Stderr,
            2 => Stream::Log,
            _ => Stream::Stdout,
        }
    }
}

/// How serious a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Level {
    /// The writer did not say.
    #[default]
    None = 0,
    /// Finest.
    Trace = 1,
    /// For developers.
    Debug = 2,
    /// For every reader of a log.
    Info = 3,
    /// Something odd.
    Warn = 4,
    /// Something failed.
    Error = 5,
}

impl Level {
    #[inline]
    pub(crate) fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Level::Trace,
            2 => Level::Debug,
            3 => Level::Info,
            4 => Level::Warn,
            5 => Level::Error,
            _ => Level::None,
        }
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// One line, without its end.
    #[default]
    Line = 0,
    /// A group of lines, each with its `\n`.
    Text = 1,
    /// A warning: a group of lines.
    Warning = 2,
    /// The error that ended a mirror: a group of lines.
    Error = 3,
    /// Several lines, each with its `\n`, that share a position and are no group: lines that have
    /// nothing to do with each other, see [`write_packed`](crate::LineProcMirror::write_packed), or
    /// were written in one go, see [`write_together`](crate::LineProcMirror::write_together).
    Packed = 4,
}

impl Kind {
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            1 => Kind::Text,
            2 => Kind::Warning,
            3 => Kind::Error,
            4 => Kind::Packed,
            _ => Kind::Line,
        }
    }
}
