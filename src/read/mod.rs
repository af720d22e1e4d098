//! The reader's side: slots into items, in one order, with losses and ends.
//!
//! Imports `registry` and what is below it; not `write`. An item is taken when it was accepted, and
//! not before; a line is whole or says what it lacks.

pub(crate) mod assembly;
pub(crate) mod decode;
pub(crate) mod drain;
pub(crate) mod park;
pub(crate) mod queue;
pub(crate) mod writers;
