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
//! | a service's log, from all its threads and children into a file | [`non_blocking`], [`LogDrain`] and [`SharedWriter`] |
//! | forking the workers | [`WorkerPool`] |
//! | writing | [`LineProcMirror`] |
//!
//! # Words
//!
//! | word | what it is |
//! |---|---|
//! | ring | the whole: a bounded queue of lines in memory that processes share |
//! | slot | one place in it, of fixed size; a line that is longer takes several, as parts |
//! | position | where a slot's line stands in the one order of the ring |
//! | mirror | a writer's handle, of a thread or a process; it has an id and, if given, a label |
//! | seat | a place that is kept for a mirror which another process will open |
//! | reader | the one handle that takes lines out; one at a time |
//! | observer | a handle that looks and takes nothing, also at what a dead process has left |
//! | policy | what a writer does on a full ring: wait, drop the new line, or overwrite the oldest |
//! | end | how a mirror ended: by EOF, by an error, or by the death of its process |
//! | segment | the memory under a ring: without a name, with one in `/dev/shm`, or a file |
//!
//! # A service
//!
//! Threads and forked children log, one thread drains into a file that rotates.
//!
//! ```
//! use std::io::Write;
//! use std::thread;
//! use std::time::Duration;
//!
//! use linering::{Level, RotatingFile, non_blocking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("service.log");
//! let (log, guard) = non_blocking(RotatingFile::open(&path, 10_000_000, 5)?)?;
//! thread::scope(|scope| {
//!     for number in 0..4 {
//!         let log = &log;
//!         scope.spawn(move || writeln!(log.at(Level::Info), "thread {number} serves a request"));
//!     }
//! });
//! log.record(Level::Warn, "a record is one item,\nwhatever is in it")?;
//! guard.stop(Duration::from_secs(5))?;
//! # assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 6);
//! # Ok(())
//! # }
//! ```
//!
//! # A pool of forked workers
//!
//! ```
//! use std::io::Write;
//!
//! use linering::{End, LineProcBuffer, WorkerPool};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let buffer = LineProcBuffer::new(1000)?;
//! let mut pool = WorkerPool::fork(&buffer, 3, |number, mirror| {
//!     writeln!(mirror, "worker {number} is done")
//! })?;
//! let ends = pool.wait(&buffer)?;
//! assert!(ends.iter().all(|ended| ended.end == End::Eof));
//! assert_eq!(buffer.read(None)?.len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # After a crash
//!
//! A ring in a file outlives the processes that wrote into it. The next process reads what they
//! left, a line that was not finished included, and how each of them ended. An [`Observer`] shows
//! the same and changes nothing; `examples/after_crash.rs` has both.
//!
//! ```
//! use linering::{End, Item, LineRing, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("ring");
//! # // SAFETY: the child writes, and is killed.
//! # match unsafe { libc::fork() } {
//! #     0 => {
//! #         let ring = LineRing::create_file(&path, Options::new()).unwrap();
//! #         let mut mirror = ring.mirror().unwrap();
//! #         mirror.write_line(b"the last words").unwrap();
//! #         unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
//! #     }
//! #     child => assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child),
//! # }
//! let ring = LineRing::open_file(&path)?;
//! let mut reader = ring.reader()?;
//! let mut left = Vec::new();
//! while let Some(item) = reader.recv()? {
//!     match item {
//!         Item::Line(line) => left.push(line.to_string()),
//!         Item::Ended(ended) => assert_eq!(ended.end, End::Died),
//!         _ => {}
//!     }
//! }
//! assert_eq!(left, ["the last words"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! * Linux on 64-bit machines alone.
//! * One reader at a time; lines have one order for all writers, and no priorities.
//! * A ring's size is fixed when it is made, and its memory is allocated then.
//! * What a crash of the machine leaves of a ring in a file is what the kernel had written back.
//! * A process that may write a ring can damage what is in it; none can crash its readers so.
//!
//! # Features
//!
//! On by default: `workers` ([`WorkerPool`]), `capture` ([`Capture`]) and `rotate`
//! ([`RotatingFile`]). `gzip` compresses the files that one leaves
//! (`RotatingFile::set_compressed`), `log` has a logger for the crate of that name (`Logger`),
//! `serde` makes [`Item`], [`Counts`] and [`Totals`] serialisable, `tokio` has a reader for its
//! tasks (`AsyncReader`), and `journald` a sink that is systemd's log (`Journald`). The crate
//! tracing-linering, in `tools/tracing` of the repository, is for events of the crate `tracing`.
//!
//! The protocol and its promises are in `docs/design.md`, the layout of the memory in
//! `docs/format.md`.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "linering needs Linux on a 64-bit machine: its crash safety rests on what that kernel promises"
);

/// The README's examples are tests too.
#[cfg(all(doctest, feature = "workers"))]
#[doc = include_str!("../README.md")]
struct Readme;

// What stands on the exchange needs real memory and real processes, which loom does not have.
#[cfg(not(loom))]
mod buffer;
#[cfg(not(loom))]
mod error;
#[cfg_attr(loom, expect(dead_code, reason = "the models use the exchange alone"))]
#[cfg_attr(all(loom, not(test)), expect(unused_imports, reason = "as before"))]
mod exchange;
#[cfg(not(loom))]
mod handles;
#[cfg_attr(loom, expect(dead_code, unused_imports, reason = "the models use the exchange alone"))]
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
mod service;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod workers;
#[cfg(not(loom))]
mod write;

#[cfg(all(feature = "tokio", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use crate::service::async_reader::AsyncReader;
#[cfg(all(feature = "journald", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "journald")))]
pub use crate::service::journald::Journald;
#[cfg(all(feature = "log", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "log")))]
pub use crate::service::logger::Logger;
#[cfg(all(feature = "rotate", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "rotate")))]
pub use crate::service::rotating_file::RotatingFile;
#[cfg(all(feature = "capture", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "capture")))]
pub use crate::workers::capture::Capture;
#[cfg(all(feature = "workers", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "workers")))]
pub use crate::workers::{pool::WorkerPool, worker::Worker};
#[cfg(not(loom))]
pub use crate::{
    buffer::line_buffer::LineBuffer,
    buffer::message::{GroupedMessage, Message},
    buffer::proc_buffer::LineProcBuffer,
    error::{
        AttachError, CaptureError, CreateError, MirrorError, ParseError, PoolError, ReadError,
        SystemError, WriteError,
    },
    handles::batch::Batch,
    handles::follow::Follow,
    handles::line_ring::{Counts, LineRing},
    handles::mirror::{Group, LineProcMirror},
    handles::observer::Observer,
    handles::reader::Reader,
    handles::seat::Seat,
    handles::statistics::{Statistics, WriterState, WriterStatistics},
    handles::waker::Waker,
    line::item::{End, Ended, Item, Kind, Level, Line, LossCause, Lost, Stream},
    line::meta::Meta,
    line::splitter::{LineSplitter, Piece, Pieces},
    read::follow::Followed,
    read::item_ref::{ItemRef, LineRef, OtherRef},
    segment::options::{Options, Policy, Timestamps, WakeUp},
    segment::{RingName, turn_sigbus_into_errors},
    service::drain_guard::{DrainGuard, Totals},
    service::format::{Ends, Format},
    service::log_drain::{LogDrain, non_blocking},
    service::panic_hook::panic_hook,
    service::shared_writer::SharedWriter,
    service::sink::{Sink, Sinks},
    write::backpressure::set_blocking_hook,
};
