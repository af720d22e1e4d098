//! [`Engine`]: what keeps messages, and what must be known of it.

use std::fmt;
use std::time::Duration;

use crate::message::Message;

/// The last message of a ring's subject.
#[derive(Clone, Debug)]
pub struct Last {
    /// Its number in the engine: what is appended after it names this.
    pub sequence: u64,
    /// `Err` with a sentence if it is none of a ring.
    pub message: Result<Message, String>,
}

/// Why an engine did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may have, or will once it is asked again: a time-out, a cut connection, no leader.
    Doubt(String),
    /// Another message came in between.
    Overtaken,
    /// It will not: what was found and expected.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Doubt(why) | Trouble::Refused(why) => f.write_str(why),
            Trouble::Overtaken => f.write_str("another message came in between"),
        }
    }
}

/// What keeps messages of one ring, in order. All of it is to be said: what stands before an engine
/// and passes questions on must leave none out.
#[allow(async_fn_in_trait)]
pub trait Engine {
    /// How long it may answer with an older message than the last one, as a server does that stood
    /// still and does not know yet that another one leads.
    fn staleness(&self) -> Duration;

    /// Whether each question for the last message ends the forwarder that asked before: one that is
    /// refused has met another then, also where that has sent nothing.
    fn fences(&self) -> bool;

    /// The last message; `None` if there is none.
    async fn last(&self) -> Result<Option<Last>, Trouble>;

    /// Appends a message if the last one still is the one of this number (0: if there is none).
    /// Gives its number once the engine says that it keeps it.
    async fn append(&self, after: u64, message: &Message) -> Result<u64, Trouble>;
}
