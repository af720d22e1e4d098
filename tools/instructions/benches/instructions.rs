//! How many instructions a write, one in pieces, a formatted one, a take and a batch execute, under
//! callgrind, which counts the same on any machine.
//!
//! Each case handles [`LINES`] lines of 100 bytes, and fails where it takes 3 % more instructions
//! than its base here. A change that makes it take less, or has a reason to make it take more,
//! changes the base, in a commit of its own. The toolchain decides about the code:
//! rust-toolchain.toml names it. Run by `cd tools/instructions; cargo bench`, which needs valgrind
//! and `cargo install gungraun-runner --version 0.20.0`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use linering::{Item, ItemRef, LineProcMirror, LineRing, Options, Policy, Reader, Timestamps};

/// Lines of one case.
const LINES: usize = 1024;
/// Instructions for each line.
const WRITE: u64 = 187;
const PIECES: u64 = 443;
const FIVE_PIECES: u64 = 755;
const FORMATTED: u64 = 1252;
const FIVE_ARGUMENTS: u64 = 1396;
const FORMAT_THEN_WRITE: u64 = 1230;
const TAKE: u64 = 350;
const TAKE_REF: u64 = 224;
const BATCH: u64 = 182;
const BATCH_REF: u64 = 128;

/// Fails a case that takes more than 3 % more than this for each line.
fn at_most(base: u64) -> LibraryBenchmarkConfig {
    let limit = LINES as u64 * base * 103 / 100;
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, limit)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

const LINE: [u8; 100] = [b'.'; 100];
/// What a formatted line says.
const TEXT: &str = "has served a request of another process, and has told its caller";

/// What one with five arguments says.
const REQUEST: &str = "has been served to another process, and told";

fn ring(policy: Policy) -> LineRing {
    let options =
        Options::new().lines(4096).line_bytes(192).policy(policy).timestamps(Timestamps::Off);
    LineRing::new(options).expect("there is memory for a ring")
}

/// A mirror that has written before: all of its way is in the cache and decided.
fn mirror() -> (LineRing, LineProcMirror) {
    let ring = ring(Policy::OverwriteOldest);
    let mut mirror = ring.mirror().expect("a mirror");
    for _ in 0..LINES {
        mirror.write_line(&LINE).expect("it overwrites");
    }
    (ring, mirror)
}

/// A reader before as many lines.
fn reader() -> (LineRing, LineProcMirror, Reader) {
    let ring = ring(Policy::Block);
    let mut mirror = ring.mirror().expect("a mirror");
    for _ in 0..LINES {
        mirror.write_line(&LINE).expect("there is room");
    }
    let reader = ring.reader().expect("no other reader");
    (ring, mirror, reader)
}

#[library_benchmark(config = at_most(WRITE))]
#[bench::a_line_of_100_bytes(mirror())]
fn write((ring, mut mirror): (LineRing, LineProcMirror)) -> (LineRing, LineProcMirror) {
    for _ in 0..LINES {
        mirror.write_line(black_box(&LINE)).expect("it overwrites");
    }
    (ring, mirror)
}

// As Python's `print` does it: the line, and then its end.
#[library_benchmark(config = at_most(PIECES))]
#[bench::a_line_and_its_end(mirror())]
fn pieces((ring, mut mirror): (LineRing, LineProcMirror)) -> (LineRing, LineProcMirror) {
    for _ in 0..LINES {
        mirror.write_all(black_box(&LINE)).expect("it overwrites");
        mirror.finish_line().expect("it overwrites");
    }
    (ring, mirror)
}

// As a program prints a line piece by piece, and then its end.
#[library_benchmark(config = at_most(FIVE_PIECES))]
#[bench::five_pieces_and_an_end(mirror())]
fn five_pieces((ring, mut mirror): (LineRing, LineProcMirror)) -> (LineRing, LineProcMirror) {
    for _ in 0..LINES {
        for piece in LINE.chunks(LINE.len() / 5) {
            mirror.write_all(black_box(piece)).expect("it overwrites");
        }
        mirror.write_all(black_box(b"\n")).expect("it overwrites");
    }
    (ring, mirror)
}

