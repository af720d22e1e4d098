//! Seats and mirrors: each is counted, ends, and can be had again.

use std::io::Write;
use std::thread;
use std::time::Duration;

use linering::{End, Item, LineProcBuffer, LineProcMirror, LineRing, Message, MirrorError, Seat};

use super::{Failure, PAYLOAD, groups, small, small_ring, texts, wait};
use crate::common::{Child, Gate, die, exit, fork};

/// The child's own way to end.
fn ending(how: usize, mut mirror: LineProcMirror) -> u8 {
    check!(1, mirror.write_all(format!("worker {how}\nlast words of {how}").as_bytes()).is_ok());
    match how % 5 {
        0 => u8::from(mirror.send_eof().is_err()) * 2,
        1 => {
            drop(mirror);
            0
        }
        2 => exit(0),
        3 => die(),
        _ => u8::from(mirror.send_error(&Failure("failed", None)).is_err()) * 2,
    }
}

#[test]
fn a_loop_that_makes_a_seat_and_forks_neither_hangs_nor_ends_early() {
    let buffer = small(100);
    let mut children = Vec::new();
    for i in 0..10 {
        let seat = buffer.seat().expect("a seat");
        let child = fork(|| match seat.open() {
            Ok(mirror) => ending(i, mirror),
            Err(_) => 99,
        });
        children.push(child);
        // The seat is dropped here, in the parent, maybe before the child opens it.
    }
    let ends = wait(&buffer);
    let expected = [End::Eof, End::Eof, End::Died, End::Died, End::Error];
    assert_eq!(ends, (0..10).map(|i| (i, expected[i as usize % 5])).collect::<Vec<_>>());
    // Every line and every unfinished line is there by the time that wait is over.
    let mut lines = texts(&buffer);
    lines.retain(|text| !text.starts_with("error: "));
    lines.sort();
    let expected =
        ["last words of", "worker"].map(|what| (0..10).map(move |i| format!("{what} {i}")));
    assert_eq!(lines, expected.into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(groups(&buffer).len(), 2);
    for (i, child) in children.into_iter().enumerate() {
        assert_eq!(child.status().code(), if i % 5 == 3 { None } else { Some(0) });
    }
}

#[test]
fn the_last_words_of_a_killed_worker_are_flagged_and_the_others_are_not() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    let written = Gate::new();
    let child = fork(|| {
        let Ok(mut mirror) = seat.open() else { return 1 };
        let long = [b'x'; 3 * PAYLOAD + 5];
        check!(2, mirror.write_all(&[b"whole\n", &long[..]].concat()).is_ok());
        written.open();
        loop {
            thread::park();
        }
    });
    written.pass();
    assert_eq!(buffer.wait_timeout(Duration::from_millis(1)).expect("ours"), None);
    child.kill();
    assert_eq!(wait(&buffer), [(0, End::Died)]);
    assert!(child.status().code().is_none());
    let messages = buffer.read(None).expect("ours");
    let [Message::Line(whole), Message::Line(last)] = &messages[..] else { panic!("{messages:?}") };
    assert!(
        !whole.unfinished && !whole.unacknowledged && &whole.bytes[..] == b"whole",
        "{whole:?}"
    );
    assert!(last.unfinished && !last.unacknowledged && !last.truncated, "{last:?}");
    assert_eq!(last.bytes.len(), 3 * PAYLOAD + 5);
}

#[test]
fn a_line_whose_write_returned_is_read_though_its_worker_is_killed_right_after() {
    let buffer = small(32);
    for i in 0..30 {
        let seat = buffer.seat().expect("a seat");
        fork(|| {
            let Ok(mut mirror) = seat.open() else { return 1 };
            check!(2, mirror.write_line(format!("{i}").as_bytes()).is_ok());
            die()
        })
        .status();
    }
    assert!(wait(&buffer).iter().all(|(_, end)| *end == End::Died));
    assert_eq!(texts(&buffer), (0..30).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_seat_that_its_child_never_opens_counts_as_ended_after_its_limit() {
    let options = small_ring(10).seat_limit(Duration::from_millis(30));
    let buffer = LineProcBuffer::with_options(10, options).expect("a buffer");
    let _never = buffer.seat().expect("a seat");
    let child = fork(|| die());
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("open");
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::NeverOpened), (1, End::Eof)]);
    assert_eq!(texts(&buffer), ["line"]);
    assert!(child.status().code().is_none());
}

