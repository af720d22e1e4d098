//! One mirror's writing side: puts lines together in the spare and publishes them.
//!
//! The unfinished line stands in the spare itself, in shared memory, so it outlives its writer. A
//! line that is longer than a slot goes out in parts, each an ordinary exchange; the last one
//! carries the flag.

use std::io;
use std::sync::Arc;

pub(crate) use super::publisher::Style;

use super::partial_line::Unfinished;
use super::publisher::Publisher;
use crate::error::{MirrorError, WriteError};
use crate::exchange::checksum;
use crate::layout::sync::Ordering;
use crate::layout::{LineNumber, Owner, SlotHeader, TicketWord, flag};
use crate::line::ends::{SHORT, has_end};
use crate::line::item::{Kind, Level, Stream};
use crate::line::splitter::{LineSplitter, Piece, Pieces};
use crate::registry::cell::{MirrorKind, Registration};
use crate::segment::Segment;

use Ordering::Relaxed;

/// The state of one mirror.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) publisher: Publisher,
    pub(super) partial: Unfinished,
    splitter: LineSplitter,
    /// Bytes of the longest line that is one slot.
    pub(super) fits: usize,
    /// The last number of a line of which parts were published that are void.
    pub(super) voided: Option<LineNumber>,
}

/// What mirrors of a ring make of the bytes written into them.
pub(crate) fn splitter(segment: &Segment) -> LineSplitter {
    let returns = segment.geometry().returns;
    LineSplitter::new().fold_crlf(returns & 1 != 0).rewrite(returns & 2 != 0)
}

impl Writer {
    pub(crate) fn new(segment: &Arc<Segment>, entry: MirrorKind) -> Result<Self, MirrorError> {
        let publisher = Publisher::new(segment, entry)?;
        let fits = segment.ring().shape.payload().min(segment.geometry().max_line as usize);
        // The long way has time stamps and checksums too.
        let is_plain = !segment.ring().shape.has_checks();
        let has_plain_pieces = is_plain && segment.geometry().returns == 0;
        let partial = Unfinished::none(fits, is_plain && !segment.stamps(), has_plain_pieces);
        Ok(Self { publisher, partial, splitter: splitter(segment), fits, voided: None })
    }

