//! Outputs that close, are full or go to a file too: what each does to the run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{linering, run};
use crate::common::{err, folder, out, scratch, sorted};

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
