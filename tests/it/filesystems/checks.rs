//! The promises that rest on a file system, as checks that run on each.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::yield_now;

use linering::{
    CreateError, End, Item, LineProcMirror, LineRing, MirrorError, Observer, Options, ReadError,
    Reader,
};

use super::processes::{await_stop, counters, new_ring, small, stop, through_all_trials};
use crate::common::{Child, fork, wait_for_the_end};

fn has_reader(ring: &LineRing) -> bool {
    matches!(ring.reader(), Err(ReadError::HasReader { .. }))
}

pub(super) fn a_reader_is_judged_rightly(place: &Path) {
    let (path, ring) = new_ring(place, "reader", small());
    let by_path = || LineRing::open_file(&path).expect("a ring");
    let own = ring.reader().expect("the first");
    assert!(has_reader(&ring) && has_reader(&by_path()), "this process itself reads");
    drop(own);
    let open = || {
        let ring = by_path();
        let reader = ring.reader().ok()?;
        (has_reader(&ring) && has_reader(&by_path())).then_some((ring, reader))
    };
    through_all_trials(open, |trial| {
        assert!(has_reader(&ring), "a reader {trial} is taken for dead");
        let status = fork(|| u8::from(!has_reader(&by_path()))).status();
        assert!(
            status.success(),
            "a reader {trial} is taken for dead by a process that opened the file: {status}"
        );
    });
    let status = fork(|| u8::from(by_path().reader().is_err())).status();
    assert!(
        status.success(),
        "a killed reader is taken for alive by a process that opened the file: {status}"
    );
    assert!(ring.reader().is_ok(), "a killed reader is taken for alive");
}

fn items_of(reader: &mut Reader) -> Vec<Item<'static>> {
    let mut items = Vec::new();
    while let Some(item) = reader.try_recv().expect("ours") {
        items.push(item.into_owned());
    }
    items
}

fn is_death(item: &Item<'_>) -> bool {
    matches!(item, Item::Ended(ended) if ended.end == End::Died)
}

pub(super) fn a_writer_is_judged_rightly(place: &Path) {
    let (path, ring) = new_ring(place, "writer", small());
    let by_path = || LineRing::open_file(&path).expect("a ring");
    let open = || {
        let mut mirror = by_path().mirror().ok()?;
        mirror.write_line(b"line").ok()?;
        Some(mirror)
    };
    let mut lines = 0;
    through_all_trials(open, |trial| {
        // A new reader looks for the dead at once; so does a new mirror that finds no free cell.
        let items = items_of(&mut ring.reader().expect("no other"));
        assert!(!items.iter().any(is_death), "a writer {trial} is taken for dead");
        lines += items.iter().filter(|item| item.line().is_some()).count();
        let other = fork(|| {
            let ring = by_path();
            let Ok(_other) = ring.mirror() else { return 1 };
            u8::from(!matches!(ring.mirror(), Err(MirrorError::TooManyMirrors { .. }))) * 2
        });
        assert_eq!(other.status().code(), Some(0), "a writer {trial} lost its cell");
    });
    assert_eq!(lines, 1, "its line came once");
    let mut deaths = 0;
    // The alarm is the limit; others ended in between.
    while deaths == 0 {
        deaths += items_of(&mut ring.reader().expect("no other"))
            .iter()
            .filter(|item| is_death(item))
            .count();
    }
    assert_eq!((deaths, ring.counts().live), (1, 0));
    let all: Vec<LineProcMirror> =
        (0..2).map(|_| ring.mirror().expect("the dead one's cell")).collect();
    drop(all);
}

const WRITERS: usize = 8;
const LINES: u64 = 300;

/// A line of this writer that cannot be taken for any other, of a length of its own.
fn line_of(writer: usize, number: u64) -> String {
    let length = (number % 90) as usize;
    format!("{writer} {number} {}", "x".repeat(length))
}

/// Who wrote it, and its number; a failure if a part of it is missing or another's.
fn read_line(line: &linering::Line<'_>) -> (usize, u64) {
    let found = line.to_string();
    let mut words = found.split(' ').map(str::parse);
    let (Some(Ok(writer)), Some(Ok(number))) = (words.next(), words.next()) else {
        panic!("no line of these: {found}")
    };
    assert_eq!(found, line_of(writer as usize, number), "it is whole");
    (writer as usize, number)
}

