//! Rings of which the last lines are kept: for threads, and for worker processes.
//!
//! Imports `handles` and what is below it. What is printed by many comes out whole, in one order,
//! with the newest kept.

pub(crate) mod line_buffer;
pub(crate) mod listing;
pub(crate) mod message;
mod partial_line;
pub(crate) mod proc_buffer;
mod shared_writer;
pub(crate) mod thread_writers;
