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
//! Threads log, one thread drains into a file that rotates.
//!
//! ```
//! use std::io::Write;
//! use std::thread;
//!
//! use linering::{Item, LineRing, Options, RotatingFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("service.log");
//! let ring = LineRing::new(Options::new())?;
//! let mut mirrors = (0..4).map(|_| ring.mirror()).collect::<Result<Vec<_>, _>>()?;
//! let mut reader = ring.reader()?;
//! let mut log = RotatingFile::open(&path, 10_000_000, 5)?;
//!
//! let served: std::io::Result<()> = thread::scope(|scope| {
//!     for (number, mut mirror) in mirrors.drain(..).enumerate() {
//!         // A mirror that is dropped has ended; when all have, so has the reader's loop.
//!         scope.spawn(move || writeln!(mirror, "thread {number} has served a request"));
//!     }
//!     while let Ok(Some(item)) = reader.recv() {
//!         match item {
//!             Item::Line(line) => writeln!(log, "{line}")?,
//!             // Lines that were lost, and ends, are items too, and say what they are.
//!             other => eprintln!("{other}"),
//!         }
//!     }
//!     Ok(())
//! });
//! served?;
//! # assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 4);
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
//! All on by default: `workers` ([`WorkerPool`]), `capture` ([`Capture`]) and `rotate`
//! ([`RotatingFile`]).
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
mod sys;
#[cfg(not(loom))]
mod workers;
#[cfg(not(loom))]
mod write;

#[cfg(all(feature = "rotate", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "rotate")))]
pub use crate::line::rotating_file::RotatingFile;
#[cfg(all(feature = "capture", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "capture")))]
pub use crate::workers::capture::Capture;
#[cfg(all(feature = "workers", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "workers")))]
pub use crate::workers::pool::{Worker, WorkerPool};
#[cfg(not(loom))]
pub use crate::{
    buffer::line_buffer::LineBuffer,
    buffer::message::{GroupedMessage, Message},
    buffer::proc_buffer::LineProcBuffer,
    error::{
        AttachError, CaptureError, CreateError, MirrorError, PoolError, ReadError, SystemError,
        WriteError,
    },
    handles::line_ring::{Counts, LineRing},
    handles::mirror::{Group, LineProcMirror},
    handles::observer::Observer,
    handles::reader::{Batch, Reader},
    handles::seat::Seat,
    line::item::{End, Ended, Item, Kind, Level, Line, LossCause, Lost, Stream},
    line::splitter::{LineSplitter, Piece, Pieces},
    read::item_ref::{ItemRef, LineRef, OtherRef},
    segment::options::{Options, Policy, Timestamps, WakeUp},
    segment::{RingName, turn_sigbus_into_errors},
    write::backpressure::set_blocking_hook,
};
