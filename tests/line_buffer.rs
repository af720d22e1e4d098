//! What a `LineBuffer` keeps, of one thread and of many, and what it refuses.

mod common;

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst,
};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Actor, Gate, below_overflow, fork};
use linering::{CreateError, Line, LineBuffer, Options, ReadError, WriteError};

/// Slots of 64 bytes hold 32 bytes of a line.
const PAYLOAD: usize = 32;

/// A buffer of small slots, whose laps overflow after its third line.
fn small(maxlen: usize) -> LineBuffer {
    with_cells(maxlen, 16)
}

/// The same with so many cells for threads, and one more that further threads share.
fn with_cells(maxlen: usize, cells: usize) -> LineBuffer {
    let lines = (2 * maxlen).max(64);
    let options = Options::new().lines(lines).line_bytes(64).mirrors(cells).seats(1);
    LineBuffer::with_options(maxlen, options.start_position(below_overflow(lines)))
        .expect("a buffer")
}

fn write(mut buffer: &LineBuffer, bytes: &[u8]) {
    buffer.write_all(bytes).expect("the write succeeds");
}

fn bytes(lines: &[Line<'_>]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line.bytes.to_vec()).collect()
}

/// All lines, as text.
#[track_caller]
fn texts(buffer: &LineBuffer) -> Vec<String> {
    let lines = buffer.read(None).expect("this process made it");
    assert_eq!(buffer.len().expect("this process made it"), lines.len(), "len is what read gives");
    lines.iter().map(Line::to_string).collect()
}

/// The lines that are not finished, as text.
fn unfinished(buffer: &LineBuffer) -> Vec<String> {
    let lines = buffer.read(None).expect("this process made it");
    lines.iter().filter(|line| line.unfinished).map(Line::to_string).collect()
}

// ---------------------------------------------------------------------------------------- one
// thread

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

// -------------------------------------------------------------------------------------- what ends
// a line

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

// ------------------------------------------------------------------------------------------ long
// lines

/// Bytes of which each run of eight says where it stands.
fn numbered(length: usize) -> Vec<u8> {
    (0..length / 8 + 1).flat_map(|i| format!("{i:07},").into_bytes()).take(length).collect()
}

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

// --------------------------------------------------------------------------------------- many
// threads

#[test]
fn lines_are_put_together_per_thread() {
    let buffer = Arc::new(small(10));
    let (a, b) = (Actor::new(), Actor::new());
    let steps = [
        (&a, &b"A-wh"[..]),
        (&b, b"B-w"),
        (&a, b"ole\nA-par"),
        (&b, b"hole\nB-partial"),
        (&a, b"tial"),
    ];
    steps.into_iter().for_each(|(actor, bytes)| actor.write(&buffer, bytes));
    assert_eq!(texts(&buffer), ["A-whole", "B-whole", "A-partial", "B-partial"]);
    assert_eq!(unfinished(&buffer), ["A-partial", "B-partial"]);
    b.write(&buffer, b"-end\n");
    a.write(&buffer, b"-end\n");
    assert_eq!(texts(&buffer), ["A-whole", "B-whole", "B-partial-end", "A-partial-end"]);
}

#[test]
fn unfinished_lines_come_in_the_order_in_which_they_were_begun() {
    let buffer = Arc::new(small(10));
    let actors: Vec<Actor> = (0..4).map(|_| Actor::new()).collect();
    let begin = |i: usize, text: &str| actors[i].write(&buffer, text.as_bytes());
    begin(2, "1st");
    begin(0, "2nd");
    begin(3, "3rd");
    begin(1, "4th");
    begin(2, " line");
    assert_eq!(texts(&buffer), ["1st line", "2nd", "3rd", "4th"]);
    begin(0, "\n");
    begin(0, "5th");
    assert_eq!(texts(&buffer), ["2nd", "1st line", "3rd", "4th", "5th"]);
}

#[test]
fn the_unfinished_lines_of_many_threads_push_out_the_oldest_lines() {
    let buffer = Arc::new(small(3));
    write(&buffer, b"1\n2\n");
    let actors: Vec<Actor> = (0..4).map(|_| Actor::new()).collect();
    let mut expected = vec!["1".to_owned(), "2".to_owned()];
    for (i, actor) in actors.iter().enumerate() {
        actor.write(&buffer, format!("thread {i}").as_bytes());
        expected.push(format!("thread {i}"));
        assert_eq!(texts(&buffer), expected[expected.len().saturating_sub(3)..]);
    }
}

#[test]
fn a_threads_exit_finishes_its_line() {
    let buffer = Arc::new(small(10));
    let (a, b) = (Actor::new(), Actor::new());
    a.write(&buffer, b"of A");
    b.write(&buffer, b"of B");
    b.end();
    let lines = buffer.read(None).expect("ours");
    assert_eq!(bytes(&lines), [b"of B", b"of A"], "the finished one comes first");
    assert_eq!([lines[0].unfinished, lines[1].unfinished], [false, true]);
    a.end();
    assert_eq!(texts(&buffer), ["of B", "of A"]);
    assert_eq!(unfinished(&buffer), [""; 0]);
}

#[test]
fn a_panicking_threads_line_is_finished_too() {
    let buffer = Arc::new(small(10));
    let shared = Arc::clone(&buffer);
    let thread = thread::spawn(move || {
        write(&shared, b"last words");
        std::panic::resume_unwind(Box::new(()));
    });
    thread.join().expect_err("it panics");
    assert_eq!(texts(&buffer), ["last words"]);
    assert_eq!(unfinished(&buffer), [""; 0]);
}

#[test]
fn new_line_and_clear_leave_the_unfinished_lines_of_other_threads_alone() {
    let buffer = Arc::new(small(10));
    let actor = Actor::new();
    actor.write(&buffer, b"theirs");
    write(&buffer, b"1\nours");
    buffer.finish_line().expect("open");
    assert_eq!(unfinished(&buffer), ["theirs"]);
    write(&buffer, b"ours again");
    buffer.clear().expect("ours");
    assert_eq!(texts(&buffer), ["theirs"]);
    actor.write(&buffer, b" go on\n");
    assert_eq!(texts(&buffer), ["theirs go on"]);
}

#[test]
fn one_thread_may_write_into_many_buffers() {
    let buffers: Vec<LineBuffer> = (0..5).map(|_| small(10)).collect();
    for text in ["be", "gun", "\nne", "xt"] {
        buffers.iter().for_each(|buffer| write(buffer, text.as_bytes()));
    }
    buffers.iter().for_each(|buffer| assert_eq!(texts(buffer), ["begun", "next"]));
}

#[test]
fn a_buffer_may_go_before_the_threads_that_wrote_into_it() {
    let buffer = Arc::new(small(10));
    let actor = Actor::new();
    actor.write(&buffer, b"unfinished");
    drop(buffer);
    let next = Arc::new(small(10));
    actor.write(&next, b"next");
    actor.end();
    assert_eq!(texts(&next), ["next"]);
}

#[test]
fn a_thousand_short_threads_use_up_no_cells() {
    let buffer = Arc::new(with_cells(1000, 2));
    for i in 0..1000 {
        let shared = Arc::clone(&buffer);
        let thread = thread::spawn(move || write(&shared, format!("{i}").as_bytes()));
        thread.join().expect("no panic");
    }
    let expected: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    assert_eq!(texts(&buffer), expected);
}

#[test]
fn threads_beyond_the_cells_still_have_a_line_each() {
    let buffer = Arc::new(with_cells(20, 2));
    let actors: Vec<Actor> = (0..8).map(|_| Actor::new()).collect();
    let long = numbered(3 * PAYLOAD + 1);
    for piece in [b"whole", &long[..], b"\npar", b"tial ", &long] {
        for (i, actor) in actors.iter().enumerate() {
            actor.write(&buffer, format!("<{i}>").as_bytes());
            actor.write(&buffer, piece);
        }
    }
    let long = String::from_utf8(long).expect("digits");
    let whole = (0..8).map(|i| format!("<{i}>whole<{i}>{long}<{i}>"));
    let partial = (0..8).map(|i| format!("par<{i}>tial <{i}>{long}"));
    let expected: Vec<String> = whole.chain(partial.clone()).collect();
    assert_eq!(texts(&buffer), expected);
    assert_eq!(unfinished(&buffer), partial.collect::<Vec<_>>());
    // The threads' ends finish their lines, in the order of the ends.
    actors.into_iter().rev().for_each(Actor::end);
    let finished: Vec<String> =
        expected[..8].iter().chain(expected[8..].iter().rev()).cloned().collect();
    assert_eq!(texts(&buffer), finished);
    assert_eq!(unfinished(&buffer), [""; 0]);
}

#[test]
fn threads_beyond_the_cells_have_everything_else_too() {
    let buffer = Arc::new(with_cells(20, 1));
    let (first, second, third) = (Actor::new(), Actor::new(), Actor::new());
    first.write(&buffer, b"first");
    second.write(&buffer, b"second\r\n 0%\r");
    third.write(&buffer, b"third");
    second.write(&buffer, b"99%");
    assert_eq!(texts(&buffer), ["second", "first", "99%", "third"]);
    let shared = Arc::clone(&buffer);
    third.run(move || shared.finish_line().expect("open"));
    assert_eq!(texts(&buffer), ["second", "third", "first", "99%"]);
    let shared = Arc::clone(&buffer);
    second.run(move || shared.clear().expect("ours"));
    assert_eq!(texts(&buffer), ["first"]);
    second.write(&buffer, b"\rbegun anew");
    assert_eq!(texts(&buffer), ["first", "begun anew"]);
    second.end();
    assert_eq!(unfinished(&buffer), ["first"]);
}

/// `threads` threads write `count` lines each; the last `maxlen` must be a suffix of one order.
fn last_lines_of(threads: usize, count: usize, buffer: &Arc<LineBuffer>) {
    let handles: Vec<_> = (0..threads)
        .map(|t| {
            let buffer = Arc::clone(buffer);
            thread::spawn(move || {
                for i in 0..count {
                    // In two pieces, so that others come in between.
                    write(&buffer, format!("{t}:").as_bytes());
                    write(&buffer, format!("{i}\n").as_bytes());
                }
            })
        })
        .collect();
    handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
    let lines = texts(buffer);
    assert_eq!(lines.len(), buffer.maxlen().min(threads * count));
    let mut last = HashMap::new();
    for line in &lines {
        let (t, i) = line.split_once(':').expect("a whole line");
        let (t, i): (usize, usize) = (t.parse().expect("a thread"), i.parse().expect("a line"));
        if let Some(before) = last.insert(t, i) {
            assert_eq!(i, before + 1, "thread {t}: nothing is left out among the last lines");
        }
    }
    for (t, i) in last {
        assert_eq!(i, count - 1, "thread {t}: its last line is the last one");
    }
}

#[test]
fn of_eight_threads_with_ten_thousand_lines_each_exactly_the_last_are_kept() {
    last_lines_of(8, 10_000, &Arc::new(LineBuffer::new(1000).expect("a buffer")));
    last_lines_of(8, 10_000, &Arc::new(small(32)));
    // All of them.
    let options = Options::new().line_bytes(64);
    last_lines_of(8, 1000, &Arc::new(LineBuffer::with_options(8000, options).expect("a buffer")));
}

#[test]
fn of_more_threads_than_cells_exactly_the_last_lines_are_kept() {
    last_lines_of(8, 2000, &Arc::new(with_cells(500, 2)));
}

// --------------------------------------------------------------------- reading while others write

/// Runs `write` in `threads` threads until `read` has returned.
fn while_writing(
    threads: usize,
    write: impl Fn(usize, usize) + Sync,
    read: impl FnOnce(&AtomicUsize),
) {
    let over = AtomicBool::new(false);
    // So that a reader knows that something has happened since it looked.
    let rounds = AtomicUsize::new(0);
    struct OnDrop<'a>(&'a AtomicBool);
    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    thread::scope(|scope| {
        let _over = OnDrop(&over);
        for t in 0..threads {
            let (write, over, rounds) = (&write, &over, &rounds);
            scope.spawn(move || {
                for round in 0.. {
                    write(t, round);
                    rounds.fetch_add(1, SeqCst);
                    if over.load(SeqCst) {
                        return;
                    }
                }
            });
        }
        read(&rounds);
    });
}

