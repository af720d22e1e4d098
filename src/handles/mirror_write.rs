//! Any bytes into a mirror, as into a file.

use std::fmt;
use std::io;

use super::mirror::LineProcMirror;
use crate::error::WriteError;
use crate::line::format;

impl LineProcMirror {
    /// Writes any bytes, as [`write`](io::Write::write) does, but the whole lines among them stay
    /// together: no other mirror's line stands between them. They arrive as one
    /// [`Kind::Packed`](crate::Kind::Packed) with one position, in as many slots as they need.
    ///
    /// They count as one line, where losses are counted too. What is longer than the ring's longest
    /// line is divided at line ends. A line that an earlier write has begun comes by itself, and so
    /// do all in a ring in which `\r` has a meaning, if there is one in `bytes`.
    ///
    /// ```
    /// # use linering::{Item, Kind, LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut mirror = ring.mirror()?;
    /// mirror.write_together(b"first\nsecond\nbegun")?;
    /// let mut reader = ring.reader()?;
    /// let Some(Item::Line(lines)) = reader.recv()? else { panic!("lines were written") };
    /// assert_eq!(lines.kind, Kind::Packed);
    /// assert_eq!(lines.lines().collect::<Vec<_>>(), [&b"first"[..], b"second"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn write_together(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.with(|writer, style| writer.write_together(bytes, style))
    }

    /// Writes any bytes when the writer is not [`ready`](Self::ready).
    #[cold]
    fn write_unready(&mut self, bytes: &[u8]) -> io::Result<()> {
        let style = self.style;
        self.make_ready()?.write_other_io(bytes, style)
    }
}

/// Splits on `\n`; what comes after the last one is the unfinished line.
impl io::Write for LineProcMirror {
    /// Writes all of `bytes`, or fails.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// As `write`, which writes all.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let style = self.style;
        let Some(writer) = self.ready() else { return self.write_unready(bytes) };
        if writer.add_piece(bytes) { Ok(()) } else { writer.write_other_io(bytes, style) }
    }

    /// `write!` and `writeln!`: formats on the stack, 512 bytes at a time, and writes the result.
    /// If a formatter panics, what it gave before is written.
    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        format::write_fmt(arguments, |bytes| self.write_all(bytes))
    }

    /// Does nothing: what was written is in the ring already, and the unfinished line is in the
    /// segment.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