#[test]
fn a_mirror_outlives_the_limit_of_its_seat() {
    let ring = LineRing::new(small_ring(10).seat_limit(Duration::from_secs(1))).expect("a ring");
    let mut reader = ring.reader().expect("the first");
    let opened = ring.seat().expect("a seat");
    let mut mirror = opened.open().expect("a mirror");
    let _never = ring.seat().expect("a seat, whose limit ends later");
    let next = reader.recv().expect("ours").expect("not over").into_owned();
    assert!(
        matches!(&next, Item::Ended(end) if end.writer_id == 1 && end.end == End::NeverOpened),
        "{next:?}"
    );
    mirror.write_line(b"alive").expect("open");
    drop(mirror);
    let rest: Vec<_> = reader.map(|item| item.expect("ours").to_string()).collect();
    assert_eq!(rest, ["alive", "-- worker 0 ended --"]);
}

#[test]
fn a_seat_is_cancelled_only_before_it_is_opened() {
    let buffer = small(10);
    let [cancelled, opened] = [buffer.seat().expect("a seat"), buffer.seat().expect("a seat")];
    assert!(cancelled.cancel());
    assert!(!cancelled.cancel(), "once is enough");
    let mirror = opened.open().expect("a mirror");
    assert!(!opened.cancel());
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "a mirror is open");
    drop(mirror);
    assert!(!opened.cancel());
    assert_eq!(wait(&buffer), [(0, End::Cancelled), (1, End::Eof)]);
}

#[test]
fn a_cancelled_seat_that_is_opened_all_the_same_is_an_extra_mirror() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    assert!(seat.cancel());
    assert_eq!(wait(&buffer), [(0, End::Cancelled)]);
    // Its place in the table may be another's by now.
    let other = buffer.seat().expect("a seat");
    let mut late = seat.open().expect("a mirror");
    late.write_line(b"late").expect("open");
    assert!(!seat.cancel());
    drop(late);
    drop(other.open().expect("a mirror"));
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Eof)]);
    assert_eq!(texts(&buffer), ["late"]);
}

#[test]
fn a_seat_that_is_opened_twice_is_two_mirrors() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    let mut first = seat.open().expect("a mirror");
    let mut second = seat.open().expect("a mirror");
    assert_eq!((first.writer_id(), second.writer_id()), (0, 0));
    first.write_all(b"fir").expect("open");
    second.write_all(b"second\n").expect("open");
    first.write_all(b"st\n").expect("open");
    drop(first);
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "the other is open");
    second.write_line(b"third").expect("open");
    drop(second);
    assert_eq!(wait(&buffer), [(0, End::Eof), (0, End::Eof)]);
    assert_eq!(texts(&buffer), ["second", "first", "third"]);
}

#[test]
fn ten_thousand_seats_exhaust_nothing() {
    let buffer = small(10);
    // More than there are places for at once.
    for round in 0..2 {
        let seats: Vec<Seat> = (0..10_000).map(|_| buffer.seat().expect("a seat")).collect();
        assert!(seats.iter().all(Seat::cancel));
        let ends = buffer.wait().expect("ours");
        assert_eq!(ends.len(), 10_000, "round {round}");
        assert!(ends.iter().all(|end| end.end == End::Cancelled));
    }
    buffer.mirror().expect("a mirror").write_line(b"still there").expect("open");
    assert_eq!(texts(&buffer), ["still there"]);
}

