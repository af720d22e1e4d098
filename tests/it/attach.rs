//! Attaching to a ring by its descriptor: what can be done with it, and what is refused with which
//! words.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use linering::{
    AttachError, End, Item, LineRing, Observer, Options, Policy, ReadError, Seat, SystemError,
    WakeUp, WriteError,
};

use crate::common::{Gate, RING_SEALS, below_overflow, bytes_of, die, fork, memory};

fn options() -> Options {
    Options::new().lines(16).line_bytes(64).mirrors(4).seats(8).start_position(below_overflow(16))
}

fn ring() -> LineRing {
    LineRing::new(options()).expect("a ring")
}

// ----------------------------------------------------------------------------------- a ring's copy

/// Where the fields of the geometry are: `docs/format.md`.
const VERSION: usize = 8;
const ENDIANNESS: usize = 12;
const WORD_BYTES: usize = 16;
const SLOT_BYTES: usize = 20;
const ORDER_BITS: usize = 24;
const CELLS: usize = 28;
const TICKETS: usize = 32;
const POLICY: usize = 36;
const TOTAL_BYTES: usize = 40;
const MAX_LINE: usize = 56;
const TIMESTAMPS: usize = 104;
const WAKE_UP: usize = 108;

/// Puts a number into a copy.
fn set(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}

fn set_wide(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_ne_bytes());
}

/// The refusal of a copy of a ring with one change.
#[track_caller]
fn refused(change: impl FnOnce(&mut Vec<u8>)) -> AttachError {
    let mut bytes = bytes_of(&ring());
    change(&mut bytes);
    LineRing::attach(memory(&bytes, RING_SEALS)).expect_err("it was changed")
}

// -------------------------------------------------------------------------------------- what works

#[test]
fn an_attached_handle_writes_into_and_reads_from_the_same_ring() {
    let ring = ring();
    let attached = LineRing::attach(ring.descriptor().expect("open")).expect("a ring");
    let mut reader = attached.reader().expect("no other");
    let refused = ring.reader().expect_err("there is one").to_string();
    let expected =
        format!("process {} reads the ring already, expected no other reader", std::process::id());
    assert_eq!(refused, expected);
    let mut mirrors = [
        ring.mirror_labelled("made").expect("a mirror"),
        attached.mirror_labelled("attached").expect("a mirror"),
        attached.seat_labelled("seat").expect("a seat").open().expect("a mirror"),
    ];
    mirrors.iter_mut().for_each(|mirror| mirror.write_line(b"line").expect("room"));
    drop(mirrors);
    let items: Vec<Item<'_>> = reader.by_ref().map(|item| item.expect("ours")).collect();
    let lines: Vec<_> =
        items.iter().filter_map(Item::line).map(|line| (line.writer_id, &*line.label)).collect();
    assert_eq!(lines, [(0, "made"), (1, "attached"), (2, "seat")]);
    assert_eq!(items.len(), 6);
    assert_eq!(ring.counts(), attached.counts());
    assert_eq!(ring.counts().eofs, 3);
}

#[test]
fn an_attached_handle_has_the_rings_policy_and_limits() {
    let ring = LineRing::new(options().policy(Policy::DropNewest).max_line(10)).expect("a ring");
    let attached = LineRing::attach(ring.descriptor().expect("open")).expect("a ring");
    let mut mirror = attached.mirror().expect("a mirror");
    (0..20).for_each(|_| mirror.write_line(b"twelve bytes").expect("dropping is no error"));
    drop(mirror);
    let items: Vec<_> =
        ring.reader().expect("no other").map(|item| item.expect("ours").to_string()).collect();
    assert_eq!(items[..16], ["twelve byt"; 16]);
    assert_eq!(items[16..], ["-- worker 0: 4 lines lost, ring full --", "-- worker 0 ended --"]);
    ring.stop_all_mirrors();
    let mut late = attached.mirror().expect("a mirror");
    assert!(matches!(late.write_line(b"late"), Err(WriteError::Stopped)));
}

