//! [`ItemRef`]: an item as the reader has it, of which no more is put together than its user asks.

use std::fmt;
use std::time::SystemTime;

use crate::layout::{Position, SlotHeader, flag};
use crate::line::item::{Item, Kind, Level, Line, Stream, lines_of};
use crate::read::assembly::trailer;
use crate::read::decode::{line_of, time_of};
use crate::read::event::{Event, event_item};
use crate::read::writers::WriterTable;
use crate::segment::Segment;

/// An [`Item`] as the reader has it: a line of one slot is looked at where it was copied to, and
/// costs less than half of what an `Item` does.
///
/// What [`Reader::recv_ref`](crate::Reader::recv_ref) and
/// [`Batch::iter_ref`](crate::Batch::iter_ref) give. Both kinds come in the one order of the ring:
/// a line that is longer than a slot, a loss or an end comes between the lines where it would as an
/// `Item`.
///
/// ```
/// use linering::{Item, ItemRef, LineRing, Options};
///
/// let ring = LineRing::new(Options::new())?;
/// let mut mirror = ring.mirror()?;
/// mirror.write_line(b"short")?;
/// mirror.write_line(&b"long".repeat(1000))?;
/// drop(mirror);
///
/// let (mut short, mut long, mut ends) = (0, 0, 0);
/// let mut reader = ring.reader()?;
/// while let Some(item) = reader.recv_ref()? {
///     match item {
///         ItemRef::Line(line) => short += line.bytes().len(),
///         ItemRef::Other(other) => match other.to_item() {
///             Item::Line(line) => long += line.bytes.len(),
///             Item::Ended(_) => ends += 1,
///             _ => unreachable!("nothing is lost in a ring with room"),
///         },
///     }
/// }
/// assert_eq!((short, long, ends), (5, 4000, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum ItemRef<'a> {
    /// A line, or a group of lines, that took one slot. Never `damaged`.
    Line(LineRef<'a>),
    /// Anything else: a longer line, one that is damaged, a loss, an end, damage.
    Other(OtherRef<'a>),
}

impl<'a> ItemRef<'a> {
    /// The same as an item.
    // In place: so no line is moved, of which fields that are not asked for are not put together.
    #[inline(always)]
    pub fn to_item(self) -> Item<'a> {
        match self {
            ItemRef::Line(line) => Item::Line(line.to_line()),
            ItemRef::Other(other) => other.to_item(),
        }
    }
}

impl<'a> From<ItemRef<'a>> for Item<'a> {
    fn from(item: ItemRef<'a>) -> Self {
        item.to_item()
    }
}

/// As of the [`Item`] that it is.
impl fmt::Display for ItemRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ItemRef::Line(line) => line.fmt(f),
            ItemRef::Other(other) => other.to_item().fmt(f),
        }
    }
}

/// Anything but a line of one slot, as the reader has it.
#[derive(Clone, Copy)]
pub struct OtherRef<'a> {
    pub(super) event: &'a Event,
    pub(super) segment: &'a Segment,
    pub(super) writers: &'a WriterTable,
}

impl<'a> OtherRef<'a> {
    /// What it is.
    pub fn to_item(&self) -> Item<'a> {
        *event_item(self.segment, self.writers, self.event)
    }
}

/// As of the [`Item`] that it is.
impl fmt::Debug for OtherRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_item(), f)
    }
}

/// One line, or one group of lines, that took one slot, in the reader's own memory: no other
/// process changes it. Each method says what the field of that name says in [`Line`].
#[derive(Clone, Copy)]
pub struct LineRef<'a> {
    /// The slot as it was copied. Its position's upper bits may be a hostile process's.
    pub(super) image: &'a [u64],
    /// The word of it at which the payload begins.
    pub(super) payload_at: usize,
    pub(super) position: Position,
    pub(super) segment: &'a Segment,
    pub(super) writers: &'a WriterTable,
    /// Which of them it is of.
    pub(super) writer: u32,
}