#[test]
fn ten_thousand_mirrors_one_after_another_exhaust_nothing() {
    let buffer = small(10);
    for i in 0..10_000 {
        let mut mirror = buffer.seat().expect("a seat").open().expect("a mirror");
        mirror.write_line(i.to_string().as_bytes()).expect("open");
    }
    let ends = buffer.wait().expect("ours");
    assert_eq!(ends.len(), 10_000);
    assert!(ends.iter().all(|end| end.end == End::Eof && end.lines + end.lost == 1));
    assert_eq!(texts(&buffer), (9990..10_000).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_is_used_up_is_named_and_comes_back() {
    let options = small_ring(10).mirrors(2).seats(3);
    let buffer = LineProcBuffer::with_options(10, options).expect("a buffer");
    let mirrors = [buffer.mirror().expect("a mirror"), buffer.mirror().expect("a mirror")];
    let error = buffer.mirror().expect_err("there are two");
    assert!(matches!(error, MirrorError::TooManyMirrors { limit: 2 }), "{error}");
    assert_eq!(
        error.to_string(),
        "all 2 mirrors of the ring are open; more need the option `mirrors`"
    );
    let seat = buffer.seat().expect("a seat");
    let error = buffer.seat().expect_err("there are three");
    assert!(matches!(error, MirrorError::TooManySeats { limit: 3 }), "{error}");
    assert!(error.to_string().contains("`seats`"), "{error}");
    drop(mirrors);
    drop(seat.open().expect("a mirror"));
    assert_eq!(wait(&buffer).len(), 3);
    let _mirrors = [buffer.mirror().expect("a mirror"), buffer.mirror().expect("a mirror")];
}

#[test]
fn a_label_that_is_too_long_is_cut_between_characters_and_says_so() {
    let buffer = small(20);
    for (label, expected) in [
        ("", ""),
        ("a label of twenty-four b", "a label of twenty-four b"),
        ("a label of twenty-five by", "a label of twenty-fiv…"),
        // A character of four bytes, cut at each of them.
        ("a label of twenty-f🦀 and more", "a label of twenty-f…"),
        ("a label of twenty🦀 and more", "a label of twenty🦀…"),
        (&"ä".repeat(1000), "ääääääääää…"),
    ] {
        assert!(expected.len() <= 24);
        let ring = buffer.ring();
        let seat: Seat =
            ring.seat_labelled(label).expect("a seat").to_string().parse().expect("it");
        drop(seat.open().expect("a mirror").reopen().expect("another"));
        drop(ring.mirror_labelled(label).expect("a mirror"));
        let ends = buffer.wait().expect("ours");
        assert_eq!(ends.len(), 3);
        assert!(ends.iter().all(|ended| ended.label == expected), "{label:?}: {ends:#?}");
    }
}

#[test]
fn a_dead_workers_cell_and_seat_are_used_again() {
    let options = small_ring(10).mirrors(2).seats(4);
    let buffer = LineProcBuffer::with_options(10, options).expect("a buffer");
    for round in 0..20 {
        let seats = [buffer.seat().expect("a seat"), buffer.seat().expect("a seat")];
        let children = seats.map(|seat| {
            fork(|| match seat.open() {
                Ok(mut mirror) => {
                    let _ = mirror.write_all(b"words");
                    die()
                }
                Err(_) => 1,
            })
        });
        assert!(
            children.map(Child::status).iter().all(|status| status.code().is_none()),
            "round {round}"
        );
        assert_eq!(wait(&buffer), [(2 * round, End::Died), (2 * round + 1, End::Died)]);
    }
    assert_eq!(texts(&buffer), ["words"; 10]);
}

#[test]
fn seats_that_nobody_opened_are_counted_until_they_are_opened_or_given_up() {
    let buffer = small(5);
    let seats = || buffer.ring().counts().seats;
    let (first, second) = (buffer.seat().expect("a seat"), buffer.seat().expect("a seat"));
    assert_eq!(seats(), 2);
    assert!(first.is_reserved());
    let mirror = first.open().expect("a mirror");
    assert!(!first.is_reserved() && second.is_reserved());
    assert_eq!(seats(), 1);
    second.cancel();
    assert!(!second.is_reserved());
    drop(mirror);
    assert_eq!(seats(), 0);
    assert_eq!(LineRing::from(&second).counts(), buffer.ring().counts(), "a seat knows its ring");
}
