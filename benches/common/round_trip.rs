//! How far two processors are apart: what a cache line takes from one to the other and back.
//!
//! tools/compare has this file too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Round trips that are timed together, and how many times that is done: some milliseconds in all.
const TRIPS: u64 = 500;
const TIMES: usize = 21;
/// After that it is given up: on a machine that is busy with other work each trip can wait for a
/// turn of either thread.
const LIMIT: Duration = Duration::from_millis(50);

/// Nanoseconds of a round trip of one cache line between two threads: the median of some hundred
/// each, or of as many as its time permits. `None` where there is one processor.
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
        let began = Instant::now();
        let mut number = 0;
        // A time for some trips; for fewer, and how long the next one has taken so far, at the
        // limit.
        let mut time = || {
            let start = Instant::now();
            let ns_each = |trips: u64| start.elapsed().as_nanos() as f64 / trips as f64;
            for trip in 1..=TRIPS {
                number += 1;
                to.store(number, Ordering::Release);
                let mut looks = 0_u32;
                while from.load(Ordering::Acquire) != number {
                    looks += 1;
                    if looks.is_multiple_of(1024) && began.elapsed() > LIMIT {
                        return ns_each(trip);
                    }
                }
            }
            ns_each(TRIPS)
        };
        let mut times = vec![time()];
        while times.len() < TIMES && began.elapsed() < LIMIT {
            times.push(time());
        }
        is_over.store(true, Ordering::Relaxed);
        times.sort_by(f64::total_cmp);
        Some(times[times.len() / 2])
    })
}
