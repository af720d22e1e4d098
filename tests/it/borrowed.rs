//! Lines that are looked at where the reader copied them to.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use linering::{Item, ItemRef, Level, Line, LineRef, LineRing, Options, Policy, Stream};

/// Lines of every kind, of two mirrors in turns, losses and ends.
fn sample(policy: Policy, checksums: bool) -> LineRing {
    let options = Options::new().lines(64).line_bytes(64).policy(policy).checksums(checksums);
    let ring = LineRing::new(options).expect("a ring");
    let mut first = ring.mirror_labelled("first").expect("a mirror");
    let mut second = ring.mirror().expect("a mirror");
    first.set_stream(Stream::Stderr).set_level(Level::Warn).set_tag(7);
    for number in 0..6 {
        first.write_line(format!("first {number}").as_bytes()).expect("room");
        second.write_line(format!("second {number}").as_bytes()).expect("room");
    }
    second.write_line(&b"longer than a slot ".repeat(5)).expect("room");
    first.write_line(b"").expect("room");
    first.write_all(b"a prompt: ").expect("room");
    first.flush_partial().expect("room");
    let mut group = second.group().expect("room");
    group.line(b"one").expect("room");
    group.line(b"two").expect("room");
    group.end().expect("room");
    second.write_packed(b"a\nb\nc\n").expect("room");
    if policy != Policy::Block {
        (0..100).for_each(|_| drop(second.write_line(b"too many")));
    }
    drop(first);
    second.send_error_text("it failed\n").expect("room, or it is lost");
    ring
}

/// Each method says what the field says.
fn assert_same(borrowed: LineRef<'_>, line: &Line<'_>) {
    assert_eq!(borrowed.bytes(), &line.bytes[..]);
    assert_eq!(borrowed.lines().collect::<Vec<_>>(), line.lines().collect::<Vec<_>>());
    assert_eq!(
        (borrowed.position(), borrowed.writer_id(), borrowed.cell(), borrowed.label()),
        (line.position, line.writer_id, line.cell, &*line.label)
    );
    assert_eq!(
        (borrowed.stream(), borrowed.level(), borrowed.tag(), borrowed.time(), borrowed.kind()),
        (line.stream, line.level, line.tag, line.time, line.kind)
    );
    assert_eq!(
        (borrowed.is_truncated(), borrowed.is_unfinished(), borrowed.is_unacknowledged()),
        (line.truncated, line.unfinished, line.unacknowledged)
    );
    assert_eq!((borrowed.missing(), false), (line.missing, line.damaged));
    assert_eq!((borrowed.to_string(), &borrowed.to_line()), (line.to_string(), line));
}

#[test]
fn what_is_borrowed_is_what_the_items_are_in_the_same_order() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        for checksums in [false, true] {
            let ring = sample(policy, checksums);
            let mut reader = ring.reader().expect("no other");
            let (mut borrowed, mut others, mut all) = (0, 0, Vec::new());
            loop {
                let batch = reader.batch().expect("ours");
                if batch.is_empty() {
                    break;
                }
                assert_eq!(batch.iter_ref().count(), batch.len());
                for (item, one) in batch.iter().zip(batch.iter_ref()) {
                    match (&item, one) {
                        (Item::Line(line), ItemRef::Line(borrowed_line)) => {
                            assert_same(borrowed_line, line);
                            borrowed += 1;
                        }
                        (_, ItemRef::Other(_)) => others += 1,
                        (other, ItemRef::Line(line)) => panic!("{other} for {line}"),
                    }
                    assert_eq!((one.to_item(), one.to_string()), (item.clone(), item.to_string()));
                    all.push(item.into_owned());
                }
                // Not accepted: the same ones come again, one after another.
                drop(batch);
                let batch = reader.batch().expect("ours");
                batch.commit();
            }
            assert!(borrowed > 10 && others >= 2, "{policy:?}: {borrowed} and {others}");
            let ring = sample(policy, checksums);
            let mut reader = ring.reader().expect("no other");
            let mut single = Vec::new();
            while let Some(item) = reader.recv_ref().expect("ours") {
                single.push(item.to_item().into_owned());
            }
            let text = |items: &[Item<'_>]| items.iter().map(Item::to_string).collect::<Vec<_>>();
            assert_eq!(text(&single), text(&all), "{policy:?}");
        }
    }
}

