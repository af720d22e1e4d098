//! Tests of the exchange on the heap: tables of its plans, its arithmetic across the overflow of
//! the laps, hostile words, and real threads. `loom_models.rs` has what depends on the order of
//! memory accesses.

#![cfg(not(loom))]

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use proptest::prelude::*;

use super::copy::{load_bytes, store_bytes};
use super::park::*;
use super::publish::Plan;
use super::spare::*;
use super::take::*;
use super::*;
use crate::layout::sync::AtomicU32;
use crate::layout::{Hold, RingMode, SLOT_HEADER_WORDS, SlotHeader};

use Ordering::{Acquire, Relaxed, Release};

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
    start: u64,
}

impl Heap {
    fn new(order_bits: u32, slot_words: usize, cells: usize, start: u64) -> Self {
        let shape = Shape { order_bits, slot_words, check_bytes: 0 };
        let positions = 1 << order_bits;
        Self {
            order: (0..positions)
                .map(|index| AtomicU64::new(shape.first_entry(start, index).0))
                .collect(),
            slots: (0..(positions + cells) * slot_words).map(|_| AtomicU64::new(0)).collect(),
            next_position: AtomicU64::new(start),
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
        Spare::of(self.holds[cell].load(Relaxed)).expect("no exchange is under way")
    }

    fn entry(&self, position: u64) -> OrderEntry {
        OrderEntry(self.ring().entry(position).load(Relaxed))
    }

    fn set_entry(&self, position: u64, entry: OrderEntry) {
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
        position: 0,
        time: random() >> 16,
        tag: random() as u16,
        line,
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
    let (header, bytes) = content(shape, found.cell.into(), found.line);
    assert_eq!(SlotHeader { position: 0, ..*found }, header);
    assert_eq!(&payload[..usize::from(found.length)], bytes);
}

struct Writer<'a> {
    heap: &'a Heap,
    cell: usize,
    spare: Spare,
    line: u64,
}

impl Writer<'_> {
    fn write(&mut self, overwrite: bool) -> Result<u64, Refused> {
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
    fn write_at(&mut self, position: u64) {
        assert_eq!(self.write(false), Ok(position));
    }
}

struct Reader<'a> {
    heap: &'a Heap,
    position: u64,
    /// Positions whose lines were overwritten.
    passed: u64,
    payload: Vec<u8>,
}

/// Looks at a position, and gives the payload as bytes.
fn peek(ring: Ring<'_>, position: u64, payload: &mut [u8]) -> ReadOutcome {
    let mut image = vec![0; SLOT_HEADER_WORDS + payload.len() / 8];
    let seen = ring.peek(position, &mut image);
    payload.copy_from_slice(bytemuck::cast_slice(&image[SLOT_HEADER_WORDS..]));
    seen
}

fn prefetch(ring: &Ring<'_>, position: u64) {
    let run = ring.run(position);
    ring.prefetch(&run.words[0], run.full);
}

impl Reader<'_> {
    fn peek(&mut self) -> ReadOutcome {
        peek(self.heap.ring(), self.position, &mut self.payload)
    }

    fn take(&mut self, overwrite: bool) -> bool {
        let ring = self.heap.ring();
        let run = ring.run(self.position);
        ring.take(&run.words[0], &run, mode(overwrite))
    }

    /// The next line, checked and taken: its writer's cell and its number.
    fn next(&mut self, overwrite: bool) -> Option<(usize, u64)> {
        loop {
            match self.peek() {
                ReadOutcome::Part(header) => {
                    assert_eq!(header.position, self.position);
                    assert_whole(self.heap.shape, &header, &self.payload);
                    if self.take(overwrite) {
                        self.position = self.position.wrapping_add(1);
                        return Some((header.cell.into(), header.line));
                    }
                    assert!(overwrite, "no other reader takes a line");
                }
                ReadOutcome::Empty => return None,
                ReadOutcome::Passed(laps) => {
                    assert!(overwrite, "a line was lost");
                    // That position, `laps` later, is filled, so the oldest line is less than a lap
                    // before it.
                    let oldest =
                        self.heap.shape.after_laps(self.position, laps as i64 - 1).wrapping_add(1);
                    self.passed += oldest.wrapping_sub(self.position);
                    self.position = oldest;
                }
                seen @ (ReadOutcome::Stale | ReadOutcome::Damaged) => {
                    panic!("{seen:?} at {:#x}", self.position)
                }
            }
        }
    }
}

/// Positions from which a short run crosses the overflow of the laps or of the position itself, or
/// neither; at index 0 and elsewhere.
fn starts(order_bits: u32) -> [u64; 9] {
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
}

// --------------------------------------------------------------------------------------- the plans