/// A line that says throughout which it is: `t.i.t.i.…`, of a length that varies.
fn woven(t: usize, i: usize) -> String {
    format!("{t}.{i}.").repeat(1 + i % 40)
}

#[test]
fn a_read_while_others_write_gives_whole_lines_of_one_thread_each() {
    // The last thread has no cell of its own.
    let buffer = with_cells(32, 3);
    while_writing(
        4,
        |t, i| {
            let line = woven(t, i) + "\n";
            let (begin, end) = line.split_at(line.len() / 2);
            write(&buffer, begin.as_bytes());
            write(&buffer, end.as_bytes());
        },
        |rounds| {
            for _ in 0..300 {
                let before = rounds.load(SeqCst);
                let mut last = [None; 4];
                for line in buffer.read(None).expect("ours") {
                    if line.truncated {
                        // Overwritten while it was read: flagged, and so no lie.
                        continue;
                    }
                    let text = line.to_string();
                    let mut words = text.split('.');
                    let mut next = || words.next().and_then(|word| word.parse::<usize>().ok());
                    let (Some(t), Some(i)) = (next(), next()) else {
                        assert!(line.unfinished, "{text}");
                        continue;
                    };
                    if line.unfinished {
                        assert!(
                            woven(t, i).starts_with(&text) || text.matches('.').count() < 2,
                            "{text}"
                        );
                    } else {
                        assert_eq!(text, woven(t, i));
                        let before = last[t].replace(i);
                        assert!(
                            before.is_none_or(|before| before < i),
                            "thread {t}: {i} after {before:?}"
                        );
                    }
                }
                while rounds.load(SeqCst) == before {
                    thread::yield_now();
                }
            }
        },
    );
}

