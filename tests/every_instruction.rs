//! What becomes of the others when a process dies, or stands still, after any instruction of
//! anything it does with a ring.
//!
//! Each operation is executed one instruction at a time in a child. Whenever that has changed the
//! segment, or a lock on it, three things are tried at this point:
//!
//! * a copy of the segment, in which nobody lives, is *judged*: others write two laps, a reader
//!   drains, every line that was acknowledged is there once and none is torn, every end is told,
//!   all slots are in one place, all cells can be had;
//! * the same operation is executed again in another child, up to the same change, and that child
//!   is killed: its ring is judged;
//! * and again, but the child only stands still, while others write two laps; then it goes on to
//!   its end, and the ring is judged.
//!
//! Between changes nothing that others could see differs; a sample of the instructions there is
//! tried all the same.

mod common;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::tracer::{Stop, Traced, mark, stay_on_processor};
use common::{RING_SEALS, below_overflow, bytes_of, memory};
use linering::{Counts, End, Item, Line, LineProcMirror, LineRing, Options, Policy, Reader, Seat};

/// Positions of the rings here.
const LINES: usize = 4;
/// Bytes of a line that fit in a slot.
const PAYLOAD: usize = 32;
/// Mirrors that they can have at a time.
const MIRRORS: usize = 4;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

// -------------------------------------------------------------------------------------- operations

/// What a child holds while it is traced.
#[derive(Default)]
struct Hands {
    mirror: Option<LineProcMirror>,
    seat: Option<Seat>,
    reader: Option<Reader>,
}

impl Hands {
    fn mirror(&mut self) -> &mut LineProcMirror {
        self.mirror.as_mut().expect("it was opened before")
    }
}

/// Something that a process does with a ring.
#[derive(Clone)]
struct Operation {
    name: &'static str,
    policy: Policy,
    /// Lines that somebody else has written before, which nobody has read.
    before: usize,
    /// What the child does before it is traced.
    prepare: fn(&LineRing, &mut Hands),
    /// What is traced; `false` if it failed.
    act: fn(&LineRing, &mut Hands) -> bool,
    /// The child's lines.
    lines: Vec<String>,
    /// Instructions after which it is left alone: it waits for others for ever.
    most: usize,
    /// The child is the reader.
    reads: bool,
    /// Somebody was killed before, at this change of this operation of theirs.
    victim: Option<(Box<Operation>, usize)>,
    /// All cells but that one's are somebody's.
    crowded: bool,
    /// Slots have checksums, and so 8 bytes less for a line.
    checksums: bool,
}

fn nothing(_: &LineRing, _: &mut Hands) {}

fn open(ring: &LineRing, hands: &mut Hands) {
    hands.mirror = Some(ring.mirror_labelled("child").expect("a mirror"));
}

fn open_and_begin(ring: &LineRing, hands: &mut Hands) {
    open(ring, hands);
    hands.mirror().write_all(b"unfi").expect("room");
}

/// The word that says that the reader sleeps, in bytes from the segment's start.
const READER_SLEEPS: u64 = 384;

/// The writer is the one to wake the reader.
fn open_beside_a_sleeper(ring: &LineRing, hands: &mut Hands) {
    open(ring, hands);
    let descriptor =
        ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor is free");
    File::from(descriptor).write_all_at(&1_u32.to_ne_bytes(), READER_SLEEPS).expect("room");
}

/// Parts of one line, until they have come round: the slot that the next one is exchanged for has
/// the line's first part. They are read meanwhile, by a reader that is gone then.
fn open_and_write_round(ring: &LineRing, hands: &mut Hands) {
    open(ring, hands);
    let mut reader = ring.reader().expect("nobody reads");
    for part in 0..=PARTS_OF_A_ROUND {
        while reader.try_recv().expect("ours").is_some() {}
        // The last one stays in the spare.
        hands.mirror().write_all(part_of_round(part).as_bytes()).expect("room");
    }
    while reader.try_recv().expect("ours").is_some() {}
}

/// After these, the next entry has the slot of the first of them.
const PARTS_OF_A_ROUND: usize = LINES + 1;

fn part_of_round(part: usize) -> String {
    format!("{part:<PAYLOAD$}")
}

/// Longer than two slots.
const LONG: &str = "a line of three parts, which is longer than two slots with their 32 bytes";

/// An operation of one who writes.
fn writing(
    name: &'static str,
    prepare: fn(&LineRing, &mut Hands),
    act: fn(&LineRing, &mut Hands) -> bool,
    lines: &[&str],
) -> Operation {
    Operation {
        name,
        policy: Policy::Block,
        before: 1,
        prepare,
        act,
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        most: usize::MAX,
        reads: false,
        victim: None,
        crowded: false,
        checksums: false,
    }
}

fn write_short(_: &LineRing, hands: &mut Hands) -> bool {
    hands.mirror().write_line(b"short").is_ok()
}

/// An operation of one who reads.
fn reading(
    name: &'static str,
    policy: Policy,
    act: fn(&LineRing, &mut Hands) -> bool,
) -> Operation {
    let prepare = |ring: &LineRing, hands: &mut Hands| {
        hands.reader = ring.reader().ok();
        hands.reader.iter_mut().for_each(|reader| reader.set_spinning(false));
    };
    Operation { policy, before: LINES - 1, reads: true, ..writing(name, prepare, act, &[]) }
}