#[test]
fn place_decides_every_row_of_its_table_in_every_lap() {
    // The entry is so many laps later than the position, and full or free: what follows, and for
    // `Elsewhere` the laps and positions to add.
    enum Row {
        Free,
        Oldest,
        Elsewhere(i64, u64),
    }
    use Row::{Elsewhere, Free, Oldest};
    let far = 1_i64 << 38;
    let table = [
        (0, false, Free),
        (-1, true, Oldest),
        (0, true, Elsewhere(0, 1)),
        (1, true, Elsewhere(1, 1)),
        (2, true, Elsewhere(2, 1)),
        (far - 1, true, Elsewhere(far - 1, 1)),
        (-2, true, Elsewhere(-2, 1)),
        (-far, true, Elsewhere(-far, 1)),
        (1, false, Elsewhere(0, 1)),
        (2, false, Elsewhere(1, 1)),
        (far - 1, false, Elsewhere(far - 2, 1)),
        (-1, false, Elsewhere(-1, 0)),
        (-2, false, Elsewhere(-2, 0)),
        (-far, false, Elsewhere(-far, 0)),
    ];
    for order_bits in [1, 2, 3, 10, 23] {
        let shape = Shape { order_bits, slot_words: 8, check_bytes: 0 };
        for position in starts(order_bits) {
            for (laps, full, row) in &table {
                let lap = shape.lap(position).wrapping_add(*laps as u64);
                let entry = if *full { OrderEntry::full(lap, 7) } else { OrderEntry::free(lap, 7) };
                let expected = match *row {
                    Free => SlotState::Free,
                    Oldest => SlotState::Oldest,
                    Elsewhere(laps, more) => {
                        SlotState::Elsewhere(shape.after_laps(position, laps).wrapping_add(more))
                    }
                };
                let found = slot_state(shape, entry, position);
                assert_eq!(found, expected, "{laps} laps, full: {full}, at {position:#x}");
            }
        }
    }
}

#[test]
fn a_position_is_filled_when_its_entry_is_full_in_its_lap_or_of_a_later_one() {
    let far = 1_i64 << 38;
    let table = [
        (0, false, false),
        (0, true, true),
        (1, false, true),
        (1, true, true),
        (2, false, true),
        (far - 1, false, true),
        (far - 1, true, true),
        (-1, false, false),
        (-1, true, false),
        (-2, true, false),
        (-far, false, false),
        (-far, true, false),
    ];
    for order_bits in [1, 2, 3, 10, 23] {
        let shape = Shape { order_bits, slot_words: 8, check_bytes: 0 };
        for position in starts(order_bits) {
            for (laps, full, expected) in table {
                let lap = shape.lap(position).wrapping_add(laps as u64);
                let entry = if full { OrderEntry::full(lap, 7) } else { OrderEntry::free(lap, 7) };
                assert_eq!(
                    is_filled(shape, entry, position),
                    expected,
                    "{laps} laps, full: {full}"
                );
            }
        }
    }
}

// --------------------------------------------------------------------------- one thread, many laps

#[test]
fn lines_come_in_order_over_many_laps_and_across_their_overflow() {
    for order_bits in 1..=4 {
        for start in starts(order_bits) {
            for unread in 0..1 << order_bits {
                let heap = Heap::new(order_bits, 6, 2, start);
                let (mut writer, mut reader) = (heap.writer(1), heap.reader());
                for line in 0..7 * heap.positions() {
                    writer.write_at(start.wrapping_add(line));
                    if line >= unread {
                        assert_eq!(reader.next(false), Some((1, line - unread)));
                    }
                }
                heap.assert_slots_conserved();
            }
        }
    }
}

#[test]
fn a_new_ring_is_empty_at_its_start_and_says_so_in_every_entry() {
    for order_bits in 1..=4 {
        for start in starts(order_bits) {
            let heap = Heap::new(order_bits, 6, 2, start);
            let mut payload = [0; 16];
            for ahead in 0..heap.positions() {
                let position = start.wrapping_add(ahead);
                assert_eq!(peek(heap.ring(), position, &mut payload), ReadOutcome::Empty);
                assert!(!heap.ring().is_hole(position));
                assert!(!heap.ring().is_filled_at(position));
            }
            heap.assert_slots_conserved();
        }
    }
}

#[test]
fn a_full_ring_refuses_and_names_the_oldest_position_until_a_line_is_taken() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        for line in 0..4 {
            writer.write_at(start.wrapping_add(line));
        }
        let next = start.wrapping_add(4);
        let hold = heap.holds[1].load(Relaxed);
        for _ in 0..3 {
            assert_eq!(writer.write(false), Err(Refused::Full(next)));
            assert!(heap.ring().is_full_at(next));
            assert_eq!(heap.holds[1].load(Relaxed), hold, "a refusal does not move the hold word");
        }
        assert_eq!(reader.next(false), Some((1, 0)));
        assert!(!heap.ring().is_full_at(next));
        writer.write_at(next);
        assert_eq!(writer.write(false), Err(Refused::Full(next.wrapping_add(1))));
        for line in 1..=4 {
            assert_eq!(reader.next(false), Some((1, line)));
        }
        assert_eq!(reader.next(false), None);
        heap.assert_slots_conserved();
    }
}

#[test]
fn overwriting_takes_the_slot_of_the_oldest_line_and_no_other() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let mut writer = heap.writer(1);
        for line in 0..4 {
            writer.write_at(start.wrapping_add(line));
        }
        for line in 4..21 {
            let oldest = start.wrapping_add(line - 4);
            let slot = heap.entry(oldest).slot();
            assert_eq!(writer.write(true), Ok(oldest.wrapping_add(4)));
            assert_eq!(writer.spare.slot, slot);
            let mut reader = heap.reader();
            reader.position = oldest;
            assert_eq!(reader.peek(), ReadOutcome::Passed(1));
            assert!(!reader.take(true), "an overwritten line is not taken");
            for kept in 1..=4 {
                reader.position = oldest.wrapping_add(kept);
                let ReadOutcome::Part(header) = reader.peek() else {
                    panic!("{:?}", reader.peek())
                };
                assert_eq!(header.line, line - 4 + kept);
                assert_whole(heap.shape, &header, &reader.payload);
            }
            heap.assert_slots_conserved();
        }
    }
}

