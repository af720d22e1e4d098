//! What a reader did not accept comes again, and what it accepted does not.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use linering::{Item, LineRing, Policy, ReadError, Reader, WriteError};

use super::{PAYLOAD, line, mirror, now, numbered, reader, ring, small, texts, write};
use crate::common::below_overflow;

#[test]
fn what_was_handed_out_is_accepted_by_asking_for_the_next_one_and_comes_again_otherwise() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(16, policy));
        let mut mirror = mirror(&ring);
        (0..6).for_each(|i| write(&mut mirror, &i.to_string()));
        let mut first = reader(&ring);
        let taken: Vec<_> = first.by_ref().take(3).map(|item| item.expect("ours")).collect();
        drop(first);
        let mut second = reader(&ring);
        let again = second.recv().expect("ours").expect("not over").into_owned();
        assert_eq!(again, taken[2], "with the same position");
        second.commit().expect("ours");
        drop(second);
        let items = now(&mut reader(&ring));
        assert_eq!(texts(&items), ["3", "4", "5"], "{policy:?}");
        let positions = items.iter().map(|item| line(item).position);
        let start = below_overflow(16);
        assert!(positions.eq(start + 3..start + 6), "{policy:?}: {items:?}");
        assert_eq!(now(&mut reader(&ring)), [], "{policy:?}: accepted by asking for the end");
    }
}

#[test]
fn a_batch_comes_again_until_it_is_committed() {
    let ring = ring(small(64, Policy::Block));
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut reader = reader(&ring);
    let first = reader.recv().expect("ours").expect("not over").into_owned();
    assert_eq!(first.to_string(), "0");
    let owned = |reader: &mut Reader| {
        let batch = reader.batch().expect("ours");
        let items: Vec<_> = batch.iter().map(Item::into_owned).collect();
        assert_eq!((batch.len(), batch.is_empty()), (items.len(), items.is_empty()));
        items
    };
    let items = owned(&mut reader);
    assert_eq!(
        texts(&items),
        (1..10).map(|i| i.to_string()).collect::<Vec<_>>(),
        "the one before was accepted"
    );
    assert_eq!(owned(&mut reader), items, "the same, with the same positions");
    drop(reader);
    let mut reader = self::reader(&ring);
    assert_eq!(owned(&mut reader), items, "from the next reader too");
    reader.batch().expect("ours").commit();
    write(&mut mirror, "10");
    assert_eq!(texts(&owned(&mut reader)), ["10"]);
    reader.batch().expect("ours").commit();
    drop(mirror);
    assert_eq!(texts(&owned(&mut reader)), ["-- worker 0 ended --"]);
    reader.batch().expect("ours").commit();
    assert_eq!(owned(&mut reader), []);
    assert!(reader.is_over());
}

#[test]
fn what_stands_in_an_uncommitted_batch_is_not_overwritten_by_blocked_writers() {
    let ring = ring(small(8, Policy::Block).block_limit(Duration::from_millis(1)));
    let mut mirror = mirror(&ring);
    (0..8).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut reader = reader(&ring);
    let batch = reader.batch().expect("ours");
    let count = batch.len();
    assert!(count > 0);
    assert!(matches!(mirror.write_line(b"no room"), Err(WriteError::TimedOut(_))));
    batch.commit();
    (0..count).for_each(|_| write(&mut mirror, "room"));
    assert!(matches!(mirror.write_line(b"no room"), Err(WriteError::TimedOut(_))));
}

#[test]
fn a_line_that_a_former_reader_had_begun_comes_whole_unless_it_needs_more_than_half_of_the_ring() {
    for (lines, taken) in [(16, 0), (8, 0), (4, 2), (2, 3)] {
        let ring = ring(small(lines, Policy::Block).max_line(1000));
        let mut mirror = mirror(&ring);
        let text = numbered(0, 0, 7 * PAYLOAD + 3);
        let mut first = reader(&ring);
        for part in text[..4 * PAYLOAD + 1].chunks(PAYLOAD) {
            mirror.write_all(part).expect("room");
            assert_eq!(now(&mut first), [], "it has no end yet");
        }
        drop(first);
        let (rest, mut items) = (&text[4 * PAYLOAD + 1..], Vec::new());
        let mut second = reader(&ring);
        let last: [&[u8]; 2] = [b"\n", b"next\n"];
        for part in rest.chunks(PAYLOAD).chain(last) {
            mirror.write_all(part).expect("room");
            items.extend(now(&mut second));
        }
        let cut = line(&items[0]);
        assert_eq!((cut.truncated, cut.missing), (taken > 0, (taken * PAYLOAD) as u64), "{lines}");
        assert_eq!(cut.bytes, &text[taken * PAYLOAD..], "{lines} lines");
        assert_eq!(texts(&items[1..]), ["next"]);
        drop(second);
        assert_eq!(now(&mut reader(&ring)), []);
    }
}