/// Reads to the end, one item after another; each is accepted by asking for the next.
fn read_singly(_: &LineRing, hands: &mut Hands) -> bool {
    let Some(reader) = &mut hands.reader else { return false };
    let log = Log::of_this_test();
    let mut given = 0;
    loop {
        log.maybe.store(given, SeqCst);
        let Ok(item) = reader.try_recv().map(|item| item.map(|item| code(&item))) else {
            return false;
        };
        log.sure.store(given, SeqCst);
        match item {
            Some(item) => log.items[given as usize].store(item, SeqCst),
            None if reader.is_over() => return true,
            None => continue,
        }
        given += 1;
    }
}

/// Reads to the end, in batches.
fn read_batches(_: &LineRing, hands: &mut Hands) -> bool {
    let Some(reader) = &mut hands.reader else { return false };
    let log = Log::of_this_test();
    let mut accepted = 0;
    loop {
        let Ok(batch) = reader.batch() else { return false };
        if batch.is_empty() {
            return true;
        }
        let first = accepted;
        for item in batch.iter() {
            log.items[accepted as usize].store(code(&item), SeqCst);
            accepted += 1;
        }
        log.maybe.store(accepted, SeqCst);
        batch.commit();
        log.sure.store(accepted, SeqCst);
        if first == accepted {
            return false;
        }
    }
}

/// What a reading child has done, in memory that it shares with its parent.
struct Log {
    /// Items that it has accepted for sure, and those that it may have.
    sure: AtomicU64,
    maybe: AtomicU64,
    /// The items, as [`code`]s.
    items: [AtomicU64; 64],
}

impl Log {
    /// One for all children of this test, which run one at a time.
    fn of_this_test() -> &'static Log {
        thread_local! {
            static LOG: &'static Log = {
                let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
                // SAFETY: a new mapping of zeros, which are valid atomics, never unmapped.
                unsafe {
                    let at = libc::mmap(core::ptr::null_mut(), size_of::<Log>(), rights, kind, -1, 0);
                    assert_ne!(at, libc::MAP_FAILED);
                    &*at.cast()
                }
            };
        }
        LOG.with(|log| *log)
    }

    fn clear(&self) {
        self.sure.store(0, SeqCst);
        self.maybe.store(0, SeqCst);
    }
}

/// Those who were there before a reading child. Not the others, who come later.
const EARLIER: [&str; 2] = ["before", "victim"];

/// An item in a word: whose it is, and which line of theirs, or their end. 0 for one of the
/// others'.
fn code(item: &Item<'_>) -> u64 {
    let (label, what) = match item {
        Item::Line(line) => (
            &line.label,
            line.to_string().rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0),
        ),
        Item::Ended(ended) => (&ended.label, END),
        // None of these is lost or damaged.
        Item::Lost(lost) => (&lost.label, 0xffff),
        _ => return u64::MAX,
    };
    let whose = EARLIER.iter().position(|known| label == known).map_or(0, |whose| whose as u64 + 1);
    if whose == 0 { 0 } else { whose << 32 | what }
}

const END: u64 = 0xfff;

const ROUND: &str = "an unfinished line that has gone round";

fn writers() -> Vec<Operation> {
    let policies = [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest];
    let mut all = Vec::new();
    for policy in policies {
        let under = |operation: Operation| Operation { policy, ..operation };
        all.push(under(writing("a short line", open, write_short, &["short"])));
        let long: fn(&LineRing, &mut Hands) -> bool =
            |_, hands| hands.mirror().write_line(LONG.as_bytes()).is_ok();
        all.push(under(writing("a line of three parts", open, long, &[LONG])));
        // Three positions are free at least where the reader does not read meanwhile.
        let full = Operation {
            before: LINES,
            ..writing("a short line, ring full", open, write_short, &["short"])
        };
        let most = if policy == Policy::Block { 6000 } else { usize::MAX };
        all.push(Operation { most, ..under(full) });
        let full = Operation {
            before: LINES - 1,
            ..writing("three parts, ring nearly full", open, long, &[LONG])
        };
        all.push(Operation { most, ..under(full) });
    }
    all.extend(with_checksums());
    all.extend([
        writing(
            "a group",
            open,
            |_, hands| {
                let Ok(mut group) = hands.mirror().group() else { return false };
                group
                    .line(b"one")
                    .and_then(|()| group.line(b"two"))
                    .and_then(|()| group.end())
                    .is_ok()
            },
            &["one\ntwo\n"],
        ),
        writing(
            "an unfinished line",
            open,
            |_, hands| hands.mirror().write_all(b"unfinished").is_ok(),
            &["unfinished"],
        ),
        writing(
            "its end",
            open_and_begin,
            |_, hands| hands.mirror().write_all(b"nished\n").is_ok(),
            &["unfinished"],
        ),
        writing(
            "short lines packed",
            open,
            |_, hands| hands.mirror().write_packed(b"a\nb\nc\n").is_ok(),
            &["a\nb\nc\n"],
        ),
        writing("a short line, reader asleep", open_beside_a_sleeper, write_short, &["short"]),
        writing("EOF", open, |_, hands| hands.mirror().send_eof().is_ok(), &[]),
        writing(
            "EOF of an unfinished line",
            open_and_begin,
            |_, hands| hands.mirror().send_eof().is_ok(),
            &["unfi"],
        ),
        Operation {
            policy: Policy::OverwriteOldest,
            ..writing(
                "an error of two parts",
                open,
                |_, hands| hands.mirror().send_panic(&"it is not good, and all is over").is_ok(),
                &["panic: it is not good, and all is over\n"],
            )
        },
        writing(
            "an error",
            open,
            |_, hands| hands.mirror().send_panic(&"no good").is_ok(),
            &["panic: no good\n"],
        ),
        writing(
            "leaving",
            open,
            |_, hands| {
                drop(hands.mirror.take());
                true
            },
            &[],
        ),
        writing("registration", nothing, register, &[]),
        writing(
            "keeping a seat",
            nothing,
            |ring, hands| {
                hands.seat = ring.seat_labelled("child").ok();
                hands.seat.is_some()
            },
            &[],
        ),
        writing(
            "opening a seat",
            |ring, hands| hands.seat = Some(ring.seat_labelled("child").expect("a seat")),
            |_, hands| {
                hands.mirror = hands.seat.as_ref().and_then(|seat| seat.open().ok());
                hands.mirror.is_some()
            },
            &[],
        ),
    ]);
    all
}

