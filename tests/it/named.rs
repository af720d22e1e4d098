//! Rings with a name, in shared memory or in a file: who finds them, who takes the name away, what
//! stays.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use linering::{
    AttachError, CreateError, End, Item, LineRing, Observer, Options, Seat, SystemError,
};

use crate::common::{Child, Gate, fork, not_run, wait_for_the_end};

fn options() -> Options {
    Options::new().lines(64)
}

/// A name that no other test and no other run has.
fn name(of: &str) -> String {
    format!("linering-test-{}-{of}", std::process::id())
}

/// Where the system shows it.
fn shown(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

/// A path in this build's own place, at which nothing is.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

fn texts(ring: &LineRing) -> Vec<String> {
    ring.reader().expect("the first").map(|item| item.expect("ours").to_string()).collect()
}

/// In a process of its own: attaches by `open`, writes a line through a mirror, and ends it.
fn written_by_a_child(open: impl FnOnce() -> Result<LineRing, AttachError>) {
    fork(|| {
        let Ok(ring) = open() else { return 1 };
        let Ok(mut mirror) = ring.mirror_labelled("child") else { return 2 };
        u8::from(mirror.write_line(b"hello").and_then(|()| mirror.send_eof()).is_err()) * 3
    })
    .succeeds();
}

#[test]
fn other_processes_find_a_ring_by_its_name_and_by_its_path() {
    let (name, path) = (name("found"), path("found.ring"));
    let ring = LineRing::create_named(&name, options()).expect("a ring");
    written_by_a_child(|| LineRing::open_named(&name));
    assert_eq!(texts(&ring), ["hello", "-- worker child ended --"]);
    let ring = LineRing::create_file(&path, options()).expect("a ring");
    written_by_a_child(|| LineRing::open_file(&path));
    assert_eq!(texts(&ring), ["hello", "-- worker child ended --"]);
}

#[test]
fn both_are_for_this_user_alone_and_have_all_their_bytes_from_the_start() {
    let (name, path) = (name("bytes"), path("bytes.ring"));
    let _named = LineRing::create_named(&name, options()).expect("a ring");
    let _file = LineRing::create_file(&path, options()).expect("a ring");
    for path in [shown(&name), path] {
        let data = fs::metadata(&path).expect("it is there");
        assert_eq!(data.permissions().mode() & 0o777, 0o600);
        let allocated = std::os::unix::fs::MetadataExt::blocks(&data) * 512;
        assert!(allocated >= data.len(), "{allocated} of {} bytes are allocated", data.len());
    }
}

#[test]
fn what_is_there_already_is_not_touched() {
    let (name, path) = (name("taken"), path("taken.ring"));
    let _ring = LineRing::create_named(&name, options()).expect("a ring");
    let error = LineRing::create_named(&name, options()).expect_err("the name is taken");
    assert!(matches!(error, CreateError::Taken { .. }), "{error}");
    let begin = format!("shared memory named {name} is there already, expected ");
    assert!(error.to_string().starts_with(&begin), "{error}");
    fs::write(&path, "another's").expect("a file");
    let error = LineRing::create_file(&path, options()).expect_err("the path is taken");
    assert!(
        error.to_string().starts_with(&format!("{} is there already", path.display())),
        "{error}"
    );
    assert_eq!(fs::read(&path).expect("a file"), b"another's");
}

#[test]
fn words_that_cannot_be_a_name_are_refused() {
    for name in ["", "a/b", "/a", ".", "..", ".hidden", "nul\0nul", &"x".repeat(251)] {
        let error = LineRing::create_named(name, options()).expect_err("no name").to_string();
        assert!(error.contains("is no name for a ring, expected 1 to 250 bytes"), "{error}");
        let error = LineRing::open_named(name).expect_err("no name").to_string();
        assert!(error.contains("is no name for a ring, expected 1 to 250 bytes"), "{error}");
    }
}

#[test]
fn a_name_goes_with_the_last_handle_of_its_maker_and_the_memory_with_the_last_of_all() {
    let name = name("goes");
    let ring = LineRing::create_named(&name, options()).expect("a ring");
    let clone = ring.clone();
    let other = LineRing::open_named(&name).expect("that ring");
    drop(ring);
    assert!(shown(&name).exists(), "the maker has another handle");
    drop(clone);
    assert!(!shown(&name).exists());
    assert!(matches!(LineRing::open_named(&name), Err(AttachError::System(_))));
    let mut mirror = other.mirror().expect("a mirror");
    mirror.write_line(b"still here").expect("room");
    drop(mirror);
    assert_eq!(texts(&other), ["still here", "-- worker 0 ended --"]);
}

#[test]
fn a_forked_childs_drop_leaves_the_name() {
    let name = name("forked");
    let ring = LineRing::create_named(&name, options()).expect("a ring");
    let mut inherited = Some(ring);
    fork(|| {
        drop(inherited.take());
        u8::from(!shown(&name).exists())
    })
    .succeeds();
    assert!(shown(&name).exists());
    drop(inherited);
    assert!(!shown(&name).exists());
}

#[test]
fn a_name_that_was_given_to_another_ring_meanwhile_stays_with_that() {
    let name = name("given");
    let first = LineRing::create_named(&name, options()).expect("a ring");
    fs::remove_file(shown(&name)).expect("the name");
    let second = LineRing::create_named(&name, options()).expect("a ring");
    drop(first);
    assert!(shown(&name).exists());
    drop(second);
    assert!(!shown(&name).exists());
}

#[test]
fn a_file_and_a_name_outlive_the_kill_of_everybody_and_keep_what_was_written() {
    let (name, path) = (name("killed"), path("killed.ring"));
    let written = Gate::new();
    let child = fork(|| {
        let Ok(named) = LineRing::create_named(&name, options()) else { return 1 };
        let Ok(file) = LineRing::create_file(&path, options()) else { return 2 };
        let (Ok(mut a), Ok(mut b)) = (named.mirror(), file.mirror()) else { return 3 };
        for mirror in [&mut a, &mut b] {
            if mirror.write_all(b"first\nsecond\nunfinis").is_err() {
                return 4;
            }
        }
        written.open();
        wait_for_the_end()
    });
    written.pass();
    child.end();
    for ring in [LineRing::open_named(&name), LineRing::open_file(&path)] {
        let mut lines = Vec::new();
        let mut ends = Vec::new();
        for item in ring.expect("it stays").reader().expect("no other reader") {
            match item.expect("ours") {
                Item::Line(line) => lines.push((line.to_string(), line.unfinished)),
                Item::Ended(ended) => ends.push(ended.end),
                other => panic!("{other}"),
            }
        }
        let expected = [("first", false), ("second", false), ("unfinis", true)];
        assert_eq!(lines, expected.map(|(line, unfinished)| (line.to_owned(), unfinished)));
        assert_eq!(ends, [End::Died]);
    }
    fs::remove_file(shown(&name)).expect("no process took the name away");
}

#[test]
fn a_seat_of_a_ring_with_a_name_travels_as_text() {
    let (name, path) = (name("seat"), path("seat.ring"));
    let named = LineRing::create_named(&name, options()).expect("a ring");
    let file = LineRing::create_file(&path, options()).expect("a ring");
    for ring in [named, file] {
        let text = ring.seat_labelled("far").expect("a seat").to_string();
        fork(|| {
            let Ok(seat) = text.parse::<Seat>() else { return 1 };
            let Ok(mut mirror) = seat.open() else { return 2 };
            u8::from(mirror.write_line(b"hello").is_err()) * 3
        })
        .succeeds();
        assert_eq!(texts(&ring)[0], "hello");
    }
}

#[test]
fn what_is_no_ring_is_refused_with_what_it_is() {
    let text = path("text.ring");
    fs::write(&text, "this is not a ring. ".repeat(10_000)).expect("a file");
    let error = LineRing::open_file(&text).expect_err("a text");
    assert!(matches!(error, AttachError::Magic { found, .. } if &found == b"this is "), "{error}");
    let empty = path("empty.ring");
    fs::write(&empty, "").expect("a file");
    let error = LineRing::open_file(&empty).expect_err("nothing");
    assert!(matches!(error, AttachError::TooSmall { found: 0, .. }), "{error}");
    let error = LineRing::open_file(env!("CARGO_TARGET_TMPDIR")).expect_err("a folder");
    assert_eq!(error.to_string(), "it is a folder, expected a regular file");
    let error = LineRing::open_file(path("none.ring")).expect_err("nothing there");
    assert_eq!(error.to_string(), "cannot open the file: No such file or directory (os error 2)");
    let error =
        LineRing::create_file("/proc/none.ring", options()).expect_err("no place for files");
    assert!(error.to_string().starts_with("cannot make the file: "), "{error}");
}

#[test]
fn a_link_is_not_followed_and_a_pipe_is_not_waited_for() {
    let (ring, link, pipe) = (path("real.ring"), path("link.ring"), path("pipe.ring"));
    let _ring = LineRing::create_file(&ring, options()).expect("a ring");
    symlink(&ring, &link).expect("a link");
    let error = LineRing::open_file(&link).expect_err("a link");
    assert_eq!(error.to_string(), "it is a symbolic link, expected a regular file");
    let text = std::ffi::CString::new(pipe.to_str().expect("UTF-8")).expect("no NUL");
    // SAFETY: a plain system call; the text lives during it.
    assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
    let error = LineRing::open_file(&pipe).expect_err("a pipe");
    assert_eq!(error.to_string(), "it is a FIFO, expected a regular file");
    assert!(matches!(Observer::open_file(&pipe), Err(AttachError::NotAFile { .. })));
}

#[test]
fn a_file_that_lost_its_end_is_refused() {
    let path = path("short.ring");
    drop(LineRing::create_file(&path, options()).expect("a ring"));
    let whole = fs::metadata(&path).expect("a file").len();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("a file")
        .set_len(whole - 4096)
        .expect("shorter");
    let error = LineRing::open_file(&path).expect_err("a part of a ring");
    let expected =
        format!("the object has {} bytes, expected {whole} as its header says", whole - 4096);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_that_cannot_be_allocated_is_not_left_behind() {
    let path = path("large.ring");
    fork(|| {
        let limit = libc::rlimit { rlim_cur: 1 << 16, rlim_max: 1 << 16 };
        // SAFETY: a plain system call; the struct lives during it.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        let Err(error) = LineRing::create_file(&path, options()) else { return 1 };
        u8::from(!matches!(error, CreateError::FileSize { limit: 0x1_0000, .. })) * 2
    })
    .succeeds();
    assert!(!path.exists());
}

#[test]
fn a_name_is_taken_away_only_where_nobody_lives() {
    let name = format!("linering-left-{}", std::process::id());
    let gate = Gate::new();
    let child = fork(|| {
        let Ok(ring) = LineRing::create_named(&name, options()) else { return 1 };
        gate.open();
        let code = wait_for_the_end();
        drop(ring);
        code
    });
    gate.pass();
    assert!(!LineRing::remove_named(&name).expect("a ring"), "its maker lives");
    child.end();
    let observer = Observer::open_named(&name).expect("it was left");
    assert!(!LineRing::remove_named(&name).expect("a ring"), "an observer looks at it");
    drop(observer);
    assert!(LineRing::remove_named(&name).expect("a ring"));
    assert!(matches!(LineRing::remove_named(&name), Err(AttachError::System(_))), "it is gone");
}

/// Leaves a ring of this name whose maker was killed.
fn left_by_a_killed_maker(name: &str) {
    let gate = Gate::new();
    let maker = fork(|| {
        let Ok(_ring) = LineRing::create_named(name, options()) else { return 1 };
        gate.open();
        wait_for_the_end()
    });
    gate.pass();
    maker.end();
}

#[test]
fn a_child_that_is_forked_while_an_observer_looks_does_not_keep_the_name() {
    let name = name("looked");
    let gate = Gate::new();
    // In use, so that it is mapped; then left, so that it is copied.
    let maker = fork(|| {
        let Ok(ring) = LineRing::create_named(&name, options()) else { return 1 };
        let Ok(_mirror) = ring.mirror() else { return 2 };
        gate.open();
        wait_for_the_end()
    });
    gate.pass();
    let observer = Observer::open_named(&name).expect("a ring");
    assert!(observer.is_used());
    let child = fork(wait_for_the_end);
    drop(observer);
    maker.end();
    let observer = Observer::open_named(&name).expect("it was left");
    assert!(!observer.is_used());
    let other_child = fork(wait_for_the_end);
    drop(observer);
    let is_removed = LineRing::remove_named(&name);
    child.end();
    other_child.end();
    assert!(is_removed.expect("a ring"));
}

/// A child that is forked between two steps of whatever looks at a name would have its lock, and
/// keep the name, or keep all others from it, for as long as it lives.
#[test]
fn a_child_that_is_forked_while_a_name_is_tried_does_not_keep_it() {
    let name = name("tried");
    left_by_a_killed_maker(&name);
    let is_over = AtomicBool::new(false);
    let children: Vec<_> = std::thread::scope(|scope| {
        let triers = [
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    LineRing::is_abandoned(&name).expect("a ring");
                }
            }),
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // The other thread may have it alone just then.
                    let _ = Observer::open_named(&name);
                }
            }),
        ];
        let children = (0..100).map(|_| fork(wait_for_the_end)).collect();
        is_over.store(true, Ordering::Relaxed);
        triers.into_iter().for_each(|trier| trier.join().expect("it is no error"));
        children
    });
    let opened = LineRing::open_named(&name).map(drop);
    let is_removed = LineRing::remove_named(&name);
    children.into_iter().for_each(Child::end);
    opened.expect("no process has it alone");
    assert!(is_removed.expect("a ring"), "no process uses it");
}

