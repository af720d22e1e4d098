//! Lossless lines per second from threads to one reader, every line checked, against `ArrayQueue`.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;
use linering::Policy;

mod common;
use common::{Check, LINE, line, ring};

/// Lines in flight at most.
const CAPACITY: usize = 4096;
/// Lines of one run, of all writers together.
const LINES: u64 = 2_000_000;

/// Runs `writers` threads of `write` beside `read`, which returns when it has all lines.
fn run(writers: u64, write: impl Fn(u64, u64) + Sync, read: impl FnOnce(u64) -> Check) {
    let each = LINES / writers;
    let check = thread::scope(|scope| {
        let write = &write;
        for writer in 0..writers {
            scope.spawn(move || write(writer, each));
        }
        read(each * writers)
    });
    assert_eq!(check.lines, each * writers);
}

fn linering(writers: u64) {
    let ring = ring(CAPACITY, Policy::Block);
    // Opened before the reader looks, so that it does not find everything over.
    let seats: Vec<_> = (0..writers).map(|_| ring.seat().expect("a seat")).collect();
    let write = |writer: u64, lines| {
        let mut mirror = seats[writer as usize].open().expect("a mirror");
        (0..lines)
            .for_each(|number| mirror.write_line(&line(writer, number)).expect("the reader lives"));
    };
    run(writers, write, |_| common::drain(&ring));
}

fn array_queue(writers: u64) {
    let queue: ArrayQueue<[u8; LINE]> = ArrayQueue::new(CAPACITY);
    let write = |writer, lines| {
        for number in 0..lines {
            let mut item = line(writer, number);
            let backoff = Backoff::new();
            while let Err(again) = queue.push(item) {
                item = again;
                backoff.snooze();
            }
        }
    };
    let read = |lines| {
        let mut check = Check::default();
        let backoff = Backoff::new();
        while check.lines < lines {
            match queue.pop() {
                Some(bytes) => {
                    check.line(&bytes);
                    backoff.reset();
                }
                None => backoff.snooze(),
            }
        }
        check
    };
    run(writers, write, read);
}

fn throughput(c: &mut Criterion) {
    let mut group = c.benchmark_group("lossless threads");
    group
        .throughput(Throughput::Elements(LINES))
        .sample_size(20)
        .measurement_time(Duration::from_secs(10));
    for writers in [1, 2, 4] {
        common::print_distance();
        group.bench_with_input(BenchmarkId::new("ArrayQueue", writers), &writers, |b, w| {
            b.iter(|| array_queue(*w))
        });
        group.bench_with_input(BenchmarkId::new("linering", writers), &writers, |b, w| {
            b.iter(|| linering(*w))
        });
    }
    common::print_distance();
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
