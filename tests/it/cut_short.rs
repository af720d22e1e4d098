//! Files that are cut short while a ring is mapped there: an error on request, and nothing else
//! becomes of any other SIGBUS.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use linering::{
    LineRing, Observer, Options, Policy, ReadError, WriteError, turn_sigbus_into_errors,
};

use crate::common::{Gate, exit, fork};

fn path(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = format!("cut-{}-{number}-{name}.ring", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let _ = std::fs::remove_file(&path);
    path
}

fn cut(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).expect("a file").set_len(bytes).expect("shorter");
}

fn options(policy: Policy) -> Options {
    Options::new().lines(256).line_bytes(256).mirrors(4).seats(16).policy(policy)
}

/// Where a file is cut: before the header, behind it, among the slots, before the last page.
fn cuts(path: &Path) -> [u64; 4] {
    let bytes = std::fs::metadata(path).expect("a file").len();
    [0, 4096, bytes / 2, bytes.next_multiple_of(4096) - 8192]
}

#[test]
fn a_writer_of_a_file_that_is_cut_short_gets_an_error_and_goes_on_with_other_rings() {
    for policy in [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest] {
        for which in 0..4 {
            let path = path("writer");
            fork(|| {
                turn_sigbus_into_errors().expect("a handler");
                turn_sigbus_into_errors().expect("a second time");
                let ring = LineRing::create_file(&path, options(policy)).expect("a ring");
                let mut reader = ring.reader().expect("the first");
                let mut mirror = ring.mirror().expect("a mirror");
                mirror.write_line(b"before").expect("room");
                cut(&path, cuts(&path)[which]);
                let error = (0..10_000).find_map(|_| {
                    let written = mirror.write_line(&[b'x'; 200]);
                    // What is there is read: a ring that blocks has no room otherwise.
                    let _ = reader.try_recv();
                    written.err()
                });
                if !matches!(error, Some(WriteError::CutShort)) {
                    return 1;
                }
                if !matches!(mirror.write_line(b"again"), Err(WriteError::CutShort)) {
                    return 2;
                }
                // What it had copied before may come first.
                let error = (0..1000).find_map(|_| reader.try_recv().err());
                if !matches!(error, Some(ReadError::CutShort)) {
                    return 3;
                }
                let _ = mirror.send_eof();
                drop((mirror, reader, ring));
                // Another ring may be where that one was.
                let other = LineRing::new(options(policy)).expect("a ring");
                let mut mirror = other.mirror().expect("a mirror");
                u8::from(mirror.write_line(b"well").is_err()) * 4
            })
            .succeeds();
            std::fs::remove_file(&path).expect("it stays");
        }
    }
}

#[test]
fn a_reader_that_waits_on_a_file_that_is_cut_short_gets_an_error() {
    let path = path("reader");
    let gate = Gate::new();
    let reader = fork(|| {
        turn_sigbus_into_errors().expect("a handler");
        let ring = LineRing::create_file(&path, options(Policy::Block)).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        let mut reader = ring.reader().expect("the first");
        mirror.write_line(b"one").expect("room");
        if !matches!(reader.recv(), Ok(Some(_))) {
            return 1;
        }
        gate.open();
        loop {
            match reader.recv() {
                Err(ReadError::CutShort) => return 0,
                Err(ReadError::Interrupted) => {}
                _ => return 2,
            }
        }
    });
    gate.pass();
    cut(&path, 0);
    reader.succeeds();
    std::fs::remove_file(&path).expect("it stays");
}

#[test]
fn an_observer_says_that_the_file_was_cut_short() {
    let path = path("observer");
    let ring = LineRing::create_file(&path, options(Policy::OverwriteOldest)).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    (0..1000).for_each(|_| mirror.write_line(b"line").expect("it overwrites"));
    fork(|| {
        turn_sigbus_into_errors().expect("a handler");
        let observer = Observer::open_file(&path).expect("a ring");
        if !observer.snapshot().is_ok_and(|items| !items.is_empty()) {
            return 1;
        }
        cut(&path, 4096);
        // The second one finds it cut before it begins.
        let is_told = || matches!(observer.snapshot(), Err(ReadError::CutShort));
        u8::from(!is_told() || !is_told()) * 2
    })
    .succeeds();
    // This process has not asked for it, and leaves the ring alone.
    std::mem::forget((mirror, ring));
}

/// A byte of a mapping whose file has lost its end.
fn touch_another_file() {
    let path = path("other");
    std::fs::write(&path, [0; 8192]).expect("a file");
    let file = OpenOptions::new().read(true).write(true).open(&path).expect("a file");
    // SAFETY: a new mapping at an address of the kernel's choice.
    let bytes = unsafe {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        libc::mmap(std::ptr::null_mut(), 8192, protection, flags, file.as_raw_fd(), 0).cast::<u8>()
    };
    file.set_len(0).expect("shorter");
    std::fs::remove_file(&path).expect("a file");
    // SAFETY: mapped, though nothing is there: that is the test.
    unsafe { bytes.write_volatile(1) };
}

#[test]
fn a_fault_elsewhere_ends_the_process_as_usual() {
    let path = path("elsewhere");
    let status = fork(|| {
        turn_sigbus_into_errors().expect("a handler");
        let _ring = LineRing::create_file(&path, options(Policy::Block)).expect("a ring");
        touch_another_file();
        0
    })
    .status();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
    std::fs::remove_file(&path).expect("it stays");
}

extern "C" fn leave(_: libc::c_int) {
    exit(7);
}

#[test]
fn a_handler_that_was_there_before_gets_the_faults_that_are_not_of_a_ring() {
    let status = fork(|| {
        // SAFETY: the handler makes a system call.
        unsafe { libc::signal(libc::SIGBUS, leave as *const () as libc::sighandler_t) };
        turn_sigbus_into_errors().expect("a handler");
        touch_another_file();
        0
    })
    .status();
    assert_eq!(status.code(), Some(7), "{status}");
    let status = fork(|| {
        // SAFETY: plain system calls.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        turn_sigbus_into_errors().expect("a handler");
        // SAFETY: a plain system call.
        unsafe { libc::raise(libc::SIGBUS) };
        0
    })
    .status();
    assert_eq!(
        status.signal(),
        Some(libc::SIGBUS),
        "a signal that was sent is none of ours: {status}"
    );
}

#[test]
fn without_being_asked_the_library_leaves_the_signal_alone() {
    let path = path("unasked");
    let status = fork(|| {
        let ring = LineRing::create_file(&path, options(Policy::Block)).expect("a ring");
        let mut mirror = ring.mirror().expect("a mirror");
        cut(&path, 0);
        let _ = mirror.write_line(b"line");
        0
    })
    .status();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
    std::fs::remove_file(&path).expect("it stays");
}
