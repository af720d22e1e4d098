//! What a `LineProcBuffer` keeps of many processes, and how it notices their ends.

mod common;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use common::{Child, Gate, below_overflow, die, exit, fork};
use linering::{
    AttachError, End, Ended, Item, Kind, LineProcBuffer, LineProcMirror, LineRing, Message,
    MirrorError, Options, ReadError, Seat, WorkerPool, WriteError,
};

/// Slots of 64 bytes hold 32 bytes of a line.
const PAYLOAD: usize = 32;

/// A buffer on a ring of 64 small slots, whose laps overflow after its third line.
fn small(maxlen: usize) -> LineProcBuffer {
    LineProcBuffer::with_options(maxlen, small_ring(maxlen)).expect("a buffer")
}

fn small_ring(maxlen: usize) -> Options {
    let lines = (2 * maxlen).max(64);
    Options::new().lines(lines).line_bytes(64).mirrors(32).start_position(below_overflow(lines))
}

fn texts(buffer: &LineProcBuffer) -> Vec<String> {
    let messages = buffer.read(None).expect("this process made it");
    assert_eq!(
        buffer.len().expect("this process made it"),
        messages.len(),
        "len is what read gives"
    );
    messages.iter().map(Message::to_string).collect()
}

fn sorted(buffer: &LineProcBuffer) -> Vec<String> {
    let mut texts = texts(buffer);
    texts.sort();
    texts
}

/// How each mirror ended, by their numbers.
fn kinds(mut ends: Vec<Ended<'_>>) -> Vec<(u32, End)> {
    ends.sort_by_key(|end| end.writer_id);
    ends.iter().map(|end| (end.writer_id, end.end)).collect()
}

/// Waits, and how each mirror ended.
#[track_caller]
fn wait(buffer: &LineProcBuffer) -> Vec<(u32, End)> {
    kinds(buffer.wait().expect("this process made it"))
}

/// What stands in a child for `?`: the check of this number failed.
macro_rules! check {
    ($number:literal, $condition:expr) => {
        if !$condition {
            return $number;
        }
    };
}

// ------------------------------------------------------------------------------------- one process

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

// ------------------------------------------------------------------------------------------ the
// end

#[test]
fn a_second_end_is_ignored() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_eof().expect("room");
    mirror.send_eof().expect("ignored");
    mirror.send_error(&io::Error::other("too late")).expect("ignored");
    mirror.send_panic(&"too late").expect("ignored");
    drop(mirror);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_error(&io::Error::other("in time")).expect("room");
    mirror.send_error(&io::Error::other("too late")).expect("ignored");
    mirror.send_eof().expect("ignored");
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Error)]);
    let texts = texts(&buffer);
    assert!(matches!(&texts[..], [error] if error.starts_with("error: in time")), "{texts:?}");
    let counts = buffer.ring().counts();
    assert_eq!((counts.live, counts.eofs, counts.errors, counts.deaths), (0, 1, 1, 0));
}

#[test]
fn whatever_is_written_after_the_end_is_refused() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"line\n").expect("open");
    mirror.send_eof().expect("room");
    assert!(matches!(mirror.write_line(b"late"), Err(WriteError::Ended)));
    assert!(matches!(mirror.flush_partial(), Err(WriteError::Ended)));
    assert!(matches!(mirror.send_warning("late"), Err(WriteError::Ended)));
    assert!(matches!(mirror.group(), Err(WriteError::Ended)));
    let error = mirror.write(b"late\n").expect_err("it has ended");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(error.to_string(), "the mirror has ended");
    mirror.flush().expect("nothing to do");
    wait(&buffer);
    assert_eq!(texts(&buffer), ["line"]);
}

