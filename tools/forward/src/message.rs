//! [`Message`]: records of one ring that are appended together, and what they say of themselves.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::json;
use crate::record::{self, NoRecord, Record};

/// The header that says which records they are, as [`Extent`] shows it.
pub const EXTENT: &str = "Linering";
/// The header that says how the body is encoded: `none`, `zstd`, `json` or `json+zstd`.
pub const ENCODING: &str = "Linering-Encoding";
/// The header that has the CRC-32C of the body as it was sent, in hexadecimal.
pub const SUM: &str = "Linering-Crc32c";

/// The most bytes of a body once it is not compressed any more.
const MOST_BYTES: usize = 256 << 20;

/// Which records of which ring a message has: `1 RING FIRST UPTO RECORDS`, RING in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// [`linering::LineRing::identity`].
    pub ring: u128,
    /// The `upto` of the ring's message before it; the ring's start of its first one.
    pub first: u64,
    /// Every position of the ring before it is in this message or one before.
    pub upto: u64,
    /// How many records there are.
    pub records: u64,
}

/// Whether position `one` comes before `other`; after 2^64 - 1 they begin again.
pub(crate) fn is_before(one: u64, other: u64) -> bool {
    (other.wrapping_sub(one) as i64) > 0
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ring, first, upto, records } = self;
        write!(f, "1 {ring:032x} {first} {upto} {records}")
    }
}

impl FromStr for Extent {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(format!("the header {EXTENT}: {text:?}"));
        let parts: Vec<&str> = text.split(' ').collect();
        let ["1", ring, first, upto, records] = parts[..] else { return Err(unreadable()) };
        let ring = u128::from_str_radix(ring, 16).map_err(|_| unreadable())?;
        let number = |text: &str| text.parse().map_err(|_| unreadable());
        Ok(Self { ring, first: number(first)?, upto: number(upto)?, records: number(records)? })
    }
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// [Records](record) as they are.
    #[default]
    None,
    /// These, by zstd.
    Zstd,
    /// [JSON lines](json).
    Json,
    /// These, by zstd.
    JsonZstd,
}

impl Encoding {
    /// Whether records are JSON lines.
    pub fn is_json(self) -> bool {
        matches!(self, Encoding::Json | Encoding::JsonZstd)
    }

    /// Whether it is by zstd.
    pub fn is_zstd(self) -> bool {
        matches!(self, Encoding::Zstd | Encoding::JsonZstd)
    }

    /// JSON lines or not, compressed as this one is.
    pub fn with_json(self, is_json: bool) -> Self {
        match (is_json, self.is_zstd()) {
            (false, false) => Encoding::None,
            (false, true) => Encoding::Zstd,
            (true, false) => Encoding::Json,
            (true, true) => Encoding::JsonZstd,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Encoding::None => "none",
            Encoding::Zstd => "zstd",
            Encoding::Json => "json",
            Encoding::JsonZstd => "json+zstd",
        })
    }
}

impl FromStr for Encoding {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        match text {
            "none" => Ok(Encoding::None),
            "zstd" => Ok(Encoding::Zstd),
            "json" => Ok(Encoding::Json),
            "json+zstd" => Ok(Encoding::JsonZstd),
            _ => Err(Unreadable(format!("the encoding {text:?}, expected none, zstd or json"))),
        }
    }
}

/// What stands in the engine is no message of a ring, or not the one that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no message of a ring: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

/// A message, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it has.
    pub extent: Extent,
    /// How its body is encoded.
    pub encoding: Encoding,
    /// [`crc32c`] of its body.
    pub sum: u32,
    /// Its records, encoded.
    pub body: Bytes,
}

impl Message {
    /// Of these records, or of these JSON lines, as the encoding says.
    pub fn new(extent: Extent, encoding: Encoding, records: Vec<u8>) -> Self {
        let body = if encoding.is_zstd() {
            // Level 1: compressing is to be faster than a network.
            zstd::bulk::compress(&records, 1).expect("memory to compress into")
        } else {
            records
        };
        Self { extent, encoding, sum: crc32c::crc32c(&body), body: body.into() }
    }

