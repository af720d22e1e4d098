//! One mirror's writing side: puts lines together in the spare and publishes them.
//!
//! The unfinished line stands in the spare itself, in shared memory, so it outlives its writer. A
//! line that is longer than a slot goes out in parts, each an ordinary exchange; the last one
//! carries the flag.

use super::backpressure::SpaceWait;
use crate::error::{MirrorError, WriteError};
use crate::exchange::checksum;
use crate::exchange::{Refused, Spare};
use crate::layout::sync::Ordering;
use crate::layout::{LINE_MASK, Owner, SlotHeader, TicketWord, flag};
use crate::line::item::{Kind, Level, Stream};
use crate::line::splitter::{LineSplitter, Piece, Pieces};
use crate::registry::cell::{Entry, Registration, register};
use crate::segment::Segment;
use crate::segment::options::Policy;
use crate::segment::wake::wake_reader;

use Ordering::Relaxed;

/// What a writer says about its lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    pub(crate) stream: Stream,
    pub(crate) level: Level,
    pub(crate) tag: u16,
    pub(crate) kind: Kind,
}

/// The state of one mirror.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) registration: Registration,
    spare: Spare,
    /// The number of the line that is unfinished or comes next.
    line: u64,
    unfinished: Option<Unfinished>,
    splitter: LineSplitter,
    /// Bytes of the longest line that is one slot.
    fits: usize,
    /// The last line found no room and no reader: how far the last reader had come.
    reader_gone: Option<u64>,
    /// The last number of a line of which parts were published that are void.
    voided: Option<u64>,
}

/// A line that has begun and not ended.
#[derive(Clone, Copy, Debug, Default)]
struct Unfinished {
    style: Style,
    /// Its place among all unfinished lines, in a [`LineBuffer`](crate::LineBuffer).
    order: u64,
    time: u64,
    /// Parts published, and bytes in the spare.
    parts: u32,
    at: usize,
    /// Bytes of the line that were stored, and bytes that were not.
    stored: u64,
    cut: u64,
    /// A part could not be published: all that follows is cut.
    cutting: bool,
    /// The sum of what is in the spare, where slots have checksums.
    sum: u32,
}

impl Unfinished {
    /// Whether all of it stands in the spare.
    #[inline]
    fn is_one_part(&self) -> bool {
        self.parts == 0 && self.cut == 0
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its last part is in the ring.
    Published,
    /// Some parts are, the last one is not: the reader delivers it as truncated, so it is not lost.
    Cut,
    /// No part is.
    Lost,
}

/// What became of a spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Published,
    /// The ring is full and its policy is to drop.
    Dropped,
}

/// What mirrors of a ring make of the bytes written into them.
pub(crate) fn splitter(segment: &Segment) -> LineSplitter {
    let returns = segment.geometry().returns;
    LineSplitter::new().fold_crlf(returns & 1 != 0).rewrite(returns & 2 != 0)
}

impl Writer {
    pub(crate) fn new(segment: &Segment, entry: Entry) -> Result<Self, MirrorError> {
        let (registration, spare) = register(segment, entry)?;
        let line = registration.mirror.epoch;
        let fits = segment.ring().shape.payload().min(segment.geometry().max_line as usize);
        Ok(Self {
            registration,
            spare,
            line,
            unfinished: None,
            splitter: splitter(segment),
            fits,
            reader_gone: None,
            voided: None,
        })
    }

    /// Writes any bytes: the splitter says where lines end.
    #[inline]
    pub(crate) fn write(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        if self.splitter.holds_back() {
            return self.write_split(segment, bytes, style);
        }
        // The common cases, in one look: a piece without an end, a line with its own, and an end.
        match memchr::memchr2(b'\n', b'\r', bytes) {
            None if bytes.is_empty() => Ok(()),
            None => self.append(segment, bytes, style),
            Some(0) if bytes == b"\n" => self.finish(segment, style, 0),
            Some(end) if &bytes[end..] == b"\n" => self.line(segment, &bytes[..end], style),
            Some(_) => self.write_split(segment, bytes, style),
        }
    }

