//! Which bytes end a line, which rewrite it, and which are bytes like others.

use std::sync::Arc;

use super::{PAYLOAD, bytes, small, texts, write};
use crate::common::Actor;

#[test]
fn a_carriage_return_before_a_line_feed_is_folded_however_it_is_cut() {
    for pieces in [&["a\r\nb\r\n"][..], &["a\r", "\nb", "\r", "\n"], &["a", "\r\nb\r\n"]] {
        let buffer = small(10);
        pieces.iter().for_each(|piece| write(&buffer, piece.as_bytes()));
        assert_eq!(bytes(&buffer.read(None).expect("ours")), [b"a", b"b"], "{pieces:?}");
    }
}

#[test]
fn a_lone_carriage_return_rewrites_the_unfinished_line() {
    let buffer = small(10);
    for step in ["  0%", "\r 50%", "\r100%"] {
        write(&buffer, step.as_bytes());
        assert_eq!(texts(&buffer), [step.trim_start_matches('\r')]);
    }
    write(&buffer, b"\r");
    assert_eq!(texts(&buffer), ["100%"], "nothing rewrites it yet");
    write(&buffer, b"done\n");
    assert_eq!(texts(&buffer), ["done"]);
}

#[test]
fn a_rewritten_line_keeps_its_place_among_the_unfinished_ones() {
    let buffer = Arc::new(small(10));
    let (first, second) = (Actor::new(), Actor::new());
    first.write(&buffer, b"first 0%");
    second.write(&buffer, b"second");
    first.write(&buffer, b"\rfirst 9%");
    assert_eq!(texts(&buffer), ["first 9%", "second"]);
}

#[test]
fn a_rewritten_line_of_many_slots_leaves_nothing_behind() {
    let buffer = small(10);
    write(&buffer, &[b'x'; 5 * PAYLOAD + 3]);
    write(&buffer, b"\rshort");
    assert_eq!(texts(&buffer), ["short"]);
    write(&buffer, b"\n");
    write(&buffer, &[&[b'y'; 3 * PAYLOAD][..], b"\r", &[b'z'; 4 * PAYLOAD + 1], b"\n"].concat());
    let lines = buffer.read(None).expect("ours");
    assert_eq!(bytes(&lines), [b"short".to_vec(), vec![b'z'; 4 * PAYLOAD + 1]]);
    assert!(lines.iter().all(|line| !line.truncated && line.missing == 0), "{lines:?}");
}

#[test]
fn only_a_line_feed_splits() {
    let buffer = small(10);
    let text = "a\x0bb\x0cc\x1cd\u{85}e\u{2028}f\u{2029}g";
    write(&buffer, format!("{text}\nnext\n").as_bytes());
    assert_eq!(texts(&buffer), [text, "next"]);
}

#[test]
fn nul_bytes_and_invalid_utf_8_arrive_as_they_were() {
    let buffer = small(10);
    let all: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    write(&buffer, &[&all[..], b"\n\0\n\xff\xfe\n\xe2\x80"].concat());
    let lines = buffer.read(None).expect("ours");
    assert_eq!(bytes(&lines), [&all[..], b"\0", b"\xff\xfe", b"\xe2\x80"]);
    assert_eq!(lines[2].to_string(), "\u{fffd}\u{fffd}", "as text, with replacements");
}

#[test]
fn empty_lines_are_lines() {
    let buffer = small(10);
    write(&buffer, b"\n\n\r\n");
    assert_eq!(texts(&buffer), ["", "", ""]);
}
