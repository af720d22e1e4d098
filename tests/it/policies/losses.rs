//! A loss is counted exactly, and told in its place: before its writer's next line or its end.

use std::io::Write;
use std::thread;

use linering::{End, Ended, Item, Line, LossCause, Options, Policy};

use super::{PAYLOAD, account_of, line, mirror, now, numbered, reader, ring, small, texts, write};

#[test]
fn dropped_lines_are_reported_before_their_writers_next_line_or_its_end() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    assert_eq!(texts(&now(&mut reader)), ["0", "1", "2", "3"], "what comes next is not known yet");
    (10..13).for_each(|i| write(&mut mirror, &i.to_string()));
    assert_eq!(
        texts(&now(&mut reader)),
        ["-- worker 0: 6 lines lost, ring full --", "10", "11", "12"]
    );
    (13..20).for_each(|i| write(&mut mirror, &i.to_string()));
    drop(mirror);
    let items = now(&mut reader);
    let expected =
        ["13", "14", "15", "16", "-- worker 0: 3 lines lost, ring full --", "-- worker 0 ended --"];
    assert_eq!(texts(&items), expected);
    let Item::Lost(lost) = &items[4] else { panic!("{items:?}") };
    assert_eq!((lost.writer_id, lost.lines, lost.cause), (0, 3, LossCause::Dropped));
    assert!(
        matches!(&items[5], Item::Ended(Ended { lines: 11, lost: 9, end: End::Eof, .. })),
        "{items:?}"
    );
    assert!(reader.is_over());
}

#[test]
fn overwritten_lines_are_reported_before_their_writers_next_line_or_its_end() {
    let ring = ring(small(4, Policy::OverwriteOldest));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [ring.mirror_labelled("a").expect("a mirror"), mirror(&ring)];
    (0..10).for_each(|i| write(&mut a, &format!("a{i}")));
    let lost = "-- worker a: 6 lines lost, overwritten --";
    assert_eq!(texts(&now(&mut reader)), [lost, "a6", "a7", "a8", "a9"]);
    (10..13).for_each(|i| write(&mut a, &format!("a{i}")));
    (0..7).for_each(|i| write(&mut b, &format!("b{i}")));
    let items = now(&mut reader);
    assert_eq!(
        texts(&items),
        ["-- worker 1: 3 lines lost, overwritten --", "b3", "b4", "b5", "b6"]
    );
    drop((a, b));
    let items = now(&mut reader);
    let expected = [
        "-- worker a: 3 lines lost, overwritten --",
        "-- worker a ended --",
        "-- worker 1 ended --",
    ];
    assert_eq!(texts(&items), expected);
    let Item::Lost(lost) = &items[0] else { panic!("{items:?}") };
    assert_eq!(
        (lost.writer_id, &*lost.label, lost.lines, lost.cause),
        (0, "a", 3, LossCause::Overwritten)
    );
    assert!(matches!(&items[1], Item::Ended(Ended { lines: 4, lost: 9, .. })), "{items:?}");
    assert!(matches!(&items[2], Item::Ended(Ended { lines: 4, lost: 3, .. })), "{items:?}");
}

#[test]
fn without_a_reader_the_first_lines_are_kept_or_the_last_ones() {
    let cases = [(Policy::DropNewest, 0..16), (Policy::OverwriteOldest, 984..1000)];
    for (policy, kept) in cases {
        let ring = ring(small(16, policy));
        let mut mirror = mirror(&ring);
        (0..1000).for_each(|i| write(&mut mirror, &i.to_string()));
        drop(mirror);
        let items = now(&mut reader(&ring));
        let lines: Vec<_> = items.iter().filter_map(Item::line).map(Line::to_string).collect();
        assert_eq!(lines, kept.map(|i| i.to_string()).collect::<Vec<_>>(), "{policy:?}");
        let lost: u64 =
            items.iter().map(|item| if let Item::Lost(lost) = item { lost.lines } else { 0 }).sum();
        assert_eq!(lost, 984, "{policy:?}");
    }
}

#[test]
fn every_line_is_delivered_or_counted_in_its_place_while_many_write() {
    for policy in [Policy::DropNewest, Policy::OverwriteOldest] {
        for lines in [2, 4, 16, 64] {
            for writers in [1, 3, 6] {
                let options = small(lines, policy);
                // In the smallest ring the longest line is one slot.
                let options = if lines == 2 { options.max_line(PAYLOAD) } else { options };
                if lines >= 16 {
                    account_of(options.max_line(7 * PAYLOAD), policy, writers, 2000);
                } else {
                    plain_account_of(options, policy, writers, 2000);
                }
            }
        }
    }
}