// A line of 100 bytes, most of it text.
#[library_benchmark(config = at_most(FORMATTED))]
#[bench::four_arguments(mirror())]
fn formatted((ring, mut mirror): (LineRing, LineProcMirror)) -> (LineRing, LineProcMirror) {
    let (name, text) = (black_box("worker"), black_box(TEXT));
    for number in 0..LINES as u64 {
        let millis = black_box(number % 1000);
        writeln!(mirror, "{name} {number}: {text} after {millis} ms").expect("it overwrites");
    }
    (ring, mirror)
}

// Five arguments, formatted into the ring, and into a string of the program's own that is written
// then.
#[library_benchmark(config = at_most(FIVE_ARGUMENTS))]
#[bench::five_arguments(mirror())]
fn formatted_five((ring, mut mirror): (LineRing, LineProcMirror)) -> (LineRing, LineProcMirror) {
    let (name, text, path) = (black_box("worker"), black_box(REQUEST), black_box("/index.html"));
    for number in 0..LINES as u64 {
        let millis = black_box(number % 1000);
        writeln!(mirror, "{name} {number}: {path} {text} after {millis} ms")
            .expect("it overwrites");
    }
    (ring, mirror)
}

#[library_benchmark(config = at_most(FORMAT_THEN_WRITE))]
#[bench::five_arguments(mirror())]
fn format_then_write((ring, mut mirror): (LineRing, LineProcMirror)) -> (LineRing, LineProcMirror) {
    let (name, text, path) = (black_box("worker"), black_box(REQUEST), black_box("/index.html"));
    let mut line = String::new();
    for number in 0..LINES as u64 {
        let millis = black_box(number % 1000);
        line.clear();
        write!(line, "{name} {number}: {path} {text} after {millis} ms").expect("memory");
        mirror.write_line(line.as_bytes()).expect("it overwrites");
    }
    (ring, mirror)
}

type Read = (LineRing, LineProcMirror, Reader);

#[library_benchmark(config = at_most(TAKE))]
#[bench::one_after_another(reader())]
fn take((ring, mirror, mut reader): Read) -> Read {
    let mut lines = 0;
    while lines < LINES {
        if let Some(Item::Line(line)) = reader.try_recv().expect("ours") {
            assert_eq!(black_box(&*line.bytes).len(), LINE.len());
            lines += 1;
        }
    }
    (ring, mirror, reader)
}

#[library_benchmark(config = at_most(BATCH))]
#[bench::in_batches(reader())]
fn batch((ring, mirror, mut reader): Read) -> Read {
    let mut lines = 0;
    while lines < LINES {
        let batch = reader.batch().expect("ours");
        for item in batch.iter() {
            let Item::Line(line) = item else { unreachable!("there are lines alone") };
            assert_eq!(black_box(&*line.bytes).len(), LINE.len());
            lines += 1;
        }
        batch.commit();
    }
    (ring, mirror, reader)
}

#[library_benchmark(config = at_most(TAKE_REF))]
#[bench::one_after_another(reader())]
fn take_ref((ring, mirror, mut reader): Read) -> Read {
    let mut lines = 0;
    while lines < LINES {
        if let Some(ItemRef::Line(line)) = reader.try_recv_ref().expect("ours") {
            assert_eq!(black_box(line.bytes()).len(), LINE.len());
            lines += 1;
        }
    }
    (ring, mirror, reader)
}

#[library_benchmark(config = at_most(BATCH_REF))]
#[bench::in_batches(reader())]
fn batch_ref((ring, mirror, mut reader): Read) -> Read {
    let mut lines = 0;
    while lines < LINES {
        let batch = reader.batch().expect("ours");
        for item in batch.iter_ref() {
            let ItemRef::Line(line) = item else { unreachable!("there are short lines alone") };
            assert_eq!(black_box(line.bytes()).len(), LINE.len());
            lines += 1;
        }
        batch.commit();
    }
    (ring, mirror, reader)
}

library_benchmark_group!(name = hot_paths, benchmarks = [write, pieces, five_pieces, formatted, formatted_five, format_then_write, take, take_ref, batch, batch_ref]);
main!(library_benchmark_groups = hot_paths);
