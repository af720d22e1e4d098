//! Lines that are written in pieces, which go a way of their own.

use std::io::Write;

use linering::{Item, LineRing, Options, WriteError};

use crate::common::fork;

/// A cheap, well mixed number.
fn mix(seed: u64) -> u64 {
    let x = (seed ^ seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ x >> 29
}

/// The lines that are there, and how many of them are unfinished.
fn drained(ring: &LineRing) -> (Vec<Vec<u8>>, usize) {
    let mut reader = ring.reader().expect("no other");
    let (mut lines, mut unfinished) = (Vec::new(), 0);
    while let Some(item) = reader.try_recv().expect("ours") {
        match item {
            Item::Line(line) => {
                assert!(!line.damaged && !line.truncated, "{line:?}");
                unfinished += usize::from(line.unfinished);
                lines.push(line.bytes.into_owned());
            }
            Item::Ended(_) => {}
            other => panic!("{other}"),
        }
    }
    (lines, unfinished)
}

#[test]
fn pieces_of_any_length_are_the_lines_that_they_make() {
    for case in 0..16_u64 {
        let options = Options::new()
            .lines(1024)
            .line_bytes(if case & 1 == 0 { 64 } else { 192 })
            .checksums(case & 2 != 0)
            .fold_crlf(case & 4 != 0)
            .rewrite(case & 8 != 0);
        let ring = LineRing::new(options).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        // No `\r`, but all that stands near it and near `\n`.
        let bytes = |number: u64| {
            let length = mix(number) % 150;
            (0..length).map(move |at| match mix(number << 20 | at) as u8 {
                b'\n' | b'\r' => 0x0b,
                byte => byte,
            })
        };
        let lines: Vec<Vec<u8>> = (0..100).map(|number| bytes(number).collect()).collect();
        let text: Vec<u8> = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
        let (mut rest, mut seed) = (&text[..], case);
        while !rest.is_empty() {
            seed = mix(seed + 1);
            let (piece, after) = rest.split_at(rest.len().min(1 + seed as usize % 70));
            // An end comes alone now and then, and else in a piece or behind one.
            let end = piece.iter().position(|byte| *byte == b'\n').filter(|_| seed & 1 << 40 != 0);
            let (before, end_and_rest) = piece.split_at(end.unwrap_or(0));
            let (end, piece) = end_and_rest.split_at(usize::from(end.is_some()));
            for piece in [before, end, piece] {
                mirror.write_all(piece).expect("room");
            }
            rest = after;
        }
        drop(mirror);
        assert_eq!(drained(&ring), (lines, 0), "case {case}");
    }
}

/// Pieces that go the short way, each in another number of steps.
const PIECES: [&[u8]; 5] = [b"ab", b"abcde", b"abcdefghijk", b"twenty bytes of text", &[b'x'; 60]];

#[test]
fn a_piece_after_a_stop_is_refused_and_not_added() {
    for piece in PIECES {
        let ring = LineRing::new(Options::new().line_bytes(192)).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_all(b"begun ").expect("room");
        mirror.write_all(piece).expect("room");
        ring.stop_all_mirrors();
        let refused = mirror.write_all(piece).expect_err("it was stopped");
        let cause = refused.get_ref().and_then(|cause| cause.downcast_ref());
        assert!(matches!(cause, Some(WriteError::Stopped)), "{refused:?}");
        drop(mirror);
        assert_eq!(drained(&ring), (vec![[b"begun ", piece].concat()], 1));
    }
}

#[test]
fn a_childs_piece_is_none_of_the_line_that_its_parent_has_begun() {
    for piece in PIECES {
        let ring = LineRing::new(Options::new().line_bytes(192)).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_all(b"the parent's ").expect("room");
        fork(|| {
            let written = mirror.write_all(piece).and_then(|()| mirror.write_all(b"\n"));
            u8::from(written.is_err())
        })
        .succeeds();
        mirror.write_all(b"line\n").expect("room");
        let lines = vec![piece.to_vec(), b"the parent's line".to_vec()];
        assert_eq!(drained(&ring), (lines, 0));
    }
}