    #[inline(never)]
    fn write_split(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        // Out of `self` and back, since the pieces borrow it.
        let mut splitter = core::mem::take(&mut self.splitter);
        let result = self.write_pieces(segment, splitter.split(bytes), style);
        self.splitter = splitter;
        result
    }

    fn write_pieces(
        &mut self,
        segment: &Segment,
        mut pieces: Pieces<'_, '_>,
        style: Style,
    ) -> Result<(), WriteError> {
        let mut held = None;
        // The first failure; the lines after it are tried, and counted, all the same.
        let mut written = Ok(());
        loop {
            match (held.take(), pieces.next()) {
                // The common case: a whole line, in one go.
                (Some(bytes), Some(Piece::End)) => {
                    written = written.and(self.line(segment, bytes, style))
                }
                (None, Some(Piece::End)) => written = written.and(self.finish(segment, style, 0)),
                (bytes, next) => {
                    if let Some(bytes) = bytes {
                        written = written.and(self.append(segment, bytes, style));
                    }
                    match next {
                        Some(Piece::Bytes(more)) => held = Some(more),
                        Some(Piece::Rewrite) => self.rewrite(segment),
                        Some(Piece::End) => unreachable!("matched above"),
                        None => return written,
                    }
                }
            }
        }
    }

    /// As [`write`](Self::write), but as many whole lines as fit in a slot go into it together.
    pub(crate) fn write_packed(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        // What a `\r` means there is the splitter's to say.
        if segment.geometry().returns != 0 {
            return self.write(segment, bytes, style);
        }
        let mut written = Ok(());
        let mut rest = bytes;
        while let Some(first) = memchr::memchr(b'\n', rest) {
            let fitting = if self.unfinished.is_some() { 0 } else { rest.len().min(self.fits) };
            let last = memchr::memrchr(b'\n', &rest[..fitting]).unwrap_or(first);
            let (now, later) = rest.split_at(last + 1);
            written = written.and(if last == first {
                self.line(segment, &now[..last], style)
            } else {
                self.line(segment, now, Style { kind: Kind::Packed, ..style })
            });
            rest = later;
        }
        if rest.is_empty() { written } else { written.and(self.append(segment, rest, style)) }
    }

    /// Publishes the unfinished line as it is, flagged, if there is one.
    pub(crate) fn flush_partial(&mut self, segment: &Segment) -> Result<(), WriteError> {
        self.end_unfinished(segment, flag::UNFINISHED)
    }

    /// Ends the unfinished line, if there is one: as if its end had been written, but for the
    /// flags.
    pub(crate) fn end_unfinished(
        &mut self,
        segment: &Segment,
        flags: u32,
    ) -> Result<(), WriteError> {
        if let Some(Piece::Bytes(bytes)) = self.splitter.finish() {
            let added = self.append(segment, bytes, Style::default());
            return added.and(self.finish(segment, Style::default(), flags));
        }
        match self.unfinished {
            Some(_) => self.finish(segment, Style::default(), flags),
            None => Ok(()),
        }
    }

    /// Forgets the unfinished line. Its number goes to the next one.
    pub(crate) fn discard_partial(&mut self, segment: &Segment) {
        self.splitter.reset();
        let parts = self.unfinished.take().map_or(0, |begun| begun.parts);
        self.forget(segment, parts);
    }

    /// What stands in the spare is void, and so are the parts of the line that are in the ring.
    fn forget(&mut self, segment: &Segment, parts: u32) {
        let cell = self.registration.cell(segment);
        cell.set_pending(self.line, 0);
        segment.ring().invalidate_snapshots(&cell.writer.0.hold, &mut self.spare);
        if parts > 0 {
            self.voided = Some(self.line);
            let flags = flag::FIRST | flag::LAST | flag::FORGOTTEN;
            let header = self.header(Style::default(), 0, 0, 0, flags);
            segment.ring().seal(&mut self.spare, &header, checksum::NONE);
            // Where it finds no room, the parts that follow say the same.
            let _ = self.publish(segment, false);
        }
    }

