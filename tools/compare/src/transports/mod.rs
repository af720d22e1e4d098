//! The transports, one a file, the table of them, and the measurement of the one that a case names.

use crate::case::{Case, Outcome};
use crate::measure::{print, processes, threads};
use crate::transport::{Kind, Mode, Reading, Transport};

mod array_queue;
mod channels;
mod cloudtoid;
mod disruptor;
mod faulty;
mod iceoryx2;
mod ipc_channel;
mod ipmpsc;
mod kernel;
mod limits;
mod linering;
mod mspc_ipc;
mod mutex_deque;
mod nexus_logbuf;
mod promisqs;
mod rtrb;
mod shaq;
mod shared_mutex;
mod thingbuf;
mod tracing_appender;

/// Lines that a reader takes at a time where it may choose: as many as linering's.
const BATCH: usize = 64;

/// What is known of a transport before it is made.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    pub name: &'static str,
    pub mode: Mode,
    pub kind: Kind,
    pub reading: &'static [Reading],
    pub keeps: bool,
}

macro_rules! transports {
    (
        threads { $($thread:literal $in_threads:ty,)* }
        processes { $($process:literal $in_processes:ty,)* }
        both { $($both:literal $in_both:ty,)* }
    ) => {
        /// All of them, in the order in which they are measured and shown.
        pub const ALL: &[Listed] = &[
            $(listed!(Threads, $thread, $in_threads),)*
            $(listed!(Threads, $both, $in_both),)*
            $(listed!(Processes, $process, $in_processes),)*
            $(listed!(Processes, $both, $in_both),)*
        ];

        /// Measures the transport that the case names, with lines of `N` bytes.
        fn measure<const N: usize>(case: &Case) -> Outcome {
            match (case.mode, case.transport.as_str()) {
                $((Mode::Threads, $thread) => threads::<N, $in_threads>(case),)*
                $((Mode::Threads, $both) => threads::<N, $in_both>(case),)*
                $((Mode::Processes, $process) => processes::<N, $in_processes>(case),)*
                $((Mode::Processes, $both) => processes::<N, $in_both>(case),)*
                (_, other) => Outcome::Fault(format!("there is no transport {other} in this mode")),
            }
        }
    };
}

macro_rules! listed {
    ($mode:ident, $name:literal, $transport:ty) => {{
        const N: usize = 100;
        Listed {
            name: $name,
            mode: Mode::$mode,
            kind: <$transport as Transport<N>>::KIND,
            reading: <$transport as Transport<N>>::READING,
            keeps: <$transport as Transport<N>>::KEEPS,
        }
    }};
}

transports! {
    threads {
        "harness alone" limits::Alone<N>,
        "copy" limits::Own<N>,
        "copy + fetch_add" limits::Counted<N>,
        "linering" linering::Linering<N>,
        "nexus-logbuf" nexus_logbuf::NexusLogbuf,
        "disruptor" disruptor::Disruptor<N>,
        "ArrayQueue" array_queue::ArrayQueue<N>,
        "crossbeam-channel" channels::CrossbeamChannel<N>,
        "thingbuf" thingbuf::ThingBuf<N>,
        "tracing-appender" tracing_appender::TracingAppender<N>,
        "std mpsc" channels::StdMpsc<N>,
        "flume" channels::Flume<N>,
        "kanal" channels::Kanal<N>,
        "rtrb" rtrb::Rtrb<N>,
        "mutex + deque" mutex_deque::MutexDeque<N>,
        "faulty: loses" faulty::Loses<N>,
        "faulty: doubles" faulty::Doubles<N>,
        "faulty: tears" faulty::Tears<N>,
        "faulty: swaps" faulty::Swaps<N>,
        "faulty: hangs" faulty::Hangs<N>,
        "faulty: panics" faulty::Panics<N>,
    }
    processes {
        "copy + fetch_add" limits::Counted<N>,
        "linering" linering::Linering<N>,
        "faulty: hangs" faulty::Hangs<N>,
    }
    // Those for processes, which threads may use too.
    both {
        "shaq" shaq::Shaq<N>,
        "mspc_ipc" mspc_ipc::MspcIpc<N>,
        "iceoryx2" iceoryx2::Iceoryx2<N>,
        "shared mutex" shared_mutex::SharedMutex<N>,
        "pipe" kernel::Pipe<N>,
        "seqpacket" kernel::Seqpacket,
        "ipmpsc" ipmpsc::Ipmpsc,
        "cloudtoid" cloudtoid::Cloudtoid,
        "promisqs" promisqs::Promisqs<N>,
        "ipc-channel" ipc_channel::IpcChannel,
        "append to a file" kernel::Append,
        "POSIX queue" kernel::MessageQueue,
    }
}

/// Runs the case in this process and prints its outcome as one line of JSON.
pub fn run_case(case: &Case) {
    let outcome = match case.bytes {
        32 => measure::<32>(case),
        100 => measure::<100>(case),
        256 => measure::<256>(case),
        1000 => measure::<1000>(case),
        4000 => measure::<4000>(case),
        other => Outcome::Fault(format!("lines of {other} bytes are not compiled in")),
    };
    print(&outcome);
}

/// A file in memory, without a name.
fn memory_file() -> Result<std::fs::File, String> {
    use std::os::fd::FromRawFd;
    // SAFETY: a name that ends in zero.
    let file = unsafe { libc::memfd_create(c"compare".as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(format!("cannot make a file in memory: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: opened this moment, so this is its only owner.
    Ok(unsafe { std::fs::File::from_raw_fd(file) })
}