#[test]
fn a_line_that_was_overwritten_several_laps_ago_says_how_many() {
    for start in starts(1) {
        let heap = Heap::new(1, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        for line in 0..20 {
            assert_eq!(writer.write(true), Ok(start.wrapping_add(line)));
            let expected = if line < 2 { None } else { Some(line / 2) };
            match (reader.peek(), expected) {
                (ReadOutcome::Part(_), None) => {}
                (seen, expected) => assert_eq!(Some(seen), expected.map(ReadOutcome::Passed)),
            }
        }
    }
}

#[test]
fn only_a_published_line_is_taken_and_only_once() {
    for overwrite in [false, true] {
        let heap = Heap::new(2, 6, 2, LAPS * 4 - 1);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        assert!(!reader.take(overwrite), "not yet written");
        writer.write_at(reader.position);
        let OrderEntry(filled) = heap.entry(reader.position);
        assert!(reader.take(overwrite));
        let lap = heap.shape.lap(reader.position);
        assert_eq!(
            heap.entry(reader.position),
            OrderEntry::free(lap.wrapping_add(1), OrderEntry(filled).slot())
        );
        assert!(!reader.take(overwrite), "already taken");
        assert_eq!(reader.peek(), ReadOutcome::Passed(1));
        heap.assert_slots_conserved();
    }
}

#[test]
fn the_hold_word_changes_with_each_step_and_survives_the_overflow_of_its_count() {
    let heap = Heap::new(1, 5, 2, LAPS * 2 - 1);
    let (mut writer, mut reader) = (heap.writer(1), heap.reader());
    for line in 0..40_000_u64 {
        writer.write_at(heap.start.wrapping_add(line));
        assert_eq!(reader.next(false), Some((1, line)));
        let changes = 2 * (line + 1) % (1 << 15);
        let held = (Hold::Held(writer.spare.slot), changes);
        assert_eq!(Hold::unpack(heap.holds[1].load(Relaxed)), held, "intent, then held");
    }
}

#[test]
fn an_undecided_hold_word_names_no_spare() {
    assert!(Spare::of(Hold::Intent(1, 2).pack(3)).is_none());
    let spare = Spare::of(Hold::Held(5).pack(9)).unwrap();
    assert_eq!((spare.slot, spare.changes), (5, 9));
}

/// The ABA: what the writer saw is there again, but for the lap. With laps of two bits the word
/// would be the same.
#[test]
fn a_writer_that_stood_still_for_laps_does_not_take_a_later_place_for_its_own() {
    for overwrite in [false, true] {
        let heap = Heap::new(1, 5, 3, LAPS * 2 - 5);
        let (mut others, mut reader) = (heap.writer(1), heap.reader());
        let (ring, start) = (heap.ring(), heap.start);
        let Plan::Exchange(seen) = ring.plan(start, mode(overwrite), None) else {
            panic!("the ring is empty")
        };
        let mut still = heap.spare(2);
        let mut met = 0;
        for line in 0..64_u64 {
            others.write_at(start.wrapping_add(line));
            assert_eq!(reader.next(overwrite), Some((1, line)));
            let now = heap.entry(start);
            met += u32::from((now.slot(), now.is_full()) == (seen.slot(), seen.is_full()));
            let exchanged = ring.exchange::<false>(&heap.holds[2], &mut still, start, seen, || ());
            assert!(!exchanged, "into {now:?}, which was {seen:?}");
        }
        assert!(met >= 8, "the slot came back {met} times");
        ring.hold_spare(&heap.holds[2], &mut still);
        heap.assert_slots_conserved();
    }
}

// ---------------------------------------------------------------------------------------- the hint

/// A ring after `taken` lines were taken, with `unread` lines in it; its writer, reader and next
/// position.
fn half_read(heap: &Heap, taken: u64, unread: u64) -> (Writer<'_>, Reader<'_>, u64) {
    let (mut writer, mut reader) = (heap.writer(1), heap.reader());
    for line in 0..taken {
        writer.write_at(heap.start.wrapping_add(line));
        assert_eq!(reader.next(false), Some((1, line)));
    }
    for line in taken..taken + unread {
        writer.write_at(heap.start.wrapping_add(line));
    }
    (writer, reader, heap.start.wrapping_add(taken + unread))
}

/// With the hint at `hint`, the next line goes where it belongs, or is refused only if there is no
/// room.
fn assert_the_hint_does_no_harm(heap: &Heap, taken: u64, unread: u64, hint: impl Fn(u64) -> u64) {
    let (mut writer, mut reader, next) = half_read(heap, taken, unread);
    let hint = hint(next);
    heap.next_position.store(hint, Relaxed);
    let full = unread == heap.positions();
    if full {
        assert_eq!(writer.write(false), Err(Refused::Full(next)), "hint {hint:#x}");
        heap.next_position.store(hint, Relaxed);
        assert_eq!(writer.write(true), Ok(next), "hint {hint:#x}");
    } else {
        assert_eq!(writer.write(false), Ok(next), "hint {hint:#x}");
    }
    assert_eq!(heap.next_position.load(Relaxed), next.wrapping_add(1), "the hint is right again");
    for line in taken + u64::from(full)..=taken + unread {
        assert!(!heap.ring().is_hole(reader.position));
        assert_eq!(reader.next(full), Some((1, line)));
    }
    assert_eq!(reader.peek(), ReadOutcome::Empty);
    heap.assert_slots_conserved();
}

#[test]
fn a_hint_that_lags_or_leads_by_positions_or_laps_makes_no_hole_and_no_false_refusal() {
    for order_bits in 1..=3 {
        let n = 1 << order_bits;
        for start in starts(order_bits) {
            for taken in [0, 1, n, 2 * n + 1] {
                for unread in 0..=n {
                    for off in -(4 * n as i64)..=4 * n as i64 {
                        let heap = Heap::new(order_bits, 5, 2, start);
                        let hint = |next: u64| next.wrapping_add(off as u64);
                        assert_the_hint_does_no_harm(&heap, taken, unread, hint);
                    }
                }
            }
        }
    }
}

#[test]
fn a_hint_that_leads_into_free_entries_is_walked_back_to_the_first_of_them() {
    let heap = Heap::new(4, 5, 2, LAPS * 16 - 3);
    let (mut writer, _reader, next) = half_read(&heap, 0, 2);
    heap.next_position.store(next.wrapping_add(9), Relaxed);
    assert_eq!(writer.write(false), Ok(next));
}

proptest! {
    #[test]
    fn a_hint_that_is_off_by_up_to_billions_of_laps_does_no_harm(
        order_bits in 1_u32..=4,
        from in 0_usize..9,
        taken in 0_u64..40,
        unread in 0_u64..=16,
        laps in -(1_i64 << 38) + 8..(1 << 38) - 8,
        more in 0_u64..16,
    ) {
        let heap = Heap::new(order_bits, 5, 2, starts(order_bits)[from]);
        let hint = |next: u64| heap.shape.after_laps(next, laps).wrapping_add(more);
        assert_the_hint_does_no_harm(&heap, taken, unread.min(heap.positions()), hint);
    }
}

// --------------------------------------------------------------------------- against a plain queue

#[derive(Clone, Debug)]
enum Step {
    Write { cell: usize, overwrite: bool },
    Take,
    MoveHint(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..4, any::<bool>()).prop_map(|(cell, overwrite)| Step::Write { cell, overwrite }),
        4 => Just(Step::Take),
        1 => (-40_i64..40).prop_map(Step::MoveHint),
    ]
}

