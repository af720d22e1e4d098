//! Files that rotate: every line is in one of them, once, wherever their writers are killed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use linering::RotatingFile;
use tempfile::TempDir;

use crate::common::{Child, bytes_in, fork};

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// The files' contents, from the oldest.
fn contents(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let number = path
                .extension()
                .map_or(0, |n| n.to_string_lossy().parse::<u32>().expect("a number"));
            (number, fs::read_to_string(path).expect("UTF-8"))
        })
        .collect();
    files.sort();
    files.into_iter().rev().map(|(_, text)| text).collect()
}

/// Writes each text with a call of its own.
fn written(folder: &Path, limit: u64, keep: u32, texts: &[&str]) {
    let mut log = RotatingFile::open(folder.join("log"), limit, keep).expect("a log");
    for text in texts {
        log.write_all(text.as_bytes()).expect("room");
    }
}

#[test]
fn a_full_file_makes_room_and_lines_are_never_divided() {
    for (texts, expected) in [
        (vec!["12345\n"], vec!["12345\n"]),
        (vec!["123\n", "123\n", "\n"], vec!["123\n123\n\n"]),
        (vec!["123\n", "123\n", "1\n"], vec!["123\n123\n", "1\n"]),
        // In one call.
        (vec!["1\n2\n3\n4\n5\n6\n7\n"], vec!["1\n2\n3\n4\n", "5\n6\n7\n"]),
        // Lines that are too long have files of their own.
        (
            vec!["1\nlonger than ten\nlonger still\n2\n"],
            vec!["1\n", "longer than ten\n", "longer still\n", "2\n"],
        ),
        // A line in pieces.
        (vec!["12345\n", "12", "34", "5\n6\n"], vec!["12345\n12345\n", "6\n"]),
        (vec!["12", "345678901", "2\n3\n"], vec!["123456789012\n", "3\n"]),
    ] {
        let folder = folder();
        written(folder.path(), 9, 9, &texts);
        assert_eq!(contents(folder.path()), expected, "{texts:?}");
    }
}

#[test]
fn the_oldest_go() {
    let folder = folder();
    for number in 0..10 {
        written(folder.path(), 2, 3, &[&format!("{number}\n")]);
    }
    assert_eq!(contents(folder.path()), ["6\n", "7\n", "8\n", "9\n"]);
}

#[test]
fn a_file_that_is_there_is_gone_on_with_and_a_torn_line_is_ended() {
    let folder = folder();
    for (before, expected) in [("", "new\n"), ("old\n", "old\nnew\n"), ("torn", "torn\nnew\n")] {
        fs::write(folder.path().join("log"), before).expect("a file");
        written(folder.path(), u64::MAX, 1, &["new\n"]);
        assert_eq!(contents(folder.path()), [expected]);
    }
}

#[test]
fn a_rotation_that_stopped_between_two_steps_is_gone_on_with() {
    // The numbers of the files that are there: what a kill before each rename leaves, and after the
    // last.
    for there in [vec![0, 1, 2, 4], vec![0, 1, 3, 4], vec![0, 2, 3, 4], vec![1, 2, 3, 4]] {
        let folder = folder();
        for number in &there {
            let name = if *number == 0 { "log".to_owned() } else { format!("log.{number}") };
            fs::write(folder.path().join(name), format!("{}\n", 4 - number)).expect("a file");
        }
        let before = contents(folder.path());
        written(folder.path(), 2, 4, &["5\n"]);
        let after = contents(folder.path());
        let expected: Vec<_> = before.into_iter().chain(["5\n".to_owned()]).collect();
        assert_eq!(after, expected, "{there:?}");
    }
}

#[test]
fn a_writer_killed_anywhere_loses_and_repeats_no_line() {
    let folder = folder();
    let path = folder.path().join("log");
    let mut written = 0;
    for _ in 0..60 {
        let (mut heard, mut said) = std::io::pipe().expect("a pipe");
        // Goes on after the last line that is whole; each line's number is said once it is written.
        let whole = contents(folder.path()).concat();
        let first = whole.lines().filter(|line| line.ends_with('.')).count();
        assert!(first >= written, "of {written} lines that were written {first} are there");
        let child: Child = fork(|| {
            let Ok(mut log) = RotatingFile::open(&path, 100, 1_000_000) else { return 1 };
            for number in first.. {
                if log.write_all(format!("{number}.\n").as_bytes()).is_err()
                    || said.write_all(b"!").is_err()
                {
                    return 2;
                }
            }
            0
        });
        drop(said);
        // Until some rotations have begun.
        let mut count = [0; 100];
        std::io::Read::read_exact(&mut heard, &mut count).expect("it writes");
        child.end();
        written = first + count.len() + bytes_in(&heard);
    }
    let text = contents(folder.path()).concat();
    let lines = text.lines().filter(|line| line.ends_with('.'));
    let numbers: Vec<usize> =
        lines.map(|line| line.trim_end_matches('.').parse().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "in order, each once");
    assert!(numbers.len() >= written);
}

