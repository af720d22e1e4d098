//! What a worker is started with: its command, its number, its standard input, its limits; a
//! command that cannot be started is named.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::{linering, run};
use crate::common::example;
use crate::common::{err, folder, out, scratch, sorted, text};

#[test]
fn one_copy_reads_the_standard_input_and_several_read_nothing() {
    let mut child = linering(&["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"in\nand out").expect("room");
    assert_eq!(child.wait_with_output().expect("ours").stdout, b"in\nand out");
    let mut child = linering(&["-n", "2", "--", "cat"]);
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    assert_eq!(child.wait_with_output().expect("ours").stdout, b"");
}

#[test]
fn copies_know_their_number_and_how_many_they_are() {
    let output = run(&["-n", "3", "--", "sh", "-c", "echo $LINERING_WORKER of $LINERING_WORKERS"]);
    assert_eq!(sorted(&out(&output)), ["0 of 3", "1 of 3", "2 of 3"]);
}

#[test]
fn each_line_of_a_file_is_a_command() {
    let path = scratch("run-commands");
    fs::write(
        &path,
        "echo one\n\n  # a comment\necho two; exit 3\n  echo $LINERING_WORKER of $LINERING_WORKERS",
    )
    .expect("a file");
    let path = path.to_str().expect("UTF-8");
    let output = run(&["--tag", "--commands", path]);
    assert_eq!(sorted(&out(&output)), ["[0] one", "[1] two", "[2] 2 of 3"]);
    assert_eq!(output.status.code(), Some(1));
    for (args, code, words) in [
        (&["--commands", path, "--", "true"][..], 125, "cannot be used with"),
        (&["--commands", path, "-n", "2"], 125, "cannot be used with"),
        (&["--commands", "/dev/null"], 125, "/dev/null has 0 commands, expected some"),
        (&["--commands", "/nonexistent"], 125, "cannot read /nonexistent: No such file"),
    ] {
        let output = run(args);
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_program_that_links_linering_writes_straight_into_the_ring() {
    let native = example("native_worker");
    let output = run(&["-n", "3", "--summary", "--", native.to_str().expect("UTF-8")]);
    let out = out(&output);
    for worker in 0..3 {
        let begin = format!("worker {worker}, line ");
        let numbers =
            out.lines().filter_map(|line| line.strip_prefix(&begin)?.parse::<usize>().ok());
        assert!(numbers.eq(0..1000), "worker {worker}");
    }
    assert_eq!(out.lines().filter(|line| line.starts_with("printed by ")).count(), 3);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let err = err(&output);
    assert!(
        err.lines().skip(1).all(|line| line.split_whitespace().nth(1) == Some("1001")),
        "{err}"
    );
}

#[test]
fn more_workers_than_descriptors_are_started_all_the_same_and_have_the_limit_that_was() {
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let script =
        format!("ulimit -S -n 64; exec {} run -n 100 -- sh -c 'ulimit -S -n'", program.display());
    let output = Command::new("sh").args(["-c", &script]).output().expect("it starts");
    assert_eq!(
        (out(&output), output.status.code()),
        ("64\n".repeat(100), Some(0)),
        "{}",
        err(&output)
    );
}

#[test]
fn wrong_usage_and_commands_that_cannot_be_started_are_told_apart() {
    for (args, code, words) in [
        (&[][..], 125, "<CMD>"),
        (&["-n", "0", "--", "true"], 125, "expected a number from 1 to 1000"),
        (&["-n", "10000", "--", "true"], 125, "expected a number from 1 to 1000"),
        (&["--frobnicate", "--", "true"], 125, "--frobnicate"),
        (
            &["--tag={host}", "--", "true"],
            125,
            "found {host}, expected {worker}, {name}, {stream} or {pid}",
        ),
        (&["--lines", "1", "--", "true"], 125, "lines is 1, expected 2 to 8388608"),
        (&["-o", "xml", "--", "true"], 125, "'xml'"),
        (
            &["--", "/nonexistent/command"],
            127,
            "linering: cannot start /nonexistent/command: No such file",
        ),
        (&["--", "/"], 126, "linering: cannot start /: Permission denied"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn standard_input_is_for_one_for_all_or_for_none() {
    let folder = folder();
    let input = folder.path().join("input");
    fs::write(&input, "first\nsecond\n").expect("a file");
    for (options, expected) in [
        (&["-n", "2", "--stdin", "1"][..], &["[1] first", "[1] second"][..]),
        (&["-n", "2", "--stdin", "all"], &["[0] first", "[0] second", "[1] first", "[1] second"]),
        (&["-n", "2", "--stdin", "none"], &[]),
        (&["--stdin", "none"], &[]),
    ] {
        let mut command = linering(&[options, &["--tag", "--", "cat"]].concat());
        let output = command.stdin(fs::File::open(&input).expect("it")).output().expect("it runs");
        assert_eq!(sorted(&out(&output)), expected, "{options:?}");
    }
    let mut command = linering(&["--tag", "--commands", "-"]);
    fs::write(&input, "echo a\n# none\ncat; echo b\n").expect("a file");
    let output = command.stdin(fs::File::open(&input).expect("it")).output().expect("it runs");
    assert_eq!(sorted(&out(&output)), ["[0] a", "[1] b"]);
    for options in [&["--stdin", "2", "-n", "2"][..], &["--stdin", "all", "--args", "-"]] {
        let output = run(&[options, &["--", "true"]].concat());
        assert_eq!(output.status.code(), Some(125), "{options:?}");
        assert!(err(&output).contains("found --stdin"), "{}", err(&output));
    }
}

#[test]
fn some_are_shown_and_all_are_kept() {
    let folder = folder();
    let (results, log) = (folder.path().join("results"), folder.path().join("log"));
    let script = "echo out $LINERING_WORKER; printf 'err \\033[1m' >&2";
    let mut kept = Vec::new();
    // The second time anew.
    for _ in 0..2 {
        let options = ["-n", "4", "--tag", "--show", "0,2-3", "--results", text(&results)];
        let more = ["--output", text(&log), "--", "sh", "-c", script];
        let output = run(&[&options[..], &more[..]].concat());
        assert_eq!(sorted(&out(&output)), ["[0] out 0", "[2] out 2", "[3] out 3"]);
        assert_eq!(err(&output).lines().count(), 3);
        kept = fs::read_dir(&results)
            .expect("a folder")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let text = fs::read_to_string(&path).expect("UTF-8");
                (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
            })
            .collect();
        kept.sort();
    }
    let expected = (0..4).flat_map(|worker| {
        let out = (format!("{worker}.stdout"), format!("out {worker}\n"));
        [(format!("{worker}.stderr"), "err \u{1b}[1m".to_owned()), out]
    });
    assert_eq!(kept, expected.collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(&log).expect("it").lines().count(), 16);
    let output = run(&["--show", "1", "--", "true"]);
    assert!(err(&output).contains("found --show 1, expected"), "{}", err(&output));
}