proptest! {
    #[test]
    fn the_ring_does_what_a_bounded_queue_does(
        order_bits in 1_u32..=3,
        from in 0_usize..9,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let heap = Heap::new(order_bits, 6, 4, starts(order_bits)[from]);
        let mut writers: Vec<_> = (1..4).map(|cell| heap.writer(cell)).collect();
        let mut reader = heap.reader();
        let mut queue = VecDeque::new();
        let mut next = heap.start;
        for step in steps {
            match step {
                Step::Write { cell, overwrite } => {
                    let writer = &mut writers[cell - 1];
                    let line = writer.line;
                    let full = queue.len() as u64 == heap.positions();
                    if full && !overwrite {
                        prop_assert_eq!(writer.write(false), Err(Refused::Full(next)));
                        continue;
                    }
                    if full {
                        queue.pop_front();
                    }
                    queue.push_back((cell, line));
                    prop_assert_eq!(writer.write(overwrite), Ok(next));
                    next = next.wrapping_add(1);
                }
                Step::Take => prop_assert_eq!(reader.next(true), queue.pop_front()),
                Step::MoveHint(off) => heap.next_position.store(next.wrapping_add(off as u64), Relaxed),
            }
            prop_assert!(!heap.ring().is_hole(reader.position));
            heap.assert_slots_conserved();
        }
        while let Some(line) = queue.pop_front() {
            prop_assert_eq!(reader.next(true), Some(line));
        }
        prop_assert_eq!(reader.peek(), ReadOutcome::Empty);
        prop_assert_eq!(reader.position, next);
    }
}

// --------------------------------------------------------------------------------------- the bytes

proptest! {
    #[test]
    fn bytes_come_back_in_whatever_pieces_they_were_put_in(
        words in 1_usize..12,
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..12),
        stale in any::<u64>(),
    ) {
        let heap = Heap::new(1, SLOT_HEADER_WORDS + words, 2, LAPS * 2 - 1);
        heap.slots.iter().for_each(|word| word.store(stale, Relaxed));
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        let mut whole = Vec::new();
        for piece in pieces {
            let piece = &piece[..piece.len().min(heap.shape.payload() - whole.len())];
            heap.ring().fill(&writer.spare, whole.len(), piece);
            whole.extend_from_slice(piece);
        }
        let header = SlotHeader { length: whole.len() as u16, line: 77, ..SlotHeader::default() };
        heap.ring().write_header(&writer.spare, &header);
        let published = heap.ring().publish(&heap.holds[1], &mut writer.spare, RingMode::Lossless, || ());
        prop_assert_eq!(published, Ok(heap.start));
        let header = SlotHeader { position: heap.start, ..header };
        prop_assert_eq!(reader.peek(), ReadOutcome::Part(header));
        prop_assert_eq!(&reader.payload[..whole.len()], &whole[..]);

        let mut bytes = vec![0; whole.len()];
        let slot = heap.entry(heap.start).slot();
        prop_assert_eq!(peek_payload(&heap.ring(), slot, &mut bytes), Some(header));
        prop_assert_eq!(bytes, whole);
    }

    #[test]
    fn writing_bytes_keeps_those_before_zeroes_the_rest_of_the_last_word_and_touches_no_other(
        before in proptest::collection::vec(any::<u64>(), 1..10),
        at in 0_usize..80,
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let room = before.len() * 8;
        let at = at.min(room);
        let bytes = &bytes[..bytes.len().min(room - at)];
        let words: Vec<_> = before.iter().map(|&word| AtomicU64::new(word)).collect();
        let mut expected: Vec<u8> = before.iter().flat_map(|word| word.to_ne_bytes()).collect();
        if !bytes.is_empty() {
            let end = at + bytes.len();
            expected[at..end].copy_from_slice(bytes);
            expected[end..end.next_multiple_of(8)].fill(0);
        }
        store_bytes(&words, at, bytes);
        let found: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        prop_assert_eq!(&found, &expected);

        let mut read = vec![0xaa; at];
        load_bytes(&words, &mut read);
        prop_assert_eq!(&read[..], &expected[..at]);
    }
}

