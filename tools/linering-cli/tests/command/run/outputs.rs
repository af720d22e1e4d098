//! Outputs that close, are full or go to a file too: what each does to the run.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use flate2::read::MultiGzDecoder;

use super::{linering, run};
use crate::common::{err, folder, out, scratch, sorted, text};

#[test]
fn a_closed_stdout_ends_it_quietly() {
    for count in ["1", "3"] {
        let mut child = linering(&["-n", count, "--", "yes"]);
        let mut child =
            child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "y\n");
        let output = child.wait_with_output().expect("ours");
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    }
}

#[test]
fn a_full_stdout_is_a_failure_that_is_named() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output = linering(&["--", "echo", "hello"]).stdout(full).output().expect("it starts");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        err(&output),
        "linering: cannot write the standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn an_output_without_a_reader_ends_the_workers() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output = linering(&["--", "yes"]).stdout(full()).output().expect("it ends");
    assert_eq!(output.status.code(), Some(125));
    // Nothing is written before the end, and then there is no reader.
    let mut child = linering(&["--group", "--", "yes"]);
    let mut child = child.stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("ours").code(), Some(0));
    // A ring's file is not left behind if nothing could be started.
    let path = scratch("run-not-started");
    let output = run(&["--file", path.to_str().expect("UTF-8"), "--", "/no/such/command"]);
    assert_eq!((output.status.code(), path.exists()), (Some(127), false));
}

#[test]
fn everything_goes_to_a_file_too_which_rotates() {
    let folder = folder();
    let path = folder.path().join("log");
    let log = path.to_str().expect("UTF-8");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    // Both streams, and what is there stays.
    for (worker, before) in [("first", 0), ("second", 2)] {
        assert_eq!(read("log").lines().count(), before);
        let output =
            run(&["--output", log, "--", "sh", "-c", &format!("echo {worker}; echo err >&2")]);
        assert_eq!((out(&output), err(&output)), (format!("{worker}\n"), "err\n".to_owned()));
    }
    assert_eq!(sorted(&read("log")), ["err", "err", "first", "second"]);
    fs::remove_file(&path).expect("it is there");
    let output =
        run(&["--output", log, "--rotate", "1K", "--keep", "20", "--tag", "--", "seq", "1000"]);
    let files: Vec<String> =
        (1..=20).rev().map(|number| format!("log.{number}")).chain(["log".to_owned()]).collect();
    assert_eq!(files.iter().map(|name| read(name)).collect::<String>(), out(&output));
    assert!(
        files.iter().all(|name| read(name).len() <= 1024 && !read(name).starts_with(|c| c != '['))
    );
    assert!(
        read("log.7").len() > 1000 && read("log.20").is_empty(),
        "{:?}",
        fs::read_dir(folder.path())
    );
}

#[test]
fn old_files_are_compressed_and_counted_by_keep() {
    let folder = folder();
    let path = folder.path().join("log");
    let log = text(&path);
    let of = |name: &str| folder.path().join(name);
    // What a run has left that did not compress is compressed too.
    for (options, worker) in
        [(&["--keep", "30"][..], "2000"), (&["--keep", "30", "--compress"], "3000")]
    {
        let rotate = [&["--output", log, "--rotate", "1K"], options, &["--", "seq", worker]];
        let output = run(&rotate.concat());
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    }
    let expected: String = (1..=2000).chain(1..=3000).map(|number| format!("{number}\n")).collect();
    let unpacked = |number: u32| {
        let file = fs::File::open(of(&format!("log.{number}.gz"))).expect("a file");
        let mut text = String::new();
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("it is whole");
        assert!(text.len() <= 1024);
        text
    };
    let old = (1..).take_while(|number| of(&format!("log.{number}.gz")).exists()).count() as u32;
    let kept: String = (1..=old).rev().map(unpacked).collect();
    assert_eq!(kept + &fs::read_to_string(&path).expect("UTF-8"), expected);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count() as u32, old + 1);
    // Fewer stay, of either form.
    for options in [&["--keep", "4"][..], &["--keep", "2", "--compress"]] {
        run(&[&["--output", log, "--rotate", "1K"], options, &["--", "seq", "500"]].concat());
    }
    let left = fs::read_dir(folder.path()).expect("a folder").flatten();
    let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["log", "log.1.gz", "log.2.gz"]);
    let output = run(&["--output", log, "--compress", "--", "true"]);
    assert!(output.status.code() == Some(125) && err(&output).contains("--rotate"));
}

