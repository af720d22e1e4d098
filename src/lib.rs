//! A bounded, lock-free, many-writer one-reader ring of lines in shared memory.
//!
//! Threads and forked worker processes write log lines into it without a system call; one reader
//! drains them, whole and in one order. A writer that is killed at any instruction delays no other
//! and loses no line that its write had returned for.
//!
//! | for | use |
//! |---|---|
//! | the last lines of one process's threads | [`LineBuffer`] |
//! | the last lines of worker processes, and how each ended | [`LineProcBuffer`] |
//! | all lines of worker processes and threads, drained while they write | [`LineRing`] and its [`Reader`] |
//! | forking the workers | [`WorkerPool`] |
//! | writing | [`LineProcMirror`] |
//!
//! The protocol and its promises are in `docs/design.md`, the layout of the memory in
//! `docs/format.md`.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "linering needs Linux on a 64-bit machine: its crash safety rests on what that kernel promises"
);

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// What stands on the exchange needs real memory and real processes, which loom does not have.
#[cfg(not(loom))]
mod buffer;
#[cfg(not(loom))]
mod error;
#[cfg_attr(loom, expect(dead_code, reason = "the models use the exchange alone"))]
mod exchange;
#[cfg(not(loom))]
mod handles;
#[cfg_attr(loom, expect(dead_code, reason = "the models use the exchange alone"))]
mod layout;
#[cfg(not(loom))]
mod line;
#[cfg(not(loom))]
mod read;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod workers;
#[cfg(not(loom))]
mod write;

#[cfg(not(loom))]
pub use crate::{
    buffer::line_buffer::LineBuffer,
    buffer::message::{GroupedMessage, Message},
    buffer::proc_buffer::LineProcBuffer,
    error::{
        AttachError, CaptureError, CreateError, MirrorError, PoolError, ReadError, WriteError,
    },
    handles::line_ring::{Counts, LineRing},
    handles::mirror::{Group, LineProcMirror},
    handles::observer::Observer,
    handles::reader::{Batch, Reader},
    handles::seat::Seat,
    line::item::{End, Ended, Item, Kind, Level, Line, LossCause, Lost, Stream},
    line::rotating_file::RotatingFile,
    line::splitter::{LineSplitter, Piece, Pieces},
    segment::options::{Options, Policy, Timestamps, WakeUp},
    segment::{RingName, turn_sigbus_into_errors},
    workers::capture::Capture,
    workers::pool::{Worker, WorkerPool},
    write::backpressure::set_blocking_hook,
};