#[test]
fn single_lines_and_batches_take_turns_and_each_line_comes_once() {
    for singles in 0..7 {
        let ring = LineRing::new(Options::new().lines(64)).expect("a ring");
        let mut mirrors = [(); 3].map(|()| ring.mirror().expect("a mirror"));
        for number in 0..60 {
            // Lines of one mirror, one to four at a time.
            let mirror = &mut mirrors[number / (1 + number % 4) % 3];
            mirror.write_line(number.to_string().as_bytes()).expect("room");
        }
        let mut reader = ring.reader().expect("no other");
        let mut seen = Vec::new();
        let mut see = |item: ItemRef<'_>| match item {
            ItemRef::Line(line) => seen.push(line.to_string()),
            ItemRef::Other(other) => panic!("{}", other.to_item()),
        };
        let mut left = 60;
        while left > 0 {
            for _ in 0..singles {
                if let Some(item) = reader.try_recv_ref().expect("ours") {
                    see(item);
                    left -= 1;
                }
            }
            if left > 0 {
                let batch = reader.batch().expect("ours");
                batch.iter_ref().for_each(&mut see);
                left -= batch.len();
                batch.commit();
            }
        }
        assert_eq!(seen, (0..60).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(reader.try_recv_ref().expect("ours").is_none());
    }
}

#[test]
fn what_was_looked_at_when_its_caller_stopped_comes_to_the_next_reader() {
    for (in_batch, panics) in [(false, false), (false, true), (true, false), (true, true)] {
        let ring = LineRing::new(Options::new().lines(64)).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        (0..10).for_each(|i: u32| mirror.write_line(i.to_string().as_bytes()).expect("room"));
        let mut reader = ring.reader().expect("no other");
        for _ in 0..3 {
            assert!(reader.recv_ref().expect("ours").is_some());
        }
        // Accepts the third.
        reader.commit().expect("ours");
        let stop = AssertUnwindSafe(|| {
            let seen = if in_batch {
                reader.batch().expect("ours").iter_ref().nth(2).map(|item| item.to_string())
            } else {
                reader.recv_ref().expect("ours").map(|item| item.to_string())
            };
            assert!(!panics, "the caller panics at {seen:?}");
            seen
        });
        let seen = catch_unwind(stop);
        assert_eq!(seen.is_err(), panics);
        drop(reader);
        let mut next = ring.reader().expect("the first has gone");
        let item = next.recv_ref().expect("ours").map(|item| item.to_string());
        assert_eq!(item.as_deref(), Some("3"));
    }
}

/// Lines that are overwritten while they are copied are not handed out: each is whole, and in its
/// writer's order.
#[test]
fn no_torn_line_is_seen_where_lines_are_overwritten() {
    const LINES: u64 = 200_000;
    let options = Options::new().lines(16).line_bytes(192).policy(Policy::OverwriteOldest);
    let ring = LineRing::new(options).expect("a ring");
    let mirrors = [(); 2].map(|()| ring.mirror().expect("a mirror"));
    thread::scope(|scope| {
        for (mut mirror, byte) in mirrors.into_iter().zip(*b"ab") {
            scope.spawn(move || {
                for number in 0..LINES {
                    let mut line = [byte; 150];
                    line[..8].copy_from_slice(&number.to_ne_bytes());
                    line[142..].copy_from_slice(&number.to_ne_bytes());
                    mirror.write_line(&line).expect("it overwrites");
                }
            });
        }
        let mut reader = ring.reader().expect("no other");
        let (mut next, mut seen, mut ends) = ([0; 2], 0_u64, 0);
        let mut see = |item: ItemRef<'_>| match item {
            ItemRef::Line(line) => {
                let bytes = line.bytes();
                let number = u64::from_ne_bytes(*bytes.first_chunk().expect("it has a number"));
                assert_eq!(bytes.last_chunk(), Some(&number.to_ne_bytes()), "torn");
                let writer = line.writer_id() as usize;
                assert!(bytes[8..142].iter().all(|byte| *byte == b"ab"[writer]), "torn");
                assert_eq!(number, next[writer], "in its writer's order");
                next[writer] += 1;
                seen += 1;
            }
            ItemRef::Other(other) => match other.to_item() {
                Item::Lost(lost) => next[lost.writer_id as usize] += lost.lines,
                Item::Ended(_) => ends += 1,
                other => panic!("{other}"),
            },
        };
        while let Some(item) = reader.recv_ref().expect("ours") {
            see(item);
            let batch = reader.batch().expect("ours");
            batch.iter_ref().for_each(&mut see);
            batch.commit();
        }
        assert_eq!((next, ends), ([LINES; 2], 2));
        assert!(seen > 0);
    });
}
