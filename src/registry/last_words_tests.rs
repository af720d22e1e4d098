//! What is published for a writer that died, in a real segment.

use crate::exchange::settle::publish_last_words;
use crate::exchange::{ReadOutcome, checksum};
use crate::layout::sync::Ordering::Relaxed;
use crate::layout::{Hold, LineNumber, Pending, Position, RingMode, SlotHeader, flag};
use crate::segment::Segment;
use crate::segment::options::Options;

/// No writer leaves these words behind; a process that did must not speak for another.
#[test]
fn a_line_of_another_cell_or_of_another_number_is_nobodys_last_words() {
    for (header_cell, line, speaks) in [(1, 7, true), (2, 7, false), (1, 6, false)] {
        let segment = Segment::anonymous(&Options::new().lines(4).mirrors(2)).expect("a segment");
        let (ring, cells) = (segment.ring(), segment.cells());
        let spare = ring.spare_of(cells[1].writer.0.hold.load(Relaxed)).expect("it has a slot");
        ring.fill(&spare, 0, b"words");
        let header = SlotHeader {
            cell: header_cell,
            line: LineNumber::new(line),
            length: 5,
            flags: flag::FIRST,
            ..Default::default()
        };
        ring.write_header(&spare, &header);
        let pending = Pending { line: LineNumber::new(7), bytes: 5 };
        cells[1].set_pending(pending.line, 5);
        assert_eq!(cells[1].pending(), pending);
        assert_eq!(
            publish_last_words(ring, cells, 1, RingMode::Lossless),
            Ok(speaks),
            "{header:?}"
        );
    }
}

/// What a dead writer leaves: an unfinished line gets a checksum of what is there; a finished
/// one keeps its writer's, so that what was changed meanwhile stays damaged.
#[test]
fn last_words_agree_unless_a_finished_line_did_not() {
    for (finished, flipped, damaged) in
        [(true, None, false), (true, Some(1), true), (true, Some(5), true), (false, None, false)]
    {
        let segment = Segment::anonymous(&Options::new().lines(4).mirrors(2).checksums(true))
            .expect("a segment");
        let (ring, cells) = (segment.ring(), segment.cells());
        let mut spare = ring.spare_of(cells[1].writer.0.hold.load(Relaxed)).expect("it has a slot");
        let flags = if finished { flag::FIRST | flag::LAST } else { flag::FIRST };
        let header = SlotHeader {
            cell: 1,
            line: LineNumber::new(7),
            time: 99,
            length: 5,
            flags,
            ..Default::default()
        };
        ring.fill(&spare, 0, b"words");
        ring.write_header(&spare, &header);
        cells[1].set_pending(header.line, if finished { 0 } else { 5 });
        if finished {
            // It was about to be published, at a position that another writer got.
            ring.seal(&mut spare, &header, ring.sum(checksum::NONE, b"words"));
            ring.mark_kept(&spare, 123);
            let wanted = crate::layout::OrderEntry(ring.order[0].load(Relaxed)).slot();
            cells[1].writer.0.hold.store(Hold::Intent(spare.slot(), wanted).pack(1), Relaxed);
        }
        if let Some(word) = flipped {
            let word = &ring.slots[spare.slot() as usize * ring.shape.slot_words + word];
            word.store(word.load(Relaxed) ^ 1 << 20, Relaxed);
        }
        assert_eq!(publish_last_words(ring, cells, 1, RingMode::Lossless), Ok(true));
        let mut image = vec![0; ring.shape.slot_words];
        let seen = ring.peek(Position(0), &mut image);
        let expected = if finished { flag::UNACKNOWLEDGED } else { flag::UNFINISHED };
        assert!(matches!(seen, ReadOutcome::Part(header) if header.is(expected)), "{seen:?}");
        assert_eq!(checksum::agrees(ring.shape, &image), !damaged, "{finished}, {flipped:?}");
    }
}
