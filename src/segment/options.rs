//! What a ring can be told at its creation.

use std::time::Duration;

use crate::error::CreateError;
use crate::error::parse::in_words;
use crate::layout::{
    Geometry, MAX_CELLS, MAX_TICKETS, SLOT_BYTES, SLOT_HEADER_BYTES, SLOT_INDEX_BITS,
};

/// What a writer does when the ring is full.
#[doc(alias("backpressure", "overflow"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Wait for the reader, at most [`Options::block_limit`]. Nothing is lost.
    #[default]
    Block,
    /// Drop the new line and count it.
    DropNewest,
    /// Drop the oldest line: writers never wait and never lose their newest lines.
    OverwriteOldest,
}

impl Policy {
    pub(crate) fn of(geometry: &Geometry) -> Self {
        match geometry.policy {
            0 => Policy::Block,
            1 => Policy::DropNewest,
            _ => Policy::OverwriteOldest,
        }
    }
}

in_words!(Policy, "policy", Block "block", DropNewest "drop", OverwriteOldest "overwrite",);

/// When a line gets a time stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timestamps {
    /// Never.
    Off,
    /// At its first byte, from the system's coarse clock (a few milliseconds), which costs no
    /// system call.
    #[default]
    Coarse,
}

/// How a writer wakes a sleeping reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WakeUp {
    /// By a futex word in the segment.
    #[default]
    Futex,
    /// By a byte in a pipe, whose read end is a descriptor to poll: for event loops.
    Pipe,
}

