//! What a `LineBuffer` keeps, of one thread and of many, and what it refuses.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use linering::{Line, LineBuffer, Options};

use crate::common::below_overflow;

mod concurrent_reads;
mod forked;
mod line_ends;
mod long_lines;
mod one_thread;
mod options;
mod reentrant;
mod threads;

/// Slots of 64 bytes hold 32 bytes of a line.
const PAYLOAD: usize = 32;

/// A buffer of small slots, whose laps overflow after its third line.
fn small(maxlen: usize) -> LineBuffer {
    with_cells(maxlen, 16)
}

/// The same with so many cells for threads, and one more that further threads share.
fn with_cells(maxlen: usize, cells: usize) -> LineBuffer {
    let lines = (2 * maxlen).max(64);
    let options = Options::new().lines(lines).line_bytes(64).mirrors(cells).seats(1);
    LineBuffer::with_options(maxlen, options.start_position(below_overflow(lines)))
        .expect("a buffer")
}

fn write(mut buffer: &LineBuffer, bytes: &[u8]) {
    buffer.write_all(bytes).expect("the write succeeds");
}

fn bytes(lines: &[Line<'_>]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line.bytes.to_vec()).collect()
}

/// All lines, as text.
#[track_caller]
fn texts(buffer: &LineBuffer) -> Vec<String> {
    let lines = buffer.read(None).expect("this process made it");
    assert_eq!(buffer.len().expect("this process made it"), lines.len(), "len is what read gives");
    lines.iter().map(Line::to_string).collect()
}

/// The lines that are not finished, as text.
fn unfinished(buffer: &LineBuffer) -> Vec<String> {
    let lines = buffer.read(None).expect("this process made it");
    lines.iter().filter(|line| line.unfinished).map(Line::to_string).collect()
}

/// Bytes of which each run of eight says where it stands.
fn numbered(length: usize) -> Vec<u8> {
    (0..length / 8 + 1).flat_map(|i| format!("{i:07},").into_bytes()).take(length).collect()
}

/// Runs `write` in `threads` threads until `read` has returned.
fn while_writing(
    threads: usize,
    write: impl Fn(usize, usize) + Sync,
    read: impl FnOnce(&AtomicUsize),
) {
    let over = AtomicBool::new(false);
    // So that a reader knows that something has happened since it looked.
    let rounds = AtomicUsize::new(0);
    struct OnDrop<'a>(&'a AtomicBool);
    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    thread::scope(|scope| {
        let _over = OnDrop(&over);
        for t in 0..threads {
            let (write, over, rounds) = (&write, &over, &rounds);
            scope.spawn(move || {
                for round in 0.. {
                    write(t, round);
                    rounds.fetch_add(1, SeqCst);
                    if over.load(SeqCst) {
                        return;
                    }
                }
            });
        }
        read(&rounds);
    });
}
