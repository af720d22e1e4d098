//! Old files that are compressed: every line is in one of them, once, wherever their writers are
//! killed, and both forms count.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use linering::RotatingFile;
use tempfile::TempDir;

use crate::common::{Child, bytes_in, fork};

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().into_string().expect("UTF-8")
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(path).expect("a file"))
        .read_to_string(&mut text)
        .unwrap_or_else(|error| panic!("{} is not whole: {error}", path.display()));
    text
}

/// The texts, from the oldest. Where a number has both forms they have the same lines.
fn contents(folder: &Path) -> Vec<String> {
    let mut texts = BTreeMap::new();
    for name in names(folder).into_iter().filter(|name| !name.ends_with(".part")) {
        let number = name.split('.').nth(1).map_or(0, |number| number.parse::<u32>().expect("it"));
        let path = folder.join(&name);
        let is_packed = name.ends_with(".gz");
        let text =
            if is_packed { unpacked(&path) } else { fs::read_to_string(&path).expect("UTF-8") };
        if let Some(other) = texts.insert(number, text.clone()) {
            assert_eq!(other, text, "the two forms of {number}");
        }
    }
    texts.into_values().rev().collect()
}

/// Writes each text with a call of its own.
fn write_to(folder: &Path, keep: u32, is_compressed: bool, texts: &[&str]) {
    let mut log = RotatingFile::open(folder.join("log"), 2, keep).expect("a log");
    log.set_compressed(is_compressed).expect("a thread");
    for text in texts {
        log.write_all(text.as_bytes()).expect("room");
    }
}

/// As `write_to`, and waits until all is compressed.
fn written(folder: &Path, keep: u32, is_compressed: bool, texts: &[&str]) {
    write_to(folder, keep, is_compressed, texts);
    // What another test forks meanwhile has the files open too, and they wait for it.
    let is_plain = |name: &String| name.starts_with("log.") && !name.ends_with(".gz");
    while is_compressed && names(folder).iter().any(is_plain) {
        write_to(folder, keep, true, &[]);
    }
}

fn packed(path: &Path, text: &str) {
    let file = File::create(path).expect("a file");
    let mut encoder = GzEncoder::new(file, flate2::Compression::default());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.try_finish()).expect("room");
}

#[test]
fn old_files_are_compressed_and_the_oldest_go() {
    let folder = folder();
    let path = folder.path().join("log");
    fs::write(&path, "").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("ours");
    for number in 0..10 {
        written(folder.path(), 3, true, &[&format!("{number}\n")]);
    }
    assert_eq!(names(folder.path()), ["log", "log.1.gz", "log.2.gz", "log.3.gz"]);
    assert_eq!(contents(folder.path()), ["6\n", "7\n", "8\n", "9\n"]);
    for number in 1..=3 {
        let data = fs::metadata(folder.path().join(format!("log.{number}.gz"))).expect("a file");
        assert_eq!(data.permissions().mode() & 0o777, 0o640);
    }
    // In one go, while the thread is at it.
    let folder = self::folder();
    let texts: Vec<String> = (0..200).map(|number| format!("{number}\n")).collect();
    written(folder.path(), 1000, true, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(contents(folder.path()), texts);
    assert!(names(folder.path())[1..].iter().all(|name| name.ends_with(".gz")));
}

#[test]
fn both_forms_count_whether_it_compresses_or_not() {
    let folder = folder();
    for number in 0..20 {
        let number = number.to_string();
        // Three times so, three times not.
        written(folder.path(), 7, number.len() % 2 == 0, &[&format!("{number}\n")]);
        let before: u32 = number.parse().expect("it");
        let expected = (before.saturating_sub(7)..=before).map(|number| format!("{number}\n"));
        assert!(contents(folder.path()).into_iter().eq(expected), "{:?}", names(folder.path()));
    }
    // One that stays alone, of either form.
    for is_compressed in [true, false, true, true] {
        written(folder.path(), 1, is_compressed, &["x\n", "y\n"]);
        assert_eq!(contents(folder.path()), ["x\n", "y\n"]);
        let last = if is_compressed { "log.1.gz" } else { "log.1" };
        assert_eq!(names(folder.path()), ["log", last]);
    }
}

#[test]
fn what_a_kill_has_left_is_put_right() {
    for then_compressed in [true, false] {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("log"), "5\n").expect("a file");
        // Half of one, one that was compressed and not removed yet, a gap after it.
        fs::write(at("log.1"), "4\n").expect("a file");
        fs::write(at("log.gz.part"), "half").expect("a file");
        fs::write(at("log.2"), "3\n").expect("a file");
        packed(&at("log.2.gz"), "3\n");
        packed(&at("log.4.gz"), "2\n");
        fs::write(at("log.5"), "1\n").expect("a file");
        packed(&at("log.5.gz"), "1\n");
        let expected = ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "7\n"];
        written(folder.path(), 7, then_compressed, &["6\n", "7\n"]);
        assert_eq!(contents(folder.path()), expected);
        let names = names(folder.path());
        if then_compressed {
            let packed = (1..=6).map(|number| format!("log.{number}.gz"));
            assert!(names.iter().cloned().eq(["log".to_owned()].into_iter().chain(packed)));
        }
        // The last number has both when it is to go.
        written(folder.path(), 3, then_compressed, &["8\n"]);
        assert_eq!(contents(folder.path()), ["5\n", "6\n", "7\n", "8\n"], "{names:?}");
    }
}

