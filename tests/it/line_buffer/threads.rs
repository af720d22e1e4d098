//! Each thread has its own unfinished line; threads that end, panic or find no cell lose nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use linering::{LineBuffer, Options};

use super::{PAYLOAD, bytes, numbered, small, texts, unfinished, with_cells, write};
use crate::common::Actor;

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
