//! What one write costs its writer: without a reader, by length, by pieces, with times; beside
//! other writers; and in a burst after which the reader sleeps. The floor is a copy and one shared
//! `fetch_add`.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use linering::{Item, LineProcMirror, LineRing, Options, Policy, Timestamps};

mod common;
use common::{Check, Floor, LINE, line, ring};

const LINES: usize = 4096;

/// Both carry lines as they are, before any figure counts.
fn check() {
    let floor = Floor::new(LINES);
    let ring = ring(LINES, Policy::Block);
    let mut mirror = ring.mirror().expect("a mirror");
    for number in 0..LINES as u64 {
        floor.write(&line(0, number));
        mirror.write_line(&line(0, number)).expect("the ring has room");
    }
    drop(mirror);
    let mut of_floor = Check::default();
    (0..LINES).for_each(|position| of_floor.line(&floor.read(position)));
    assert_eq!(common::drain(&ring).lines, of_floor.lines);
}

fn one_write(c: &mut Criterion) {
    check();
    let mut group = c.benchmark_group("write 100 bytes");
    group.throughput(Throughput::Elements(1));
    let bytes: [u8; LINE] = line(1, 2);
    let floor = Floor::new(LINES);
    group.bench_function("copy + fetch_add", |b| b.iter(|| floor.write(black_box(&bytes))));
    let ring = ring(LINES, Policy::OverwriteOldest);
    let mut mirror = ring.mirror().expect("a mirror");
    group.bench_function("linering", |b| b.iter(|| mirror.write_line(black_box(&bytes))));
    let pieces = bytes.chunks(LINE / 5);
    group.bench_function("linering, five pieces and an end", |b| {
        b.iter(|| {
            for piece in pieces.clone() {
                mirror.write_all(black_box(piece)).expect("it overwrites");
            }
            mirror.write_all(b"\n").expect("it overwrites");
        });
    });
    let options = Options::new().lines(LINES).line_bytes(192).policy(Policy::OverwriteOldest);
    let timed = LineRing::new(options.timestamps(Timestamps::Coarse)).expect("a ring");
    let mut mirror = timed.mirror().expect("a mirror");
    group.bench_function("linering, with times", |b| {
        b.iter(|| mirror.write_line(black_box(&bytes)))
    });
    let options = Options::new().lines(LINES).line_bytes(192).policy(Policy::OverwriteOldest);
    let checked =
        LineRing::new(options.timestamps(Timestamps::Off).checksums(true)).expect("a ring");
    let mut mirror = checked.mirror().expect("a mirror");
    group.bench_function("linering, with checksums", |b| {
        b.iter(|| mirror.write_line(black_box(&bytes)))
    });
    group.bench_function("linering, with checksums, five pieces and an end", |b| {
        b.iter(|| {
            for piece in pieces.clone() {
                mirror.write_all(black_box(piece)).expect("it overwrites");
            }
            mirror.write_all(b"\n").expect("it overwrites");
        });
    });
    mirror.write_line(&bytes).expect("it overwrites");
    assert_last(&checked, &bytes);
    group.finish();
}

/// The last line that was written is in the ring as it was written.
fn assert_last(ring: &LineRing, bytes: &[u8]) {
    let mut reader = ring.reader().expect("no reader yet");
    let mut last = None;
    while let Some(item) = reader.try_recv().expect("ours") {
        if let Item::Line(line) = item {
            assert!(!line.damaged);
            last = Some(line.bytes.into_owned());
        }
    }
    assert!(last.is_some_and(|last| last == bytes));
}

fn by_length(c: &mut Criterion) {
    let mut group = c.benchmark_group("write by length, slots of 256 bytes");
    let lengths = [10, 100, 240, 1000, 100_000].map(|length| [(length, false), (length, true)]);
    for (length, checksums) in lengths.into_iter().flatten() {
        let options = Options::new().lines(LINES).line_bytes(256).policy(Policy::OverwriteOldest);
        let ring = LineRing::new(
            options.timestamps(Timestamps::Off).max_line(LINE * 1000).checksums(checksums),
        );
        let ring = ring.expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        let bytes: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
        group.throughput(Throughput::Bytes(length as u64));
        let name = if checksums { "with checksums" } else { "without" };
        group.bench_with_input(BenchmarkId::new(name, length), &bytes, |b, bytes| {
            b.iter(|| mirror.write_line(black_box(bytes)));
        });
        assert_last(&ring, &bytes);
    }
    group.finish();
}

/// Nanoseconds of one writer's lines while others write as fast as they can.
fn contended(c: &mut Criterion) {
    let mut group = c.benchmark_group("write beside others");
    group.throughput(Throughput::Elements(1));
    for others in [0, 1, 3, 7] {
        group.bench_with_input(BenchmarkId::new("others", others), &others, |b, others| {
            b.iter_custom(|lines| {
                let ring = ring(LINES, Policy::OverwriteOldest);
                let over = AtomicBool::new(false);
                thread::scope(|scope| {
                    for other in 1..=*others {
                        let mut mirror = ring.mirror().expect("a mirror");
                        let over = &over;
                        scope.spawn(move || {
                            for number in 0.. {
                                if over.load(Ordering::Relaxed) {
                                    break;
                                }
                                mirror.write_line(&line(other, number)).expect("it overwrites");
                            }
                        });
                    }
                    let mut mirror = ring.mirror().expect("a mirror");
                    let took = write(&mut mirror, lines);
                    over.store(true, Ordering::Relaxed);
                    took
                })
            });
        });
    }
    group.finish();
}

fn write(mirror: &mut LineProcMirror, lines: u64) -> Duration {
    let began = Instant::now();
    for number in 0..lines {
        mirror.write_line(&line(0, number)).expect("there is room");
    }
    began.elapsed()
}

/// A burst of 64 lines into a ring whose reader has fallen asleep, until its writer goes on.
fn burst(c: &mut Criterion) {
    const BURST: u64 = 64;
    let mut group = c.benchmark_group("write a burst, reader asleep");
    group.throughput(Throughput::Elements(BURST));
    group.bench_function("64 lines", |b| {
        b.iter_custom(|bursts| {
            let ring = ring(LINES, Policy::Block);
            let mut mirror = ring.mirror().expect("a mirror");
            let mut reader = ring.reader().expect("no reader yet");
            reader.set_spinning(false);
            thread::scope(|scope| {
                let reads = scope.spawn(move || {
                    let mut lines = 0;
                    while let Some(item) = reader.recv().expect("ours") {
                        lines += u64::from(item.line().is_some());
                    }
                    lines
                });
                let mut total = Duration::ZERO;
                for _ in 0..bursts {
                    thread::sleep(Duration::from_micros(300));
                    total += write(&mut mirror, BURST);
                }
                drop(mirror);
                assert_eq!(reads.join().expect("it reads"), bursts * BURST);
                total
            })
        });
    });
    group.finish();
}

criterion_group!(benches, one_write, by_length, contended, burst);
criterion_main!(benches);