#[test]
fn again_makes_a_fresh_mirror_of_the_same_seat() {
    let buffer = small(10);
    let seat = buffer.ring().seat_labelled("seat").expect("a seat");
    let mut first = seat.open().expect("a mirror");
    first.write_all(b"first").expect("open");
    first.send_error(&io::Error::other("failed")).expect("room");
    let mut second = first.reopen().expect("a mirror");
    assert_eq!(second.writer_id(), first.writer_id());
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "it counts");
    second.write_line(b"second").expect("open");
    assert!(matches!(first.write_line(b"late"), Err(WriteError::Ended)));
    drop((first, second));
    let ends = buffer.wait().expect("ours");
    assert!(
        ends.iter().all(|end| end.writer_id == seat.writer_id() && end.label == "seat"),
        "{ends:?}"
    );
    assert_eq!(ends.iter().map(|end| end.end).collect::<Vec<_>>(), [End::Error, End::Eof]);
    let texts = texts(&buffer);
    assert_eq!((&*texts[0], &*texts[2]), ("first", "second"), "{texts:?}");
}

#[test]
fn a_mirror_that_is_told_to_stop_can_still_end() {
    let buffer = small(10);
    let mut mirrors: Vec<_> = (0..3).map(|_| buffer.mirror().expect("a mirror")).collect();
    mirrors.iter_mut().for_each(|mirror| mirror.write_all(b"whole\nunfinished").expect("open"));
    buffer.stop_all_mirrors();
    for mirror in &mut mirrors {
        assert!(matches!(mirror.write_line(b"late"), Err(WriteError::Stopped)));
        assert!(matches!(mirror.send_warning("late"), Err(WriteError::Stopped)));
        assert!(matches!(mirror.flush_partial(), Err(WriteError::Stopped)));
        let error = mirror.write(b" late\n").expect_err("it was told to stop");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(error.to_string(), "the reader told every mirror to stop");
    }
    mirrors[0].send_eof().expect("room");
    mirrors[1].send_error(&io::Error::other("stopped")).expect("room");
    drop(mirrors);
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Error), (2, End::Eof)]);
    let texts = texts(&buffer);
    let error =
        texts.iter().position(|text| text.starts_with("error: stopped")).expect("the error");
    let rest: Vec<_> =
        texts.iter().enumerate().filter(|(i, _)| *i != error).map(|(_, text)| text).collect();
    assert_eq!(rest, ["whole", "whole", "whole", "unfinished", "unfinished", "unfinished"]);
}