pub(super) fn late_writers_are_read_beside_a_stranger(place: &Path) {
    let options = Options::new().lines(8).line_bytes(64).max_line(200).mirrors(WRITERS).seats(64);
    let (path, ring) = new_ring(place, "late", options);
    let mut reader = ring.reader().expect("the first");
    let counters = counters();
    let [tries, successes] = [&counters[0], &counters[1]];
    let stranger = fork(|| {
        loop {
            let taken = LineRing::open_file(&path).is_ok_and(|ring| !has_reader(&ring));
            let replaced =
                !matches!(LineRing::create_file(&path, small()), Err(CreateError::Taken { .. }));
            let looked = Observer::open_file(&path)
                .map(|observer| observer.snapshot())
                .is_ok_and(|items| items.is_ok_and(|items| items.len() <= 1 << 10));
            successes.fetch_add(u64::from(taken || replaced || !looked), SeqCst);
            tries.fetch_add(1, SeqCst);
        }
    });
    while tries.load(SeqCst) == 0 {
        yield_now();
    }
    let writers: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork(|| {
                let Ok(mut mirror) = LineRing::open_file(&path).map(|ring| ring.mirror()) else {
                    return 1;
                };
                let Ok(mirror) = &mut mirror else { return 2 };
                for number in 0..LINES {
                    if mirror.write_line(line_of(writer, number).as_bytes()).is_err() {
                        return 3;
                    }
                }
                u8::from(mirror.send_eof().is_err()) * 4
            })
        })
        .collect();
    let (mut next, mut ends) = ([0; WRITERS], 0);
    while ends < WRITERS {
        let Some(item) = reader.recv().expect("ours").map(Item::into_owned) else {
            // None of them has come yet, or the next has not.
            yield_now();
            continue;
        };
        match item {
            Item::Line(line) => {
                let (writer, number) = read_line(&line);
                assert_eq!(number, next[writer], "line of writer {writer}, in order and once");
                next[writer] += 1;
            }
            Item::Ended(ended) if ended.end == End::Eof => ends += 1,
            other => panic!("expected lines and EOFs: {other}"),
        }
    }
    writers.into_iter().for_each(Child::succeeds);
    assert_eq!(next, [LINES; WRITERS]);
    stranger.end();
    assert_eq!(
        successes.load(SeqCst),
        0,
        "the stranger became the reader, took the path away, or could not look"
    );
}

pub(super) fn a_successor_finds_what_was_acknowledged(place: &Path) {
    // In one part each: of a line of several, a successor gets what the reader before had not
    // taken.
    let options = Options::new().lines(64).line_bytes(192).mirrors(WRITERS).seats(64);
    let path = place.join("killed");
    let counters = counters();
    let (acknowledged, read) = counters.split_at(WRITERS);
    let maker = fork(|| {
        // Its own handle dies with it, as all others.
        let Ok(_ring) = LineRing::create_file(&path, options) else { return 1 };
        stop();
        wait_for_the_end()
    });
    await_stop(&maker).expect("it makes a ring");
    let mut all: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            fork(|| {
                let Ok(mut mirror) = LineRing::open_file(&path).map(|ring| ring.mirror()) else {
                    return 1;
                };
                let Ok(mirror) = &mut mirror else { return 2 };
                for number in 0.. {
                    if mirror.write_line(line_of(writer, number).as_bytes()).is_err() {
                        return 3;
                    }
                    acknowledged[writer].store(number + 1, SeqCst);
                }
                4
            })
        })
        .collect();
    all.push(fork(|| {
        let Ok(ring) = LineRing::open_file(&path) else { return 1 };
        let Ok(mut reader) = ring.reader() else { return 2 };
        loop {
            if let Ok(Some(Item::Line(line))) = reader.recv() {
                let (writer, number) = read_line(&line);
                read[writer].store(number + 1, SeqCst);
            }
        }
    }));
    all.push(maker);
    while read.iter().map(|read| read.load(SeqCst)).sum::<u64>() < 1000 {
        yield_now();
    }
    all.iter().for_each(Child::kill);
    all.into_iter().for_each(Child::end);
    let found = counters_of_successor(&path, read);
    for (writer, found) in found.into_iter().enumerate() {
        let known = acknowledged[writer].load(SeqCst);
        assert!(
            found == known || found == known + 1,
            "writer {writer} was told that {known} lines are safe, and {found} came"
        );
    }
}

/// How many lines of each writer there are, those included that the reader before had.
fn counters_of_successor(path: &Path, read: &[AtomicU64]) -> Vec<u64> {
    let ring = LineRing::open_file(path).expect("it stays");
    let mut next: Vec<Option<u64>> = vec![None; WRITERS];
    for item in ring.reader().expect("its reader is dead") {
        match item.expect("ours") {
            Item::Line(line) => {
                let (writer, number) = read_line(&line);
                let had = read[writer].load(SeqCst);
                match next[writer] {
                    // What was handed out and not accepted comes again.
                    None => {
                        assert!(
                            number == had || number + 1 == had,
                            "{had} lines were read, then {number}"
                        )
                    }
                    Some(next) => {
                        assert_eq!(number, next, "line of writer {writer}, in order and once")
                    }
                }
                next[writer] = Some(number + 1);
            }
            Item::Ended(ended) => assert_eq!(ended.end, End::Died),
            other => panic!("expected lines and deaths: {other}"),
        }
    }
    next.into_iter().zip(read).map(|(next, read)| next.unwrap_or(read.load(SeqCst))).collect()
}
