//! A writer's side: lines into slots, and waiting for room.
//!
//! Imports `registry` and what is below it; not `read`. A line is published whole, or counted as
//! lost; a writer waits no longer than its ring says.

pub(crate) mod backpressure;
mod partial;
mod partial_line;
mod publisher;
mod record;
pub(crate) mod writer;
