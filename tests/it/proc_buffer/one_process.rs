//! What one process writes into its buffer, reads again and waits for.

use std::io::Write;
use std::iter;
use std::time::Duration;

use linering::{End, LineProcBuffer, Message};

use super::{kinds, small, texts, wait};
use crate::common::{Gate, fork};

#[test]
fn a_wait_for_nobody_is_over_at_once() {
    let buffer = small(10);
    assert_eq!(wait(&buffer), []);
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), Some(Vec::new()));
    assert_eq!(buffer.receive().expect("ours"), None);
    assert_eq!(texts(&buffer), [""; 0]);
    assert_eq!(buffer.maxlen(), 10);
}

#[test]
fn what_a_mirror_writes_is_read_again_and_again() {
    let buffer = LineProcBuffer::new(3).expect("a buffer");
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_line(b"1").expect("open");
    mirror.write_all(b"2\n3\n4").expect("open");
    for _ in 0..3 {
        assert_eq!(texts(&buffer), ["1", "2", "3"], "the unfinished line is not published yet");
    }
    mirror.write_all(b"th\n5th\n").expect("open");
    assert_eq!(texts(&buffer), ["3", "4th", "5th"]);
    let last = |count| {
        buffer.read(Some(count)).expect("ours").iter().map(Message::to_string).collect::<Vec<_>>()
    };
    assert_eq!(last(0), [""; 0]);
    assert_eq!(last(2), ["4th", "5th"]);
    assert_eq!(last(99), ["3", "4th", "5th"]);
    buffer.clear().expect("ours");
    assert_eq!(texts(&buffer), [""; 0]);
    mirror.write_line(b"6").expect("open");
    assert_eq!(texts(&buffer), ["6"]);
}

#[test]
fn lines_are_put_together_per_mirror() {
    let buffer = small(10);
    let [mut a, mut b] = [buffer.mirror().expect("a mirror"), buffer.mirror().expect("a mirror")];
    a.write_all(b"A-wh").expect("open");
    b.write_all(b"B-w").expect("open");
    a.write_all(b"ole\nA-par").expect("open");
    b.write_all(b"hole\nB-partial").expect("open");
    a.write_all(b"tial").expect("open");
    assert_eq!(texts(&buffer), ["A-whole", "B-whole"]);
    drop(b);
    a.send_eof().expect("room");
    assert_eq!(texts(&buffer), ["A-whole", "B-whole", "B-partial", "A-partial"]);
    let messages = buffer.read(None).expect("ours");
    let flags = messages.iter().map(|message| match message {
        Message::Line(line) => (line.writer_id, line.unfinished, line.truncated),
        Message::Group(_) => panic!("not a group: {message}"),
    });
    let expected = [(0, false, false), (1, false, false), (1, true, false), (0, true, false)];
    assert_eq!(flags.collect::<Vec<_>>(), expected);
}

#[test]
fn a_mirror_folds_line_ends_and_rewrites_lines() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    for piece in
        [&b"dos\r"[..], b"\n  0%", b"\r 50%", b"\r", b"100%\r\n", b"\x0b\x0c\xe2\x80\xa8\0\xff\n\n"]
    {
        mirror.write_all(piece).expect("open");
    }
    assert_eq!(texts(&buffer), ["dos", "100%", "\x0b\x0c\u{2028}\0\u{fffd}", ""]);
}

#[test]
fn flush_publishes_nothing_and_flush_partial_does() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.flush_partial().expect("nothing to do");
    mirror.write_all(b"Password: ").expect("open");
    mirror.flush().expect("nothing to do");
    assert_eq!(texts(&buffer), [""; 0]);
    mirror.flush_partial().expect("open");
    mirror.flush_partial().expect("nothing to do");
    let messages = buffer.read(None).expect("ours");
    assert!(
        matches!(&messages[..], [Message::Line(line)] if line.unfinished && &line.bytes[..] == b"Password: ")
    );
    mirror.write_all(b"next\n").expect("open");
    assert_eq!(texts(&buffer), ["Password: ", "next"]);
}