/// What is different where slots have checksums: how they are written, and what becomes of last
/// words.
fn with_checksums() -> Vec<Operation> {
    let long: fn(&LineRing, &mut Hands) -> bool =
        |_, hands| hands.mirror().write_line(LONG.as_bytes()).is_ok();
    let full = Operation {
        before: LINES,
        ..writing("a short line, ring full", open, write_short, &["short"])
    };
    let error: fn(&LineRing, &mut Hands) -> bool =
        |_, hands| hands.mirror().send_panic(&"it is not good, and all is over").is_ok();
    let error = writing(
        "an error of two parts",
        open,
        error,
        &["panic: it is not good, and all is over\n"],
    );
    let finish: fn(&LineRing, &mut Hands) -> bool =
        |_, hands| hands.mirror().write_all(b"nished\n").is_ok();
    let all = [
        writing("a short line", open, write_short, &["short"]),
        Operation { policy: Policy::OverwriteOldest, ..full },
        Operation { policy: Policy::DropNewest, ..writing("a line of parts", open, long, &[LONG]) },
        writing("the end of an unfinished line", open_and_begin, finish, &["unfinished"]),
        Operation { policy: Policy::OverwriteOldest, ..error },
    ];
    all.map(|operation| Operation { checksums: true, ..operation }).into()
}

fn readers() -> Vec<Operation> {
    let mut all = Vec::new();
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        all.push(reading("reading", policy, read_singly));
        all.push(reading("reading batches", policy, read_batches));
    }
    let open_reader = |ring: &LineRing, hands: &mut Hands| {
        hands.reader = ring.reader().ok();
        hands.reader.is_some()
    };
    all.push(Operation {
        prepare: nothing,
        ..reading("becoming the reader", Policy::Block, open_reader)
    });
    all
}

/// Those who find what a kill has left: at each change that the killed one made, or each fifth,
/// unless all are asked for.
fn buriers() -> Vec<Operation> {
    let mut all = Vec::new();
    let step = if std::env::var_os("LINERING_EVERY_VICTIM").is_some() { 1 } else { 5 };
    let short = writing(
        "",
        open_victim,
        |_, hands| hands.mirror().write_line(b"short").is_ok(),
        &["short"],
    );
    let begin: fn(&LineRing, &mut Hands) -> bool =
        |_, hands| hands.mirror().write_all(b"unfinished").is_ok();
    let begun = writing("", open_victim, begin, &["unfinished"]);
    for victim in [short, begun] {
        let changes = victim.changes();
        for change in (0..=changes).step_by(step) {
            let victim = Some((Box::new(victim.clone()), change));
            let reads = reading("burying, by the reader", Policy::Block, read_singly);
            all.push(Operation { before: 1, victim: victim.clone(), ..reads });
            let register = writing("burying, by a new mirror", nothing, register, &[]);
            all.push(Operation { crowded: true, victim, ..register });
        }
    }
    all
}

fn open_victim(ring: &LineRing, hands: &mut Hands) {
    hands.mirror = Some(ring.mirror_labelled("victim").expect("a mirror"));
}

fn register(ring: &LineRing, hands: &mut Hands) -> bool {
    hands.mirror = ring.mirror_labelled("child").ok();
    hands.mirror.is_some()
}

// --------------------------------------------------------------------------------------------
// rings

fn before(number: usize) -> String {
    format!("before {number}")
}

/// A ring, and who holds its cells.
struct Stage {
    ring: LineRing,
    keepers: Vec<LineProcMirror>,
}

impl Operation {
    fn stage(&self) -> Stage {
        let ring = self.ring();
        Log::of_this_test().clear();
        let keepers = if self.crowded { MIRRORS - 1 } else { 0 };
        let keepers =
            (0..keepers).map(|_| ring.mirror_labelled("keeper").expect("a cell")).collect();
        if let Some((operation, change)) = &self.victim {
            let victim = operation.start(&ring);
            if *change > 0 {
                operation.step_until(&ring, &victim, |_, now, _| now == *change);
            }
            victim.kill();
        }
        Stage { ring, keepers }
    }

