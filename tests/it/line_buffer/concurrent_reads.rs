//! A read while other threads write gives whole lines, in order, and comes to an end.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

use linering::{LineBuffer, Options};

use super::{numbered, small, while_writing, with_cells, write};

/// A line that says throughout which it is: `t.i.t.i.…`, of a length that varies.
fn woven(t: usize, i: usize) -> String {
    format!("{t}.{i}.").repeat(1 + i % 40)
}

#[test]
fn a_read_while_others_write_gives_whole_lines_of_one_thread_each() {
    // The last thread has no cell of its own.
    let buffer = with_cells(32, 3);
    while_writing(
        4,
        |t, i| {
            let line = woven(t, i) + "\n";
            let (begin, end) = line.split_at(line.len() / 2);
            write(&buffer, begin.as_bytes());
            write(&buffer, end.as_bytes());
        },
        |rounds| {
            for _ in 0..300 {
                let before = rounds.load(SeqCst);
                let mut last = [None; 4];
                for line in buffer.read(None).expect("ours") {
                    if line.truncated {
                        // Overwritten while it was read: flagged, and so no lie.
                        continue;
                    }
                    let text = line.to_string();
                    let mut words = text.split('.');
                    let mut next = || words.next().and_then(|word| word.parse::<usize>().ok());
                    let (Some(t), Some(i)) = (next(), next()) else {
                        assert!(line.unfinished, "{text}");
                        continue;
                    };
                    if line.unfinished {
                        assert!(
                            woven(t, i).starts_with(&text) || text.matches('.').count() < 2,
                            "{text}"
                        );
                    } else {
                        assert_eq!(text, woven(t, i));
                        let before = last[t].replace(i);
                        assert!(
                            before.is_none_or(|before| before < i),
                            "thread {t}: {i} after {before:?}"
                        );
                    }
                }
                while rounds.load(SeqCst) == before {
                    thread::yield_now();
                }
            }
        },
    );
}

#[test]
fn a_read_comes_to_an_end_while_others_write_without_end() {
    let buffer = small(16);
    let written = AtomicUsize::new(0);
    const PLENTY: usize = 3_000_000;
    while_writing(
        3,
        |t, i| {
            // An end after all, so that a read that never ends fails this test and does not hang
            // it.
            if written.fetch_add(1, SeqCst) < PLENTY {
                write(&buffer, format!("{t}:{i}\n").as_bytes());
            }
        },
        |_| {
            for _ in 0..100 {
                assert!(buffer.read(None).expect("ours").len() <= 16);
                assert!(buffer.len().expect("ours") <= 16);
                buffer.clear().expect("ours");
            }
            let written = written.load(SeqCst);
            assert!(written < PLENTY, "300 looks took as long as {written} writes");
        },
    );
}

#[test]
fn an_unfinished_line_that_grows_is_read_without_holes() {
    let buffer = LineBuffer::with_options(4, Options::new().lines(1 << 14).line_bytes(64))
        .expect("a buffer");
    let whole = numbered(1 << 15);
    while_writing(
        1,
        |_, _| {
            whole.chunks(13).for_each(|piece| write(&buffer, piece));
            write(&buffer, b"\n");
        },
        |rounds| {
            for look in 0.. {
                for line in buffer.read(None).expect("ours").iter().filter(|line| !line.truncated) {
                    let same = line.bytes.iter().zip(&whole).take_while(|(a, b)| a == b).count();
                    assert_eq!(
                        same,
                        line.bytes.len(),
                        "look {look}: the rest is {:?}",
                        &line.to_string()[same..]
                    );
                }
                if look > 2000 && rounds.load(SeqCst) > 20 {
                    break;
                }
            }
        },
    );
}

#[test]
fn what_was_written_of_an_unfinished_line_is_read_while_its_thread_writes_more() {
    let buffer = LineBuffer::with_options(4, Options::new().lines(1 << 10).line_bytes(64))
        .expect("a buffer");
    // Line number and bytes of it whose write has returned.
    let acknowledged = AtomicU64::new(0);
    let whole = numbered(1 << 11);
    while_writing(
        1,
        |_, line| {
            for (i, piece) in whole.chunks(13).enumerate() {
                write(&buffer, piece);
                acknowledged.store((line as u64) << 32 | (13 * (i as u64 + 1)), SeqCst);
            }
            acknowledged.store((line as u64) << 32, SeqCst);
            write(&buffer, b"\n");
        },
        |rounds| {
            let mut looks = 0;
            while looks < 2000 || rounds.load(SeqCst) < 20 {
                let before = acknowledged.load(SeqCst);
                let lines = buffer.read(None).expect("ours");
                let after = acknowledged.load(SeqCst);
                // The same line, and not its end.
                if before >> 32 == after >> 32
                    && (after & 0xffff_ffff) >= (before & 0xffff_ffff)
                    && before as u32 > 0
                {
                    looks += 1;
                    let length = lines
                        .last()
                        .filter(|line| line.unfinished)
                        .map_or(0, |line| line.bytes.len());
                    let least = (before as u32 as usize).min(whole.len());
                    assert!(length >= least, "{length} bytes were read, {least} had been written");
                }
            }
        },
    );
}

#[test]
fn a_progress_bar_is_never_read_half_rewritten() {
    // A long one leaves time to be rewritten from end to end during a look.
    for (slot, most) in [(64, 100_000), (8192, 5000)] {
        let options = Options::new().lines(8).line_bytes(slot).mirrors(2).max_line(slot);
        let buffer = LineBuffer::with_options(4, options).expect("a buffer");
        while_writing(
            1,
            |_, round| {
                write(&buffer, b"\r");
                write(&buffer, &vec![b'a' + (round % 26) as u8; slot - 36]);
            },
            |rounds| {
                let mut looks = 0;
                while looks < most || rounds.load(SeqCst) < 1000 {
                    looks += 1;
                    for line in buffer.read(None).expect("ours") {
                        let first = line.bytes[0];
                        let torn = line.bytes.iter().position(|byte| *byte != first);
                        assert_eq!(torn, None, "look {looks} at slots of {slot} bytes");
                    }
                }
            },
        );
    }
}
