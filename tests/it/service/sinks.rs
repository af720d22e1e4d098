//! A sink that fails, panics, waits, or logs itself loses nothing and stops nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use linering::{
    Ends, Format, Item, Level, LineProcMirror, LogDrain, Policy, ReadError, SharedWriter, Sink,
    Sinks, WriteError,
};

use super::{Kept, LIMIT, ring};
use crate::common::fork;

/// Fails in turn, in all ways that a sink can, and takes some bytes at a time.
struct Unlucky {
    kept: Kept,
    calls: Arc<AtomicU32>,
}

impl Unlucky {
    fn fails(&self) -> io::Result<()> {
        match self.calls.fetch_add(1, SeqCst) % 5 {
            0 => Err(ErrorKind::StorageFull.into()),
            1 => Err(ErrorKind::Interrupted.into()),
            2 => std::panic::panic_any(7),
            _ => Ok(()),
        }
    }
}

impl Sink for Unlucky {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        self.fails()?;
        self.kept.put(&text[..text.len().min(1000)])
    }

    fn item(&mut self, _: &Item<'_>) -> io::Result<()> {
        if self.calls.load(SeqCst).is_multiple_of(16) { self.fails() } else { Ok(()) }
    }

    fn end_batch(&mut self) -> io::Result<()> {
        self.fails()
    }
}

#[test]
fn a_sink_that_fails_and_panics_gets_each_byte_once() {
    let ring = ring(Policy::Block, 64);
    let (kept, other) = (Kept::default(), Kept::default());
    let calls = Arc::new(AtomicU32::new(0));
    let unlucky = |kept: &Kept| Unlucky { kept: kept.clone(), calls: Arc::clone(&calls) };
    let sinks = Sinks::new().and(unlucky(&kept)).and(other.clone()).and(unlucky(&Kept::default()));
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sinks).ends(Ends::None);
    let drain = drain.format(Format::Raw).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    for number in 0..60 {
        writer.record(Level::Info, format!("{number}:{}", "x".repeat(50))).expect("room");
    }
    let totals = drain.stop(LIMIT).expect("ours");
    let expected: Vec<_> = (0..60).map(|i| format!("{i}:{}", "x".repeat(50))).collect();
    assert_eq!((totals.lines, totals.left), (60, 0));
    assert!(totals.failures > 10, "{totals:?}");
    assert_eq!(kept.lines(), expected);
    assert_eq!(other.lines(), expected);
}

/// Refuses everything until it is told.
struct Full(Kept, mpsc::Receiver<()>, bool);

impl Sink for Full {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        self.2 = self.2 && self.1.try_recv() == Err(mpsc::TryRecvError::Empty);
        if self.2 { Err(ErrorKind::StorageFull.into()) } else { self.0.put(text) }
    }
}

#[test]
fn a_sink_that_comes_back_gets_all_and_one_that_does_not_is_given_up_in_time() {
    for comes_back in [true, false] {
        let ring = ring(Policy::Block, 64);
        let kept = Kept::default();
        let (free, is_free) = mpsc::channel();
        let drain = LogDrain::new(ring.reader().expect("no other"));
        let drain = drain.to(Full(kept.clone(), is_free, true)).spawn().expect("a thread");
        let writer = ring.writer().expect("a writer");
        for _ in 0..50 {
            writer.record(Level::Info, "line").expect("room");
        }
        while drain.totals().failures == 0 {
            thread::yield_now();
        }
        let limit = if comes_back { LIMIT } else { Duration::from_millis(50) };
        if comes_back {
            free.send(()).expect("it is there");
        }
        let totals = drain.stop(limit).expect("ours");
        let (lines, left) = if comes_back { (50, 0) } else { (0, 50) };
        assert_eq!((totals.lines, totals.left), (lines, left), "{totals:?}");
        assert_eq!(kept.lines().len() as u64, lines);
        // What is left is there for the next drain.
        drop(writer);
        let next = Kept::default();
        // The thread that was given up is about to end.
        let reader = loop {
            match ring.reader() {
                Err(ReadError::HasReader { .. }) => thread::yield_now(),
                other => break other.expect("ours"),
            }
        };
        LogDrain::new(reader).to(next.clone()).run().expect("ours");
        assert_eq!(next.lines().len() as u64, left);
    }
}

#[test]
fn a_sink_that_waits_keeps_a_guard_no_longer_than_its_limit() {
    struct Waits(mpsc::Receiver<()>);
    impl Sink for Waits {
        fn put(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(text.len())
        }
    }
    let ring = ring(Policy::Block, 64);
    let (held, waits) = mpsc::channel();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(Waits(waits)).spawn();
    let writer = ring.writer().expect("a writer");
    writer.record(Level::Info, "line").expect("room");
    let totals = drain.expect("a thread").stop(Duration::from_millis(20)).expect("ours");
    assert_eq!((totals.lines, totals.left), (0, 1));
    drop(held);
}