#[test]
fn every_length_at_every_offset_comes_back() {
    let heap = Heap::new(1, SLOT_HEADER_WORDS + 4, 1, 0);
    let spare = heap.spare(0);
    let bytes: Vec<u8> = (1..=32).collect();
    for at in 0..=32 {
        for length in 0..=32 - at {
            heap.ring().fill(&spare, 0, &bytes[..at]);
            heap.ring().fill(&spare, at, &bytes[at..at + length]);
            let mut found = vec![0; at + length];
            peek_payload(&heap.ring(), spare.slot, &mut found);
            assert_eq!(found, bytes[..at + length], "{length} bytes at {at}");
        }
    }
}

#[test]
#[should_panic(expected = "out of ")]
fn bytes_that_do_not_fit_in_a_slot_panic_before_they_reach_the_next() {
    let heap = Heap::new(1, SLOT_HEADER_WORDS + 1, 2, 0);
    heap.ring().fill(&heap.spare(0), 1, &[1; 8]);
}

#[test]
fn the_order_of_an_unfinished_line_stands_where_its_position_will_be() {
    let heap = Heap::new(1, 5, 2, LAPS);
    let mut writer = heap.writer(1);
    let slot = writer.spare.slot;
    heap.ring().mark_begun(&writer.spare, 42);
    assert_eq!(peek_payload(&heap.ring(), slot, &mut []).map(|header| header.position), Some(42));
    writer.write_at(LAPS);
    assert_eq!(peek_payload(&heap.ring(), slot, &mut []).map(|header| header.position), Some(LAPS));
    assert_eq!(peek_payload(&heap.ring(), 4, &mut []), None, "there is no slot 4");
}

// ------------------------------------------------------------------------------------------ damage

#[test]
fn a_position_that_went_back_to_free_under_a_filled_one_is_a_hole_and_can_be_skipped() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        assert!(!heap.ring().is_hole(start), "nothing is written yet");
        writer.write_at(start);
        assert!(!heap.ring().is_hole(start), "written");
        assert!(!heap.ring().is_hole(start.wrapping_add(1)), "the next to be written");
        writer.write_at(start.wrapping_add(1));
        let slot = heap.entry(start).slot();
        heap.set_entry(start, OrderEntry::free(heap.shape.lap(start), slot));
        assert_eq!(reader.peek(), ReadOutcome::Empty);
        assert!(heap.ring().is_hole(start));

        heap.ring().skip(start, RingMode::Lossless);
        assert!(!heap.ring().is_hole(start), "skipped");
        assert_eq!(reader.peek(), ReadOutcome::Passed(1));
        heap.assert_slots_conserved();
        reader.position = start.wrapping_add(1);
        assert_eq!(reader.next(false), Some((1, 1)));
        for line in 2..10 {
            writer.write_at(start.wrapping_add(line));
            assert_eq!(reader.next(false), Some((1, line)));
        }
        heap.assert_slots_conserved();
    }
}

