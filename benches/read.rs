//! What reading costs: lines that are there, taken one after another and in batches; looked at by
//! an observer; and what comes before that, attaching to a ring and burying who died in it.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linering::{End, Item, ItemRef, LineProcMirror, LineRing, Observer, Policy, Reader};

mod common;
use common::{Check, line, ring, ring_with};

/// Lines that are there before the reader begins.
const LINES: usize = 1024;

fn check_item(check: &mut Check, item: Item<'_>) {
    match item {
        Item::Line(line) => check.line(&line.bytes),
        other => panic!("expected a line, got {other}"),
    }
}

fn take(reader: &mut Reader, check: &mut Check) {
    for _ in 0..LINES {
        check_item(check, reader.try_recv().expect("ours").expect("it is there"));
    }
    reader.commit().expect("ours");
}

fn take_batches(reader: &mut Reader, check: &mut Check) {
    let until = check.lines + LINES as u64;
    while check.lines < until {
        let batch = reader.batch().expect("ours");
        batch.iter().for_each(|item| check_item(check, item));
        batch.commit();
    }
}

/// As fast as a caller gets bytes and writer that does nothing with them.
fn take_batches_unseen(reader: &mut Reader, _: &mut Check) {
    let mut left = LINES;
    while left > 0 {
        let batch = reader.batch().expect("ours");
        for item in batch.iter() {
            let Item::Line(line) = item else { unreachable!("there are lines alone") };
            black_box((&*line.bytes, line.writer_id, line.position));
            left -= 1;
        }
        batch.commit();
    }
}

/// The same, without an item for each line.
fn take_batches_borrowed(reader: &mut Reader, _: &mut Check) {
    let mut left = LINES;
    while left > 0 {
        let batch = reader.batch().expect("ours");
        for item in batch.iter_ref() {
            let ItemRef::Line(line) = item else { unreachable!("there are short lines alone") };
            black_box((line.bytes(), line.writer_id(), line.position()));
            left -= 1;
        }
        batch.commit();
    }
}

/// Fills a ring and times `read` alone, so often.
fn times(
    rounds: u64,
    check: bool,
    checksums: bool,
    read: impl Fn(&mut Reader, &mut Check),
) -> Duration {
    let ring = ring_with(LINES, Policy::Block, checksums);
    let mut mirror = ring.mirror().expect("a mirror");
    let mut reader = ring.reader().expect("no reader yet");
    let mut seen = Check::default();
    let mut number = 0;
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        number = fill(&mut mirror, number);
        let began = Instant::now();
        read(&mut reader, &mut seen);
        total += began.elapsed();
    }
    assert!(!check || seen.lines == number);
    total
}

fn fill(mirror: &mut LineProcMirror, from: u64) -> u64 {
    for number in from..from + LINES as u64 {
        mirror.write_line(&line(0, number)).expect("there is room");
    }
    from + LINES as u64
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read 1024 lines of 100 bytes");
    group.throughput(Throughput::Elements(LINES as u64));
    for (checksums, with) in [(false, ""), (true, ", with checksums")] {
        group.bench_function(format!("one after another, checked{with}"), |b| {
            b.iter_custom(|n| times(n, true, checksums, take));
        });
        group.bench_function(format!("in batches, checked{with}"), |b| {
            b.iter_custom(|n| times(n, true, checksums, take_batches));
        });
        group.bench_function(format!("in batches{with}"), |b| {
            b.iter_custom(|n| times(n, false, checksums, take_batches_unseen));
        });
        group.bench_function(format!("in batches, borrowed{with}"), |b| {
            b.iter_custom(|n| times(n, false, checksums, take_batches_borrowed));
        });
    }
    group.finish();
}

fn observing(c: &mut Criterion) {
    let ring = ring(LINES, Policy::Block);
    let mut mirror = ring.mirror().expect("a mirror");
    fill(&mut mirror, 0);
    let observer = Observer::attach(ring.descriptor().expect("open")).expect("a ring");
    let mut group = c.benchmark_group("observe 1024 lines");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("a look", |b| {
        b.iter(|| {
            let mut check = Check::default();
            let items = observer.snapshot().expect("the file stays whole");
            items.into_iter().for_each(|item| check_item(&mut check, item));
            assert_eq!(check.lines, LINES as u64);
        });
    });
    group.finish();
}

/// A process that dies with a line that it has begun.
fn die(ring: &LineRing) {
    // SAFETY: the child writes a piece of a line and is killed: it returns nowhere.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_all(b"unfinished").expect("room");
        // SAFETY: no memory is touched.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    // SAFETY: a null pointer asks for no status.
    unsafe { libc::waitpid(child, core::ptr::null_mut(), 0) };
}

fn beginning(c: &mut Criterion) {
    let ring = ring(LINES, Policy::Block);
    c.bench_function("attach", |b| {
        let descriptor = ring.descriptor().expect("open");
        b.iter(|| LineRing::attach(descriptor.as_fd()).expect("a ring"));
    });
    let mut reader = ring.reader().expect("no reader yet");
    c.bench_function("open and end a mirror, and collect its end", |b| {
        b.iter(|| {
            drop(ring.mirror().expect("a mirror"));
            assert!(matches!(reader.try_recv(), Ok(Some(Item::Ended(_)))));
        });
    });
    c.bench_function("bury one who died: its last words and its end", |b| {
        b.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let ring = common::ring(LINES, Policy::Block);
                die(&ring);
                let began = Instant::now();
                let mut reader = ring.reader().expect("no reader yet");
                let words = reader.recv().expect("ours").map(Item::into_owned);
                assert!(words.is_some_and(|item| item.line().is_some_and(|line| line.unfinished)));
                let end = reader.recv().expect("ours");
                assert!(matches!(end, Some(Item::Ended(ended)) if ended.end == End::Died));
                total += began.elapsed();
            }
            total
        });
    });
}

criterion_group!(benches, reading, observing, beginning);
criterion_main!(benches);
