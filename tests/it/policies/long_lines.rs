//! A line that is too long, for itself or for the assembly budget, says how many bytes are missing.

use std::io::Write;

use linering::{Options, Policy};

use super::{PAYLOAD, line, mirror, now, numbered, reader, ring, small, texts};

#[test]
fn a_line_over_the_maximum_says_exactly_how_many_bytes_are_missing() {
    for maximum in [1, PAYLOAD - 8, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 100, 3 * PAYLOAD] {
        for over in [0, 1, 7, 8, 9, PAYLOAD, 1000] {
            for piece in [usize::MAX, 13] {
                let ring = ring(small(64, Policy::Block).max_line(maximum));
                let mut mirror = mirror(&ring);
                let text = numbered(0, 0, maximum + over);
                text.chunks(piece).for_each(|bytes| mirror.write_all(bytes).expect("room"));
                mirror.write_all(b"\nnext\n").expect("room");
                mirror.write_line(&text).expect("room");
                let items = now(&mut reader(&ring));
                let case = format!("maximum {maximum}, {over} over, {piece} at a time");
                for item in [&items[0], &items[2]] {
                    let line = line(item);
                    assert_eq!(line.bytes, &text[..maximum], "{case}");
                    assert_eq!((line.truncated, line.missing), (over > 0, over as u64), "{case}");
                }
                let next = line(&items[1]);
                assert_eq!(next.bytes, &b"next"[..maximum.min(4)], "{case}");
                assert_eq!(next.missing, 4_u64.saturating_sub(maximum as u64), "{case}");
                assert_eq!(items.len(), 3, "{case}");
            }
        }
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_truncated_with_the_number_of_bytes_lost() {
    let ring = ring(Options::new());
    let mut mirror = mirror(&ring);
    let piece = vec![b'x'; 1_000_000];
    (0..100).for_each(|_| mirror.write_all(&piece).expect("room"));
    mirror.write_all(b"\nnext\n").expect("room");
    let items = now(&mut reader(&ring));
    assert_eq!(items.len(), 2);
    // An eighth of the ring's bytes: 4096 slots of 256 bytes, of which 32 are the header.
    let maximum = 4096 * (256 - 32) / 8;
    let cut = line(&items[0]);
    assert_eq!(cut.bytes.len(), maximum);
    assert!(cut.bytes.iter().all(|byte| *byte == b'x'));
    assert_eq!((cut.truncated, cut.missing), (true, 100_000_000 - maximum as u64));
    assert_eq!(texts(&items[1..]), ["next"]);
}

#[test]
fn a_line_over_the_assembly_budget_says_exactly_how_many_bytes_are_missing() {
    let ring = ring(small(64, Policy::Block).max_line(1000).assembly_budget(100));
    let mut mirror = mirror(&ring);
    for length in [PAYLOAD, 100, 101, 10 * PAYLOAD] {
        mirror.write_line(&numbered(0, 0, length)).expect("room");
    }
    let items = now(&mut reader(&ring));
    let found: Vec<_> = items
        .iter()
        .map(line)
        .map(|line| (line.bytes.len(), line.truncated, line.missing))
        .collect();
    assert_eq!(found, [(PAYLOAD, false, 0), (100, false, 0), (100, true, 1), (100, true, 220)]);
}

#[test]
fn the_assembly_budget_is_for_all_mirrors_together() {
    let ring = ring(small(64, Policy::Block).max_line(1000).assembly_budget(3 * PAYLOAD));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [mirror(&ring), mirror(&ring)];
    let text = numbered(0, 0, 3 * PAYLOAD);
    // Two parts are in the ring, the third begins in the segment.
    a.write_all(&text[..2 * PAYLOAD + 1]).expect("room");
    assert_eq!(now(&mut reader), []);
    b.write_line(&text).expect("room");
    let items = now(&mut reader);
    let cut = line(&items[0]);
    assert_eq!((cut.bytes.len(), cut.truncated, cut.missing), (PAYLOAD, true, 2 * PAYLOAD as u64));
    a.write_all(&text[2 * PAYLOAD + 1..]).expect("room");
    a.write_all(b"\n").expect("room");
    b.write_line(&text).expect("room");
    let items = now(&mut reader);
    assert_eq!(items.len(), 2);
    for item in &items {
        assert_eq!(line(item).bytes, text);
        assert!(!line(item).truncated);
    }
}
