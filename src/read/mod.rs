//! The reader's side: slots into items, in one order, with losses and ends.
//!
//! Imports `registry` and what is below it; not `write`. An item is taken when it was accepted, and
//! not before; a line is whole or says what it lacks.

pub(crate) mod assembly;
mod backlog;
pub(crate) mod decode;
pub(crate) mod drain;
mod ends;
pub(crate) mod lineage;
mod named_writers;
pub(crate) mod park;
mod queue;
mod slots;
pub(crate) mod snapshot;
mod writers;
