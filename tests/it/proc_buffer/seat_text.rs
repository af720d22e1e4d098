//! A seat travels as text, and a text that is no seat is refused with a sentence.

use std::io::Write;

use linering::{AttachError, End, LineRing, Options, Seat};

use super::{small, texts, wait};
use crate::common::fork;

#[test]
fn a_seat_travels_as_text() {
    let buffer = small(10);
    let seat = buffer.ring().seat_labelled("far away").expect("a seat");
    let text = seat.to_string();
    assert!(text.starts_with("linering1:") && text.is_ascii() && !text.contains(' '), "{text}");
    fork(|| {
        let Ok(seat) = text.parse::<Seat>() else { return 1 };
        check!(2, seat.writer_id() == 0);
        let Ok(mut mirror) = seat.open() else { return 3 };
        check!(4, mirror.write_all(b"hello\nlast").is_ok());
        u8::from(mirror.send_eof().is_err()) * 5
    })
    .succeeds();
    let ends = buffer.wait().expect("ours");
    assert_eq!(
        (ends[0].writer_id, &*ends[0].label, ends[0].end, ends[0].lines),
        (0, "far away", End::Eof, 2)
    );
    assert_eq!(ends.len(), 1, "it took its own seat");
    assert_eq!(texts(&buffer), ["hello", "last"]);
}

#[test]
fn a_seat_that_came_as_text_writes_lines_as_the_buffers_own_mirrors_do() {
    let buffer = small(10);
    let seat: Seat = buffer.seat().expect("a seat").to_string().parse().expect("a seat");
    seat.open().expect("a mirror").write_all(b"dos\r\n 50%\r100%\n").expect("open");
    wait(&buffer);
    assert_eq!(texts(&buffer), ["dos", "100%"]);
}

#[test]
fn a_text_that_is_no_seat_is_refused_with_it() {
    let buffer = small(10);
    let good = buffer.seat().expect("a seat").to_string();
    let parts: Vec<&str> = good.split(':').collect();
    let with = |index: usize, part: &str| {
        let mut parts = parts.clone();
        parts[index] = part;
        parts.join(":")
    };
    let no_seats = [
        String::new(),
        "linering1".to_owned(),
        parts[..5].join(":"),
        format!("{good}:0"),
        format!(" {good}"),
        format!("{good} "),
        with(0, "linering2"),
        with(2, "x"),
        with(2, "-1"),
        with(3, ""),
        with(3, "99999999999"),
        with(4, "-1"),
        with(4, "12288"),
        with(4, "4294967295"),
        with(5, "one"),
    ];
    for text in no_seats {
        let error = text.parse::<Seat>().expect_err(&text);
        assert!(matches!(&error, AttachError::Seat { found } if *found == text), "{text}: {error}");
        let expected = format!(
            "\"{text}\" is no seat, expected linering1:IDENTITY:PROCESS:DESCRIPTOR:TICKET:SERIAL"
        );
        assert_eq!(error.to_string(), expected);
    }
    let error = with(1, "00").parse::<Seat>().expect_err("another ring's identity");
    assert!(
        matches!(&error, AttachError::Identity { found, expected } if found == parts[1] && expected == "00"),
        "{error}"
    );
    for text in [with(2, "4194305"), with(3, "987654"), with(3, "-1")] {
        let error = text.parse::<Seat>().expect_err(&text);
        assert!(matches!(error, AttachError::System(_)), "{text}: {error}");
        assert!(error.to_string().starts_with("cannot open the ring's descriptor"), "{error}");
    }
    let file = std::fs::File::open("/proc/self/exe").expect("this program");
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file).to_string();
    let error = with(3, &descriptor).parse::<Seat>().expect_err("another file");
    assert!(matches!(error, AttachError::System(_) | AttachError::Magic { .. }), "{error}");
    let other = LineRing::new(Options::new()).expect("a ring");
    let number = std::os::fd::AsRawFd::as_raw_fd(&other.descriptor().expect("open")).to_string();
    let error = with(3, &number).parse::<Seat>().expect_err("another ring");
    assert!(
        matches!(&error, AttachError::Identity { expected, .. } if expected == parts[1]),
        "{error}"
    );
}

#[test]
fn a_seat_of_a_ring_that_is_gone_is_refused() {
    let text = {
        let buffer = small(10);
        buffer.seat().expect("a seat").to_string()
    };
    let error = text.parse::<Seat>().expect_err("no process has it open");
    // The number is no descriptor's any more, or another file's or ring's by now.
    assert!(!matches!(error, AttachError::Seat { .. }), "{error}");
}