#[test]
fn a_read_comes_to_an_end_while_others_write_without_end() {
    let buffer = small(16);
    let written = AtomicUsize::new(0);
    const PLENTY: usize = 3_000_000;
    while_writing(
        3,
        |t, i| {
            // An end after all, so that a read that never ends fails this test and does not hang
            // it.
            if written.fetch_add(1, SeqCst) < PLENTY {
                write(&buffer, format!("{t}:{i}\n").as_bytes());
            }
        },
        |_| {
            for _ in 0..100 {
                assert!(buffer.read(None).expect("ours").len() <= 16);
                assert!(buffer.len().expect("ours") <= 16);
                buffer.clear().expect("ours");
            }
            let written = written.load(SeqCst);
            assert!(written < PLENTY, "300 looks took as long as {written} writes");
        },
    );
}

#[test]
fn an_unfinished_line_that_grows_is_read_without_holes() {
    let buffer = LineBuffer::with_options(4, Options::new().lines(1 << 14).line_bytes(64))
        .expect("a buffer");
    let whole = numbered(1 << 15);
    while_writing(
        1,
        |_, _| {
            whole.chunks(13).for_each(|piece| write(&buffer, piece));
            write(&buffer, b"\n");
        },
        |rounds| {
            for look in 0.. {
                for line in buffer.read(None).expect("ours").iter().filter(|line| !line.truncated) {
                    let same = line.bytes.iter().zip(&whole).take_while(|(a, b)| a == b).count();
                    assert_eq!(
                        same,
                        line.bytes.len(),
                        "look {look}: the rest is {:?}",
                        &line.to_string()[same..]
                    );
                }
                if look > 2000 && rounds.load(SeqCst) > 20 {
                    break;
                }
            }
        },
    );
}

