//! Items that no ring has handed out, for tests of code that takes items.

use std::borrow::Cow;

use super::item::{End, Ended, Item, Kind, Level, Line, LossCause, Lost, Stream};

impl<'a> Line<'a> {
    /// A whole line of mirror 0, without label, level or time; every field can be set. For tests of
    /// a format or of a [`Sink`](crate::Sink).
    ///
    /// ```
    /// use linering::{Format, Item, Level, Line};
    ///
    /// let mut line = Line::new("slow");
    /// (line.label, line.level) = ("api".into(), Level::Warn);
    /// let mut page = Vec::new();
    /// Format::Text.add(&mut page, &Item::from(line));
    /// assert_eq!(page, b"WARN  [api] slow\n");
    /// ```
    pub fn new(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            position: 0,
            writer_id: 0,
            cell: 0,
            number: 0,
            label: Cow::Borrowed(""),
            stream: Stream::default(),
            level: Level::default(),
            tag: 0,
            time: None,
            kind: Kind::default(),
            truncated: false,
            unfinished: false,
            unacknowledged: false,
            damaged: false,
            missing: 0,
            bytes: Cow::Borrowed(bytes.as_ref()),
        }
    }
}

impl Lost<'_> {
    /// So many lines of a mirror without a label.
    ///
    /// ```
    /// use linering::{LossCause, Lost};
    /// let lost = Lost::new(3, 7, LossCause::Dropped);
    /// assert_eq!(lost.to_string(), "-- worker 3: 7 lines lost, ring full --");
    /// ```
    pub fn new(writer_id: u32, lines: u64, cause: LossCause) -> Self {
        Self { writer_id, cell: 0, first: 0, label: Cow::Borrowed(""), lines, cause }
    }
}

impl Ended<'_> {
    /// The end of a mirror without a label, of no line and no known process; every field can be
    /// set.
    ///
    /// ```
    /// use linering::{End, Ended};
    /// assert_eq!(Ended::new(3, End::Eof).to_string(), "-- worker 3 ended --");
    /// ```
    pub fn new(writer_id: u32, end: End) -> Self {
        Self {
            writer_id,
            process: None,
            cell: None,
            first: 0,
            next: 0,
            label: Cow::Borrowed(""),
            end,
            lines: 0,
            lost: 0,
            exit: None,
        }
    }
}

impl<'a> From<Line<'a>> for Item<'a> {
    fn from(line: Line<'a>) -> Self {
        Item::Line(line)
    }
}

impl<'a> From<Lost<'a>> for Item<'a> {
    fn from(lost: Lost<'a>) -> Self {
        Item::Lost(lost)
    }
}

impl<'a> From<Ended<'a>> for Item<'a> {
    fn from(ended: Ended<'a>) -> Self {
        Item::Ended(ended)
    }
}
