//! A drain passes on what was written before it is stopped, the last words of the dead included,
//! and belongs to the process that started it.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use linering::{
    Ends, Item, Level, LineRing, LogDrain, Options, Policy, Sink, WakeUp, non_blocking,
};

use super::{Kept, LIMIT, ring};
use crate::common::{Gate, die, fork, wait_for_the_end};

#[test]
fn what_was_written_before_it_was_stopped_is_in_the_sink() {
    for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
        let options = Options::new().lines(16).wake_up(wake_up);
        let ring = LineRing::new(options).expect("a ring");
        let sink = Kept::default();
        let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
        let drain = drain.ends(Ends::None).spawn().expect("a thread");
        let writer = ring.writer().expect("a writer");
        for round in 0..50 {
            // At times no mirror is open.
            ring.mirror().expect("a mirror").write_line(b"from a mirror").expect("room");
            writer.record_fmt(Level::Info, format_args!("round {round}")).expect("room");
            if round % 10 == 0 {
                assert!(writer.flush_timeout(LIMIT));
                assert!(sink.text().ends_with(&format!("round {round}\n")));
            }
        }
        assert!(drain.flush(LIMIT));
        let totals = drain.stop(LIMIT).expect("ours");
        assert_eq!((totals.lines, totals.left, totals.lost, totals.failures), (100, 0, 0, 0));
        assert_eq!(sink.lines().len(), 100);
    }
}

#[test]
fn a_guard_that_is_dropped_makes_the_last_round_too() {
    let sink = Kept::default();
    let (writer, guard) = non_blocking(sink.clone()).expect("a log");
    writer.record(Level::Info, "the last").expect("room");
    drop(guard);
    assert!(
        sink.text().ends_with(" INFO  [drains] the last\n")
            || sink.text().ends_with("] the last\n")
    );
    // Not drained any more, and no error.
    writer.record(Level::Info, "too late").expect("room");
    assert!(!writer.flush_timeout(Duration::from_millis(1)));
}

#[test]
fn a_drain_in_this_thread_ends_when_the_ring_is_over() {
    let ring = ring(Policy::Block, 64);
    let sink = Kept::default();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone()).ends(Ends::All);
    let writer = ring.writer().expect("a writer");
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..1000).for_each(|_| writer.record(Level::Info, "line").expect("room"))
        });
        let totals = drain.run().expect("ours");
        assert_eq!((totals.lines, totals.ended, totals.left), (1000, 2, 0));
    });
    assert_eq!(sink.lines().len(), 1002);
}

#[test]
fn a_child_that_was_killed_has_its_last_words_and_its_end_in_the_sink_at_once() {
    for _ in 0..10 {
        let ring = ring(Policy::Block, 64);
        let sink = Kept::default();
        let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone());
        let drain = drain.spawn().expect("a thread");
        let mut writer = ring.writer().expect("a writer");
        let child = fork(|| {
            let written = writer.record(Level::Info, "from the child").is_ok()
                && writer.write_all(b"the last wor").is_ok();
            if written { die() } else { 1 }
        });
        let process = child.0;
        child.status();
        drop(writer);
        drain.stop(LIMIT).expect("ours");
        let text = sink.text();
        assert!(text.contains("] from the child\n"), "{text}");
        assert!(text.contains("] the last wor [unfinished]\n"), "{text}");
        assert!(text.contains(" ERROR -- worker "), "{text}");
        // Others have its label.
        assert!(text.contains(&format!(" -- [process {process}]\n")), "{text}");
    }
}

#[test]
fn a_child_logs_into_its_parents_drain_and_its_guard_does_nothing() {
    let sink = Kept::default();
    let (writer, guard) = non_blocking(sink.clone()).expect("a log");
    writer.record(Level::Info, "from the parent").expect("room");
    let mut guard = Some(guard);
    let child = fork(|| {
        let Some(guard) = guard.take() else { return 1 };
        guard.reopen();
        if guard.totals() != linering::Totals::default() || guard.stop(LIMIT).is_ok() {
            return 2;
        }
        for number in 0..5 {
            if writer.record_fmt(Level::Info, format_args!("child {number}")).is_err() {
                return 3;
            }
        }
        u8::from(!writer.flush_timeout(LIMIT)) * 4
    });
    child.succeeds();
    // Dropped in a child.
    fork(|| {
        drop(guard.take());
        0
    })
    .succeeds();
    writer.record(Level::Info, "from the parent again").expect("room");
    let totals = guard.take().expect("ours").stop(LIMIT).expect("ours");
    assert_eq!((totals.lines, totals.left), (7, 0));
    assert_eq!(sink.text().matches("] child ").count(), 5);
}