#[test]
fn what_was_written_of_an_unfinished_line_is_read_while_its_thread_writes_more() {
    let buffer = LineBuffer::with_options(4, Options::new().lines(1 << 10).line_bytes(64))
        .expect("a buffer");
    // Line number and bytes of it whose write has returned.
    let acknowledged = AtomicU64::new(0);
    let whole = numbered(1 << 11);
    while_writing(
        1,
        |_, line| {
            for (i, piece) in whole.chunks(13).enumerate() {
                write(&buffer, piece);
                acknowledged.store((line as u64) << 32 | (13 * (i as u64 + 1)), SeqCst);
            }
            acknowledged.store((line as u64) << 32, SeqCst);
            write(&buffer, b"\n");
        },
        |rounds| {
            let mut looks = 0;
            while looks < 2000 || rounds.load(SeqCst) < 20 {
                let before = acknowledged.load(SeqCst);
                let lines = buffer.read(None).expect("ours");
                let after = acknowledged.load(SeqCst);
                // The same line, and not its end.
                if before >> 32 == after >> 32
                    && (after & 0xffff_ffff) >= (before & 0xffff_ffff)
                    && before as u32 > 0
                {
                    looks += 1;
                    let length = lines
                        .last()
                        .filter(|line| line.unfinished)
                        .map_or(0, |line| line.bytes.len());
                    let least = (before as u32 as usize).min(whole.len());
                    assert!(length >= least, "{length} bytes were read, {least} had been written");
                }
            }
        },
    );
}

