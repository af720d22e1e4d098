//! The policies of a full ring, on the command line.

use clap::ValueEnum;
use linering::Policy;

/// What a writer does when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// Wait for the reader: nothing is lost
    Block,
    /// Drop the new line
    Drop,
    /// Overwrite the oldest line
    Overwrite,
}

impl From<WhenFull> for Policy {
    fn from(when: WhenFull) -> Self {
        match when {
            WhenFull::Block => Policy::Block,
            WhenFull::Drop => Policy::DropNewest,
            WhenFull::Overwrite => Policy::OverwriteOldest,
        }
    }
}