#[test]
fn workers_that_write_without_end_are_stopped() {
    let buffer = small(10);
    let mut pool = WorkerPool::fork(&buffer, 3, |worker, mirror| {
        loop {
            match mirror.write_line(format!("worker {worker}").as_bytes()) {
                Ok(()) => {}
                Err(WriteError::Stopped) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    })
    .expect("a pool");
    for _ in 0..100 {
        buffer.receive().expect("ours").expect("they write");
    }
    buffer.stop_all_mirrors();
    let ends = pool.wait(&buffer).expect("ours");
    assert_eq!(kinds(ends), [(0, End::Eof), (1, End::Eof), (2, End::Eof)]);
    assert!(
        pool.workers().iter().all(|worker| worker.status.is_some_and(|status| status.success()))
    );
    assert_eq!(texts(&buffer).len(), 10);
}

#[test]
fn wait_timeout_returns_in_time_though_workers_write_without_end() {
    let buffer = small(10);
    let mut pool = WorkerPool::fork(&buffer, 3, |_, mirror| {
        // An end after all, so that a wait that never ends fails this test and does not hang it.
        for i in 0..10_000_000 {
            match mirror.write_line(format!("{i}").as_bytes()) {
                Ok(()) => {}
                Err(WriteError::Stopped) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
    .expect("a pool");
    for _ in 0..10 {
        buffer.receive().expect("ours").expect("they write");
        assert_eq!(
            buffer.wait_timeout(Duration::from_millis(1)).expect("ours"),
            None,
            "they write on"
        );
        assert!(buffer.len().expect("ours") <= 10);
    }
    buffer.stop_all_mirrors();
    pool.wait(&buffer).expect("ours");
}

// --------------------------------------------------------------------------------- errors and
// groups

/// An error with an error below it.
#[derive(Debug)]
struct Failure(&'static str, Option<Box<Failure>>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

/// The messages that are groups: kind, worker, lines.
fn groups(buffer: &LineProcBuffer) -> Vec<(Kind, u32, Vec<String>)> {
    let messages = buffer.read(None).expect("ours");
    let groups = messages.iter().filter_map(|message| match message {
        Message::Group(group) => Some(group),
        Message::Line(_) => None,
    });
    let lines = |line: &[u8]| String::from_utf8(line.to_vec()).expect("UTF-8");
    groups
        .map(|group| (group.kind(), group.writer_id(), group.lines().map(lines).collect()))
        .collect()
}

/// A group's lines before its backtrace, which there is if the environment asks for it.
fn without_trace(lines: &[String]) -> &[String] {
    let end = lines.iter().position(|line| line == "stack backtrace:").unwrap_or(lines.len());
    &lines[..end]
}

#[test]
fn an_error_and_its_sources_are_one_message() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"before\nunfinished").expect("open");
    let inner = Failure("inner, in\ntwo lines", None);
    let error = Failure("outer", Some(Box::new(Failure("middle", Some(Box::new(inner))))));
    mirror.send_error(&error).expect("room");
    assert_eq!(wait(&buffer), [(0, End::Error)]);
    let groups = groups(&buffer);
    assert_eq!(groups.len(), 1);
    let (kind, worker, lines) = &groups[0];
    assert_eq!((kind, worker), (&Kind::Error, &0));
    let expected = ["error: outer", "caused by: middle", "caused by: inner, in", "two lines"];
    assert_eq!(without_trace(lines), expected);
    let texts = texts(&buffer);
    assert_eq!(texts[..2], ["before", "unfinished"]);
    assert_eq!(texts[2], lines.join("\n"), "Display gives the lines");
    assert_eq!(texts.len(), 3);
}

#[test]
fn an_error_is_one_message_of_several_lines_though_its_ring_has_tiny_slots() {
    let buffer = small(10);
    let text: &'static str = Box::leak("a long message ".repeat(20).into_boxed_str());
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_error(&Failure(text, Some(Box::new(Failure(text, None))))).expect("room");
    wait(&buffer);
    let groups = groups(&buffer);
    let expected = [format!("error: {text}"), format!("caused by: {text}")];
    // The ring's longest line is 256 bytes: what is over it is cut.
    assert!(expected.join("\n").starts_with(&groups[0].2.join("\n")), "{groups:?}");
    let Message::Group(group) = &buffer.read(None).expect("ours")[0] else { panic!("not a group") };
    assert!(group.is_truncated());
}

#[test]
fn a_workers_error_and_panic_come_as_errors_with_their_exit_codes() {
    let buffer = LineProcBuffer::new(100).expect("a buffer");
    let mut pool = WorkerPool::fork(&buffer, 5, |worker, mirror| {
        mirror.write_line(format!("worker {worker}").as_bytes())?;
        match worker {
            1 => Err(Failure("no luck", Some(Box::new(Failure("no coin", None)))).into()),
            2 => panic!("a number: {worker}"),
            3 => panic!("a literal"),
            4 => std::panic::panic_any(7),
            _ => Ok::<(), Box<dyn Error>>(()),
        }
    })
    .expect("a pool");
    let ends = kinds(pool.wait(&buffer).expect("ours"));
    let error = End::Error;
    assert_eq!(ends, [(0, End::Eof), (1, error), (2, error), (3, error), (4, error)]);
    let codes = pool.workers().iter().map(|worker| worker.status.and_then(|status| status.code()));
    assert_eq!(codes.collect::<Vec<_>>(), [Some(0), Some(1), Some(1), Some(1), Some(1)]);
    let mut groups = groups(&buffer);
    groups.sort_by_key(|(_, worker, _)| *worker);
    assert!(groups.iter().all(|(kind, _, _)| *kind == Kind::Error));
    let expected: [&[&str]; 4] = [
        &["error: no luck", "caused by: no coin"],
        &["panic: a number: 2"],
        &["panic: a literal"],
        &["panic: (no message)"],
    ];
    let found: Vec<_> = groups.iter().map(|(_, _, lines)| without_trace(lines)).collect();
    assert_eq!(found, expected);
    let mut lines = texts(&buffer);
    lines.retain(|text| text.starts_with("worker "));
    lines.sort();
    assert_eq!(lines, ["worker 0", "worker 1", "worker 2", "worker 3", "worker 4"]);
}

#[test]
fn a_warning_is_one_message_and_no_end() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"unfinished").expect("open");
    mirror.send_warning("careful\nnow").expect("open");
    mirror.send_warning("ends with a line feed\n").expect("open");
    mirror.write_line(b"after").expect("open");
    assert_eq!(texts(&buffer), ["unfinished", "careful\nnow", "ends with a line feed", "after"]);
    let expected = [
        (Kind::Warning, 0, vec!["careful".to_owned(), "now".to_owned()]),
        (Kind::Warning, 0, vec!["ends with a line feed".to_owned()]),
    ];
    assert_eq!(groups(&buffer), expected);
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
}

#[test]
fn a_group_keeps_empty_lines_and_bytes_that_are_no_text() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    let mut group = mirror.group().expect("open");
    for line in [&b"first"[..], b"", b"\0\xff\r", b"two\nlines", b""] {
        group.line(line).expect("open");
    }
    drop(group);
    mirror.group().expect("open").end().expect("open");
    drop(mirror);
    wait(&buffer);
    let messages = buffer.read(None).expect("ours");
    let lines: Vec<Vec<&[u8]>> = messages
        .iter()
        .map(|message| match message {
            Message::Group(group) => group.lines().collect(),
            Message::Line(line) => panic!("not a line: {line}"),
        })
        .collect();
    let empty: Vec<&[u8]> = Vec::new();
    assert_eq!(lines, [vec![&b"first"[..], b"", b"\0\xff\r", b"two", b"lines", b""], empty]);
}

#[test]
fn a_group_is_contiguous_though_others_write() {
    let buffer =
        LineProcBuffer::with_options(2000, small_ring(30_000).max_line(4000)).expect("a buffer");
    let mut pool = WorkerPool::fork(&buffer, 4, |worker, mirror| {
        for i in 0..50 {
            mirror.write_line(format!("{worker}.{i} before").as_bytes())?;
            let mut group = mirror.group()?;
            for part in 0..40 {
                group.line(format!("{worker}.{i} {part}").as_bytes())?;
            }
            group.end()?;
        }
        Ok::<(), WriteError>(())
    })
    .expect("a pool");
    pool.wait(&buffer).expect("ours");
    let messages = buffer.read(None).expect("ours");
    for worker in 0..4 {
        let of_worker = messages
            .iter()
            .filter(|message| message.to_string().starts_with(&format!("{worker}.")));
        let expected = (0..50).flat_map(|i| {
            let group: Vec<_> = (0..40).map(|part| format!("{worker}.{i} {part}")).collect();
            [format!("{worker}.{i} before"), group.join("\n")]
        });
        assert!(of_worker.map(Message::to_string).eq(expected), "worker {worker}");
    }
    assert_eq!(messages.len(), 400);
}

// ------------------------------------------------------------------------------- a rotating buffer

/// The numbers of each worker's lines, which are `WORKER:NUMBER`.
fn by_worker(buffer: &LineProcBuffer) -> HashMap<usize, Vec<usize>> {
    let mut found: HashMap<usize, Vec<usize>> = HashMap::new();
    for text in texts(buffer) {
        let (worker, number) = text.split_once(':').expect("a whole line");
        found
            .entry(worker.parse().expect("a worker"))
            .or_default()
            .push(number.trim().parse().expect("a number"));
    }
    found
}

/// `count` lines of each of `workers` have been written: exactly the last `maxlen` are there.
fn has_exactly_the_last(buffer: &LineProcBuffer, workers: usize, count: usize) {
    assert_eq!(buffer.len().expect("ours"), buffer.maxlen().min(workers * count));
    for (worker, numbers) in by_worker(buffer) {
        let expected: Vec<_> = (count - numbers.len()..count).collect();
        assert_eq!(numbers, expected, "worker {worker}: its last lines, without a gap");
    }
}

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

// --------------------------------------------------------------------------------- seats and
// children

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
    let error = buffer.ring().seat_labelled("a label of twenty-five by").expect_err("too long");
    assert_eq!(error.to_string(), "the label has 25 bytes, expected at most 24");
    drop(mirrors);
    drop(seat.open().expect("a mirror"));
    assert_eq!(wait(&buffer).len(), 3);
    let _mirrors = [buffer.mirror().expect("a mirror"), buffer.mirror().expect("a mirror")];
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

// ------------------------------------------------------------------------------ inherited mirrors

#[test]
fn an_inherited_mirror_that_a_child_does_not_use_does_nothing_there() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"parent's ").expect("open");
    let mut inherited = Some(mirror);
    fork(|| {
        // In the child's copy of the memory.
        let Some(mut mirror) = inherited.take() else { return 1 };
        check!(2, mirror.flush().is_ok());
        check!(3, mirror.send_eof().is_ok());
        drop(mirror);
        0
    })
    .succeeds();
    fork(|| {
        drop(inherited.take());
        0
    })
    .succeeds();
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "it is open");
    let mut mirror = inherited.expect("the parent still has it");
    mirror.write_all(b"line\n").expect("open");
    assert_eq!(texts(&buffer), ["parent's line"]);
    assert_eq!(buffer.ring().counts().live, 1);
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
}