#[test]
fn a_skipped_line_keeps_its_slot_in_the_ring_and_is_not_delivered() {
    for start in starts(1) {
        let heap = Heap::new(1, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        writer.write_at(start);
        let slot = heap.entry(start).slot();
        heap.ring().skip(start, RingMode::Lossless);
        assert_eq!(
            heap.entry(start),
            OrderEntry::free(heap.shape.lap(start).wrapping_add(1), slot)
        );
        assert_eq!(reader.peek(), ReadOutcome::Passed(1));
        assert!(!reader.take(false));
        heap.assert_slots_conserved();
    }
}

#[test]
fn an_index_that_no_slot_has_is_damage_for_all_and_gone_after_a_skip() {
    let start = LAPS * 4 - 1;
    for full in [false, true] {
        for slot in [6, 0xff_ffff] {
            let heap = Heap::new(2, 6, 2, start);
            let (mut writer, mut reader) = (heap.writer(1), heap.reader());
            let lap = heap.shape.lap(start);
            heap.set_entry(
                start,
                if full { OrderEntry::full(lap, slot) } else { OrderEntry::free(lap, slot) },
            );
            assert_eq!(reader.peek(), ReadOutcome::Damaged);
            assert!(!reader.take(false) && !reader.take(true));
            prefetch(&heap.ring(), start);
            if !full {
                assert_eq!(writer.write(false), Err(Refused::Damaged));
            }
            assert!(heap.spare(1).slot == 5, "the writer keeps its spare");
            heap.ring().skip(start, RingMode::Lossless);
            assert!(heap.ring().has_slot(heap.entry(start).slot()));
            assert_eq!(reader.peek(), ReadOutcome::Passed(1));
            reader.position = reader.position.wrapping_add(1);
            writer.write_at(reader.position);
            assert_eq!(reader.next(false), Some((1, 0)));
        }
    }
}

#[test]
fn a_wrong_position_or_length_in_a_slot_is_damage_and_only_the_entry_is_needed_to_take_it() {
    for (word, value) in [(0, 12), (3, 17 << 24), (3, u64::MAX)] {
        let heap = Heap::new(2, 6, 2, 11);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        writer.write_at(11);
        let slot = heap.entry(11).slot();
        heap.ring().slot(slot).unwrap()[word].store(value, Relaxed);
        assert_eq!(reader.peek(), ReadOutcome::Damaged);
        assert!(reader.take(false));
        heap.assert_slots_conserved();
    }
}

#[test]
fn entries_that_send_a_writer_round_in_circles_are_found_to_be_damaged() {
    for start in starts(1) {
        let heap = Heap::new(1, 5, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        // Says: fill this one, but the one before it is not filled; and that one says: go on here.
        let before = start.wrapping_sub(1);
        heap.set_entry(before, OrderEntry::full(heap.shape.lap(before).wrapping_sub(2), 0));
        assert_eq!(writer.write(false), Err(Refused::Damaged));
        assert_eq!(writer.write(true), Err(Refused::Damaged));
        assert_eq!(Hold::unpack(heap.holds[1].load(Relaxed)).0, Hold::Held(3));
        assert_eq!(reader.peek(), ReadOutcome::Empty);
        heap.ring().skip(before, RingMode::Lossless);
        writer.write_at(start);
        assert_eq!(reader.next(false), Some((1, 0)));
    }
}

#[test]
fn the_oldest_line_is_found_by_the_hint_and_the_hint_is_believed_only_where_entries_bear_it_out() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let mut writer = heap.writer(1);
        (0..7).for_each(|_| assert!(writer.write(true).is_ok()));
        let oldest = start.wrapping_add(3);
        assert_eq!(heap.ring().oldest_after(start), oldest);
        assert_eq!(heap.ring().oldest_after(oldest), oldest);
        assert_eq!(
            heap.ring().oldest_after(oldest.wrapping_add(1)),
            oldest.wrapping_add(1),
            "it never goes back"
        );
        // The hint is one after that of the last line.
        let next = start.wrapping_add(7);
        for (off, expected) in [(-1_i64, 2), (-4, 0), (-20, 0), (1, 0), (3, 0), (4, 0), (400, 0)] {
            heap.next_position.store(next.wrapping_add(off as u64), Relaxed);
            let expected = start.wrapping_add(expected);
            assert_eq!(heap.ring().oldest_after(start), expected, "a hint that is {off} off");
        }
    }
}

#[test]
fn a_line_of_the_lap_before_that_was_not_taken_is_stale_and_no_damage() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        (0..4).for_each(|line| writer.write_at(start.wrapping_add(line)));
        // A reader that lands with a margin after an overrun leaves lines behind; an observer takes
        // none.
        reader.position = start.wrapping_add(4);
        assert_eq!(reader.peek(), ReadOutcome::Stale);
        assert!(
            !heap.ring().is_hole(reader.position) && !heap.ring().is_filled_at(reader.position)
        );
        assert_eq!(writer.write(true), Ok(reader.position));
        assert_eq!(reader.next(true), Some((1, 4)));
    }
}

#[test]
fn lines_are_delivered_after_any_word_was_in_the_hint() {
    for hint in [1 << 63, u64::MAX, LAPS << 2, (LAPS << 2) + 1] {
        let heap = Heap::new(2, 6, 2, 5);
        heap.next_position.store(hint, Relaxed);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        assert!(writer.write(false).is_ok());
        assert_eq!(reader.next(false), Some((1, 0)), "hint {hint:#x}");
    }
}

#[test]
fn a_skip_leaves_alone_what_overwrote_the_damaged_position() {
    let heap = Heap::new(1, 6, 2, LAPS * 2 - 1);
    let (mut writer, mut reader) = (heap.writer(1), heap.reader());
    (0..3).for_each(|_| assert!(writer.write(true).is_ok()));
    heap.ring().skip(heap.start, RingMode::Overwriting);
    assert_eq!(reader.next(true), Some((1, 1)));
    assert_eq!(reader.next(true), Some((1, 2)));
}

