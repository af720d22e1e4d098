//! What a user holds of a ring: the ring itself, seats, the reader, mirrors, observers.
//!
//! Imports `write`, `read` and what is below them. A handle that a forked child inherits does
//! nothing there, or says so.

pub(crate) mod batch;
pub(crate) mod follow;
pub(crate) mod line_ring;
pub(crate) mod mirror;
mod mirror_write;
pub(crate) mod observer;
pub(crate) mod reader;
mod reader_waits;
mod record;
pub(crate) mod seat;
pub(crate) mod statistics;
mod trace;
pub(crate) mod waker;
