//! A clock for single calls: the processor's time stamp counter where there is one, the system's
//! clock elsewhere.

use std::time::{Duration, Instant};

/// Turns ticks into nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    ticks_per_ns: f64,
    /// What a pair of [`before`] and [`after`] costs by itself.
    own: u64,
}

/// Ticks, in order with the instructions before it.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn before() -> u64 {
    use core::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86_64 has both.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Ticks, after everything before it has been done.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn after() -> u64 {
    use core::arch::x86_64::{__rdtscp, _mm_lfence};
    let mut core = 0;
    // SAFETY: every x86_64 that runs Linux today has both.
    unsafe {
        let ticks = __rdtscp(&mut core);
        _mm_lfence();
        ticks
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn before() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn after() -> u64 {
    before()
}

impl Clock {
    /// Measures the clock against the system's, for 30 ms.
    pub fn calibrated() -> Self {
        let (start, ticks) = (Instant::now(), before());
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let (ticks, time) = (before() - ticks, start.elapsed());
        let mut own: Vec<u64> = (0..10_001)
            .map(|_| {
                let start = before();
                after() - start
            })
            .collect();
        own.sort_unstable();
        Self { ticks_per_ns: ticks as f64 / time.as_nanos() as f64, own: own[own.len() / 2] }
    }

    /// Ticks in so many nanoseconds.
    pub fn ticks(&self, nanoseconds: u64) -> u64 {
        (nanoseconds as f64 * self.ticks_per_ns) as u64
    }

    /// The nanoseconds of a measured call, without the clock's own.
    pub fn cost(&self, ticks: u32) -> f64 {
        u64::from(ticks).saturating_sub(self.own) as f64 / self.ticks_per_ns
    }

    /// What was taken off, in nanoseconds.
    pub fn own(&self) -> f64 {
        self.own as f64 / self.ticks_per_ns
    }
}