    // --------------------------------------------------------------------------------- whole lines

    /// Writes a line, or what is missing of the unfinished one.
    #[inline]
    pub(crate) fn line(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        if self.unfinished.is_some() || bytes.len() > self.fits {
            // Whatever happens, the line ends here: the next one must not be glued to it.
            let added = self.append(segment, bytes, style);
            return added.and(self.finish(segment, style, 0));
        }
        if segment.ring().shape.has_checks() {
            return self.line_with_checksum(segment, bytes, style);
        }
        self.put_line::<false>(segment, bytes, style)
    }

    // Apart, so that it does not keep the code of a line without one from being one piece.
    #[inline(never)]
    fn line_with_checksum(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        self.put_line::<true>(segment, bytes, style)
    }

    #[inline(never)]
    fn publish_with_checksum(
        &mut self,
        segment: &Segment,
        header: &SlotHeader,
        payload: u32,
    ) -> Result<(), WriteError> {
        segment.ring().seal(&mut self.spare, header, payload);
        self.publish_line::<true>(segment)
    }

    #[inline(always)]
    fn put_line<const CHECKS: bool>(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        let header = self.header(style, stamp(segment), 0, bytes.len(), flag::FIRST | flag::LAST);
        segment.ring().write_line::<CHECKS>(&mut self.spare, &header, bytes);
        self.publish_line::<CHECKS>(segment)
    }

    /// Publishes the spare, in which a line stands that has no other parts, and is not `unfinished`
    /// any more.
    // All that a whole line needs is to be one piece of code: a call costs as much as the
    // exchange's own steps.
    #[inline(always)]
    fn publish_line<const CHECKS: bool>(&mut self, segment: &Segment) -> Result<(), WriteError> {
        match self.try_publish::<CHECKS>(segment, true) {
            Ok(()) => {
                let is_whole = wake_reader(segment);
                self.line = self.line.wrapping_add(1) & LINE_MASK;
                if is_whole { Ok(()) } else { Err(WriteError::CutShort) }
            }
            Err(refused) => self.line_later(segment, refused),
        }
    }

    /// The same for one that was refused at first.
    #[cold]
    #[inline(never)]
    fn line_later(&mut self, segment: &Segment, refused: Refused) -> Result<(), WriteError> {
        let outcome = self.publish_later(segment, true, refused);
        let published = matches!(outcome, Ok(Outcome::Published));
        self.end_line(segment, if published { Fate::Published } else { Fate::Lost });
        outcome.map(drop)
    }

    #[inline]
    fn header(&self, style: Style, time: u64, part: u32, length: usize, flags: u32) -> SlotHeader {
        SlotHeader {
            position: 0,
            time,
            tag: style.tag,
            line: self.line,
            cell: self.registration.mirror.cell,
            level: style.level as u8,
            part,
            length: length as u16,
            flags: flags
                | (style.stream as u32) << flag::STREAM_SHIFT
                | (style.kind as u32) << flag::KIND_SHIFT,
        }
    }

    /// Publishes the spare, waiting for space if that is the ring's policy. `last`: the line is
    /// complete with it.
    ///
    /// What the spare held is not pending any more from the exchange on. Were that noted only after
    /// the new spare is, who finds this writer dead could take an older part of the same line,
    /// in the new spare, for its last words.
    fn publish(&mut self, segment: &Segment, last: bool) -> Result<Outcome, WriteError> {
        match self.try_publish_any(segment, last) {
            Ok(()) => published(segment),
            Err(refused) => self.publish_later(segment, last, refused),
        }
    }

    #[inline]
    fn try_publish_any(&mut self, segment: &Segment, last: bool) -> Result<(), Refused> {
        if segment.ring().shape.has_checks() {
            self.try_publish::<true>(segment, last)
        } else {
            self.try_publish::<false>(segment, last)
        }
    }

