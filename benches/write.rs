//! What one write costs its writer: a 100-byte line with nobody reading, against its floor, a copy and one shared
//! `fetch_add`.

#![allow(missing_docs, reason = "criterion's macros make public functions without documentation")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linering::Policy;
use std::hint::black_box;

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
    group.finish();
}

criterion_group!(benches, one_write);
criterion_main!(benches);
