//! Clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.max(0) as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since 1970, by the coarse clock: no system call, a few milliseconds off.
#[inline]
pub(crate) fn since_1970() -> u64 {
    nanoseconds(clock_gettime(ClockId::RealtimeCoarse))
}

/// Milliseconds of the clock that never jumps, the same for all processes of the machine.
pub(crate) fn monotonic_ms() -> u64 {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse)) / 1_000_000
}
