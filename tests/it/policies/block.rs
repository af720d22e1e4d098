//! A ring that blocks loses nothing: its writers wait for room, up to the limits that were set.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use linering::{Item, Line, Policy, WriteError};

use super::{PAYLOAD, account_of, line, mirror, now, numbered, reader, ring, small, texts, write};

#[test]
fn a_blocking_ring_loses_nothing_however_small_it_is() {
    for lines in [2, 4, 16, 256] {
        for writers in [1, 4] {
            let account =
                account_of(small(lines, Policy::Block).max_line(1000), Policy::Block, writers, 300);
            assert_eq!(
                (account.lost(), account.truncated),
                (0, 0),
                "{lines} lines, {writers} writers"
            );
        }
    }
}

#[test]
fn a_line_longer_than_the_whole_ring_flows_through_it() {
    let ring = ring(small(4, Policy::Block).max_line(100_000));
    let text: Vec<u8> = (0..100_000_u32).map(|i| (i / 7) as u8).collect();
    let mut mirror = mirror(&ring);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            mirror.write_line(&text).expect("no limit");
            drop(mirror);
        });
        let items: Vec<_> = reader(&ring).map(|item| item.expect("ours")).collect();
        assert_eq!(items.len(), 2);
        assert!(!line(&items[0]).truncated);
        assert!(line(&items[0]).bytes == text, "every byte, in order");
        writer.join().expect("no panic");
    });
}

#[test]
fn a_writer_of_a_full_ring_goes_on_when_the_reader_makes_room() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..8).for_each(|i| write(&mut mirror, &i.to_string()));
    thread::scope(|scope| {
        let writer = scope.spawn(move || (8..100).for_each(|i| write(&mut mirror, &i.to_string())));
        while ring.counts().found_full == 0 {
            thread::yield_now();
        }
        let texts: Vec<_> = reader.by_ref().map(|item| item.expect("ours").to_string()).collect();
        assert_eq!(texts[..100], (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
        assert_eq!(texts[100..], ["-- worker 0 ended --"]);
        writer.join().expect("no panic");
    });
}

#[test]
fn a_writer_that_finds_no_room_within_its_limit_drops_its_line_and_says_so() {
    let limit = Duration::from_millis(5);
    let ring = ring(small(4, Policy::Block).block_limit(limit));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..4).for_each(|i| write(&mut mirror, &i.to_string()));
    for _ in 0..3 {
        let error = mirror.write_line(b"dropped").expect_err("no reader makes room");
        assert!(matches!(error, WriteError::TimedOut(found) if found == limit), "{error}");
        assert_eq!(error.to_string(), "the ring stayed full for 5ms");
    }
    let error = mirror.write(b"dropped\n").expect_err("no reader makes room");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let mut found = texts(&now(&mut reader));
    write(&mut mirror, "4");
    drop(mirror);
    found.extend(texts(&now(&mut reader)));
    let lost = "-- worker 0: 4 lines lost, ring full --";
    assert_eq!(found, ["0", "1", "2", "3", lost, "4", "-- worker 0 ended --"]);
}

#[test]
fn a_long_line_that_finds_room_for_some_parts_only_comes_truncated() {
    for room in 1..4 {
        let ring =
            ring(small(4, Policy::Block).max_line(1000).block_limit(Duration::from_millis(1)));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        (room..4).for_each(|_| write(&mut mirror, "before"));
        let text = numbered(0, 1, 10 * PAYLOAD);
        let error = mirror.write_line(&text).expect_err("no reader makes room");
        assert!(matches!(error, WriteError::TimedOut(_)), "{error}");
        let mut items = now(&mut reader);
        write(&mut mirror, "after");
        drop(mirror);
        items.extend(now(&mut reader));
        let expected = (room..4).map(|_| "before".to_owned());
        let kept = String::from_utf8_lossy(&text[..room * PAYLOAD]).into_owned();
        let rest = [kept, "after".to_owned(), "-- worker 0 ended --".to_owned()];
        assert_eq!(texts(&items), expected.chain(rest).collect::<Vec<_>>(), "room for {room}");
        let cut = line(&items[4 - room]);
        assert!(cut.truncated, "{cut:?}");
        let Item::Ended(ended) = &items[items.len() - 1] else { panic!("{items:?}") };
        assert_eq!(
            (ended.lines, ended.lost),
            (6 - room as u64, 0),
            "it is counted as truncated, not as lost"
        );
    }
}

#[test]
fn a_line_after_one_that_failed_is_a_line_of_its_own() {
    // Each way to write a long line of which only the first part finds room.
    let text = [&numbered(0, 1, 10 * PAYLOAD)[..], b"\n"].concat();
    for way in ["write_line", "write", "write without the line's end"] {
        let ring =
            ring(small(4, Policy::Block).max_line(1000).block_limit(Duration::from_millis(1)));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        (0..3).for_each(|_| write(&mut mirror, "before"));
        let without_end = &text[..text.len() - 1];
        let failed = match way {
            "write_line" => mirror.write_line(without_end).is_err(),
            "write" => mirror.write(&text).is_err(),
            _ => mirror.write(without_end).is_err(),
        };
        assert!(failed, "{way}: no reader makes room");
        let mut items = now(&mut reader);
        if way == "write without the line's end" {
            mirror.write_all(b"\n").expect("room");
        }
        mirror.write_all(b"after\n").expect("room");
        items.extend(now(&mut reader));
        let lines: Vec<_> =
            items.iter().map(line).filter(|line| !line.truncated).map(Line::to_string).collect();
        assert_eq!(lines, ["before", "before", "before", "after"], "{way}");
        let cut: Vec<_> = items.iter().map(line).filter(|line| line.truncated).collect();
        assert_eq!(cut.len(), 1, "{way}");
        assert_eq!(cut[0].bytes, &text[..PAYLOAD], "{way}");
    }
}

#[test]
fn a_full_ring_without_a_reader_is_given_up_after_the_grace_time() {
    let grace = Duration::from_millis(5);
    let ring = ring(small(4, Policy::Block).reader_grace(grace));
    let mut mirror = mirror(&ring);
    (0..4).for_each(|i| write(&mut mirror, &i.to_string()));
    let error = mirror.write_line(b"dropped").expect_err("no reader");
    assert!(matches!(error, WriteError::ReaderGone(found) if found == grace), "{error}");
    assert_eq!(error.to_string(), "the ring is full and has had no reader for 5ms");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
    // Nothing that was written is lost by that.
    let mut reader = reader(&ring);
    assert_eq!(texts(&now(&mut reader)), ["0", "1", "2", "3"]);
    write(&mut mirror, "4");
    drop(reader);
    drop(mirror);
    let items = now(&mut ring.reader().expect("no other"));
    assert_eq!(
        texts(&items),
        ["-- worker 0: 1 line lost, ring full --", "4", "-- worker 0 ended --"]
    );
}

#[test]
fn a_reader_that_does_not_read_is_not_gone() {
    let limit = Duration::from_millis(300);
    let ring = ring(small(4, Policy::Block).reader_grace(Duration::ZERO).block_limit(limit));
    let mut idle = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..4).for_each(|i| write(&mut mirror, &i.to_string()));
    let error = mirror.write_line(b"dropped").expect_err("no reader makes room");
    assert!(matches!(error, WriteError::TimedOut(_)), "{error}");
    assert!(idle.try_recv().expect("ours").is_some());
    drop(idle);
    let error = mirror.write_line(b"dropped").expect_err("no reader");
    assert!(matches!(error, WriteError::ReaderGone(_)), "{error}");
}
