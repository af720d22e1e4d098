//! Models of the exchange under loom, which tries the orders in which threads can run and the
//! values that a load may return under the memory model.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --lib loom_models
//! ```
//!
//! Every model has a ring of two entries that starts at the last position before the laps overflow,
//! and slots of one word of payload. Each says whether it is unbounded or bounded, that is, whether
//! threads are preempted at every point that loom holds relevant, or in so many points of a run at
//! most. (Threads also switch, uncounted, where one ends or yields.)
//!
//! All that is checked concurrently runs in spawned threads: what the model's own thread does
//! beside them is explored by loom in few of its orders.
//!
//! Loom runs loads and stores in program order. So it cannot show what goes wrong when a load is
//! satisfied late, after a later store: that the reader has finished reading the slot that it gives
//! away is a duty of `take:D`.

use std::cell::Cell as Flag;

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::exchange::park::{Awaited, Rest, count_event, may_sleep, observer_rest, wake_sleeper};
use crate::exchange::settle::publish_last_words;
use crate::exchange::{ReadOutcome, Refused, Ring, Spare};
use crate::layout::sync::{AtomicU32, AtomicU64, Ordering};
use crate::layout::{
    Cell, Hold, LineNumber, OrderEntry, Pending, Position, RingMode, SLOT_HEADER_WORDS, Shape,
    SlotHeader, flag,
};

use Ordering::{Acquire, Relaxed};

/// In tests the two modes are short words.
fn mode(overwrite: bool) -> RingMode {
    if overwrite { RingMode::Overwriting } else { RingMode::Lossless }
}

const SHAPE: Shape = Shape { order_bits: 1, slot_words: SLOT_HEADER_WORDS + 1, check_bytes: 0 };
const POSITIONS: usize = 2;
/// The last position before the laps overflow.
const START: Position = Position((1 << 40) - 1);
const SECOND: Position = START.next();

/// Checks `model` in every order; with `preemptions`, in those with so many preemptions.
fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// A ring with its cells. Cell `c` begins with the slot `N + c`; cell 0 is the reader's.
struct Heap {
    order: Vec<AtomicU64>,
    slots: Vec<AtomicU64>,
    next_position: AtomicU64,
    events: AtomicU64,
    cells: Vec<Cell>,
}

impl Heap {
    fn new(cells: usize) -> Self {
        let words = (POSITIONS + cells) * SHAPE.slot_words;
        Self {
            order: (0..POSITIONS)
                .map(|index| AtomicU64::new(SHAPE.first_entry(START, index).0))
                .collect(),
            slots: (0..words).map(|_| AtomicU64::new(0)).collect(),
            next_position: AtomicU64::new(START.0),
            events: AtomicU64::new(0),
            cells: (0..cells).map(|c| cell(Hold::Held((POSITIONS + c) as u32))).collect(),
        }
    }

