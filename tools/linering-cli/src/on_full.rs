//! The policies of a full ring, on the command line.

use clap::ValueEnum;
use linering::Policy;

/// What a writer does when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFull {
    /// Wait for the reader: nothing is lost
    Block,
    /// Drop the new line
    Drop,
    /// Overwrite the oldest line
    Overwrite,
}

impl From<OnFull> for Policy {
    fn from(on_full: OnFull) -> Self {
        match on_full {
            OnFull::Block => Policy::Block,
            OnFull::Drop => Policy::DropNewest,
            OnFull::Overwrite => Policy::OverwriteOldest,
        }
    }
}
