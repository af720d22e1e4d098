//! What becomes of lines when a ring is full, what its reader is told, and what comes again.

mod common;

use std::collections::HashMap;
use std::io::{self, Write};
use std::iter;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime};

use common::below_overflow;
use linering::{
    CreateError, End, Ended, Item, Kind, Level, Line, LineProcMirror, LineRing, LossCause, Lost,
    Options, Policy, ReadError, Reader, Stream, Timestamps, WakeUp, WriteError,
};

/// Slots of 64 bytes hold 32 bytes of a line.
const PAYLOAD: usize = 32;

/// A ring of small slots, whose laps overflow after its third line.
fn small(lines: usize, policy: Policy) -> Options {
    Options::new()
        .lines(lines)
        .line_bytes(64)
        .mirrors(16)
        .policy(policy)
        .start_position(below_overflow(lines))
}

fn ring(options: Options) -> LineRing {
    LineRing::new(options).expect("a ring")
}

fn mirror(ring: &LineRing) -> LineProcMirror {
    ring.mirror().expect("a mirror")
}

fn reader(ring: &LineRing) -> Reader {
    ring.reader().expect("no other reader")
}

fn write(mirror: &mut LineProcMirror, text: &str) {
    mirror.write_line(text.as_bytes()).expect("the write succeeds");
}

/// Everything that is there now.
fn now(reader: &mut Reader) -> Vec<Item<'static>> {
    iter::from_fn(|| reader.try_recv().expect("ours").map(Item::into_owned)).collect()
}

fn texts(items: &[Item<'_>]) -> Vec<String> {
    items.iter().map(Item::to_string).collect()
}

fn line<'i>(item: &'i Item<'static>) -> &'i Line<'static> {
    item.line().unwrap_or_else(|| panic!("no line: {item:?}"))
}

/// Bytes of which each run of eight says whose line it is, and which: so does each slot of it.
fn numbered(worker: u32, number: u64, length: usize) -> Vec<u8> {
    format!("{worker:02}{number:05},").repeat(length / 8 + 1).into_bytes()[..length].to_vec()
}

/// How long line `number` is: mostly several slots, now and then less than one.
fn length(worker: u32, number: u64) -> usize {
    8 + (number as usize * 37 + worker as usize * 11) % (6 * PAYLOAD)
}

/// Keeps account of every worker's lines: each was delivered, or counted as lost in its place.
struct Account {
    cause: LossCause,
    workers: HashMap<u32, Worker>,
    position: Option<u64>,
    truncated: u64,
}

#[derive(Debug, Default)]
struct Worker {
    /// The number of its next line.
    next: u64,
    delivered: u64,
    lost: u64,
    end: Option<End>,
}

impl Account {
    fn new(policy: Policy) -> Self {
        let cause = match policy {
            Policy::OverwriteOldest => LossCause::Overwritten,
            _ => LossCause::Dropped,
        };
        Self { cause, workers: HashMap::new(), position: None, truncated: 0 }
    }

    fn note(&mut self, item: &Item<'_>) {
        match item {
            Item::Line(line) => self.note_line(line),
            Item::Lost(lost) => {
                assert_eq!(lost.cause, self.cause, "{lost:?}");
                assert!(lost.lines > 0, "{lost:?}");
                let worker = self.workers.entry(lost.writer_id).or_default();
                worker.next += lost.lines;
                worker.lost += lost.lines;
            }
            Item::Ended(ended) => {
                let worker = self.workers.entry(ended.writer_id).or_default();
                assert_eq!((ended.lines, ended.lost), (worker.delivered, worker.lost), "{ended:?}");
                assert_eq!(worker.end.replace(ended.end), None, "it ends once");
            }
            other => panic!("nothing damaged this ring: {other:?}"),
        }
    }

    fn note_line(&mut self, line: &Line<'_>) {
        let worker = self.workers.entry(line.writer_id).or_default();
        assert_eq!(worker.end, None, "all lines come before the end: {line:?}");
        // A truncated line's last part may never come: that is known only later, and has a test of
        // its own.
        if !line.truncated {
            let last = self.position.replace(line.position);
            assert!(last.is_none_or(|last| last < line.position), "{last:?} before {line:?}");
        }
        let number = worker.next;
        worker.next += 1;
        worker.delivered += 1;
        let whole = numbered(line.writer_id, number, length(line.writer_id, number));
        if !line.truncated {
            assert_eq!(
                line.to_string(),
                String::from_utf8_lossy(&whole),
                "worker {}: line {number}",
                line.writer_id
            );
            assert_eq!(line.missing, 0);
            return;
        }
        self.truncated += 1;
        // Slots are whole: each run of eight bytes is of this line.
        for run in line.bytes.chunks(8) {
            assert_eq!(
                run,
                &whole[..run.len()],
                "worker {}: line {number} is {line}",
                line.writer_id
            );
        }
        let missing = whole.len() - line.bytes.len();
        assert!(line.missing <= missing as u64, "{missing} bytes are missing: {line:?}");
    }

    /// Every line that each worker wrote was delivered or counted.
    fn is_complete(&self, written: &[u64]) {
        assert_eq!(self.workers.len(), written.len());
        for (worker, written) in written.iter().enumerate() {
            let found = &self.workers[&(worker as u32)];
            assert_eq!(found.delivered + found.lost, *written, "worker {worker}: {found:?}");
            assert_eq!(found.end, Some(End::Eof), "worker {worker}");
        }
    }

    fn lost(&self) -> u64 {
        self.workers.values().map(|worker| worker.lost).sum()
    }
}

/// Writes lines `0..count` of this mirror, in one piece or several.
fn write_numbered(mirror: &mut LineProcMirror, count: u64) {
    for number in 0..count {
        let line = numbered(mirror.writer_id(), number, length(mirror.writer_id(), number));
        if number % 3 == 0 {
            line.chunks(23).for_each(|bytes| mirror.write_all(bytes).expect("the write succeeds"));
            mirror.write_all(b"\n").expect("the write succeeds");
        } else {
            mirror.write_line(&line).expect("the write succeeds");
        }
    }
}

/// `writers` threads write `count` lines each while this one reads; everything must be accounted
/// for.
fn account_of(options: Options, policy: Policy, writers: usize, count: u64) -> Account {
    let ring = ring(options.policy(policy));
    let mut account = Account::new(policy);
    let mirrors: Vec<_> = (0..writers).map(|_| mirror(&ring)).collect();
    thread::scope(|scope| {
        for mut mirror in mirrors {
            scope.spawn(move || write_numbered(&mut mirror, count));
        }
        for item in reader(&ring) {
            account.note(&item.expect("ours"));
        }
    });
    account.is_complete(&vec![count; writers]);
    account
}

// --------------------------------------------------------------------------------------------
// block

#[test]
fn a_blocking_ring_loses_nothing_however_small_it_is() {
    for lines in [2, 4, 16, 256] {
        for writers in [1, 4] {
            let account =
                account_of(small(lines, Policy::Block).max_line(1000), Policy::Block, writers, 300);
            assert_eq!(
                (account.lost(), account.truncated),
                (0, 0),
                "{lines} lines, {writers} writers"
            );
        }
    }
}

#[test]
fn a_line_longer_than_the_whole_ring_flows_through_it() {
    let ring = ring(small(4, Policy::Block).max_line(100_000));
    let text: Vec<u8> = (0..100_000_u32).map(|i| (i / 7) as u8).collect();
    let mut mirror = mirror(&ring);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            mirror.write_line(&text).expect("no limit");
            drop(mirror);
        });
        let items: Vec<_> = reader(&ring).map(|item| item.expect("ours")).collect();
        assert_eq!(items.len(), 2);
        assert!(!line(&items[0]).truncated);
        assert!(line(&items[0]).bytes == text, "every byte, in order");
        writer.join().expect("no panic");
    });
}