    /// The ring's memory.
    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.publisher.segment
    }

    /// The mirror that writes here.
    #[inline]
    pub(crate) fn registration(&self) -> &Registration {
        &self.publisher.registration
    }

    /// Writes any bytes: the splitter says where lines end.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        if self.add_piece(bytes) { Ok(()) } else { self.write_other(bytes, style) }
    }

    /// The same for bytes that are no piece that [`add_piece`](Self::add_piece) takes, for a caller
    /// that does not look at the error.
    // Apart, so that a piece that it takes saves no registers for this.
    #[inline(never)]
    pub(crate) fn write_other_io(&mut self, bytes: &[u8], style: Style) -> io::Result<()> {
        Ok(self.write_other(bytes, style)?)
    }

    #[inline(always)]
    fn write_other(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        if self.splitter.holds_back() {
            return self.write_split(bytes, style);
        }
        if bytes == b"\n" {
            return self.finish(style, 0);
        }
        if (1..=SHORT).contains(&bytes.len()) && !has_end(bytes) {
            return self.append(bytes, style);
        }
        // The common cases, in one look: a piece without an end, and a line with its own.
        match memchr::memchr2(b'\n', b'\r', bytes) {
            None if bytes.is_empty() => Ok(()),
            None => self.append(bytes, style),
            Some(end) if &bytes[end..] == b"\n" => self.line(&bytes[..end], style),
            Some(_) => self.write_split(bytes, style),
        }
    }

    /// Whether a `\r` waits for what follows it.
    pub(super) fn holds_back(&self) -> bool {
        self.splitter.holds_back()
    }

    #[inline(never)]
    fn write_split(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        // Out of `self` and back, since the pieces borrow it.
        let mut splitter = core::mem::take(&mut self.splitter);
        let result = self.write_pieces(splitter.split(bytes), style);
        self.splitter = splitter;
        result
    }

    fn write_pieces(&mut self, mut pieces: Pieces<'_, '_>, style: Style) -> Result<(), WriteError> {
        let mut held = None;
        // The first failure; the lines after it are tried, and counted, all the same.
        let mut written = Ok(());
        loop {
            match (held.take(), pieces.next()) {
                // The common case: a whole line, in one go.
                (Some(bytes), Some(Piece::End)) => written = written.and(self.line(bytes, style)),
                (None, Some(Piece::End)) => written = written.and(self.finish(style, 0)),
                (bytes, next) => {
                    if let Some(bytes) = bytes {
                        written = written.and(self.append(bytes, style));
                    }
                    match next {
                        Some(Piece::Bytes(more)) => held = Some(more),
                        Some(Piece::Rewrite) => self.rewrite(),
                        Some(Piece::End) => unreachable!("matched above"),
                        None => return written,
                    }
                }
            }
        }
    }

    /// As [`write`](Self::write), but as many whole lines as fit in a slot go into it together.
    pub(crate) fn write_packed(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        // What a `\r` means there is the splitter's to say.
        if self.publisher.segment.geometry().returns != 0 {
            return self.write(bytes, style);
        }
        let mut written = Ok(());
        let mut rest = bytes;
        while let Some(first) = memchr::memchr(b'\n', rest) {
            let fitting = if self.partial.get().is_some() { 0 } else { rest.len().min(self.fits) };
            let last = memchr::memrchr(b'\n', &rest[..fitting]).unwrap_or(first);
            let (now, later) = rest.split_at(last + 1);
            written = written.and(if last == first {
                self.line(&now[..last], style)
            } else {
                self.line(now, style.kind(Kind::Packed))
            });
            rest = later;
        }
        if rest.is_empty() { written } else { written.and(self.append(rest, style)) }
    }

    /// Publishes the unfinished line as it is, flagged, if there is one.
    pub(crate) fn flush_partial(&mut self) -> Result<(), WriteError> {
        self.end_unfinished(flag::UNFINISHED)
    }

    /// Ends the unfinished line, if there is one: as if its end had been written, but for the
    /// flags.
    pub(crate) fn end_unfinished(&mut self, flags: u32) -> Result<(), WriteError> {
        if let Some(Piece::Bytes(bytes)) = self.splitter.finish() {
            let added = self.append(bytes, Style::default());
            return added.and(self.finish(Style::default(), flags));
        }
        match self.partial.get() {
            Some(_) => self.finish(Style::default(), flags),
            None => Ok(()),
        }
    }

    /// Forgets the unfinished line. Its number goes to the next one.
    pub(crate) fn discard_partial(&mut self) {
        self.splitter.reset();
        let parts = self.partial.take().map_or(0, |begun| begun.parts);
        self.forget(parts);
    }

    // --------------------------------------------------------------------------------- whole lines

    /// Writes a line, or what is missing of the unfinished one.
    #[inline]
    pub(crate) fn line(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        if self.partial.lets_by(bytes.len()) {
            self.plain_line(bytes, style, 0)
        } else {
            self.long_way(bytes, style)
        }
    }

    // One piece of code, and the only one for a line without a checksum: a call costs as much as
    // the exchange's own steps.
    #[inline(never)]
    fn plain_line(&mut self, bytes: &[u8], style: Style, time: u64) -> Result<(), WriteError> {
        self.put_line::<false>(bytes, style, time)
    }

    #[inline(never)]
    fn long_way(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        if self.partial.get().is_some() || bytes.len() > self.fits {
            // Whatever happens, the line ends here: the next one must not be glued to it.
            let added = self.append(bytes, style);
            return added.and(self.finish(style, 0));
        }
        if self.publisher.segment.ring().shape.has_checks() {
            return self.put_line::<true>(bytes, style, self.publisher.stamp());
        }
        self.plain_line(bytes, style, self.publisher.stamp())
    }

    #[inline(never)]
    pub(super) fn publish_with_checksum(
        &mut self,
        header: &SlotHeader,
        payload: u32,
    ) -> Result<(), WriteError> {
        self.publisher.segment.ring().seal(&mut self.publisher.spare, header, payload);
        self.publisher.publish_line::<true>()
    }

    #[inline(always)]
    fn put_line<const CHECKS: bool>(
        &mut self,
        bytes: &[u8],
        style: Style,
        time: u64,
    ) -> Result<(), WriteError> {
        let flags = flag::FIRST | flag::LAST;
        let header = self.publisher.header(style, time, 0, bytes.len(), flags);
        let (ring, spare) = (self.publisher.segment.ring(), &mut self.publisher.spare);
        ring.write_line::<CHECKS>(spare, &header, bytes);
        self.publisher.publish_line::<CHECKS>()
    }

    // ----------------------------------------------------------------------------- pieces of lines

    // ----------------------------------------------------------------------------------------- end

    /// Ends the mirror. An unfinished line is published as it is.
    pub(crate) fn end(&mut self, how: Finish) -> Result<(), WriteError> {
        let mut result = self.flush_partial();
        let (word, owner) = match how {
            Finish::Eof => (TicketWord::Eof(self.publisher.registration.mirror), Owner::Free),
            Finish::Error(text) => {
                let style = Style::default().stream(Stream::Stderr);
                let style = style.kind(Kind::Error).level(Level::Error);
                result = result.and(self.line(text, style));
                self.keep_error(text, style);
                (TicketWord::Error(self.publisher.registration.mirror), Owner::KeepsError)
            }
        };
        if let Some(ticket) = self.publisher.registration.ticket {
            let dropped = self.publisher.cell().writer.0.dropped.load(Relaxed);
            self.publisher.segment.end_ticket(
                ticket,
                self.publisher.registration.mirror,
                word,
                self.publisher.line,
                dropped,
            );
        }
        self.publisher.leave(owner);
        result
    }

    /// Leaves the error's first slot-full in the spare, for a reader that finds the line itself
    /// overwritten.
    fn keep_error(&mut self, text: &[u8], style: Style) {
        let ring = self.publisher.segment.ring();
        let kept = &text[..text.len().min(ring.shape.payload())];
        ring.fill(&self.publisher.spare, 0, kept);
        let (time, flags) = (self.publisher.stamp(), flag::FIRST | flag::LAST);
        let mut header = self.publisher.header(style, time, 0, kept.len(), flags);
        header.line = self.publisher.line.previous();
        ring.seal(&mut self.publisher.spare, &header, ring.sum(checksum::NONE, kept));
        // The position's word says how much of the text is missing here.
        ring.mark_kept(&self.publisher.spare, (text.len() - kept.len()) as u64);
    }
}

#[cfg(test)]
impl Writer {
    /// Publishes a part as no writer does.
    pub(crate) fn forge(&mut self, part: u32, flags: u32, bytes: &[u8]) {
        let ring = self.publisher.segment.ring();
        ring.fill(&self.publisher.spare, 0, bytes);
        let header = self.publisher.header(Style::default(), 0, part, bytes.len(), flags);
        ring.seal(&mut self.publisher.spare, &header, ring.sum(checksum::NONE, bytes));
        self.publisher.publish(super::publisher::Part::Inner).expect("room");
    }
}

/// How a mirror is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish<'t> {
    Eof,
    /// With the error's text, a group of lines.
    Error(&'t [u8]),
}