    /// How many changes it makes.
    fn changes(&self) -> usize {
        let Stage { ring, .. } = self.stage();
        let child = self.start(&ring);
        let mut changes = 0;
        self.step_until(&ring, &child, |_, change, _| {
            changes = changes.max(change);
            false
        });
        changes
    }

    /// Bytes of a line that fit in a slot.
    fn payload(&self) -> usize {
        PAYLOAD - if self.checksums { 8 } else { 0 }
    }

    fn ring(&self) -> LineRing {
        let options = Options::new()
            .lines(LINES)
            .line_bytes(64)
            .max_line(if self.policy == Policy::OverwriteOldest {
                LINES * self.payload() / 2
            } else {
                400
            })
            .checksums(self.checksums)
            .mirrors(MIRRORS)
            .seats(12)
            .policy(self.policy)
            .timestamps(linering::Timestamps::Off)
            .start_position(below_overflow(LINES))
            // One that nobody opens any more keeps nobody waiting; and nobody waits for one who
            // died.
            .seat_limit(Duration::from_millis(1))
            .block_limit(PATIENCE);
        let ring = LineRing::new(options).expect("a ring");
        let mut mirror = ring.mirror_labelled("before").expect("a mirror");
        for number in 0..self.before {
            mirror.write_line(before(number).as_bytes()).expect("room");
        }
        ring
    }

    /// A child that stands before the operation, in this ring.
    fn start(&self, ring: &LineRing) -> Traced {
        Traced::start(|| {
            let mut hands = Hands::default();
            (self.prepare)(ring, &mut hands);
            mark();
            let done = (self.act)(ring, &mut hands);
            mark();
            // Its mirrors end.
            drop(hands);
            u8::from(!done)
        })
    }
}

/// What others can see of a ring: its bytes, and which of its cells' locks are held.
struct State {
    /// A description of its own, with which locks are asked about.
    file: File,
    bytes: Vec<u8>,
    locks: Vec<bool>,
}

impl State {
    fn of(ring: &LineRing) -> Self {
        let descriptor = ring.descriptor().expect("open").as_raw_fd();
        let path = format!("/proc/self/fd/{descriptor}");
        let file = File::options().read(true).write(true).open(path).expect("it is open");
        let mut state = Self { file, bytes: bytes_of(ring), locks: vec![false; MIRRORS + 1] };
        state.has_changed();
        state
    }

    /// Looks again.
    fn has_changed(&mut self) -> bool {
        let mut bytes = vec![0; self.bytes.len()];
        self.file.read_exact_at(&mut bytes, 0).expect("so many bytes");
        let locks: Vec<bool> = (0..self.locks.len()).map(|cell| self.is_locked(cell)).collect();
        let is_same = bytes == self.bytes && locks == self.locks;
        (self.bytes, self.locks) = (bytes, locks);
        !is_same
    }

    fn is_locked(&self, cell: usize) -> bool {
        // SAFETY: a plain struct, for which zeros are valid, which lives during the call.
        unsafe {
            let mut lock: libc::flock = core::mem::zeroed();
            lock.l_type = libc::F_WRLCK as libc::c_short;
            lock.l_start = cell as libc::off_t;
            lock.l_len = 1;
            assert_eq!(libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock), 0);
            lock.l_type != libc::F_UNLCK as libc::c_short
        }
    }
}

/// A ring with the same bytes, in which nobody lives.
fn copy(bytes: &[u8]) -> LineRing {
    LineRing::attach(memory(bytes, RING_SEALS)).expect("the bytes of a ring")
}

// ------------------------------------------------------------------------------------------
// judging

/// What became of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It died somewhere in the operation.
    Died,
    /// It died after the operation: what it wrote is acknowledged.
    DiedAfter,
    /// It came to its end, and well.
    Ended,
}

/// A reader and two writers beside the child.
struct Others {
    reader: Option<Reader>,
    mirrors: Vec<LineProcMirror>,
    written: usize,
    items: Vec<Item<'static>>,
}

impl Others {
    /// `reads`: the reader is not the child.
    fn new(ring: &LineRing, reads: bool) -> Self {
        let reader = reads.then(|| ring.reader().expect("the reader is dead, if there was one"));
        let label = |number: usize| format!("other {number}");
        let mirrors =
            (0..2).map(|number| ring.mirror_labelled(&label(number)).expect("a cell")).collect();
        Self { reader, mirrors, written: 0, items: Vec::new() }
    }

    fn drain(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        while let Some(item) = reader.try_recv().expect("ours") {
            self.items.push(item.into_owned());
        }
    }

    /// Writes two laps, draining meanwhile; where a full ring is no reason to wait, without
    /// draining too.
    fn write_two_laps(&mut self, policy: Policy) {
        for drains in [true, policy == Policy::Block] {
            for _ in 0..LINES {
                for number in 0..2 {
                    if drains {
                        self.drain();
                    }
                    let line = format!("other {number} line {}", self.written);
                    let began = Instant::now();
                    self.mirrors[number]
                        .write_line(line.as_bytes())
                        .expect("there is room, or it does not matter");
                    assert!(began.elapsed() < PATIENCE);
                }
                self.written += 1;
            }
        }
        self.drain();
    }