#[test]
fn a_writer_of_a_full_ring_goes_on_when_the_reader_makes_room() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..8).for_each(|i| write(&mut mirror, &i.to_string()));
    thread::scope(|scope| {
        let writer = scope.spawn(move || (8..100).for_each(|i| write(&mut mirror, &i.to_string())));
        while ring.counts().found_full == 0 {
            thread::yield_now();
        }
        let texts: Vec<_> = reader.by_ref().map(|item| item.expect("ours").to_string()).collect();
        assert_eq!(texts[..100], (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
        assert_eq!(texts[100..], ["-- worker 0 ended --"]);
        writer.join().expect("no panic");
    });
}

#[test]
fn a_writer_that_finds_no_room_within_its_limit_drops_its_line_and_says_so() {
    let limit = Duration::from_millis(5);
    let ring = ring(small(4, Policy::Block).block_limit(limit));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..4).for_each(|i| write(&mut mirror, &i.to_string()));
    for _ in 0..3 {
        let error = mirror.write_line(b"dropped").expect_err("nobody makes room");
        assert!(matches!(error, WriteError::TimedOut(found) if found == limit), "{error}");
        assert_eq!(error.to_string(), "the ring stayed full for 5ms");
    }
    let error = mirror.write(b"dropped\n").expect_err("nobody makes room");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let mut found = texts(&now(&mut reader));
    write(&mut mirror, "4");
    drop(mirror);
    found.extend(texts(&now(&mut reader)));
    let lost = "-- worker 0: 4 lines lost, ring full --";
    assert_eq!(found, ["0", "1", "2", "3", lost, "4", "-- worker 0 ended --"]);
}

#[test]
fn a_long_line_that_finds_room_for_some_parts_only_comes_truncated() {
    for room in 1..4 {
        let ring =
            ring(small(4, Policy::Block).max_line(1000).block_limit(Duration::from_millis(1)));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        (room..4).for_each(|_| write(&mut mirror, "before"));
        let text = numbered(0, 1, 10 * PAYLOAD);
        let error = mirror.write_line(&text).expect_err("nobody makes room");
        assert!(matches!(error, WriteError::TimedOut(_)), "{error}");
        let mut items = now(&mut reader);
        write(&mut mirror, "after");
        drop(mirror);
        items.extend(now(&mut reader));
        let expected = (room..4).map(|_| "before".to_owned());
        let kept = String::from_utf8_lossy(&text[..room * PAYLOAD]).into_owned();
        let rest = [kept, "after".to_owned(), "-- worker 0 ended --".to_owned()];
        assert_eq!(texts(&items), expected.chain(rest).collect::<Vec<_>>(), "room for {room}");
        let cut = line(&items[4 - room]);
        assert!(cut.truncated, "{cut:?}");
        let Item::Ended(ended) = &items[items.len() - 1] else { panic!("{items:?}") };
        assert_eq!(
            (ended.lines, ended.lost),
            (6 - room as u64, 0),
            "it is counted as truncated, not as lost"
        );
    }
}

#[test]
fn a_line_after_one_that_failed_is_a_line_of_its_own() {
    // Each way to write a long line of which only the first part finds room.
    let text = [&numbered(0, 1, 10 * PAYLOAD)[..], b"\n"].concat();
    for way in ["write_line", "write", "write without the line's end"] {
        let ring =
            ring(small(4, Policy::Block).max_line(1000).block_limit(Duration::from_millis(1)));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        (0..3).for_each(|_| write(&mut mirror, "before"));
        let without_end = &text[..text.len() - 1];
        let failed = match way {
            "write_line" => mirror.write_line(without_end).is_err(),
            "write" => mirror.write(&text).is_err(),
            _ => mirror.write(without_end).is_err(),
        };
        assert!(failed, "{way}: nobody makes room");
        let mut items = now(&mut reader);
        if way == "write without the line's end" {
            mirror.write_all(b"\n").expect("room");
        }
        mirror.write_all(b"after\n").expect("room");
        items.extend(now(&mut reader));
        let lines: Vec<_> =
            items.iter().map(line).filter(|line| !line.truncated).map(Line::to_string).collect();
        assert_eq!(lines, ["before", "before", "before", "after"], "{way}");
        let cut: Vec<_> = items.iter().map(line).filter(|line| line.truncated).collect();
        assert_eq!(cut.len(), 1, "{way}");
        assert_eq!(cut[0].bytes, &text[..PAYLOAD], "{way}");
    }
}

#[test]
fn a_full_ring_without_a_reader_is_given_up_after_the_grace_time() {
    let grace = Duration::from_millis(5);
    let ring = ring(small(4, Policy::Block).reader_grace(grace));
    let mut mirror = mirror(&ring);
    (0..4).for_each(|i| write(&mut mirror, &i.to_string()));
    let error = mirror.write_line(b"dropped").expect_err("nobody reads");
    assert!(matches!(error, WriteError::ReaderGone(found) if found == grace), "{error}");
    assert_eq!(error.to_string(), "the ring is full and has had no reader for 5ms");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
    // Nothing that was written is lost by that.
    let mut reader = reader(&ring);
    assert_eq!(texts(&now(&mut reader)), ["0", "1", "2", "3"]);
    write(&mut mirror, "4");
    drop(reader);
    drop(mirror);
    let items = now(&mut ring.reader().expect("no other"));
    assert_eq!(
        texts(&items),
        ["-- worker 0: 1 line lost, ring full --", "4", "-- worker 0 ended --"]
    );
}

#[test]
fn a_reader_that_does_not_read_is_not_gone() {
    let limit = Duration::from_millis(300);
    let ring = ring(small(4, Policy::Block).reader_grace(Duration::ZERO).block_limit(limit));
    let mut idle = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..4).for_each(|i| write(&mut mirror, &i.to_string()));
    let error = mirror.write_line(b"dropped").expect_err("nobody makes room");
    assert!(matches!(error, WriteError::TimedOut(_)), "{error}");
    assert!(idle.try_recv().expect("ours").is_some());
    drop(idle);
    let error = mirror.write_line(b"dropped").expect_err("nobody reads");
    assert!(matches!(error, WriteError::ReaderGone(_)), "{error}");
}

// ------------------------------------------------------------------------------- losses in their
// place

#[test]
fn dropped_lines_are_reported_before_their_writers_next_line_or_its_end() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    assert_eq!(texts(&now(&mut reader)), ["0", "1", "2", "3"], "what comes next is not known yet");
    (10..13).for_each(|i| write(&mut mirror, &i.to_string()));
    assert_eq!(
        texts(&now(&mut reader)),
        ["-- worker 0: 6 lines lost, ring full --", "10", "11", "12"]
    );
    (13..20).for_each(|i| write(&mut mirror, &i.to_string()));
    drop(mirror);
    let items = now(&mut reader);
    let expected =
        ["13", "14", "15", "16", "-- worker 0: 3 lines lost, ring full --", "-- worker 0 ended --"];
    assert_eq!(texts(&items), expected);
    let Item::Lost(lost) = &items[4] else { panic!("{items:?}") };
    assert_eq!((lost.writer_id, lost.lines, lost.cause), (0, 3, LossCause::Dropped));
    assert!(
        matches!(&items[5], Item::Ended(Ended { lines: 11, lost: 9, end: End::Eof, .. })),
        "{items:?}"
    );
    assert!(reader.is_over());
}

