//! Records, and errors without a trace of this crate's own.

#[cfg(feature = "workers")]
use std::{backtrace::Backtrace, error::Error};

use std::fmt;

use super::mirror::LineProcMirror;
#[cfg(feature = "workers")]
use super::trace;
use crate::error::WriteError;
use crate::line::meta::{Meta, with_text};

impl LineProcMirror {
    /// Writes one record: one item, whatever bytes are in it, that is all that `meta` says and
    /// nothing that [`set_level`](Self::set_level) and its like said before. The unfinished line is
    /// published before it.
    ///
    /// A line end after the last line is left out. One elsewhere makes it a group of lines,
    /// [`Kind::Text`](crate::Kind::Text), so that no drain takes a part of it for a record of its
    /// own.
    ///
    /// ```
    /// # use linering::{Item, Level, LineRing, Options};
    /// let ring = LineRing::new(Options::new())?;
    /// let mut mirror = ring.mirror()?;
    /// mirror.record(Level::Error, "failed\nERROR forged\n")?;
    /// drop(mirror);
    /// let mut reader = ring.reader()?;
    /// let Some(Item::Line(line)) = reader.recv()? else { panic!("a record is one item") };
    /// assert_eq!(line.lines().collect::<Vec<_>>(), [&b"failed"[..], b"ERROR forged"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn record(
        &mut self,
        meta: impl Into<Meta>,
        bytes: impl AsRef<[u8]>,
    ) -> Result<(), WriteError> {
        let meta = meta.into();
        self.with(|writer, _| writer.record(meta, bytes.as_ref()))
    }

    /// The same for what a formatter gives, which is put together first:
    /// `mirror.record_fmt(Level::Info, format_args!("{served} served"))`.
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn record_fmt(
        &mut self,
        meta: impl Into<Meta>,
        text: fmt::Arguments<'_>,
    ) -> Result<(), WriteError> {
        let meta = meta.into();
        with_text(text, |bytes| self.record(meta, bytes))
    }

    /// [`send_error`](Self::send_error) for an error that came from elsewhere: where it is sent
    /// says nothing.
    #[cfg(feature = "workers")]
    pub(crate) fn send_error_untraced(
        &mut self,
        error: &(dyn Error + 'static),
    ) -> Result<(), WriteError> {
        self.send_error_text(&trace::of_error(error, &Backtrace::disabled()))
    }
}
