//! A bounded, lock-free, many-writer one-reader ring of lines in shared memory.
//!
//! Threads and forked worker processes write log lines into it without a system call; one reader drains them,
//! whole and in one order. A writer that is killed at any instruction delays nobody and loses no line that
//! its write had returned for.
//!
//! | for | use |
//! |---|---|
//! | the last lines of one process's threads | [`LineBuffer`] |
//! | the last lines of worker processes, and how each ended | [`LineProcBuffer`] |
//! | all lines of worker processes and threads, drained while they write | [`LineRing`] and its [`Reader`] |
//! | forking the workers | [`WorkerPool`] |
//! | writing | [`LineProcMirror`] |
//!
//! The protocol and its promises are in `docs/design.md`, the layout of the memory in `docs/format.md`.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "linering needs Linux on a 64-bit machine: its crash safety rests on what that kernel promises"
);

#[cfg_attr(loom, expect(dead_code, reason = "the models use the exchange alone"))]
mod checksum;
#[cfg_attr(loom, expect(dead_code, reason = "the models use the exchange alone"))]
mod layout;
#[cfg_attr(loom, expect(dead_code, reason = "the models use the exchange alone"))]
mod ring;
mod sync;
mod words;

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(test, loom))]
mod loom_models;

// What stands on the exchange needs real memory and real processes, which loom does not have.
#[cfg(not(loom))]
mod assembly;
#[cfg(not(loom))]
mod begun;
#[cfg(not(loom))]
mod buffer;
#[cfg(not(loom))]
mod capture;
#[cfg(not(loom))]
mod cell;
#[cfg(not(loom))]
mod crowd;
#[cfg(not(loom))]
mod deaths;
#[cfg(not(loom))]
mod decoded;
#[cfg(not(loom))]
mod drain;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod line_ring;
#[cfg(not(loom))]
mod message;
#[cfg(not(loom))]
mod mirror;
#[cfg(not(loom))]
mod observe;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod proc_buffer;
#[cfg(not(loom))]
mod process;
mod recover;
#[cfg(not(loom))]
mod rotate;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod source;
#[cfg(not(loom))]
mod split;
#[cfg(not(loom))]
mod ticket;
#[cfg(not(loom))]
mod time;
#[cfg(not(loom))]
mod wait;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use crate::{
    buffer::LineBuffer,
    capture::Capture,
    error::{AttachError, CaptureError, CreateError, MirrorError, PoolError, ReadError, WriteError},
    line_ring::{Batch, Counts, LineRing, Reader, Seat},
    message::{End, Ended, GroupedMessage, Item, Kind, Level, Line, LossCause, Lost, Message, Stream},
    mirror::{Group, LineProcMirror},
    observe::Observer,
    options::{Options, Policy, Timestamps, WakeUp},
    pool::{Worker, WorkerPool},
    proc_buffer::LineProcBuffer,
    rotate::RotatingFile,
    segment::{RingName, turn_sigbus_into_errors},
    split::{LineSplitter, Piece, Pieces},
    wait::around_writers_sleeps,
};