#[test]
fn overwritten_lines_are_reported_before_their_writers_next_line_or_its_end() {
    let ring = ring(small(4, Policy::OverwriteOldest));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [ring.mirror_labelled("a").expect("a mirror"), mirror(&ring)];
    (0..10).for_each(|i| write(&mut a, &format!("a{i}")));
    let lost = "-- worker a: 6 lines lost, overwritten --";
    assert_eq!(texts(&now(&mut reader)), [lost, "a6", "a7", "a8", "a9"]);
    (10..13).for_each(|i| write(&mut a, &format!("a{i}")));
    (0..7).for_each(|i| write(&mut b, &format!("b{i}")));
    let items = now(&mut reader);
    assert_eq!(
        texts(&items),
        ["-- worker 1: 3 lines lost, overwritten --", "b3", "b4", "b5", "b6"]
    );
    drop((a, b));
    let items = now(&mut reader);
    let expected = [
        "-- worker a: 3 lines lost, overwritten --",
        "-- worker a ended --",
        "-- worker 1 ended --",
    ];
    assert_eq!(texts(&items), expected);
    let Item::Lost(lost) = &items[0] else { panic!("{items:?}") };
    assert_eq!(
        (lost.writer_id, &*lost.label, lost.lines, lost.cause),
        (0, "a", 3, LossCause::Overwritten)
    );
    assert!(matches!(&items[1], Item::Ended(Ended { lines: 4, lost: 9, .. })), "{items:?}");
    assert!(matches!(&items[2], Item::Ended(Ended { lines: 4, lost: 3, .. })), "{items:?}");
}

#[test]
fn without_a_reader_the_first_lines_are_kept_or_the_last_ones() {
    let cases = [(Policy::DropNewest, 0..16), (Policy::OverwriteOldest, 984..1000)];
    for (policy, kept) in cases {
        let ring = ring(small(16, policy));
        let mut mirror = mirror(&ring);
        (0..1000).for_each(|i| write(&mut mirror, &i.to_string()));
        drop(mirror);
        let items = now(&mut reader(&ring));
        let lines: Vec<_> = items.iter().filter_map(Item::line).map(Line::to_string).collect();
        assert_eq!(lines, kept.map(|i| i.to_string()).collect::<Vec<_>>(), "{policy:?}");
        let lost: u64 =
            items.iter().map(|item| if let Item::Lost(lost) = item { lost.lines } else { 0 }).sum();
        assert_eq!(lost, 984, "{policy:?}");
    }
}

#[test]
fn every_line_is_delivered_or_counted_in_its_place_while_many_write() {
    for policy in [Policy::DropNewest, Policy::OverwriteOldest] {
        for lines in [2, 4, 16, 64] {
            for writers in [1, 3, 6] {
                let options = small(lines, policy);
                // In the smallest ring the longest line is one slot.
                let options = if lines == 2 { options.max_line(PAYLOAD) } else { options };
                if lines >= 16 {
                    account_of(options.max_line(7 * PAYLOAD), policy, writers, 2000);
                } else {
                    plain_account_of(options, policy, writers, 2000);
                }
            }
        }
    }
}

/// As `account_of`, with lines of one slot.
fn plain_account_of(options: Options, policy: Policy, writers: usize, count: u64) {
    let ring = ring(options);
    let mirrors: Vec<_> = (0..writers).map(|_| mirror(&ring)).collect();
    let mut next = vec![0; writers];
    let mut ended = 0;
    thread::scope(|scope| {
        for mut mirror in mirrors {
            scope.spawn(move || (0..count).for_each(|i| write(&mut mirror, &i.to_string())));
        }
        for item in reader(&ring) {
            match item.expect("ours") {
                Item::Line(line) => {
                    assert!(!line.truncated, "{line:?}");
                    assert_eq!(
                        line.to_string(),
                        next[line.writer_id as usize].to_string(),
                        "{policy:?}"
                    );
                    next[line.writer_id as usize] += 1;
                }
                Item::Lost(lost) => next[lost.writer_id as usize] += lost.lines,
                Item::Ended(end) => {
                    assert_eq!(end.lines + end.lost, count, "{policy:?}: {end:?}");
                    ended += 1;
                }
                other => panic!("nothing damaged this ring: {other:?}"),
            }
        }
    });
    assert_eq!((next, ended), (vec![count; writers], writers), "{policy:?}");
}

#[test]
fn a_long_line_whose_first_parts_were_overwritten_comes_truncated_with_the_rest() {
    let ring = ring(small(8, Policy::OverwriteOldest).max_line(4 * PAYLOAD));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 4 * PAYLOAD);
    mirror.write_line(&text).expect("open");
    (0..6).for_each(|i| write(&mut mirror, &i.to_string()));
    let items = now(&mut reader);
    assert_eq!(texts(&items)[1..], ["0", "1", "2", "3", "4", "5"]);
    let cut = line(&items[0]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!(cut.missing, 2 * PAYLOAD as u64);
    assert_eq!(cut.bytes, &text[2 * PAYLOAD..]);
    drop(mirror);
    let items = now(&mut reader);
    assert!(matches!(&items[..], [Item::Ended(Ended { lines: 7, lost: 0, .. })]), "{items:?}");
}