#[test]
fn a_ring_outlives_the_handle_that_made_it_and_the_descriptor_it_was_attached_by() {
    let made = ring();
    made.mirror().expect("a mirror").write_line(b"line").expect("room");
    let descriptor = made.descriptor().expect("open").try_clone_to_owned().expect("a descriptor");
    let attached = LineRing::attach(&descriptor).expect("a ring");
    drop((made, descriptor));
    attached.mirror().expect("a mirror").write_line(b"next").expect("room");
    let lines: Vec<_> =
        attached.reader().expect("no other").map(|item| item.expect("ours").to_string()).collect();
    let mut lines: Vec<_> = lines.iter().filter(|line| !line.starts_with("--")).collect();
    lines.sort();
    assert_eq!(lines, ["line", "next"]);
}

#[test]
fn a_forked_child_attaches_by_the_inherited_descriptor() {
    let ring = ring();
    let mut reader = ring.reader().expect("no other");
    let seat = ring.seat().expect("a seat");
    let descriptor = ring.descriptor().expect("open").as_raw_fd();
    fork(|| {
        // SAFETY: inherited, and open until this process ends.
        let Ok(attached) = LineRing::attach(unsafe { BorrowedFd::borrow_raw(descriptor) }) else {
            return 1;
        };
        if !matches!(attached.reader(), Err(ReadError::HasReader { .. })) {
            return 2;
        }
        let Ok(mut mirror) = attached.mirror_labelled("child") else { return 3 };
        u8::from(mirror.write_all(b"from the child\nunfinished").is_err()) * 4
    })
    .succeeds();
    assert!(seat.cancel());
    let items: Vec<Item<'_>> = reader.by_ref().map(|item| item.expect("ours")).collect();
    let lines: Vec<_> =
        items.iter().filter_map(Item::line).map(|line| (line.to_string(), &*line.label)).collect();
    assert_eq!(lines, [("from the child".to_owned(), "child"), ("unfinished".to_owned(), "child")]);
    let ends: Vec<_> = items
        .iter()
        .filter_map(|item| if let Item::Ended(end) = item { Some(end.end) } else { None })
        .collect();
    assert_eq!(ends.iter().filter(|end| **end == End::Eof).count(), 1);
    assert_eq!(ends.iter().filter(|end| **end == End::Cancelled).count(), 1);
}

#[test]
fn a_child_may_read_a_ring_that_nobody_reads() {
    let ring = ring();
    let (read, go_on) = (Gate::new(), Gate::new());
    ring.mirror().expect("a mirror").write_line(b"line").expect("room");
    let child = fork(|| {
        let Ok(mut reader) = ring.reader() else { return 1 };
        let Ok(Some(Item::Line(line))) = reader.recv() else { return 2 };
        if &line.bytes[..] != b"line" {
            return 3;
        }
        read.open();
        go_on.pass();
        // It dies with the line in its hands.
        0
    });
    read.pass();
    assert!(matches!(ring.reader(), Err(ReadError::HasReader { .. })), "the child lives");
    go_on.open();
    child.succeeds();
    let mut reader = ring.reader().expect("the child is dead");
    let item = reader.recv().expect("ours").map(|item| item.to_string());
    assert_eq!(item.as_deref(), Some("line"), "it was not accepted");
}

#[test]
fn a_forked_child_may_not_use_its_parents_reader() {
    let ring = ring();
    let mut reader = ring.reader().expect("no other");
    let mut mirror = ring.mirror().expect("a mirror");
    mirror.write_line(b"line").expect("room");
    let item = reader.recv().expect("ours").map(|item| item.to_string());
    assert_eq!(item.as_deref(), Some("line"));
    let mut inherited = Some(reader);
    fork(|| {
        // In the child's copy of the memory.
        let Some(mut reader) = inherited.take() else { return 1 };
        let refused = [
            matches!(reader.recv(), Err(ReadError::Forked)),
            matches!(reader.try_recv(), Err(ReadError::Forked)),
            matches!(reader.recv_ref(), Err(ReadError::Forked)),
            matches!(reader.try_recv_ref(), Err(ReadError::Forked)),
            matches!(reader.recv_timeout(std::time::Duration::ZERO), Err(ReadError::Forked)),
            matches!(reader.batch(), Err(ReadError::Forked)),
            matches!(reader.commit(), Err(ReadError::Forked)),
            matches!(reader.next(), Some(Err(ReadError::Forked))),
        ];
        drop(reader);
        refused.iter().take_while(|refused| **refused).count() as u8 ^ 8
    })
    .succeeds();
    let reader = inherited.expect("the parent still has it");
    assert!(
        matches!(ring.reader(), Err(ReadError::HasReader { .. })),
        "the parent's reader is still it"
    );
    drop(mirror);
    assert_eq!(
        reader.map(|item| item.expect("ours").to_string()).collect::<Vec<_>>(),
        ["-- worker 0 ended --"]
    );
}

