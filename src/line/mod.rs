//! Lines as text and as items: what a writer cuts its bytes into, and what a reader hands out.
//!
//! Imports no room. Nothing here knows of a ring.

pub(crate) mod ends;
pub(crate) mod format;
pub(crate) mod item;
#[cfg(feature = "rotate")]
pub(crate) mod rotating_file;
pub(crate) mod splitter;