#[test]
fn what_another_still_writes_waits() {
    let folder = folder();
    let path = folder.path().join("log");
    let mut slow = RotatingFile::open(&path, 1000, 5).expect("a log");
    slow.write_all(b"begun ").expect("room");
    write_to(folder.path(), 5, true, &["and another's\n", "1\n"]);
    // It goes on where it was.
    slow.write_all(b"and ended\n").expect("room");
    assert!(names(folder.path()).contains(&"log.2".to_owned()));
    drop(slow);
    written(folder.path(), 5, true, &["2\n"]);
    let text = contents(folder.path()).concat();
    for line in ["begun ", "and ended\n", "and another's\n", "1\n", "2\n"] {
        assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
    }
    assert!(names(folder.path())[1..].iter().all(|name| name.ends_with(".gz")));
}

#[test]
fn a_writer_killed_anywhere_loses_and_repeats_no_line_that_is_compressed() {
    let folder = folder();
    let path = folder.path().join("log");
    let (mut written, mut packed) = (0, 0);
    for _ in 0..60 {
        let (mut heard, mut said) = std::io::pipe().expect("a pipe");
        let whole = contents(folder.path()).concat();
        let first = whole.lines().filter(|line| line.ends_with('.')).count();
        assert!(first >= written, "of {written} lines that were written {first} are there");
        let child: Child = fork(|| {
            let Ok(mut log) = RotatingFile::open(&path, 100, 1_000_000) else { return 1 };
            if log.set_compressed(true).is_err() {
                return 2;
            }
            for number in first.. {
                if log.write_all(format!("{number}.\n").as_bytes()).is_err()
                    || said.write_all(b"!").is_err()
                {
                    return 3;
                }
            }
            0
        });
        drop(said);
        let mut count = [0; 100];
        heard.read_exact(&mut count).expect("it writes");
        child.end();
        written = first + count.len() + bytes_in(&heard);
        packed = names(folder.path()).iter().filter(|name| name.ends_with(".gz")).count();
    }
    let text = contents(folder.path()).concat();
    let lines = text.lines().filter(|line| line.ends_with('.'));
    let numbers: Vec<usize> =
        lines.map(|line| line.trim_end_matches('.').parse().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "in order, each once");
    assert!(numbers.len() >= written && packed > 0, "{packed}");
}

#[test]
fn several_may_write_and_compress() {
    const LINES: usize = 400;
    let folder = folder();
    let path = folder.path().join("log");
    let writer = |writer: usize| {
        fork(|| {
            let Ok(mut log) = RotatingFile::open(&path, 200, 1_000_000) else { return 1 };
            if log.set_compressed(true).is_err() {
                return 2;
            }
            for number in 0..LINES {
                if log.write_all(format!("{writer}:{number}\n").as_bytes()).is_err() {
                    return 3;
                }
            }
            0
        })
    };
    let children: Vec<_> = (0..3).map(writer).collect();
    children.into_iter().for_each(Child::succeeds);
    let text = contents(folder.path()).concat();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> =
        (0..3 * LINES).map(|line| format!("{}:{}", line / LINES, line % LINES)).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}