#[test]
fn an_attached_process_wakes_a_reader_through_the_pipe() {
    let ring = LineRing::new(options().wake_up(WakeUp::Pipe)).expect("a ring");
    let mut reader = ring.reader().expect("no other");
    let seat = ring.seat().expect("a seat");
    assert!(reader.try_recv().expect("ours").is_none());
    let text = seat.to_string();
    let child = fork(|| {
        let Ok(seat) = text.parse::<Seat>() else { return 1 };
        let Ok(mut mirror) = seat.open() else { return 2 };
        u8::from(mirror.write_line(b"wake up").is_err()) * 3
    });
    let mut poll = libc::pollfd {
        fd: reader.poll_fd().expect("a pipe").as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        // SAFETY: one struct, which lives during the call.
        let woken = unsafe { libc::poll(&raw mut poll, 1, 60_000) };
        assert_eq!(woken, 1, "no wake-up came");
        // The mirror's beginning wakes too.
        if let Some(item) = reader.try_recv().expect("ours") {
            assert_eq!(item.to_string(), "wake up");
            break;
        }
    }
    child.succeeds();
}

// ----------------------------------------------------------------------------------- what does not

#[test]
fn an_unchanged_copy_is_a_ring() {
    let original = ring();
    let copy = LineRing::attach(memory(&bytes_of(&original), RING_SEALS)).expect("an exact copy");
    copy.mirror().expect("a mirror").write_line(b"into the copy").expect("room");
    assert_eq!(copy.counts().eofs, 1);
    assert_eq!(original.counts().eofs, 0);
}

