//! What becomes of lines when a ring is full, what its reader is told, and what comes again.
//! The helpers here are for small rings whose laps overflow after three lines.

use std::collections::HashMap;
use std::io::Write;
use std::iter;
use std::thread;

use linering::{End, Item, Line, LineProcMirror, LineRing, LossCause, Options, Policy, Reader};

use crate::common::{ring, small};

mod arrival;
mod block;
mod end;
mod long_lines;
mod losses;
mod options;
mod redelivery;
mod void_lines;
mod wake_up;

/// Slots of 64 bytes hold 32 bytes of a line.
const PAYLOAD: usize = 32;

fn mirror(ring: &LineRing) -> LineProcMirror {
    ring.mirror().expect("a mirror")
}

fn reader(ring: &LineRing) -> Reader {
    ring.reader().expect("no other reader")
}

fn write(mirror: &mut LineProcMirror, text: &str) {
    mirror.write_line(text.as_bytes()).expect("the write succeeds");
}

/// Everything that is there now.
fn now(reader: &mut Reader) -> Vec<Item<'static>> {
    iter::from_fn(|| reader.try_recv().expect("ours").map(Item::into_owned)).collect()
}

fn texts(items: &[Item<'_>]) -> Vec<String> {
    items.iter().map(Item::to_string).collect()
}

fn line<'i>(item: &'i Item<'static>) -> &'i Line<'static> {
    item.line().unwrap_or_else(|| panic!("no line: {item:?}"))
}

/// Bytes of which each run of eight says whose line it is, and which: so does each slot of it.
fn numbered(worker: u32, number: u64, length: usize) -> Vec<u8> {
    format!("{worker:02}{number:05},").repeat(length / 8 + 1).into_bytes()[..length].to_vec()
}

/// How long line `number` is: mostly several slots, now and then less than one.
fn length(worker: u32, number: u64) -> usize {
    8 + (number as usize * 37 + worker as usize * 11) % (6 * PAYLOAD)
}

/// Keeps account of every worker's lines: each was delivered, or counted as lost in its place.
struct Account {
    cause: LossCause,
    workers: HashMap<u32, Worker>,
    position: Option<u64>,
    truncated: u64,
}

#[derive(Debug, Default)]
struct Worker {
    /// The number of its next line.
    next: u64,
    delivered: u64,
    lost: u64,
    end: Option<End>,
}

impl Account {
    fn new(policy: Policy) -> Self {
        let cause = match policy {
            Policy::OverwriteOldest => LossCause::Overwritten,
            _ => LossCause::Dropped,
        };
        Self { cause, workers: HashMap::new(), position: None, truncated: 0 }
    }

    fn note(&mut self, item: &Item<'_>) {
        match item {
            Item::Line(line) => self.note_line(line),
            Item::Lost(lost) => {
                assert_eq!(lost.cause, self.cause, "{lost:?}");
                assert!(lost.lines > 0, "{lost:?}");
                let worker = self.workers.entry(lost.writer_id).or_default();
                worker.next += lost.lines;
                worker.lost += lost.lines;
            }
            Item::Ended(ended) => {
                let worker = self.workers.entry(ended.writer_id).or_default();
                assert_eq!((ended.lines, ended.lost), (worker.delivered, worker.lost), "{ended:?}");
                assert_eq!(worker.end.replace(ended.end), None, "it ends once");
            }
            other => panic!("nothing damaged this ring: {other:?}"),
        }
    }

    fn note_line(&mut self, line: &Line<'_>) {
        let worker = self.workers.entry(line.writer_id).or_default();
        assert_eq!(worker.end, None, "all lines come before the end: {line:?}");
        // A truncated line's last part may never come: that is known only later, and has a test of
        // its own.
        if !line.truncated {
            let last = self.position.replace(line.position);
            assert!(last.is_none_or(|last| last < line.position), "{last:?} before {line:?}");
        }
        let number = worker.next;
        worker.next += 1;
        worker.delivered += 1;
        let whole = numbered(line.writer_id, number, length(line.writer_id, number));
        if !line.truncated {
            assert_eq!(
                line.to_string(),
                String::from_utf8_lossy(&whole),
                "worker {}: line {number}",
                line.writer_id
            );
            assert_eq!(line.missing, 0);
            return;
        }
        self.truncated += 1;
        // Slots are whole: each run of eight bytes is of this line.
        for run in line.bytes.chunks(8) {
            assert_eq!(
                run,
                &whole[..run.len()],
                "worker {}: line {number} is {line}",
                line.writer_id
            );
        }
        let missing = whole.len() - line.bytes.len();
        assert!(line.missing <= missing as u64, "{missing} bytes are missing: {line:?}");
    }

    /// Every line that each worker wrote was delivered or counted.
    fn is_complete(&self, written: &[u64]) {
        assert_eq!(self.workers.len(), written.len());
        for (worker, written) in written.iter().enumerate() {
            let found = &self.workers[&(worker as u32)];
            assert_eq!(found.delivered + found.lost, *written, "worker {worker}: {found:?}");
            assert_eq!(found.end, Some(End::Eof), "worker {worker}");
        }
    }

    fn lost(&self) -> u64 {
        self.workers.values().map(|worker| worker.lost).sum()
    }
}

/// Writes lines `0..count` of this mirror, in one piece or several.
fn write_numbered(mirror: &mut LineProcMirror, count: u64) {
    for number in 0..count {
        let line = numbered(mirror.writer_id(), number, length(mirror.writer_id(), number));
        if number % 3 == 0 {
            line.chunks(23).for_each(|bytes| mirror.write_all(bytes).expect("the write succeeds"));
            mirror.write_all(b"\n").expect("the write succeeds");
        } else {
            mirror.write_line(&line).expect("the write succeeds");
        }
    }
}

/// `writers` threads write `count` lines each while this one reads; everything must be accounted
/// for.
fn account_of(options: Options, policy: Policy, writers: usize, count: u64) -> Account {
    let ring = ring(options.policy(policy));
    let mut account = Account::new(policy);
    let mirrors: Vec<_> = (0..writers).map(|_| mirror(&ring)).collect();
    thread::scope(|scope| {
        for mut mirror in mirrors {
            scope.spawn(move || write_numbered(&mut mirror, count));
        }
        for item in reader(&ring) {
            account.note(&item.expect("ours"));
        }
    });
    account.is_complete(&vec![count; writers]);
    account
}
