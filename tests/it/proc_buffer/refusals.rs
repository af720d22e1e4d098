//! What a buffer refuses: forked readers, second readers, lengths out of bounds.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use linering::{End, LineProcBuffer, ReadError};

use super::{small, texts, wait};
use crate::common::fork;

#[test]
fn a_forked_child_may_not_read() {
    let buffer = small(10);
    let mut mirror = buffer.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("open");
    fork(|| {
        check!(1, matches!(buffer.wait(), Err(ReadError::Forked)));
        check!(2, matches!(buffer.wait_timeout(Duration::ZERO), Err(ReadError::Forked)));
        check!(3, matches!(buffer.receive(), Err(ReadError::Forked)));
        check!(4, matches!(buffer.read(None), Err(ReadError::Forked)));
        check!(5, matches!(buffer.len(), Err(ReadError::Forked)));
        check!(6, matches!(buffer.clear(), Err(ReadError::Forked)));
        check!(7, matches!(buffer.ring().reader(), Err(ReadError::HasReader { .. })));
        0
    })
    .succeeds();
    drop(mirror);
    assert_eq!(wait(&buffer), [(0, End::Eof)]);
    assert_eq!(texts(&buffer), ["line"]);
}

#[test]
fn a_child_that_is_forked_in_the_middle_of_a_read_is_refused_and_not_stuck() {
    let buffer = small(10);
    let seat = buffer.seat().expect("a seat");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) {
                assert_eq!(buffer.wait_timeout(Duration::from_millis(1)).expect("ours"), None);
                buffer.len().expect("ours");
            }
        });
        for _ in 0..50 {
            fork(|| u8::from(!matches!(buffer.read(None), Err(ReadError::Forked)))).succeeds();
        }
        over.store(true, SeqCst);
    });
    seat.cancel();
}

#[test]
fn a_buffers_ring_has_its_reader() {
    let buffer = small(10);
    let error = buffer.ring().reader().expect_err("the buffer is the reader");
    assert!(matches!(error, ReadError::HasReader { .. }));
    let first = std::process::id();
    assert_eq!(
        error.to_string(),
        format!("process {first} reads the ring already, expected no other reader")
    );
}

#[test]
fn a_maxlen_out_of_bounds_is_named() {
    for maxlen in [0, (1 << 22) + 1, usize::MAX] {
        let error = LineProcBuffer::new(maxlen).expect_err("out of bounds");
        assert_eq!(error.to_string(), format!("maxlen is {maxlen}, expected 1 to 4194304"));
    }
}
