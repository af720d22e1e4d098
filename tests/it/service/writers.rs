//! All threads write through one writer, however many they are, and whenever they do.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::process::Command;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use linering::{
    Ends, Item, Kind, Level, Line, LineRing, LogDrain, Meta, Options, Policy, SharedWriter, Stream,
    WriteError, panic_hook,
};

use super::{Kept, LIMIT, ring};
use crate::common::fork;

fn lines(ring: &LineRing) -> Vec<Line<'static>> {
    let items = ring.reader().expect("no other").map(|item| item.expect("ours"));
    items.filter_map(|item| item.line().cloned()).collect()
}

#[test]
fn a_record_is_one_item_and_says_all_of_itself() {
    let ring = ring(Policy::Block, 64);
    let mut mirror = ring.mirror_labelled("mirror").expect("a mirror");
    let writer = ring.writer().expect("a writer");
    let meta = Meta::new().level(Level::Warn).stream(Stream::Stderr).tag(7);
    let texts = ["", "one", "one\n", "one\ntwo", "one\n\ntwo\n", "\n", "a\rb", "\n\n"];
    mirror.set_level(Level::Trace).set_tag(9);
    for text in texts {
        mirror.record(meta, text).expect("room");
        writer.record(meta, text).expect("room");
        writer.record_fmt(meta, format_args!("{text}")).expect("room");
    }
    mirror.write_line(b"as before").expect("room");
    writer.at(Level::Info).write_all(b"other\n").expect("room");
    mirror.record(meta.kind(Kind::Packed), "no\npack").expect("room");
    mirror.record(meta.kind(Kind::Warning), "one").expect("room");
    drop((mirror, writer));
    let found = lines(&ring);
    assert_eq!(found.len(), 3 * texts.len() + 4);
    for (three, text) in found.chunks(3).zip(texts) {
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in three {
            assert_eq!((line.level, line.stream, line.tag), (Level::Warn, Stream::Stderr, 7));
            assert_eq!(line.kind == Kind::Text, body.contains('\n'), "{text:?}");
            assert_eq!(line.to_string(), body);
            let expected: Vec<_> = body.split('\n').map(str::as_bytes).collect();
            assert_eq!(line.lines().collect::<Vec<_>>(), expected);
            assert!(!line.unfinished && !line.truncated);
        }
    }
    let rest = &found[3 * texts.len()..];
    let said = rest.iter().map(|line| (line.level, line.tag, line.kind)).collect::<Vec<_>>();
    let expected = [
        (Level::Trace, 9, Kind::Line),
        (Level::Info, 0, Kind::Line),
        (Level::Warn, 7, Kind::Text),
        (Level::Warn, 7, Kind::Warning),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_line_with_line_ends_in_it_is_never_shown_as_two() {
    let ring = ring(Policy::Block, 64);
    ring.mirror().expect("a mirror").write_line(b"one\nERROR forged\n").expect("room");
    let line = &lines(&ring)[0];
    assert_eq!(line.to_string(), r"one\nERROR forged\n");
    assert_eq!(line.lines().collect::<Vec<_>>(), [&b"one"[..], b"ERROR forged"]);
    assert_eq!(line.as_ref(), b"one\nERROR forged\n");
}

#[test]
fn an_event_of_several_lines_is_one_item_and_pieces_are_put_together() {
    let ring = ring(Policy::Block, 64);
    let mut writer = ring.writer().expect("a writer");
    write!(writer, "one of {}\n  two of {}\n", 2, 2).expect("room");
    writer.write_all(b"in pie").expect("room");
    (&writer).write_all(b"ces\nand ").expect("room");
    writeln!(writer, "more").expect("room");
    writer.write_all(b"").expect("room");
    writer.write_all(b"no end").expect("room");
    writer.flush().expect("nothing to do");
    drop(writer);
    let found = lines(&ring);
    let texts: Vec<_> = found.iter().map(|line| (line.kind, line.to_string())).collect();
    let of = |kind, text: &str| (kind, text.to_owned());
    assert_eq!(
        texts,
        [
            of(Kind::Text, "one of 2\n  two of 2"),
            of(Kind::Line, "in pieces"),
            of(Kind::Line, "and more"),
            of(Kind::Line, "no end"),
        ]
    );
    assert!(found.iter().all(|line| line.stream == Stream::Log));
}

/// Logs when it is shown.
struct Logs<'w>(&'w SharedWriter);

impl fmt::Display for Logs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.record(Level::Debug, "inner").map_err(|_| fmt::Error)?;
        writeln!(&mut &*self.0, "inner too").map_err(|_| fmt::Error)?;
        f.write_str("shown")
    }
}

#[test]
fn a_part_of_a_record_may_log_while_it_is_shown() {
    let ring = ring(Policy::Block, 64);
    let writer = ring.writer().expect("a writer");
    writer.record_fmt(Level::Info, format_args!("{} {}", Logs(&writer), 1)).expect("room");
    writeln!(&writer, "{}", Logs(&writer)).expect("room");
    drop(writer);
    let found: Vec<_> = lines(&ring).iter().map(Line::to_string).collect();
    assert_eq!(found, ["inner", "inner too", "shown 1", "inner", "inner too", "shown"]);
}