#[test]
fn an_inherited_mirror_that_a_child_uses_becomes_its_own() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_all(b"parent's ").expect("open");
    let (written, go_on) = (Gate::new(), Gate::new());
    let child = fork(|| {
        check!(1, mirror.writer_id() == 0);
        check!(2, mirror.write_all(b"child's ").is_ok());
        check!(3, mirror.writer_id() == 1);
        written.open();
        go_on.pass();
        check!(4, mirror.write_all(b"line\nlast words").is_ok());
        0
    });
    written.pass();
    mirror.write_all(b"line\n").expect("open");
    assert_eq!(texts(&buffer), ["parent's line"]);
    drop(mirror);
    assert_eq!(buffer.wait_timeout(Duration::ZERO).expect("ours"), None, "the child's is open");
    go_on.open();
    child.succeeds();
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Died)]);
    assert_eq!(texts(&buffer), ["parent's line", "child's line", "last words"]);
}

#[test]
fn an_inherited_mirror_that_a_child_ends_with_an_error_is_the_childs() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    fork(|| u8::from(mirror.send_error(&Failure("child", None)).is_err())).succeeds();
    mirror.write_line(b"parent").expect("open");
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof), (1, End::Error)]);
}

#[test]
fn one_mirror_may_be_used_by_a_parent_and_many_children_at_a_time() {
    let buffer = small(1000);
    let mut mirror = buffer.mirror().expect("a mirror");
    let children: Vec<Child> = (1..6)
        .map(|child| {
            fork(|| {
                for i in 0..100 {
                    check!(1, mirror.write_all(format!("{child}:").as_bytes()).is_ok());
                    check!(2, mirror.write_all(format!("{i}\n").as_bytes()).is_ok());
                }
                u8::from(mirror.send_eof().is_err())
            })
        })
        .collect();
    for i in 0..100 {
        mirror.write_all(b"0:").expect("open");
        mirror.write_all(format!("{i}\n").as_bytes()).expect("open");
    }
    drop(mirror);
    children.into_iter().for_each(Child::succeeds);
    assert_eq!(wait(&buffer), (0..6).map(|i| (i, End::Eof)).collect::<Vec<_>>());
    let found = by_worker(&buffer);
    assert_eq!(found.len(), 6);
    assert!(found.values().all(|numbers| *numbers == (0..100).collect::<Vec<_>>()), "{found:?}");
}