#[test]
fn a_process_that_was_killed_leaves_a_ring_in_a_file_whose_lines_the_next_one_drains() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("ring");
    let sink = folder.path().join("log");
    let (mut heard, mut said) = io::pipe().expect("a pipe");
    let child = fork(|| {
        let Ok(ring) = LineRing::create_file(&path, Options::new().lines(64)) else { return 1 };
        let (Ok(file), Ok(reader)) = (std::fs::File::create(&sink), ring.reader()) else {
            return 2;
        };
        let Ok(_guard) = LogDrain::new(reader).to(file).spawn() else { return 3 };
        let Ok(writer) = ring.writer() else { return 4 };
        for number in 0.. {
            if writer.record_fmt(Level::Info, format_args!("{number}.")).is_err()
                || said.write_all(b"!").is_err()
            {
                return 5;
            }
        }
        0
    });
    drop(said);
    let mut some = [0; 500];
    heard.read_exact(&mut some).expect("it logs");
    child.end();
    let mut acknowledged = some.len();
    let mut rest = Vec::new();
    heard.read_to_end(&mut rest).expect("ended");
    acknowledged += rest.len();

    let ring = LineRing::open_file(&path).expect("a ring");
    let file = std::fs::File::options().append(true).open(&sink).expect("a file");
    LogDrain::new(ring.reader().expect("no other")).to(file).run().expect("ours");
    let text = std::fs::read_to_string(&sink).expect("UTF-8");
    let mut numbers: Vec<usize> = text
        .lines()
        .filter_map(|line| line.rsplit_once("] ")?.1.strip_suffix('.')?.parse().ok())
        .collect();
    // What was in the file and not committed comes twice.
    numbers.sort();
    numbers.dedup();
    assert!(numbers.len() >= acknowledged, "{} of {acknowledged}", numbers.len());
    assert!(numbers.iter().copied().eq(0..numbers.len()), "without a gap");
}

#[test]
fn losses_are_told_once_a_second_and_all_of_them_at_the_end() {
    let ring = ring(Policy::DropNewest, 8);
    let (blocks, goes_on) = mpsc::channel::<()>();
    /// Waits once, so that the ring fills up.
    struct Slow(Kept, Option<mpsc::Receiver<()>>);
    impl Sink for Slow {
        fn put(&mut self, text: &[u8]) -> io::Result<usize> {
            if let Some(goes_on) = self.1.take() {
                let _ = goes_on.recv();
            }
            self.0.put(text)
        }
    }
    let sink = Kept::default();
    let drain =
        LogDrain::new(ring.reader().expect("no other")).to(Slow(sink.clone(), Some(goes_on)));
    let drain = drain.ends(Ends::None).spawn().expect("a thread");
    let writer = ring.writer().expect("a writer");
    for _ in 0..1000 {
        writer.record(Level::Info, "line").expect("dropped is no error");
    }
    drop(blocks);
    let mut written = 1000;
    while writer.flush_timeout(LIMIT) && written < 3000 {
        for _ in 0..20 {
            writer.record(Level::Info, "line").expect("dropped is no error");
            written += 1;
        }
    }
    let dropped = writer.dropped_lines();
    drop(writer);
    let totals = drain.stop(LIMIT).expect("ours");
    assert!(dropped >= 900, "{dropped}");
    assert_eq!((totals.lines + totals.lost, totals.lost), (written, dropped));
    let told = sink.lines().into_iter().filter_map(|line| {
        let (_, text) = line.split_once(" WARN  -- worker ")?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    });
    assert_eq!(told.sum::<u64>(), dropped, "{}", sink.text());
}

#[test]
fn a_reader_that_becomes_a_drain_later_tells_what_it_had_not_accepted() {
    let ring = ring(Policy::Block, 64);
    let mut mirror = ring.mirror().expect("a mirror");
    let mut reader = ring.reader().expect("no other");
    mirror.write_line(b"one").expect("room");
    mirror.write_line(b"two").expect("room");
    assert!(matches!(reader.recv().expect("ours"), Some(Item::Line(_))));
    drop(mirror);
    let sink = Kept::default();
    LogDrain::new(reader).to(sink.clone()).run().expect("ours");
    // What was handed out was accepted by asking for more.
    assert_eq!(sink.lines().len(), 1);
}