    #[inline(always)]
    fn try_publish<const CHECKS: bool>(
        &mut self,
        segment: &Segment,
        last: bool,
    ) -> Result<(), Refused> {
        let cell = self.registration.cell(segment);
        let line = self.line.wrapping_add(u64::from(last));
        let (hold, overwrites) = (&cell.writer.0.hold, segment.overwrites());
        let publish =
            segment.ring().publish_as::<CHECKS>(hold, &mut self.spare, overwrites, || {
                cell.set_pending(line, 0);
            });
        publish.map(drop)
    }

    #[cold]
    fn publish_later(
        &mut self,
        segment: &Segment,
        last: bool,
        refused: Refused,
    ) -> Result<Outcome, WriteError> {
        segment.header().counts.0.found_full.fetch_add(1, Relaxed);
        let mut gone = self.reader_gone;
        let mut patience = SpaceWait::new(&mut gone);
        let result = self.publish_patiently(segment, last, refused, &mut patience);
        self.reader_gone = gone.filter(|_| result.is_err());
        result
    }

    fn publish_patiently(
        &mut self,
        segment: &Segment,
        last: bool,
        mut refused: Refused,
        patience: &mut SpaceWait<'_>,
    ) -> Result<Outcome, WriteError> {
        loop {
            match refused {
                Refused::Damaged if segment.is_cut() => return Err(WriteError::CutShort),
                Refused::Damaged => return Err(WriteError::Damaged),
                Refused::Full(_) if segment.policy() == Policy::DropNewest => {
                    return Ok(Outcome::Dropped);
                }
                Refused::Full(position) => patience.wait(segment, position)?,
            }
            match self.try_publish_any(segment, last) {
                Ok(()) => return published(segment),
                Err(again) => refused = again,
            }
        }
    }

    /// The line has its number for good.
    fn end_line(&mut self, segment: &Segment, fate: Fate) {
        self.line = self.line.wrapping_add(1) & LINE_MASK;
        self.unfinished = None;
        if fate == Fate::Published {
            return;
        }
        let cell = self.registration.cell(segment);
        if fate == Fate::Lost {
            cell.count_dropped();
        }
        cell.set_pending(self.line, 0);
    }

    // ----------------------------------------------------------------------------- pieces of lines

    /// Adds bytes to the unfinished line, which begins with them if there is none.
    // Apart, as `finish` is, so that they do not keep a whole line's code from being one piece.
    #[inline(never)]
    pub(crate) fn append(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        let ring = segment.ring();
        let end = match &mut self.unfinished {
            None if bytes.len() <= self.fits => {
                let mut begun = self.begin(segment, style);
                (begun.at, begun.stored) = (bytes.len(), bytes.len() as u64);
                let header = self.header(style, begun.time, 0, begun.at, flag::FIRST);
                if ring.shape.has_checks() {
                    begun.sum = ring.sum(checksum::NONE, bytes);
                    ring.fill(&self.spare, 0, bytes);
                    ring.write_header(&self.spare, &header);
                } else {
                    ring.write_line::<false>(&mut self.spare, &header, bytes);
                }
                ring.mark_begun(&self.spare, begun.order);
                self.unfinished = Some(begun);
                bytes.len()
            }
            Some(begun) if begun.is_one_part() && begun.at + bytes.len() <= self.fits => {
                ring.fill(&self.spare, begun.at, bytes);
                begun.sum = ring.sum(begun.sum, bytes);
                begun.at += bytes.len();
                begun.stored += bytes.len() as u64;
                let (style, time, end) = (begun.style, begun.time, begun.at);
                ring.write_header(&self.spare, &self.header(style, time, 0, end, flag::FIRST));
                end
            }
            _ => return self.append_more(segment, bytes, style),
        };
        self.registration.cell(segment).set_pending(self.line, end);
        Ok(())
    }

    #[inline]
    fn begin(&self, segment: &Segment, style: Style) -> Unfinished {
        // A counter that all write to is as dear as the exchange itself, so only those have it
        // whose reader wants it.
        let order = match self.registration.ticket {
            None => segment.header().counts.0.unfinished.fetch_add(1, Relaxed),
            Some(_) => 0,
        };
        Unfinished { style, order, time: stamp(segment), ..Unfinished::default() }
    }