    /// Fills an empty ring with the lines 0 and 1 of the writer in cell 1, whose spare comes back.
    fn fill_up(&self) -> Spare {
        let mut spare = self.spare(1);
        self.write_at(START, 1, &mut spare, 0);
        self.write_at(SECOND, 1, &mut spare, 1);
        spare
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.order, &self.slots, &self.next_position, SHAPE)
    }

    /// The reader has seen nothing yet.
    fn may_sleep(&self, sleeps: &AtomicU32, wake_observers: impl FnOnce()) -> Option<u32> {
        let ring = self.ring();
        may_sleep(
            &Awaited { ring: &ring, position: START, events: &self.events, seen_events: 0 },
            sleeps,
            wake_observers,
        )
    }

    fn hold(&self, cell: usize) -> &AtomicU64 {
        &self.cells[cell].writer.0.hold
    }

    fn spare(&self, cell: usize) -> Spare {
        self.ring().spare_of(self.hold(cell).load(Relaxed)).expect("no exchange is under way")
    }

    /// Fills the spare with the line `line` of the writer in `cell`.
    fn fill(&self, cell: usize, spare: &Spare, line: u64) {
        let (header, payload) = content(cell as u16, line);
        self.cells[cell].set_pending(header.line, 0);
        self.ring().fill(spare, 0, &payload);
        self.ring().write_header(spare, &header);
    }

    fn publish(
        &self,
        cell: usize,
        spare: &mut Spare,
        overwrite: bool,
    ) -> Result<Position, Refused> {
        let Pending { line, .. } = self.cells[cell].pending();
        let then = || self.cells[cell].set_pending(line.next(), 0);
        self.ring().publish(self.hold(cell), spare, mode(overwrite), then)
    }

    /// Fills the spare and publishes it where the test expects it.
    fn write_at(&self, position: Position, cell: usize, spare: &mut Spare, line: u64) {
        self.fill(cell, spare, line);
        assert_eq!(self.publish(cell, spare, false), Ok(position));
    }

    fn take(&self, position: Position, overwrite: bool) -> bool {
        self.ring().take(position, mode(overwrite))
    }

    /// What a look sees, after checking that a part is whole: its writer's cell and its line.
    fn peek(&self, position: Position) -> Result<(u16, u64), ReadOutcome> {
        let mut image = [0; SLOT_HEADER_WORDS + 1];
        let seen = self.ring().peek(position, &mut image);
        let payload = image[SLOT_HEADER_WORDS].to_ne_bytes();
        match seen {
            ReadOutcome::Part(found) => {
                assert_whole(position, found, payload);
                Ok((found.cell, found.line.get()))
            }
            seen => Err(seen),
        }
    }

    /// Whose line stands in the entry of `position`, taken or not, after checking that it is whole.
    fn observe(&self, position: Position) -> Option<(u16, u64)> {
        let mut image = [0; SLOT_HEADER_WORDS + 1];
        let (_, found) = self.ring().observe(SHAPE.index(position), &mut image)?;
        let found = found.expect("no slot is damaged");
        assert_whole(found.position, found, image[SLOT_HEADER_WORDS].to_ne_bytes());
        Some((found.cell, found.line.get()))
    }

    /// A writer dies at `position` with a finished line: before its exchange, or after it and
    /// before the note of it.
    fn die(&self, cell: usize, position: Position, line: u64, exchanged: bool) {
        let spare = self.spare(cell);
        self.fill(cell, &spare, line);
        self.ring().mark_begun(&spare, position.0);
        let entry = &self.order[SHAPE.index(position)];
        let wanted = OrderEntry(entry.load(Relaxed)).slot();
        self.hold(cell).store(Hold::Intent(spare.slot, wanted).pack(1), Relaxed);
        if exchanged {
            entry.store(OrderEntry::full(SHAPE.lap(position), spare.slot).0, Relaxed);
        }
    }

    /// Cell 1 dies after its exchange at the first position; cell 3 writes at the second, whose
    /// spare comes back; cell 2 dies at the entry of the first, before or after it got the slot
    /// that cell 1 had given.
    fn die_in_a_row(&self, exchanged: bool) -> Spare {
        self.die(1, START, 0, true);
        let mut spare = self.spare(3);
        self.write_at(SECOND, 3, &mut spare, 0);
        self.die(2, START.plus(2), 0, exchanged);
        spare
    }

    /// Reaps the owner of `cell`; `None` if that is not decided while others move.
    fn bury(&self, cell: usize, overwrite: bool) -> Option<bool> {
        match publish_last_words(&self.ring(), &self.cells, cell, mode(overwrite)) {
            Ok(spoke) => Some(spoke),
            Err(Refused::Damaged) => None,
            Err(full) => panic!("{full:?}"),
        }
    }

    /// Reaps them now that no thread moves.
    fn bury_at_last(&self, cell: usize, overwrite: bool) {
        self.bury(cell, overwrite).expect("a still ring is decided");
        assert_eq!(self.bury(cell, overwrite), Some(false), "it is safe to repeat");
    }

    /// I2: the order ring and the cells have each slot exactly once.
    fn assert_slots_conserved(&self) {
        let entries =
            self.order.iter().map(|entry| crate::layout::OrderEntry(entry.load(Relaxed)).slot());
        let spares = (0..self.cells.len()).map(|cell| self.spare(cell).slot);
        let mut slots: Vec<u32> = entries.chain(spares).collect();
        slots.sort_unstable();
        let all: Vec<u32> = (0..(POSITIONS + self.cells.len()) as u32).collect();
        assert_eq!(slots, all, "each slot is in one place");
    }
}