// ------------------------------------------------------------------------------------- seats as
// text

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
    let error = text.parse::<Seat>().expect_err("nobody has it open");
    // The number is nobody's any more, or another file's or ring's by now.
    assert!(!matches!(error, AttachError::Seat { .. }), "{error}");
}

// --------------------------------------------------------------------------------- what is refused

#[test]
fn a_forked_child_may_not_read() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("open");
    fork(|| {
        check!(1, matches!(buffer.wait(), Err(ReadError::Forked)));
        check!(2, matches!(buffer.wait_timeout(Duration::ZERO), Err(ReadError::Forked)));
        check!(3, matches!(buffer.receive(), Err(ReadError::Forked)));
        check!(4, matches!(buffer.read(None), Err(ReadError::Forked)));
        check!(5, matches!(buffer.len(), Err(ReadError::Forked)));
        check!(6, matches!(buffer.clear(), Err(ReadError::Forked)));
        check!(7, matches!(buffer.ring().reader(), Err(ReadError::HasReader { .. })));
        0
    })
    .succeeds();
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
    assert_eq!(texts(&buffer), ["line"]);
}

#[test]
fn a_child_that_is_forked_in_the_middle_of_a_read_is_refused_and_not_stuck() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) {
                assert_eq!(buffer.wait_timeout(Duration::from_millis(1)).expect("ours"), None);
                buffer.len().expect("ours");
            }
        });
        for _ in 0..50 {
            fork(|| u8::from(!matches!(buffer.read(None), Err(ReadError::Forked)))).succeeds();
        }
        over.store(true, SeqCst);
    });
    seat.cancel();
}

