//! What a paced call waits for: the exchange of the order entry, alone, in several layouts.
//!
//! A model of one writer and one reader with nothing else of linering: no seats, no crash safety,
//! no checks of what stands in shared memory. The writer copies a line of 100 bytes into its spare
//! slot, swaps it into the order entry of the next position and stores the hint; the reader copies
//! the line out and frees the entry. `docs/paced-call.md` says what came of it.
//!
//! ```sh
//! cargo run --release --example paced_model [ROUNDS]      # 7 unless told
//! ```
//!
//! Each row: nanoseconds of a call each 2 µs (average of the lowest 99 %, p99), and lines per
//! second without a pace; medians of the rounds, which take turns. A repetition counts if a cache
//! line went to the other thread and back about as fast as ever, before it and after it: if not,
//! other work had a processor, or the two had become far from each other.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::thread;
use std::time::Instant;

#[path = "../src/clock.rs"]
#[allow(dead_code)]
mod clock;

const POSITIONS: u64 = 4096;
const SPARES: u64 = 1;
const LINE: usize = 100;
const SLOT: usize = 192;
const FULL: u64 = 1 << 63;
const CALLS: u64 = 20_000;
const PACE_NS: u64 = 2000;
const LINES: u64 = 3_000_000;
/// How far ahead what the writer will need is fetched for writing.
const AHEAD: u64 = 8;
/// `pause` instructions of a reader that came to the end, some 10 µs, in throughput.
const GATHER: u32 = 400;

/// A layout, and how its reader waits.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    /// Each entry in a cache line of its own, neighbours far from each other.
    apart: bool,
    /// The reader looks at the hint, and at an entry once the hint has passed it.
    at_hint: bool,
    /// The writer fetches entry and slot of a later position for writing.
    ahead: bool,
    /// No reader: the writer frees the entries itself.
    alone: bool,
    /// A `fetch_add` of the hint in place of the exchange.
    floor: bool,
}

const PLAIN: Way = Way {
    name: "entries side by side, the reader looks at the next one",
    apart: false,
    at_hint: false,
    ahead: true,
    alone: false,
    floor: false,
};

const WAYS: [Way; 9] = [
    Way { name: "copy + fetch_add, no reader", floor: true, alone: true, ..PLAIN },
    Way { name: "the exchange, no reader", alone: true, ..PLAIN },
    PLAIN,
    Way { name: "the same, nothing fetched ahead", ahead: false, ..PLAIN },
    Way { name: "entries apart", apart: true, ..PLAIN },
    Way { name: "entries apart, nothing fetched ahead", apart: true, ahead: false, ..PLAIN },
    Way { name: "the reader looks at the hint", at_hint: true, ..PLAIN },
    Way { name: "hint and entries apart", at_hint: true, apart: true, ..PLAIN },
    Way {
        name: "hint and entries apart, nothing ahead",
        at_hint: true,
        apart: true,
        ahead: false,
        ..PLAIN
    },
];

#[repr(align(128))]
struct Line<T>(T);

struct Ring {
    entries: Vec<Line<[AtomicU64; 16]>>,
    hint: Line<AtomicU64>,
    slots: Vec<Line<UnsafeCell<[u8; SLOT]>>>,
    way: Way,
}

// SAFETY: a slot is its writer's, or of the reader that finds it in an entry, as the exchange says.
unsafe impl Sync for Ring {}

fn free(position: u64, slot: u64) -> u64 {
    (position / POSITIONS) << 32 | slot
}

impl Ring {
    fn new(way: Way) -> Self {
        let lines = if way.apart { POSITIONS } else { POSITIONS / 16 };
        let ring = Self {
            entries: (0..lines).map(|_| Line([const { AtomicU64::new(0) }; 16])).collect(),
            hint: Line(AtomicU64::new(0)),
            slots: (0..POSITIONS + SPARES).map(|_| Line(UnsafeCell::new([0; SLOT]))).collect(),
            way,
        };
        for position in 0..POSITIONS {
            ring.entry(position).store(free(position, position), Relaxed);
        }
        ring
    }

    #[inline(always)]
    fn entry(&self, position: u64) -> &AtomicU64 {
        let at = position % POSITIONS;
        if self.way.apart {
            // An odd factor: each line once a lap, in no stride that is fetched ahead.
            &self.entries[(at * 1_327 % POSITIONS) as usize].0[0]
        } else {
            &self.entries[(at / 16) as usize].0[(at % 16) as usize]
        }
    }

