//! What one thread writes, reads, clears, takes and closes.

use std::io::{self, Write};
use std::sync::Arc;

use linering::{LineBuffer, Options, WriteError};

use super::{PAYLOAD, bytes, small, texts, unfinished, write};
use crate::common::{Actor, below_overflow};

#[test]
fn an_empty_buffer_has_no_lines() {
    let buffer = small(3);
    assert_eq!(texts(&buffer), [""; 0]);
    assert_eq!(buffer.maxlen(), 3);
}

#[test]
fn the_last_maxlen_lines_are_kept_and_come_oldest_first_again_and_again() {
    let buffer = LineBuffer::new(3).expect("a buffer");
    write(&buffer, b"1\n2\n3\n4\n5\n");
    for _ in 0..3 {
        assert_eq!(texts(&buffer), ["3", "4", "5"]);
    }
    write(&buffer, b"6\n");
    assert_eq!(texts(&buffer), ["4", "5", "6"]);
}

#[test]
fn the_last_maxlen_lines_are_exact_after_many_laps_of_the_ring() {
    for maxlen in [1, 2, 31, 32] {
        let buffer = small(maxlen);
        for i in 0..1000 {
            write(&buffer, format!("{i}\n").as_bytes());
        }
        let expected: Vec<String> = (1000 - maxlen..1000).map(|i| i.to_string()).collect();
        assert_eq!(texts(&buffer), expected);
    }
}

#[test]
fn the_last_lines_are_exact_in_the_smallest_rings_too() {
    for (lines, maxlen) in [(2, 1), (4, 1), (4, 2), (8, 4)] {
        let options =
            Options::new().lines(lines).line_bytes(64).start_position(below_overflow(lines));
        let buffer = LineBuffer::with_options(maxlen, options).expect("a buffer");
        for i in 0..100 {
            write(&buffer, format!("{i}\n").as_bytes());
            if i % 7 == 0 {
                let expected: Vec<_> =
                    ((i + 1_usize).saturating_sub(maxlen)..=i).map(|i| i.to_string()).collect();
                assert_eq!(texts(&buffer), expected, "{lines} lines");
            }
        }
    }
}

#[test]
fn a_read_of_n_gives_the_last_n_unfinished_ones_included() {
    let buffer = small(5);
    write(&buffer, b"1\n2\n3\n4");
    let read = |count| bytes(&buffer.read(Some(count)).expect("ours"));
    assert_eq!(read(0), [b""; 0]);
    assert_eq!(read(1), [b"4"]);
    assert_eq!(read(3), [b"2", b"3", b"4"]);
    assert_eq!(read(99), [b"1", b"2", b"3", b"4"]);
}

#[test]
fn a_line_may_come_in_pieces_of_any_size() {
    let buffer = small(10);
    let text = b"one\ntwo and more\n\nfour";
    for byte in text {
        write(&buffer, &[*byte]);
    }
    assert_eq!(texts(&buffer), ["one", "two and more", "", "four"]);
    assert_eq!(unfinished(&buffer), ["four"]);
}

#[test]
fn an_unfinished_line_is_flagged_until_it_ends() {
    let buffer = small(10);
    write(&buffer, b"begun");
    let begun = &buffer.read(None).expect("ours")[0];
    assert!(begun.unfinished && !begun.truncated, "{begun:?}");
    write(&buffer, b", ended\n");
    let ended = buffer.read(None).expect("ours");
    assert_eq!(bytes(&ended), [b"begun, ended"]);
    assert!(!ended[0].unfinished, "{:?}", ended[0]);
}

#[test]
fn unfinished_lines_count_within_maxlen() {
    let buffer = small(3);
    write(&buffer, b"1\n2\n3\n4");
    assert_eq!(texts(&buffer), ["2", "3", "4"]);
    write(&buffer, b"\n");
    assert_eq!(texts(&buffer), ["2", "3", "4"]);
}

#[test]
fn new_line_ends_the_line_and_does_nothing_without_one() {
    let buffer = small(10);
    buffer.finish_line().expect("open");
    assert_eq!(texts(&buffer), [""; 0]);
    write(&buffer, b"line");
    buffer.finish_line().expect("open");
    buffer.finish_line().expect("open");
    write(&buffer, b"next");
    assert_eq!(texts(&buffer), ["line", "next"]);
    assert_eq!(unfinished(&buffer), ["next"]);
}

#[test]
fn clear_forgets_the_finished_lines_and_the_unfinished_one() {
    let buffer = small(10);
    write(&buffer, b"1\n2\nunfinished");
    buffer.clear().expect("ours");
    assert_eq!(texts(&buffer), [""; 0]);
    write(&buffer, b"3\n4");
    assert_eq!(texts(&buffer), ["3", "4"]);
}

#[test]
fn clear_forgets_an_unfinished_line_of_many_slots() {
    let buffer = small(10);
    write(&buffer, &[b'x'; 7 * PAYLOAD + 5]);
    buffer.clear().expect("ours");
    assert_eq!(texts(&buffer), [""; 0]);
    write(&buffer, b"next\n");
    assert_eq!(texts(&buffer), ["next"]);
    let line = &buffer.read(None).expect("ours")[0];
    assert!(!line.truncated, "{line:?}");
}

#[test]
fn a_closed_buffer_refuses_writes_and_can_still_be_read() {
    let buffer = small(10);
    write(&buffer, b"1\n2");
    assert!(!buffer.is_closed());
    buffer.close();
    assert!(buffer.is_closed());
    let error = (&buffer).write(b"3\n").expect_err("it is closed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(error.to_string(), "the buffer is closed");
    assert!(matches!(buffer.finish_line(), Err(WriteError::Closed)));
    assert_eq!(texts(&buffer), ["1", "2"]);
    buffer.clear().expect("reading is allowed");
    assert_eq!(buffer.read(None).expect("ours").iter().filter(|line| !line.unfinished).count(), 0);
}

#[test]
fn a_line_that_is_unfinished_when_the_buffer_closes_is_finished_by_its_threads_exit() {
    let buffer = Arc::new(small(10));
    let actor = Actor::new();
    actor.write(&buffer, b"last words");
    buffer.close();
    assert_eq!(unfinished(&buffer), ["last words"]);
    actor.end();
    assert_eq!(texts(&buffer), ["last words"]);
    assert_eq!(unfinished(&buffer), [""; 0]);
}

#[test]
fn flush_changes_nothing() {
    let buffer = small(10);
    write(&buffer, b"1\n2");
    (&buffer).flush().expect("nothing to do");
    assert_eq!(texts(&buffer), ["1", "2"]);
    assert_eq!(unfinished(&buffer), ["2"]);
}

#[test]
fn write_takes_everything_and_says_so() {
    let mut buffer = small(10);
    assert_eq!(buffer.write(b"one\ntwo").expect("open"), 7);
    assert_eq!((&buffer).write(b"").expect("open"), 0);
    assert_eq!(texts(&buffer), ["one", "two"]);
}

#[test]
fn lines_that_are_taken_are_all_that_came_and_come_once_and_begun_ones_stay() {
    let buffer = small(2);
    write(&buffer, b"one\ntwo\nthree\nfo");
    let (finished, begun) = buffer.take().expect("this process made it");
    assert_eq!(bytes(&finished), [&b"one"[..], b"two", b"three"], "more than maxlen");
    assert_eq!(bytes(&begun), [b"fo"]);
    write(&buffer, b"ur\n");
    let (finished, begun) = buffer.take().expect("this process made it");
    assert_eq!(bytes(&finished), [b"four"]);
    assert_eq!(begun, []);
    assert_eq!(texts(&buffer), [""; 0]);
}
