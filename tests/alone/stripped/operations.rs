//! The operations of writers and readers that are tried in each stripped process.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use linering::{
    End, Item, LineProcMirror, LineRing, Observer, Options, Policy, Reader, Seat, WriteError,
};

use super::GRACE;
use crate::common::{Child, Gate, fork, wait_for_the_end};

/// What a process has before something is taken from it.
pub(super) struct Held {
    pub(super) ring: LineRing,
    pub(super) mirror: Option<LineProcMirror>,
    pub(super) reader: Option<Reader>,
    pub(super) seat: Option<Seat>,
    /// A place for what it makes, and a name.
    pub(super) place: PathBuf,
    pub(super) name: String,
}

impl Held {
    pub(super) fn mirror(&mut self) -> &mut LineProcMirror {
        self.mirror.as_mut().expect("it has one")
    }

    pub(super) fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("it has one")
    }
}

pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) options: fn(Options) -> Options,
    pub(super) prepare: fn(&mut Held),
    pub(super) act: fn(&mut Held) -> Result<(), String>,
}

/// Any error will do that says something.
pub(super) fn value_or_sentence<T, E: std::fmt::Display>(
    result: Result<T, E>,
) -> Result<(), String> {
    match result {
        Err(error) if error.to_string().is_empty() => Err("an error without a sentence".to_owned()),
        _ => Ok(()),
    }
}

pub(super) fn told<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

const SAME: fn(Options) -> Options = |options| options;
const NOTHING: fn(&mut Held) = |_| {};

pub(super) fn write_four(held: &mut Held) {
    let mirror = held.mirror.insert(held.ring.mirror().expect("a mirror"));
    (0..4).for_each(|line| mirror.write_line(line.to_string().as_bytes()).expect("room"));
}

fn with_mirror(held: &mut Held) {
    held.mirror = Some(held.ring.mirror().expect("a mirror"));
}

/// A process that becomes the reader, says so, and goes on with `then`. It ends with the test.
pub(super) fn reading_peer(held: &Held, then: fn(&mut Reader) -> u8) -> Child {
    let gate = Gate::new();
    let child = fork(|| {
        let Ok(mut reader) = held.ring.reader() else { return 1 };
        gate.open();
        then(&mut reader)
    });
    gate.pass();
    child
}

fn expect_gone(held: &mut Held) -> Result<(), String> {
    for _ in 0..2 {
        match held.mirror().write_line(b"one more") {
            Err(WriteError::ReaderGone(GRACE)) => {}
            other => return Err(format!("expected that the reader is gone: {other:?}")),
        }
    }
    Ok(())
}

const PATIENT: Duration = Duration::from_millis(800);
/// As many lines as a slow reader takes in more than that time.
const SLOWLY: usize = 16;

fn read_slowly(reader: &mut Reader) -> u8 {
    // The time between two lines is what is tried here, not a wait for anything.
    while matches!(reader.recv(), Ok(Some(_))) {
        std::thread::sleep(PATIENT / 10);
    }
    0
}

pub(super) const WRITING: [Operation; 11] = [
    Operation {
        name: "writes, appends and flushes on a ring with room",
        options: SAME,
        prepare: with_mirror,
        act: |held| {
            let mirror = held.mirror();
            mirror.write_line(b"line").map_err(told)?;
            mirror.write_all(b"second\nunfini").and_then(|()| mirror.flush()).map_err(told)?;
            mirror.write_all(b"shed").map_err(told)?;
            mirror.finish_line().map_err(told)
        },
    },
    Operation {
        name: "ends with an EOF",
        options: SAME,
        prepare: with_mirror,
        act: |held| held.mirror().send_eof().map_err(told),
    },
    Operation {
        name: "ends with an error",
        options: SAME,
        prepare: with_mirror,
        act: |held| held.mirror().send_error(&io::Error::other("reason")).map_err(told),
    },
    Operation {
        name: "drops its mirror and ring",
        options: SAME,
        prepare: with_mirror,
        act: |held| {
            drop(held.mirror.take());
            Ok(())
        },
    },
    Operation {
        name: "writes into a full ring whose reader died",
        options: |options| options.reader_grace(GRACE),
        prepare: |held| {
            write_four(held);
            let reader = reading_peer(held, |_| 0);
            reader.succeeds();
        },
        act: expect_gone,
    },
    Operation {
        name: "writes into a full ring that never had a reader",
        options: |options| options.reader_grace(GRACE),
        prepare: write_four,
        act: expect_gone,
    },
    Operation {
        name: "writes into a ring that is read slowly, for longer than the grace time",
        options: |options| options.reader_grace(PATIENT),
        prepare: |held| {
            write_four(held);
            reading_peer(held, read_slowly);
        },
        act: |held| {
            (0..SLOWLY).try_for_each(|_| held.mirror().write_line(b"one more").map_err(told))
        },
    },
    Operation {
        name: "writes into a full ring with a limit of its own and an idle reader",
        options: |options| options.block_limit(GRACE),
        prepare: |held| {
            write_four(held);
            reading_peer(held, |_| wait_for_the_end());
        },
        act: |held| match held.mirror().write_line(b"one more") {
            Err(WriteError::TimedOut(GRACE)) => Ok(()),
            other => Err(format!("expected that the time is over: {other:?}")),
        },
    },
    Operation {
        name: "drops the newest line of a full ring",
        options: |options| options.policy(Policy::DropNewest),
        prepare: write_four,
        act: |held| held.mirror().write_line(b"one more").map_err(told),
    },
    Operation {
        name: "overwrites the oldest line of a full ring",
        options: |options| options.policy(Policy::OverwriteOldest),
        prepare: write_four,
        act: |held| held.mirror().write_line(b"one more").map_err(told),
    },
    Operation {
        name: "opens its mirror again",
        options: SAME,
        prepare: with_mirror,
        act: |held| value_or_sentence(held.mirror().reopen()),
    },
];

