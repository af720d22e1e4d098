//! Any bytes into a mirror, as into a file.

use std::fmt;
use std::io;

use super::mirror::LineProcMirror;
use crate::line::format;

impl LineProcMirror {
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
