//! [`Meta`]: what a record says about itself.

use std::fmt::{self, Write as _};

use super::item::{Kind, Level, Stream};

/// What is said of one record beside its bytes. A record says all of it: nothing stays for the next
/// one.
///
/// A [`Level`] alone becomes one: for a logger's records nothing more is needed.
///
/// ```
/// use linering::{Level, LineRing, Meta, Options, Stream};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// mirror.record(Level::Warn, "slow:\nwaited for the disk")?;
/// mirror.record_fmt(Meta::new().level(Level::Info).tag(7), format_args!("{} served", 3))?;
///
/// let mut reader = ring.reader()?;
/// let item = reader.recv()?.unwrap();
/// let line = item.line().unwrap();
/// assert_eq!((line.level, line.stream, line.lines().count()), (Level::Warn, Stream::Log, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Meta {
    /// How serious it is. [`Level::None`].
    pub level: Level,
    /// The stream that it belongs to. [`Stream::Log`].
    pub stream: Stream,
    /// A number whose meaning is yours. 0.
    pub tag: u16,
    /// What it is: [`Kind::Line`], which becomes [`Kind::Text`] where a record has several lines.
    pub kind: Kind,
}

impl Default for Meta {
    fn default() -> Self {
        Self::new()
    }
}

impl Meta {
    /// A logger's record of no level.
    pub const fn new() -> Self {
        Self { level: Level::None, stream: Stream::Log, tag: 0, kind: Kind::Line }
    }

    /// With this level.
    #[must_use]
    pub const fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// With this stream.
    #[must_use]
    pub const fn stream(self, stream: Stream) -> Self {
        Self { stream, ..self }
    }

    /// With this tag.
    #[must_use]
    pub const fn tag(self, tag: u16) -> Self {
        Self { tag, ..self }
    }

    /// Of this kind.
    #[must_use]
    pub const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}

impl From<Level> for Meta {
    fn from(level: Level) -> Self {
        Self::new().level(level)
    }
}

/// What a formatter gives, as one piece, before anything is done with it: so a `Display` may log
/// itself. On the stack up to 512 bytes.
///
/// A formatter that fails is no reason to leave out what it gave before.
pub(crate) fn with_text<T>(text: fmt::Arguments<'_>, then: impl FnOnce(&[u8]) -> T) -> T {
    if let Some(text) = text.as_str() {
        return then(text.as_bytes());
    }
    let mut gathered = Gathered { few: [0; 512], len: 0, many: Vec::new() };
    let _ = gathered.write_fmt(text);
    then(if gathered.many.is_empty() { &gathered.few[..gathered.len] } else { &gathered.many })
}

struct Gathered {
    few: [u8; 512],
    len: usize,
    many: Vec<u8>,
}

impl fmt::Write for Gathered {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let bytes = text.as_bytes();
        match self.few.get_mut(self.len..self.len + bytes.len()) {
            Some(room) if self.many.is_empty() => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => {
                if self.many.is_empty() {
                    self.many.extend_from_slice(&self.few[..self.len]);
                }
                self.many.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails;

    impl fmt::Display for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }

    #[test]
    fn texts_of_any_length_come_as_one_piece() {
        for length in [0, 1, 255, 256, 257, 511, 512, 513, 5000] {
            let (one, other) = ("x".repeat(length), "y".repeat(length));
            let found = with_text(format_args!("{one}{other}!"), <[u8]>::to_vec);
            assert_eq!(found, format!("{one}{other}!").as_bytes());
        }
        assert_eq!(with_text(format_args!("as it is"), <[u8]>::to_vec), b"as it is");
        assert_eq!(with_text(format_args!("{Fails}"), <[u8]>::to_vec), b"half");
    }
}