#[test]
fn a_buffers_ring_has_its_reader() {
    let buffer = small(10);
    let error = buffer.ring().reader().expect_err("the buffer is the reader");
    assert!(matches!(error, ReadError::HasReader { .. }));
    let first = std::process::id();
    assert_eq!(
        error.to_string(),
        format!("process {first} reads the ring already, expected no other reader")
    );
}

#[test]
fn a_maxlen_out_of_bounds_is_named() {
    for maxlen in [0, (1 << 22) + 1, usize::MAX] {
        let error = LineProcBuffer::new(maxlen).expect_err("out of bounds");
        assert_eq!(error.to_string(), format!("maxlen is {maxlen}, expected 1 to 4194304"));
    }
}

// ------------------------------------------------------------------------------------------
// signals

extern "C" fn ignore(_: i32) {}

#[test]
fn a_signal_interrupts_a_wait_that_can_go_on_then() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    // SAFETY: a plain C struct, for which zeros are valid: no flags, so system calls are
    // interrupted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as libc::sighandler_t;
    // SAFETY: the handler does nothing, and nobody else uses this signal.
    unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()) };
    // SAFETY: a plain call, for this thread.
    let waiting = unsafe { libc::pthread_self() };
    let interrupted = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !interrupted.load(SeqCst) {
                // SAFETY: that thread waits for this one.
                unsafe { libc::pthread_kill(waiting, libc::SIGUSR2) };
                thread::yield_now();
            }
        });
        let error = buffer.wait().expect_err("a seat is open, so only the signal ends this");
        interrupted.store(true, SeqCst);
        assert!(matches!(error, ReadError::Interrupted), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Interrupted);
    });
    seat.open().expect("a mirror").write_line(b"after").expect("open");
    let ends = loop {
        match buffer.wait() {
            // One that was sent before.
            Err(ReadError::Interrupted) => {}
            other => break other.expect("ours"),
        }
    };
    assert_eq!(kinds(ends), [(0, End::Eof)]);
    assert_eq!(texts(&buffer), ["after"]);
}

