//! A reader's descriptor wakes an event loop for every line and every end.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use linering::{Policy, Reader, WakeUp};

use super::{mirror, now, reader, ring, small, texts, write};

/// Whether the descriptor becomes readable within so many milliseconds.
fn is_readable(reader: &Reader, milliseconds: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: reader.poll_fd().expect("a pipe").as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        // SAFETY: one struct, which lives during the call.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
            -1 => assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted),
            count => return count == 1,
        }
    }
}

#[test]
fn the_wake_up_pipe_is_readable_when_something_has_come_since_nothing_was_there() {
    let ring = ring(small(8, Policy::Block).wake_up(WakeUp::Pipe));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    for i in 0..5 {
        assert!(reader.try_recv().expect("ours").is_none());
        assert!(!is_readable(&reader, 0), "nothing has come");
        write(&mut mirror, "one");
        write(&mut mirror, "two");
        assert!(is_readable(&reader, 0), "round {i}");
        assert_eq!(texts(&now(&mut reader)), ["one", "two"]);
    }
    assert!(!is_readable(&reader, 0));
    mirror.write_all(b"unfinished").expect("room");
    assert!(!is_readable(&reader, 0), "an unfinished line wakes no reader");
    drop(mirror);
    assert!(is_readable(&reader, 0), "an end wakes too");
    assert_eq!(texts(&now(&mut reader)), ["unfinished", "-- worker 0 ended --"]);
    assert!(reader.is_over());
}

#[test]
fn an_event_loop_misses_no_line_and_no_end() {
    let ring = ring(small(16, Policy::Block).wake_up(WakeUp::Pipe));
    let mut reader = reader(&ring);
    for round in 0..400 {
        let mirrors: Vec<_> = (0..3).map(|_| mirror(&ring)).collect();
        thread::scope(|scope| {
            for mut mirror in mirrors {
                scope
                    .spawn(move || (0..round % 4).for_each(|i| write(&mut mirror, &i.to_string())));
            }
            let mut found = 0;
            loop {
                found += now(&mut reader).len();
                if reader.is_over() {
                    break;
                }
                assert!(
                    is_readable(&reader, 120_000),
                    "round {round}: {found} items have come, and no wake-up"
                );
            }
            assert_eq!(found, 3 + 3 * (round % 4));
        });
    }
}

#[test]
fn the_wake_up_pipe_is_readable_from_the_start_and_as_long_as_an_item_is_there() {
    let ring = ring(small(8, Policy::Block).wake_up(WakeUp::Pipe));
    let mut mirror = mirror(&ring);
    write(&mut mirror, "before it reads");
    let mut reader = reader(&ring);
    assert!(is_readable(&reader, 0), "a line was there before");
    assert_eq!(texts(&now(&mut reader)), ["before it reads"]);
    assert!(!is_readable(&reader, 0));

    let take = |reader: &mut Reader, call: usize| match call {
        0 => reader.try_recv().expect("ours").map(|item| item.to_string()),
        1 => reader.recv().expect("ours").map(|item| item.to_string()),
        2 => {
            let came = reader.wait_timeout(Duration::from_secs(60)).expect("ours");
            came.then(|| reader.try_recv().expect("ours").expect("one").to_string())
        }
        _ => {
            // A batch that is dropped comes again.
            let batch = reader.batch().expect("ours");
            assert!(!batch.is_empty());
            reader.try_recv().expect("ours").map(|item| item.to_string())
        }
    };
    for round in 0..64 {
        let call = round % 4;
        match round / 4 % 4 {
            0 => {}
            1 => assert!(reader.try_recv().expect("ours").is_none()),
            2 => assert!(!reader.wait_timeout(Duration::ZERO).expect("ours")),
            _ => assert!(!reader.wait_timeout(Duration::from_millis(1)).expect("ours")),
        }
        for line in ["one", "two", "three"] {
            write(&mut mirror, line);
        }
        for line in ["one", "two", "three"] {
            assert!(is_readable(&reader, 0), "round {round}: {line} is there");
            assert_eq!(take(&mut reader, call).as_deref(), Some(line));
        }
        assert!(reader.try_recv().expect("ours").is_none());
        assert!(!is_readable(&reader, 0), "round {round}: nothing is there");
    }
}

/// Waits by both ways, so that a wake-up may come while the reader sleeps in a call.
#[test]
fn a_reader_that_waited_in_a_call_can_be_polled_after_it() {
    let ring = ring(small(8, Policy::Block).wake_up(WakeUp::Pipe));
    let mut reader = reader(&ring);
    let mut mirror = mirror(&ring);
    for round in 0..200 {
        thread::scope(|scope| {
            scope.spawn(|| {
                write(&mut mirror, "one");
                write(&mut mirror, "two");
            });
            assert_eq!(reader.recv().expect("ours").expect("not over").to_string(), "one");
            assert!(is_readable(&reader, 60_000), "round {round}");
            let two = reader.recv().expect("ours").expect("not over").to_string();
            assert_eq!(two, "two", "round {round}");
        });
    }
}

#[test]
fn a_waker_makes_the_descriptor_readable() {
    let ring = ring(small(8, Policy::Block).wake_up(WakeUp::Pipe));
    let mut reader = reader(&ring);
    let _mirror = mirror(&ring);
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(!is_readable(&reader, 0));
    reader.waker().wake();
    assert!(is_readable(&reader, 0));
    assert!(reader.try_recv().expect("ours").is_none());
}

#[test]
fn without_a_pipe_there_is_nothing_to_poll() {
    let ring = ring(small(8, Policy::Block));
    assert!(reader(&ring).poll_fd().is_none());
}
