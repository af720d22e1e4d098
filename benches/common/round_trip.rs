//! How far two processors are apart: what a cache line takes from one to the other and back.
//!
//! tools/compare has this file too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;

/// Round trips that are timed together, and how many times that is done: some milliseconds in all.
const TRIPS: u64 = 500;
const TIMES: usize = 21;

/// Nanoseconds of a round trip of one cache line between two threads: the median of some hundred
/// each. `None` where there is one processor.
pub fn round_trip_ns() -> Option<f64> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return None;
    }
    let (to, from) = (CachePadded::new(AtomicU64::new(0)), CachePadded::new(AtomicU64::new(0)));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                let next = to.load(Ordering::Acquire);
                if next != sent {
                    sent = next;
                    from.store(next, Ordering::Release);
                }
            }
        });
        let mut number = 0;
        let mut time = || {
            let start = Instant::now();
            for _ in 0..TRIPS {
                number += 1;
                to.store(number, Ordering::Release);
                while from.load(Ordering::Acquire) != number {}
            }
            start.elapsed().as_nanos() as f64 / TRIPS as f64
        };
        let mut times: Vec<f64> = (0..TIMES).map(|_| time()).collect();
        is_over.store(true, Ordering::Relaxed);
        times.sort_by(f64::total_cmp);
        Some(times[TIMES / 2])
    })
}