/// As `account_of`, with lines of one slot.
fn plain_account_of(options: Options, policy: Policy, writers: usize, count: u64) {
    let ring = ring(options);
    let mirrors: Vec<_> = (0..writers).map(|_| mirror(&ring)).collect();
    let mut next = vec![0; writers];
    let mut ended = 0;
    thread::scope(|scope| {
        for mut mirror in mirrors {
            scope.spawn(move || (0..count).for_each(|i| write(&mut mirror, &i.to_string())));
        }
        for item in reader(&ring) {
            match item.expect("ours") {
                Item::Line(line) => {
                    assert!(!line.truncated, "{line:?}");
                    assert_eq!(
                        line.to_string(),
                        next[line.writer_id as usize].to_string(),
                        "{policy:?}"
                    );
                    next[line.writer_id as usize] += 1;
                }
                Item::Lost(lost) => next[lost.writer_id as usize] += lost.lines,
                Item::Ended(end) => {
                    assert_eq!(end.lines + end.lost, count, "{policy:?}: {end:?}");
                    ended += 1;
                }
                other => panic!("nothing damaged this ring: {other:?}"),
            }
        }
    });
    assert_eq!((next, ended), (vec![count; writers], writers), "{policy:?}");
}

#[test]
fn a_long_line_whose_first_parts_were_overwritten_comes_truncated_with_the_rest() {
    let ring = ring(small(8, Policy::OverwriteOldest).max_line(4 * PAYLOAD));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 4 * PAYLOAD);
    mirror.write_line(&text).expect("open");
    (0..6).for_each(|i| write(&mut mirror, &i.to_string()));
    let items = now(&mut reader);
    assert_eq!(texts(&items)[1..], ["0", "1", "2", "3", "4", "5"]);
    let cut = line(&items[0]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!(cut.missing, 2 * PAYLOAD as u64);
    assert_eq!(cut.bytes, &text[2 * PAYLOAD..]);
    drop(mirror);
    let items = now(&mut reader);
    assert!(matches!(&items[..], [Item::Ended(Ended { lines: 7, lost: 0, .. })]), "{items:?}");
}

#[test]
fn a_long_line_whose_last_parts_were_dropped_comes_truncated_with_its_first_ones() {
    let ring = ring(small(4, Policy::DropNewest).max_line(1000));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    write(&mut mirror, "before");
    let text = numbered(0, 1, 9 * PAYLOAD);
    mirror.write_line(&text).expect("dropping is no error");
    mirror.write_line(&text).expect("dropping is no error");
    drop(mirror);
    let items = now(&mut reader);
    assert_eq!(items.len(), 4, "{items:?}");
    let cut = line(&items[1]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!(cut.bytes, &text[..3 * PAYLOAD]);
    assert!(cut.missing <= 6 * PAYLOAD as u64, "at least so much is missing: {cut:?}");
    assert!(matches!(&items[2], Item::Lost(lost) if lost.lines == 1), "{items:?}");
    assert!(matches!(&items[3], Item::Ended(Ended { lines: 2, lost: 1, .. })), "{items:?}");
}

#[test]
fn a_long_line_with_parts_dropped_in_its_middle_says_exactly_how_much_is_missing() {
    let ring = ring(small(4, Policy::DropNewest).max_line(1000));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 9 * PAYLOAD + 5);
    // Four parts fit, the fifth does not.
    mirror.write_all(&text[..6 * PAYLOAD]).expect("dropping is no error");
    assert_eq!(now(&mut reader), [], "not finished");
    mirror.write_all(&text[6 * PAYLOAD..]).expect("dropping is no error");
    mirror.write_all(b"\nnext\n").expect("dropping is no error");
    let items = now(&mut reader);
    let cut = line(&items[0]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!(cut.bytes, &text[..4 * PAYLOAD]);
    assert_eq!(cut.missing, 5 * PAYLOAD as u64 + 5);
    assert_eq!(texts(&items)[1..], ["next"]);
}

#[test]
fn a_ring_that_drops_never_makes_a_writer_wait_and_loses_nothing_while_it_has_room() {
    let ring = ring(small(64, Policy::DropNewest));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    for round in 0..100 {
        (0..64).for_each(|i| write(&mut mirror, &(64 * round + i).to_string()));
        let expected: Vec<_> = (0..64).map(|i| (64 * round + i).to_string()).collect();
        assert_eq!(texts(&now(&mut reader)), expected, "round {round}");
    }
    assert_eq!(ring.counts().found_full, 0);
    write(&mut mirror, "fits");
    (0..100).for_each(|_| write(&mut mirror, "the first 63 fit"));
    assert_eq!(ring.counts().found_full, 37);
}
