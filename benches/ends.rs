//! How long it takes until a waiting reader is told of an end.
//!
//! A thread opens a mirror and ends it after a random pause, over and over; the reader waits, by
//! futex and by pipe. An end that was sent while the reader was about to sleep must not wait for a
//! period of 10 ms: prints how many took longer than 1 ms, and percentiles.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use linering::{Item, LineRing, Options, Reader, WakeUp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let ends = if quick { 500 } else { 20_000 };
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let mut took = measure(wake_up, ends);
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        let late = took.iter().filter(|time| **time > Duration::from_millis(1)).count();
        println!(
            "ends/{wake_up:?}: {ends} ends, p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}, {late} over 1 ms",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
}

/// The time from each end to its arrival.
fn measure(wake_up: WakeUp, ends: usize) -> Vec<Duration> {
    let ring = LineRing::new(Options::new().wake_up(wake_up).seats(8)).expect("a ring");
    // Open all the time: without any open mirror a reader does not wait.
    let _open = ring.mirror().expect("a cell");
    let ring = &ring;
    let mut reader = ring.reader().expect("the first");
    let (tell, told) = mpsc::channel();
    let (arrived, go_on) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = 1_u64;
            for _ in 0..ends {
                let mut mirror = ring.mirror().expect("a cell");
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // 0 to 400 microseconds, awake: the reader spins for 50 to 200, and then sleeps.
                let (began, pause) =
                    (Instant::now(), Duration::from_nanos((random >> 40) % 400_000));
                while began.elapsed() < pause {
                    core::hint::spin_loop();
                }
                let sent = Instant::now();
                mirror.send_eof().expect("nothing unfinished");
                tell.send(sent).expect("a reader");
                go_on.recv().expect("a reader");
            }
        });
        (0..ends)
            .map(|_| {
                wait_for_an_end(&mut reader, wake_up);
                let now = Instant::now();
                let took = now.saturating_duration_since(told.recv().expect("it was sent"));
                arrived.send(()).expect("a writer");
                took
            })
            .collect()
    })
}

fn wait_for_an_end(reader: &mut Reader, wake_up: WakeUp) {
    loop {
        let item = match wake_up {
            WakeUp::Pipe => {
                if let Some(item) = reader.try_recv().expect("ours") {
                    Some(item.into_owned())
                } else {
                    let limit = Timespec { tv_sec: 1, tv_nsec: 0 };
                    let pipe = reader.poll_fd().expect("a pipe");
                    poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&limit)).expect("polled");
                    continue;
                }
            }
            _ => reader.recv().expect("ours").map(Item::into_owned),
        };
        match item {
            Some(Item::Ended(_)) => return,
            other => panic!("expected an end, found {other:?}"),
        }
    }
}