#[test]
fn a_progress_bar_is_never_read_half_rewritten() {
    // A long one leaves time to be rewritten from end to end during a look.
    for (slot, most) in [(64, 100_000), (8192, 5000)] {
        let options = Options::new().lines(8).line_bytes(slot).mirrors(2).max_line(slot);
        let buffer = LineBuffer::with_options(4, options).expect("a buffer");
        while_writing(
            1,
            |_, round| {
                write(&buffer, b"\r");
                write(&buffer, &vec![b'a' + (round % 26) as u8; slot - 36]);
            },
            |rounds| {
                let mut looks = 0;
                while looks < most || rounds.load(SeqCst) < 1000 {
                    looks += 1;
                    for line in buffer.read(None).expect("ours") {
                        let first = line.bytes[0];
                        let torn = line.bytes.iter().position(|byte| *byte != first);
                        assert_eq!(torn, None, "look {looks} at slots of {slot} bytes");
                    }
                }
            },
        );
    }
}

// ------------------------------------------------------------------------------- re-entrant writes

/// A page that cannot be read until somebody asks for it, and what the handler of that fault found.
static PAGE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static TARGET: AtomicPtr<LineBuffer> = AtomicPtr::new(ptr::null_mut());
static FOUND: AtomicI32 = AtomicI32::new(0);
const PAGE_BYTES: usize = 4096;

/// Writes into the buffer that this thread is writing into, and then makes the page readable.
extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let page = PAGE.load(SeqCst);
    // SAFETY: the kernel passes the signal's information.
    let address = unsafe { (*info).si_addr() } as usize;
    if page.is_null() || address.wrapping_sub(page as usize) >= PAGE_BYTES {
        // Another fault: let it come again and end the process.
        // SAFETY: a plain system call.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        return;
    }
    // SAFETY: null, or a buffer that outlives the write that was interrupted. The fault came from
    // that write's look at the page, which is outside of the allocator, so the error below may
    // be allocated.
    if let Some(mut buffer) = unsafe { TARGET.load(SeqCst).as_ref() } {
        let found = match buffer.write(b"re-entrant\n") {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 1,
            Err(_) => 2,
            Ok(_) => 3,
        };
        FOUND.store(found, SeqCst);
    }
    // SAFETY: a mapping of ours, which nobody can have read before.
    unsafe { libc::mprotect(page.cast(), PAGE_BYTES, libc::PROT_READ | libc::PROT_WRITE) };
}

