//! This process's own descriptors, captured. Each test runs in a forked child, whose descriptors it
//! may change.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use linering::{Capture, Item, LineRing, Options, Stream};

use crate::common::{Child, fork, use_up_descriptors, wait_for_the_end};

/// Runs `work` in a child whose stdout and stderr are a file, and gives what is in the file then.
fn child(name: &str, work: impl FnOnce(&LineRing) -> u8) -> (Child, PathBuf) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("capture-{name}"));
    let file = fs::File::create(&path).expect("a file");
    let ring = LineRing::new(Options::new()).expect("a ring");
    // Held meanwhile, and so by the child's one thread: of another thread, the test harness's, the
    // child would wait for it for ever.
    let (_out, _err) = (io::stdout().lock(), io::stderr().lock());
    let child = fork(|| {
        // SAFETY: plain system calls on open descriptors.
        unsafe { (libc::dup2(file.as_raw_fd(), 1), libc::dup2(file.as_raw_fd(), 2)) };
        work(&ring)
    });
    (child, path)
}

fn print(text: &str) -> bool {
    // Past the test harness, which keeps what `print!` writes.
    io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_ok()
}

fn print_from_c(text: &str) {
    let text = CString::new(text).expect("no NUL");
    // SAFETY: the text ends with a NUL and lives during the call.
    unsafe { libc::puts(text.as_ptr()) };
}

/// The lines that are there, with their streams.
fn lines(ring: &LineRing) -> Vec<(Stream, String)> {
    let reader = ring.reader().expect("no other reader");
    reader
        .filter_map(|item| item.ok()?.line().map(|line| (line.stream, line.to_string())))
        .collect()
}

#[test]
fn what_rust_and_c_print_comes_out_of_the_ring_and_later_where_it_went_before() {
    let (child, path) = child("rust-and-c", |ring| {
        print_from_c("buffered before");
        let Ok(capture) = Capture::stdout(ring) else { return 1 };
        if !print("from rust\npar") || !print("tial\n") {
            return 2;
        }
        print_from_c("from C");
        let _ = io::stderr().write_all(b"stderr is as before\n");
        drop(capture);
        if !print("after\n") {
            return 3;
        }
        let expected =
            ["from rust", "partial", "from C"].map(|line| (Stream::Stdout, line.to_owned()));
        u8::from(lines(ring) != expected) * 4
    });
    child.succeeds();
    assert_eq!(
        fs::read_to_string(path).expect("a file"),
        "buffered before\nstderr is as before\nafter\n"
    );
}

#[test]
fn both_at_once_keep_their_streams_apart() {
    let (child, path) = child("both", |ring| {
        let (Ok(out), Ok(err)) = (Capture::stdout(ring), Capture::stderr(ring)) else { return 1 };
        for i in 0..1000 {
            if !print(&format!("out {i}\n")) || writeln!(io::stderr(), "err {i}").is_err() {
                return 2;
            }
        }
        drop((out, err));
        let lines = lines(ring);
        let of =
            |stream| lines.iter().filter(move |(s, _)| *s == stream).map(|(_, line)| line.clone());
        let right = of(Stream::Stdout).eq((0..1000).map(|i| format!("out {i}")))
            && of(Stream::Stderr).eq((0..1000).map(|i| format!("err {i}")));
        u8::from(!right) * 3
    });
    child.succeeds();
    assert_eq!(fs::read(path).expect("a file"), b"");
}

#[test]
fn a_child_that_outlives_the_capture_does_not_keep_it() {
    let (child, path) = child("outlived", |ring| {
        let Ok(capture) = Capture::stdout(ring) else { return 1 };
        let inherits = fork(wait_for_the_end);
        if !print("captured\n") {
            return 2;
        }
        // Would wait for ever if it waited for the pipe's end.
        drop(capture);
        inherits.end();
        u8::from(lines(ring) != [(Stream::Stdout, "captured".to_owned())]) * 3
    });
    child.succeeds();
    assert_eq!(fs::read(path).expect("a file"), b"");
}

#[test]
fn a_child_that_goes_on_writing_does_not_keep_it_either() {
    let (child, _) = child("writes-on", |ring| {
        let Ok(capture) = Capture::stdout(ring) else { return 1 };
        let writes = fork(|| {
            while print("on and on\n") {}
            0
        });
        let mut reader = ring.reader().expect("no other reader");
        // It has begun.
        if !matches!(reader.recv(), Ok(Some(_))) {
            return 2;
        }
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    let _ = reader.recv_timeout(std::time::Duration::from_millis(10));
                }
            });
            drop(capture);
            over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        writes.end();
        0
    });
    child.succeeds();
}

#[test]
fn a_forked_childs_drop_puts_its_own_descriptor_back() {
    let (child, path) = child("forked", |ring| {
        let Ok(capture) = Capture::stdout(ring) else { return 1 };
        let mut inherited = Some(capture);
        let grandchild = fork(|| {
            drop(inherited.take());
            u8::from(!print("of the child\n"))
        });
        if grandchild.status().code() != Some(0) || !print("of the parent\n") {
            return 2;
        }
        drop(inherited);
        u8::from(lines(ring) != [(Stream::Stdout, "of the parent".to_owned())]) * 3
    });
    child.succeeds();
    assert_eq!(fs::read_to_string(path).expect("a file"), "of the child\n");
}

#[test]
fn a_capture_that_cannot_be_had_changes_nothing() {
    let (child, path) = child("refused", |ring| {
        use_up_descriptors();
        let refused = Capture::stdout(ring).is_err();
        u8::from(!refused || !print("as before\n"))
    });
    child.succeeds();
    assert_eq!(fs::read_to_string(path).expect("a file"), "as before\n");
}

#[test]
fn its_end_is_a_mirrors_end() {
    let (child, _) = child("end", |ring| {
        drop(Capture::stdout(ring));
        let mut reader = ring.reader().expect("no other reader");
        let ended = matches!(reader.recv(), Ok(Some(Item::Ended(_))));
        u8::from(!ended)
    });
    child.succeeds();
}

#[test]
fn what_is_captured_into_a_mirror_has_its_number() {
    let (child, _) = child("into-a-mirror", |ring| {
        let (Ok(_first), Ok(seat)) = (ring.seat(), ring.seat_labelled("second")) else { return 1 };
        let Ok(capture) =
            seat.open().map_err(|_| ()).and_then(|it| Capture::stderr_into(it).map_err(|_| ()))
        else {
            return 2;
        };
        let _ = io::stderr().write_all(b"captured\n");
        drop(capture);
        let Ok(mut reader) = ring.reader() else { return 3 };
        let Ok(Some(Item::Line(line))) = reader.recv() else { return 4 };
        let found = (line.writer_id, &*line.label, line.stream, &*line.bytes);
        u8::from(found != (1, "second", Stream::Stderr, b"captured")) * 5
    });
    child.succeeds();
}