    /// The same for any piece of any line.
    #[inline(never)]
    fn append_more(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        style: Style,
    ) -> Result<(), WriteError> {
        let ring = segment.ring();
        let payload = ring.shape.payload();
        let mut state = self.unfinished.unwrap_or_else(|| self.begin(segment, style));
        let left = segment.geometry().max_line - state.stored;
        let (mut rest, over) = bytes.split_at(bytes.len().min(left as usize));
        state.cut += over.len() as u64;
        let mut failed = Ok(());
        while !rest.is_empty() {
            if state.at == payload && !state.cutting {
                failed = self.part(segment, &mut state, 0);
            }
            if state.cutting {
                state.cut += rest.len() as u64;
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(payload - state.at));
            ring.fill(&self.spare, state.at, now);
            state.sum = ring.sum(state.sum, now);
            state.at += now.len();
            state.stored += now.len() as u64;
            rest = later;
        }
        // For those who look at unfinished lines, or find them after this process died.
        let flags = self.part_flags(&state);
        ring.write_header(
            &self.spare,
            &self.header(state.style, state.time, state.parts, state.at, flags),
        );
        ring.mark_begun(&self.spare, state.order);
        self.registration.cell(segment).set_pending(self.line, state.at);
        self.unfinished = Some(state);
        failed
    }

    /// Counts bytes of the unfinished line that nobody gives it.
    pub(crate) fn cut(&mut self, bytes: u64) {
        if let Some(state) = &mut self.unfinished {
            state.cut += bytes;
        }
    }

    /// What the next part's header says of its place in the line, and of the line's number.
    fn part_flags(&self, state: &Unfinished) -> u32 {
        let first = if state.parts == 0 { flag::FIRST } else { 0 };
        first | if self.voided == Some(self.line) { flag::ANEW } else { 0 }
    }

    /// Publishes what is in the spare as a part of the line. If it cannot be, the line is cut here.
    fn part(
        &mut self,
        segment: &Segment,
        state: &mut Unfinished,
        flags: u32,
    ) -> Result<(), WriteError> {
        let header = {
            let flags = flags | self.part_flags(state);
            self.header(state.style, state.time, state.parts, state.at, flags)
        };
        segment.ring().seal(&mut self.spare, &header, state.sum);
        let outcome = self.publish(segment, flags & flag::LAST != 0);
        if matches!(outcome, Ok(Outcome::Published)) {
            state.parts += 1;
        } else {
            state.cut += state.at as u64;
            state.cutting = true;
        }
        (state.at, state.sum) = (0, checksum::NONE);
        outcome.map(drop)
    }

    /// Ends the unfinished line; without one, this is an empty line in `style`.
    #[inline(never)]
    pub(crate) fn finish(
        &mut self,
        segment: &Segment,
        style: Style,
        flags: u32,
    ) -> Result<(), WriteError> {
        match &self.unfinished {
            None => self.line(segment, &[], style),
            Some(begun) if begun.is_one_part() => {
                let flags = flags | flag::FIRST | flag::LAST;
                let header = self.header(begun.style, begun.time, 0, begun.at, flags);
                let sum = begun.sum;
                self.unfinished = None;
                if segment.ring().shape.has_checks() {
                    return self.publish_with_checksum(segment, &header, sum);
                }
                segment.ring().write_header(&self.spare, &header);
                self.publish_line::<false>(segment)
            }
            Some(begun) => self.finish_parts(segment, *begun, flags),
        }
    }

