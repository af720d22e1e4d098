//! A reader sleeps only where nothing stands, and one writer is told to wake it.

use super::*;
use crate::exchange::park::*;
use crate::layout::sync::AtomicU32;

#[test]
fn a_reader_may_sleep_only_where_nothing_stands_and_one_writer_is_told_to_wake_it() {
    for start in starts(1) {
        let heap = Heap::new(1, 5, 2, start);
        let sleeps = AtomicU32::new(0);
        let mut writer = heap.writer(1);
        assert!(!wakes(&sleeps), "no reader sleeps");
        assert!(may_sleep_at(&heap.ring(), &sleeps, start));
        writer.write_at(start);
        assert!(wakes(&sleeps));
        assert!(!wakes(&sleeps), "once");
        assert!(!may_sleep_at(&heap.ring(), &sleeps, start), "a line is there");
        assert!(!wakes(&sleeps), "the announcement was taken back");
        assert!(may_sleep_at(&heap.ring(), &sleeps, start.next()));
    }
}

/// Whether a reader that has seen no event may sleep at `position`, in a ring in which there was
/// none.
pub(super) fn may_sleep_at(ring: &Ring<'_>, sleeps: &AtomicU32, position: Position) -> bool {
    let awaited = Awaited { ring, position, events: &AtomicU64::new(0), seen_events: 0 };
    may_sleep(&awaited, sleeps, || ()).is_some()
}

#[test]
fn a_reader_does_not_sleep_beside_an_event_that_it_has_not_seen() {
    let heap = Heap::new(1, 5, 2, Position(0));
    let (ring, sleeps, events) = (heap.ring(), AtomicU32::new(0), AtomicU64::new(7));
    let awaited =
        |seen_events| Awaited { ring: &ring, position: Position(0), events: &events, seen_events };
    assert!(may_sleep(&awaited(7), &sleeps, || ()).is_some());
    count_event(&events);
    assert!(wakes(&sleeps));
    assert!(may_sleep(&awaited(7), &sleeps, || ()).is_none());
    assert!(!wakes(&sleeps), "the announcement was taken back");
    assert!(may_sleep(&awaited(8), &sleeps, || ()).is_some());
}

/// Whether a writer that has published wakes the reader.
fn wakes(sleeps: &AtomicU32) -> bool {
    let woken = Cell::new(false);
    wake_sleeper(sleeps, || {
        woken.set(true);
        true
    });
    woken.get()
}

#[test]
fn one_that_stands_still_before_it_wakes_the_reader_keeps_no_other_from_it() {
    let heap = Heap::new(1, 5, 2, Position(LAPS * 2 - 1));
    let sleeps = AtomicU32::new(0);
    assert!(may_sleep_at(&heap.ring(), &sleeps, heap.start));
    wake_sleeper(&sleeps, || {
        // Here.
        assert!(wakes(&sleeps));
        // The reader wakes, and sleeps again, before it goes on.
        assert!(may_sleep_at(&heap.ring(), &sleeps, heap.start));
        true
    });
    assert!(wakes(&sleeps), "that sleep was not for the late one to end");
}

#[test]
fn a_reader_does_not_sleep_at_a_position_that_was_overwritten() {
    let heap = Heap::new(1, 5, 2, Position(LAPS * 2 - 1));
    let mut writer = heap.writer(1);
    (0..3).for_each(|_| assert!(writer.write(true).is_ok()));
    assert!(!may_sleep_at(&heap.ring(), &AtomicU32::new(0), heap.start));
}

#[test]
fn one_that_stands_still_before_it_takes_its_sleep_back_keeps_no_writer_from_waking_observers() {
    let heap = Heap::new(1, 5, 2, Position(LAPS * 2 - 1));
    let (ring, sleeps, events) = (heap.ring(), AtomicU32::new(0), AtomicU64::new(1));
    let awaited = Awaited { ring: &ring, position: heap.start, events: &events, seen_events: 0 };
    let stands_still = || assert!(wakes(&sleeps), "an observer may sleep by what it announced");
    assert_eq!(may_sleep(&awaited, &sleeps, stands_still), None);
    assert!(!wakes(&sleeps), "the announcement was taken back");
}

#[test]
fn any_value_of_a_damaged_word_heals_with_the_next_line_or_sleep() {
    let heap = Heap::new(1, 5, 2, Position(LAPS * 2 - 1));
    for value in (0..16).chain(u32::MAX - 16..=u32::MAX) {
        let sleeps = AtomicU32::new(value);
        wakes(&sleeps);
        assert!(!wakes(&sleeps), "{value:#x}");
        let sleeps = AtomicU32::new(value);
        assert!(may_sleep_at(&heap.ring(), &sleeps, heap.start));
        assert!(wakes(&sleeps) && !wakes(&sleeps), "{value:#x}");
    }
}
