//! Tables of the plans: each row, in every lap.

use super::*;

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
                        SlotState::Elsewhere(shape.after_laps(position, laps).plus(more))
                    }
                };
                let found = slot_state(shape, entry, position);
                assert_eq!(found, expected, "{laps} laps, full: {full}, at {position:?}");
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