    /// Ends the writers, and drains until every end was told.
    fn finish(mut self) -> Vec<Item<'static>> {
        self.mirrors.clear();
        let began = Instant::now();
        loop {
            self.drain();
            let reader = self.reader.as_mut().expect("it reads");
            reader.commit().expect("ours");
            if reader.is_over() {
                return self.items;
            }
            assert!(began.elapsed() < PATIENCE, "not every end is told: {:?}", self.items);
        }
    }
}

/// The lines of the mirrors with this label, and how many were lost.
fn of_label<'i>(items: &'i [Item<'static>], label: &str) -> (Vec<&'i Line<'static>>, u64) {
    let lines = items.iter().filter_map(Item::line).filter(|line| line.label == label).collect();
    let lost = items.iter().map(|item| match item {
        Item::Lost(lost) if lost.label == label => lost.lines,
        _ => 0,
    });
    (lines, lost.sum())
}

fn is_whole(line: &Line<'_>) -> bool {
    !(line.truncated || line.unfinished || line.unacknowledged || line.damaged)
}

impl Operation {
    /// Checks everything that came of a ring.
    fn judge(&self, ring: &LineRing, items: &[Item<'static>], written: usize, fate: Fate) {
        let lossy = self.policy != Policy::Block;
        let is_damaged = |item: &Item<'_>| {
            matches!(item, Item::Damaged { .. }) || item.line().is_some_and(|line| line.damaged)
        };
        assert!(!items.iter().any(is_damaged), "{items:?}");
        // Whoever was not touched: each line once, in order, or counted as lost.
        let groups = (0..2).map(|number| {
            let label = format!("other {number}");
            let lines: Vec<_> = (0..written).map(|line| format!("{label} line {line}")).collect();
            (label, lines)
        });
        let earlier = ("before".to_owned(), (0..self.before).map(before).collect::<Vec<_>>());
        let earlier = if self.reads { None } else { Some(earlier) };
        for (label, expected) in groups.chain(earlier) {
            let (lines, lost) = of_label(items, &label);
            assert!(lines.iter().all(|line| is_whole(line)), "{lines:?}");
            let mut left = expected.iter();
            let in_order =
                lines.iter().all(|line| left.any(|expected| *expected == line.to_string()));
            assert!(in_order, "each once and in order: {lines:?}");
            assert_eq!(lines.len() as u64 + lost, expected.len() as u64, "{label}: {items:?}");
            assert!(lossy || lost == 0);
        }
        if self.reads {
            self.judge_reader(items);
        }
        if !self.reads || !self.lines.is_empty() {
            self.judge_lines("child", &self.lines, items, fate);
        }
        if let Some((victim, _)) = self.victim.as_ref().filter(|_| !self.reads) {
            self.judge_lines("victim", &victim.lines, items, Fate::Died);
        }
        // Each mirror's end was told once, and the counts agree.
        let ends: Vec<(String, End)> = items
            .iter()
            .filter_map(|item| match item {
                Item::Ended(ended) => Some((ended.label.to_string(), ended.end)),
                _ => None,
            })
            .collect();
        // A reader that is gone was told of the one before.
        let knew = self.reads || self.name == ROUND;
        let of_all: &[&str] =
            if knew { &["other 0", "other 1"] } else { &["other 0", "other 1", "before"] };
        for label in of_all {
            let told: Vec<_> =
                ends.iter().filter(|(of, _)| of == label).map(|(_, end)| *end).collect();
            assert_eq!(told, [End::Eof], "{label}: {ends:?}");
        }
        let of_child: Vec<End> =
            ends.iter().filter(|(of, _)| of == "child").map(|(_, end)| *end).collect();
        assert!(of_child.len() <= 2, "{ends:?}");
        if fate == Fate::Ended && !of_child.is_empty() {
            assert!(of_child.iter().all(|end| *end != End::Died), "{ends:?}");
        }
        let count = |wanted: End| ends.iter().filter(|(_, end)| *end == wanted).count() as u64;
        let Counts { live, eofs, errors, deaths, .. } = ring.counts();
        assert_eq!(live, 0);
        // Whatever a reader accepted before it died was told to it alone: each mirror ended well
        // there, but for the victim.
        let child_ended = of_child.iter().filter(|end| **end == End::Eof).count() as u64;
        let told = match self.reads {
            true => [2 + child_ended, 0, deaths.min(1)],
            false => [End::Eof, End::Error, End::Died].map(count),
        };
        assert_eq!([eofs - u64::from(knew), errors, deaths], told, "{ends:?}");
        assert_slots_are_conserved(ring);
        // Nothing of the ring's capacity is gone.
        let mirrors: Vec<_> =
            (0..MIRRORS).map(|_| ring.mirror().expect("every cell can be had")).collect();
        drop(mirrors);
    }

