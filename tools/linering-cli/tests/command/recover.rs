//! `linering recover` and `linering gc` from outside: what a kill has left.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Output, Stdio};

use linering::{LineRing, Options};

use crate::common::{err, folder, linering, out};

fn output(args: &[&str]) -> Output {
    linering(args).output().expect("it starts")
}

/// What its writer leaves that is killed in the middle of a line.
fn write_and_be_killed(ring: &LineRing) {
    let mut mirror = ring.mirror_labelled("7").expect("a mirror");
    mirror.write_all(b"first\nsecond\nunfini").expect("room");
    let mut ended = ring.mirror_labelled("8").expect("a mirror");
    ended.write_line(b"third").and_then(|()| ended.send_eof()).expect("room");
    // Its lock goes with this process's copy of the ring; no end is said.
    std::mem::forget(mirror);
}

/// Runs `work` in a process of its own, which is killed then.
fn in_a_killed_process(work: impl FnOnce()) {
    // SAFETY: the child does its work, which uses no lock that another thread could hold but the
    // allocator's, and is killed.
    unsafe {
        match libc::fork() {
            0 => {
                work();
                libc::kill(libc::getpid(), libc::SIGKILL);
            }
            child => assert_eq!(libc::waitpid(child, core::ptr::null_mut(), 0), child),
        }
    }
}

fn left_in(path: &Path) {
    in_a_killed_process(|| {
        write_and_be_killed(&LineRing::create_file(path, Options::new()).expect("a ring"))
    });
}

#[test]
fn what_a_kill_has_left_is_drained_once_with_its_last_words() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    left_in(&path);
    let recovered = output(&["recover", "-o", "short", ring]);
    let text = out(&recovered);
    let tails: Vec<_> = text.lines().map(|line| line.split_once("Z ").expect("a time").1).collect();
    assert_eq!(tails, ["[7] first", "[7] second", "[8] third", "[7] unfini"]);
    let notes = "linering: -- worker 8 ended --\nlinering: -- worker 7 is gone, no EOF --\n";
    assert_eq!((err(&recovered).as_str(), recovered.status.code()), (notes, Some(0)));
    let again = output(&["recover", ring]);
    assert_eq!(
        (out(&again), err(&again), again.status.code()),
        (String::new(), String::new(), Some(0))
    );
    // Taken, and still to be seen.
    assert_eq!(out(&output(&["cat", ring])), "first\nsecond\nthird\nunfini\n");
}

#[test]
fn a_process_that_may_only_read_the_ring_keeps_nothing_from_being_recovered() {
    let folder = folder();
    let path = folder.path().join("ring");
    left_in(&path);
    let stranger = fs::File::open(&path).expect("a file");
    let lock = libc::flock {
        l_type: libc::F_RDLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        // To the end of all files.
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the struct lives during the call.
    assert_eq!(unsafe { libc::fcntl(stranger.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }, 0);
    let recovered = output(&["recover", path.to_str().expect("UTF-8")]);
    let notes = "linering: -- worker 8 ended --\nlinering: -- worker 7 is gone, no EOF --\n";
    assert_eq!((err(&recovered).as_str(), recovered.status.code()), (notes, Some(0)));
    assert_eq!(out(&recovered), "first\nsecond\nthird\nunfini\n");
}

#[test]
fn what_could_not_be_printed_stays() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    left_in(&path);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let failed = linering(&["recover", ring])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("it starts");
    assert_eq!(failed.status.code(), Some(1), "{}", err(&failed));
    assert_eq!(out(&output(&["recover", ring])), "first\nsecond\nthird\nunfini\n");
}

#[test]
fn a_ring_that_is_read_already_is_refused_and_what_is_none_too() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = LineRing::create_file(&path, Options::new()).expect("a ring");
    let _reader = ring.reader().expect("no other reader");
    let path = path.to_str().expect("UTF-8");
    let refused = output(&["recover", path]);
    let process = std::process::id();
    let sentence = format!(
        "linering: cannot recover {path}: process {process} reads the ring already, expected no other reader\n"
    );
    assert_eq!((err(&refused), refused.status.code()), (sentence, Some(1)));
    for what in ["/etc/passwd", "/no/such/ring", "no-such-name", "/tmp"] {
        let refused = output(&["recover", what]);
        assert_eq!(
            (refused.status.code(), out(&refused), err(&refused).lines().count()),
            (Some(1), String::new(), 1)
        );
    }
    assert_eq!(output(&["recover"]).status.code(), Some(2));
}

#[test]
fn names_are_removed_where_no_process_lives_and_nowhere_else() {
    let name = |what: &str| format!("linering-gc-{what}-{}", std::process::id());
    let (left, kept) = (name("left"), name("kept"));
    in_a_killed_process(|| {
        let ring = LineRing::create_named(&left, Options::new()).expect("a ring");
        write_and_be_killed(&ring);
        std::mem::forget(ring);
    });
    let ring = LineRing::create_named(&kept, Options::new()).expect("a ring");
    let of = |output: &Output, name: &str| {
        out(output).lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    let dry = output(&["gc", "--dry-run"]);
    assert!(
        of(&dry, &left).ends_with("bytes, no process lives there")
            && of(&dry, &kept).ends_with("bytes, in use")
    );
    let removed = output(&["gc"]);
    assert!(
        of(&removed, &left).ends_with("bytes, no process lived there, removed"),
        "{}",
        out(&removed)
    );
    assert!(of(&removed, &kept).ends_with("bytes, in use"), "{}", out(&removed));
    assert_eq!(of(&output(&["gc"]), &left), "");
    assert!(LineRing::open_named(&kept).is_ok());
    drop(ring);
}

#[test]
fn a_name_in_shared_memory_is_told_in_one_line_that_no_terminal_obeys() {
    let name = format!("linering-gc-\x1b[2J\nin two lines-{}", std::process::id());
    let _ring = LineRing::create_named(&name, Options::new()).expect("a ring");
    let told = out(&output(&["gc", "--dry-run"]));
    let line = format!("linering-gc-\u{fffd}[2J\u{fffd}in two lines-{}: ", std::process::id());
    assert!(told.lines().any(|told| told.starts_with(&line)), "{told:?}");
}