#[test]
fn another_magic_is_refused() {
    let error = refused(|bytes| bytes[..8].copy_from_slice(b"LINERIN\0"));
    assert!(
        matches!(error, AttachError::Magic { found: [.., 0], expected } if &expected == b"LINERING")
    );
    let expected = "the object begins with [4c, 49, 4e, 45, 52, 49, 4e, 00], \
        expected [4c, 49, 4e, 45, 52, 49, 4e, 47] (\"LINERING\")";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_ring_whose_creation_was_not_finished_is_refused() {
    let error = refused(|bytes| bytes[..8].fill(0));
    assert!(matches!(error, AttachError::Magic { found: [0, 0, 0, 0, 0, 0, 0, 0], .. }), "{error}");
    assert!(!error.is_missing());
    let error = refused(|bytes| bytes[..8].copy_from_slice(b"linering"));
    assert!(matches!(error, AttachError::Unfinished) && error.is_missing(), "{error}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ring");
    for begun in [None, Some(&b""[..]), Some(b"linering")] {
        if let Some(begun) = begun {
            std::fs::write(&path, begun).expect("a file");
        }
        let errors = [LineRing::open_file(&path).err(), Observer::open_file(&path).err()];
        for error in errors {
            assert!(error.as_ref().is_some_and(AttachError::is_missing), "{error:?}");
        }
    }
}

#[test]
fn another_layout_version_is_refused() {
    for version in [0, 1, 3, u32::MAX] {
        let error = refused(|bytes| set(bytes, VERSION, version));
        assert!(matches!(error, AttachError::Version { found, expected: 2 } if found == version));
        assert_eq!(error.to_string(), format!("the ring has layout version {version}, expected 2"));
    }
}

#[test]
fn another_byte_order_is_refused_whatever_the_version_looks_like_then() {
    let error = refused(|bytes| {
        for field in (8..40).step_by(4) {
            bytes[field..field + 4].reverse();
        }
    });
    assert!(matches!(error, AttachError::Endianness { found: 0x0403_0201, expected: 0x0102_0304 }));
    let expected = "the ring has byte order mark 0x04030201, expected 0x01020304: it was made with another byte order";
    assert_eq!(error.to_string(), expected);
    let error = refused(|bytes| set(bytes, ENDIANNESS, 7));
    assert!(matches!(error, AttachError::Endianness { found: 7, .. }), "{error}");
}

#[test]
fn another_word_size_is_refused() {
    let error = refused(|bytes| set(bytes, WORD_BYTES, 4));
    assert!(matches!(error, AttachError::WordSize { found: 4, expected: 8 }));
    assert_eq!(error.to_string(), "the ring has words of 4 bytes, expected 8");
}

#[test]
fn numbers_that_make_no_ring_are_refused_each_by_its_name() {
    let cases = [
        (SLOT_BYTES, 0, "the slot size is 0, expected a multiple of 64 from 64 to 65536"),
        (SLOT_BYTES, 65, "the slot size is 65, expected a multiple of 64 from 64 to 65536"),
        (
            SLOT_BYTES,
            1 << 17,
            "the slot size is 131072, expected a multiple of 64 from 64 to 65536",
        ),
        (ORDER_BITS, 0, "the number of order bits is 0, expected 1 to 23"),
        (ORDER_BITS, 24, "the number of order bits is 24, expected 1 to 23"),
        (ORDER_BITS, u32::MAX, "the number of order bits is 4294967295, expected 1 to 23"),
        (CELLS, 1, "the number of cells is 1, expected 2 to 4096"),
        (CELLS, 4097, "the number of cells is 4097, expected 2 to 4096"),
        (CELLS, u32::MAX, "the number of cells is 4294967295, expected 2 to 4096"),
        (TICKETS, 0, "the number of tickets is 0, expected 1 to 1048576"),
        (TICKETS, u32::MAX, "the number of tickets is 4294967295, expected 1 to 1048576"),
        (POLICY, 3, "the policy is 3, expected 0 to 2"),
        (TIMESTAMPS, 2, "the time stamp mode is 2, expected 0 or 1"),
        (WAKE_UP, 2, "the wake-up mode is 2, expected 0 or 1"),
        (MAX_LINE, 0, "the longest line is 0, expected 1 byte to 16777216 slots' payload"),
    ];
    for (field, number, expected) in cases {
        let error = refused(|bytes| set(bytes, field, number));
        assert!(
            matches!(&error, AttachError::Geometry(found) if found == expected),
            "{error}, not {expected}"
        );
        assert_eq!(error.to_string(), format!("the ring's header makes no sense: {expected}"));
    }
    let error = refused(|bytes| set_wide(bytes, MAX_LINE, u64::MAX));
    assert!(
        matches!(&error, AttachError::Geometry(found) if found.starts_with("the longest line is ")),
        "{error}"
    );
}

#[test]
fn possible_numbers_that_do_not_fit_together_are_refused() {
    for (field, number) in
        [(SLOT_BYTES, 128), (ORDER_BITS, 5), (ORDER_BITS, 23), (CELLS, 4096), (TICKETS, 1 << 20)]
    {
        let error = refused(|bytes| set(bytes, field, number));
        assert!(
            matches!(&error, AttachError::Geometry(found) if found.starts_with("the noted size is ")),
            "{error}"
        );
    }
    for number in [0, 1, u64::MAX] {
        let error = refused(|bytes| set_wide(bytes, TOTAL_BYTES, number));
        let begin =
            format!("the ring's header makes no sense: the noted size is {number}, expected ");
        assert!(error.to_string().starts_with(&begin), "{error}");
    }
}

#[test]
fn an_object_that_is_larger_or_smaller_than_its_ring_is_refused() {
    let whole = bytes_of(&ring()).len() as u64;
    for (length, change) in
        [(whole + 1, 1), (whole - 1, -1), (2 * whole, whole as i64), (whole - 64, -64)]
    {
        let error = refused(|bytes| bytes.resize((bytes.len() as i64 + change) as usize, 0));
        assert!(
            matches!(error, AttachError::Size { found, expected } if found == length && expected == whole),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            format!("the object has {length} bytes, expected {whole} as its header says")
        );
    }
}

#[test]
fn an_object_that_is_too_small_for_a_header_is_refused() {
    for length in [0, 1, 8, 127, 128, 500] {
        let error = refused(|bytes| bytes.truncate(length));
        let AttachError::TooSmall { found, expected } = error else { panic!("{error}") };
        assert_eq!(found, length as u64);
        let words = format!(
            "the object has {length} bytes, expected at least the {expected} of a ring's header"
        );
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn missing_seals_are_refused() {
    let bytes = bytes_of(&ring());
    let (shrink, grow, seal) = (libc::F_SEAL_SHRINK, libc::F_SEAL_GROW, libc::F_SEAL_SEAL);
    for seals in [0, shrink, grow, seal, shrink | grow, shrink | seal, grow | seal] {
        let error = LineRing::attach(memory(&bytes, seals)).expect_err("seals are missing");
        let AttachError::Seals { found, expected } = error else { panic!("{error}") };
        assert_eq!((found, expected), (seals as u32, RING_SEALS as u32));
        let begin =
            format!("the object has the seals {seals:#x}, expected at least {RING_SEALS:#x} ");
        assert!(error.to_string().starts_with(&begin), "{error}");
    }
}

#[test]
fn a_regular_file_with_the_bytes_of_a_ring_is_refused_for_its_missing_seals() {
    let path = std::env::temp_dir().join(format!("linering-attach-{}", std::process::id()));
    std::fs::write(&path, bytes_of(&ring())).expect("a file");
    let file = File::options().read(true).write(true).open(&path).expect("that file");
    std::fs::remove_file(&path).expect("that file");
    let error = LineRing::attach(&file).expect_err("a regular file");
    assert!(matches!(error, AttachError::Seals { found: 0, .. }), "{error}");
}

#[test]
fn other_objects_are_refused() {
    let program = File::open("/proc/self/exe").expect("this program");
    let error = LineRing::attach(&program).expect_err("a program");
    assert!(
        matches!(error, AttachError::Magic { found: [0x7f, b'E', b'L', b'F', ..], .. }),
        "{error}"
    );
    let null = File::open("/dev/null").expect("a device");
    let error = LineRing::attach(&null).expect_err("a device");
    assert!(matches!(error, AttachError::TooSmall { found: 0, .. }), "{error}");
    let (pipe, _write) = io::pipe().expect("a pipe");
    let error = LineRing::attach(&pipe).expect_err("a pipe");
    assert!(matches!(error, AttachError::TooSmall { found: 0, .. }), "{error}");
    let folder = File::open("/proc/self").expect("a folder");
    let error = LineRing::attach(&folder).expect_err("a folder");
    assert!(matches!(error, AttachError::TooSmall { .. } | AttachError::System(_)), "{error}");
}

#[test]
fn a_descriptor_that_cannot_be_written_to_is_refused() {
    let ring = ring();
    let path = format!("/proc/self/fd/{}", ring.descriptor().expect("open").as_raw_fd());
    let file = File::open(path).expect("the segment, for reading");
    let error = LineRing::attach(&file).expect_err("only for reading");
    assert!(
        matches!(&error, AttachError::System(SystemError { error, .. }) if error.kind() == io::ErrorKind::PermissionDenied)
    );
    assert!(error.to_string().starts_with("cannot map the segment: "), "{error}");
}

#[test]
fn a_closed_descriptor_is_refused() {
    // A number that no process gets.
    // SAFETY: it is only looked at, and is no open descriptor.
    let closed = unsafe { BorrowedFd::borrow_raw(987_654_321) };
    let error = LineRing::attach(closed).expect_err("closed");
    assert!(
        matches!(&error, AttachError::System(SystemError { error, .. }) if error.raw_os_error() == Some(libc::EBADF))
    );
    assert!(error.to_string().starts_with("cannot keep the descriptor: "), "{error}");
}

#[test]
fn a_pipe_ring_of_a_dead_creator_can_be_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ring");
    let creator = fork(|| {
        let ring =
            LineRing::create_file(&path, Options::new().wake_up(WakeUp::Pipe)).expect("a ring");
        ring.mirror().expect("a mirror").write_line(b"acknowledged").expect("room");
        die()
    });
    creator.status();
    let ring = LineRing::open_file(&path).expect("it can be opened");
    let mut reader = ring.reader().expect("no other reader");
    assert_eq!(reader.recv().expect("ours").expect("a line").to_string(), "acknowledged");
    ring.mirror().expect("a mirror").write_line(b"another").expect("room");
    while reader.recv().expect("ours").is_some_and(|item| item.to_string() != "another") {}
}

#[test]
fn a_dead_reader_with_a_pipe_kills_no_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ring");
    let (ready, go) = (Gate::new(), Gate::new());
    let creator = fork(|| {
        let ring =
            LineRing::create_file(&path, Options::new().wake_up(WakeUp::Pipe)).expect("a ring");
        let mut reader = ring.reader().expect("no other reader");
        let _seat = ring.seat().expect("a seat");
        ready.open();
        // Until it is killed.
        while reader.recv().is_ok() {}
        0
    });
    ready.pass();
    let writer = fork(|| {
        // As programs have it that are not written in Rust.
        // SAFETY: a plain system call.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let Ok(ring) = LineRing::open_file(&path) else { return 1 };
        let Ok(mut mirror) = ring.mirror() else { return 2 };
        ready.open();
        go.pass();
        u8::from(mirror.write_line(b"line").is_err()) * 3
    });
    ready.pass();
    // Asleep when it dies.
    let file = std::fs::File::open(&path).expect("it is there");
    let mut asleep = [0];
    while asleep[0] & 3 != 1 {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut asleep, 384).expect("the word");
    }
    creator.end();
    go.open();
    writer.succeeds();
}

