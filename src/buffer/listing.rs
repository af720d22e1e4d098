//! [`Listing`]: whether the ends of threads' mirrors are waited for.

use crate::registry::cell::MirrorKind;
use crate::registry::ticket::Label;

/// Which entries the threads' mirrors have in the table of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// None, and no label.
    Unlisted,
    /// One for each, with the thread's name as its label.
    Named,
}

impl Listing {
    pub(crate) fn entry(self, label: &str) -> MirrorKind {
        match self {
            Self::Unlisted => MirrorKind::Unlisted,
            Self::Named => {
                MirrorKind::Ticket { seat: None, serial: None, label: Label::new(label) }
            }
        }
    }
}
