//! A service's log: writers that all threads share, and a thread that drains them into a sink.
//!
//! Imports `buffer`, `handles` and what is below them; makes no system call of its own. What the
//! ring has acknowledged is in the ring until a sink has it; nothing here waits for itself.

#[cfg(feature = "tokio")]
pub(crate) mod async_reader;
mod complaint;
pub(crate) mod drain_guard;
pub(crate) mod format;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "journald")]
pub(crate) mod journald;
mod json;
pub(crate) mod log_drain;
#[cfg(feature = "log")]
pub(crate) mod logger;
mod loss_notes;
#[cfg(feature = "rotate")]
mod old_files;
pub(crate) mod panic_hook;
mod pump;
#[cfg(feature = "rotate")]
pub(crate) mod rotating_file;
pub(crate) mod shared_writer;
pub(crate) mod sink;
mod text;
