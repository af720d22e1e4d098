//! [`LineProcMirror`]: a writer's handle.

use std::any::Any;
use std::backtrace::Backtrace;
use std::error::Error;
use std::sync::Arc;

use super::trace;
use crate::error::{MirrorError, WriteError};
use crate::layout::sync::Ordering;
use crate::line::item::{Kind, Level, Stream};
use crate::registry::cell::MirrorKind;
use crate::registry::ticket::{Label, SeatId};
use crate::segment::Segment;
use crate::write::writer::{Finish, Style, Writer};

/// A writer's handle of a ring or buffer: what is written into it comes out at the reader, line by
/// line.
///
/// When a write returns, its bytes are in shared memory: whole lines in the ring, an unfinished one
/// where it outlives the process. A write makes no system call unless the reader sleeps or the ring
/// is full.
///
/// **Fork**: a forked child that uses an inherited mirror gets one of its own at its first write,
/// counted from then on. One that it does not use does nothing there. A child of `vfork` may not
/// write.
///
/// **Death**: a process that dies at any instruction here delays no other. Every line whose write
/// had returned is read; the unfinished one too, flagged.
///
/// **Signals**: a signal handler may not write into the mirror that it interrupted.
#[doc(alias("sender", "writer", "producer"))]
#[must_use = "a mirror that is dropped has ended: its reader is told of an EOF"]
#[derive(Debug)]
pub struct LineProcMirror {
    /// For the mirror that takes this one's place: in a forked child, or after the end, when there
    /// is no writer.
    segment: Arc<Segment>,
    /// The number that its lines carry.
    serial: u64,
    label: Label,
    pub(super) style: Style,
    /// `None` after the end.
    writer: Option<Writer>,
}

impl LineProcMirror {
    /// A live mirror: in its seat, or with a number of its own.
    pub(crate) fn open(
        segment: &Arc<Segment>,
        seat: Option<SeatId>,
        label: Label,
    ) -> Result<Self, MirrorError> {
        Self::open_as(segment, seat, seat.map(|seat| seat.serial), label)
    }

    fn open_as(
        segment: &Arc<Segment>,
        seat: Option<SeatId>,
        serial: Option<u64>,
        label: Label,
    ) -> Result<Self, MirrorError> {
        let writer = Writer::new(segment, MirrorKind::Ticket { seat, serial, label })?;
        let serial = writer.registration().serial;
        Ok(Self {
            segment: Arc::clone(segment),
            serial,
            label,
            style: Style::default(),
            writer: Some(writer),
        })
    }

    /// The writer, if it is this process's and was not told to stop: the state of things before
    /// nearly each write.
    #[inline(always)]
    pub(super) fn ready(&mut self) -> Option<&mut Writer> {
        let writer = self.writer.as_mut()?;
        let is_ready = writer.registration().is_of_this_process() && !is_stopped(writer.segment());
        is_ready.then_some(writer)
    }

    /// Runs `action` on the writer, after everything that has to be checked before a write.
    #[inline]
    pub(super) fn with<R>(
        &mut self,
        action: impl FnOnce(&mut Writer, Style) -> Result<R, WriteError>,
    ) -> Result<R, WriteError> {
        let style = self.style;
        match self.ready() {
            Some(writer) => action(writer, style),
            None => action(self.make_ready()?, style),
        }
    }

    /// What [`ready`](Self::ready) gives, or why there is none: after the end, after a stop, in a
    /// forked child.
    #[cold]
    pub(super) fn make_ready(&mut self) -> Result<&mut Writer, WriteError> {
        if self.is_inherited() {
            self.register_child()?;
        }
        let writer = self.writer.as_mut().ok_or(WriteError::Ended)?;
        let segment = writer.segment();
        if is_stopped(segment) {
            return Err(if segment.is_cut() { WriteError::CutShort } else { WriteError::Stopped });
        }
        Ok(writer)
    }

    /// In a forked child: the parent's cell and spare are the parent's.
    #[cold]
    fn register_child(&mut self) -> Result<(), WriteError> {
        let style = self.style;
        *self = Self::open(&self.segment, None, self.label)?;
        self.style = style;
        Ok(())
    }

    // --------------------------------------------------------------------------------------- write

