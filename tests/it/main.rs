//! What a program that uses the library can see of its promises; unit tests stand in `src/`.
//!
//! A new test goes into the module whose first line names its promise. A file stays under 700
//! lines: a longer module becomes a folder, split by promise. `common` has what several modules
//! need: forked children, gates between processes, threads that act on command, a tracer that
//! steps through a child, rings whose laps overflow, and `not_run` for a test that this machine
//! does not permit. All tests share one process: a test that changes it (descriptors, limits,
//! signal handlers), runs a program, or clones by other means than `common::fork` does so in a
//! forked child. A test that cannot has a target in `tests/alone`.
//! `cargo test --test it -- policies::block` runs one module.

#[cfg(feature = "workers")]
mod adversity;
mod attach;
mod batches;
mod borrowed;
#[cfg(feature = "capture")]
mod capture;
mod checksums;
mod common;
#[cfg(feature = "gzip")]
mod compressed;
mod crash;
mod cut_short;
mod every_instruction;
mod filesystems;
mod follow;
mod line_buffer;
mod liveness;
mod named;
mod observe;
mod pieces;
mod policies;
#[cfg(feature = "workers")]
mod proc_buffer;
#[cfg(feature = "rotate")]
mod rotate;
mod service;
#[cfg(feature = "workers")]
mod soak;
mod storm;
mod strangers;
