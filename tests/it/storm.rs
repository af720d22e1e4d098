//! Writers and readers that are killed at any time, one after another, for as long as wanted:
//! `LINERING_STORM_KILLS=20000` takes some minutes.
//!
//! Each writer notes in memory of its own, shared with this test alone, that a line's write
//! has returned, before it begins the next. What it has noted must come, and nothing twice, and
//! nothing torn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use linering::{
    End, Ended, Item, Line, LineRing, Lost, Options, Policy, ReadError, Reader, Timestamps,
    WriteError,
};

use crate::common::{Child, fork};

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
        let (rights, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
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
    // Many more cells than writers: those of the dead whose last words wait for room are not free
    // before the reader has looked for them, ten times a second, and kills come faster.
    let options = Options::new().lines(64).line_bytes(64).mirrors(50 * WRITERS).policy(policy);
    let options = options.timestamps(Timestamps::Off).max_line(1024);
    let ring = LineRing::new(options).expect("a ring");
    let mut reader = ring.reader().expect("no other reader");
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

// ----------------------------------------------------------------------------------------- readers

/// Items that a reader notes, at most. Then it leaves.
const NOTES: usize = 1 << 16;

/// What a reader has done, in memory that it shares with this test.
struct Log {
    words: &'static [AtomicU64],
}

/// A line or an end that a reader was given.
#[derive(Clone, Copy, Debug)]
struct Noted {
    /// A line's position; of an end, which all writers have one of, a number that is none.
    place: u64,
    /// `writer:16 | cut:1 | 47`: a line's number, or, if its first parts went with the reader
    /// before, how long it was.
    what: u64,
}

const END: u64 = (1 << 47) - 1;
const CUT: u64 = 1 << 47;

impl Log {
    fn new() -> Self {
        Self { words: shared_counts(2 * NOTES + 2) }
    }
    /// So many items were accepted for sure,
    fn sure(&self) -> &AtomicU64 {
        &self.words[0]
    }
    /// and so many may have been.
    fn maybe(&self) -> &AtomicU64 {
        &self.words[1]
    }
    fn clear(&self) {
        self.sure().store(0, SeqCst);
        self.maybe().store(0, SeqCst);
    }
    fn note(&self, index: usize, Noted { place, what }: Noted) {
        self.words[2 * index + 2].store(place, SeqCst);
        self.words[2 * index + 3].store(what, SeqCst);
    }
    fn noted(&self, count: usize) -> Vec<Noted> {
        let words = self.words[2..][..2 * count].chunks_exact(2);
        words
            .map(|pair| Noted { place: pair[0].load(SeqCst), what: pair[1].load(SeqCst) })
            .collect()
    }
}

impl Noted {
    /// `None` for what must not come.
    fn of(item: &Item<'_>) -> Option<Self> {
        match item {
            Item::Line(line) => {
                let writer: usize = line.label.parse().ok()?;
                let text = std::str::from_utf8(&line.bytes).ok()?;
                let what = if line.truncated {
                    CUT | (text.len() as u64 + line.missing)
                } else {
                    let number = text.split(['.', ';']).nth(1)?.parse().ok()?;
                    (text == content(writer, number)).then_some(number)?
                };
                let is_published = !line.unfinished && !line.unacknowledged;
                is_published
                    .then_some(Self { place: line.position, what: (writer as u64) << 48 | what })
            }
            Item::Ended(ended) if ended.end == End::Eof => {
                let writer: u64 = ended.label.parse().ok()?;
                Some(Self { place: u64::MAX - writer, what: writer << 48 | END })
            }
            _ => None,
        }
    }
}

/// The kernel may still be taking the memory of the one before apart, and its lock with it.
fn next_reader(ring: &LineRing) -> Option<Reader> {
    let began = Instant::now();
    loop {
        match ring.reader() {
            Ok(reader) => return Some(reader),
            Err(ReadError::HasReader { .. }) if began.elapsed() < PATIENCE => {
                std::thread::yield_now()
            }
            Err(_) => return None,
        }
    }
}

/// Reads, singly and in batches by turns, and notes each item before it is accepted.
fn read(ring: &LineRing, log: &Log) -> u8 {
    let Some(mut reader) = next_reader(ring) else { return 1 };
    let mut given = 0;
    let note = |given: &mut usize, item: &Item<'_>| {
        let Some(noted) = Noted::of(item) else { return false };
        log.note(*given, noted);
        *given += 1;
        true
    };
    while given + 1000 < NOTES {
        for _ in 0..16 {
            log.maybe().store(given as u64, SeqCst);
            let Ok(item) = reader.try_recv() else { return 2 };
            log.sure().store(given as u64, SeqCst);
            if item.is_some_and(|item| !note(&mut given, &item)) {
                return 3;
            }
        }
        log.maybe().store(given as u64, SeqCst);
        let Ok(batch) = reader.batch() else { return 4 };
        log.sure().store(given as u64, SeqCst);
        if !batch.iter().all(|item| note(&mut given, &item)) {
            return 5;
        }
        log.maybe().store(given as u64, SeqCst);
        batch.commit();
        log.sure().store(given as u64, SeqCst);
    }
    0
}

