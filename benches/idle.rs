//! What a service's drain costs while nothing is written, and how soon what comes then is told.
//!
//! For a few numbers of open mirrors: how often its thread wakes up, what processor time the
//! process takes, how long it takes from a record to the sink, and from the death of a process.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use linering::{Item, Level, LineRing, LogDrain, Options, Sink};
use rustix::time::{ClockId, clock_gettime};

/// Says when it gets a line, or an end.
struct Tells(mpsc::Sender<(Instant, bool)>);

impl Sink for Tells {
    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        // After the last round it is not waited for.
        let _ = self.0.send((Instant::now(), matches!(item, Item::Ended(_))));
        Ok(())
    }

    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        Ok(text.len())
    }
}

fn main() {
    // `cargo test` gives no `--bench`: as with criterion, that is a short run.
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let quick = has("--quick") || !has("--bench");
    let (idle, rounds) = if quick { (1, 3) } else { (10, 50) };
    for mirrors in [1, 200, 1000] {
        measure(mirrors, Duration::from_secs(idle), rounds);
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn measure(mirrors: usize, idle: Duration, rounds: usize) {
    let options = Options::new().mirrors(mirrors + 8).seats(mirrors + 8);
    let ring = LineRing::new(options).expect("a ring");
    let (tells, told) = mpsc::channel();
    let drain = LogDrain::new(ring.reader().expect("the first")).to(Tells(tells));
    let drain = drain.spawn().expect("a thread");
    let open: Vec<_> = (0..mirrors).map(|_| ring.mirror().expect("a cell")).collect();
    let log = ring.writer().expect("a cell");

    // What was to do for those is done.
    std::thread::sleep(Duration::from_secs(1));
    let (before, used) = (drain.totals().wake_ups, processor_time());
    std::thread::sleep(idle);
    let wake_ups = (drain.totals().wake_ups - before) as f64 / idle.as_secs_f64();
    let share = (processor_time() - used).as_secs_f64() / idle.as_secs_f64() * 100.0;

    // Each in another part of the half second that it sleeps.
    let arrives = |is_end: bool| {
        let (when, found) = told.recv().expect("it comes");
        assert_eq!(found, is_end);
        when
    };
    let pause = |round: usize| Duration::from_millis(20 + (round as u64 * 37) % 480);
    let records = (0..rounds).map(|round| {
        std::thread::sleep(pause(round));
        let began = Instant::now();
        log.record(Level::Info, "a record").expect("room");
        arrives(false) - began
    });
    let records: Vec<_> = records.collect();
    let deaths = (0..rounds).map(|round| {
        std::thread::sleep(pause(round));
        // SAFETY: the child makes system calls and writes into the ring, and is killed.
        let child = match unsafe { libc::fork() } {
            0 => {
                let mut mirror = ring.mirror().expect("a cell");
                mirror.write_line(b"the last words").expect("room");
                // SAFETY: a plain system call.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
                unreachable!("it was killed")
            }
            child => child,
        };
        arrives(false);
        // SAFETY: a child of ours, awaited once.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        let began = Instant::now();
        arrives(true).saturating_duration_since(began)
    });
    let deaths: Vec<_> = deaths.collect();
    drop(open);
    println!(
        "idle/{mirrors}: {wake_ups:.1} wake-ups a second, {share:.2} % of a processor; a record is \
         handed on in {}, a death told in {}",
        told_of(records),
        told_of(deaths)
    );
}

fn told_of(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    format!("{:?} (p50), {:?} (longest)", took[took.len() / 2], took[took.len() - 1])
}