/// Words of an order ring: anything, or something close to what belongs there.
fn hostile_entry(shape: Shape, start: u64) -> impl Strategy<Value = u64> {
    let lap = shape.lap(start);
    prop_oneof![
        1 => any::<u64>(),
        4 => (-3_i64..4, any::<bool>(), 0_u32..16).prop_map(move |(laps, full, slot)| {
            let lap = lap.wrapping_add(laps as u64);
            if full { OrderEntry::full(lap, slot).0 } else { OrderEntry::free(lap, slot).0 }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_words_in_the_order_ring_or_the_slots_make_anybody_panic_or_hang(
        (order_bits, start, order) in (1_u32..=3, 0_usize..9).prop_flat_map(|(order_bits, from)| {
            let start = starts(order_bits)[from];
            let entry = hostile_entry(Shape { order_bits, slot_words: 6, check_bytes: 0 }, start);
            (Just(order_bits), Just(start), proptest::collection::vec(entry, 1 << order_bits))
        }),
        hint in prop_oneof![any::<u64>().boxed(), (-20_i64..20).prop_map(|off| off as u64).boxed()],
        slots in proptest::collection::vec(any::<u64>(), 66),
        looks in proptest::collection::vec((-20_i64..20, 0_u8..6), 0..30),
    ) {
        let heap = Heap::new(order_bits, 6, 3, start);
        heap.order.iter().zip(order).for_each(|(entry, word)| entry.store(word, Relaxed));
        heap.slots.iter().zip(slots).for_each(|(slot, word)| slot.store(word, Relaxed));
        heap.next_position.store(start.wrapping_add(hint), Relaxed);
        let ring = heap.ring();
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        for overwrite in [false, true, true] {
            let _ = writer.write(overwrite);
            prop_assert!(ring.has_slot(writer.spare.slot));
        }
        for (off, what) in looks {
            reader.position = start.wrapping_add(off as u64);
            let position = reader.position;
            match what {
                0 => { reader.peek(); }
                1 => { reader.take(off % 2 == 0); }
                2 => ring.skip(position, RingMode::Lossless),
                3 => { ring.is_hole(position); ring.is_full_at(position); }
                4 => prefetch(&ring, position),
                _ => { may_sleep_at(&ring, &AtomicU32::new(0), position); }
            }
        }
        prop_assert!(ring.has_slot(heap.spare(1).slot));
    }

    #[test]
    fn a_reader_that_skips_what_is_damaged_has_a_sound_ring_after_one_lap_of_any_words(
        (order_bits, start, order) in (1_u32..=3, 0_usize..9).prop_flat_map(|(order_bits, from)| {
            let start = starts(order_bits)[from];
            let entry = hostile_entry(Shape { order_bits, slot_words: 6, check_bytes: 0 }, start);
            (Just(order_bits), Just(start), proptest::collection::vec(entry, 1 << order_bits))
        }),
    ) {
        let heap = Heap::new(order_bits, 6, 2, start);
        heap.order.iter().zip(order).for_each(|(entry, word)| entry.store(word, Relaxed));
        let mut reader = heap.reader();
        // One lap of skipping makes every entry free in the lap after it, which is a sound ring.
        for _ in 0..heap.positions() {
            heap.ring().skip(reader.position, RingMode::Lossless);
            reader.position = reader.position.wrapping_add(1);
        }
        heap.next_position.store(start, Relaxed);
        let mut writer = heap.writer(1);
        for line in 0..heap.positions() {
            prop_assert_eq!(reader.peek(), ReadOutcome::Empty);
            prop_assert!(!heap.ring().is_hole(reader.position));
            prop_assert_eq!(writer.write(false), Ok(reader.position));
            // Two entries may have named one slot, so the line may be another's, but it is there.
            prop_assert_ne!(reader.peek(), ReadOutcome::Empty, "line {}", line);
            reader.position = reader.position.wrapping_add(1);
        }
    }
}

// ---------------------------------------------------------------------------------------- sleeping

#[test]
fn a_reader_may_sleep_only_where_nothing_stands_and_one_writer_is_told_to_wake_it() {
    for start in starts(1) {
        let heap = Heap::new(1, 5, 2, start);
        let sleeps = AtomicU32::new(0);
        let mut writer = heap.writer(1);
        assert!(!wakes(&sleeps), "no reader sleeps");
        assert!(may_sleep_at(&heap.ring(), &sleeps, start));
        writer.write_at(start);
        assert!(wakes(&sleeps));
        assert!(!wakes(&sleeps), "once");
        assert!(!may_sleep_at(&heap.ring(), &sleeps, start), "a line is there");
        assert!(!wakes(&sleeps), "the announcement was taken back");
        assert!(may_sleep_at(&heap.ring(), &sleeps, start.wrapping_add(1)));
    }
}

/// Whether a reader that has seen no event may sleep at `position`, in a ring in which there was
/// none.
fn may_sleep_at(ring: &Ring<'_>, sleeps: &AtomicU32, position: u64) -> bool {
    may_sleep(&Awaited { ring, position, events: &AtomicU64::new(0), seen_events: 0 }, sleeps)
}

#[test]
fn a_reader_does_not_sleep_beside_an_event_that_it_has_not_seen() {
    let heap = Heap::new(1, 5, 2, 0);
    let (ring, sleeps, events) = (heap.ring(), AtomicU32::new(0), AtomicU64::new(7));
    let awaited = |seen_events| Awaited { ring: &ring, position: 0, events: &events, seen_events };
    assert!(may_sleep(&awaited(7), &sleeps));
    count_event(&events);
    assert!(wakes(&sleeps));
    assert!(!may_sleep(&awaited(7), &sleeps));
    assert!(!wakes(&sleeps), "the announcement was taken back");
    assert!(may_sleep(&awaited(8), &sleeps));
}

/// Whether a writer that has published wakes the reader.
fn wakes(sleeps: &AtomicU32) -> bool {
    let woken = Cell::new(false);
    wake_sleeper(sleeps, || {
        woken.set(true);
        true
    });
    woken.get()
}

#[test]
fn one_that_stands_still_before_it_wakes_the_reader_keeps_no_other_from_it() {
    let heap = Heap::new(1, 5, 2, LAPS * 2 - 1);
    let sleeps = AtomicU32::new(0);
    assert!(may_sleep_at(&heap.ring(), &sleeps, heap.start));
    wake_sleeper(&sleeps, || {
        // Here.
        assert!(wakes(&sleeps));
        // The reader wakes, and sleeps again, before it goes on.
        assert!(may_sleep_at(&heap.ring(), &sleeps, heap.start));
        true
    });
    assert!(wakes(&sleeps), "that sleep was not for the late one to end");
}

#[test]
fn a_reader_does_not_sleep_at_a_position_that_was_overwritten() {
    let heap = Heap::new(1, 5, 2, LAPS * 2 - 1);
    let mut writer = heap.writer(1);
    (0..3).for_each(|_| assert!(writer.write(true).is_ok()));
    assert!(!may_sleep_at(&heap.ring(), &AtomicU32::new(0), heap.start));
}

// ----------------------------------------------------------------------------------------- threads

/// How often a refused writer or an idle reader tries again before it lets others run.
const SPINS: u32 = 50;

fn pause(tries: &mut u32) {
    *tries += 1;
    if tries.is_multiple_of(SPINS) {
        thread::yield_now();
    } else {
        core::hint::spin_loop();
    }
}

/// Writers and a reader at the same time, each writer `lines` lines; then nothing may be lost,
/// doubled, mixed or out of its writer's order, and each slot is in one place.
fn stress_lossless(order_bits: u32, writers: usize, lines: u64, start: u64) {
    let heap = Heap::new(order_bits, 10, writers + 1, start);
    thread::scope(|scope| {
        for cell in 1..=writers {
            let mut writer = heap.writer(cell);
            scope.spawn(move || {
                let mut tries = 0;
                let mut last = None;
                while writer.line < lines {
                    match writer.write(false) {
                        Ok(position) => {
                            let since = position.wrapping_sub(writer.heap.start);
                            assert!(last < Some(since), "a writer's positions rise");
                            last = Some(since);
                        }
                        Err(Refused::Full(_)) => pause(&mut tries),
                        Err(Refused::Damaged) => panic!("a sound ring is not damaged"),
                    }
                }
            });
        }
        let mut reader = heap.reader();
        let mut delivered = vec![0; writers + 1];
        let mut tries = 0;
        for _ in 0..lines * writers as u64 {
            let (cell, line) = loop {
                match reader.next(false) {
                    Some(found) => break found,
                    None => {
                        assert!(
                            !heap.ring().is_hole(reader.position),
                            "a hole at {:#x}",
                            reader.position
                        );
                        pause(&mut tries);
                    }
                }
            };
            assert_eq!(line, delivered[cell], "the next line of writer {cell}");
            delivered[cell] += 1;
        }
        assert_eq!(reader.next(false), None);
        assert_eq!(reader.position, start.wrapping_add(lines * writers as u64));
    });
    heap.assert_slots_conserved();
}

#[test]
fn two_writers_lose_nothing_in_a_ring_of_two() {
    stress_lossless(1, 2, 50_000, LAPS * 2 - 1001);
}

#[test]
fn three_writers_lose_nothing_in_a_ring_of_four() {
    stress_lossless(2, 3, 40_000, LAPS * 4 - 1001);
}

#[test]
fn four_writers_lose_nothing_in_a_ring_of_sixteen() {
    stress_lossless(4, 4, 50_000, u64::MAX - 1001);
}

/// Writers that overwrite, a reader, and an observer that takes nothing. What the reader gets is
/// whole and in order; each position was delivered or overwritten; what the observer sees is whole.
fn stress_overwriting(order_bits: u32, writers: usize, lines: u64, start: u64) {
    let heap = Heap::new(order_bits, 10, writers + 1, start);
    let running = AtomicUsize::new(writers);
    let drained = AtomicBool::new(false);
    thread::scope(|scope| {
        for cell in 1..=writers {
            let mut writer = heap.writer(cell);
            let running = &running;
            scope.spawn(move || {
                while writer.line < lines {
                    assert!(writer.write(true).is_ok(), "an overwriting writer is never refused");
                }
                running.fetch_sub(1, Release);
            });
        }
        scope.spawn(|| {
            let mut payload = vec![0; heap.shape.payload()];
            let mut back = 0;
            while !drained.load(Acquire) {
                back = (back + 1) % (heap.positions() + 2);
                // Before the hint, so filled (I5).
                let position = heap.next_position.load(Relaxed).wrapping_sub(1 + back);
                if position.wrapping_sub(start) > lines * writers as u64 {
                    continue;
                }
                match peek(heap.ring(), position, &mut payload) {
                    ReadOutcome::Part(header) => assert_whole(heap.shape, &header, &payload),
                    ReadOutcome::Passed(_) => {}
                    seen => panic!("{seen:?} at {position:#x}"),
                }
                thread::yield_now();
            }
        });
        let mut reader = heap.reader();
        let mut last = BTreeMap::new();
        let mut delivered = 0;
        let mut tries = 0;
        loop {
            let over = running.load(Acquire) == 0;
            match reader.next(true) {
                Some((cell, line)) => {
                    assert!(
                        last.insert(cell, line) < Some(line),
                        "the lines of writer {cell} are in order"
                    );
                    delivered += 1;
                }
                None if over => break,
                None => pause(&mut tries),
            }
        }
        drained.store(true, Release);
        let all = lines * writers as u64;
        assert_eq!(reader.position, start.wrapping_add(all), "no position is left over");
        assert_eq!(delivered + reader.passed, all, "each position was delivered or overwritten");
        assert!(delivered > 0);
    });
    heap.assert_slots_conserved();
}

#[test]
fn two_overwriting_writers_give_whole_lines_in_order_in_a_ring_of_two() {
    stress_overwriting(1, 2, 60_000, LAPS * 2 - 1001);
}

#[test]
fn three_overwriting_writers_give_whole_lines_in_order_in_a_ring_of_eight() {
    stress_overwriting(3, 3, 50_000, u64::MAX - 1001);
}

#[test]
fn four_overwriting_writers_give_whole_lines_in_order_in_a_ring_of_sixteen() {
    stress_overwriting(4, 4, 50_000, LAPS * 16 - 1001);
}
