//! Lines as text and as items: what a writer cuts its bytes into, and what a reader hands out.
//!
//! Imports `error` alone. Nothing here knows of a ring.

pub(crate) mod ends;
pub(crate) mod format;
pub(crate) mod item;
pub(crate) mod kind;
mod made;
pub(crate) mod meta;
#[cfg(feature = "serde")]
mod serde;
pub(crate) mod splitter;
mod words;