    /// From its headers, which `header` finds, and its body.
    ///
    /// # Errors
    ///
    /// A header is missing or unknown, or the body is not what was sent.
    pub fn of<'h>(
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: impl Into<Bytes>,
    ) -> Result<Self, Unreadable> {
        let body = body.into();
        let header =
            |name| header(name).ok_or_else(|| Unreadable(format!("it has no header {name}")));
        let (extent, encoding) = (header(EXTENT)?.parse()?, header(ENCODING)?.parse()?);
        let sum = header(SUM)?;
        let sum = u32::from_str_radix(sum, 16)
            .map_err(|_| Unreadable(format!("the header {SUM}: {sum:?}")))?;
        let found = crc32c::crc32c(&body);
        if found != sum {
            return Err(Unreadable(format!("its CRC-32C is {found:08x}, expected {sum:08x}")));
        }
        Ok(Self { extent, encoding, sum, body })
    }

    /// The memory of its body, empty, if that is its alone: for the next one's records.
    pub fn into_memory(self) -> Vec<u8> {
        if !self.body.is_unique() {
            return Vec::new();
        }
        let mut memory = Vec::from(self.body);
        memory.clear();
        memory
    }

    /// Its headers.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        let sum = format!("{:08x}", self.sum);
        [(EXTENT, self.extent.to_string()), (ENCODING, self.encoding.to_string()), (SUM, sum)]
    }

    /// Its records.
    ///
    /// # Errors
    ///
    /// They are not as many as it says, or one is none.
    pub fn records(&self) -> Result<Vec<Record>, Unreadable> {
        let body = if self.encoding.is_zstd() {
            zstd::bulk::decompress(&self.body, MOST_BYTES)
                .map_err(|error| Unreadable(format!("its body: {error}")))?
                .into()
        } else {
            std::borrow::Cow::Borrowed(&self.body[..])
        };
        let mut rest = &body[..];
        let records: Result<Vec<Record>, NoRecord> = if self.encoding.is_json() {
            json::records(rest)
        } else {
            std::iter::from_fn(|| record::take(&mut rest)).collect()
        };
        let records = records.map_err(|NoRecord| Unreadable("a record of it is none".into()))?;
        let (found, expected) = (records.len() as u64, self.extent.records);
        if found != expected {
            return Err(Unreadable(format!("{found} records, expected {expected}")));
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_extent_is_read_as_it_is_shown() {
        let extent = Extent { ring: 1 << 127 | 7, first: u64::MAX, upto: 3, records: 4 };
        assert_eq!(extent.to_string().parse(), Ok(extent));
        for text in ["", "1 0 0 0", "2 0 0 0 0", "1 x 0 0 0", "1 0 0 0 0 0", "1 0 -1 0 0"] {
            assert!(text.parse::<Extent>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_body_that_changed_is_none() {
        let extent = Extent { ring: 1, first: 0, upto: 0, records: 0 };
        for encoding in [Encoding::None, Encoding::Zstd, Encoding::Json, Encoding::JsonZstd] {
            let message = Message::new(extent, encoding, Vec::new());
            let headers = message.headers();
            let header =
                |name| headers.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str());
            assert_eq!(Message::of(header, message.body.clone()), Ok(message.clone()));
            assert_eq!(message.records(), Ok(Vec::new()));
            let longer = [&message.body[..], b"x"].concat();
            let error = Message::of(header, longer).expect_err("another").to_string();
            assert!(error.contains("its CRC-32C is"), "{error}");
            let error = Message::of(|_| None, message.body.clone()).expect_err("no headers");
            assert!(error.to_string().ends_with("it has no header Linering"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_bytes_there_are_none_are_a_panic(body: Vec<u8>, is_zstd: bool, is_json: bool, records: u64) {
            let encoding = if is_zstd { Encoding::Zstd } else { Encoding::None }.with_json(is_json);
            let extent = Extent { ring: 0, first: 0, upto: 0, records };
            let sum = crc32c::crc32c(&body);
            let _ = Message { extent, encoding, sum, body: body.into() }.records();
        }
    }
}
