//! A wrong hint of the next position does no harm.

use proptest::prelude::*;

use super::*;

/// A ring after `taken` lines were taken, with `unread` lines in it; its writer, reader and next
/// position.
fn half_read(heap: &Heap, taken: u64, unread: u64) -> (Writer<'_>, Reader<'_>, Position) {
    let (mut writer, mut reader) = (heap.writer(1), heap.reader());
    for line in 0..taken {
        writer.write_at(heap.start.plus(line));
        assert_eq!(reader.next(false), Some((1, line)));
    }
    for line in taken..taken + unread {
        writer.write_at(heap.start.plus(line));
    }
    (writer, reader, heap.start.plus(taken + unread))
}

/// With the hint at `hint`, the next line goes where it belongs, or is refused only if there is no
/// room.
fn assert_the_hint_does_no_harm(
    heap: &Heap,
    taken: u64,
    unread: u64,
    hint: impl Fn(Position) -> Position,
) {
    let (mut writer, mut reader, next) = half_read(heap, taken, unread);
    let hint = hint(next);
    heap.next_position.store(hint.0, Relaxed);
    let full = unread == heap.positions();
    if full {
        assert_eq!(writer.write(false), Err(Refused::Full(next)), "hint {hint:?}");
        heap.next_position.store(hint.0, Relaxed);
        assert_eq!(writer.write(true), Ok(next), "hint {hint:?}");
    } else {
        assert_eq!(writer.write(false), Ok(next), "hint {hint:?}");
    }
    assert_eq!(heap.ring().hint(), next.next(), "the hint is right again");
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
                        let hint = |next: Position| next.plus(off as u64);
                        assert_the_hint_does_no_harm(&heap, taken, unread, hint);
                    }
                }
            }
        }
    }
}

#[test]
fn a_hint_that_leads_into_free_entries_is_walked_back_to_the_first_of_them() {
    let heap = Heap::new(4, 5, 2, Position(LAPS * 16 - 3));
    let (mut writer, _reader, next) = half_read(&heap, 0, 2);
    heap.next_position.store(next.plus(9).0, Relaxed);
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
        let hint = |next: Position| heap.shape.after_laps(next, laps).plus(more);
        assert_the_hint_does_no_harm(&heap, taken, unread.min(heap.positions()), hint);
    }
}
