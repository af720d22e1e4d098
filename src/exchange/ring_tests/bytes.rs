//! The bytes of a slot: what was put in comes out, and no other byte is touched.

use proptest::prelude::*;

use super::*;
use crate::exchange::copy::{load_bytes, store_bytes};

proptest! {
    #[test]
    fn bytes_come_back_in_whatever_pieces_they_were_put_in(
        words in 1_usize..12,
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..12),
        stale in any::<u64>(),
    ) {
        let heap = Heap::new(1, SLOT_HEADER_WORDS + words, 2, Position(LAPS * 2 - 1));
        heap.slots.iter().for_each(|word| word.store(stale, Relaxed));
        let (mut writer, mut reader) = (heap.writer(1), heap.reader());
        let mut whole = Vec::new();
        for piece in pieces {
            let piece = &piece[..piece.len().min(heap.shape.payload() - whole.len())];
            heap.ring().fill(&writer.spare, whole.len(), piece);
            whole.extend_from_slice(piece);
        }
        let (length, line) = (whole.len() as u16, LineNumber::new(77));
        let header = SlotHeader { length, line, ..SlotHeader::default() };
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
    let heap = Heap::new(1, SLOT_HEADER_WORDS + 4, 1, Position(0));
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
    let heap = Heap::new(1, SLOT_HEADER_WORDS + 1, 2, Position(0));
    heap.ring().fill(&heap.spare(0), 1, &[1; 8]);
}

#[test]
fn the_order_of_an_unfinished_line_stands_where_its_position_will_be() {
    let heap = Heap::new(1, 5, 2, Position(LAPS));
    let mut writer = heap.writer(1);
    let slot = writer.spare.slot;
    heap.ring().mark_begun(&writer.spare, 42);
    assert_eq!(
        peek_payload(&heap.ring(), slot, &mut []).map(|header| header.position),
        Some(Position(42))
    );
    writer.write_at(Position(LAPS));
    assert_eq!(
        peek_payload(&heap.ring(), slot, &mut []).map(|header| header.position),
        Some(Position(LAPS))
    );
    assert_eq!(peek_payload(&heap.ring(), 4, &mut []), None, "there is no slot 4");
}
