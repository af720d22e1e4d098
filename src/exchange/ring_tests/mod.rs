//! Tests of the exchange on the heap. `loom_models.rs` has what depends on the order of memory
//! accesses.

#![cfg(not(loom))]

use std::cell::Cell;

use super::publish::Plan;
use super::spare::*;
use super::take::*;
use super::*;
use crate::layout::{Hold, LineNumber, Position, RingMode, SLOT_HEADER_WORDS, SlotHeader};

use Ordering::{Acquire, Relaxed, Release};

mod bytes;
mod damage;
mod hint;
mod many_laps;
mod plans;
mod queue;
mod runs;
mod sleeping;
mod threads;

/// In tests the two modes are short words.
fn mode(overwrite: bool) -> RingMode {
    if overwrite { RingMode::Overwriting } else { RingMode::Lossless }
}

/// Laps have 39 bits: this many, and they begin again.
const LAPS: u64 = 1 << 39;

/// A ring on the heap with its cells' hold words. Cell `c` begins with the slot `N + c`.
struct Heap {
    order: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
    next_position: AtomicU64,
    holds: Vec<AtomicU64>,
    shape: Shape,
    start: Position,
}

impl Heap {
    fn new(order_bits: u32, slot_words: usize, cells: usize, start: Position) -> Self {
        let shape = Shape { order_bits, slot_words, check_bytes: 0 };
        let positions = 1 << order_bits;
        Self {
            order: (0..positions)
                .map(|index| AtomicU64::new(shape.first_entry(start, index).0))
                .collect(),
            slots: (0..(positions + cells) * slot_words).map(|_| AtomicU64::new(0)).collect(),
            next_position: AtomicU64::new(start.0),
            holds: (0..cells)
                .map(|c| AtomicU64::new(Hold::Held((positions + c) as u32).pack(0)))
                .collect(),
            shape,
            start,
        }
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.order, &self.slots, &self.next_position, self.shape)
    }

    fn positions(&self) -> u64 {
        self.shape.positions()
    }

    fn spare(&self, cell: usize) -> Spare {
        self.ring().spare_of(self.holds[cell].load(Relaxed)).expect("no exchange is under way")
    }

    fn entry(&self, position: Position) -> OrderEntry {
        OrderEntry(self.ring().entry(position).load(Relaxed))
    }

    fn set_entry(&self, position: Position, entry: OrderEntry) {
        self.ring().entry(position).store(entry.0, Relaxed);
    }

    fn writer(&self, cell: usize) -> Writer<'_> {
        Writer { heap: self, cell, spare: self.spare(cell), line: 0 }
    }

    fn reader(&self) -> Reader<'_> {
        let payload = vec![0; self.shape.payload()];
        Reader { heap: self, position: self.start, passed: 0, payload }
    }

    /// I2: the order ring and the cells have each slot exactly once.
    fn assert_slots_conserved(&self) {
        let mut slots: Vec<u32> =
            self.order.iter().map(|entry| OrderEntry(entry.load(Relaxed)).slot()).collect();
        slots.extend((0..self.holds.len()).map(|cell| self.spare(cell).slot));
        slots.sort_unstable();
        let all: Vec<u32> = (0..(self.order.len() + self.holds.len()) as u32).collect();
        assert_eq!(slots, all, "each slot is in one place");
    }
}

/// What the line `line` of the writer in `cell` consists of: derived from the two, so that a mix of
/// two lines is none.
fn content(shape: Shape, cell: usize, line: u64) -> (SlotHeader, Vec<u8>) {
    let mut state = (cell as u64) << 48 | line;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ z >> 27
    };
    let length = (random() % (shape.payload() as u64 + 1)) as usize;
    let header = SlotHeader {
        position: Position(0),
        time: random() >> 16,
        tag: random() as u16,
        line: LineNumber::new(line),
        cell: cell as u16,
        level: random() as u8 & 0xf,
        part: random() as u32 & 0xff_ffff,
        length: length as u16,
        flags: random() as u32 & 0xff_ffff,
    };
    (header, (0..length).map(|_| random() as u8).collect())
}

