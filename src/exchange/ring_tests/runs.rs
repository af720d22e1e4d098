//! Many positions in one go, as the reader's decode loop copies them.

use super::*;

/// Slots of six words: a header and 16 bytes.
const WORDS: usize = 6;

/// A ring of eight entries with a line at each of the first `lines` positions.
fn filled(lines: u64, start: Position) -> Heap {
    let heap = Heap::new(3, WORDS, 2, start);
    let mut writer = heap.writer(1);
    (0..lines).for_each(|line| writer.write_at(start.plus(line)));
    heap
}

/// How many of `most` positions are copied, with room for ten slots and every one kept, and the
/// lines' numbers.
fn copied(heap: &Heap, position: Position, most: usize) -> (usize, Vec<u64>) {
    let (mut images, mut seen) = (vec![0; 10 * WORDS], Vec::new());
    let kept = heap.ring().copy_run::<false>(position, &mut images, most, |place, head, image| {
        assert_eq!(place, position.plus(seen.len() as u64));
        let header = SlotHeader::unpack(*head);
        let payload = &image[SLOT_HEADER_WORDS..];
        assert_whole(heap.shape, &header, bytemuck::cast_slice(payload));
        seen.push(header.line.get());
        true
    });
    assert_eq!(kept, seen.len());
    (kept, seen)
}

#[test]
fn a_run_ends_before_what_is_not_filled_and_with_its_lap() {
    for start in starts(3) {
        let heap = filled(5, start);
        let to_lap = 8 - heap.shape.index(start) as u64;
        let first = to_lap.min(5) as usize;
        assert_eq!(copied(&heap, start, 8), (first, (0..first as u64).collect()));
        assert_eq!(copied(&heap, start.plus(5), 8), (0, vec![]), "nothing is there yet");
        assert_eq!(copied(&heap, start, 0), (0, vec![]));
        assert_eq!(copied(&heap, start, 1).0, 1);
    }
}

#[test]
fn a_run_ends_where_there_is_no_room_and_where_a_line_is_not_kept() {
    let heap = filled(5, Position(8));
    let mut images = vec![0; 3 * WORDS + WORDS - 1];
    let kept = |images: &mut [u64], most| {
        let mut left = most;
        heap.ring().copy_run::<false>(Position(8), images, 8, |_, _, _| {
            left -= 1;
            left >= 0
        })
    };
    assert_eq!(kept(&mut images, 100), 3, "there is room for three");
    assert_eq!(kept(&mut images, 2), 2, "two are kept");
    assert_eq!(kept(&mut [], 100), 0);
}

#[test]
fn a_run_ends_before_words_that_no_writer_leaves() {
    let start = Position(8);
    let lap = |heap: &Heap| heap.shape.lap(start);
    let entries: [fn(&Heap, u64) -> OrderEntry; 4] = [
        // Of another lap, of no slot, not filled.
        |_, lap| OrderEntry::full(lap.wrapping_sub(1), 2),
        |_, lap| OrderEntry::full(lap + 1, 2),
        |heap, lap| OrderEntry::full(lap, heap.slots.len() as u32 / WORDS as u32),
        |_, lap| OrderEntry::free(lap, 2),
    ];
    for entry in entries {
        let heap = filled(5, start);
        heap.set_entry(start.plus(2), entry(&heap, lap(&heap)));
        assert_eq!(copied(&heap, start, 8), (2, vec![0, 1]));
    }
    // A slot of another position, and one that is longer than a slot.
    for (word, value) in [(0, 11), (3, (2 * WORDS as u64 * 8) << 24)] {
        let heap = filled(5, start);
        let slot = heap.entry(start.plus(2)).slot();
        heap.ring().slot(slot).expect("it has it")[word].store(value, Relaxed);
        assert_eq!(copied(&heap, start, 8), (2, vec![0, 1]), "word {word}");
    }
}

/// What is beyond a lap's bits comes from the hint: one store into that must not send each line the
/// long way for ever.
#[test]
fn the_bits_of_a_position_that_an_entry_does_not_have_end_no_run() {
    let start = Position(8);
    let heap = filled(5, start);
    for position in [10, 12] {
        let slot = heap.entry(Position(position)).slot();
        let far = heap.shape.after_laps(Position(position), LAPS as i64);
        heap.ring().slot(slot).expect("it has it")[0].store(far.0, Relaxed);
    }
    assert_eq!(copied(&heap, start, 8), (5, vec![0, 1, 2, 3, 4]));
}

#[test]
fn a_run_is_taken_to_the_end_of_its_lap_and_what_is_overwritten_is_left() {
    for start in starts(3) {
        let heap = filled(5, start);
        let ring = heap.ring();
        let to_lap = 8 - heap.shape.index(start) as u64;
        let taken = ring.take_run(start, 5, RingMode::Lossless);
        assert_eq!(taken, to_lap.min(5));
        assert_eq!(ring.take_run(start.plus(taken), 5 - taken, RingMode::Lossless), 5 - taken);
        for line in 0..5 {
            assert_eq!(ring.peek(start.plus(line), &mut [0; WORDS]), ReadOutcome::Passed(1));
        }
        heap.assert_slots_conserved();
    }
}