    /// What the child has accepted and what came after it are one sequence, in which nothing is
    /// missing or twice.
    fn judge_reader(&self, items: &[Item<'static>]) {
        let log = Log::of_this_test();
        let (sure, maybe) = (log.sure.load(SeqCst) as usize, log.maybe.load(SeqCst) as usize);
        let after: Vec<u64> = items.iter().map(code).filter(|code| *code != 0).collect();
        let is_right = |accepted: usize| {
            let all = log.items[..accepted]
                .iter()
                .map(|item| item.load(SeqCst))
                .chain(after.iter().copied());
            let all: Vec<u64> = all.filter(|code| *code != 0).collect();
            let of = |whose: u64| {
                all.iter().filter(move |code| **code >> 32 == whose).map(|code| *code & 0xffff_ffff)
            };
            let before_is_right = of(1).eq((0..self.before as u64).chain([END]));
            let of_victim: Vec<u64> = of(2).collect();
            let victim_is_right = match &self.victim {
                None => of_victim.is_empty(),
                Some(_) => of_victim == [END] || of_victim == [0, END],
            };
            before_is_right && victim_is_right && of(1).count() + of_victim.len() == all.len()
        };
        let log: Vec<u64> = log.items.iter().map(|item| item.load(SeqCst)).collect();
        assert!(
            (sure..=maybe).any(is_right),
            "accepted {sure} to {maybe} of {log:x?}, then came {after:x?}: {items:?}"
        );
    }

    fn judge_lines(&self, label: &str, expected: &[String], items: &[Item<'static>], fate: Fate) {
        let (lines, lost) = of_label(items, label);
        let mut next = 0;
        for line in &lines {
            let text = String::from_utf8_lossy(&line.bytes);
            let fits = |expected: &String| {
                if line.truncated {
                    // Some parts of it, in their order.
                    text.len() + line.missing as usize <= expected.len() + PAYLOAD
                        || expected.contains(&*text)
                } else if line.unfinished {
                    expected.starts_with(&*text)
                } else {
                    *expected == text
                }
            };
            let found = expected[next..].iter().position(fits);
            let found = found.unwrap_or_else(|| {
                panic!("this is none of the child's lines: {line:?}, {items:?}")
            });
            next += found + 1;
            assert!(fate == Fate::Died || !line.unacknowledged, "its write had returned: {line:?}");
        }
        let told = lines.len() as u64 + lost;
        assert!(told <= expected.len() as u64, "{items:?}");
        if fate != Fate::Died {
            assert_eq!(
                told,
                expected.len() as u64,
                "an acknowledged line is there, or counted: {items:?}"
            );
        }
        if self.name == ROUND {
            let (gone, rest) = expected[0].split_at(PARTS_OF_A_ROUND * PAYLOAD);
            let is_rest = |line: &&Line<'_>| {
                line.missing == gone.len() as u64 && rest.starts_with(&line.to_string())
            };
            assert!(lines.iter().all(is_rest), "{lines:?}");
        }
        if self.name.starts_with("an error") && fate != Fate::Died {
            // Overwriting does not erase every trace.
            let is_begun = |line: &&&Line<'_>| {
                line.bytes
                    .starts_with(&expected[0].as_bytes()[..expected[0].len().min(self.payload())])
            };
            assert_eq!(lines.iter().filter(is_begun).count(), 1, "{lines:?}");
        }
        if self.policy == Policy::Block {
            assert_eq!(lost, 0);
            let whole = lines.iter().filter(|line| is_whole(line)).count();
            let ends_open = self.name.contains("unfinished");
            assert!(fate == Fate::Died || ends_open || whole == lines.len(), "{lines:?}");
        }
    }

    /// A ring in which the child is dead.
    fn judge_dead(&self, ring: &LineRing, fate: Fate) {
        let mut others = Others::new(ring, true);
        others.write_two_laps(self.policy);
        let written = others.written;
        let items = others.finish();
        self.judge(ring, &items, written, fate);
    }
}

/// The order ring and the cells have each slot exactly once, and no cell is in the middle of an
/// exchange.
fn assert_slots_are_conserved(ring: &LineRing) {
    let bytes = bytes_of(ring);
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let number =
        |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
    let (positions, cells, tickets) = (1 << number(24), number(28), number(32));
    let first_cell = (768 + tickets * 64_usize).next_multiple_of(128);
    let order = first_cell + cells * 256;
    let mut slots: Vec<u64> =
        (0..positions).map(|index| word(order + index * 8) & 0xff_ffff).collect();
    for cell in 0..cells {
        let hold = word(first_cell + cell * 256);
        assert_eq!(hold >> 48 & 1, 0, "cell {cell} is settled");
        slots.push(hold & 0xff_ffff);
    }
    slots.sort_unstable();
    assert!(
        slots.iter().copied().eq(0..(positions + cells) as u64),
        "each slot is in one place: {slots:?}"
    );
}

// -------------------------------------------------------------------------------------------
// tracing

/// What a run of an operation came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    instructions: usize,
    states: usize,
    kills: usize,
    stops: usize,
}

impl Operation {
    /// Steps a child until `wanted` says so, which is told the number of instructions and changes
    /// so far; `false` if the operation was over before.
    fn step_until(
        &self,
        ring: &LineRing,
        child: &Traced,
        mut wanted: impl FnMut(usize, usize, &State) -> bool,
    ) -> bool {
        let mut state = State::of(ring);
        let (mut instructions, mut changes) = (0, 0);
        while instructions < self.most && child.step() == Stop::Step {
            instructions += 1;
            let is_change = state.has_changed();
            changes += usize::from(is_change);
            if wanted(instructions, if is_change { changes } else { 0 }, &state) {
                return true;
            }
        }
        false
    }