thread_local! {
    static LOGS_AT_END: RefCell<Option<LogsAtEnd>> = const { RefCell::new(None) };
}

struct LogsAtEnd(SharedWriter, usize);

impl Drop for LogsAtEnd {
    fn drop(&mut self) {
        let _ = self.0.record_fmt(Level::Info, format_args!("{} ends", self.1));
        let _ = write!(self.0, "{} unfinished", self.1);
    }
}

#[test]
fn many_more_threads_than_mirrors_all_log_also_while_they_end() {
    const THREADS: usize = 400;
    let ring = LineRing::new(Options::new().mirrors(16).lines(256)).expect("a ring");
    let sink = Kept::default();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
    let drain = drain.ends(Ends::None).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (writer, barrier) = (writer.clone(), &barrier);
                scope.spawn(move || {
                    LOGS_AT_END.set(Some(LogsAtEnd(writer.clone(), number)));
                    // All at a time.
                    barrier.wait();
                    for line in 0..5 {
                        writer
                            .record_fmt(Level::Info, format_args!("{number} says {line}"))
                            .expect("it logs");
                    }
                    let pieces = [format!("{number} "), "in pie".to_owned(), "ces\n".to_owned()];
                    for piece in pieces {
                        (&writer).write_all(piece.as_bytes()).expect("it logs");
                    }
                })
            })
            .collect();
        // The end of a scope may come before those of its threads' locals.
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    drop(writer);
    let totals = drain.stop(LIMIT).expect("ours");
    assert_eq!((totals.left, totals.lost, totals.failures), (0, 0, 0));
    let mut found: HashMap<usize, Vec<String>> = HashMap::new();
    for line in sink.lines() {
        let text = line.split_once("] ").expect("a head").1;
        let text = text.strip_suffix(" [unfinished]").unwrap_or(text);
        let (number, rest) = text.split_once(' ').expect("a number");
        found.entry(number.parse().expect("a number")).or_default().push(rest.to_owned());
    }
    assert_eq!(found.len(), THREADS);
    let mut expected: Vec<_> = (0..5).map(|line| format!("says {line}")).collect();
    expected.extend(["in pieces", "ends", "unfinished"].map(str::to_owned));
    for (number, lines) in found {
        assert_eq!(lines, expected, "thread {number}");
    }
}

#[test]
fn a_thread_that_is_named_labels_its_records_and_a_name_that_is_too_long_is_cut() {
    let ring = ring(Policy::Block, 64);
    let writer = ring.writer().expect("a writer");
    for name in ["api", "tokio-runtime-worker-17-of-32"] {
        let writer = writer.clone();
        let log = move || writer.record(Level::Info, "hello").expect("room");
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(log)
            .expect("a thread")
            .join()
            .expect("it");
    }
    drop(writer);
    let labels: Vec<_> = lines(&ring).iter().map(|line| line.label.to_string()).collect();
    assert_eq!(labels, ["api", "tokio-runtime-worker-…"]);
}

#[test]
fn a_child_that_is_forked_while_threads_share_a_mirror_logs_too() {
    let ring = LineRing::new(Options::new().mirrors(4).lines(64)).expect("a ring");
    let sink = Kept::default();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
    let drain = drain.spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    // The one that is left for the children, once the threads have what there is.
    let kept = ring.mirror().expect("a mirror");
    let barrier = Barrier::new(5);
    let (done, is_done) = mpsc::channel::<()>();
    let is_done = std::sync::Mutex::new(is_done);
    thread::scope(|scope| {
        for _ in 0..4 {
            // Two of them have no mirror of their own: one has the lock at nearly every moment.
            scope.spawn(|| {
                writer.record(Level::Info, "begins").expect("it logs");
                barrier.wait();
                let goes_on = || is_done.lock().expect("no panic").try_recv();
                while goes_on() == Err(mpsc::TryRecvError::Empty) {
                    writer.record(Level::Info, "busy").expect("it logs");
                }
            });
        }
        barrier.wait();
        drop(kept);
        for number in 0..20 {
            let text = format!("child {number}");
            fork(|| u8::from(writer.record(Level::Info, &text).is_err())).succeeds();
        }
        drop(done);
    });
    drop(writer);
    assert_eq!(drain.stop(LIMIT).expect("ours").left, 0);
    let text = sink.text();
    for number in 0..20 {
        assert_eq!(text.matches(&format!("] child {number}\n")).count(), 1, "child {number}");
    }
}

#[test]
fn a_ring_is_over_once_its_last_writer_is_dropped() {
    let ring = ring(Policy::Block, 64);
    let writer = ring.writer().expect("a writer");
    let clone = writer.clone();
    thread::spawn(move || clone.record(Level::Info, "elsewhere").expect("room"))
        .join()
        .expect("it");
    writer.record(Level::Info, "here").expect("room");
    let mut reader = ring.reader().expect("no other");
    drop(writer);
    let items: Vec<_> = reader.by_ref().map(|item| item.expect("ours")).collect();
    let ends = items.iter().filter_map(|item| match item {
        Item::Ended(ended) => Some(ended),
        _ => None,
    });
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends.len(), 3, "two threads and the shared one: {ends:#?}");
    assert!(ends.iter().all(|ended| !ended.is_failure()), "{ends:#?}");
}

