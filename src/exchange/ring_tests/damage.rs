//! Damaged and hostile words: found, skipped, and no cause of a panic or an endless loop.

use proptest::prelude::*;

use super::sleeping::may_sleep_at;
use super::*;
use crate::layout::sync::AtomicU32;

#[test]
fn a_position_that_went_back_to_free_under_a_filled_one_is_a_hole_and_can_be_skipped() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        assert!(!heap.ring().is_hole(start), "nothing is written yet");
        writer.write_at(start);
        assert!(!heap.ring().is_hole(start), "written");
        assert!(!heap.ring().is_hole(start.next()), "the next to be written");
        writer.write_at(start.next());
        let slot = heap.entry(start).slot();
        heap.set_entry(start, OrderEntry::free(heap.shape.lap(start), slot));
        assert_eq!(reader.peek(), ReadOutcome::Empty);
        assert!(heap.ring().is_hole(start));

        heap.ring().skip(start, RingMode::Lossless);
        assert!(!heap.ring().is_hole(start), "skipped");
        assert_eq!(reader.peek(), ReadOutcome::Passed(1));
        heap.assert_slots_conserved();
        reader.position = start.next();
        assert_eq!(reader.next(false), Some((1, 1)));
        for line in 2..10 {
            writer.write_at(start.plus(line));
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
    let start = Position(LAPS * 4 - 1);
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
            reader.position = reader.position.next();
            writer.write_at(reader.position);
            assert_eq!(reader.next(false), Some((1, 0)));
        }
    }
}

#[test]
fn a_wrong_position_or_length_in_a_slot_is_damage_and_only_the_entry_is_needed_to_take_it() {
    for (word, value) in [(0, 12), (3, 17 << 24), (3, u64::MAX)] {
        let heap = Heap::new(2, 6, 2, Position(11));
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        writer.write_at(Position(11));
        let slot = heap.entry(Position(11)).slot();
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
        let before = start.previous();
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
        let oldest = start.plus(3);
        assert_eq!(heap.ring().oldest_after(start), oldest);
        assert_eq!(heap.ring().oldest_after(oldest), oldest);
        assert_eq!(heap.ring().oldest_after(oldest.next()), oldest.next(), "it never goes back");
        // The hint is one after that of the last line.
        let next = start.plus(7);
        for (off, expected) in [(-1_i64, 2), (-4, 0), (-20, 0), (1, 0), (3, 0), (4, 0), (400, 0)] {
            heap.next_position.store(next.plus(off as u64).0, Relaxed);
            let expected = start.plus(expected);
            assert_eq!(heap.ring().oldest_after(start), expected, "a hint that is {off} off");
        }
    }
}

#[test]
fn a_line_of_the_lap_before_that_was_not_taken_is_stale_and_no_damage() {
    for start in starts(2) {
        let heap = Heap::new(2, 6, 2, start);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        (0..4).for_each(|line| writer.write_at(start.plus(line)));
        // A reader that lands with a margin after an overrun leaves lines behind; an observer takes
        // none.
        reader.position = start.plus(4);
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
        let heap = Heap::new(2, 6, 2, Position(5));
        heap.next_position.store(hint, Relaxed);
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        assert!(writer.write(false).is_ok());
        assert_eq!(reader.next(false), Some((1, 0)), "hint {hint:#x}");
    }
}

#[test]
fn a_skip_leaves_alone_what_overwrote_the_damaged_position() {
    let heap = Heap::new(1, 6, 2, Position(LAPS * 2 - 1));
    let (mut writer, mut reader) = (heap.writer(1), heap.reader());
    (0..3).for_each(|_| assert!(writer.write(true).is_ok()));
    heap.ring().skip(heap.start, RingMode::Overwriting);
    assert_eq!(reader.next(true), Some((1, 1)));
    assert_eq!(reader.next(true), Some((1, 2)));
}

/// Words of an order ring: anything, or something close to what belongs there.
fn hostile_entry(shape: Shape, start: Position) -> impl Strategy<Value = u64> {
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
        heap.next_position.store(start.plus(hint).0, Relaxed);
        let ring = heap.ring();
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        for overwrite in [false, true, true] {
            let _ = writer.write(overwrite);
            prop_assert!(ring.has_slot(writer.spare.slot));
        }
        for (off, what) in looks {
            reader.position = start.plus(off as u64);
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
            reader.position = reader.position.next();
        }
        heap.next_position.store(start.0, Relaxed);
        let mut writer = heap.writer(1);
        for line in 0..heap.positions() {
            prop_assert_eq!(reader.peek(), ReadOutcome::Empty);
            prop_assert!(!heap.ring().is_hole(reader.position));
            prop_assert_eq!(writer.write(false), Ok(reader.position));
            // Two entries may have named one slot, so the line may be another's, but it is there.
            prop_assert_ne!(reader.peek(), ReadOutcome::Empty, "line {}", line);
            reader.position = reader.position.next();
        }
    }
}
