//! What a caller gives a forwarder, and what that tells the caller.

use std::time::Duration;

use crate::message::Encoding;

/// How it forwards.
#[derive(Clone, Debug)]
pub struct Options {
    /// A message is sent once its records have so many bytes, before they are compressed.
    pub message_bytes: usize,
    /// or once its first record is so old.
    pub linger: Duration,
    /// How its body is encoded.
    pub encoding: Encoding,
    /// How long the engine may be away; `None` for ever.
    pub away: Option<Duration>,
    /// Goes on after the ring is over.
    pub follows: bool,
    /// Goes on where acknowledged lines are not in the engine.
    pub accepts_loss: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes: 512 << 10,
            linger: Duration::from_millis(100),
            encoding: Encoding::None,
            away: None,
            follows: false,
            accepts_loss: false,
        }
    }
}

/// What it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that the engine acknowledged.
    pub messages: u64,
    /// Their records,
    pub records: u64,
    /// and the bytes of these.
    pub bytes: u64,
    /// How often it was in doubt and asked anew.
    pub doubts: u64,
    /// Everything of the ring before this position is in the engine.
    pub upto: u64,
}

/// What takes note of how far it is, and says when to stop.
pub trait Watch {
    /// Called after each acknowledgement, and now and then: whether to stop.
    fn is_over(&mut self, totals: &Totals) -> bool;

    /// Whether it is to stop once it has forwarded all that there is.
    fn ends_idle(&mut self) -> bool {
        false
    }

    /// Whether more may come into a ring that is over, of one that follows it.
    fn goes_on(&mut self) -> bool {
        true
    }

    /// It is in doubt, or the engine is back.
    fn say(&mut self, sentence: &str);
}