#[test]
fn a_long_line_whose_last_parts_were_dropped_comes_truncated_with_its_first_ones() {
    let ring = ring(small(4, Policy::DropNewest).max_line(1000));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    write(&mut mirror, "before");
    let text = numbered(0, 1, 9 * PAYLOAD);
    mirror.write_line(&text).expect("dropping is no error");
    mirror.write_line(&text).expect("dropping is no error");
    drop(mirror);
    let items = now(&mut reader);
    assert_eq!(items.len(), 4, "{items:?}");
    let cut = line(&items[1]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!(cut.bytes, &text[..3 * PAYLOAD]);
    assert!(cut.missing <= 6 * PAYLOAD as u64, "at least so much is missing: {cut:?}");
    assert!(matches!(&items[2], Item::Lost(lost) if lost.lines == 1), "{items:?}");
    assert!(matches!(&items[3], Item::Ended(Ended { lines: 2, lost: 1, .. })), "{items:?}");
}

#[test]
fn a_long_line_with_parts_dropped_in_its_middle_says_exactly_how_much_is_missing() {
    let ring = ring(small(4, Policy::DropNewest).max_line(1000));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 9 * PAYLOAD + 5);
    // Four parts fit, the fifth does not.
    mirror.write_all(&text[..6 * PAYLOAD]).expect("dropping is no error");
    assert_eq!(now(&mut reader), [], "not finished");
    mirror.write_all(&text[6 * PAYLOAD..]).expect("dropping is no error");
    mirror.write_all(b"\nnext\n").expect("dropping is no error");
    let items = now(&mut reader);
    let cut = line(&items[0]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!(cut.bytes, &text[..4 * PAYLOAD]);
    assert_eq!(cut.missing, 5 * PAYLOAD as u64 + 5);
    assert_eq!(texts(&items)[1..], ["next"]);
}

#[test]
fn a_ring_that_drops_never_makes_a_writer_wait_and_loses_nothing_while_it_has_room() {
    let ring = ring(small(64, Policy::DropNewest));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    for round in 0..100 {
        (0..64).for_each(|i| write(&mut mirror, &(64 * round + i).to_string()));
        let expected: Vec<_> = (0..64).map(|i| (64 * round + i).to_string()).collect();
        assert_eq!(texts(&now(&mut reader)), expected, "round {round}");
    }
    assert_eq!(ring.counts().found_full, 0);
    write(&mut mirror, "fits");
    (0..100).for_each(|_| write(&mut mirror, "the first 63 fit"));
    assert_eq!(ring.counts().found_full, 37);
}

// ------------------------------------------------------------------------------------- lines too
// long

#[test]
fn a_line_over_the_maximum_says_exactly_how_many_bytes_are_missing() {
    for maximum in [1, PAYLOAD - 8, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 100, 3 * PAYLOAD] {
        for over in [0, 1, 7, 8, 9, PAYLOAD, 1000] {
            for piece in [usize::MAX, 13] {
                let ring = ring(small(64, Policy::Block).max_line(maximum));
                let mut mirror = mirror(&ring);
                let text = numbered(0, 0, maximum + over);
                text.chunks(piece).for_each(|bytes| mirror.write_all(bytes).expect("room"));
                mirror.write_all(b"\nnext\n").expect("room");
                mirror.write_line(&text).expect("room");
                let items = now(&mut reader(&ring));
                let case = format!("maximum {maximum}, {over} over, {piece} at a time");
                for item in [&items[0], &items[2]] {
                    let line = line(item);
                    assert_eq!(line.bytes, &text[..maximum], "{case}");
                    assert_eq!((line.truncated, line.missing), (over > 0, over as u64), "{case}");
                }
                let next = line(&items[1]);
                assert_eq!(next.bytes, &b"next"[..maximum.min(4)], "{case}");
                assert_eq!(next.missing, 4_u64.saturating_sub(maximum as u64), "{case}");
                assert_eq!(items.len(), 3, "{case}");
            }
        }
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_truncated_with_the_number_of_bytes_lost() {
    let ring = ring(Options::new());
    let mut mirror = mirror(&ring);
    let piece = vec![b'x'; 1_000_000];
    (0..100).for_each(|_| mirror.write_all(&piece).expect("room"));
    mirror.write_all(b"\nnext\n").expect("room");
    let items = now(&mut reader(&ring));
    assert_eq!(items.len(), 2);
    // An eighth of the ring's bytes: 4096 slots of 256 bytes, of which 32 are the header.
    let maximum = 4096 * (256 - 32) / 8;
    let cut = line(&items[0]);
    assert_eq!(cut.bytes.len(), maximum);
    assert!(cut.bytes.iter().all(|byte| *byte == b'x'));
    assert_eq!((cut.truncated, cut.missing), (true, 100_000_000 - maximum as u64));
    assert_eq!(texts(&items[1..]), ["next"]);
}

#[test]
fn a_line_over_the_assembly_budget_says_exactly_how_many_bytes_are_missing() {
    let ring = ring(small(64, Policy::Block).max_line(1000).assembly_budget(100));
    let mut mirror = mirror(&ring);
    for length in [PAYLOAD, 100, 101, 10 * PAYLOAD] {
        mirror.write_line(&numbered(0, 0, length)).expect("room");
    }
    let items = now(&mut reader(&ring));
    let found: Vec<_> = items
        .iter()
        .map(line)
        .map(|line| (line.bytes.len(), line.truncated, line.missing))
        .collect();
    assert_eq!(found, [(PAYLOAD, false, 0), (100, false, 0), (100, true, 1), (100, true, 220)]);
}

#[test]
fn the_assembly_budget_is_for_all_mirrors_together() {
    let ring = ring(small(64, Policy::Block).max_line(1000).assembly_budget(3 * PAYLOAD));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [mirror(&ring), mirror(&ring)];
    let text = numbered(0, 0, 3 * PAYLOAD);
    // Two parts are in the ring, the third begins in the segment.
    a.write_all(&text[..2 * PAYLOAD + 1]).expect("room");
    assert_eq!(now(&mut reader), []);
    b.write_line(&text).expect("room");
    let items = now(&mut reader);
    let cut = line(&items[0]);
    assert_eq!((cut.bytes.len(), cut.truncated, cut.missing), (PAYLOAD, true, 2 * PAYLOAD as u64));
    a.write_all(&text[2 * PAYLOAD + 1..]).expect("room");
    a.write_all(b"\n").expect("room");
    b.write_line(&text).expect("room");
    let items = now(&mut reader);
    assert_eq!(items.len(), 2);
    for item in &items {
        assert_eq!(line(item).bytes, text);
        assert!(!line(item).truncated);
    }
}

// ----------------------------------------------------------------------------------- commit and
// again

#[test]
fn what_was_handed_out_is_accepted_by_asking_for_the_next_one_and_comes_again_otherwise() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(16, policy));
        let mut mirror = mirror(&ring);
        (0..6).for_each(|i| write(&mut mirror, &i.to_string()));
        let mut first = reader(&ring);
        let taken: Vec<_> = first.by_ref().take(3).map(|item| item.expect("ours")).collect();
        drop(first);
        let mut second = reader(&ring);
        let again = second.recv().expect("ours").expect("not over").into_owned();
        assert_eq!(again, taken[2], "with the same position");
        second.commit().expect("ours");
        drop(second);
        let items = now(&mut reader(&ring));
        assert_eq!(texts(&items), ["3", "4", "5"], "{policy:?}");
        let positions = items.iter().map(|item| line(item).position);
        let start = below_overflow(16);
        assert!(positions.eq(start + 3..start + 6), "{policy:?}: {items:?}");
        assert_eq!(now(&mut reader(&ring)), [], "{policy:?}: accepted by asking for the end");
    }
}

#[test]
fn a_batch_comes_again_until_it_is_committed() {
    let ring = ring(small(64, Policy::Block));
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut reader = reader(&ring);
    let first = reader.recv().expect("ours").expect("not over").into_owned();
    assert_eq!(first.to_string(), "0");
    let owned = |reader: &mut Reader| {
        let batch = reader.batch().expect("ours");
        let items: Vec<_> = batch.iter().map(Item::into_owned).collect();
        assert_eq!((batch.len(), batch.is_empty()), (items.len(), items.is_empty()));
        items
    };
    let items = owned(&mut reader);
    assert_eq!(
        texts(&items),
        (1..10).map(|i| i.to_string()).collect::<Vec<_>>(),
        "the one before was accepted"
    );
    assert_eq!(owned(&mut reader), items, "the same, with the same positions");
    drop(reader);
    let mut reader = self::reader(&ring);
    assert_eq!(owned(&mut reader), items, "from the next reader too");
    reader.batch().expect("ours").commit();
    write(&mut mirror, "10");
    assert_eq!(texts(&owned(&mut reader)), ["10"]);
    reader.batch().expect("ours").commit();
    drop(mirror);
    assert_eq!(texts(&owned(&mut reader)), ["-- worker 0 ended --"]);
    reader.batch().expect("ours").commit();
    assert_eq!(owned(&mut reader), []);
    assert!(reader.is_over());
}

#[test]
fn what_stands_in_an_uncommitted_batch_is_not_overwritten_by_blocked_writers() {
    let ring = ring(small(8, Policy::Block).block_limit(Duration::from_millis(1)));
    let mut mirror = mirror(&ring);
    (0..8).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut reader = reader(&ring);
    let batch = reader.batch().expect("ours");
    let count = batch.len();
    assert!(count > 0);
    assert!(matches!(mirror.write_line(b"no room"), Err(WriteError::TimedOut(_))));
    batch.commit();
    (0..count).for_each(|_| write(&mut mirror, "room"));
    assert!(matches!(mirror.write_line(b"no room"), Err(WriteError::TimedOut(_))));
}

#[test]
fn a_line_that_a_former_reader_had_begun_comes_once_truncated_by_what_it_had_taken() {
    let ring = ring(small(64, Policy::Block).max_line(1000));
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 7 * PAYLOAD + 3);
    mirror.write_all(&text[..4 * PAYLOAD + 1]).expect("room");
    // It takes four parts of a line that has no end yet.
    assert_eq!(now(&mut reader(&ring)), []);
    mirror.write_all(&text[4 * PAYLOAD + 1..]).expect("room");
    mirror.write_all(b"\nnext\n").expect("room");
    let items = now(&mut reader(&ring));
    let cut = line(&items[0]);
    assert!(cut.truncated, "{cut:?}");
    assert_eq!((&cut.bytes[..], cut.missing), (&text[4 * PAYLOAD..], 4 * PAYLOAD as u64));
    assert_eq!(texts(&items[1..]), ["next"]);
    assert_eq!(now(&mut reader(&ring)), []);
}