impl<'a> LineRef<'a> {
    #[inline]
    fn header(&self) -> SlotHeader {
        let words = *self.image.first_chunk().expect("an image has a header");
        SlotHeader { position: self.position, ..SlotHeader::unpack(words) }
    }

    /// The payload, and how many bytes its writer says it left out.
    #[inline]
    fn payload(&self) -> (&'a [u8], u64) {
        let header = self.header();
        let payload: &[u8] = bytemuck::cast_slice(&self.image[self.payload_at..]);
        let payload = &payload[..usize::from(header.length)];
        let (length, missing) = trailer(&header, payload);
        (&payload[..length], missing)
    }

    /// Its bytes, without the line end; for a group, its lines with theirs.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.payload().0
    }

    /// Its lines, without their ends: one, unless it is a group.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (one, several) = match self.kind() {
            Kind::Line => (Some(self.bytes()), &[][..]),
            _ => (None, self.bytes()),
        };
        one.into_iter().chain(lines_of(several))
    }

    /// Where it stands in the one order of the ring: [`Line::position`].
    #[inline]
    pub fn position(&self) -> u64 {
        self.position.0
    }

    /// The number of its mirror; `u32::MAX` if that is not known any more: [`Line::writer_id`].
    #[inline]
    pub fn writer_id(&self) -> u32 {
        self.writers.get(self.writer).map_or(u32::MAX, |writer| writer.worker)
    }

    /// The cell of its mirror: [`Line::cell`].
    #[inline]
    pub fn cell(&self) -> u16 {
        self.header().cell
    }

    /// Its number among the lines of its cell: [`Line::number`].
    #[inline]
    pub fn number(&self) -> u64 {
        self.header().line.get()
    }

    /// Its mirror's label.
    #[inline]
    pub fn label(&self) -> &'a str {
        self.writers.get(self.writer).map_or("", |writer| &writer.label)
    }

    /// The stream it was written to.
    #[inline]
    pub fn stream(&self) -> Stream {
        Stream::from_bits(self.header().flags >> flag::STREAM_SHIFT)
    }

    /// How serious it is.
    #[inline]
    pub fn level(&self) -> Level {
        Level::from_bits(self.header().level)
    }

    /// A number whose meaning is the writer's.
    #[inline]
    pub fn tag(&self) -> u16 {
        self.header().tag
    }

    /// When its first byte was written, to a few milliseconds; `None` without time stamps.
    #[inline]
    pub fn time(&self) -> Option<SystemTime> {
        time_of(self.header().time, self.segment.geometry().created)
    }

    /// One line, or a group.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_bits(self.header().flags >> flag::KIND_SHIFT)
    }

    /// Some of its bytes are missing: it was too long.
    #[inline]
    pub fn is_truncated(&self) -> bool {
        self.header().is(flag::TRUNCATED)
    }

    /// It has no end: its writer ended, died, or asked for it to be published as it was.
    #[inline]
    pub fn is_unfinished(&self) -> bool {
        self.header().is(flag::UNFINISHED)
    }

    /// Its writer died before `write` returned.
    #[inline]
    pub fn is_unacknowledged(&self) -> bool {
        self.header().is(flag::UNACKNOWLEDGED)
    }

    /// How many bytes are missing, as far as is known.
    #[inline]
    pub fn missing(&self) -> u64 {
        self.payload().1
    }

    /// The same as a [`Line`].
    // As `to_item`.
    #[inline(always)]
    pub fn to_line(&self) -> Line<'a> {
        let (header, (bytes, missing)) = (self.header(), self.payload());
        let mut line = line_of(
            &header,
            self.segment.geometry().created,
            self.writer_id(),
            self.label().into(),
            bytes.into(),
        );
        (line.truncated, line.missing) = (header.is(flag::TRUNCATED), missing);
        line
    }
}

impl<'a> From<LineRef<'a>> for Line<'a> {
    fn from(line: LineRef<'a>) -> Self {
        line.to_line()
    }
}

/// As of the [`Line`] that it is.
impl fmt::Debug for LineRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_line(), f)
    }
}

/// As of the [`Line`] that it is.
impl fmt::Display for LineRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_line().fmt(f)
    }
}