#[test]
fn lines_that_are_dropped_are_counted_by_writer_and_reader_alike() {
    let ring = ring(Policy::DropNewest, 8);
    let writer = ring.writer().expect("a writer");
    for _ in 0..100 {
        writer.record(Level::Info, "line").expect("dropped is no error");
    }
    let dropped = writer.dropped_lines();
    assert_eq!(dropped, 92);
    drop(writer);
    let (mut lines, mut lost) = (0, 0);
    for item in ring.reader().expect("no other") {
        match item.expect("ours") {
            Item::Line(_) => lines += 1,
            Item::Lost(loss) => lost += loss.lines,
            _ => {}
        }
    }
    assert_eq!((lines, lost), (8, dropped));
}

/// Otherwise it waits for itself for ever.
#[test]
fn a_thread_that_fills_the_ring_that_it_reads_is_told() {
    let grace = Duration::from_millis(20);
    let options = Options::new().lines(8).reader_grace(grace);
    let ring = LineRing::new(options).expect("a ring");
    let mut reader = ring.reader().expect("no other");
    let mut mirror = ring.mirror().expect("a mirror");
    for _ in 0..3 {
        assert!(reader.try_recv().expect("ours").is_none());
        for _ in 0..8 {
            mirror.write_line(b"line").expect("room");
        }
        for _ in 0..2 {
            let error = mirror.write_line(b"too many").expect_err("no room");
            assert!(matches!(error, WriteError::OwnReader), "{error}");
        }
        let items: Vec<_> =
            std::iter::from_fn(|| reader.try_recv().expect("ours").map(Item::into_owned)).collect();
        let lines = items.iter().filter(|item| item.line().is_some()).count();
        assert_eq!(lines, 8, "{items:?}");
    }
    // A forked child's thread is another one, whatever its parent read.
    for _ in 0..8 {
        mirror.write_line(b"line").expect("room");
    }
    let mut heir = ring.mirror().expect("a mirror");
    let child = fork(|| u8::from(heir.write_line(b"the child's").is_err()));
    let mut found = 0;
    while found < 9 {
        let item = reader.recv_timeout(LIMIT).expect("ours").expect("it comes");
        found += usize::from(item.line().is_some());
    }
    child.succeeds();
}

#[test]
fn a_thread_that_has_handed_the_reader_on_waits_for_the_other() {
    let ring = ring(Policy::Block, 8);
    let mut reader = ring.reader().expect("no other");
    assert!(reader.try_recv().expect("ours").is_none(), "read here");
    let mut mirror = ring.mirror().expect("a mirror");
    let drain = thread::spawn(move || {
        reader.filter(|item| item.as_ref().is_ok_and(|item| item.line().is_some())).count()
    });
    for _ in 0..1000 {
        mirror.write_line(b"line").expect("the other thread makes room");
    }
    drop(mirror);
    assert_eq!(drain.join().expect("no panic"), 1000);
}

/// What this program does where the test below starts it; nothing otherwise.
#[test]
fn the_program_that_panics() {
    if std::env::var_os("LINERING_TEST_PANICS").is_none() {
        return;
    }
    let ring = ring(Policy::Block, 64);
    let writer = ring.writer().expect("a writer");
    panic_hook(&writer);
    let panics = || panic!("two\nlines");
    let thread = thread::Builder::new().name("unlucky".to_owned()).spawn(panics);
    thread.expect("a thread").join().expect_err("it panics");
    drop(std::panic::take_hook());
    drop(writer);
    let found = lines(&ring);
    let [line] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((line.level, line.stream), (Level::Error, Stream::Stderr));
    assert_eq!(line.label, "unlucky");
    let text = line.to_string();
    assert!(text.starts_with("thread unlucky panicked at tests/"), "{text}");
    assert!(text.contains(":\ntwo\nlines"), "{text}");
}

#[test]
fn a_panic_is_one_record() {
    // In a program of its own: the hook is the whole process's.
    let mut program = Command::new(std::env::current_exe().expect("a path"));
    program.args(["--exact", "service::writers::the_program_that_panics", "--nocapture"]);
    let output = program.env("LINERING_TEST_PANICS", "1").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("two\nlines"), "the hook before tells too: {told}");
}

#[test]
fn a_mirrors_error_is_on_stderr_and_has_no_line_of_this_crates() {
    let ring = ring(Policy::Block, 64);
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.send_error(&std::io::Error::other("out of luck")).expect("room");
    let line = &lines(&ring)[0];
    assert_eq!((line.kind, line.stream, line.level), (Kind::Error, Stream::Stderr, Level::Error));
    assert!(line.lines().all(|line| !line.is_empty()), "{line}");
}
