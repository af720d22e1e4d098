//! [`Format`]: how a drain prints items, and which ends it prints.

use super::{json, text};
use crate::line::item::{Ended, Item};

/// How a [`LogDrain`](crate::LogDrain) prints items. In the first two an item is never taken for
/// several, whatever its writer put into it (CWE-117).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `2026-11-26T08:11:59.123Z WARN  [writer] text`, with the time in UTC, and the writer's label
    /// or its number. Further lines of a record begin with `    | `; control characters and bytes
    /// that are not UTF-8 are escaped. A process that is gone is told with its number.
    #[default]
    Text,
    /// A JSON object in a line of its own, with `time`, `level`, `worker`, `label`, `stream`, `msg`
    /// and more; losses and ends have an `event`.
    Json,
    /// The bytes as they are, with a line end after each item. A record's line ends are line ends.
    Raw,
}

/// What makes text of an item.
pub(super) type Formatter = Box<dyn FnMut(&Item<'_>, &mut Vec<u8>) + Send>;

/// Which mirrors' ends a [`LogDrain`](crate::LogDrain) prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ends {
    /// Those of all.
    All,
    /// Where something went wrong: see [`Ended::is_failure`].
    #[default]
    Failures,
    /// None.
    None,
}

impl Ends {
    pub(super) fn has(self, ended: &Ended<'_>) -> bool {
        match self {
            Ends::All => true,
            Ends::Failures => ended.is_failure(),
            Ends::None => false,
        }
    }
}

impl Format {
    /// Adds an item to a page, as a drain does: for formats that add something of their own.
    ///
    /// ```
    /// use linering::{Format, Level, LineRing, Options};
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// ring.mirror_labelled("api")?.record(Level::Warn, "slow\nERROR [api] forged")?;
    /// let mut page = Vec::new();
    /// Format::Text.add(&mut page, &ring.reader()?.recv()?.unwrap());
    /// let text = String::from_utf8(page)?;
    /// assert!(text.ends_with(" WARN  [api] slow\n    | ERROR [api] forged\n"), "{text}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add(self, page: &mut Vec<u8>, item: &Item<'_>) {
        match (self, item) {
            (Format::Text, _) => text::item(page, item),
            (Format::Json, _) => json::item(page, item),
            (Format::Raw, Item::Line(line)) => {
                page.extend_from_slice(line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes));
                page.push(b'\n');
            }
            (Format::Raw, other) => {
                page.extend_from_slice(other.to_string().as_bytes());
                page.push(b'\n');
            }
        }
    }
}
