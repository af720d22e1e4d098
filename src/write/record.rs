//! Records: one item each, whatever is in it.

use super::publisher::Style;
use super::writer::Writer;
use crate::error::WriteError;
use crate::layout::sync::Ordering::Relaxed;
use crate::line::item::Kind;
use crate::line::meta::Meta;

impl From<Meta> for Style {
    fn from(meta: Meta) -> Self {
        Self::default().stream(meta.stream).kind(meta.kind).level(meta.level).tag(meta.tag)
    }
}

impl Writer {
    /// Writes a record; the unfinished line is published before it. A line end after the last line
    /// is no further line; one elsewhere makes it a group of lines.
    pub(crate) fn record(&mut self, meta: Meta, bytes: &[u8]) -> Result<(), WriteError> {
        let flushed = self.flush_partial();
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let is_one_line = memchr::memchr(b'\n', text).is_none();
        let written = match meta.kind {
            Kind::Line if is_one_line => self.line(text, meta.into()),
            // A packed one is of lines that have nothing to do with each other.
            Kind::Line | Kind::Packed => self.group(text, meta.kind(Kind::Text).into()),
            _ => self.group(text, meta.into()),
        };
        flushed.and(written)
    }

    /// Writes any bytes. Whole lines that come in one write are one record, if no line is
    /// unfinished: a logger's event, say, of several lines.
    pub(crate) fn write_text(&mut self, meta: Meta, bytes: &[u8]) -> Result<(), WriteError> {
        if bytes.ends_with(b"\n") && self.partial.get().is_none() && !self.holds_back() {
            self.record(meta, bytes)
        } else {
            self.write(bytes, meta.into())
        }
    }

    /// Writes any bytes. Whole lines among them are one item, but for one that was begun before.
    pub(crate) fn write_together(&mut self, bytes: &[u8], style: Style) -> Result<(), WriteError> {
        let is_begun = self.partial.get().is_some() || self.holds_back();
        let first_end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        let (first, rest) = bytes.split_at(if is_begun { first_end } else { 0 });
        let mut written = self.write(first, style);
        let returns = self.segment().geometry().returns != 0;
        // What a `\r` means there is the splitter's to say.
        if returns && memchr::memchr(b'\r', rest).is_some() {
            return written.and(self.write(rest, style));
        }
        let (mut whole, tail) = rest.split_at(memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1));
        let most = self.segment().geometry().max_line as usize;
        while !whole.is_empty() {
            let last = memchr::memrchr(b'\n', &whole[..whole.len().min(most)]);
            let end = last.or_else(|| memchr::memchr(b'\n', whole)).unwrap_or(whole.len() - 1);
            let (now, later) = whole.split_at(end + 1);
            written = written.and(match memchr::memchr(b'\n', now) {
                Some(only) if only == end => self.line(&now[..end], style),
                _ => self.line(now, style.kind(Kind::Packed)),
            });
            whole = later;
        }
        if tail.is_empty() { written } else { written.and(self.write(tail, style)) }
    }

    /// Lines that this mirror has dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.publisher.cell.writer.0.dropped.load(Relaxed)
    }

    /// Writes lines, each with its end, as one item.
    fn group(&mut self, text: &[u8], style: Style) -> Result<(), WriteError> {
        let added = self.append(text, style);
        let ended = self.append(b"\n", style);
        added.and(ended).and(self.finish(style, 0))
    }
}
