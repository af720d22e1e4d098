//! [`Failure`]: a sentence, and the exit code that says of what kind it is.

use std::fmt;
use std::io;

use linering::Sink;

/// Why a program ends before its work is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub kind: Kind,
    /// What was found, and what was expected.
    pub sentence: String,
}

/// What an exit code asks of the operator; each is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something failed: read the sentence.
    Failed = 1,
    /// Wrong usage: a stream to make, an option, a limit of the engine's.
    Usage = 2,
    /// Another forwarder has this ring.
    Another = 3,
    /// The engine was away for longer than `--on-away` allows.
    Away = 4,
    /// Acknowledged lines are not in the engine.
    Lost = 5,
}

impl Failure {
    /// With this exit code.
    pub fn new(kind: Kind, sentence: impl fmt::Display) -> Self {
        Self { kind, sentence: sentence.to_string() }
    }

    /// Something failed.
    pub fn failed(sentence: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, sentence)
    }
}

/// Says it on stderr, if that takes anything: as it was before a [`linering::Capture`] redirected
/// it into a ring, perhaps the one that is forwarded.
pub fn note(program: &str, sentence: impl fmt::Display) {
    let _ = io::stderr().put(format!("{program}: {sentence}\n").as_bytes());
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}