    fn show(&self) -> Tally {
        let mut tally = Tally::default();
        // Every change, with a copy.
        let Stage { ring, keepers } = self.stage();
        let child = self.start(&ring);
        self.judge_dead(&copy(&bytes_of(&ring)), Fate::Died);
        let over = self.step_until(&ring, &child, |instructions, change, state| {
            tally.instructions = instructions;
            if change > 0 {
                tally.states = change;
                self.judge_dead(&copy(&state.bytes), Fate::Died);
            }
            false
        });
        assert!(!over);
        let returns = self.most == usize::MAX;
        if returns {
            self.judge_dead(&copy(&bytes_of(&ring)), Fate::DiedAfter);
        }
        child.kill();
        drop(keepers);
        self.judge_dead(&ring, if returns { Fate::DiedAfter } else { Fate::Died });
        // A kill at every change,
        for wanted in 1..=tally.states {
            let Stage { ring, keepers } = self.stage();
            let child = self.start(&ring);
            self.step_until(&ring, &child, |_, change, _| change == wanted);
            child.kill();
            drop(keepers);
            self.judge_dead(&ring, Fate::Died);
            tally.kills += 1;
        }
        // and at some of the other instructions.
        for sample in 0..SAMPLES.min(tally.instructions) {
            let wanted = 1 + sample * tally.instructions / SAMPLES;
            let Stage { ring, keepers } = self.stage();
            let child = self.start(&ring);
            self.step_until(&ring, &child, |instructions, _, _| instructions == wanted);
            child.kill();
            drop(keepers);
            self.judge_dead(&ring, Fate::Died);
            tally.kills += 1;
        }
        // It stands still at every change, and goes on two laps later.
        for wanted in 1..=tally.states {
            let Stage { ring, keepers } = self.stage();
            let child = self.start(&ring);
            if self.step_until(&ring, &child, |_, change, _| change == wanted) {
                if self.reads {
                    self.read_on_after_others(&ring, child);
                } else {
                    self.go_on_after_two_laps(&ring, keepers, child);
                }
                tally.stops += 1;
            }
        }
        tally
    }

    /// A child that reads goes on after others have written, as much as they can without it.
    fn read_on_after_others(&self, ring: &LineRing, child: Traced) {
        assert!(ring.reader().is_err(), "it lives");
        let mut others = Others::new(ring, false);
        if self.policy != Policy::Block {
            others.write_two_laps(self.policy);
        }
        others.mirrors.clear();
        assert_eq!(child.resume(), Stop::Mark);
        assert_eq!(child.resume(), Stop::Exit(0), "it reads to the end");
        std::mem::forget(child);
        let mut reader = ring.reader().expect("nobody reads");
        // A child that only became the reader has read nothing.
        let log = Log::of_this_test();
        if log.maybe.load(SeqCst) > 0 {
            assert_eq!(reader.try_recv().expect("ours"), None);
            assert!(reader.is_over());
            if self.policy == Policy::Block {
                self.judge_reader(&[]);
            }
        }
        drop(reader);
        assert_slots_are_conserved(ring);
    }

    fn go_on_after_two_laps(&self, ring: &LineRing, keepers: Vec<LineProcMirror>, child: Traced) {
        // In a crowded ring there is no cell for others before the keepers leave.
        drop(keepers);
        let mut others = Others::new(ring, true);
        others.write_two_laps(self.policy);
        child.go_on_alone();
        let code = loop {
            others.drain();
            match child.has_stopped() {
                Some(Stop::Mark) => child.go_on_alone(),
                Some(Stop::Exit(code)) => break code,
                _ => std::thread::yield_now(),
            }
        };
        std::mem::forget(child);
        assert_eq!(code, 0, "it succeeds, however late");
        let written = others.written;
        let items = others.finish();
        self.judge(ring, &items, written, Fate::Ended);
    }
}

/// How many instructions between changes are tried of each operation.
const SAMPLES: usize = 8;

fn show_all(processor: usize, operations: Vec<Operation>) {
    let began = Instant::now();
    let mut all = Tally::default();
    for operation in operations {
        let tally = operation.show();
        println!(
            "{:>32}, {:?}: {tally:?}, {:.1?}",
            operation.name,
            operation.policy,
            began.elapsed()
        );
        assert!(tally.states > 0, "it changes something");
        all.instructions += tally.instructions;
        all.states += tally.states;
        all.kills += tally.kills;
        all.stops += tally.stops;
    }
    println!("in all, on processor {processor}: {all:?}");
}

#[test]
fn a_writer_that_dies_or_stands_still_at_any_instruction_hurts_nobody() {
    stay_on_processor(0);
    show_all(0, writers());
}

#[test]
fn a_reader_that_dies_or_stands_still_at_any_instruction_loses_nothing() {
    stay_on_processor(0);
    show_all(0, readers());
}

