//! What the verifier notices, and what it accepts.

use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use linering::{LineProcMirror, LineRing, Options, Policy, Stream};

use super::super::{figures, generator};
use super::*;

const LENGTH: usize = 50;
const LINES: u64 = 5;

fn content() -> Content {
    Content::Generated { length: LENGTH, filler: generator::filler(LENGTH), shares: vec![LINES] }
}

/// The lines that worker 0 is to write.
fn right() -> Vec<Vec<u8>> {
    let mut lines = generator::Generator::new(0, LENGTH, &generator::filler(LENGTH));
    let mut next = || {
        let line = lines.line().to_vec();
        lines.advance();
        line
    };
    (0..LINES).map(|_| next()).collect()
}

/// What the verifier says of what `write` writes into a ring: the first problem, or what it
/// counted.
fn verdict(
    options: Options,
    write: impl FnOnce(&mut LineProcMirror),
) -> Result<(u64, u64, bool), String> {
    let lossy = options != Options::new();
    let ring = LineRing::new(options).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    let content = content();
    let mut verifier = Verifier::new(&content, vec![mirror.writer_id()], lossy);
    write(&mut mirror);
    drop(mirror);
    let mut reader = ring.reader().expect("a reader");
    while let Some(item) = reader.recv().expect("an item") {
        verifier.item(&item).map_err(|failure| failure.to_string())?;
    }
    let worker = &verifier.workers[0];
    Ok((worker.lines, worker.lost, worker.is_complete()))
}

/// Writes these lines and figures that go with them.
fn lines(lines: Vec<Vec<u8>>) -> impl FnOnce(&mut LineProcMirror) {
    let written = lines.len();
    move |mirror| {
        lines.iter().for_each(|line| mirror.write_line(line).expect("room"));
        mirror.set_tag(1).set_stream(Stream::Log);
        mirror.write_line(format!("{written} 1000").as_bytes()).expect("room");
    }
}

fn problem_of(written: Vec<Vec<u8>>) -> String {
    verdict(Options::new(), lines(written)).expect_err("a problem")
}

#[test]
fn the_right_lines_are_complete() {
    assert_eq!(verdict(Options::new(), lines(right())), Ok((LINES, 0, true)));
    let work = |mirror: &mut LineProcMirror| {
        figures::work(&content(), 0, mirror, &AtomicBool::new(false)).expect("room");
    };
    assert_eq!(verdict(Options::new(), work), Ok((LINES, 0, true)));
}

#[test]
fn a_changed_byte_is_named_with_its_worker_line_and_place() {
    for at in 0..LENGTH {
        let mut written = right();
        written[3][at] ^= 1;
        let problem = problem_of(written);
        assert!(problem.starts_with("worker 0, line 4: found \""), "{problem}");
        assert!(
            problem.contains(&format!("from byte {at} on (50 bytes in all), expected \"")),
            "{problem}"
        );
    }
}

#[test]
fn lines_in_another_order_missing_doubled_or_too_many_are_noticed() {
    let mut swapped = right();
    swapped.swap(1, 2);
    assert!(problem_of(swapped).starts_with("worker 0, line 2: found"));
    let mut missing = right();
    missing.remove(0);
    assert!(problem_of(missing).starts_with("worker 0, line 1: found"));
    let mut doubled = right();
    doubled.insert(4, doubled[3].clone());
    assert!(problem_of(doubled).starts_with("worker 0, line 5: found"));
    let mut more = right();
    more.push(b"one more".to_vec());
    assert_eq!(problem_of(more), "worker 0, line 6: found \"one more\", expected only 5 lines");
}

#[test]
fn lines_that_are_too_short_or_too_long_are_noticed() {
    let (mut short, mut long) = (right(), right());
    short[2].pop();
    long[2].push(b'x');
    assert!(
        problem_of(short)
            .starts_with("worker 0, line 3: found \"\" from byte 49 on (49 bytes in all)")
    );
    assert!(
        problem_of(long)
            .starts_with("worker 0, line 3: found \"x\" from byte 50 on (51 bytes in all)")
    );
}

#[test]
fn a_line_without_its_end_is_noticed() {
    let problem = verdict(Options::new(), |mirror| {
        mirror.write_line(&right()[0]).expect("room");
        mirror.write_all(&right()[1]).expect("room");
    });
    assert!(problem.expect_err("a problem").starts_with("worker 0: found 0 lines lost and 1 cut"));
}

#[test]
fn fewer_lines_than_the_figures_say_are_noticed() {
    let problem = verdict(Options::new(), |mirror| {
        mirror.write_line(&right()[0]).expect("room");
        mirror.set_tag(1).set_stream(Stream::Log).write_line(b"2 1000").expect("room");
    });
    assert_eq!(problem, Err("worker 0 has written 2 lines, found 1".to_owned()));
    let problem = verdict(Options::new(), |mirror| mirror.write_line(&right()[0]).expect("room"));
    assert_eq!(
        problem,
        Err("worker 0 has ended after 1 of 5 lines, without its figures".to_owned())
    );
}

#[test]
fn lines_that_a_full_ring_lost_are_accounted_for() {
    let drop = Options::new().policy(Policy::DropNewest).lines(2);
    assert_eq!(verdict(drop, lines(right())), Ok((2, 3, true)));
    let overwrite = Options::new().policy(Policy::OverwriteOldest).lines(2);
    assert_eq!(verdict(overwrite, lines(right())), Ok((1, 4, true)));
}

#[test]
fn lines_of_an_unknown_writer_are_noticed() {
    let content = content();
    let ring = LineRing::new(Options::new()).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.write_line(b"x").expect("room");
    let mut reader = ring.reader().expect("a reader");
    let item = reader.recv().expect("an item").expect("a line");
    let stranger = mirror.writer_id() + 1;
    assert!(Verifier::new(&content, vec![stranger], false).item(&item).is_err());
}