#[test]
fn a_ring_that_memory_has_no_room_for_is_refused_before_it_is_allocated() {
    let huge = Options::new().lines(1 << 23).line_bytes(1 << 16);
    let needed = 1 << (23 + 16);
    let name = format!("linering-huge-{}", std::process::id());
    for made in [LineRing::new(huge.clone()), LineRing::create_named(&name, huge)] {
        let error = made.expect_err("this machine has less");
        let is_refused = matches!(error, CreateError::Memory { needed: found, available } if found > needed && available < needed);
        assert!(is_refused, "{error}");
    }
    assert!(matches!(LineRing::open_named(&name), Err(AttachError::System(_))), "nothing is left");
}

/// Mounts an empty file system of 64 KiB there, for this process alone; `false` if it may not.
fn mount_small(folder: &Path) -> bool {
    let folder = std::ffi::CString::new(folder.as_os_str().as_bytes()).expect("no zeros");
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: plain system calls, with strings that have their ends, and null where nothing is
    // needed.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                core::ptr::null(),
                private,
                core::ptr::null(),
            ) == 0
            && libc::mount(
                c"none".as_ptr(),
                folder.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=64k".as_ptr().cast(),
            ) == 0
    }
}

#[test]
fn a_ring_for_which_the_file_system_is_too_full_is_refused_and_leaves_nothing_there() {
    const MAY_NOT: u8 = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let child = fork(|| {
        if !mount_small(folder.path()) {
            return MAY_NOT;
        }
        // None of it is there at first, then less than the ring takes.
        for filling in [0, 60 << 10] {
            fs::write(folder.path().join("filling"), vec![1; filling]).expect("room");
            match LineRing::create_file(folder.path().join("ring"), Options::new().lines(1 << 12)) {
                Err(CreateError::System(SystemError { error, .. }))
                    if error.kind() == ErrorKind::StorageFull => {}
                _ => return 1,
            }
            if folder.path().join("ring").exists() {
                return 2;
            }
        }
        0
    });
    match child.status().code() {
        Some(code) if code == i32::from(MAY_NOT) => {
            not_run("to mount a file system (as root, say)")
        }
        code => assert_eq!(code, Some(0)),
    }
}
