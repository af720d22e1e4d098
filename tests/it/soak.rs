//! Every line of every kind of ring, checked: policies, slot sizes, numbers of writers, threads and
//! processes, with positions that begin just below the overflow of the laps.
//!
//! A million lines in an ordinary test run. The long soak, 10^8 lines:
//!
//! ```text
//! LINERING_SOAK_LINES=100000000 cargo test --release --test it -- soak:: --nocapture
//! ```

use std::thread;

use linering::{
    End, Item, Line, LineProcMirror, LineRing, Options, Policy, WorkerPool, WriteError,
};

const POLICIES: [Policy; 3] = [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest];
const SLOT_BYTES: [usize; 4] = [64, 192, 1024, 4096];
const WRITERS: [u64; 4] = [1, 2, 4, 8];
/// Positions in one lap: few, so that laps pass quickly and policies have work.
const POSITIONS: u64 = 64;

#[derive(Clone, Copy, Debug)]
enum Mode {
    Threads,
    Processes,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: Mode,
    policy: Policy,
    slot_bytes: usize,
    writers: u64,
    /// Lines of each writer.
    lines: u64,
}

/// A cheap, well mixed number.
fn mix(seed: u64) -> u64 {
    let x = (seed ^ seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ x >> 29
}

/// Puts line `number` of `writer` into `line`: mostly one slot, now and then several, now and then
/// empty.
fn make(line: &mut Vec<u8>, case: &Case, writer: u64, number: u64) {
    let seed = mix(writer << 40 | number);
    let payload = case.slot_bytes as u64 - 32;
    let length = match seed % 64 {
        0 => 0,
        1 => payload,
        2 => payload + 1,
        3 => seed / 64 % (4 * payload),
        _ => seed / 64 % payload.min(200),
    };
    line.clear();
    let mut word = seed;
    while (line.len() as u64) < length {
        word = mix(word.wrapping_add(number));
        line.extend_from_slice(&word.to_ne_bytes());
    }
    line.truncate(length as usize);
}

fn write(case: &Case, writer: u64, mirror: &mut LineProcMirror) -> Result<(), WriteError> {
    let mut line = Vec::new();
    for number in 0..case.lines {
        make(&mut line, case, writer, number);
        mirror.write_line(&line)?;
    }
    Ok(())
}

/// What has come of one writer.
#[derive(Default)]
struct Writer {
    next: u64,
    delivered: u64,
    lost: u64,
    truncated: u64,
    ended: bool,
}

/// What has come at all.
#[derive(Default)]
struct Tally {
    writers: Vec<Writer>,
    last_position: Option<u64>,
    expected: Vec<u8>,
}

impl Tally {
    fn item(&mut self, case: &Case, item: &Item<'_>) {
        match item {
            Item::Line(line) => self.line(case, line),
            Item::Lost(lost) => {
                assert_ne!(case.policy, Policy::Block, "{case:?}: nothing is lost, but {lost}");
                let writer = &mut self.writers[lost.writer_id as usize];
                writer.next += lost.lines;
                writer.lost += lost.lines;
            }
            Item::Ended(ended) => {
                let writer = &mut self.writers[ended.writer_id as usize];
                assert_eq!(ended.end, End::Eof, "{case:?}");
                assert!(!core::mem::replace(&mut writer.ended, true), "{case:?}: ends once");
                assert_eq!(
                    (ended.lines, ended.lost),
                    (writer.delivered, writer.lost),
                    "{case:?}: counted as reported"
                );
            }
            other => panic!("{case:?}: {other}"),
        }
    }

    fn line(&mut self, case: &Case, line: &Line<'_>) {
        let writer = &mut self.writers[line.writer_id as usize];
        assert!(!writer.ended, "{case:?}: no line after the end");
        // A line whose last part was lost has the position of the last part that was seen.
        if !line.truncated {
            let later =
                self.last_position.is_none_or(|last| line.position.wrapping_sub(last) as i64 > 0);
            assert!(later, "{case:?}: position {} after {:?}", line.position, self.last_position);
            self.last_position = Some(line.position);
        }
        make(&mut self.expected, case, line.writer_id.into(), writer.next);
        let (found, expected) = (&line.bytes[..], &self.expected[..]);
        if line.truncated {
            assert_ne!(case.policy, Policy::Block, "{case:?}: nothing is truncated");
            // What is left are some of its parts, whole and in their order.
            let payload = case.slot_bytes - 32;
            let mut parts = expected.chunks(payload);
            let whole = found.chunks(payload).all(|part| parts.any(|other| other == part));
            assert!(
                whole,
                "{case:?}: writer {} line {}: {} of {} bytes, {} missing",
                line.writer_id,
                writer.next,
                found.len(),
                expected.len(),
                line.missing
            );
            assert!(
                found.len() as u64 + line.missing <= expected.len() as u64,
                "{case:?}: {} missing",
                line.missing
            );
            writer.truncated += 1;
        } else {
            assert!(
                found == expected,
                "{case:?}: writer {} has another line {}",
                line.writer_id,
                writer.next
            );
        }
        writer.next += 1;
        writer.delivered += 1;
    }
}

fn run(case: Case) -> (u64, u64, u64) {
    let bits = POSITIONS.trailing_zeros();
    // The last lap before they overflow begins in a moment, and the start is not at the first
    // entry.
    let start = (((1 << 39) - 1) << bits) - 7;
    let options =
        Options::new().lines(POSITIONS as usize).line_bytes(case.slot_bytes).policy(case.policy);
    // Lines of up to 4 slots, and no more waiting than a reader on a busy machine needs.
    let ring =
        LineRing::new(options.start_position(start).max_line(8 * case.slot_bytes)).expect("a ring");
    let mut tally = Tally::default();
    tally.writers.resize_with(case.writers as usize, Writer::default);
    match case.mode {
        Mode::Threads => thread::scope(|scope| {
            for writer in 0..case.writers {
                let seat = ring.seat().expect("a seat");
                scope.spawn(move || {
                    write(&case, writer, &mut seat.open().expect("a mirror")).expect("written")
                });
            }
            drain(&case, &ring, &mut tally);
        }),
        Mode::Processes => {
            let work = |writer, mirror: &mut LineProcMirror| write(&case, writer as u64, mirror);
            let mut pool = WorkerPool::fork(&ring, case.writers as usize, work).expect("workers");
            drain(&case, &ring, &mut tally);
            assert!(
                pool.join()
                    .iter()
                    .all(|worker| worker.status.is_some_and(|status| status.success()))
            );
        }
    }
    for writer in &tally.writers {
        assert!(writer.ended, "{case:?}");
        assert_eq!(
            writer.delivered + writer.lost,
            case.lines,
            "{case:?}: delivered and lost are all there were"
        );
    }
    let sum = |of: fn(&Writer) -> u64| tally.writers.iter().map(of).sum();
    (sum(|w| w.delivered), sum(|w| w.lost), sum(|w| w.truncated))
}

fn drain(case: &Case, ring: &LineRing, tally: &mut Tally) {
    let mut reader = ring.reader().expect("no other reader");
    loop {
        let batch = reader.batch().expect("nothing interrupts");
        if batch.is_empty() {
            return;
        }
        batch.iter().for_each(|item| tally.item(case, &item));
        batch.commit();
    }
}

#[test]
fn every_line_of_every_kind_of_ring_comes_whole_in_order_or_is_counted() {
    let lines: u64 = match std::env::var("LINERING_SOAK_LINES") {
        Ok(lines) => lines.parse().expect("LINERING_SOAK_LINES is a number of lines"),
        Err(_) => 1_000_000,
    };
    let cases = (POLICIES.len() * SLOT_BYTES.len() * WRITERS.len() * 2) as u64;
    let mut total = 0;
    for policy in POLICIES {
        for slot_bytes in SLOT_BYTES {
            for writers in WRITERS {
                for mode in [Mode::Threads, Mode::Processes] {
                    let case =
                        Case { mode, policy, slot_bytes, writers, lines: lines / cases / writers };
                    let (delivered, lost, truncated) = run(case);
                    total += delivered + lost;
                    println!(
                        "{case:?}: {delivered} delivered, {truncated} of them truncated, {lost} lost"
                    );
                }
            }
        }
    }
    println!("{total} lines accounted for");
}