/// Writes a line whose second half cannot be read before a signal handler has written too. What
/// that found.
fn write_interrupted(buffer: &LineBuffer) -> i32 {
    // SAFETY: a plain C struct, for which zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: as above.
    let mut former: libc::sigaction = unsafe { std::mem::zeroed() };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping of two pages, the second of which cannot be read until the handler
    // allows it; it is written before that. The structs live during the calls.
    let pages = unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let pages: *mut u8 = libc::mmap(ptr::null_mut(), 2 * PAGE_BYTES, both, flags, -1, 0).cast();
        assert_ne!(pages.cast(), libc::MAP_FAILED);
        pages.write_bytes(b'i', 2 * PAGE_BYTES);
        pages.add(2 * PAGE_BYTES - 1).write(b'\n');
        assert_eq!(libc::mprotect(pages.add(PAGE_BYTES).cast(), PAGE_BYTES, libc::PROT_NONE), 0);
        PAGE.store(pages.add(PAGE_BYTES), SeqCst);
        TARGET.store(ptr::from_ref(buffer).cast_mut(), SeqCst);
        FOUND.store(0, SeqCst);
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, &raw mut former), 0);
        pages
    };
    // SAFETY: mapped and initialised; readable as soon as somebody tries.
    write(buffer, unsafe {
        std::slice::from_raw_parts(pages.add(PAGE_BYTES - 10), PAGE_BYTES + 10)
    });
    // SAFETY: the handler as it was before; the mapping above, which nobody uses any more.
    unsafe {
        libc::sigaction(libc::SIGSEGV, &raw const former, ptr::null_mut());
        PAGE.store(ptr::null_mut(), SeqCst);
        libc::munmap(pages.cast(), 2 * PAGE_BYTES);
    }
    FOUND.load(SeqCst)
}

#[test]
fn a_signal_handlers_write_in_the_middle_of_a_write_would_block() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    for cells in [4, 1] {
        let buffer = Arc::new(
            LineBuffer::with_options(10, Options::new().mirrors(cells)).expect("a buffer"),
        );
        let first = Actor::new();
        first.write(&buffer, b"first\n");
        // With one cell this thread has to share.
        let second = Actor::new();
        let shared = Arc::clone(&buffer);
        second.run(move || assert_eq!(write_interrupted(&shared), 1, "1 is WouldBlock, 3 success"));
        second.write(&buffer, b"goes on\n");
        let line = "i".repeat(PAGE_BYTES + 9);
        assert_eq!(texts(&buffer), ["first", &line, "goes on"], "{cells} cells");
        second.end();
        first.end();
    }
}

#[test]
fn a_write_in_a_destructor_that_runs_after_the_threads_last_is_an_error_value() {
    type Written = Arc<Mutex<Option<io::Result<usize>>>>;
    struct Last(Cell<Option<(Arc<LineBuffer>, Written)>>);
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some((buffer, result)) = self.0.take() {
                *result.lock().expect("not poisoned") =
                    Some((&*buffer).write(b"in a destructor\n"));
            }
        }
    }
    thread_local!(static LAST: Last = const { Last(Cell::new(None)) });
    let buffer = Arc::new(small(10));
    let result = Arc::new(Mutex::new(None));
    let kept = (Arc::clone(&buffer), Arc::clone(&result));
    let thread = thread::spawn(move || {
        // Registered first, so it is destroyed before or after the buffer's: both are right.
        LAST.with(|last| last.0.set(Some(kept)));
        write(
            &LAST.with(|last| {
                let kept = last.0.take();
                let buffer = kept.as_ref().map(|(buffer, _)| Arc::clone(buffer));
                last.0.set(kept);
                buffer.expect("just set")
            }),
            b"begun",
        );
    });
    thread.join().expect("no panic, no abort");
    let result = result.lock().expect("not poisoned").take().expect("the destructor ran");
    match result {
        Ok(_) => assert_eq!(texts(&buffer), ["begunin a destructor"]),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
            assert_eq!(texts(&buffer), ["begun"]);
        }
    }
}

// -------------------------------------------------------------------------------------- forked
// children

#[test]
fn a_forked_childs_lines_come_too_and_never_mix_with_its_parents() {
    let buffer = small(20);
    write(&buffer, b"parent 1\nparent ");
    let (written, go_on) = (Gate::new(), Gate::new());
    let child = fork(|| {
        let first = (&buffer).write_all(b"child 1\nchild ").is_ok();
        written.open();
        go_on.pass();
        let second = (&buffer).write_all(b"2\n").is_ok() && buffer.finish_line().is_ok();
        u8::from(!(first && second))
    });
    written.pass();
    assert_eq!(texts(&buffer), ["parent 1", "child 1", "parent ", "child "]);
    write(&buffer, b"2\n");
    go_on.open();
    child.succeeds();
    assert_eq!(texts(&buffer), ["parent 1", "child 1", "parent 2", "child 2"]);
}

