//! The operations whose every instruction is tried, and what a traced child does for each.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use linering::{Item, LineProcMirror, LineRing, Policy, Reader, Seat};

use super::{LINES, PAYLOAD};

/// What a child holds while it is traced.
#[derive(Default)]
pub(super) struct Hands {
    pub(super) mirror: Option<LineProcMirror>,
    pub(super) seat: Option<Seat>,
    pub(super) reader: Option<Reader>,
}

impl Hands {
    pub(super) fn mirror(&mut self) -> &mut LineProcMirror {
        self.mirror.as_mut().expect("it was opened before")
    }
}

/// Something that a process does with a ring.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) policy: Policy,
    /// Lines that another writer has written before, which no reader has taken.
    pub(super) before: usize,
    /// What the child does before it is traced.
    pub(super) prepare: fn(&LineRing, &mut Hands),
    /// What is traced; `false` if it failed.
    pub(super) act: fn(&LineRing, &mut Hands) -> bool,
    /// The child's lines.
    pub(super) lines: Vec<String>,
    /// Instructions after which it is left alone: it waits for others for ever.
    pub(super) most: usize,
    /// The child is the reader.
    pub(super) reads: bool,
    /// Another process was killed before, at this change of this operation of its own.
    pub(super) victim: Option<(Box<Operation>, usize)>,
    /// All cells but that process's belong to mirrors that live.
    pub(super) crowded: bool,
    /// Slots have checksums, and so 8 bytes less for a line.
    pub(super) checksums: bool,
}

fn nothing(_: &LineRing, _: &mut Hands) {}

pub(super) fn open(ring: &LineRing, hands: &mut Hands) {
    hands.mirror = Some(ring.mirror_labelled("child").expect("a mirror"));
}

fn open_and_begin(ring: &LineRing, hands: &mut Hands) {
    open(ring, hands);
    hands.mirror().write_all(b"unfi").expect("room");
}

/// The word that says that the reader sleeps, in bytes from the segment's start.
pub(super) const READER_SLEEPS: u64 = 384;

/// The writer is the one to wake the reader.
pub(super) fn open_beside_a_sleeper(ring: &LineRing, hands: &mut Hands) {
    open(ring, hands);
    let descriptor =
        ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor is free");
    File::from(descriptor).write_all_at(&1_u32.to_ne_bytes(), READER_SLEEPS).expect("room");
}

/// Parts of one line, until they have come round: the slot that the next one is exchanged for has
/// the line's first part. They are read meanwhile, by a reader that is gone then.
pub(super) fn open_and_write_round(ring: &LineRing, hands: &mut Hands) {
    open(ring, hands);
    let mut reader = ring.reader().expect("no other reader");
    for part in 0..=PARTS_OF_A_ROUND {
        while reader.try_recv().expect("ours").is_some() {}
        // The last one stays in the spare.
        hands.mirror().write_all(part_of_round(part).as_bytes()).expect("room");
    }
    while reader.try_recv().expect("ours").is_some() {}
}

/// After these, the next entry has the slot of the first of them.
pub(super) const PARTS_OF_A_ROUND: usize = LINES + 1;

pub(super) fn part_of_round(part: usize) -> String {
    format!("{part:<PAYLOAD$}")
}

/// Longer than two slots.
const LONG: &str = "a line of three parts, which is longer than two slots with their 32 bytes";

/// An operation of one who writes.
pub(super) fn writing(
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

pub(super) fn write_short(_: &LineRing, hands: &mut Hands) -> bool {
    hands.mirror().write_line(b"short").is_ok()
}

/// An operation of one who reads.
pub(super) fn reading(
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
pub(super) fn read_singly(_: &LineRing, hands: &mut Hands) -> bool {
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
pub(super) struct Log {
    /// Items that it has accepted for sure, and those that it may have.
    pub(super) sure: AtomicU64,
    pub(super) maybe: AtomicU64,
    /// The items, as [`code`]s.
    pub(super) items: [AtomicU64; 64],
}

impl Log {
    /// One for all children of this test, which run one at a time.
    pub(super) fn of_this_test() -> &'static Log {
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

    pub(super) fn clear(&self) {
        self.sure.store(0, SeqCst);
        self.maybe.store(0, SeqCst);
    }
}

/// Those who were there before a reading child. Not the others, who come later.
const EARLIER: [&str; 2] = ["before", "victim"];

/// An item in a word: whose it is, and which line of theirs, or their end. 0 for one of the
/// others'.
pub(super) fn code(item: &Item<'_>) -> u64 {
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

pub(super) const END: u64 = 0xfff;

pub(super) const ROUND: &str = "an unfinished line that has gone round";

pub(super) fn writers() -> Vec<Operation> {
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

pub(super) fn readers() -> Vec<Operation> {
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
pub(super) fn buriers() -> Vec<Operation> {
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

pub(super) fn open_victim(ring: &LineRing, hands: &mut Hands) {
    hands.mirror = Some(ring.mirror_labelled("victim").expect("a mirror"));
}

fn register(ring: &LineRing, hands: &mut Hands) -> bool {
    hands.mirror = ring.mirror_labelled("child").ok();
    hands.mirror.is_some()
}