    /// Writes one line, `bytes`, as it is; it ends the unfinished line if there is one.
    ///
    /// Lock-free, and no system call while the reader is awake and the ring has room. A line longer
    /// than a slot goes out in parts; one longer than the ring's maximum is cut there, and
    /// flagged with what is missing.
    ///
    /// # Errors
    ///
    /// [`WriteError::Ended`] after the end, [`WriteError::Stopped`] after `stop_all_mirrors`, and
    /// on a full ring [`WriteError::TimedOut`] or [`WriteError::ReaderGone`]. Earlier lines are
    /// safe in any case.
    #[inline]
    pub fn write_line(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.with(|writer, style| writer.line(bytes, style))
    }

    /// Writes any bytes, as [`write`](io::Write::write) does, but lets whole lines share slots: as
    /// many as fit in one arrive together, as [`Kind::Packed`], with one position. Use this to
    /// forward blocks of short lines: a line of a few bytes costs about a tenth of what it does
    /// with a slot of its own.
    ///
    /// They count as one line, where losses are counted too. A line that is alone, or longer than a
    /// slot, comes as with `write`; so do all in a ring in which `\r` has a meaning.
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn write_packed(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.with(|writer, style| writer.write_packed(bytes, style))
    }

    /// Ends the unfinished line, as a `\n` would. Nothing if there is none.
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn finish_line(&mut self) -> Result<(), WriteError> {
        self.with(|writer, _| writer.end_unfinished(0))
    }

    /// Forgets the unfinished line, if there is one.
    ///
    /// # Errors
    ///
    /// [`WriteError::Ended`] after the end, [`WriteError::Stopped`] after `stop_all_mirrors`.
    pub fn discard_partial(&mut self) -> Result<(), WriteError> {
        self.with(|writer, _| {
            writer.discard_partial();
            Ok(())
        })
    }

    /// Publishes the unfinished line as it is, flagged `unfinished`: a prompt, say. Nothing if
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn flush_partial(&mut self) -> Result<(), WriteError> {
        self.with(|writer, _| writer.flush_partial())
    }

    /// Sends a warning: a group of lines that arrives in one piece.
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn send_warning(&mut self, text: &str) -> Result<(), WriteError> {
        self.group_of(self.style.kind(Kind::Warning).level(Level::Warn))?.write(text.as_bytes())
    }

