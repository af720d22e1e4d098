//! Sleeping on a word of shared memory, and waking those that do.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::futex;

/// The longest sleep of a reader or a writer: what a wake-up costs that was lost with a killed
/// process.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Sleeps until `word` is not `value` any more, or for `time`.
///
/// # Errors
///
/// [`Errno::INTR`] where a signal handler ran; what a system call filter says.
pub(crate) fn wait(word: &AtomicU32, value: u32, time: Duration) -> Result<(), Errno> {
    match futex::wait(word, futex::Flags::empty(), value, Some(&timespec(time))) {
        Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Wakes up to `most` sleepers of `word`; gives how many they were.
pub(crate) fn wake(word: &AtomicU32, most: u32) -> usize {
    futex::wake(word, futex::Flags::empty(), most).unwrap_or(0)
}
