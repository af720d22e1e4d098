//! The last `maxlen` lines are exact, and an error's trace outlives them.

use std::io::Write;

use linering::{End, Kind, LineProcBuffer, Message, Options, Seat, WorkerPool};

use super::{Failure, PAYLOAD, groups, has_exactly_the_last, small, small_ring, texts, wait};
use crate::common::{below_overflow, fork};

/// The numbers of each worker's lines, which are `WORKER:NUMBER`.
#[test]
fn a_parent_may_join_its_workers_first_though_they_wrote_a_hundred_times_the_ring() {
    for maxlen in [1, 32] {
        let buffer = small(maxlen);
        let mut pool = WorkerPool::fork(&buffer, 4, |worker, mirror| {
            (0..1600).try_for_each(|i| mirror.write_line(format!("{worker}:{i}").as_bytes()))
        })
        .expect("a pool");
        assert!(
            pool.join().iter().all(|worker| worker.status.is_some_and(|status| status.success()))
        );
        let ends = buffer.wait().expect("ours");
        assert_eq!(ends.len(), 4);
        assert!(
            ends.iter().all(|end| end.end == End::Eof && end.lines + end.lost == 1600),
            "{ends:?}"
        );
        has_exactly_the_last(&buffer, 4, 1600);
    }
}

#[test]
fn a_parent_that_drains_meanwhile_has_exactly_the_last_lines_too() {
    let buffer = LineProcBuffer::new(1000).expect("a buffer");
    let mut pool = WorkerPool::fork(&buffer, 4, |worker, mirror| {
        (0..20_000).try_for_each(|i| writeln!(mirror, "{worker}:{i}"))
    })
    .expect("a pool");
    let ends = pool.wait(&buffer).expect("ours");
    assert!(
        ends.iter().all(|end| end.end == End::Eof && end.lines + end.lost == 20_000),
        "{ends:?}"
    );
    has_exactly_the_last(&buffer, 4, 20_000);
}

#[test]
fn the_last_long_lines_are_exact_as_long_as_they_fit_in_the_ring() {
    // 20 lines of 1000 bytes in 1024 slots of 32.
    let options = small_ring(512).max_line(1000);
    let buffer = LineProcBuffer::with_options(20, options).expect("a buffer");
    let padding = " ".repeat(1000);
    let mut pool = WorkerPool::fork(&buffer, 2, |worker, mirror| {
        (0..500).try_for_each(|i| {
            mirror.write_line(&format!("{worker}:{i}{padding}").as_bytes()[..1000])
        })
    })
    .expect("a pool");
    pool.join();
    wait(&buffer);
    for message in buffer.read(None).expect("ours") {
        assert!(
            matches!(&message, Message::Line(line) if !line.truncated && line.bytes.len() == 1000),
            "{message:?}"
        );
    }
    has_exactly_the_last(&buffer, 2, 500);
}

#[test]
fn the_last_lines_are_exact_in_the_smallest_rings_too() {
    for (lines, maxlen) in [(2, 1), (4, 1), (4, 2), (8, 4)] {
        let options =
            Options::new().lines(lines).line_bytes(64).start_position(below_overflow(lines));
        let buffer = LineProcBuffer::with_options(maxlen, options).expect("a buffer");
        let mut mirror = buffer.mirror().expect("a mirror");
        for i in 0..100 {
            mirror.write_line(i.to_string().as_bytes()).expect("open");
            if i % 7 == 0 {
                let expected: Vec<_> =
                    ((i + 1_usize).saturating_sub(maxlen)..=i).map(|i| i.to_string()).collect();
                assert_eq!(texts(&buffer), expected, "{lines} lines");
            }
        }
    }
}

#[test]
fn a_line_over_half_of_the_rings_slots_is_there_at_once() {
    for lines in [16, 64, 1024] {
        let options = Options::new().lines(lines).line_bytes(64).max_line(lines * PAYLOAD / 2);
        let buffer = LineProcBuffer::with_options(4, options).expect("a buffer");
        let mut mirror = buffer.mirror().expect("a mirror");
        let line = "x".repeat(lines * PAYLOAD / 2);
        for i in 1..5 {
            mirror.write_line(line.as_bytes()).expect("open");
            assert_eq!(texts(&buffer), vec![&*line; i], "{lines} lines");
        }
    }
}

