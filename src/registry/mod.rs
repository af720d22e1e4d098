//! The members of a ring: cells, tickets, and the end of processes that died.
//!
//! Imports `segment` and what is below it. A cell is never taken from a process that may still
//! write; each death is told once.

pub(crate) mod cell;
pub(crate) mod reaper;
pub(crate) mod ticket;

#[cfg(test)]
mod last_words_tests;