    /// Begins a group of lines, which arrives as one [`GroupedMessage`](crate::GroupedMessage),
    /// contiguous. The unfinished line is published before it.
    ///
    /// ```
    /// # let ring = linering::LineRing::new(linering::Options::new())?;
    /// # let mut mirror = ring.mirror()?;
    /// let mut group = mirror.group()?;
    /// group.line(b"first")?;
    /// group.line(b"second")?;
    /// group.end()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`write_line`](Self::write_line).
    pub fn group(&mut self) -> Result<Group<'_>, WriteError> {
        self.group_of(self.style.kind(Kind::Text))
    }

    fn group_of(&mut self, style: Style) -> Result<Group<'_>, WriteError> {
        self.flush_partial()?;
        Ok(Group { mirror: self, style, open: true })
    }

    // --------------------------------------------------------------------------------------- style

    /// The stream that the next lines belong to. [`Stream::Stdout`] at first.
    pub fn set_stream(&mut self, stream: Stream) -> &mut Self {
        self.style = self.style.stream(stream);
        self
    }

    /// The level of the next lines. [`Level::None`] at first.
    pub fn set_level(&mut self, level: Level) -> &mut Self {
        self.style = self.style.level(level);
        self
    }

    /// A number that the next lines carry; its meaning is yours. 0 at first.
    pub fn set_tag(&mut self, tag: u16) -> &mut Self {
        self.style = self.style.tag(tag);
        self
    }

    /// The number that its lines carry: mirrors and seats are numbered in the order of their
    /// making. In a forked child, the parent's mirror's until the first write.
    pub fn writer_id(&self) -> u32 {
        self.serial as u32
    }

    // ----------------------------------------------------------------------------------------- end

    /// Ends the mirror. The unfinished line is published as it is. A second end is ignored.
    ///
    /// # Errors
    ///
    /// If the unfinished line found no room; the mirror has ended all the same.
    pub fn send_eof(&mut self) -> Result<(), WriteError> {
        self.end(Finish::Eof)
    }

    /// Ends the mirror with an error: its text, those of its sources, and a backtrace of this call
    /// if `RUST_BACKTRACE` asks for one, as one group on [`Stream::Stderr`]. A second end is
    /// ignored.
    ///
    /// # Errors
    ///
    /// If the error's text found no room; the mirror has ended with an error all the same.
    pub fn send_error(&mut self, error: &(dyn Error + 'static)) -> Result<(), WriteError> {
        self.send_error_text(&trace::of_error(error, &Backtrace::capture()))
    }

    /// Ends the mirror with an error of which this text is all there is to say: lines, each with
    /// its `\n`.
    ///
    /// # Errors
    ///
    /// As [`send_error`](Self::send_error).
    pub fn send_error_text(&mut self, text: &str) -> Result<(), WriteError> {
        if self.is_inherited() {
            self.register_child()?;
        }
        self.end(Finish::Error(text.as_bytes()))
    }

    /// Ends the mirror with a panic's payload, as [`std::panic::catch_unwind`] gives it.
    ///
    /// # Errors
    ///
    /// As [`send_error`](Self::send_error).
    pub fn send_panic(&mut self, payload: &(dyn Any + Send)) -> Result<(), WriteError> {
        self.send_panic_traced(payload, &Backtrace::disabled())
    }

    pub(crate) fn send_panic_traced(
        &mut self,
        payload: &(dyn Any + Send),
        trace: &Backtrace,
    ) -> Result<(), WriteError> {
        self.send_error_text(&trace::of_panic(payload, trace))
    }

    /// Whether it came from the parent process and was not used here.
    fn is_inherited(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| !writer.registration().is_of_this_process())
    }

    fn end(&mut self, how: Finish<'_>) -> Result<(), WriteError> {
        match self.writer.take() {
            Some(mut writer) if writer.registration().is_of_this_process() => writer.end(how),
            // The parent's own mirror: nothing of ours to end.
            _ => Ok(()),
        }
    }

    /// A fresh mirror of the same seat, with the same number and label; counted, like any other.
    ///
    /// # Errors
    ///
    /// As [`Seat::open`](crate::Seat::open).
    pub fn reopen(&self) -> Result<Self, MirrorError> {
        let mut mirror = Self::open_as(&self.segment, None, Some(self.serial), self.label)?;
        mirror.style = self.style;
        Ok(mirror)
    }
}

#[inline(always)]
fn is_stopped(segment: &Segment) -> bool {
    segment.header().flags.0.stopped.load(Ordering::Relaxed) != 0
}

/// An EOF, unless it has ended or was inherited and not used.
impl Drop for LineProcMirror {
    fn drop(&mut self) {
        let _ = self.send_eof();
    }
}

/// A group of lines that is being written; ends when it is dropped.
#[must_use = "a group ends when it is dropped"]
#[derive(Debug)]
pub struct Group<'m> {
    mirror: &'m mut LineProcMirror,
    style: Style,
    open: bool,
}

impl Group<'_> {
    /// Adds a line; a `\n` in it makes it two.
    ///
    /// # Errors
    ///
    /// As [`LineProcMirror::write_line`].
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let style = self.style;
        self.mirror.with(|writer, _| {
            writer.append(bytes, style)?;
            writer.append(b"\n", style)
        })
    }

    /// Adds a text's lines and ends the group.
    fn write(mut self, text: &[u8]) -> Result<(), WriteError> {
        self.line(text.strip_suffix(b"\n").unwrap_or(text))?;
        self.end()
    }

    /// Ends the group: it is published as one.
    ///
    /// # Errors
    ///
    /// As [`LineProcMirror::write_line`].
    pub fn end(mut self) -> Result<(), WriteError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let style = self.style;
        if !core::mem::take(&mut self.open) {
            return Ok(());
        }
        self.mirror.with(|writer, _| writer.finish(style, 0))
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // A forked child's drop of its parent's does nothing.
        if self.mirror.is_inherited() {
            return;
        }
        let _ = self.finish();
    }
}
