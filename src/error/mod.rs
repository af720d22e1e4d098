//! What can go wrong, a type for each phase: making a ring, attaching to one, writing, reading,
//! forking.

use std::io;
use std::time::Duration;

use thiserror::Error;

mod attach;
mod into_io;
pub(crate) mod parse;

pub use attach::AttachError;
pub use parse::ParseError;

/// What a stranger's read lock is called, where it keeps a reader or a mirror out.
const KEPT_OUT: &str = "a process that may only read the ring's file has it locked, expected it to \
                        lock nothing: take away its right to read (chmod go-r), or end it";
/// What a file that lost its end is called, by writers and readers.
const CUT_SHORT: &str =
    "the ring's file was cut short while it was in use, expected it to keep its size";

/// A text as an error says it: in one line, without characters that a terminal obeys.
fn shown(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// A call that the system refused.
///
/// Its text ends with the system's reason, which is therefore no [`source`](std::error::Error) too:
/// a program that prints an error with its sources says it once.
#[derive(Debug, Error)]
#[error("cannot {doing}: {error}")]
#[non_exhaustive]
pub struct SystemError {
    /// What was being done.
    pub doing: &'static str,
    /// The system's reason.
    pub error: io::Error,
}

impl SystemError {
    pub(crate) fn new(doing: &'static str, error: impl Into<io::Error>) -> Self {
        Self { doing, error: error.into() }
    }
}

/// `map_err(cannot("map the segment"))?`
pub(crate) fn cannot<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> SystemError {
    move |error| SystemError::new(doing, error)
}

/// Why a ring could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// An option is out of its bounds.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was asked for.
        found: u64,
        /// What is possible.
        expected: String,
    },
    /// There is something of this name or at this path already.
    #[error("{} is there already, expected a name or path that is free", shown(.found))]
    Taken {
        /// What is there.
        found: String,
    },
    /// Not a name that shared memory can have.
    #[error(
        "\"{}\" is no name for a ring, expected 1 to 250 bytes without a slash, not beginning with a dot",
        shown(.found)
    )]
    Name {
        /// The name that was asked for.
        found: String,
    },
    /// A segment in memory that the machine has no room for.
    #[error(
        "the ring needs {needed} bytes of memory, expected at most the {available} that are available"
    )]
    Memory {
        /// Bytes of the segment.
        needed: u64,
        /// Bytes that could be had without driving others out.
        available: u64,
    },
    /// A segment larger than the files that this process may write (RLIMIT_FSIZE), be it in memory.
    #[error(
        "the ring needs {needed} bytes, expected at most the {limit} of a file of this process (ulimit -f)"
    )]
    FileSize {
        /// Bytes of the segment.
        needed: u64,
        /// The process's limit.
        limit: u64,
    },
    /// The system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a mirror or a seat could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Every cell is taken: by a live mirror, or by a dead one in a full
    /// [`Block`](crate::Policy::Block) ring, whose last words wait for room there. The latter's
    /// are free once the reader has gone on.
    #[error("all {limit} mirrors of the ring are open; more need the option `mirrors`")]
    TooManyMirrors {
        /// Mirrors that may be open at a time.
        limit: usize,
    },
    /// Every ticket stands for a seat, a live mirror or an end that the reader has not collected.
    #[error(
        "all {limit} seats and ends of the ring are in use; more need the option `seats`, or a reader that drains"
    )]
    TooManySeats {
        /// Tickets of the ring.
        limit: usize,
    },
    /// There are free cells, but a process that may only read the ring's file keeps read locks on
    /// them, and this process cannot know which of them were claimed: it has no `/proc`, or
    /// another PID namespace than the processes that did.
    #[error("{KEPT_OUT}")]
    KeptOut,
    /// The kept descriptor of the segment is another file's by now: this process closed it.
    #[error(
        "the ring's descriptor {descriptor} was closed in this process, or is another file's by now"
    )]
    DescriptorClosed {
        /// The descriptor's number.
        descriptor: i32,
    },
    /// The system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a line was not written. What was written before is safe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The mirror has ended; [`reopen`](crate::LineProcMirror::reopen) makes a fresh one.
    #[error("the mirror has ended")]
    Ended,
    /// The parent told every mirror to stop.
    #[error("the reader told every mirror to stop")]
    Stopped,
    /// The buffer is closed.
    #[error("the buffer is closed")]
    Closed,
    /// The ring stayed full for as long as its creator allows; the line is counted as dropped.
    #[error("the ring stayed full for {0:?}")]
    TimedOut(Duration),
    /// The ring is full and its reader has been gone for longer than the grace time; the line is
    /// counted as dropped.
    #[error("the ring is full and has had no reader for {0:?}")]
    ReaderGone(Duration),
    /// The ring is full, and the thread that writes is the one that read it last: it would wait for
    /// itself. Said after the grace time, since it may have handed the reader on; at once in the
    /// thread of a [`LogDrain`](crate::LogDrain). The line is counted as dropped.
    #[error(
        "the ring is full, and the thread that writes is the one that reads, expected another thread to read"
    )]
    OwnReader,
    /// The program gave the wait for room up, as [`set_blocking_hook`](crate::set_blocking_hook)
    /// lets it; the line is counted as dropped.
    #[error("the wait for room in the ring was given up")]
    Cancelled,
    /// This thread is in the middle of a write already: a signal handler, say.
    #[error("this thread is in the middle of another write")]
    Reentrant,
    /// The ring's words were damaged by another process.
    #[error("the ring's order words are damaged")]
    Damaged,
    /// The ring's file was cut short, or has no disk under it any more, after
    /// [`turn_sigbus_into_errors`](crate::turn_sigbus_into_errors).
    #[error("{CUT_SHORT}")]
    CutShort,
    /// The handle came from a parent process, or is a thread's first, and could not get a mirror of
    /// its own.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Why reading failed. Nothing is lost by it: the lines are still in the ring.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A signal handler ran while this thread waited, and
    /// [`Reader::set_interruptible`](crate::Reader::set_interruptible) asked to be told. Call again
    /// to go on.
    #[error("interrupted by a signal")]
    Interrupted,
    /// The handle was inherited by a forked child; only the process that made it may use it.
    #[error("this reader belongs to the parent process")]
    Forked,
    /// A process reads the ring already.
    #[error("process {process} reads the ring already, expected no other reader")]
    HasReader {
        /// Its number, as it knows it.
        process: u32,
    },
    /// A process that may only read the ring's file keeps a read lock where the reader has its own,
    /// and this process cannot know whether there is a reader: it has no `/proc`, or another
    /// PID namespace than that reader.
    #[error("{KEPT_OUT}")]
    KeptOut,
    /// The ring's file was cut short, or has no disk under it any more, after
    /// [`turn_sigbus_into_errors`](crate::turn_sigbus_into_errors). What was not read is lost.
    #[error("{CUT_SHORT}")]
    CutShort,
    /// The kept descriptor of the segment is another file's by now.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a pool of workers could not be started or awaited.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A worker was to be forked that runs, or that has others missing before it.
    #[error(
        "found worker {found}{}, expected one that has exited, or {further} for a further one",
        if *.runs { ", which runs" } else { "" }
    )]
    Number {
        /// The number that was asked for.
        found: usize,
        /// Whether that worker runs.
        runs: bool,
        /// The next number that no worker has.
        further: usize,
    },
    /// No mirror could be had for a worker.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The drain failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a descriptor could not be captured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No mirror could be had.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}