pub(super) const OPENING: [Operation; 9] = [
    Operation {
        name: "opens a mirror",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(held.ring.mirror()),
    },
    Operation {
        name: "keeps a seat",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(held.ring.seat()),
    },
    Operation {
        name: "opens a seat",
        options: SAME,
        prepare: |held| held.seat = Some(held.ring.seat().expect("a seat")),
        act: |held| value_or_sentence(held.seat.as_ref().expect("it has one").open()),
    },
    Operation {
        name: "becomes the reader",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(held.ring.reader()),
    },
    Operation {
        name: "attaches",
        options: SAME,
        prepare: NOTHING,
        act: |held| match held.ring.descriptor() {
            Ok(descriptor) => value_or_sentence(LineRing::attach(descriptor)),
            Err(error) => value_or_sentence::<(), _>(Err(error)),
        },
    },
    Operation {
        name: "observes",
        options: SAME,
        prepare: write_four,
        act: |held| match held.ring.descriptor() {
            Ok(descriptor) => match Observer::attach(descriptor) {
                Ok(observer) => value_or_sentence(observer.snapshot()),
                Err(error) => value_or_sentence::<(), _>(Err(error)),
            },
            Err(error) => value_or_sentence::<(), _>(Err(error)),
        },
    },
    Operation {
        name: "makes a ring in memory",
        options: SAME,
        prepare: NOTHING,
        act: |_| value_or_sentence(LineRing::new(Options::new())),
    },
    Operation {
        name: "makes a ring with a name",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(LineRing::create_named(&held.name, Options::new())),
    },
    Operation {
        name: "makes a ring in a file",
        options: SAME,
        prepare: NOTHING,
        act: |held| value_or_sentence(LineRing::create_file(&held.place, Options::new())),
    },
];

/// How one line or end of a ring is seen; an error, or a word for the time that is over.
pub(super) fn item_of(item: Result<Option<Item<'_>>, linering::ReadError>) -> String {
    match item {
        Ok(Some(Item::Line(line))) => line.to_string(),
        Ok(Some(Item::Ended(ended))) => format!("{:?}", ended.end),
        Ok(Some(other)) => other.to_string(),
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

/// A reader, and a process that has written a line, which lives on or ends without an end of its
/// mirror.
fn written_by_a_peer(held: &mut Held, lives: bool) {
    let reader = held.ring.reader().expect("the first");
    let gate = Gate::new();
    let child = fork(|| {
        let Ok(mut mirror) = held.ring.mirror() else { return 1 };
        if mirror.write_line(b"line").is_err() {
            return 2;
        }
        gate.open();
        if lives {
            wait_for_the_end();
        }
        std::mem::forget(mirror);
        0
    });
    gate.pass();
    if !lives {
        child.succeeds();
    }
    held.reader = Some(reader);
}

pub(super) const READING: [Operation; 3] = [
    Operation {
        name: "reads lines and an EOF in each way, to the end",
        options: SAME,
        prepare: |held| {
            write_four(held);
            drop(held.mirror.take());
            held.reader = Some(held.ring.reader().expect("the first"));
        },
        act: |held| {
            let reader = held.reader();
            let mut seen = vec![item_of(reader.try_recv()), item_of(reader.recv())];
            reader.commit().map_err(told)?;
            seen.push(item_of(reader.recv_timeout(GRACE)));
            seen.extend((0..3).map(|_| item_of(reader.recv())));
            let expected = ["0", "1", "2", "3", "Eof", "nothing"];
            if seen == expected { Ok(()) } else { Err(format!("expected {expected:?}: {seen:?}")) }
        },
    },
    Operation {
        name: "reads what a living writer wrote, and waits",
        options: SAME,
        prepare: |held| written_by_a_peer(held, true),
        act: |held| {
            // Longer than it takes until locks are tried.
            let seen = [(); 3].map(|()| item_of(held.reader().recv_timeout(GRACE)));
            let is_told = |seen: &String| seen == "nothing" || seen.starts_with("error: ");
            let lines = seen.iter().filter(|seen| *seen == "line").count();
            let rest = seen.iter().filter(|seen| *seen != "line").all(is_told);
            if lines == 1 && rest { Ok(()) } else { Err(format!("expected a line: {seen:?}")) }
        },
    },
    Operation {
        name: "reads what a dead writer wrote, with time limits",
        options: SAME,
        prepare: |held| written_by_a_peer(held, false),
        act: |held| {
            let seen: Vec<_> = (0..5).map(|_| item_of(held.reader().recv_timeout(GRACE))).collect();
            let died = format!("{:?}", End::Died);
            let is_told =
                |seen: &String| *seen == died || seen == "nothing" || seen.starts_with("error: ");
            let lines = seen.iter().filter(|seen| *seen == "line").count();
            let rest = seen.iter().filter(|seen| *seen != "line").all(is_told);
            if lines == 1 && rest {
                Ok(())
            } else {
                Err(format!("expected a line and an end: {seen:?}"))
            }
        },
    },
];

pub(super) const AWAITING: [Operation; 1] = [Operation {
    name: "waits without a time limit for the end of a dead writer",
    options: SAME,
    prepare: |held| written_by_a_peer(held, false),
    act: |held| {
        let died = format!("{:?}", End::Died);
        for _ in 0..4 {
            let seen = item_of(held.reader().recv());
            if seen == died || seen.starts_with("error: ") {
                return Ok(());
            }
        }
        Err("its end did not come".to_owned())
    },
}];
