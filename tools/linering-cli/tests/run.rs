//! `linering run` from outside: real commands, their bytes, their ends.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn linering(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("linering"));
    command.arg("run").args(args);
    command
}

fn run(args: &[&str]) -> Output {
    linering(args).stdin(Stdio::null()).output().expect("it starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn one_copys_output_is_the_commands_byte_for_byte() {
    let cases: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("one line", b"one line\n".to_vec()),
        ("no end", b"one line\nand no end".to_vec()),
        ("returns", b"dos\r\n 50%\r100%\n\r\n\r".to_vec()),
        ("binary", (0..=255).cycle().take(300_000).collect()),
        ("empty lines", vec![b'\n'; 100_000]),
        ("long lines", [vec![b'x'; 9_000_000], b"\nshort\n".to_vec(), vec![b'y'; 5_000_000]].concat()),
    ];
    for (case, bytes) in cases {
        let path = scratch(&format!("run-{}", case.replace(' ', "-")));
        fs::write(&path, &bytes).expect("a file");
        let output = run(&["--", "cat", path.to_str().expect("UTF-8")]);
        assert!(
            output.stdout == bytes,
            "{case}: {} bytes came, not these {}",
            output.stdout.len(),
            bytes.len()
        );
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{case}");
    }
}

#[test]
fn one_copy_reads_the_standard_input_and_several_read_nothing() {
    let mut child =
        linering(&["--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
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
fn each_stream_goes_to_its_own() {
    let output = run(&["-n", "2", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((out(&output), err(&output)), ("out\nout\n".to_owned(), "err\nerr\n".to_owned()));
}

#[test]
fn lines_of_several_copies_are_whole_and_in_their_order_whatever_pieces_they_come_in() {
    // Lines of 0 to 100,000 bytes, in pieces that end anywhere.
    let script = r#"
import os, random
worker = os.environ["LINERING_WORKER"]
random.seed(worker)
text = bytearray()
for i in range(300):
    size = random.choice([0, 1, 10, 200, 3000, 100000])
    text += f"{worker}.{i}.".encode() + (worker.encode() * size) + b"\n"
at = 0
while at < len(text):
    size = random.choice([1, 7, 4096, 65536, 300000])
    os.write(1, text[at:at + size])
    at += size
"#;
    for tag in [None, Some("--tag={worker}|")] {
        let args: Vec<&str> =
            ["-n", "4"].into_iter().chain(tag).chain(["--", "python3", "-c", script]).collect();
        let output = run(&args);
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
        let mut next = HashMap::<char, usize>::new();
        for line in out(&output).lines() {
            let line = match tag {
                None => line,
                Some(_) => {
                    let (tag, line) = line.split_once('|').expect("a tag");
                    assert!(line.starts_with(tag));
                    line
                }
            };
            let worker = line.chars().next().expect("a worker");
            let number = next.entry(worker).or_default();
            let rest =
                line.strip_prefix(&format!("{worker}.{number}.")).unwrap_or_else(|| panic!("{line:.80}"));
            assert!(rest.chars().all(|c| c == worker), "mixed");
            *number += 1;
        }
        assert_eq!(next.len(), 4);
        assert!(next.values().all(|lines| *lines == 300), "{next:?}");
    }
}

#[test]
fn a_tag_stands_before_each_line() {
    let script = "echo out; echo err >&2; printf unfinished";
    let output = run(&["-n", "2", "--tag", "--", "sh", "-c", script]);
    assert_eq!(sorted(&out(&output)), ["[0] out", "[0] unfinished", "[1] out", "[1] unfinished"]);
    assert_eq!(sorted(&err(&output)), ["[0] err", "[1] err"]);
    let output = run(&["--tag={{{stream}}} ", "--", "sh", "-c", script]);
    assert_eq!(
        (out(&output), err(&output)),
        ("{stdout} out\n{stdout} unfinished".into(), "{stderr} err\n".into())
    );
}

#[test]
fn the_exit_code_is_the_number_of_copies_that_failed() {
    for (count, script, code) in [
        ("3", "true", 0),
        ("3", "false", 3),
        ("4", "exit $((LINERING_WORKER % 2 * 7))", 2),
        ("120", "exit 9", 100),
    ] {
        assert_eq!(run(&["-n", count, "--", "sh", "-c", script]).status.code(), Some(code), "{script}");
    }
}

#[test]
fn a_killed_copy_is_named_and_what_it_wrote_is_printed() {
    let script = "echo before; if [ $LINERING_WORKER = 1 ]; then kill -KILL $$; fi; echo after";
    let output = run(&["-n", "3", "--", "sh", "-c", script]);
    assert_eq!(sorted(&out(&output)), ["after", "after", "before", "before", "before"]);
    assert_eq!(err(&output), "linering: worker 1 was killed by SIGKILL\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn wrong_usage_and_commands_that_cannot_be_started_are_told_apart() {
    for (args, code, words) in [
        (&[][..], 2, "<CMD>"),
        (&["-n", "0", "--", "true"], 2, "expected a number from 1 to 2000"),
        (&["-n", "10000", "--", "true"], 2, "expected a number from 1 to 2000"),
        (&["--frobnicate", "--", "true"], 2, "--frobnicate"),
        (&["--tag={host}", "--", "true"], 2, "found {host}, expected {worker}, {stream} or {pid}"),
        (&["--", "/nonexistent/command"], 127, "linering: cannot start /nonexistent/command: No such file"),
        (&["--", "/"], 127, "linering: cannot start /: Permission denied"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    for count in ["1", "3"] {
        let mut child = linering(&["-n", count, "--", "yes"]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
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
    assert_eq!(err(&output), "linering: cannot write the output: No space left on device (os error 28)\n");
}

#[test]
fn a_signal_is_passed_on_and_what_was_written_is_printed() {
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut child = linering(&["-n", "2", "--", "sh", "-c", script]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for _ in 0..2 {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
    }
    // SAFETY: a plain system call on a child that was not awaited.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "told\ntold\n");
    assert_eq!(child.wait().expect("ours").code(), Some(2));
}

#[test]
#[expect(clippy::zombie_processes, reason = "awaited by wait4, which tells its memory")]
fn memory_is_bounded_however_long_a_line_is() {
    // 300 MB without an end of line.
    let script = "head -c 300000000 /dev/zero";
    let mut child = linering(&["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = stdout.read(&mut buffer).expect("bytes");
        if read == 0 {
            break;
        }
        assert!(buffer[..read].iter().all(|byte| *byte == 0));
        bytes += read;
    }
    assert_eq!(bytes, 300_000_000);
    // SAFETY: a plain C struct, for which zeros are valid.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: a child of ours that was not awaited; both live during the call.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut used) };
    assert_eq!((waited, status), (child.id() as i32, 0));
    let megabytes = used.ru_maxrss / 1024;
    assert!(megabytes < 64, "{megabytes} MiB");
}
