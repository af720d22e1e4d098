//! What a `LineProcBuffer` keeps of many processes, and how it notices their ends.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use linering::{End, Ended, Kind, LineProcBuffer, Message, Options};

use crate::common::below_overflow;

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

mod ends;
mod inherited;
mod messages;
mod one_process;
mod pool;
mod refusals;
mod rotating;
mod seat_text;
mod seats;
mod signals;

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