#[test]
fn an_interrupt_ends_the_workers_and_their_lines_are_drained() {
    // In a process of its own, since it installs signal handlers.
    fork(|| {
        let Ok(buffer) = LineProcBuffer::with_options(100, small_ring(100)) else { return 1 };
        let written = Gate::new();
        let pool = WorkerPool::fork(&buffer, 3, |worker, mirror| -> Result<(), WriteError> {
            for i in 0..10 {
                mirror.write_line(format!("{worker}:{i}").as_bytes())?;
            }
            written.open();
            loop {
                thread::park();
            }
        });
        let Ok(mut pool) = pool else { return 2 };
        check!(3, pool.end_on_interrupt().is_ok());
        (0..3).for_each(|_| written.pass());
        // SAFETY: a plain system call; the handler runs before it returns.
        unsafe { libc::raise(libc::SIGINT) };
        let Ok(ends) = pool.wait(&buffer) else { return 4 };
        check!(5, kinds(ends) == [(0, End::Died), (1, End::Died), (2, End::Died)]);
        let signals = pool.workers().iter().map(|worker| worker.status.map(|status| status.code()));
        check!(6, signals.eq([Some(None), Some(None), Some(None)]));
        check!(7, buffer.len().is_ok_and(|len| len == 30));
        0
    })
    .succeeds();
}

#[test]
fn a_pool_reaps_no_child_that_it_did_not_start() {
    let buffer = small(10);
    let other = fork(|| 7);
    let mut pool = WorkerPool::fork(&buffer, 2, |_, _| Ok::<(), WriteError>(())).expect("a pool");
    assert_eq!(pool.wait(&buffer).expect("ours").len(), 2);
    assert_eq!(other.status().code(), Some(7));
}

#[test]
fn a_pools_workers_have_the_numbers_of_their_mirrors() {
    let buffer = small(10);
    let _first = buffer.mirror().expect("a mirror");
    let mut pool = WorkerPool::fork(&buffer, 3, |worker, mirror| {
        match mirror.writer_id() as usize == worker + 1 {
            true => Ok(()),
            false => Err("another number"),
        }
    })
    .expect("a pool");
    pool.join();
    let workers: Vec<_> = pool
        .workers()
        .iter()
        .map(|worker| (worker.worker, worker.status.and_then(|s| s.code())))
        .collect();
    assert_eq!(workers, [(1, Some(0)), (2, Some(0)), (3, Some(0))]);
}

#[test]
fn sorted_lines_of_a_pool_are_all_there() {
    let buffer = small(100);
    let mut pool =
        WorkerPool::fork(&buffer, 8, |worker, mirror| writeln!(mirror, "worker {worker}"))
            .expect("a pool");
    pool.wait(&buffer).expect("ours");
    assert_eq!(
        sorted(&buffer),
        (0..8).map(|worker| format!("worker {worker}")).collect::<Vec<_>>()
    );
}

// ------------------------------------------------------------------------------ what mirrors can
// say

#[test]
fn a_new_line_ends_what_was_begun_and_nothing_else() {
    let buffer = small(5);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.finish_line().expect("nothing to end");
    mirror.write_all(b"begun").expect("room");
    mirror.finish_line().expect("room");
    mirror.finish_line().expect("nothing to end");
    mirror.write_all(b"forgotten").expect("room");
    mirror.discard_partial().expect("not ended");
    mirror.send_eof().expect("room");
    wait(&buffer);
    assert_eq!(texts(&buffer), ["begun"]);
    let Message::Line(line) = &buffer.read(None).expect("this process made it")[0] else {
        panic!("a line")
    };
    assert!(!line.unfinished);
}

#[test]
fn an_error_of_a_text_alone_says_that_text_and_no_more() {
    let buffer = small(5);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.send_error_text("Traceback:\nValueError: no\n").expect("room");
    assert_eq!(wait(&buffer), [(0, End::Error)]);
    assert_eq!(texts(&buffer), ["Traceback:\nValueError: no"]);
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
