//! What who only looks at a ring sees of it.

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use linering::{
    AttachError, End, Item, Kind, Line, LineRing, LossCause, Observer, Options, Policy,
};

use crate::common::{fork, random, ring, small, wait_for_the_end};

fn look(ring: &LineRing) -> Vec<Item<'static>> {
    Observer::attach(ring.descriptor().expect("open"))
        .expect("a ring")
        .snapshot()
        .expect("the file stays whole")
}

fn texts(items: &[Item<'_>]) -> Vec<String> {
    items.iter().map(Item::to_string).collect()
}

/// All bytes of the ring's memory.
fn bytes(ring: &LineRing) -> Vec<u8> {
    let descriptor: BorrowedFd<'_> = ring.descriptor().expect("open");
    fs::read(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).expect("readable")
}

#[test]
fn lines_are_seen_taken_or_not_and_nothing_is_changed() {
    let ring = ring(small(8, Policy::Block));
    assert_eq!(look(&ring), []);
    let mut mirror = ring.mirror_labelled("first").expect("a mirror");
    for number in 0..4 {
        mirror.write_line(format!("line {number}").as_bytes()).expect("room");
    }
    mirror.write_all(b"unfinished").expect("room");
    let untouched = bytes(&ring);
    let seen = look(&ring);
    assert_eq!(texts(&seen), ["line 0", "line 1", "line 2", "line 3"]);
    assert_eq!(bytes(&ring), untouched);
    // Taken by a reader, they are seen until their slots are used again: the ring's, and the one in
    // the reader's hand.
    let mut reader = ring.reader().expect("no other");
    for line in &seen {
        assert_eq!(reader.recv().expect("ours").as_ref(), Some(line));
    }
    reader.commit().expect("ours");
    assert_eq!(look(&ring), seen);
    mirror.write_all(b" no more\n").expect("room");
    for number in 5..12 {
        mirror.write_line(format!("line {number}").as_bytes()).expect("room");
    }
    let seen = look(&ring);
    let labels: Vec<_> =
        seen.iter().filter_map(Item::line).map(|line| (line.writer_id, &*line.label)).collect();
    assert!(labels.iter().all(|label| *label == (0, "first")), "{labels:?}");
    let seen = texts(&seen);
    assert!(seen.len() >= 8 && seen.ends_with(&texts(&look(&ring))[seen.len() - 8..]), "{seen:?}");
    assert_eq!(seen[seen.len() - 8..][0], "unfinished no more");
    assert!((5..12).all(|number| seen.contains(&format!("line {number}"))));
}

#[test]
fn ends_are_seen_until_a_reader_has_accepted_them_and_names_for_longer() {
    let ring = ring(small(16, Policy::Block));
    let mut mirrors = ["a", "b", "c"].map(|label| ring.mirror_labelled(label).expect("a mirror"));
    for mirror in &mut mirrors {
        mirror.write_line(b"line").expect("room");
    }
    mirrors[0].send_eof().expect("room");
    mirrors[1].send_error(&std::io::Error::other("no good")).expect("room");
    ring.seat_labelled("d").expect("a seat").cancel();
    let ends = |items: &[Item<'_>]| -> Vec<(String, End, u64)> {
        let ended = items.iter().filter_map(|item| match item {
            Item::Ended(ended) => Some((ended.label.to_string(), ended.end, ended.lines)),
            _ => None,
        });
        ended.collect()
    };
    let seen = look(&ring);
    let expected = [("a", End::Eof, 1), ("b", End::Error, 2), ("d", End::Cancelled, 0)];
    assert_eq!(ends(&seen), expected.map(|(label, end, lines)| (label.to_owned(), end, lines)));
    let error = seen
        .iter()
        .filter_map(Item::line)
        .find(|line| line.kind == Kind::Error)
        .expect("its trace");
    assert_eq!((error.to_string().lines().next(), &*error.label), (Some("error: no good"), "b"));
    let mut reader = ring.reader().expect("no other");
    while reader.try_recv().expect("ours").is_some() {}
    let later = look(&ring);
    assert_eq!(ends(&later), []);
    let lines =
        |items: &[Item<'static>]| items.iter().filter_map(Item::line).cloned().collect::<Vec<_>>();
    assert_eq!(lines(&later), lines(&seen));
}

#[test]
fn a_label_carries_nothing_that_a_terminal_would_obey() {
    let ring = ring(small(8, Policy::Block));
    let mut mirror = ring.mirror_labelled("\u{1b}[31mred\n\u{9b}").expect("a mirror");
    mirror.write_line(b"line").expect("room");
    let seen = look(&ring);
    assert_eq!(seen[0].line().expect("a line").label, "\u{fffd}[31mred\u{fffd}\u{fffd}");
}

#[test]
fn what_is_lost_is_counted() {
    for (policy, cause) in [
        (Policy::DropNewest, LossCause::Dropped),
        (Policy::OverwriteOldest, LossCause::Overwritten),
    ] {
        let ring = ring(small(8, policy));
        let mut one = ring.mirror().expect("a mirror");
        let mut two = ring.mirror().expect("a mirror");
        for number in 0..20 {
            one.write_line(format!("one {number}").as_bytes()).expect("never full");
            two.write_line(format!("two {number}").as_bytes()).expect("never full");
        }
        drop((one, two));
        let seen = look(&ring);
        let lost = |worker: u32| -> u64 {
            let lost = seen.iter().filter_map(|item| match item {
                Item::Lost(lost) if lost.writer_id == worker && lost.cause == cause => {
                    Some(lost.lines)
                }
                _ => None,
            });
            lost.sum()
        };
        for worker in 0..2 {
            let lines =
                seen.iter().filter_map(Item::line).filter(|line| line.writer_id == worker).count()
                    as u64;
            assert_eq!((lines, lost(worker)), (4, 16), "{policy:?}: {:?}", texts(&seen));
            let ended = seen.iter().any(|item| {
                matches!(item, Item::Ended(ended) if (ended.writer_id, ended.lines, ended.lost) == (worker, 4, 16))
            });
            assert!(ended, "{seen:?}");
        }
    }
}

#[test]
fn long_lines_are_put_together_and_what_is_left_of_one_is_flagged() {
    let ring = ring(small(8, Policy::OverwriteOldest).max_line(128));
    let mut mirror = ring.mirror().expect("a mirror");
    let mut group = mirror.group().expect("it begins");
    for number in 0..6 {
        group.line(format!("line {number} of a group").as_bytes()).expect("room");
    }
    group.end().expect("room");
    let whole = (0..6).map(|number| format!("line {number} of a group\n")).collect::<String>();
    let seen = look(&ring);
    let line = seen[0].line().expect("a group");
    assert_eq!(
        (String::from_utf8_lossy(&line.bytes).into_owned(), line.kind),
        (whole.clone(), Kind::Text)
    );
    assert!(!line.truncated);
    // Its first parts are overwritten.
    for number in 0..6 {
        mirror.write_line(format!("{number}").as_bytes()).expect("it overwrites");
    }
    let seen = look(&ring);
    let line: &Line<'_> = seen[0].line().expect("what is left");
    assert!(
        line.truncated && line.missing > 0 && whole.as_bytes().ends_with(&line.bytes),
        "{line:?}"
    );
    assert_eq!(line.missing as usize + line.bytes.len(), whole.len());
    assert_eq!(texts(&seen)[1..], ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_ring_that_a_kill_has_left_is_read_from_its_file_and_is_as_it_was() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let (mut heard, mut said) = std::io::pipe().expect("a pipe");
    let child = fork(|| {
        let Ok(ring) = LineRing::create_file(&path, Options::new()) else { return 1 };
        let Ok(mut mirror) = ring.mirror_labelled("killed") else { return 2 };
        for number in 0..100 {
            if writeln!(mirror, "line {number}").is_err() {
                return 3;
            }
        }
        if mirror.write_all(b"last wor").is_err() || said.write_all(b"!").is_err() {
            return 4;
        }
        wait_for_the_end()
    });
    std::io::Read::read_exact(&mut heard, &mut [0]).expect("it has written");
    let expected: Vec<_> = (0..100).map(|number| format!("line {number}")).collect();
    let living = Observer::open_file(&path).expect("a ring");
    assert!(living.is_used());
    assert_eq!(texts(&living.snapshot().expect("the file stays whole")), expected);
    drop(living);
    child.end();
    let state = |path: &Path| {
        let data = fs::metadata(path).expect("a file");
        (fs::read(path).expect("readable"), data.mtime(), data.mtime_nsec())
    };
    let before = state(&path);
    let dead = Observer::open_file(&path).expect("a ring");
    assert!(!dead.is_used());
    let expected: Vec<_> = expected
        .into_iter()
        .chain(["last wor".to_owned(), "-- worker killed is gone, no EOF --".to_owned()])
        .collect();
    assert_eq!(texts(&dead.snapshot().expect("the file stays whole")), expected);
    let seen = dead.snapshot().expect("the file stays whole");
    let last = seen.iter().filter_map(Item::line).next_back().expect("its last words");
    assert!(last.unfinished && !seen[0].line().expect("a line").unfinished);
    assert!(state(&path) == before);
    // Cut short meanwhile, which would kill a process that maps it.
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(100)).expect("a file");
    assert_eq!(texts(&dead.snapshot().expect("the file stays whole")), expected);
    assert!(matches!(Observer::open_file(&path), Err(AttachError::TooSmall { found: 100, .. })));
}

#[test]
fn who_looks_lives_there() {
    let name = format!("linering-observe-{}", std::process::id());
    let ring = LineRing::create_named(&name, Options::new()).expect("a ring");
    let first = Observer::open_named(&name).expect("a ring");
    assert!(first.is_used());
    ring.mirror().expect("a mirror").write_line(b"line").expect("room");
    // The name is gone, the ring is not.
    let descriptor = ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor");
    drop(ring);
    let second = Observer::attach(&descriptor).expect("a ring");
    assert!(!second.is_used(), "the first one only looks");
    drop((first, second));
    assert!(!Observer::attach(&descriptor).expect("a ring").is_used());
    assert!(matches!(Observer::open_named(&name), Err(AttachError::System(_))));
}

/// A line that says who wrote it and which it is, over and over, so that a mix of two would show.
fn content(writer: usize, number: usize) -> String {
    format!("{writer}.{number};").repeat(1 + number % 12)
}

/// Tells the others that it is over.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn who_looks_while_others_write_and_read_sees_whole_lines_in_order() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(16, policy));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..2 {
                let mut mirror = ring.mirror_labelled(&writer.to_string()).expect("a mirror");
                let over = &over;
                scope.spawn(move || {
                    for number in 0.. {
                        if over.load(SeqCst) {
                            return;
                        }
                        mirror
                            .write_line(content(writer, number).as_bytes())
                            .expect("a reader reads");
                    }
                });
            }
            let ring = &ring;
            scope.spawn(move || {
                let mut reader = ring.reader().expect("no other");
                while reader.recv().expect("ours").is_some() {}
            });
            let observer = Observer::attach(ring.descriptor().expect("open")).expect("a ring");
            // Also if what follows fails.
            let _over = Over(&over);
            let (mut lines, mut looks) = (0, 0);
            while lines < 20_000 || looks < 500 {
                let mut last = None;
                let mut next = [0; 2];
                for line in
                    observer.snapshot().expect("the file stays whole").iter().filter_map(Item::line)
                {
                    if line.truncated {
                        continue;
                    }
                    assert!(
                        last.is_none_or(|last: u64| line.position.wrapping_sub(last) as i64 > 0)
                    );
                    last = Some(line.position);
                    let text = line.to_string();
                    let (writer, rest) = text.split_once('.').expect("a writer");
                    let number: usize =
                        rest.split_once(';').expect("a number").0.parse().expect("a number");
                    let writer: usize = writer.parse().expect("a number");
                    assert_eq!(text, content(writer, number), "{policy:?}");
                    assert_eq!(line.label, writer.to_string());
                    assert!(number >= next[writer], "{policy:?}: in its order");
                    next[writer] = number + 1;
                    lines += 1;
                }
                looks += 1;
            }
        });
    }
}