#[test]
fn a_line_of_several_parts_that_was_not_accepted_comes_again_whole() {
    let ring = ring(small(64, Policy::Block).max_line(1000));
    let mut mirror = mirror(&ring);
    let text = numbered(0, 0, 7 * PAYLOAD + 3);
    write(&mut mirror, "before");
    mirror.write_line(&text).expect("room");
    let mut first = reader(&ring);
    let handed: Vec<_> = first.by_ref().take(2).map(|item| item.expect("ours")).collect();
    drop(first);
    let items = now(&mut reader(&ring));
    assert_eq!(items, handed[1..]);
    assert_eq!(line(&items[0]).bytes, text);
    assert!(!line(&items[0]).truncated);
}

#[test]
fn a_loss_that_was_accepted_is_not_reported_again() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut first = reader(&ring);
    assert_eq!(texts(&now(&mut first)), ["0", "1", "2", "3"]);
    write(&mut mirror, "10");
    let items: Vec<_> = first.by_ref().take(2).map(|item| item.expect("ours")).collect();
    assert_eq!(texts(&items), ["-- worker 0: 6 lines lost, ring full --", "10"]);
    // The loss was accepted by asking for the line, the line was not.
    drop(first);
    drop(mirror);
    assert_eq!(texts(&now(&mut reader(&ring))), ["10", "-- worker 0 ended --"]);
}

#[test]
fn a_loss_that_was_not_accepted_is_reported_again() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut mirror = mirror(&ring);
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    let mut first = reader(&ring);
    now(&mut first);
    write(&mut mirror, "10");
    drop(mirror);
    let lost = "-- worker 0: 6 lines lost, ring full --";
    assert_eq!(first.recv().expect("ours").expect("not over").to_string(), lost);
    drop(first);
    assert_eq!(texts(&now(&mut reader(&ring))), [lost, "10", "-- worker 0 ended --"]);
}

#[test]
fn an_end_comes_again_until_it_is_accepted() {
    let ring = ring(small(4, Policy::DropNewest));
    let mut mirror = ring.mirror_labelled("label").expect("a mirror");
    (0..10).for_each(|i| write(&mut mirror, &i.to_string()));
    drop(mirror);
    let mut first = reader(&ring);
    let items: Vec<_> = first.by_ref().take(6).map(|item| item.expect("ours")).collect();
    assert!(
        matches!(items.last(), Some(Item::Ended(ended)) if ended.label == "label"),
        "{items:?}"
    );
    drop(first);
    let items = now(&mut reader(&ring));
    assert!(
        matches!(items.last(), Some(Item::Ended(ended)) if ended.label == "label"),
        "{items:?}"
    );
    let mut last = reader(&ring);
    assert!(last.recv().expect("ours").is_none());
    assert!(last.is_over());
}

#[test]
fn losses_of_mirrors_that_had_the_same_cell_stay_exact_when_the_reader_changes() {
    for accepted in 0..30 {
        let ring = ring(small(8, Policy::OverwriteOldest).mirrors(1));
        for count in [100, 20] {
            let mut mirror = mirror(&ring);
            (0..count).for_each(|i| write(&mut mirror, &i.to_string()));
        }
        let mut counted = HashMap::<u32, u64>::new();
        let mut ends = Vec::new();
        let mut note = |item: &Item<'_>| match item {
            Item::Line(line) => *counted.entry(line.writer_id).or_default() += 1,
            Item::Lost(lost) => *counted.entry(lost.writer_id).or_default() += lost.lines,
            Item::Ended(ended) => ends.push(ended.writer_id),
            other => panic!("nothing damaged this ring: {other:?}"),
        };
        let mut first = reader(&ring);
        for _ in 0..accepted {
            first.recv().expect("ours").iter().for_each(&mut note);
        }
        first.commit().expect("ours");
        drop(first);
        reader(&ring).for_each(|item| note(&item.expect("ours")));
        assert_eq!(
            (counted.get(&0), counted.get(&1)),
            (Some(&100), Some(&20)),
            "{accepted} items by the first reader"
        );
        ends.sort();
        assert_eq!(ends, [0, 1], "{accepted} items by the first reader");
    }
}

#[test]
fn there_is_one_reader_at_a_time() {
    let ring = ring(small(8, Policy::Block));
    let first = reader(&ring);
    let attached = LineRing::attach(ring.descriptor().expect("open")).expect("a ring");
    for other in [&ring, &ring.clone(), &attached] {
        let error = other.reader().expect_err("there is one");
        assert!(matches!(error, ReadError::HasReader { .. }));
        let first = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("process {first} reads the ring already, expected no other reader")
        );
    }
    drop(first);
    let second = attached.reader().expect("no other");
    assert!(matches!(ring.reader(), Err(ReadError::HasReader { .. })));
    drop(second);
    drop(reader(&ring));
}

// --------------------------------------------------------------------------------------- the
// reader

#[test]
fn a_ring_that_never_had_a_mirror_is_over_at_once() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    assert!(reader.recv().expect("ours").is_none());
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(reader.recv_timeout(Duration::from_secs(60)).expect("ours").is_none());
    assert!(reader.batch().expect("ours").is_empty());
    assert!(reader.next().is_none());
    reader.commit().expect("nothing to do");
    assert!(reader.is_over());
}

#[test]
fn none_of_try_recv_and_recv_timeout_does_not_mean_that_it_is_over() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(!reader.is_over());
    assert!(reader.recv_timeout(Duration::from_millis(1)).expect("ours").is_none());
    assert!(!reader.is_over());
    write(&mut mirror, "line");
    let found =
        reader.recv_timeout(Duration::from_secs(60)).expect("ours").map(|item| item.to_string());
    assert_eq!(found.as_deref(), Some("line"));
    drop(mirror);
    assert!(!reader.is_over());
    assert!(matches!(reader.try_recv().expect("ours"), Some(Item::Ended(_))));
    assert!(!reader.is_over(), "the end is not accepted yet");
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(reader.is_over());
}

#[test]
fn a_ring_that_was_over_goes_on_with_a_new_mirror() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    for round in 0..10 {
        write(&mut mirror(&ring), "line");
        let items: Vec<_> = reader.by_ref().map(|item| item.expect("ours").to_string()).collect();
        assert_eq!(items, ["line".to_owned(), format!("-- worker {round} ended --")]);
    }
}

#[test]
fn recv_and_batch_wait_for_what_comes_later() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(8, Policy::Block).wake_up(wake_up));
        let mut reader = reader(&ring);
        let (go_on, next) = std::sync::mpsc::channel::<()>();
        let mut mirror = mirror(&ring);
        thread::scope(|scope| {
            scope.spawn(move || {
                for (i, ()) in next.iter().enumerate() {
                    write(&mut mirror, &i.to_string());
                }
            });
            for i in 0..50 {
                go_on.send(()).expect("it waits");
                if i % 2 == 0 {
                    assert_eq!(
                        reader.recv().expect("ours").expect("not over").to_string(),
                        i.to_string()
                    );
                } else {
                    let batch = reader.batch().expect("ours");
                    assert_eq!(
                        batch.iter().map(|item| item.to_string()).collect::<Vec<_>>(),
                        [i.to_string()]
                    );
                    batch.commit();
                }
            }
            drop(go_on);
            assert_eq!(
                reader.recv().expect("ours").expect("not over").to_string(),
                "-- worker 0 ended --"
            );
        });
        assert!(reader.recv().expect("ours").is_none());
    }
}

extern "C" fn ignore(_: i32) {}

