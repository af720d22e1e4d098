//! Writers and a reader at the same time, in real threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use super::*;

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
fn stress_lossless(order_bits: u32, writers: usize, lines: u64, start: Position) {
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
                            let since = position.since(writer.heap.start);
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
                            "a hole at {:?}",
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
        assert_eq!(reader.position, start.plus(lines * writers as u64));
    });
    heap.assert_slots_conserved();
}

#[test]
fn two_writers_lose_nothing_in_a_ring_of_two() {
    stress_lossless(1, 2, 50_000, Position(LAPS * 2 - 1001));
}

#[test]
fn three_writers_lose_nothing_in_a_ring_of_four() {
    stress_lossless(2, 3, 40_000, Position(LAPS * 4 - 1001));
}

#[test]
fn four_writers_lose_nothing_in_a_ring_of_sixteen() {
    stress_lossless(4, 4, 50_000, Position(u64::MAX - 1001));
}

/// Writers that overwrite, a reader, and an observer that takes nothing. What the reader gets is
/// whole and in order; each position was delivered or overwritten; what the observer sees is whole.
fn stress_overwriting(order_bits: u32, writers: usize, lines: u64, start: Position) {
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
                let position = heap.ring().hint().minus(1 + back);
                if position.since(start) > lines * writers as u64 {
                    continue;
                }
                match peek(heap.ring(), position, &mut payload) {
                    ReadOutcome::Part(header) => assert_whole(heap.shape, &header, &payload),
                    ReadOutcome::Passed(_) => {}
                    seen => panic!("{seen:?} at {position:?}"),
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
        assert_eq!(reader.position, start.plus(all), "no position is left over");
        assert_eq!(delivered + reader.passed, all, "each position was delivered or overwritten");
        assert!(delivered > 0);
    });
    heap.assert_slots_conserved();
}

#[test]
fn two_overwriting_writers_give_whole_lines_in_order_in_a_ring_of_two() {
    stress_overwriting(1, 2, 60_000, Position(LAPS * 2 - 1001));
}

#[test]
fn three_overwriting_writers_give_whole_lines_in_order_in_a_ring_of_eight() {
    stress_overwriting(3, 3, 50_000, Position(u64::MAX - 1001));
}

#[test]
fn four_overwriting_writers_give_whole_lines_in_order_in_a_ring_of_sixteen() {
    stress_overwriting(4, 4, 50_000, Position(LAPS * 16 - 1001));
}
