//! [`panic_hook`]: panics in the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use super::shared_writer::SharedWriter;
use crate::line::item::{Level, Stream};
use crate::line::meta::Meta;

/// Has each panic of this process recorded: where, with which message, and with a backtrace if
/// `RUST_BACKTRACE` asks for one, as one record of level error. Then the hook that was there before
/// runs, which prints it to standard error.
///
/// ```
/// use linering::{non_blocking, panic_hook};
///
/// let (log, _guard) = non_blocking(std::io::stderr())?;
/// panic_hook(&log);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn panic_hook(writer: &SharedWriter) {
    let (writer, before) = (writer.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |panic| {
        let trace = Backtrace::capture();
        let meta = Meta::new().level(Level::Error).stream(Stream::Stderr);
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        let mut text = format!("thread {name} {panic}\n").into_bytes();
        if trace.status() == BacktraceStatus::Captured {
            let _ = write!(text, "stack backtrace:\n{trace}");
        }
        // A panic in here would end the process.
        let record = || drop(writer.record(meta, &text));
        let _ = panic::catch_unwind(AssertUnwindSafe(record));
        before(panic);
    }));
}
