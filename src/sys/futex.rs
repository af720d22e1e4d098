//! Sleeping on a word of shared memory, and waking those that do.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

/// The longest sleep of a reader or a writer: what a wake-up costs that was lost with a killed
/// process.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

pub(crate) fn timespec(time: Duration) -> Timespec {
    let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Sleeps until `word` is not `value` any more, or for `time`: `false` then.
///
/// # Errors
///
/// [`Errno::INTR`] where a signal handler ran; what a system call filter says.
pub(crate) fn wait(word: &AtomicU32, value: u32, time: Duration) -> Result<bool, Errno> {
    match futex::wait(word, futex::Flags::empty(), value, Some(&timespec(time))) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::TIMEDOUT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the system waits for at a time: its FUTEX_WAITV_MAX.
const MOST_WORDS: usize = 128;

/// The system does not know how to wait for several, or a filter of system calls refused it.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// On how many words one can sleep at a time.
pub(crate) fn most_words() -> usize {
    if IS_REFUSED.load(Relaxed) { 1 } else { MOST_WORDS }
}

/// Sleeps until one of `words` has another value than the one beside it or is woken, or for `time`.
/// Words may be in memory that is mapped for reading alone.
///
/// # Errors
///
/// Where the system cannot wait for several.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], time: Duration) -> Result<(), Errno> {
    if let [(word, value)] = *words {
        return wait(word, value, time).map(drop);
    }
    let waits: Vec<_> = words
        .iter()
        .map(|(word, value)| {
            let mut wait = futex::Wait::new();
            wait.val = (*value).into();
            wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
            wait.flags = futex::WaitFlags::SIZE_U32;
            wait
        })
        .collect();
    let now = clock_gettime(ClockId::Monotonic);
    let end = timespec(Duration::new(now.tv_sec as u64, now.tv_nsec as u32).saturating_add(time));
    match futex::waitv(&waits, futex::WaitvFlags::empty(), Some(&end), ClockId::Monotonic) {
        Ok(_) | Err(Errno::AGAIN | Errno::TIMEDOUT) => Ok(()),
        Err(error) => {
            IS_REFUSED.fetch_or(matches!(error, Errno::NOSYS | Errno::PERM), Relaxed);
            Err(error)
        }
    }
}

/// Wakes up to `most` sleepers of `word`; gives how many they were.
pub(crate) fn wake(word: &AtomicU32, most: u32) -> usize {
    futex::wake(word, futex::Flags::empty(), most).unwrap_or(0)
}