#[test]
fn a_signal_interrupts_a_waiting_reader_that_can_go_on_then() {
    // SAFETY: a plain C struct, for which zeros are valid: no flags, so system calls are
    // interrupted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as libc::sighandler_t;
    // SAFETY: the handler does nothing, and nobody else uses this signal.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    // SAFETY: a plain call, for this thread.
    let waiting = unsafe { libc::pthread_self() };
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let ring = ring(small(8, Policy::Block).wake_up(wake_up));
        let mut mirror = mirror(&ring);
        let mut reader = reader(&ring);
        let interrupted = AtomicBool::new(false);
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                while !interrupted.load(SeqCst) {
                    // SAFETY: that thread waits for this one.
                    unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) };
                    thread::yield_now();
                }
            });
            let error = reader.recv().expect_err("no line comes, so only the signal ends this");
            interrupted.store(true, SeqCst);
            error
        });
        assert!(matches!(error, ReadError::Interrupted), "{error}");
        write(&mut mirror, "after");
        let found = loop {
            match reader.recv() {
                // One that was sent before.
                Err(ReadError::Interrupted) => {}
                other => break other.expect("ours").expect("not over").to_string(),
            }
        };
        assert_eq!(found, "after");
    }
}

// ----------------------------------------------------------------------------------- the wake-up
// pipe

/// Whether the descriptor becomes readable within so many milliseconds.
fn is_readable(reader: &Reader, milliseconds: i32) -> bool {
    let mut poll =
        libc::pollfd { fd: reader.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one struct, which lives during the call.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
            -1 => assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted),
            count => return count == 1,
        }
    }
}

#[test]
fn the_wake_up_pipe_is_readable_when_something_has_come_since_nothing_was_there() {
    let ring = ring(small(8, Policy::Block).wake_up(WakeUp::Pipe));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    for i in 0..5 {
        assert!(reader.try_recv().expect("ours").is_none());
        assert!(!is_readable(&reader, 0), "nothing has come");
        write(&mut mirror, "one");
        write(&mut mirror, "two");
        assert!(is_readable(&reader, 0), "round {i}");
        assert_eq!(texts(&now(&mut reader)), ["one", "two"]);
    }
    assert!(!is_readable(&reader, 0));
    mirror.write_all(b"unfinished").expect("room");
    assert!(!is_readable(&reader, 0), "an unfinished line wakes nobody");
    drop(mirror);
    assert!(is_readable(&reader, 0), "an end wakes too");
    assert_eq!(texts(&now(&mut reader)), ["unfinished", "-- worker 0 ended --"]);
    assert!(reader.is_over());
}

#[test]
fn an_event_loop_misses_no_line_and_no_end() {
    let ring = ring(small(16, Policy::Block).wake_up(WakeUp::Pipe));
    let mut reader = reader(&ring);
    for round in 0..400 {
        let mirrors: Vec<_> = (0..3).map(|_| mirror(&ring)).collect();
        thread::scope(|scope| {
            for mut mirror in mirrors {
                scope
                    .spawn(move || (0..round % 4).for_each(|i| write(&mut mirror, &i.to_string())));
            }
            let mut found = 0;
            loop {
                found += now(&mut reader).len();
                if reader.is_over() {
                    break;
                }
                assert!(
                    is_readable(&reader, 120_000),
                    "round {round}: {found} items have come, and no wake-up"
                );
            }
            assert_eq!(found, 3 + 3 * (round % 4));
        });
    }
}

#[test]
fn without_a_pipe_the_descriptor_is_always_readable() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    assert!(is_readable(&reader, 0));
    let _mirror = mirror(&ring);
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(is_readable(&reader, 0));
}

// ------------------------------------------------------------------------------------ what arrives

#[test]
fn a_lines_stream_level_tag_and_label_arrive() {
    let ring = ring(small(32, Policy::Block).max_line(200));
    let mut styled =
        ring.seat_labelled("twenty-four bytes, label").expect("a seat").open().expect("a mirror");
    let mut plain = mirror(&ring);
    styled.set_stream(Stream::Stderr).set_level(Level::Warn).set_tag(u16::MAX);
    write(&mut styled, "short");
    write(&mut styled, &"long ".repeat(20));
    write(&mut plain, "plain");
    styled.write_all(b"begun in one style").expect("room");
    styled.set_stream(Stream::Log).set_level(Level::Trace).set_tag(7);
    styled.write_all(b", ended in another\nnext\n").expect("room");
    styled.send_warning("careful").expect("room");
    let items = now(&mut reader(&ring));
    let style = |line: &Line<'_>| {
        (line.writer_id, line.label.to_string(), line.stream, line.level, line.tag, line.kind)
    };
    let found: Vec<_> = items.iter().map(|item| style(line(item))).collect();
    let of_styled = |stream, level, tag, kind| {
        (0, "twenty-four bytes, label".to_owned(), stream, level, tag, kind)
    };
    let first = of_styled(Stream::Stderr, Level::Warn, u16::MAX, Kind::Line);
    let expected = [
        first.clone(),
        first.clone(),
        (1, String::new(), Stream::Stdout, Level::None, 0, Kind::Line),
        first,
        of_styled(Stream::Log, Level::Trace, 7, Kind::Line),
        of_styled(Stream::Log, Level::Warn, 7, Kind::Warning),
    ];
    assert_eq!(found, expected);
    for (level, tag) in
        [Level::None, Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error]
            .into_iter()
            .zip(1..)
    {
        plain.set_level(level).set_tag(tag);
        write(&mut plain, "leveled");
        let item = &now(&mut reader(&ring))[0];
        assert_eq!((line(item).level, line(item).tag), (level, tag));
    }
}

#[test]
fn a_ring_without_a_splitter_delivers_every_byte_as_it_was_written() {
    let ring = ring(small(32, Policy::Block).max_line(1000));
    let mut mirror = mirror(&ring);
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    mirror.write_all(b"dos\r\nrewrites\rnothing\r").expect("room");
    mirror.write_all(b"\n\r\n\n\xe2\x80\xa8\x0b\n").expect("room");
    mirror.write_all(&[&all[..], b"\n"].concat()).expect("room");
    mirror.write_line(b"a line feed\nwithin").expect("room");
    mirror.write_all(b"begun ").expect("room");
    mirror.write_line(b"and ended").expect("room");
    mirror.write_all(b"last\r").expect("room");
    drop(mirror);
    let items = now(&mut reader(&ring));
    let found: Vec<_> =
        items.iter().filter_map(Item::line).map(|line| line.bytes.to_vec()).collect();
    let expected: [&[u8]; 9] = [
        b"dos\r",
        b"rewrites\rnothing\r",
        b"\r",
        b"",
        b"\xe2\x80\xa8\x0b",
        &all,
        b"a line feed\nwithin",
        b"begun and ended",
        b"last\r",
    ];
    assert_eq!(found, expected);
    let flags = items.iter().filter_map(Item::line).map(|line| line.unfinished);
    assert_eq!(
        flags.collect::<Vec<_>>(),
        [false, false, false, false, false, false, false, false, true]
    );
}

#[test]
fn lines_of_every_length_arrive_with_every_byte() {
    for line_bytes in [64, 128, 192, 4096] {
        let ring = ring(small(128, Policy::Block).line_bytes(line_bytes).max_line(4 * line_bytes));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        for length in (0..3 * line_bytes).step_by(if line_bytes > 1000 { 61 } else { 1 }) {
            let text: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            mirror.write_line(&text).expect("room");
            let items = now(&mut reader);
            assert_eq!(items.len(), 1);
            assert_eq!(line(&items[0]).bytes, text, "{length} bytes in slots of {line_bytes}");
        }
    }
}