#[test]
fn a_file_that_was_taken_away_is_begun_anew() {
    let folder = folder();
    let path = folder.path().join("log");
    let mut log = RotatingFile::open(&path, 4, 9).expect("a log");
    log.write_all(b"1\n2\n").expect("room");
    fs::remove_file(&path).expect("it is there");
    log.write_all(b"3\n4\n5\n").expect("a new one");
    assert_eq!(contents(folder.path()), ["3\n4\n", "5\n"]);
}

#[test]
fn a_line_that_could_not_be_written_whole_is_ended_before_the_next() {
    let folder = folder();
    let path = folder.path().join("log");
    let child = fork(|| {
        let limit = |bytes| libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: plain system calls; the structs live during them.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit(8));
        }
        let Ok(mut log) = RotatingFile::open(&path, u64::MAX, 1) else { return 1 };
        if log.write_all(b"first\nsecond\n").is_ok() {
            return 2;
        }
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit(libc::RLIM_INFINITY)) };
        u8::from(log.write_all(b"third\n").is_err()) * 3
    });
    child.succeeds();
    assert_eq!(contents(folder.path()), ["first\nse\nthird\n"]);
}

#[test]
fn what_cannot_rotate_is_refused() {
    let refused = RotatingFile::open("/dev/null", 1000, 1).expect_err("not a file");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(RotatingFile::open("/dev/null", u64::MAX, 1).is_ok());
    assert!(RotatingFile::open(env!("CARGO_TARGET_TMPDIR"), 1000, 1).is_err());
    let mut full = RotatingFile::open("/dev/full", u64::MAX, 1).expect("it opens");
    assert_eq!(full.write(b"line\n").expect_err("full").kind(), ErrorKind::StorageFull);
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let folder = folder();
    let refused = RotatingFile::open(folder.path().join("log"), 0, 1).expect_err("no limit");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("expected at least 1"), "{refused}");
}

#[test]
fn a_file_that_was_renamed_or_cut_is_noticed_between_lines() {
    for limit in [u64::MAX, 1000] {
        let folder = folder();
        let path = folder.path().join("log");
        let moved = folder.path().join("log.1");
        let mut log = RotatingFile::open(&path, limit, 9).expect("a log");
        log.write_all(b"one\ntw").expect("room");
        fs::rename(&path, &moved).expect("it is there");
        log.write_all(b"o, its end\nthree\n").expect("room");
        log.write_all(b"four\n").expect("room");
        // Not in the middle of a line, nor of what was written with it.
        assert_eq!(fs::read_to_string(&moved).expect("it"), "one\ntwo, its end\nthree\n");
        assert_eq!(fs::read_to_string(&path).expect("a new one"), "four\n");
        // logrotate's copytruncate.
        File::options().write(true).open(&path).expect("it").set_len(0).expect("ours");
        log.write_all(b"five\n").expect("room");
        assert_eq!(fs::read_to_string(&path).expect("it"), "five\n");
    }
}

#[test]
fn a_file_that_is_opened_anew_is_so_after_the_line() {
    let folder = folder();
    let path = folder.path().join("log");
    let moved = folder.path().join("log.1");
    let mut log = RotatingFile::open(&path, 1000, 9).expect("a log");
    log.reopen().expect("the same");
    log.write_all(b"one\ntw").expect("room");
    fs::rename(&path, &moved).expect("it is there");
    log.reopen().expect("later");
    log.write_all(b"o\nthree\nfo").expect("room");
    log.write_all(b"ur\n").expect("room");
    assert_eq!(fs::read_to_string(&moved).expect("it"), "one\ntwo\n");
    assert_eq!(fs::read_to_string(&path).expect("a new one"), "three\nfour\n");
    // A place where nothing can be made, for a while.
    fs::rename(folder.path(), folder.path().with_extension("elsewhere")).expect("ours");
    assert!(log.reopen().is_err());
    assert!(log.write_all(b"five\n").is_err());
    fs::rename(folder.path().with_extension("elsewhere"), folder.path()).expect("ours");
    log.write_all(b"five\n").expect("room");
    assert_eq!(fs::read_to_string(&path).expect("it"), "three\nfour\nfive\n");
}

#[test]
fn several_may_write_one_file_and_no_line_is_lost_torn_or_written_twice() {
    let folder = folder();
    let path = folder.path().join("log");
    const LINES: usize = 400;
    let children: Vec<_> = (0..3)
        .map(|writer| {
            fork(|| {
                let Ok(mut log) = RotatingFile::open(&path, 200, 1_000_000) else { return 1 };
                for number in 0..LINES {
                    if log.write_all(format!("{writer}:{number}\n").as_bytes()).is_err() {
                        return 2;
                    }
                }
                0
            })
        })
        .collect();
    children.into_iter().for_each(Child::succeeds);
    let text = contents(folder.path()).concat();
    for writer in 0..3 {
        let prefix = format!("{writer}:");
        let numbers = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        let mut numbers: Vec<usize> = numbers.map(|n| n.parse().expect("whole")).collect();
        assert_eq!(numbers.len(), LINES, "writer {writer}");
        numbers.sort();
        assert!(numbers.into_iter().eq(0..LINES), "writer {writer}");
    }
    assert_eq!(text.lines().count(), 3 * LINES);
    let files = fs::read_dir(folder.path()).expect("a folder").count();
    assert!(files > 10, "{files} files");
}