#[test]
fn receive_gives_one_message_after_another_and_keeps_them_too() {
    let buffer = small(2);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"1\n2\n").expect("open");
    mirror.send_warning("3").expect("open");
    drop(mirror);
    let receive = || buffer.receive().expect("ours").map(|message| message.to_string());
    assert_eq!(iter::from_fn(receive).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(receive(), None, "still over");
    assert_eq!(texts(&buffer), ["2", "3"]);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
}

#[test]
fn receive_waits_for_a_message_that_comes_later() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    let go_on = Gate::new();
    let child = fork(|| {
        let Ok(mut mirror) = seat.open() else { return 1 };
        for i in 0..20 {
            go_on.pass();
            check!(2, mirror.write_line(format!("{i}").as_bytes()).is_ok());
        }
        u8::from(mirror.send_eof().is_err())
    });
    for i in 0..20 {
        go_on.open();
        let message = buffer.receive().expect("ours").expect("not over");
        assert_eq!(message.to_string(), i.to_string());
    }
    assert_eq!(buffer.receive().expect("ours"), None);
    child.succeeds();
}

#[test]
fn wait_says_only_once_how_a_mirror_ended() {
    let buffer = small(10);
    drop(buffer.mirror().expect("a mirror"));
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
    assert_eq!(wait(&buffer), []);
    drop(buffer.seat().expect("a seat").open().expect("a mirror"));
    assert_eq!(wait(&buffer), [(1, End::Eof)]);
}

#[test]
fn wait_timeout_says_whether_every_mirror_has_ended() {
    let buffer = small(10);
    let short = Duration::from_millis(1);
    let seat = buffer.seat().expect("a seat");
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("open");
    assert_eq!(buffer.wait_timeout(short).expect("ours"), None, "a seat and a mirror are open");
    assert_eq!(texts(&buffer), ["line"]);
    mirror.send_eof().expect("room");
    assert_eq!(buffer.wait_timeout(short).expect("ours"), None, "a seat is open");
    drop(seat.open().expect("a mirror"));
    let ends = buffer.wait_timeout(Duration::from_secs(60)).expect("ours").expect("all have ended");
    assert_eq!(kinds(ends), [(0, End::Eof), (1, End::Eof)]);
}

#[test]
fn an_end_says_whose_it_was_and_how_many_lines_came() {
    let buffer = small(10);
    let seat = buffer.ring().seat_labelled("the worker").expect("a seat");
    let mut mirror = seat.open().expect("a mirror");
    mirror.write_all(b"1\n2\n3").expect("open");
    mirror.send_eof().expect("room");
    let ends = buffer.wait().expect("ours");
    assert_eq!(ends.len(), 1);
    let end = &ends[0];
    assert_eq!(
        (end.writer_id, &*end.label, end.end, end.lines, end.lost),
        (0, "the worker", End::Eof, 3, 0)
    );
}

#[test]
fn overwritten_lines_are_counted_exactly_in_the_ends() {
    let buffer = small(10);
    const WRITTEN: [u64; 3] = [1000, 7, 4321];
    let mut mirrors: Vec<_> = WRITTEN.iter().map(|_| buffer.mirror().expect("a mirror")).collect();
    for (mirror, count) in mirrors.iter_mut().zip(WRITTEN) {
        for i in 0..count {
            mirror.write_line(i.to_string().as_bytes()).expect("open");
        }
    }
    drop(mirrors);
    let ends = buffer.wait().expect("ours");
    assert_eq!(ends.len(), 3);
    for end in ends {
        assert_eq!(end.lines + end.lost, WRITTEN[end.writer_id as usize], "{end:?}");
    }
    assert_eq!(texts(&buffer), (4311..4321).map(|i| i.to_string()).collect::<Vec<_>>());
}