    /// The same for one of several parts, or of which something was cut.
    #[inline(never)]
    fn finish_parts(
        &mut self,
        segment: &Segment,
        mut state: Unfinished,
        flags: u32,
    ) -> Result<(), WriteError> {
        if state.cutting && state.parts == 0 {
            self.end_line(segment, Fate::Lost);
            return Ok(());
        }
        let mut flags = flags | flag::LAST;
        let mut result = Ok(());
        if state.cut > 0 {
            let count = state.cut.to_ne_bytes();
            if state.at + count.len() > segment.geometry().shape().payload() {
                result = self.part(segment, &mut state, 0);
            }
            // Counted again: the part above may just have been cut too.
            let count = state.cut.to_ne_bytes();
            segment.ring().fill(&self.spare, state.at, &count);
            state.sum = segment.ring().sum(state.sum, &count);
            state.at += count.len();
            flags |= flag::TRUNCATED;
        }
        if state.parts > 0 || !state.cutting {
            state.cutting = false;
            result = result.and(self.part(segment, &mut state, flags));
        }
        let fate = match (state.cutting, state.parts) {
            (false, _) => Fate::Published,
            (true, 0) => Fate::Lost,
            (true, _) => Fate::Cut,
        };
        self.end_line(segment, fate);
        result
    }

    /// Forgets the unfinished line's bytes: what follows rewrites it.
    pub(crate) fn rewrite(&mut self, segment: &Segment) {
        if let Some(state) = &mut self.unfinished {
            let Unfinished { style, order, time, parts, .. } = *state;
            *state = Unfinished { style, order, time, ..Unfinished::default() };
            self.forget(segment, parts);
        }
    }

    // ----------------------------------------------------------------------------------------- end

    /// Ends the mirror. An unfinished line is published as it is.
    pub(crate) fn end(&mut self, segment: &Segment, how: Finish) -> Result<(), WriteError> {
        let mut result = self.flush_partial(segment);
        let (word, owner) = match how {
            Finish::Eof => (TicketWord::Eof(self.registration.mirror), Owner::Free),
            Finish::Error(text) => {
                let style = Style { kind: Kind::Error, level: Level::Error, ..Style::default() };
                result = result.and(self.line(segment, text, style));
                self.keep_error(segment, text, style);
                (TicketWord::Error(self.registration.mirror), Owner::KeepsError)
            }
        };
        if let Some(ticket) = self.registration.ticket {
            let dropped = self.registration.cell(segment).writer.0.dropped.load(Relaxed);
            segment.end_ticket(ticket, self.registration.mirror, word, self.line, dropped);
        }
        self.registration.leave(segment, owner);
        result
    }

    /// Leaves the error's first slot-full in the spare, for a reader that finds the line itself
    /// overwritten.
    fn keep_error(&mut self, segment: &Segment, text: &[u8], style: Style) {
        let ring = segment.ring();
        let kept = &text[..text.len().min(ring.shape.payload())];
        ring.fill(&self.spare, 0, kept);
        let mut header =
            self.header(style, stamp(segment), 0, kept.len(), flag::FIRST | flag::LAST);
        header.line = self.line.wrapping_sub(1) & LINE_MASK;
        ring.seal(&mut self.spare, &header, ring.sum(checksum::NONE, kept));
        // The position's word says how much of the text is missing here.
        ring.mark_kept(&self.spare, (text.len() - kept.len()) as u64);
    }
}

fn published(segment: &Segment) -> Result<Outcome, WriteError> {
    if wake_reader(segment) { Ok(Outcome::Published) } else { Err(WriteError::CutShort) }
}

#[cfg(test)]
impl Writer {
    /// Publishes a part as no writer does.
    pub(crate) fn forge(&mut self, segment: &Segment, part: u32, flags: u32, bytes: &[u8]) {
        segment.ring().fill(&self.spare, 0, bytes);
        let header = self.header(Style::default(), 0, part, bytes.len(), flags);
        segment.ring().seal(&mut self.spare, &header, segment.ring().sum(checksum::NONE, bytes));
        self.publish(segment, false).expect("room");
    }
}

/// How a mirror is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish<'t> {
    Eof,
    /// With the error's text, a group of lines.
    Error(&'t [u8]),
}

/// The time of a line's first byte, as its header has it.
#[inline]
fn stamp(segment: &Segment) -> u64 {
    if segment.stamps() {
        1 + crate::sys::clock::since_1970().saturating_sub(segment.geometry().created) / 1000
    } else {
        0
    }
}