#[track_caller]
fn assert_whole(shape: Shape, found: &SlotHeader, payload: &[u8]) {
    let (header, bytes) = content(shape, found.cell.into(), found.line.get());
    assert_eq!(SlotHeader { position: Position(0), ..*found }, header);
    assert_eq!(&payload[..usize::from(found.length)], bytes);
}

struct Writer<'a> {
    heap: &'a Heap,
    cell: usize,
    spare: Spare,
    line: u64,
}

impl Writer<'_> {
    fn write(&mut self, overwrite: bool) -> Result<Position, Refused> {
        let ring = self.heap.ring();
        let (header, bytes) = content(self.heap.shape, self.cell, self.line);
        ring.fill(&self.spare, 0, &bytes);
        ring.write_header(&self.spare, &header);
        let hold = &self.heap.holds[self.cell];
        let filled = self.spare.slot;
        let exchanged = Cell::new(0);
        let published = ring.publish(hold, &mut self.spare, mode(overwrite), || {
            // Not noted yet: the exchange is still an intent.
            assert!(matches!(Hold::unpack(hold.load(Relaxed)).0, Hold::Intent(given, _) if given == filled));
            exchanged.set(exchanged.get() + 1);
        });
        let exchanged = exchanged.get();
        assert_eq!(exchanged, u64::from(published.is_ok()), "`then` runs once, after an exchange");
        self.line += exchanged;
        assert_eq!(
            self.heap.spare(self.cell).slot,
            self.spare.slot,
            "the hold word names the spare"
        );
        published
    }

    /// Writes a line that goes where the test expects it.
    #[track_caller]
    fn write_at(&mut self, position: Position) {
        assert_eq!(self.write(false), Ok(position));
    }
}

struct Reader<'a> {
    heap: &'a Heap,
    position: Position,
    /// Positions whose lines were overwritten.
    passed: u64,
    payload: Vec<u8>,
}

/// Looks at a position, and gives the payload as bytes.
fn peek(ring: Ring<'_>, position: Position, payload: &mut [u8]) -> ReadOutcome {
    let mut image = vec![0; SLOT_HEADER_WORDS + payload.len() / 8];
    let seen = ring.peek(position, &mut image);
    payload.copy_from_slice(bytemuck::cast_slice(&image[SLOT_HEADER_WORDS..]));
    seen
}

fn prefetch(ring: &Ring<'_>, position: Position) {
    let run = ring.run(position);
    ring.prefetch(&run.words[0], run.full);
}

impl Reader<'_> {
    fn peek(&mut self) -> ReadOutcome {
        peek(self.heap.ring(), self.position, &mut self.payload)
    }

    fn take(&mut self, overwrite: bool) -> bool {
        self.heap.ring().take(self.position, mode(overwrite))
    }

    /// The next line, checked and taken: its writer's cell and its number.
    fn next(&mut self, overwrite: bool) -> Option<(usize, u64)> {
        loop {
            match self.peek() {
                ReadOutcome::Part(header) => {
                    assert_eq!(header.position, self.position);
                    assert_whole(self.heap.shape, &header, &self.payload);
                    if self.take(overwrite) {
                        self.position = self.position.next();
                        return Some((header.cell.into(), header.line.get()));
                    }
                    assert!(overwrite, "no other reader takes a line");
                }
                ReadOutcome::Empty => return None,
                ReadOutcome::Passed(laps) => {
                    assert!(overwrite, "a line was lost");
                    // That position, `laps` later, is filled, so the oldest line is less than a lap
                    // before it.
                    let oldest = self.heap.shape.after_laps(self.position, laps as i64 - 1).next();
                    self.passed += oldest.since(self.position);
                    self.position = oldest;
                }
                seen @ (ReadOutcome::Stale | ReadOutcome::Damaged) => {
                    panic!("{seen:?} at {:?}", self.position)
                }
            }
        }
    }
}

/// Positions from which a short run crosses the overflow of the laps or of the position itself, or
/// neither; at index 0 and elsewhere.
fn starts(order_bits: u32) -> [Position; 9] {
    let n = 1_u64 << order_bits;
    let overflow = LAPS << order_bits;
    [
        0,
        1,
        5 * n + n / 2,
        overflow - n,
        overflow - 1,
        overflow - 2 * n + 1,
        overflow,
        u64::MAX,
        u64::MAX - n - n / 2,
    ]
    .map(Position)
}