#[test]
fn an_attached_reader_polls_the_pipe_too() {
    let ring = LineRing::new(Options::new().wake_up(WakeUp::Pipe)).expect("a ring");
    let attached = LineRing::attach(ring.descriptor().expect("open")).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    let mut reader = attached.reader().expect("no other reader");
    while reader.try_recv().expect("ours").is_some() {}
    let is_readable = |reader: &linering::Reader| {
        let mut polled = libc::pollfd {
            fd: reader.poll_fd().expect("a pipe").as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one struct, which lives during the call.
        unsafe { libc::poll(&raw mut polled, 1, 0) == 1 }
    };
    assert!(!is_readable(&reader), "nothing has come");
    mirror.write_line(b"line").expect("room");
    assert!(is_readable(&reader));
    assert_eq!(reader.try_recv().expect("ours").expect("a line").to_string(), "line");
}

#[test]
fn a_refused_object_is_left_as_it_was() {
    let mut bytes = bytes_of(&ring());
    set(&mut bytes, VERSION, 3);
    let file = memory(&bytes, RING_SEALS);
    LineRing::attach(&file).expect_err("another version");
    let mut after = vec![0; bytes.len()];
    file.read_exact_at(&mut after, 0).expect("so many bytes");
    assert_eq!(after, bytes);
}

#[test]
fn a_ring_whose_descriptor_was_closed_says_so_and_what_is_open_goes_on() {
    // In a process of its own, since it closes a descriptor that is not its own.
    fork(|| {
        let Ok(ring) = LineRing::new(options()) else { return 1 };
        let Ok(mut mirror) = ring.mirror() else { return 2 };
        let Ok(mut reader) = ring.reader() else { return 3 };
        let Ok(number) = ring.descriptor().map(|descriptor| descriptor.as_raw_fd()) else { return 4 };
        // SAFETY: as a daemon does it; the ring is said to bear that.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        if ring.descriptor().is_ok() || ring.mirror().is_ok() {
            return 5;
        }
        // Another file gets the number.
        let Ok(other) = File::open("/dev/null") else { return 6 };
        if other.as_raw_fd() != number || ring.descriptor().is_ok() {
            return 7;
        }
        let Err(error) = ring.mirror() else { return 8 };
        if error.to_string()
            != format!(
                "the ring's descriptor {number} was closed in this process, or is another file's by now"
            )
        {
            return 9;
        }
        if mirror.write_line(b"line").is_err() {
            return 10;
        }
        if !matches!(reader.recv(), Ok(Some(Item::Line(line))) if &line.bytes[..] == b"line") {
            return 11;
        }
        drop((ring, mirror, reader));
        // It was not closed with the ring.
        u8::from(other.metadata().is_err()) * 12
    })
    .succeeds();
}
