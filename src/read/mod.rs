//! The reader's side: slots into items, in one order, with losses and ends.
//!
//! Imports `registry` and what is below it; not `write`. An item is taken when it was accepted, and
//! not before; a line is whole or says what it lacks.

pub(crate) mod assembly;
mod backlog;
pub(crate) mod decode;
pub(crate) mod drain;
mod ends;
mod event;
pub(crate) mod follow;
mod held;
pub(crate) mod item_ref;
pub(crate) mod lineage;
mod named_writers;
pub(crate) mod park;
mod place;
mod queue;
mod slots;
pub(crate) mod snapshot;
mod writers;

/// How far the lines in the ring were decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Up to the position named beside it; there may be more.
    Some,
    /// To the end of what there is.
    All,
}