/// One stands still at a change and another is killed at one, for each pair of changes; the first
/// goes on two laps later.
fn show_pairs(stands: &Operation, dies: &Operation) -> usize {
    let mut pairs = 0;
    for stopped_at in 0..=stands.changes() {
        for killed_at in 0..=dies.changes() {
            let Stage { ring, .. } = stands.stage();
            let (stopped, killed) = (stands.start(&ring), dies.start(&ring));
            let at = |wanted: usize| move |_: usize, change: usize, _: &State| change == wanted;
            if stopped_at > 0 {
                stands.step_until(&ring, &stopped, at(stopped_at));
            }
            if killed_at > 0 {
                dies.step_until(&ring, &killed, at(killed_at));
            }
            killed.kill();
            // Judged as what they are together.
            let victim = (!dies.reads).then(|| (Box::new(dies.clone()), killed_at));
            let both = Operation { reads: stands.reads || dies.reads, victim, ..stands.clone() };
            if stands.reads {
                both.read_on_after_others(&ring, stopped);
            } else {
                both.go_on_after_two_laps(&ring, Vec::new(), stopped);
            }
            pairs += 1;
        }
    }
    println!(
        "{} stands still, {} dies, {:?}: {pairs} pairs",
        stands.name, dies.name, stands.policy
    );
    pairs
}

#[test]
fn one_that_dies_beside_one_that_stands_still_hurts_nobody() {
    stay_on_processor(1);
    let mut pairs = 0;
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let first = Operation { policy, ..writing("a writer", open, write_short, &["short"]) };
        let second =
            Operation { policy, ..writing("another", open_victim, write_short, &["short"]) };
        pairs += show_pairs(&first, &second);
    }
    let writer = writing("a writer", open, write_short, &["short"]);
    let victim = writing("a writer", open_victim, write_short, &["short"]);
    let reader = Operation { before: 2, ..reading("the reader", Policy::Block, read_singly) };
    pairs += show_pairs(&reader, &Operation { before: 2, ..victim });
    pairs += show_pairs(&Operation { before: 2, ..writer }, &reader);
    println!("in all: {pairs} pairs");
}

#[test]
fn a_part_of_a_line_that_has_gone_round_is_nobodys_last_words() {
    stay_on_processor(1);
    let text: String =
        (0..=PARTS_OF_A_ROUND).map(part_of_round).chain(["rest".to_owned()]).collect();
    let act: fn(&LineRing, &mut Hands) -> bool =
        |_, hands| hands.mirror().write_all(b"rest").is_ok();
    let round = writing(ROUND, open_and_write_round, act, &[&text]);
    show_all(1, vec![Operation { before: 0, ..round }]);
}

/// Reads in a thread of its own, asleep when nothing is there, until the child's end was told.
fn read_asleep(ring: &LineRing) -> Receiver<Item<'static>> {
    let (tell, told) = channel();
    let ring = ring.clone();
    std::thread::spawn(move || {
        let mut reader = ring.reader().expect("nobody reads");
        reader.set_spinning(false);
        while let Ok(Some(item)) = reader.recv_timeout(PATIENCE) {
            let is_end = matches!(&item, Item::Ended(ended) if ended.label == "child");
            if tell.send(item.into_owned()).is_err() || is_end {
                break;
            }
        }
    });
    told
}

#[test]
fn a_reader_that_sleeps_sees_the_line_and_the_death_of_one_who_did_not_wake_it() {
    stay_on_processor(0);
    let write =
        Operation { before: 0, ..writing("", open_beside_a_sleeper, write_short, &["short"]) };
    let Stage { ring, .. } = write.stage();
    let child = write.start(&ring);
    let mut at_changes = Vec::new();
    write.step_until(&ring, &child, |instructions, change, _| {
        at_changes.extend((change > 0).then_some(instructions));
        false
    });
    assert!(at_changes.len() > 5, "{at_changes:?}");
    drop(child);
    let write = Operation { prepare: open, ..write };
    let mut published = 0;
    for instructions in at_changes {
        let Stage { ring, .. } = write.stage();
        let child = write.start(&ring);
        let told = read_asleep(&ring);
        let next = || told.recv_timeout(PATIENCE).expect("it does not sleep for ever");
        // The one that was there before, who is gone.
        assert!(matches!(next(), Item::Ended(ended) if ended.label == "before"));
        let at = READER_SLEEPS as usize;
        while bytes_of(&ring)[at] == 0 {
            std::thread::yield_now();
        }
        write.step_until(&ring, &child, |now, _, _| now == instructions);
        let is_line = |item: &Item<'_>| item.line().is_some_and(|line| line.to_string() == "short");
        // In a copy its writer is dead: what was not published comes flagged.
        let mut reader = copy(&bytes_of(&ring)).reader().expect("nobody lives in a copy");
        let first = reader.try_recv().expect("ours");
        let is_published = first.is_some_and(|item| item.line().is_some_and(is_whole));
        published += usize::from(is_published);
        if is_published {
            // While the writer stands still.
            assert!(is_line(&next()));
        }
        child.kill();
        let last = match next() {
            last_words if !is_published && is_line(&last_words) => next(),
            last => last,
        };
        assert!(matches!(&last, Item::Ended(ended) if ended.end == End::Died), "{last:?}");
    }
    assert!(published > 0, "none of these was late enough");
}

#[test]
fn whoever_buries_the_dead_may_die_or_stand_still_at_any_instruction_too() {
    stay_on_processor(1);
    show_all(1, buriers());
}
