//! What a program does around the sleeps of its writers.
//!
//! Alone in its process: the hook is set once, for all writers of the process.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use linering::{LineRing, Options, WriteError, set_blocking_hook};

static SLEEPS: AtomicU32 = AtomicU32::new(0);
const GIVES_UP_AFTER: u32 = 3;

fn around(sleep: &mut dyn FnMut()) -> ControlFlow<()> {
    sleep();
    match SLEEPS.fetch_add(1, SeqCst) + 1 {
        GIVES_UP_AFTER => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

#[test]
fn a_writer_of_a_full_ring_sleeps_as_its_program_says_and_gives_up_when_it_says_so() {
    assert!(set_blocking_hook(around));
    assert!(!set_blocking_hook(around), "once and for good");
    let ring = LineRing::new(Options::new().lines(2)).expect("a ring");
    let mut reader = ring.reader().expect("the one reader");
    let mut mirror = ring.mirror().expect("a mirror");
    for _ in 0..2 {
        mirror.write_line(b"room").expect("room");
    }
    assert_eq!(SLEEPS.load(SeqCst), 0, "no sleep while there is room");

    let written = thread::spawn(move || (mirror.write_line(b"one too many"), mirror));
    let (written, mirror) = written.join().expect("no panic");
    assert!(matches!(written, Err(WriteError::Cancelled)), "{written:?}");
    assert_eq!(SLEEPS.load(SeqCst), GIVES_UP_AFTER);

    drop(mirror);
    let items: Vec<String> =
        reader.by_ref().map(|item| item.expect("this process").to_string()).collect();
    assert_eq!(
        items,
        ["room", "room", "-- worker 0: 1 line lost, ring full --", "-- worker 0 ended --"]
    );
}
