//! Laps and positions: their differences, and their overflow together.

use proptest::prelude::*;

use super::*;

#[test]
fn a_lap_after_the_last_is_one_lap_on() {
    assert_eq!(OrderEntry::free(0, 0).laps_since(LAP_MASK), 1);
    assert_eq!(OrderEntry::free(LAP_MASK, 0).laps_since(0), -1);
    assert_eq!(OrderEntry::full(5, 7).laps_since(5), 0);
    let half = 1_u64 << (LAP_BITS - 1);
    assert_eq!(OrderEntry::free(half - 1, 0).laps_since(0), half as i64 - 1);
    assert_eq!(OrderEntry::free(half, 0).laps_since(0), -(half as i64));
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1..SLOT_INDEX_BITS, 8..8192_usize, any::<bool>()).prop_map(
        |(order_bits, slot_words, checks)| Shape {
            order_bits,
            slot_words,
            check_bytes: 8 * usize::from(checks),
        },
    )
}

proptest! {
    #[test]
    fn lap_differences_are_signed_and_modular(
        lap in 0..=LAP_MASK,
        laps in -(1_i64 << (LAP_BITS - 1))..1 << (LAP_BITS - 1),
        slot in 0..=ALL_SLOT_BITS,
    ) {
        let later = lap.wrapping_add(laps as u64);
        prop_assert_eq!(OrderEntry::free(later, slot).laps_since(lap), laps);
        prop_assert_eq!(OrderEntry::full(later, slot).laps_since(lap), laps);
    }

    #[test]
    fn laps_and_positions_overflow_together(shape in shapes(), position: u64, near in -2000..2000_i64, laps in -9..9_i64) {
        for position in [position, (near as u64) << shape.order_bits, near as u64].map(Position) {
            let later = shape.after_laps(position, laps);
            prop_assert_eq!(shape.index(later), shape.index(position));
            prop_assert_eq!(OrderEntry::full(shape.lap(later), 0).laps_since(shape.lap(position)), laps);
            let next = position.next();
            let wraps = shape.index(next) == 0;
            prop_assert_eq!(shape.index(next), if wraps { 0 } else { shape.index(position) + 1 });
            let laps_on = OrderEntry::free(shape.lap(next), 0).laps_since(shape.lap(position));
            prop_assert_eq!(laps_on, i64::from(wraps));
        }
    }

    #[test]
    fn a_new_ring_is_free_from_its_start_and_consumed_before(order_bits in 1..9_u32, start: u64, back in 0..600_u64) {
        let shape = Shape { order_bits, slot_words: 8, check_bytes: 0 };
        for start in [start, 0_u64.wrapping_sub(back), back].map(Position) {
            for ahead in 0..shape.positions() {
                let position = start.plus(ahead);
                let entry = shape.first_entry(start, shape.index(position));
                prop_assert_eq!(entry, OrderEntry::free(shape.lap(position), shape.index(position) as u32));
                let before = position.minus(shape.positions());
                prop_assert_eq!(entry.laps_since(shape.lap(before)), 1, "the position a lap before was consumed");
            }
        }
    }
}

#[test]
fn a_ring_that_starts_just_below_overflow_crosses_it() {
    let shape = Shape { order_bits: 2, slot_words: 8, check_bytes: 0 };
    let start = Position(0).minus(3); // the second entry of the last lap
    let last = shape.lap(start);
    assert_eq!(last, LAP_MASK);
    let entries: Vec<_> = (0..4).map(|index| shape.first_entry(start, index)).collect();
    let expected = [
        OrderEntry::free(0, 0),
        OrderEntry::free(last, 1),
        OrderEntry::free(last, 2),
        OrderEntry::free(last, 3),
    ];
    assert_eq!(entries, expected, "position 0, the fourth, is a lap after the first three");
}