#[test]
fn a_line_of_several_parts_that_was_not_accepted_comes_again_whole() {
    let ring = ring(small(64, Policy::Block).max_line(1000));
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 7 * PAYLOAD + 3);
    write(&mut mirror, "before");
    mirror.write_line(&text).expect("room");
    let mut first = reader(&ring);
    let handed: Vec<_> = first.by_ref().take(2).map(|item| item.expect("ours")).collect();
    drop(first);
    let items = now(&mut reader(&ring));
    assert_eq!(items, handed[1..]);
    assert_eq!(line(&items[0]).bytes, text);
    assert!(!line(&items[0]).truncated);
}

#[test]
fn a_loss_that_was_accepted_is_not_reported_again() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut first = reader(&ring);
    assert_eq!(texts(&now(&mut first)), ["0", "1", "2", "3"]);
    write(&mut mirror, "10");
    let items: Vec<_> = first.by_ref().take(2).map(|item| item.expect("ours")).collect();
    assert_eq!(texts(&items), ["-- worker 0: 6 lines lost, ring full --", "10"]);
    // The loss was accepted by asking for the line, the line was not.
    drop(first);
    drop(mirror);
    assert_eq!(texts(&now(&mut reader(&ring))), ["10", "-- worker 0 ended --"]);
}

#[test]
fn a_loss_that_was_not_accepted_is_reported_again() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut first = reader(&ring);
    now(&mut first);
    write(&mut mirror, "10");
    drop(mirror);
    let lost = "-- worker 0: 6 lines lost, ring full --";
    assert_eq!(first.recv().expect("ours").expect("not over").to_string(), lost);
    drop(first);
    assert_eq!(texts(&now(&mut reader(&ring))), [lost, "10", "-- worker 0 ended --"]);
}

#[test]
fn an_end_comes_again_until_it_is_accepted() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut mirror = ring.mirror_labelled("label").expect("a mirror");
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    drop(mirror);
    let mut first = reader(&ring);
    let items: Vec<_> = first.by_ref().take(6).map(|item| item.expect("ours")).collect();
    assert!(
        matches!(items.last(), Some(Item::Ended(ended)) if ended.label == "label"),
        "{items:?}"
    );
    drop(first);
    let items = now(&mut reader(&ring));
    assert!(
        matches!(items.last(), Some(Item::Ended(ended)) if ended.label == "label"),
        "{items:?}"
    );
    let mut last = reader(&ring);
    assert!(last.recv().expect("ours").is_none());
    assert!(last.is_over());
}

#[test]
fn losses_of_mirrors_that_had_the_same_cell_stay_exact_when_the_reader_changes() {
    for accepted in 0..30 {
        let ring = ring(small(8, Policy::OverwriteOldest).mirrors(1));
        for count in [100, 20] {
            let mut mirror = mirror(&ring);
            (0..count).for_each(|i| write(&mut mirror, &i.to_string()));
        }
        let mut counted = HashMap::<u32, u64>::new();
        let mut ends = Vec::new();
        let mut note = |item: &Item<'_>| match item {
            Item::Line(line) => *counted.entry(line.writer_id).or_default() += 1,
            Item::Lost(lost) => *counted.entry(lost.writer_id).or_default() += lost.lines,
            Item::Ended(ended) => ends.push(ended.writer_id),
            other => panic!("nothing damaged this ring: {other:?}"),
        };
        let mut first = reader(&ring);
        for _ in 0..accepted {
            first.recv().expect("ours").iter().for_each(&mut note);
        }
        first.commit().expect("ours");
        drop(first);
        reader(&ring).for_each(|item| note(&item.expect("ours")));
        assert_eq!(
            (counted.get(&0), counted.get(&1)),
            (Some(&100), Some(&20)),
            "{accepted} items by the first reader"
        );
        ends.sort();
        assert_eq!(ends, [0, 1], "{accepted} items by the first reader");
    }
}

#[test]
fn there_is_one_reader_at_a_time() {
    let ring = ring(small(8, Policy::Block));
    let first = reader(&ring);
    let attached = LineRing::attach(ring.descriptor().expect("open")).expect("a ring");
    for other in [&ring, &ring.clone(), &attached] {
        let error = other.reader().expect_err("there is one");
        assert!(matches!(error, ReadError::HasReader { .. }));
        let first = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("process {first} reads the ring already, expected no other reader")
        );
    }
    drop(first);
    let second = attached.reader().expect("no other");
    assert!(matches!(ring.reader(), Err(ReadError::HasReader { .. })));
    drop(second);
    drop(reader(&ring));
}
