//! A reader's descriptor wakes an event loop for every line and every end.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use linering::{Policy, Reader, WakeUp};

use super::{mirror, now, reader, ring, small, texts, write};

/// Whether the descriptor becomes readable within so many milliseconds.
fn is_readable(reader: &Reader, milliseconds: i32) -> bool {
    let mut poll =
        libc::pollfd { fd: reader.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
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
fn without_a_pipe_the_descriptor_is_always_readable() {
    let ring = ring(small(8, Policy::Block));
    let mut reader = reader(&ring);
    assert!(is_readable(&reader, 0));
    let _mirror = mirror(&ring);
    assert!(reader.try_recv().expect("ours").is_none());
    assert!(is_readable(&reader, 0));
}
