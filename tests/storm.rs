//! Writers that are killed at any time, one after another, for as long as wanted: `LINERING_STORM_KILLS=20000` takes a minute
//! or so.
//!
//! Each writer notes in memory of its own, shared with nobody but this test, that a line's write has returned, before it begins
//! the next. What it has noted must come, and nothing twice, and nothing torn.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use common::{Child, fork};
use linering::{End, Ended, Item, Line, LineRing, Lost, Options, Policy, Reader, Timestamps};

/// Writers at a time.
const WRITERS: usize = 6;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says whose it is and which, over and over: a mix of two would show. Of up to five slots.
fn content(writer: usize, number: u64) -> String {
    format!("{writer}.{number};").repeat(1 + (number % 20) as usize)
}

/// How many lines each writer knows that it has written.
fn shared_counts(writers: usize) -> &'static [AtomicU64] {
    // SAFETY: a new mapping of zeros, which are valid atomics, never unmapped.
    unsafe {
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let at = libc::mmap(core::ptr::null_mut(), writers * 8, rights, kind, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        core::slice::from_raw_parts(at.cast(), writers)
    }
}

/// What came of one writer.
#[derive(Debug, Default)]
struct Came {
    /// The number of its next line.
    next: u64,
    lines: u64,
    lost: u64,
    ended: Option<End>,
}

struct Storm {
    policy: Policy,
    ring: LineRing,
    acknowledged: &'static [AtomicU64],
    came: HashMap<usize, Came>,
    flagged: usize,
}

impl Storm {
    fn start(&self, writer: usize) -> Child {
        fork(|| {
            let Ok(mut mirror) = self.ring.mirror_labelled(&writer.to_string()) else { return 1 };
            for number in 0.. {
                if mirror.write_line(content(writer, number).as_bytes()).is_err() {
                    return 2;
                }
                self.acknowledged[writer].store(number + 1, SeqCst);
            }
            0
        })
    }

    fn take(&mut self, item: &Item<'_>) {
        let number = |label: &str| label.parse::<usize>().expect("a writer's number");
        match item {
            Item::Line(line) => self.take_line(number(&line.label), line),
            Item::Lost(Lost { label, lines, .. }) => {
                let came = self.came.entry(number(label)).or_default();
                (came.lost, came.next) = (came.lost + lines, came.next + lines);
                assert_ne!(self.policy, Policy::Block, "nothing is lost: {item:?}");
            }
            Item::Ended(Ended { label, end, .. }) => {
                let acknowledged = self.acknowledged[number(label)].load(SeqCst);
                let came = self.came.entry(number(label)).or_default();
                assert_eq!(came.ended.replace(*end), None, "it ends once");
                // One may have been written and not noted any more.
                let all = came.lines + came.lost;
                assert!(
                    all == acknowledged || all == acknowledged + 1,
                    "{acknowledged} were written: {came:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    fn take_line(&mut self, writer: usize, line: &Line<'_>) {
        let came = self.came.entry(writer).or_default();
        assert_eq!(came.ended, None, "after its end: {line:?}");
        let expected = content(writer, came.next);
        let text = String::from_utf8_lossy(&line.bytes);
        if line.truncated && self.policy != Policy::Block {
            // Some of its parts are gone.
            self.flagged += 1;
        } else if line.unfinished || line.truncated {
            assert!(expected.starts_with(&*text), "{text} is none of {expected}");
            let acknowledged = self.acknowledged[writer].load(SeqCst);
            assert!(came.next >= acknowledged, "its write had returned: {line:?}");
            self.flagged += 1;
        } else {
            assert_eq!(text, expected, "{writer}'s line {}", came.next);
        }
        came.next += 1;
        came.lines += 1;
    }

    fn drain(&mut self, reader: &mut Reader, most: u64) -> u64 {
        let mut taken = 0;
        while taken < most {
            match reader.try_recv().expect("ours") {
                Some(item) => self.take(&item),
                None => break,
            }
            taken += 1;
        }
        taken
    }
}

fn storm(policy: Policy, kills: usize) {
    // Many more cells than writers: those of the dead whose last words wait for room are not free before the reader has looked
    // for them, ten times a second, and kills come faster.
    let options = Options::new().lines(64).line_bytes(64).mirrors(50 * WRITERS).policy(policy);
    let options = options.timestamps(Timestamps::Off).max_line(1024);
    let ring = LineRing::new(options).expect("a ring");
    let mut reader = ring.reader().expect("nobody reads");
    let acknowledged = shared_counts(WRITERS + kills);
    let mut storm = Storm { policy, ring, acknowledged, came: HashMap::new(), flagged: 0 };
    let mut children: Vec<Child> = (0..WRITERS).map(|writer| storm.start(writer)).collect();
    // A generator of no quality, the same each time: the processors see to the rest.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut left = random % 300;
        while left > 0 {
            left -= storm.drain(&mut reader, left);
        }
        let index = (random >> 32) as usize % WRITERS;
        let started = storm.start_after(&mut reader, WRITERS + kill, children.swap_remove(index));
        children.push(started);
    }
    children.into_iter().for_each(Child::end);
    let began = Instant::now();
    while !reader.is_over() {
        storm.drain(&mut reader, u64::MAX);
        reader.commit().expect("ours");
        assert!(began.elapsed() < PATIENCE, "not every end is told");
    }
    // Of some nothing is known: they were killed before they had a mirror.
    let unknown = (0..WRITERS + kills).filter(|writer| !storm.came.contains_key(writer));
    assert!(unknown.into_iter().all(|writer| acknowledged[writer].load(SeqCst) == 0));
    assert!(storm.came.len() > kills / 2);
    assert!(storm.came.values().all(|came| came.ended == Some(End::Died)));
    let counts = storm.ring.counts();
    assert_eq!((counts.live, counts.eofs), (0, 0));
    // The word that counts deaths may be off by each process that died beside its bump: none of these bumps it.
    assert_eq!(counts.deaths as usize, storm.came.len());
    let sum = |of: fn(&Came) -> u64| storm.came.values().map(of).sum::<u64>();
    let (lines, lost) = (sum(|came| came.lines), sum(|came| came.lost));
    println!("{policy:?}: {kills} kills, {lines} lines, {lost} lost, {} flagged", storm.flagged);
}

impl Storm {
    /// Kills one and starts another.
    fn start_after(&mut self, reader: &mut Reader, writer: usize, victim: Child) -> Child {
        victim.kill();
        let status = victim.status();
        assert_eq!(status.code(), None, "it had a cell, and wrote until it was killed");
        self.drain(reader, 64);
        self.start(writer)
    }
}

fn kills() -> usize {
    std::env::var("LINERING_STORM_KILLS").map_or(300, |kills| kills.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_however_many_writers_are_killed() {
    storm(Policy::Block, kills());
}

#[test]
fn what_is_dropped_is_counted_however_many_writers_are_killed() {
    storm(Policy::DropNewest, kills());
}

#[test]
fn what_is_overwritten_is_counted_however_many_writers_are_killed() {
    storm(Policy::OverwriteOldest, kills());
}
