//! One thread over many laps and across their overflow: order, fullness, and where each slot
//! is.

use super::*;
use crate::layout::CHANGES_SHIFT;

#[test]
fn lines_come_in_order_over_many_laps_and_across_their_overflow() {
    for order_bits in 1..=4 {
        for start in starts(order_bits) {
            for unread in 0..1 << order_bits {
                let heap = Heap::new(order_bits, 6, 2, start);
                let (mut writer, mut reader) = (heap.writer(1), heap.reader());
                for line in 0..7 * heap.positions() {
                    writer.write_at(start.plus(line));
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
                let position = start.plus(ahead);
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
            writer.write_at(start.plus(line));
        }
        let next = start.plus(4);
        let hold = heap.holds[1].load(Relaxed);
        for _ in 0..3 {
            assert_eq!(writer.write(false), Err(Refused::Full(next)));
            assert!(heap.ring().is_full_at(next));
            assert_eq!(heap.holds[1].load(Relaxed), hold, "a refusal does not move the hold word");
        }
        assert_eq!(reader.next(false), Some((1, 0)));
        assert!(!heap.ring().is_full_at(next));
        writer.write_at(next);
        assert_eq!(writer.write(false), Err(Refused::Full(next.next())));
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
            writer.write_at(start.plus(line));
        }
        for line in 4..21 {
            let oldest = start.plus(line - 4);
            let slot = heap.entry(oldest).slot();
            assert_eq!(writer.write(true), Ok(oldest.plus(4)));
            assert_eq!(writer.spare.slot, slot);
            let mut reader = heap.reader();
            reader.position = oldest;
            assert_eq!(reader.peek(), ReadOutcome::Passed(1));
            assert!(!reader.take(true), "an overwritten line is not taken");
            for kept in 1..=4 {
                reader.position = oldest.plus(kept);
                let ReadOutcome::Part(header) = reader.peek() else {
                    panic!("{:?}", reader.peek())
                };
                assert_eq!(header.line.get(), line - 4 + kept);
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
            assert_eq!(writer.write(true), Ok(start.plus(line)));
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
        let heap = Heap::new(2, 6, 2, Position(LAPS * 4 - 1));
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
    let heap = Heap::new(1, 5, 2, Position(LAPS * 2 - 1));
    let (mut writer, mut reader) = (heap.writer(1), heap.reader());
    for line in 0..40_000_u64 {
        writer.write_at(heap.start.plus(line));
        assert_eq!(reader.next(false), Some((1, line)));
        let changes = 2 * (line + 1) % (1 << 15);
        let held = (Hold::Held(writer.spare.slot), changes);
        assert_eq!(Hold::unpack(heap.holds[1].load(Relaxed)), held, "intent, then held");
    }
}

#[test]
fn a_hold_word_that_is_undecided_or_of_no_slot_names_no_spare() {
    let heap = Heap::new(2, 5, 3, Position(0));
    let ring = heap.ring();
    assert!(ring.spare_of(Hold::Intent(1, 2).pack(3)).is_none());
    let spare = ring.spare_of(Hold::Held(5).pack(9)).unwrap();
    assert_eq!((spare.slot, spare.start, spare.changes), (5, 25, 9 << CHANGES_SHIFT));
    let slots = (ring.slots.len() / 5) as u32;
    assert!(ring.spare_of(Hold::Held(slots - 1).pack(0)).is_some());
    for none in [slots, slots + 1, (1 << 24) - 1] {
        assert!(ring.spare_of(Hold::Held(none).pack(0)).is_none());
    }
}

/// The ABA: what the writer saw is there again, but for the lap. With laps of two bits the word
/// would be the same.
#[test]
fn a_writer_that_stood_still_for_laps_does_not_take_a_later_place_for_its_own() {
    for overwrite in [false, true] {
        let heap = Heap::new(1, 5, 3, Position(LAPS * 2 - 5));
        let (mut others, mut reader) = (heap.writer(1), heap.reader());
        let (ring, start) = (heap.ring(), heap.start);
        let Plan::Exchange(seen) = ring.plan(start, mode(overwrite), None) else {
            panic!("the ring is empty")
        };
        let mut still = heap.spare(2);
        let mut met = 0;
        for line in 0..64_u64 {
            others.write_at(start.plus(line));
            assert_eq!(reader.next(overwrite), Some((1, line)));
            let now = heap.entry(start);
            met += u32::from((now.slot(), now.is_full()) == (seen.slot(), seen.is_full()));
            let exchanged = {
                let place = ring.place(start, seen);
                ring.exchange::<false>(&heap.holds[2], &mut still, &place, || ())
            };
            assert!(!exchanged, "into {now:?}, which was {seen:?}");
        }
        assert!(met >= 8, "the slot came back {met} times");
        ring.hold_spare(&heap.holds[2], &mut still);
        heap.assert_slots_conserved();
    }
}