#[test]
fn the_unfinished_line_of_a_dead_child_is_kept_and_flagged() {
    let buffer = small(20);
    let child = fork(|| {
        let _ = (&buffer).write_all(b"whole\nlast words");
        common::die()
    });
    assert!(child.status().code().is_none());
    assert_eq!(texts(&buffer), ["whole", "last words"]);
    assert_eq!(unfinished(&buffer), ["last words"]);
    write(&buffer, b"parent\n");
    let mut lines = texts(&buffer);
    lines.sort();
    assert_eq!(lines, ["last words", "parent", "whole"]);
    assert_eq!(unfinished(&buffer), ["last words"]);
}

#[test]
fn a_forked_child_may_not_read() {
    let buffer = small(20);
    write(&buffer, b"1\n2");
    let child = fork(|| {
        let refused = [
            matches!(buffer.read(None), Err(ReadError::Forked)),
            matches!(buffer.read(Some(1)), Err(ReadError::Forked)),
            matches!(buffer.len(), Err(ReadError::Forked)),
            matches!(buffer.clear(), Err(ReadError::Forked)),
        ];
        refused.iter().take_while(|refused| **refused).count() as u8 ^ 4
    });
    child.succeeds();
    assert_eq!(texts(&buffer), ["1", "2"], "nothing was cleared");
    assert_eq!(ReadError::Forked.to_string(), "this reader belongs to the parent process");
}

#[test]
fn a_child_that_is_forked_while_threads_write_can_write() {
    let buffer = with_cells(1000, 16);
    while_writing(
        4,
        |t, i| write(&buffer, format!("{t}:{i}\n").as_bytes()),
        |_| {
            for _ in 0..20 {
                fork(|| u8::from((&buffer).write_all(b"child\n").is_err())).succeeds();
            }
        },
    );
    let lines = texts(&buffer);
    assert!(lines.iter().all(|line| line == "child" || line.contains(':')), "{lines:?}");
}

#[test]
fn a_forked_child_that_finds_no_cell_is_told_so_and_its_parent_goes_on() {
    let buffer = Arc::new(with_cells(10, 1));
    let (own, shared) = (Actor::new(), Actor::new());
    own.write(&buffer, b"own ");
    shared.write(&buffer, b"shared ");
    let inherited = Arc::clone(&buffer);
    let child = fork(|| {
        let Err(error) = (&*inherited).write(b"child\n") else { return 1 };
        u8::from(!error.to_string().contains("mirrors")) * 2
    });
    child.succeeds();
    own.write(&buffer, b"line\n");
    shared.write(&buffer, b"line\n");
    assert_eq!(texts(&buffer), ["own line", "shared line"]);
}

// ------------------------------------------------------------------------------------------ bad
// input

#[test]
fn a_maxlen_out_of_bounds_is_named() {
    for maxlen in [0, (1 << 22) + 1, usize::MAX] {
        let error = LineBuffer::new(maxlen).expect_err("out of bounds");
        assert!(matches!(error, CreateError::Option { option: "maxlen", .. }), "{error}");
        assert_eq!(error.to_string(), format!("maxlen is {maxlen}, expected 1 to 4194304"));
    }
}

#[test]
fn an_option_out_of_bounds_is_named_with_the_number_that_was_asked_for() {
    let cases = [
        (Options::new().line_bytes(63), "line_bytes is 63, "),
        (Options::new().lines((1 << 23) + 1), "lines is 8388609, "),
        (Options::new().mirrors(5000), "mirrors is 5000, "),
        (Options::new().mirrors(0), "mirrors is 0, "),
    ];
    for (options, expected) in cases {
        match LineBuffer::with_options(10, options) {
            Ok(_) => panic!("accepted, expected: {expected}"),
            Err(error) => {
                assert!(error.to_string().starts_with(expected), "{error}, expected: {expected}")
            }
        }
    }
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