    #[inline(always)]
    fn fetch_ahead(&self, position: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            let entry = self.entry(position + AHEAD);
            let slot = self.slots[(entry.load(Relaxed) & 0xFFFF) as usize].0.get();
            for (at, offset) in [(std::ptr::from_ref(entry).cast(), 0), (slot, 0), (slot, 64)] {
                let at = at.cast::<u8>().wrapping_add(offset);
                // SAFETY: a prefetch never faults and changes nothing.
                unsafe {
                    std::arch::asm!("prefetchw [{at}]", at = in(reg) at, options(readonly, nostack))
                };
            }
        }
    }

    /// One call.
    #[inline(always)]
    fn write(&self, position: u64, spare: &mut u64, line: &[u8; LINE]) {
        // SAFETY: the spare is this writer's alone.
        let slot = unsafe { &mut *self.slots[*spare as usize].0.get() };
        slot[..LINE].copy_from_slice(line);
        if self.way.floor {
            *spare = self.hint.0.fetch_add(1, SeqCst) % POSITIONS;
            return;
        }
        let entry = self.entry(position);
        loop {
            let found = entry.load(Relaxed);
            if found & !0xFFFF == free(position, 0)
                && entry
                    .compare_exchange(found, free(position, *spare) | FULL, SeqCst, Relaxed)
                    .is_ok()
            {
                *spare = found & 0xFFFF;
                break;
            }
            spin_loop();
        }
        self.hint.0.store(position + 1, Release);
        if self.way.ahead {
            self.fetch_ahead(position);
        }
        if self.way.alone {
            let filled = entry.load(Relaxed);
            entry.store(free(position + POSITIONS, filled & 0xFFFF), Relaxed);
        }
    }

    /// Reads so many lines; the sum of their numbers.
    fn read(&self, lines: u64, gather: u32) -> u64 {
        let (mut position, mut known, mut sum) = (0, 0, 0);
        while position < lines {
            if self.way.at_hint && position >= known {
                known = self.hint.0.load(Acquire);
            }
            let entry = self.entry(position);
            let is_there = !self.way.at_hint || position < known;
            let found = if is_there { entry.load(Acquire) } else { 0 };
            if found & FULL == 0 || found & !FULL & !0xFFFF != free(position, 0) {
                for _ in 0..gather.max(1) {
                    spin_loop();
                }
                known = if self.way.at_hint { self.hint.0.load(Acquire) } else { 0 };
                continue;
            }
            // SAFETY: a full entry's slot is the reader's until it frees it.
            let slot = unsafe { &*self.slots[(found & 0xFFFF) as usize].0.get() };
            let mut line = [0; LINE];
            line.copy_from_slice(&slot[..LINE]);
            let number = u64::from_le_bytes(line[..8].try_into().expect("eight bytes"));
            assert_eq!(number, position, "each line, in order");
            sum += number + u64::from(std::hint::black_box(line)[LINE - 1]);
            entry.store(free(position + POSITIONS, found & 0xFFFF), Release);
            position += 1;
        }
        sum
    }
}

fn line_of(position: u64) -> [u8; LINE] {
    let mut line = [7; LINE];
    line[..8].copy_from_slice(&position.to_le_bytes());
    line
}

/// Average of the lowest 99 %, and p99.
fn paced(way: Way, clock: &clock::Clock) -> (f64, f64) {
    let ring = Ring::new(way);
    let mut ticks = Vec::with_capacity(CALLS as usize);
    thread::scope(|scope| {
        if !way.alone {
            scope.spawn(|| ring.read(CALLS, 1));
        }
        let mut spare = POSITIONS;
        let mut next = clock::before();
        for position in 0..CALLS {
            next += clock.ticks(PACE_NS);
            while clock::before() < next {
                spin_loop();
            }
            let line = line_of(position);
            let start = clock::before();
            ring.write(position, &mut spare, &line);
            ticks.push((clock::after() - start).min(u64::from(u32::MAX)) as u32);
        }
    });
    ticks.sort_unstable();
    let lowest = &ticks[..ticks.len() * 99 / 100];
    let average = lowest.iter().map(|&ticks| clock.cost(ticks)).sum::<f64>() / lowest.len() as f64;
    (average, clock.cost(lowest[lowest.len() - 1]))
}

/// Million lines a second.
fn throughput(way: Way) -> f64 {
    let ring = Ring::new(way);
    let start = Instant::now();
    thread::scope(|scope| {
        if !way.alone {
            scope.spawn(|| ring.read(LINES, GATHER));
        }
        let mut spare = POSITIONS;
        for position in 0..LINES {
            ring.write(position, &mut spare, &line_of(position));
        }
    });
    LINES as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// A round trip of a cache line between two threads, in nanoseconds.
fn distance() -> f64 {
    const TRIPS: u64 = 20_000;
    let ball = Line(AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..TRIPS {
                while ball.0.load(Acquire) != 2 * trip + 1 {
                    spin_loop();
                }
                ball.0.store(2 * trip + 2, Release);
            }
        });
        for trip in 0..TRIPS {
            ball.0.store(2 * trip + 1, Release);
            while ball.0.load(Acquire) != 2 * trip + 2 {
                spin_loop();
            }
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / TRIPS as f64
}

/// `NAN` of nothing.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A round trip, the longer of those before and after; a call and its p99, and the rate.
type Round = (f64, f64, f64, f64);

fn main() {
    let rounds: usize = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 7,
        Some(Ok(rounds)) if rounds > 0 => rounds,
        _ => {
            eprintln!("expected how many rounds, 1 or more");
            std::process::exit(2);
        }
    };
    let clock = clock::Clock::calibrated();
    let mut found = vec![vec![]; WAYS.len()];
    for _ in 0..rounds {
        for (way, found) in WAYS.iter().zip(&mut found) {
            let before = distance();
            let (average, high) = paced(*way, &clock);
            let rate = throughput(*way);
            found.push((before.max(distance()), average, high, rate));
        }
    }
    let trips: Vec<f64> = found.iter().flatten().map(|round| round.0).collect();
    let usual = trips.iter().copied().fold(f64::MAX, f64::min) * 1.3;
    let count = trips.iter().filter(|&&trip| trip <= usual).count();
    println!("{count} of {} repetitions at a round trip of up to {usual:.0} ns\n", trips.len());
    println!("| | ns a call | p99 | million lines/s | repetitions |\n|---|---|---|---|---|");
    for (way, found) in WAYS.iter().zip(found) {
        let near: Vec<_> = found.iter().filter(|round| round.0 <= usual).collect();
        let of =
            |figure: fn(&Round) -> f64| median(near.iter().map(|round| figure(round)).collect());
        let (average, high, rate) = (of(|round| round.1), of(|round| round.2), of(|round| round.3));
        println!("| {} | {average:.1} | {high:.0} | {rate:.1} | {} |", way.name, near.len());
    }
}
