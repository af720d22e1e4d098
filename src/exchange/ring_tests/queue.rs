//! The ring does what a plain bounded queue does.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

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
                    next = next.next();
                }
                Step::Take => prop_assert_eq!(reader.next(true), queue.pop_front()),
                Step::MoveHint(off) => heap.next_position.store(next.plus(off as u64).0, Relaxed),
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