#[test]
fn positions_grow_by_a_lines_parts_through_the_overflow_of_the_laps() {
    for lines in [2, 16, 1024] {
        let start = below_overflow(lines);
        let ring = ring(small(lines, Policy::Block).max_line(1000));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        let mut next = start;
        for i in 0..4 * lines {
            let parts = 1 + i % 2;
            mirror.write_line(&vec![b'x'; parts * PAYLOAD]).expect("room");
            next += parts as u64;
            let items = now(&mut reader);
            assert_eq!(line(&items[0]).position, next - 1, "the position of its last part");
            assert_eq!(items.len(), 1);
        }
        assert!(next > (1 << 39) << lines.trailing_zeros(), "the laps have overflown");
    }
}

#[test]
fn a_line_that_lost_its_last_part_is_handed_out_late_with_the_position_that_it_had() {
    let ring = ring(small(8, Policy::DropNewest).max_line(1000));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [mirror(&ring), mirror(&ring)];
    // Two parts are in the ring, and the reader takes them; the third will be dropped.
    a.write_all(&numbered(0, 0, 2 * PAYLOAD + 1)).expect("room");
    assert_eq!(now(&mut reader), []);
    (0..8).for_each(|i| write(&mut b, &i.to_string()));
    a.write_all(b"\n").expect("dropping is no error");
    let mut items = now(&mut reader);
    write(&mut a, "after");
    items.extend(now(&mut reader));
    assert_eq!(items.len(), 10, "{items:?}");
    assert!(items.iter().map(line).any(|line| line.truncated));
    let position = |item: &Item<'static>| line(item).position;
    let (cut, whole): (Vec<_>, Vec<_>) = items.iter().partition(|item| line(item).truncated);
    assert_eq!(cut.into_iter().map(position).collect::<Vec<_>>(), [below_overflow(8) + 1]);
    assert!(whole.iter().is_sorted_by(|a, b| position(a) < position(b)), "{whole:?}");
}

#[test]
fn positions_may_overflow_too() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        let ring = ring(small(8, policy).start_position(u64::MAX - 20));
        let mut reader = reader(&ring);
        let mut mirror = mirror(&ring);
        for i in 0..100_u64 {
            write(&mut mirror, &i.to_string());
            let items = now(&mut reader);
            assert_eq!(texts(&items), [i.to_string()], "{policy:?}");
            assert_eq!(line(&items[0]).position, (u64::MAX - 20).wrapping_add(i), "{policy:?}");
        }
    }
}

#[test]
fn a_time_stamp_is_of_the_lines_first_byte() {
    // The coarse clock may be a few milliseconds behind.
    let slack = Duration::from_millis(50);
    let ring = ring(small(8, Policy::Block).timestamps(Timestamps::Coarse));
    let mut mirror = mirror(&ring);
    let before = SystemTime::now();
    mirror.write_all(b"begun ").expect("room");
    let between = SystemTime::now();
    while between.elapsed().expect("the clock does not go back") < 2 * slack {
        thread::yield_now();
    }
    mirror.write_all(b"and ended\nnext\n").expect("room");
    let after = SystemTime::now();
    let items = now(&mut reader(&ring));
    let times: Vec<_> = items.iter().map(|item| line(item).time.expect("stamps are on")).collect();
    assert!(
        before - slack <= times[0] && times[0] <= between,
        "{before:?} {:?} {between:?}",
        times[0]
    );
    assert!(
        between + slack <= times[1] && times[1] <= after,
        "{between:?} {:?} {after:?}",
        times[1]
    );
}

#[test]
fn without_time_stamps_there_is_no_time() {
    let ring = ring(small(8, Policy::Block).timestamps(Timestamps::Off).max_line(100));
    let mut mirror = mirror(&ring);
    write(&mut mirror, "short");
    mirror.write_line(&[b'x'; 100]).expect("room");
    assert!(now(&mut reader(&ring)).iter().all(|item| line(item).time.is_none()));
}

#[test]
fn a_group_comes_in_one_piece_with_one_position() {
    let ring = ring(small(64, Policy::Block).max_line(1000));
    let mut reader = reader(&ring);
    let [mut a, mut b] = [mirror(&ring), mirror(&ring)];
    a.write_all(b"before").expect("room");
    let mut group = a.group().expect("room");
    for i in 0..20 {
        group.line(format!("line {i} of the group").as_bytes()).expect("room");
        write(&mut b, "other");
    }
    group.end().expect("room");
    write(&mut a, "after");
    let items = now(&mut reader);
    let of_a: Vec<_> = items.iter().map(line).filter(|line| line.writer_id == 0).collect();
    let kinds: Vec<_> =
        of_a.iter().map(|line| (line.kind, line.unfinished, line.truncated)).collect();
    assert_eq!(
        kinds,
        [(Kind::Line, true, false), (Kind::Text, false, false), (Kind::Line, false, false)]
    );
    let expected: String = (0..20).map(|i| format!("line {i} of the group\n")).collect();
    assert_eq!(of_a[1].bytes, expected.as_bytes());
    assert_eq!(items.len(), 23);
    assert!(items.iter().map(line).map(|line| line.position).is_sorted_by(|a, b| a < b));
}

// ----------------------------------------------------------------------------------------- bad
// input

#[test]
fn an_option_out_of_bounds_is_named_with_what_was_found_and_expected() {
    let new = Options::new;
    let cases = [
        (new().lines(0), "lines", 0, "2 to 8388608"),
        (new().lines(1), "lines", 1, "2 to 8388608"),
        (new().lines(usize::MAX), "lines", u64::MAX, "2 to 8388608"),
        (new().line_bytes(0), "line_bytes", 0, "64 to 65536"),
        (new().line_bytes(63), "line_bytes", 63, "64 to 65536"),
        (new().line_bytes(65_537), "line_bytes", 65_537, "64 to 65536"),
        (new().line_bytes(usize::MAX), "line_bytes", u64::MAX, "64 to 65536"),
        (new().mirrors(0), "mirrors", 0, "1 to 4095"),
        (new().mirrors(4096), "mirrors", 4096, "1 to 4095"),
        (new().seats(0), "seats", 0, "1 to 1048576"),
        (new().seats(1_048_577), "seats", 1_048_577, "1 to 1048576"),
        (new().max_line(0), "max_line", 0, "1 to 3758096384"),
        (new().max_line(usize::MAX), "max_line", u64::MAX, "1 to 3758096384"),
        (
            new().max_line(458_753).policy(Policy::OverwriteOldest),
            "max_line",
            458_753,
            "1 to 458752",
        ),
    ];
    for (options, name, number, bounds) in cases {
        let error = LineRing::new(options).expect_err(name);
        assert_eq!(error.to_string(), format!("{name} is {number}, expected {bounds}"));
        let CreateError::Option { option, found, expected } = error else {
            panic!("another error: {error}")
        };
        assert_eq!((option, found, &*expected), (name, number, bounds));
    }
}

#[test]
fn options_at_their_bounds_make_a_ring_that_works() {
    let new = || {
        Options::new().lines(4).line_bytes(64).mirrors(1).seats(1).max_line(1).assembly_budget(0)
    };
    let cases = [
        new().lines(2),
        new().line_bytes(65_536).max_line(1000),
        new().line_bytes(65).max_line(1000),
        new().mirrors(4095).max_line(1000),
        new().lines(3).seats(1 << 20).max_line(1000),
        new().start_position(u64::MAX),
        new().block_limit(Duration::ZERO).reader_grace(Duration::ZERO),
        new().block_limit(Duration::MAX).reader_grace(Duration::MAX).seat_limit(Duration::MAX),
    ];
    for options in cases {
        let case = format!("{options:?}");
        let ring = LineRing::new(options).expect(&case);
        let mut reader = reader(&ring);
        write(&mut ring.seat().expect(&case).open().expect(&case), "x");
        let items: Vec<_> = reader.by_ref().map(|item| item.expect(&case).to_string()).collect();
        assert_eq!(items, ["x", "-- worker 0 ended --"], "{case}");
    }
}