#[test]
fn with_a_file_the_draining_goes_on_when_stdout_has_no_reader() {
    let path = scratch("run-goes-on");
    let args = ["--output", path.to_str().expect("UTF-8"), "--", "seq", "1000000"];
    let mut child =
        linering(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ours");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let expected: String = (1..=1_000_000).map(|number| format!("{number}\n")).collect();
    assert!(fs::read_to_string(&path).expect("a file") == expected);
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_the_rest_goes_on() {
    let output = run(&["--output", "/dev/full", "--", "seq", "100000"]);
    assert_eq!(out(&output).lines().count(), 100_000);
    let expected = "linering: cannot write /dev/full: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(125), expected));
    // Before anything was started.
    for (options, expected) in [
        (&["--output", "/dev/null", "--rotate", "10M"][..], "regular file"),
        (&["--output", "/no/folder/log"], "cannot write /no/folder/log: No such file"),
        (&["--output", "/"], "cannot write /: Is a directory"),
    ] {
        let output = run(&[options, &["--", "echo", "started"]].concat());
        assert_eq!((output.status.code(), out(&output)), (Some(125), String::new()), "{options:?}");
        assert!(
            err(&output).contains(expected) && err(&output).lines().count() == 1,
            "{}",
            err(&output)
        );
    }
    for options in [
        &["--rotate", "1M"][..],
        &["--output", "x", "--rotate", "1T"],
        &["--output", "x", "--keep", "0"],
    ] {
        let output = run(&[options, &["--", "echo", "started"]].concat());
        assert_eq!((output.status.code(), out(&output)), (Some(125), String::new()), "{options:?}");
    }
}

/// A folder that is away for a while: what comes meanwhile is kept as far as there is room, and the
/// gap is told.
#[test]
fn an_output_that_cannot_be_written_for_a_while_goes_on_after_it() {
    let folder = folder();
    let (there, away) = (folder.path().join("there"), folder.path().join("away"));
    fs::create_dir(&there).expect("a folder");
    let log = there.join("log");
    for lines in [10, 100_000] {
        let _ = fs::remove_file(&log);
        let mut child = linering(&["--output", text(&log), "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut to = child.stdin.take().expect("a pipe");
        let mut from = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        to.write_all(b"before\n").expect("it reads");
        from.read_line(&mut line).expect("a line");
        let is_written = || fs::read_to_string(&log).is_ok_and(|text| text == "before\n");
        while !is_written() {
            std::thread::yield_now();
        }
        fs::rename(&there, &away).expect("ours");
        to.write_all(b"meanwhile\n").expect("it reads");
        line.clear();
        err.read_line(&mut line).expect("a note");
        assert!(line.starts_with(&format!("linering: cannot write {}: ", log.display())), "{line}");
        let writer = std::thread::spawn(move || {
            (1..lines).try_for_each(|_| to.write_all(b"meanwhile\n")).expect("it reads");
            to
        });
        for _ in 0..lines {
            line.clear();
            from.read_line(&mut line).expect("a line");
            assert_eq!(line, "meanwhile\n");
        }
        fs::rename(&away, &there).expect("ours");
        let mut to = writer.join().expect("it wrote");
        // It is tried again with what comes.
        let mut sent = 0;
        line.clear();
        std::thread::scope(|scope| {
            let told = scope.spawn(|| err.read_line(&mut line).expect("a note"));
            while !told.is_finished() {
                to.write_all(b"after\n").expect("it reads");
                sent += 1;
                let mut line = String::new();
                from.read_line(&mut line).expect("a line");
            }
        });
        drop(to);
        assert_eq!(child.wait().expect("ours").code(), Some(125));
        let missing =
            line.strip_suffix(" lines are missing\n").and_then(|line| line.rsplit_once(' '));
        let missing: usize = missing.expect("a number").1.parse().expect("a number");
        let kept = fs::read_to_string(&log).expect("it");
        assert_eq!(kept.lines().count() + missing, 1 + lines + sent, "{line}");
        assert_eq!(missing > 0, lines > 10, "{line}");
        assert!(kept.starts_with("before\nmeanwhile\n") && kept.ends_with("after\n"));
    }
}