/// What all readers together have accepted, as far as that is known.
#[derive(Default)]
struct Accepted {
    /// Each writer's next line.
    next: HashMap<u64, u64>,
    /// What the last reader may have accepted or not: the next one says, by where it begins.
    unsure: Vec<Noted>,
    twice: usize,
    cut: usize,
}

impl Accepted {
    /// What the next reader was given, and how much of it was accepted for sure.
    fn go_on(&mut self, items: &[Noted], sure: usize) {
        let Some(first) = items.first() else { return };
        let unsure = std::mem::take(&mut self.unsure);
        let taken =
            unsure.iter().position(|item| item.place == first.place).unwrap_or(unsure.len());
        // An end does not come again, nor does the rest of a line whose beginning was taken.
        let does_not = |item: &&Noted| {
            let is_cut_or_end = item.what & CUT != 0 || item.what & END == END;
            is_cut_or_end && items.iter().all(|again| again.place != item.place)
        };
        let mut accepted: Vec<_> = items[..sure].to_vec();
        for item in unsure[taken..].iter().filter(does_not) {
            let at = accepted.iter().position(|other| other.place > item.place);
            accepted.insert(at.unwrap_or(accepted.len()), *item);
        }
        self.twice += unsure.len() - taken;
        unsure[..taken].iter().chain(&accepted).for_each(|item| self.accept(item));
        self.unsure = items[sure..].to_vec();
    }

    fn accept(&mut self, item: &Noted) {
        let (writer, what) = (item.what >> 48, item.what & (CUT | END));
        let next = self.next.entry(writer).or_default();
        assert_ne!(*next, END, "after its end");
        match what {
            END => return *next = END,
            cut if cut & CUT != 0 => {
                let length = content(writer as usize, *next).len() as u64;
                assert_eq!(
                    cut & !CUT,
                    length,
                    "{writer}'s line {next}: what is missing is counted"
                );
                self.cut += 1;
            }
            number => assert_eq!(number, *next, "{writer}'s next line"),
        }
        *next += 1;
    }
}

#[test]
fn what_was_not_accepted_comes_again_however_many_readers_are_killed() {
    const WRITERS: u64 = 3;
    let options = Options::new().lines(64).line_bytes(64).mirrors(8).policy(Policy::Block);
    let ring = LineRing::new(options.timestamps(Timestamps::Off).max_line(1024)).expect("a ring");
    let acknowledged = shared_counts(WRITERS as usize);
    let writers: Vec<Child> = (0..WRITERS as usize)
        .map(|writer| {
            fork(|| {
                let Ok(mut mirror) = ring.mirror_labelled(&writer.to_string()) else { return 1 };
                for number in 0.. {
                    match mirror.write_line(content(writer, number).as_bytes()) {
                        Ok(()) => acknowledged[writer].store(number + 1, SeqCst),
                        Err(WriteError::Stopped) => break,
                        Err(_) => return 2,
                    }
                }
                u8::from(mirror.send_eof().is_err()) * 3
            })
        })
        .collect();
    let log = Log::new();
    let mut accepted = Accepted::default();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..kills() {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        log.clear();
        let reader = fork(|| read(&ring, &log));
        let began = Instant::now();
        while log.maybe().load(SeqCst) < (random >> 32) % 500 {
            assert!(began.elapsed() < PATIENCE, "the reader is stuck");
            std::thread::yield_now();
        }
        reader.kill();
        let code = reader.status().code();
        assert!(matches!(code, None | Some(0)), "it found what must not come: {code:?}");
        let (sure, maybe) = (log.sure().load(SeqCst) as usize, log.maybe().load(SeqCst) as usize);
        accepted.go_on(&log.noted(maybe), sure);
    }
    ring.stop_all_mirrors();
    let mut reader = next_reader(&ring).expect("the others are dead");
    let mut items = Vec::new();
    let began = Instant::now();
    while !reader.is_over() {
        assert!(began.elapsed() < PATIENCE, "not every end is told");
        if let Some(item) = reader.try_recv().expect("ours") {
            items.push(Noted::of(&item).unwrap_or_else(|| panic!("{item:?}")));
        }
    }
    accepted.go_on(&items, items.len());
    writers.into_iter().for_each(Child::succeeds);
    assert!((0..WRITERS).all(|writer| accepted.next[&writer] == END));
    let lines: u64 = acknowledged.iter().map(|count| count.load(SeqCst)).sum();
    println!(
        "{} readers killed, {lines} lines, {} twice, {} cut",
        kills(),
        accepted.twice,
        accepted.cut
    );
}
