//! [`AttachError`]: why something is no ring that can be used.

use std::io;

use thiserror::Error;

use super::{SystemError, shown};

/// Why a descriptor or a seat's string is not a ring that this version can attach to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A ring that no process uses is read into memory, of which there is not enough.
    #[error(
        "reading the ring needs {needed} bytes of memory, expected at most the {available} that are available"
    )]
    Memory {
        /// Bytes of the segment.
        needed: u64,
        /// Bytes that could be had without driving others out.
        available: u64,
    },
    /// A ring in a file, which happens to lie where shared memory has its names. Files stay.
    #[error("{} is a ring in a file, expected one that was made with a name", shown(.found))]
    NotNamed {
        /// The name that was asked for.
        found: String,
    },
    /// Something that no ring is in, and that is not even opened.
    #[error("it is {found}, expected a regular file")]
    NotAFile {
        /// What it is.
        found: &'static str,
    },
    /// The ring of a name is another user's:
    /// [`RingName::of_any_user`](crate::RingName::of_any_user) takes it all the same.
    #[error("it is user {found}'s, expected user {expected}'s")]
    Owner {
        /// The user's number.
        found: u32,
        /// This process's.
        expected: u32,
    },
    /// The object is too small for a header.
    #[error("the object has {found} bytes, expected at least the {expected} of a ring's header")]
    TooSmall {
        /// Bytes found.
        found: u64,
        /// Bytes of a header.
        expected: u64,
    },
    /// A process makes the ring now, or died while it did.
    #[error("the ring is not finished: a process makes it now, or died while it did")]
    Unfinished,
    /// The first bytes are not a ring's.
    #[error("the object begins with {found:02x?}, expected {expected:02x?} (\"LINERING\")")]
    Magic {
        /// Bytes found.
        found: [u8; 8],
        /// A ring's first bytes.
        expected: [u8; 8],
    },
    /// Made on a machine of the other byte order.
    #[error(
        "the ring has byte order mark {found:#010x}, expected {expected:#010x}: it was made with another byte order"
    )]
    Endianness {
        /// The mark found.
        found: u32,
        /// This machine's.
        expected: u32,
    },
    /// Made by a version with another layout.
    #[error("the ring has layout version {found}, expected {expected}")]
    Version {
        /// The version found.
        found: u32,
        /// This version's.
        expected: u32,
    },
    /// Made with another word size.
    #[error("the ring has words of {found} bytes, expected {expected}")]
    WordSize {
        /// Bytes found.
        found: u32,
        /// Bytes here.
        expected: u32,
    },
    /// The header's numbers make no ring.
    #[error("the ring's header makes no sense: {0}")]
    Geometry(String),
    /// The object's size is not the one that its header says.
    #[error("the object has {found} bytes, expected {expected} as its header says")]
    Size {
        /// Bytes found.
        found: u64,
        /// Bytes by the header.
        expected: u64,
    },
    /// The object can still change its size, which could kill a process that maps it.
    #[error(
        "the object has the seals {found:#x}, expected at least {expected:#x} (no shrinking, growing or further sealing)"
    )]
    Seals {
        /// Seals found.
        found: u32,
        /// Seals of a ring.
        expected: u32,
    },
    /// Another ring than the one meant.
    #[error("the ring has the identity {found}, expected {}", shown(.expected))]
    Identity {
        /// The identity found, in hexadecimal.
        found: String,
        /// The identity meant.
        expected: String,
    },
    /// Not a seat's string.
    #[error(
        "\"{}\" is no seat, expected linering1:IDENTITY:PROCESS:DESCRIPTOR:TICKET:SERIAL",
        shown(.found)
    )]
    Seat {
        /// The string found.
        found: String,
    },
    /// Not a name that shared memory can have.
    #[error(
        "\"{}\" is no name for a ring, expected 1 to 250 bytes without a slash, not beginning with a dot",
        shown(.found)
    )]
    Name {
        /// The name that was asked for.
        found: String,
    },
    /// The system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

impl AttachError {
    /// Whether no ring is there, or none that is finished: a process may be about to make it, and
    /// it may be looked for again.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::System(system) => system.error.kind() == io::ErrorKind::NotFound,
            // What a maker has not come to write into yet.
            Self::Unfinished | Self::TooSmall { found: 0, .. } => true,
            _ => false,
        }
    }
}