/// Logs into the ring that it is the sink of.
struct LogsItself(SharedWriter, LineProcMirror, mpsc::Sender<Option<WriteError>>);

impl Sink for LogsItself {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        for _ in 0..2 {
            self.0.record(Level::Debug, "sent").expect("it goes elsewhere");
            writeln!(self.0, "sent").expect("it goes elsewhere");
            assert!(!self.0.flush_timeout(LIMIT), "it would wait for itself");
        }
        // By a way on which it is not noticed until the ring is full.
        let refused = (0..100).find_map(|_| self.1.write_line(b"sent").err());
        let _ = self.2.send(refused);
        Ok(text.len())
    }
}

#[test]
fn a_sink_that_logs_into_its_own_ring_neither_waits_for_itself_nor_feeds_itself() {
    let ring = ring(Policy::Block, 16);
    let writer = ring.writer().expect("a writer");
    let mirror = ring.mirror().expect("a mirror");
    let (tell, told) = mpsc::channel();
    let sink = LogsItself(writer.clone(), mirror, tell);
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink).ends(Ends::None);
    let drain = drain.spawn().expect("a thread");
    writer.record(Level::Info, "one").expect("room");
    let refused = told.recv_timeout(LIMIT).expect("it put");
    assert!(matches!(refused, Some(WriteError::OwnReader)), "{refused:?}");
    assert!(writer.diverted_lines() >= 4);
    let totals = drain.stop(Duration::from_secs(1)).expect("ours");
    assert!(totals.lines >= 1);
}

#[test]
fn a_format_that_panics_is_replaced_for_that_item() {
    let ring = ring(Policy::Block, 64);
    let kept = Kept::default();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(kept.clone());
    let drain = drain.ends(Ends::None).format_with(|item, page| {
        page.extend_from_slice(b"half ");
        assert!(!item.to_string().contains("odd"), "not this one");
        page.extend_from_slice(b"whole\n");
    });
    let drain = drain.spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    for text in ["even", "odd", "even"] {
        writer.record(Level::Info, text).expect("room");
    }
    drain.stop(LIMIT).expect("ours");
    let lines = kept.lines();
    assert_eq!((&*lines[0], &*lines[2]), ("half whole", "half whole"));
    assert!(lines[1].ends_with("] odd"), "{lines:?}");
}

#[test]
fn a_sink_is_opened_anew_when_the_guard_says_so() {
    struct Reopens(Kept);
    impl Sink for Reopens {
        fn put(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.put(text)
        }
        fn reopen(&mut self) -> io::Result<()> {
            self.0.put(b"opened\n").map(drop)
        }
    }
    let ring = ring(Policy::Block, 64);
    let kept = Kept::default();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(Reopens(kept.clone()));
    let drain = drain.ends(Ends::None).format(Format::Raw).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    for round in 1..4 {
        writer.record(Level::Info, "line").expect("room");
        assert!(drain.flush(LIMIT));
        drain.reopen();
        while kept.text().matches("opened").count() < round {
            thread::yield_now();
        }
    }
    drain.stop(LIMIT).expect("ours");
    assert_eq!(kept.lines(), ["line", "opened"].repeat(3));
}

#[test]
#[cfg(feature = "capture")]
fn what_a_drain_has_to_say_goes_to_the_original_stderr_once() {
    // In a child, whose standard error is a pipe.
    let (mut heard, said) = io::pipe().expect("a pipe");
    let child = fork(|| {
        // SAFETY: plain system calls, on descriptors of this child's own.
        if unsafe { libc::dup2(said.as_raw_fd(), 2) } != 2 {
            return 1;
        }
        /// Fails each second time.
        struct Fails(Kept, bool);
        impl Sink for Fails {
            fn put(&mut self, text: &[u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 { Err(ErrorKind::StorageFull.into()) } else { self.0.put(text) }
            }
        }
        let ring = ring(Policy::Block, 64);
        let kept = Kept::default();
        let drain = LogDrain::new(ring.reader().expect("no other"));
        let drain = drain.to(Fails(kept.clone(), false)).format(Format::Raw);
        let capture = linering::Capture::stderr(&ring).expect("a capture");
        let drain = drain.spawn().expect("a thread");
        let writer = ring.writer().expect("a writer");
        for _ in 0..10 {
            writer.record(Level::Info, "line").expect("room");
            assert!(writer.flush_timeout(LIMIT));
        }
        drop(capture);
        let totals = drain.stop(LIMIT).expect("ours");
        assert!(totals.failures > 5);
        u8::from(kept.text().contains("sink failed")) * 2
    });
    drop(said);
    let mut text = String::new();
    heard.read_to_string(&mut text).expect("UTF-8");
    child.succeeds();
    assert_eq!(text.matches("the log's sink failed").count(), 1, "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