/// A cell that has a slot and no line yet.
fn cell(hold: Hold) -> Cell {
    let cell = Cell { writer: Default::default(), reader: Default::default() };
    cell.writer.0.hold.store(hold.pack(0), Relaxed);
    cell
}

/// Starts a thread that works on the ring.
fn spawn<T: 'static>(
    heap: &Arc<Heap>,
    work: impl FnOnce(&Heap) -> T + 'static,
) -> thread::JoinHandle<T> {
    let heap = heap.clone();
    thread::spawn(move || work(&heap))
}

/// Every word of a line says whose it is.
fn content(cell: u16, line: u64) -> (SlotHeader, [u8; 8]) {
    let mark = u32::from(cell) << 8 | line as u32;
    let flags = flag::FIRST | flag::LAST;
    let header = SlotHeader {
        time: mark.into(),
        line: LineNumber::new(line),
        cell,
        part: mark,
        length: 8,
        flags,
        ..SlotHeader::default()
    };
    (header, u64::from(mark).to_ne_bytes())
}

fn assert_whole(position: Position, found: SlotHeader, payload: [u8; 8]) {
    let (header, bytes) = content(found.cell, found.line.get());
    let found = SlotHeader { flags: found.flags & !flag::UNACKNOWLEDGED, ..found };
    assert_eq!((found, payload), (SlotHeader { position, ..header }, bytes), "the line is whole");
}

/// Two writers publish one line each into an empty ring, while a third thread asks whether the
/// first position is a hole.
///
/// Legal: one writer has the first position and the other the second; both lines are whole and
/// every slot is in one place. No writer is refused. At no time is the first position a hole: a
/// thread that sees the second one filled sees the first one filled.
///
/// Unbounded.
#[test]
fn publish_x_publish() {
    check(None, || {
        let heap = Arc::new(Heap::new(3));
        let writers = [1, 2].map(|cell| {
            spawn(&heap, move |heap| {
                let mut spare = heap.spare(cell);
                heap.fill(cell, &spare, 0);
                heap.publish(cell, &mut spare, false).expect("there is room")
            })
        });
        let hole = spawn(&heap, |heap| heap.ring().is_hole(START));
        let positions = writers.map(|writer| writer.join().unwrap());
        assert!(!hole.join().unwrap());
        assert!(positions == [START, SECOND] || positions == [SECOND, START], "{positions:?}");
        for (cell, position) in [(1, positions[0]), (2, positions[1])] {
            assert_eq!(heap.peek(position), Ok((cell, 0)));
        }
        heap.assert_slots_conserved();
    });
}

/// Two writers want the last free place.
///
/// Legal: one of them has it, and the other is refused at the position after it. Both know their
/// spares again, and so does a thread that reads their hold words: every slot is in one place.
///
/// Unbounded.
#[test]
fn publish_x_publish_with_room_for_one() {
    check(None, || {
        let heap = Arc::new(Heap::new(4));
        let mut spare = heap.spare(3);
        heap.write_at(START, 3, &mut spare, 0);
        let writers = [1, 2].map(|cell| {
            spawn(&heap, move |heap| {
                let mut spare = heap.spare(cell);
                heap.fill(cell, &spare, 0);
                heap.publish(cell, &mut spare, false)
            })
        });
        let results = writers.map(|writer| writer.join().unwrap());
        let (room, none) = (Ok(SECOND), Err(Refused::Full(START.plus(2))));
        assert!(results == [room, none] || results == [none, room], "{results:?}");
        let winner = if results[0] == room { 1 } else { 2 };
        assert_eq!(heap.peek(SECOND), Ok((winner, 0)));
        heap.assert_slots_conserved();
    });
}