#[test]
fn a_long_line_that_is_rewritten_leaves_nothing_behind() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    let bar = |byte: char, length: usize| byte.to_string().repeat(length);
    for (length, last) in
        [(5 * PAYLOAD, 3), (5 * PAYLOAD + 7, 4 * PAYLOAD), (3, 5 * PAYLOAD), (2 * PAYLOAD, 1)]
    {
        mirror
            .write_all(format!("{}\r{}\r", bar('a', length), bar('b', length + 1)).as_bytes())
            .expect("open");
        assert_eq!(texts(&buffer), [""; 0], "nothing is finished");
        mirror.write_all(format!("{}\n", bar('c', last)).as_bytes()).expect("open");
        assert_eq!(texts(&buffer), [bar('c', last)]);
        let messages = buffer.read(None).expect("ours");
        assert!(
            matches!(&messages[..], [Message::Line(line)] if !line.truncated && line.missing == 0),
            "{messages:?}"
        );
        buffer.clear().expect("ours");
    }
    drop(mirror);
    let ends = buffer.wait().expect("ours");
    assert_eq!((ends[0].lines, ends[0].lost), (4, 0));
}

#[test]
fn an_errors_trace_survives_being_overwritten() {
    let buffer = small(10);
    let seats = [
        buffer.seat().expect("a seat"),
        buffer.seat().expect("a seat"),
        buffer.seat().expect("a seat"),
    ];
    let short = Failure("short", None);
    let long: &'static str = Box::leak("0123456789".repeat(10).into_boxed_str());
    let long = Failure(long, None);
    for (seat, error) in [(&seats[0], &short), (&seats[1], &long)] {
        let child = fork(|| {
            let Ok(mut mirror) = seat.open() else { return 1 };
            check!(2, mirror.write_line(b"overwritten").is_ok());
            u8::from(mirror.send_error(error).is_err()) * 3
        });
        child.succeeds();
    }
    fork(|| {
        let Ok(mut mirror) = seats[2].open() else { return 1 };
        u8::from(!(0..6400).all(|i| mirror.write_line(format!("2:{i}").as_bytes()).is_ok())) * 2
    })
    .succeeds();
    let mut ends = buffer.wait().expect("ours");
    ends.sort_by_key(|end| end.writer_id);
    let counts: Vec<_> =
        ends.iter().map(|end| (end.end, end.lines, end.lines + end.lost)).collect();
    assert_eq!(
        counts[..2],
        [(End::Error, 1, 2), (End::Error, 1, 2)],
        "the error, and one line lost"
    );
    assert_eq!((counts[2].0, counts[2].2), (End::Eof, 6400));
    let groups = groups(&buffer);
    assert_eq!(groups.len(), 2, "{groups:?}");
    for (kind, worker, lines) in groups {
        assert_eq!(kind, Kind::Error);
        let lines = lines.join("\n");
        if worker == 0 {
            assert!(lines.starts_with("error: short"), "{lines}");
        } else {
            assert_eq!(lines, format!("error: {}", long.0)[..PAYLOAD], "the first slot-full");
        }
    }
    let flagged = buffer.read(None).expect("ours").iter().any(
        |message| matches!(message, Message::Group(group) if group.writer_id() == 1 && group.is_truncated()),
    );
    assert!(flagged, "what is missing of the long one is said");
}

#[test]
fn errors_of_many_workers_survive_being_overwritten_while_there_are_cells() {
    let buffer = small(64);
    let seats: Vec<Seat> = (0..20).map(|_| buffer.seat().expect("a seat")).collect();
    for seat in &seats {
        fork(|| {
            let Ok(mut mirror) = seat.open() else { return 1 };
            u8::from(mirror.send_error(&Failure("mine", None)).is_err())
        })
        .succeeds();
    }
    let mut noise = buffer.mirror().expect("a mirror");
    (0..12_800).for_each(|_| noise.write_line(b"noise").expect("open"));
    drop(noise);
    assert_eq!(wait(&buffer).iter().filter(|(_, end)| *end == End::Error).count(), 20);
    let mut workers: Vec<u32> = groups(&buffer).iter().map(|(_, worker, _)| *worker).collect();
    workers.sort();
    assert_eq!(workers, (0..20).collect::<Vec<_>>());
}