#[test]
fn a_service_whose_child_lives_on_can_be_stopped() {
    let ring = ring(Policy::Block, 64);
    let sink = Kept::default();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone()).spawn();
    let writer = ring.writer().expect("a writer");
    let ready = Gate::new();
    let child = fork(|| {
        if writer.record(Level::Info, "it lives").is_err() {
            return 1;
        }
        ready.open();
        wait_for_the_end()
    });
    ready.pass();
    let totals = drain.expect("a thread").stop(LIMIT).expect("ours");
    assert_eq!((totals.lines, totals.left), (1, 0));
    child.end();
}

#[test]
fn a_drain_that_is_idle_wakes_twice_a_second_however_many_mirrors_are_open() {
    let drains: Vec<_> = [(WakeUp::Futex, 1), (WakeUp::Futex, 200), (WakeUp::Pipe, 200)]
        .into_iter()
        .map(|(wake_up, mirrors)| {
            let ring = LineRing::new(Options::new().wake_up(wake_up)).expect("a ring");
            let drain = LogDrain::new(ring.reader().expect("no other")).to(Kept::default());
            let mirrors: Vec<_> = (0..mirrors).map(|_| ring.mirror().expect("a mirror")).collect();
            let writer = ring.writer().expect("a writer");
            (drain.ends(Ends::None).spawn().expect("a thread"), writer, mirrors)
        })
        .collect();
    let before: Vec<_> = drains
        .iter()
        .map(|(drain, writer, _)| {
            writer.record(Level::Info, "the last for a while").expect("room");
            assert!(drain.flush(LIMIT));
            (drain.totals().wake_ups, Instant::now())
        })
        .collect();
    // The time that is measured: nothing happens in it.
    let (_sender, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(Duration::from_millis(2500));
    for ((drain, writer, mirrors), (before, began)) in drains.into_iter().zip(before) {
        let wake_ups = drain.totals().wake_ups - before;
        // Of what the last record woke it for, and of one that was under way.
        let most = began.elapsed().as_millis() / 500 + 2;
        assert!(u128::from(wake_ups) <= most, "{} mirrors: {wake_ups}", mirrors.len());
        assert!(wake_ups > 0, "it looks for the dead");
        // It sleeps no longer for that.
        writer.record(Level::Info, "one more").expect("room");
        assert!(drain.flush(LIMIT));
        assert_eq!(drain.stop(LIMIT).expect("ours").lines, 2);
    }
}

/// A look for the dead takes its time with many mirrors: what wakes the drain does not wait for it.
#[test]
fn a_line_that_wakes_a_drain_is_handed_on_before_it_looks_for_the_dead() {
    /// Which of a batch's items were lines.
    struct Batches(Vec<bool>, mpsc::Sender<Vec<bool>>);
    impl Sink for Batches {
        fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
            self.0.push(item.line().is_some());
            Ok(())
        }
        fn put(&mut self, text: &[u8]) -> io::Result<usize> {
            Ok(text.len())
        }
        fn end_batch(&mut self) -> io::Result<()> {
            let _ = self.1.send(std::mem::take(&mut self.0));
            Ok(())
        }
    }
    let ring = ring(Policy::Block, 64);
    let (tells, told) = mpsc::channel();
    let drain = LogDrain::new(ring.reader().expect("no other")).to(Batches(Vec::new(), tells));
    let drain = drain.ends(Ends::All).spawn().expect("a thread");
    let mut mirror = ring.mirror().expect("a mirror");
    let mut alone = 0;
    for _ in 0..10 {
        let ready = Gate::new();
        let child = fork(|| {
            let Ok(_mirror) = ring.mirror() else { return 1 };
            ready.open();
            wait_for_the_end()
        });
        ready.pass();
        // It sleeps by then, and its last look was some time ago.
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "nothing comes");
        child.end();
        mirror.write_line(b"a line").expect("room");
        let first = told.recv_timeout(LIMIT).expect("a batch");
        alone += usize::from(first == [true]);
        if first.len() == 1 {
            told.recv_timeout(LIMIT).expect("the other one");
        }
    }
    // But where it woke up by itself just then.
    assert!(alone >= 6, "{alone}");
    drain.stop(LIMIT).expect("ours");
}
