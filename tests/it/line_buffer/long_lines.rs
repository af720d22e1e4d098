//! A line of several slots is whole, and one over the maximum says how much is missing.

use std::sync::Arc;

use linering::{LineBuffer, Options};

use super::{PAYLOAD, bytes, numbered, small, write};
use crate::common::{Actor, below_overflow};

#[test]
fn a_line_over_several_slots_comes_whole_finished_or_not() {
    for length in [PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 2 * PAYLOAD, 2 * PAYLOAD + 1, 8 * PAYLOAD] {
        for piece in [1, 7, PAYLOAD, length] {
            let buffer = small(10);
            let line = numbered(length);
            line.chunks(piece).for_each(|bytes| write(&buffer, bytes));
            let case = format!("{length} bytes, {piece} at a time");
            assert_eq!(bytes(&buffer.read(None).expect("ours")), [&line[..]], "{case}, unfinished");
            write(&buffer, b"\nnext");
            let lines = buffer.read(None).expect("ours");
            assert_eq!(bytes(&lines), [&line[..], b"next"], "{case}");
            assert!(!lines[0].truncated && lines[0].missing == 0, "{case}: {:?}", lines[0]);
        }
    }
}

#[test]
fn a_line_over_half_of_the_rings_slots_is_there_at_once() {
    for lines in [16, 64, 1024] {
        let options = Options::new().lines(lines).line_bytes(64).max_line(lines * PAYLOAD / 2);
        let buffer = LineBuffer::with_options(4, options.start_position(below_overflow(lines)))
            .expect("a buffer");
        let line = numbered(lines * PAYLOAD / 2);
        for _ in 0..5 {
            write(&buffer, &line);
            assert_eq!(
                buffer.read(Some(1)).expect("ours")[0].bytes,
                line,
                "{lines} lines, unfinished"
            );
            write(&buffer, b"\n");
            assert_eq!(buffer.read(Some(1)).expect("ours")[0].bytes, line, "{lines} lines");
        }
        assert!(
            buffer
                .read(None)
                .expect("ours")
                .iter()
                .all(|found| !found.truncated && found.bytes == line)
        );
    }
}

#[test]
fn lines_over_several_slots_count_as_one_each() {
    let buffer = small(4);
    let lines: Vec<Vec<u8>> = (0..200).map(|i| numbered(i % 12 * PAYLOAD + i)).collect();
    lines.iter().for_each(|line| write(&buffer, &[&line[..], b"\n"].concat()));
    let short: Vec<Vec<u8>> = (0..4).map(|i| numbered(i * PAYLOAD + 1)).collect();
    short.iter().for_each(|line| write(&buffer, &[&line[..], b"\n"].concat()));
    let read = buffer.read(None).expect("ours");
    assert_eq!(bytes(&read), short);
    assert!(read.iter().all(|line| !line.truncated), "{read:?}");
}

#[test]
fn a_line_over_the_maximum_is_cut_there_and_says_how_much_is_missing() {
    for (length, piece) in [(101, 101), (1000, 1000), (100_000, 4096), (100_000, 99)] {
        // A cell of its own, and the one that is shared.
        for cells in [4, 1] {
            let options = Options::new().lines(64).line_bytes(64).mirrors(cells).max_line(100);
            let buffer = Arc::new(LineBuffer::with_options(10, options).expect("a buffer"));
            let first = Actor::new();
            first.write(&buffer, b"first\n");
            let second = Actor::new();
            let line = numbered(length);
            line.chunks(piece).for_each(|bytes| second.write(&buffer, bytes));
            second.write(&buffer, b"\nnext\n");
            let lines = buffer.read(None).expect("ours");
            let case = format!("{length} bytes, {piece} at a time, {cells} cells");
            assert_eq!(bytes(&lines), [b"first", &line[..100], b"next"], "{case}");
            assert!(lines[1].truncated && !lines[1].unfinished, "{case}: {:?}", lines[1]);
            assert_eq!(lines[1].missing, length as u64 - 100, "{case}");
            assert!(!lines[2].truncated, "{case}: {:?}", lines[2]);
        }
    }
}