#[test]
fn whatever_bytes_a_dead_ring_has_a_look_at_it_ends() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let mut next = random();
    let mut seen = 0;
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(8, policy));
        let mut mirrors = ["a", "b"].map(|label| ring.mirror_labelled(label).expect("a mirror"));
        for number in 0..6 {
            mirrors[number % 2].write_line(content(0, number).as_bytes()).expect("room");
            if number == 2 {
                let mut reader = ring.reader().expect("no other reader");
                while reader.try_recv().expect("ours").is_some() {}
            }
        }
        mirrors[0].write_all(b"unfinished").expect("room");
        // As a file, which needs no seals.
        let mut sound = bytes(&ring);
        sound[110..112].copy_from_slice(&2_u16.to_ne_bytes());
        for _ in 0..1500 {
            let mut damaged = sound.clone();
            for _ in 0..=next() % 8 {
                // Seldom in the geometry, whose damage is found at once.
                let first = if next().is_multiple_of(16) { 0 } else { 128 };
                let word = first / 8 + next() as usize % ((damaged.len() - first) / 8);
                let value = match next() % 4 {
                    0 => next(),
                    1 => 0,
                    2 => u64::MAX,
                    _ => next() % 32,
                };
                damaged[word * 8..word * 8 + 8].copy_from_slice(&value.to_ne_bytes());
            }
            fs::write(&path, &damaged).expect("a file");
            if let Ok(observer) = Observer::open_file(&path) {
                seen += observer.snapshot().expect("the file stays whole").len();
            }
        }
    }
    assert!(seen > 10_000, "most damage leaves something to be seen: {seen}");
}