/// A writer publishes while a reader takes, in a ring that is full, so that the slots come round:
/// the writer gets those that the reader gave back, fills them and publishes them again.
///
/// Legal: the reader gets every line, whole, in order; the writer is refused only for want of room,
/// at its next position. Afterwards every slot is in one place.
///
/// Unbounded.
#[test]
fn publish_x_take() {
    check(None, || {
        let heap = Arc::new(Heap::new(2));
        let mut writer_spare = heap.fill_up();
        let writer = spawn(&heap, move |heap| {
            for line in 2..4 {
                heap.fill(1, &writer_spare, line);
                let next = START.plus(line);
                loop {
                    match heap.publish(1, &mut writer_spare, false) {
                        Ok(position) => break assert_eq!(position, next),
                        Err(refused) => assert_eq!(refused, Refused::Full(next)),
                    }
                    thread::yield_now();
                }
            }
        });
        let reader = spawn(&heap, |heap| {
            for line in 0..4 {
                let position = START.plus(line);
                loop {
                    match heap.peek(position) {
                        Ok(found) => break assert_eq!(found, (1, line)),
                        Err(seen) => assert_eq!(seen, ReadOutcome::Empty),
                    }
                    thread::yield_now();
                }
                assert!(heap.take(position, false), "no other thread takes it");
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
        heap.assert_slots_conserved();
    });
}

/// A writer publishes a line while a reader takes the later line of a full ring, holds the earlier
/// one, and takes that in the end.
///
/// Legal: the writer does not pass what is held: until it is taken the writer is refused there, and
/// its line stands at that place of the next lap. Afterwards every slot is in one place.
///
/// Unbounded.
#[test]
fn publish_x_take_around_a_held_line() {
    check(None, || {
        let heap = Arc::new(Heap::new(2));
        let mut spare = heap.fill_up();
        let writer = spawn(&heap, move |heap| {
            heap.fill(1, &spare, 2);
            let place = START.plus(2);
            loop {
                match heap.publish(1, &mut spare, false) {
                    Ok(position) => break assert_eq!(position, place),
                    Err(refused) => assert_eq!(refused, Refused::Full(place)),
                }
                thread::yield_now();
            }
        });
        let reader = spawn(&heap, |heap| {
            assert!(heap.take(SECOND, false), "no other thread takes it");
            assert_eq!(heap.peek(START), Ok((1, 0)), "it is held");
            assert!(heap.take(START, false), "no other thread takes it");
        });
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(heap.peek(START.plus(2)), Ok((1, 2)));
        assert_eq!(heap.peek(START.plus(3)), Err(ReadOutcome::Empty));
        heap.assert_slots_conserved();
    });
}

/// A writer overwrites a full ring of two and goes on, while the reader takes the oldest line.
///
/// Legal: the reader sees the line whole and takes it; or the line was overwritten, and the reader
/// sees by how many laps, or takes nothing after it had seen the line whole. The writer is never
/// refused and its positions follow on. The two lines that it wrote last are there, and every slot
/// is in one place.
///
/// Unbounded.
#[test]
fn overwrite_x_take() {
    check(None, || {
        let heap = Arc::new(Heap::new(2));
        let mut writer_spare = heap.fill_up();
        let writer = spawn(&heap, move |heap| {
            for line in 2..4 {
                heap.fill(1, &writer_spare, line);
                let position = heap.publish(1, &mut writer_spare, true);
                assert_eq!(position, Ok(START.plus(line)));
            }
            heap.fill(1, &writer_spare, 4);
        });
        let reader = spawn(&heap, |heap| {
            match heap.peek(START) {
                Ok(found) => assert_eq!(found, (1, 0)),
                Err(seen) => return assert_eq!(seen, ReadOutcome::Passed(1)),
            }
            heap.take(START, true);
        });
        writer.join().unwrap();
        reader.join().unwrap();
        for line in 2..4 {
            assert_eq!(heap.peek(START.plus(line)), Ok((1, line)));
        }
        heap.assert_slots_conserved();
    });
}

/// A writer overwrites the oldest line and refills its new spare, in which that line was, while an
/// observer looks at the line.
///
/// Legal: the observer sees the line whole, or that it was overwritten. Never a mix, and never
/// damage.
///
/// Unbounded.
#[test]
fn observe_x_overwrite() {
    check(None, || {
        let heap = Arc::new(Heap::new(2));
        let mut spare = heap.fill_up();
        let writer = spawn(&heap, move |heap| {
            heap.fill(1, &spare, 2);
            assert_eq!(heap.publish(1, &mut spare, true), Ok(START.plus(2)));
            heap.fill(1, &spare, 3);
        });
        let seen = spawn(&heap, |heap| heap.peek(START)).join().unwrap();
        assert!(seen == Ok((1, 0)) || seen == Err(ReadOutcome::Passed(1)), "{seen:?}");
        writer.join().unwrap();
    });
}

/// The reader takes two lines; a writer publishes into both entries and refills its new spare,
/// which is the slot of the first or the second; an observer looks at the first line.
///
/// Legal: the observer sees the line whole, or that it was consumed. Never a mix, and never damage.
///
/// Bounded: 3 preemptions.
#[test]
fn observe_x_take() {
    check(Some(3), || {
        let heap = Arc::new(Heap::new(3));
        let _ = heap.fill_up();
        let reader =
            spawn(&heap, |heap| assert!(heap.take(START, false) && heap.take(SECOND, false)));
        let writer = spawn(&heap, |heap| {
            let mut spare = heap.spare(2);
            for line in 2..4 {
                heap.fill(2, &spare, line);
                if heap.publish(2, &mut spare, false).is_err() {
                    return;
                }
            }
            heap.fill(2, &spare, 4);
        });
        let seen = spawn(&heap, |heap| heap.peek(START)).join().unwrap();
        assert!(seen == Ok((1, 0)) || seen == Err(ReadOutcome::Passed(1)), "{seen:?}");
        reader.join().unwrap();
        writer.join().unwrap();
        heap.assert_slots_conserved();
    });
}

/// An observer looks at the entry of the second position, whatever is there, while the reader takes
/// both lines.
///
/// Legal: it sees the second line, whole; or that the entry changed.
///
/// Unbounded.
#[test]
fn observe_any_x_take() {
    check(None, || {
        let heap = Arc::new(Heap::new(3));
        let _ = heap.fill_up();
        let reader =
            spawn(&heap, |heap| assert!(heap.take(START, false) && heap.take(SECOND, false)));
        let seen = spawn(&heap, |heap| heap.observe(SECOND)).join().unwrap();
        assert!(matches!(seen, None | Some((1, 1))), "{seen:?}");
        reader.join().unwrap();
    });
}

/// The same after both lines were taken, while a writer publishes into both entries, and refills
/// the slot that had the second line.
///
/// Legal: it sees the second line, or the one that took its place, whole; or that the entry
/// changed.
///
/// Unbounded.
#[test]
fn observe_any_x_publish() {
    check(None, || {
        let heap = Arc::new(Heap::new(2));
        let mut spare = heap.fill_up();
        assert!(heap.take(START, false) && heap.take(SECOND, false));
        let writer = spawn(&heap, move |heap| {
            heap.write_at(START.plus(2), 1, &mut spare, 2);
            heap.write_at(SECOND.plus(2), 1, &mut spare, 3);
            heap.fill(1, &spare, 4);
        });
        let seen = spawn(&heap, |heap| heap.observe(SECOND)).join().unwrap();
        assert!(matches!(seen, None | Some((1, 1 | 3))), "{seen:?}");
        writer.join().unwrap();
    });
}

/// A thread that sees that one cell wants a slot, or has it, no longer sees that it is held by the
/// cell that gave it away. Recovery rests on this: a slot that another cell holds is in
/// circulation, so the exchange of a dead cell that wanted it did not happen.
fn assert_given_away(heap: &Heap, taker: usize, giver: usize) {
    let given = Hold::Held((POSITIONS + giver) as u32);
    let Hold::Held(slot) = given else { unreachable!() };
    let (taker, _) = Hold::unpack(heap.hold(taker).load(Acquire));
    let (giver, _) = Hold::unpack(heap.hold(giver).load(Acquire));
    let wants = matches!(taker, Hold::Intent(_, wanted) if wanted == slot);
    assert!(!(wants || taker == given) || giver != given, "{taker:?} beside {giver:?}");
}

/// A writer publishes its slot, and another one gets it a lap later, while a recoverer judges their
/// hold words. In a ring that overwrites, or with a reader that makes room. (So that each publishes
/// once, the position between is filled already.)
///
/// Legal: see [`assert_given_away`]. The second writer may be the first, or find no room.
///
/// Bounded: 2 preemptions.
#[test]
fn hold_x_publish() {
    for overwrite in [false, true] {
        check(Some(2), move || {
            let heap = Arc::new(Heap::new(3));
            let (between, entry) = (START.plus(2), &heap.order[SHAPE.index(START)]);
            entry.store(
                OrderEntry::full(SHAPE.lap(between), OrderEntry(entry.load(Relaxed)).slot()).0,
                Relaxed,
            );
            heap.next_position.store(SECOND.0, Relaxed);
            let writers = [1, 2].map(|cell| {
                spawn(&heap, move |heap| {
                    let mut spare = heap.spare(cell);
                    heap.fill(cell, &spare, 0);
                    let _ = heap.publish(cell, &mut spare, overwrite);
                })
            });
            let reader = spawn(&heap, move |heap| overwrite || heap.take(SECOND, false));
            let judge = spawn(&heap, |heap| assert_given_away(heap, 2, 1));
            writers.into_iter().chain([judge]).for_each(|thread| thread.join().unwrap());
            reader.join().unwrap();
            heap.assert_slots_conserved();
        });
    }
}

/// A reader is about to sleep while two writers publish.
///
/// Legal: the reader finds a line and stays awake; or it sleeps, and then a writer wakes it. Both
/// do, if the second comes while the first is about to. A writer may do so although the reader
/// stayed awake, after it had announced itself: a needless wake, but no lost one.
///
/// Bounded: 3 preemptions.
#[test]
fn sleep_x_wake() {
    check(Some(3), || {
        let heap = Arc::new(Heap::new(3));
        let sleeps = Arc::new(AtomicU32::new(0));
        let writers = [1, 2].map(|cell| {
            let sleeps = sleeps.clone();
            spawn(&heap, move |heap| {
                let mut spare = heap.spare(cell);
                heap.fill(cell, &spare, 0);
                heap.publish(cell, &mut spare, false).expect("there is room");
                let woken = Flag::new(false);
                wake_sleeper(&sleeps, || {
                    woken.set(true);
                    true
                });
                woken.get()
            })
        });
        let reader = spawn(&heap, move |heap| heap.may_sleep(&sleeps, || ()).is_some());
        let wakes = writers.map(|writer| writer.join().unwrap());
        let asleep = reader.join().unwrap();
        assert!(!asleep || wakes.contains(&true), "the reader sleeps beside a line");
    });
}

/// The reader comes to sleep at the ring's first position and an observer, which may write or not,
/// at the first or the second, on one word, while a writer publishes two lines.
///
/// Legal: each stays awake, or is woken by the writer, or the observer by the reader. One that
/// sleeps in the end does so beside no line that it has not seen.
///
/// Bounded: 3 preemptions.
#[test]
fn observer_sleep_x_wake() {
    observer_sleeps(true);
    observer_sleeps(false);
}

fn observer_sleeps(may_write: bool) {
    check(Some(3), move || {
        let heap = Arc::new(Heap::new(3));
        let sleeps = Arc::new(AtomicU32::new(0));
        // What the kernel does: compares and queues, or wakes all in the queue, at once.
        let queue = Arc::new(Mutex::new([false; 2]));
        let sleep = |queue: &Mutex<[bool; 2]>, sleeps: &AtomicU32, value, which: usize| {
            let mut queue = queue.lock().unwrap();
            queue[which] = sleeps.load(Relaxed) == value;
        };
        let writer = {
            let (sleeps, queue) = (sleeps.clone(), queue.clone());
            spawn(&heap, move |heap| {
                let mut spare = heap.spare(1);
                for line in 0..2 {
                    heap.fill(1, &spare, line);
                    heap.publish(1, &mut spare, false).expect("there is room");
                    wake_sleeper(&sleeps, || {
                        *queue.lock().unwrap() = [false; 2];
                        true
                    });
                }
            })
        };
        let reader = {
            let (sleeps, queue) = (sleeps.clone(), queue.clone());
            spawn(&heap, move |heap| {
                let wake = || *queue.lock().unwrap() = [false; 2];
                if let Some(value) = heap.may_sleep(&sleeps, wake) {
                    sleep(&queue, &sleeps, value, 0);
                }
            })
        };
        let observer = {
            let (sleeps, queue) = (sleeps.clone(), queue.clone());
            spawn(&heap, move |heap| {
                let (ring, events, seen_events) = (heap.ring(), &heap.events, 0);
                let look = |position| Awaited { ring: &ring, position, events, seen_events };
                let position = if look(START).has_come() { SECOND } else { START };
                if let Rest::On(value) = observer_rest(&look(position), &sleeps, may_write) {
                    sleep(&queue, &sleeps, value, 1);
                }
                position
            })
        };
        writer.join().unwrap();
        reader.join().unwrap();
        let waits_for = observer.join().unwrap();
        let queue = queue.lock().unwrap();
        assert!(!queue[0], "the reader sleeps beside a line");
        assert!(!queue[1], "an observer sleeps beside the line at {waits_for:?}");
    });
}

/// A reader is about to sleep while a mirror ends.
///
/// Legal: the reader sees the end and stays awake; or it sleeps, and the mirror wakes it. What was
/// stored before the end was counted is seen with the count.
///
/// Unbounded.
#[test]
fn sleep_x_end() {
    check(None, || {
        let heap = Arc::new(Heap::new(3));
        let (sleeps, end) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let ends = {
            let (sleeps, end) = (sleeps.clone(), end.clone());
            spawn(&heap, move |heap| {
                end.store(1, Relaxed);
                count_event(&heap.events);
                let woken = Flag::new(false);
                wake_sleeper(&sleeps, || {
                    woken.set(true);
                    true
                });
                woken.get()
            })
        };
        let reader = spawn(&heap, move |heap| {
            let asleep = heap.may_sleep(&sleeps, || ()).is_some();
            if heap.events.load(Acquire) == 1 {
                assert_eq!(end.load(Relaxed), 1, "an end was counted before it was there");
            }
            asleep
        });
        let wakes = ends.join().unwrap();
        let asleep = reader.join().unwrap();
        assert!(!asleep || wakes, "the reader sleeps beside an end");
    });
}

/// A writer died before or after its exchange at the first position; a recoverer reaps it while
/// another writer publishes.
///
/// Legal: both lines are there, each once and whole. The dead one's slot may stay undecided while
/// the other moves; a still ring is decided.
///
/// Unbounded.
#[test]
fn recover_x_publish() {
    for exchanged in [false, true] {
        check(None, move || {
            let heap = Arc::new(Heap::new(3));
            heap.die(1, START, 0, exchanged);
            let writer = spawn(&heap, |heap| {
                let mut spare = heap.spare(2);
                heap.fill(2, &spare, 0);
                heap.publish(2, &mut spare, false).expect("there is room");
            });
            let buries = spawn(&heap, |heap| heap.bury(1, false));
            writer.join().unwrap();
            let spoke = buries.join().unwrap();
            assert!(!exchanged || spoke != Some(true), "its line was published already");
            heap.bury_at_last(1, false);
            let lines = [START, SECOND].map(|position| heap.peek(position));
            let (dead, other) = (Ok((1, 0)), Ok((2, 0)));
            assert!(lines == [dead, other] || !exchanged && lines == [other, dead], "{lines:?}");
            heap.assert_slots_conserved();
        });
    }
}

/// The same in a full ring that overwrites, where the other writer goes round: it gets the slot
/// that the dead one wanted, or that it gave.
///
/// Legal: every line that is there is whole, and the dead one's is there once at most; every slot
/// is in one place.
///
/// Bounded: 3 preemptions.
#[test]
fn recover_x_overwrite() {
    for exchanged in [false, true] {
        check(Some(3), move || {
            let heap = Arc::new(Heap::new(3));
            let _ = heap.fill_up();
            heap.die(1, START.plus(2), 2, exchanged);
            let writer = spawn(&heap, |heap| {
                let mut spare = heap.spare(2);
                for line in 0..2 {
                    heap.fill(2, &spare, line);
                    heap.publish(2, &mut spare, true).expect("it overwrites");
                }
            });
            let buries = spawn(&heap, |heap| heap.bury(1, true));
            writer.join().unwrap();
            buries.join().unwrap();
            heap.bury_at_last(1, true);
            let tail = heap.ring().tail();
            let lines = [2, 1].map(|back| heap.peek(tail.minus(back)).expect("the ring is full"));
            assert_ne!(lines[0], lines[1]);
            heap.assert_slots_conserved();
        });
    }
}

/// Two writers died one after the other at the same entry of a ring that overwrites, so that the
/// second wants the slot that the first gave, and only what became of the second decides about the
/// first. Two bury them at once.
///
/// Legal: a slot may stay undecided while the other is settled; afterwards every slot is in one
/// place, and every line that is there is whole and there once.
///
/// Unbounded.
#[test]
fn recover_x_recover() {
    for exchanged in [false, true] {
        check(None, move || {
            let heap = Arc::new(Heap::new(4));
            let _ = heap.die_in_a_row(exchanged);
            let burials = [1, 2].map(|cell| spawn(&heap, move |heap| heap.bury(cell, true)));
            let spoke = burials.map(|burial| burial.join().unwrap());
            assert_ne!(spoke[0], Some(true), "its line was published already");
            assert!(!exchanged || spoke[1] != Some(true), "and so was this one");
            for cell in [1, 2] {
                heap.bury_at_last(cell, true);
            }
            let lines = [SECOND, START.plus(2)].map(|position| heap.peek(position));
            assert_eq!(lines, [Ok((3, 0)), Ok((2, 0))]);
            heap.assert_slots_conserved();
        });
    }
}

/// The same, but the second writer only stands still, for ever, and a third one goes on while the
/// first is buried.
///
/// Legal: the first one's slot may stay undecided while the third moves; a still ring is decided,
/// the thread that stands still in it.
///
/// Bounded: 3 preemptions.
#[test]
fn recover_beside_a_stopped_writer() {
    for exchanged in [false, true] {
        check(Some(3), move || {
            let heap = Arc::new(Heap::new(4));
            let mut spare = heap.die_in_a_row(exchanged);
            let writer = spawn(&heap, move |heap| {
                heap.fill(3, &spare, 1);
                heap.publish(3, &mut spare, true).expect("it overwrites");
            });
            let buries = spawn(&heap, |heap| heap.bury(1, true));
            writer.join().unwrap();
            assert_ne!(buries.join().unwrap(), Some(true), "its line was published already");
            heap.bury_at_last(1, true);
            // Only to have every slot in a place that says so.
            heap.bury_at_last(2, true);
            heap.assert_slots_conserved();
        });
    }
}

/// A writer is too late at the first position: the dead one has exchanged there, and so has what
/// both wanted. The late one goes on, past the entry in which the dead one's slot stands, while the
/// dead one is buried.
///
/// Legal: the dead one's slot may stay undecided while the other moves. What the late one wanted in
/// vain is the dead one's.
///
/// Unbounded.
#[test]
fn recover_x_late_writer() {
    check(None, || {
        let heap = Arc::new(Heap::new(3));
        let mut spare = heap.spare(2);
        let wanted = OrderEntry(heap.order[SHAPE.index(START)].load(Relaxed)).slot();
        heap.hold(2).store(Hold::Intent(spare.slot, wanted).pack(0), Relaxed);
        heap.die(1, START, 0, true);
        let writer = spawn(&heap, move |heap| {
            for line in 0..2 {
                heap.fill(2, &spare, line);
                heap.publish(2, &mut spare, true).expect("it overwrites");
            }
        });
        let buries = spawn(&heap, |heap| heap.bury(1, true));
        writer.join().unwrap();
        assert_ne!(buries.join().unwrap(), Some(true), "its line was published already");
        heap.bury_at_last(1, true);
        heap.assert_slots_conserved();
    });
}

/// A dead writer's cell is given to another one, which writes at once, while the reader takes the
/// dead one's line.
///
/// Legal: the reader finds the dead one's line whole, or comes too early; the new line comes after
/// it. The new one may be refused the cell while the reader moves.
///
/// Unbounded.
#[test]
fn reopen_x_take() {
    for exchanged in [false, true] {
        check(None, move || {
            let heap = Arc::new(Heap::new(2));
            heap.die(1, START, 0, exchanged);
            let reopens = spawn(&heap, |heap| {
                heap.bury(1, false)?;
                let mut spare = heap.spare(1);
                heap.write_at(SECOND, 1, &mut spare, 2);
                Some(())
            });
            let reader = spawn(&heap, |heap| {
                match heap.peek(START) {
                    Ok(found) => assert_eq!(found, (1, 0)),
                    Err(seen) => return assert_eq!(seen, ReadOutcome::Empty),
                }
                assert!(heap.take(START, false));
            });
            let reopened = reopens.join().unwrap();
            reader.join().unwrap();
            match reopened {
                Some(()) => assert_eq!(heap.peek(SECOND), Ok((1, 2))),
                None => heap.bury_at_last(1, false),
            }
            heap.assert_slots_conserved();
        });
    }
}