/// What a ring can be told at its creation. The defaults make a segment of about 2 MiB.
///
/// ```
/// use linering::{LineRing, Options, Policy};
/// let ring = LineRing::new(Options::new().lines(1024).policy(Policy::DropNewest))?;
/// # drop(ring);
/// # Ok::<(), linering::CreateError>(())
/// ```
#[doc(alias("builder", "configuration"))]
#[must_use = "options do nothing until a ring is made with them"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) lines: usize,
    pub(crate) line_bytes: usize,
    pub(crate) policy: Policy,
    pub(crate) block_limit: Option<Duration>,
    pub(crate) reader_grace: Duration,
    pub(crate) mirrors: usize,
    pub(crate) seats: usize,
    pub(crate) seat_limit: Option<Duration>,
    pub(crate) max_line: Option<usize>,
    pub(crate) assembly_budget: Option<usize>,
    pub(crate) timestamps: Timestamps,
    pub(crate) checksums: Option<bool>,
    pub(crate) fold_crlf: bool,
    pub(crate) rewrite: bool,
    pub(crate) wake_up: WakeUp,
    pub(crate) start_position: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lines: 4096,
            line_bytes: 256,
            policy: Policy::Block,
            block_limit: None,
            reader_grace: Duration::from_secs(5),
            mirrors: 255,
            seats: 12_288,
            seat_limit: None,
            max_line: None,
            assembly_budget: None,
            timestamps: Timestamps::Coarse,
            checksums: None,
            fold_crlf: false,
            rewrite: false,
            wake_up: WakeUp::Futex,
            start_position: 0,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lines (or parts of long lines) that the ring holds: 2 to 8,388,608, rounded up to a power of
    /// two. 4096.
    #[doc(alias("capacity", "slots"))]
    pub fn lines(mut self, lines: usize) -> Self {
        self.lines = lines;
        self
    }

    /// Bytes of a slot, of which 32 are its header, and 8 its checksum if it has one: 64 to 65,536,
    /// rounded up to a multiple of 64. 256.
    ///
    /// A longer line takes several slots, so this is a matter of speed and memory, not of limits.
    #[doc(alias = "slot size")]
    pub fn line_bytes(mut self, bytes: usize) -> Self {
        self.line_bytes = bytes;
        self
    }

    /// What a writer does when the ring is full. [`Policy::Block`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a [`Policy::Block`] writer waits before it drops its line and says so, in whole
    /// milliseconds. `None`: for ever, unless the reader is gone.
    pub fn block_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.block_limit = limit.into();
        self
    }

    /// How long [`Policy::Block`] writers of a full ring wait for a reader when there is none. 5 s.
    ///
    /// A process that has closed the ring's descriptor cannot ask whether a reader lives: its
    /// writers take one that has taken no line for this long for dead.
    pub fn reader_grace(mut self, grace: Duration) -> Self {
        self.reader_grace = grace;
        self
    }

    /// Mirrors that may be open at a time: 1 to 4095. 255.
    pub fn mirrors(mut self, mirrors: usize) -> Self {
        self.mirrors = mirrors;
        self
    }

    /// Seats, open mirrors and ends that the reader has not collected yet, together: 1 to
    /// 1,048,576. 12,288.
    pub fn seats(mut self, seats: usize) -> Self {
        self.seats = seats;
        self
    }

    /// How long a seat may stay unopened before it counts as ended. `None`: for ever.
    pub fn seat_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.seat_limit = limit.into();
        self
    }

    /// Bytes of the longest line; what is over it is cut off, counted and flagged. An eighth of the
    /// ring's bytes.
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = Some(bytes);
        self
    }

    /// Bytes that the reader spends on putting long lines together, in all. 4 times the longest
    /// line, and at least 1 MiB.
    pub fn assembly_budget(mut self, bytes: usize) -> Self {
        self.assembly_budget = Some(bytes);
        self
    }

    /// Whether lines get a time stamp. [`Timestamps::Coarse`].
    pub fn timestamps(mut self, timestamps: Timestamps) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// Whether each slot has a checksum (CRC-32C) of all that is in it, which readers and observers
    /// verify: what was changed by anything but a writer, torn by a copy or by a loss of power,
    /// comes flagged as [`Line::damaged`](crate::Line::damaged).
    ///
    /// `None`: in a ring in a [file](crate::LineRing::create_file), and in no other. Takes 8 bytes
    /// of each slot's payload, and some 17 ns of each write and read of 100 bytes
    /// (docs/benchmarks.md).
    ///
    /// ```
    /// use linering::{LineRing, Options};
    ///
    /// let ring = LineRing::new(Options::new().checksums(true))?;
    /// assert!(ring.has_checksums());
    /// # Ok::<(), linering::CreateError>(())
    /// ```
    pub fn checksums(mut self, on: impl Into<Option<bool>>) -> Self {
        self.checksums = on.into();
        self
    }

    /// Whether mirrors take `\r\n` for an end of line; see
    /// [`LineSplitter::fold_crlf`](crate::LineSplitter::fold_crlf). `false`; `true` in the two
    /// buffers.
    pub fn fold_crlf(mut self, on: bool) -> Self {
        self.fold_crlf = on;
        self
    }

    /// Whether a lone `\r` lets what follows rewrite a mirror's unfinished line; see
    /// [`LineSplitter::rewrite`](crate::LineSplitter::rewrite). `false`; `true` in the two buffers.
    pub fn rewrite(mut self, on: bool) -> Self {
        self.rewrite = on;
        self
    }

    /// How a sleeping reader is woken. [`WakeUp::Futex`].
    pub fn wake_up(mut self, wake_up: WakeUp) -> Self {
        self.wake_up = wake_up;
        self
    }

    /// The position of the first line. 0. For a ring that goes on with another's numbers, and for
    /// tests of what happens when laps overflow.
    pub fn start_position(mut self, position: u64) -> Self {
        self.start_position = position;
        self
    }

    /// The geometry of a segment with these options, `in_file` or not; identity, time and pipe are
    /// left zero.
    pub(crate) fn geometry(&self, in_file: bool) -> Result<Geometry, CreateError> {
        let bound = |option, found: usize, low: usize, high: usize| {
            if (low..=high).contains(&found) {
                Ok(found)
            } else {
                Err(CreateError::Option {
                    option,
                    found: found as u64,
                    expected: format!("{low} to {high}"),
                })
            }
        };
        let lines = bound("lines", self.lines, 2, 1 << (SLOT_INDEX_BITS - 1))?.next_power_of_two();
        let slot = bound("line_bytes", self.line_bytes, *SLOT_BYTES.start(), *SLOT_BYTES.end())?
            .next_multiple_of(64);
        let mirrors = bound("mirrors", self.mirrors, 1, MAX_CELLS - 1)?;
        let seats = bound("seats", self.seats, 1, MAX_TICKETS)?;
        let checksums = self.checksums.unwrap_or(in_file);
        let payload = slot - SLOT_HEADER_BYTES - 8 * usize::from(checksums);
        let longest = match self.policy {
            // Parts of a line that is longer than the ring flow through it, but overwritten they
            // would be lost.
            Policy::OverwriteOldest => (lines * payload / 2).max(payload),
            Policy::Block | Policy::DropNewest => payload << 24,
        };
        let max_line = self.max_line.unwrap_or((lines * payload / 8).max(payload));
        bound("max_line", max_line, 1, longest)?;
        let mut geometry = Geometry {
            version: crate::layout::LAYOUT_VERSION,
            endianness: crate::layout::ENDIANNESS,
            word_bytes: 8,
            slot_bytes: slot as u32,
            order_bits: lines.trailing_zeros(),
            cells: mirrors as u32 + 1,
            tickets: seats as u32,
            policy: self.policy as u16,
            checksums: checksums.into(),
            start_position: self.start_position,
            max_line: max_line as u64,
            block_limit: self.block_limit.map_or(u64::MAX, millis),
            reader_grace: millis(self.reader_grace),
            timestamps: self.timestamps as u16,
            returns: u16::from(self.fold_crlf) | u16::from(self.rewrite) << 1,
            wake_up: self.wake_up as u16,
            ..bytemuck::Zeroable::zeroed()
        };
        geometry.total_bytes = geometry.offsets().total as u64;
        Ok(geometry)
    }

    /// Bytes for putting lines together.
    pub(crate) fn budget(&self, max_line: usize) -> usize {
        self.assembly_budget.unwrap_or((4 * max_line).max(1 << 20))
    }
}

/// Whole milliseconds, as many as fit.
pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