#[test]
fn the_numbers_of_lines_are_rounded_up_to_powers_of_two() {
    for (lines, holds) in [(2, 2), (3, 4), (5, 8), (1000, 1024)] {
        let ring = ring(small(lines, Policy::DropNewest));
        let mut mirror = mirror(&ring);
        (0..2000).for_each(|_| write(&mut mirror, "line"));
        assert_eq!(now(&mut reader(&ring)).len(), holds, "{lines} lines");
    }
}

#[test]
fn packed_lines_share_slots_and_no_byte_of_them_is_lost() {
    let text = b"a\nbb\n\nccc\n0123456789012345678901234567890\nlonger than one slot can hold in its 32 bytes\nd\ne\nunfinished";
    // In pieces of any size: what is split there is a line all the same.
    for size in 1..=text.len() {
        let ring = ring(small(64, Policy::Block));
        let mut mirror = mirror(&ring);
        for piece in text.chunks(size) {
            mirror.write_packed(piece).expect("room");
        }
        drop(mirror);
        let items = now(&mut reader(&ring));
        let mut came = Vec::new();
        for line in items.iter().filter_map(Item::line) {
            came.extend_from_slice(&line.bytes);
            let is_group = line.kind == Kind::Packed;
            assert_eq!(
                is_group,
                line.bytes.ends_with(b"\n"),
                "a group's lines have their ends: {line:?}"
            );
            assert!(!is_group || line.bytes.len() <= PAYLOAD, "{line:?}");
            came.extend(if is_group || line.unfinished { None } else { Some(b'\n') });
        }
        assert_eq!(
            String::from_utf8_lossy(&came),
            String::from_utf8_lossy(text),
            "pieces of {size}"
        );
        if size == text.len() {
            let groups: Vec<_> =
                items.iter().filter_map(Item::line).map(|line| line.kind).collect();
            assert_eq!(groups, [Kind::Packed, Kind::Line, Kind::Line, Kind::Packed, Kind::Line]);
        }
    }
}

#[test]
fn packed_lines_are_lines_of_their_own_where_a_return_rewrites() {
    let ring = ring(small(16, Policy::OverwriteOldest).rewrite(true));
    let mut mirror = mirror(&ring);
    mirror.write_packed(b"10%\r100%\nnext\n").expect("it overwrites");
    drop(mirror);
    let items = now(&mut reader(&ring));
    let lines: Vec<_> = items.iter().filter_map(Item::line).map(Line::to_string).collect();
    assert_eq!(lines, ["100%", "next"]);
}

// ------------------------------------------------------------------------------- lines begun anew

/// Makes the unfinished line of `mirror` void, and begins it anew with `text`: it has the same
/// number.
fn begin_anew(mirror: &mut LineProcMirror, rewrites: bool, text: &[u8]) {
    if rewrites {
        mirror.write_all(b"\r").expect("open");
    } else {
        mirror.discard_partial().expect("open");
    }
    mirror.write_all(text).expect("open");
}

#[test]
fn an_overrun_reader_never_joins_the_parts_of_a_void_line_and_its_successor() {
    for (rewrites, voids, old, new) in (0..16).flat_map(|bits| {
        (0..4)
            .flat_map(move |old| (1..5).map(move |new| (bits & 1 != 0, 1 + bits / 2 % 3, old, new)))
    }) {
        let ring = ring(small(16, Policy::OverwriteOldest).max_line(8 * PAYLOAD).rewrite(rewrites));
        let mut reader = reader(&ring);
        let [mut mirror, mut other] = [mirror(&ring), mirror(&ring)];
        // So many parts are published, and one byte is not.
        mirror.write_all(&vec![b'a'; old * PAYLOAD + 1]).expect("room");
        assert_eq!(now(&mut reader), [], "its parts are taken");
        let mut letter = b'a';
        for _ in 0..voids {
            letter += 1;
            begin_anew(&mut mirror, rewrites, &vec![letter; new * PAYLOAD + 1]);
        }
        // All of it but what is not published.
        (0..16).for_each(|i| write(&mut other, &i.to_string()));
        mirror.write_all(b"\n").expect("room");
        drop((mirror, other));
        let items = now(&mut reader);
        let lines: Vec<_> =
            items.iter().filter_map(Item::line).filter(|line| line.writer_id == 0).collect();
        let what = format!("{old} parts, {voids} voids, {new} parts: {items:?}");
        let [line] = lines[..] else { panic!("{what}") };
        assert_eq!(&*line.bytes, [letter], "{what}");
        assert!(
            line.truncated && !line.damaged && line.missing == (new * PAYLOAD) as u64,
            "{what}"
        );
        let is_end = |item: &Item<'_>| {
            matches!(item, Item::Ended(Ended { writer_id: 0, lines: 1, lost: 0, .. }))
        };
        assert!(items.iter().any(is_end), "{what}");
    }
}

#[test]
fn a_long_line_is_whole_though_its_reader_was_overrun_in_it() {
    for voids in [0, 1] {
        let ring = ring(small(16, Policy::OverwriteOldest).max_line(8 * PAYLOAD).rewrite(true));
        let mut reader = reader(&ring);
        let [mut mirror, mut other] = [mirror(&ring), mirror(&ring)];
        let text = numbered(0, 0, 4 * PAYLOAD);
        // An earlier line that was begun anew says nothing of this one.
        mirror
            .write_all(&[&b"\n".repeat(voids)[..], &[b'x'; 3 * PAYLOAD], b"\rx\n"].concat())
            .expect("room");
        mirror.write_all(&text[..2 * PAYLOAD + 1]).expect("room");
        assert_eq!(now(&mut reader).len(), 1 + voids);
        (0..30).for_each(|i| write(&mut other, &i.to_string()));
        mirror.write_all(&text[2 * PAYLOAD + 1..]).expect("room");
        mirror.write_all(b"\n").expect("room");
        let items = now(&mut reader);
        let line = line(items.last().expect("it came last"));
        assert!(*line.bytes == text && !line.truncated && !line.damaged, "{items:?}");
    }
}

#[test]
fn a_line_after_a_void_one_is_counted_if_it_is_lost() {
    for policy in [Policy::OverwriteOldest, Policy::DropNewest] {
        for takes_parts in [true, false] {
            let ring = ring(small(8, policy).max_line(4 * PAYLOAD));
            let mut reader = reader(&ring);
            let [mut mirror, mut other] = [mirror(&ring), mirror(&ring)];
            mirror.write_all(&[b'x'; 2 * PAYLOAD + 1]).expect("room");
            if takes_parts {
                assert_eq!(now(&mut reader), [], "its parts are taken");
            }
            mirror.discard_partial().expect("open");
            if policy == Policy::OverwriteOldest {
                // The mark that it is void is taken; its successor is not before it is overwritten.
                assert_eq!(now(&mut reader), []);
                write(&mut mirror, "lost");
                (0..8).for_each(|i| write(&mut other, &i.to_string()));
            } else {
                let room = if takes_parts { 7 } else { 5 };
                (0..room).for_each(|i| write(&mut other, &i.to_string()));
                write(&mut mirror, "lost");
                assert_eq!(now(&mut reader).len(), room);
            }
            write(&mut mirror, "next");
            drop(mirror);
            let items = now(&mut reader);
            let cause = if policy == Policy::DropNewest {
                LossCause::Dropped
            } else {
                LossCause::Overwritten
            };
            let is_lost = |item: &Item<'_>| matches!(item, Item::Lost(Lost { writer_id: 0, lines: 1, cause: c, .. }) if *c == cause);
            assert!(items.iter().any(is_lost), "{policy:?}: {items:?}");
            let is_end = |item: &Item<'_>| {
                matches!(item, Item::Ended(Ended { writer_id: 0, lines: 1, lost: 1, .. }))
            };
            assert!(items.iter().any(is_end), "{policy:?}: {items:?}");
        }
    }
}
