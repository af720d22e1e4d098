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
        (
            "long lines",
            [vec![b'x'; 9_000_000], b"\nshort\n".to_vec(), vec![b'y'; 5_000_000]].concat(),
        ),
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

/// A program of this package's `examples/`, which the tests' build has built.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this program");
    let path = tests.ancestors().nth(2).expect("a build's folder").join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not there: build it with `cargo build --examples`",
        path.display()
    );
    path
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
    for option in [None, Some("--tag={worker}|"), Some("-ojson"), Some("--group")] {
        let args: Vec<&str> =
            ["-n", "4"].into_iter().chain(option).chain(["--", "python3", "-c", script]).collect();
        let output = run(&args);
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
        let mut next = HashMap::<char, usize>::new();
        for line in out(&output).lines() {
            let object: serde_json::Value;
            let line = match option {
                Some("-ojson") => {
                    object = serde_json::from_str(line).expect("JSON");
                    let text = object["msg"].as_str().expect("text");
                    assert!(text.starts_with(&object["worker"].to_string()));
                    text
                }
                Some("--tag={worker}|") => {
                    let (tag, line) = line.split_once('|').expect("a tag");
                    assert!(line.starts_with(tag));
                    line
                }
                _ => line,
            };
            let worker = line.chars().next().expect("a worker");
            let number = next.entry(worker).or_default();
            let rest = line
                .strip_prefix(&format!("{worker}.{number}."))
                .unwrap_or_else(|| panic!("{line:.80}"));
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
        assert_eq!(
            run(&["-n", count, "--", "sh", "-c", script]).status.code(),
            Some(code),
            "{script}"
        );
    }
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
        (&["--commands", path, "--", "true"][..], 2, "cannot be used with"),
        (&["--commands", path, "-n", "2"], 2, "cannot be used with"),
        (&["--commands", "/dev/null"], 2, "/dev/null has 0 commands, expected 1 to 1000"),
        (&["--commands", "/nonexistent"], 125, "cannot read /nonexistent: No such file"),
    ] {
        let output = run(args);
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn the_ring_can_be_a_file_that_stays_or_have_a_name_meanwhile() {
    let path = scratch("run.ring");
    let _ = fs::remove_file(&path);
    let text = path.to_str().expect("UTF-8");
    let output = run(&["--file", text, "--", "echo", "hello"]);
    assert_eq!(
        (out(&output), output.status.code()),
        ("hello\n".to_owned(), Some(0)),
        "{}",
        err(&output)
    );
    let ring = linering::LineRing::open_file(&path).expect("it stays");
    assert!(ring.reader().expect("no other reader").next().is_none(), "everything was read");
    let output = run(&["--file", text, "--", "echo", "hello"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains(&format!("{text} is there already")), "{}", err(&output));
    let name = format!("linering-run-test-{}", std::process::id());
    let shown = format!("/dev/shm/{name}");
    let output = run(&["--name", &name, "--", "test", "-e", &shown]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(!Path::new(&shown).exists());
    let output = run(&["--name", "a/b", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("\"a/b\" is no name for a ring"), "{}", err(&output));
    let output = run(&["--file", "/nonexistent/x.ring", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("cannot make the file: No such file"), "{}", err(&output));
}

#[test]
fn halt_ends_the_others_when_one_has_failed() {
    let script =
        "if [ $LINERING_WORKER = 2 ]; then echo failing; exit 7; fi; echo begun; exec sleep 1000";
    let output = run(&["-n", "4", "--halt", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(1));
    let err = err(&output);
    assert_eq!(err.lines().filter(|line| line.ends_with("killed by SIGTERM")).count(), 3, "{err}");
    assert_eq!(err.lines().filter(|line| line.ends_with("exit code 7")).count(), 1, "{err}");
    assert!(!err.contains("linering: worker"), "{err}");
}

#[test]
fn a_killed_copy_is_named_and_what_it_wrote_is_printed() {
    let script = "echo before; if [ $LINERING_WORKER = 1 ]; then kill -KILL $$; fi; echo after";
    let output = run(&["-n", "3", "--", "sh", "-c", script]);
    assert_eq!(sorted(&out(&output)), ["after", "after", "before", "before", "before"]);
    let err = err(&output);
    assert!(err.starts_with("linering: worker 1 was killed by SIGKILL\nworker "), "{err}");
    // The summary, since one failed.
    assert_eq!(err.lines().filter(|line| line.ends_with("exit code 0")).count(), 2, "{err}");
    assert!(
        err.lines()
            .any(|line| line.trim().starts_with("1 ") && line.ends_with("killed by SIGKILL")),
        "{err}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn wrong_usage_and_commands_that_cannot_be_started_are_told_apart() {
    for (args, code, words) in [
        (&[][..], 2, "<CMD>"),
        (&["-n", "0", "--", "true"], 2, "expected a number from 1 to 1000"),
        (&["-n", "10000", "--", "true"], 2, "expected a number from 1 to 1000"),
        (&["--frobnicate", "--", "true"], 2, "--frobnicate"),
        (&["--tag={host}", "--", "true"], 2, "found {host}, expected {worker}, {stream} or {pid}"),
        (&["--lines", "1", "--", "true"], 2, "lines is 1, expected 2 to 8388608"),
        (&["-o", "xml", "--", "true"], 2, "'xml'"),
        (
            &["--", "/nonexistent/command"],
            127,
            "linering: cannot start /nonexistent/command: No such file",
        ),
        (&["--", "/"], 127, "linering: cannot start /: Permission denied"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_line_is_a_json_object_if_that_is_asked_for() {
    let script = r#"printf 'a "quoted"\tline\n\377\n'; echo err >&2; printf end"#;
    let output = run(&["-o", "json", "--", "sh", "-c", script]);
    let objects: Vec<serde_json::Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects.len(), 4, "{objects:?}");
    for object in &objects {
        assert_eq!(object["worker"], 0);
        let time: jiff::Timestamp =
            object["time"].as_str().expect("a time").parse().expect("RFC 3339");
        let age = jiff::Timestamp::now().duration_since(time);
        assert!(age.abs().as_secs() < 1000, "{time}");
    }
    let of = |stream: &str| {
        objects.iter().filter(|object| object["stream"] == stream).collect::<Vec<_>>()
    };
    let [first, second, third] = of("stdout")[..] else { panic!("{objects:?}") };
    assert_eq!(
        (&first["msg"], first.get("lossy"), first.get("unfinished")),
        (&"a \"quoted\"\tline".into(), None, None)
    );
    assert_eq!((&second["msg"], &second["lossy"]), (&"\u{fffd}".into(), &true.into()));
    assert_eq!((&third["msg"], &third["unfinished"]), (&"end".into(), &true.into()));
    assert!(first["position"].as_u64() < second["position"].as_u64());
    assert_eq!(of("stderr")[0]["msg"], "err");
    assert_eq!(err(&output), "");
}

#[test]
fn times_stand_before_lines_and_tags() {
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    for (args, rest) in [
        (&["--timestamps"][..], "text"),
        (&["--timestamps", "--tag"], "[0] text"),
        (&["-o", "short"], "[0] text"),
        (&["-o", "short", "--tag=<{worker}> "], "<0> text"),
    ] {
        let output = out(&run(&[args, &["--", "echo", "text"]].concat()));
        let (time, found) = output.trim_end().split_once(' ').expect("a time");
        assert!(is_time(time) && found == rest, "{args:?}: {output}");
    }
}

#[test]
fn the_summary_counts_each_copys_lines_and_bytes() {
    let script = "seq $((LINERING_WORKER * 1000)); echo err >&2; printf end";
    let output = run(&["-n", "3", "--summary", "--", "sh", "-c", script]);
    let err = err(&output);
    let rows: Vec<Vec<&str>> = err.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |worker: &str| rows.iter().find(|row| row[0] == worker).expect("a row");
    for (worker, lines, bytes) in [("0", "2", 7), ("1", "1002", 3893 + 7), ("2", "2002", 8893 + 7)]
    {
        assert_eq!(row(worker)[1..4], [lines, &bytes.to_string(), "0"], "{err}");
        assert!(row(worker).ends_with(&["exit", "code", "0"]), "{err}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_ring_that_may_lose_lines_counts_them_and_strict_makes_that_a_failure() {
    for policy in ["drop", "overwrite"] {
        let small = ["--on-full", policy, "--lines", "4", "--line-bytes", "64", "--summary"];
        let command = ["--", "seq", "1", "200000"];
        let output = run(&[&small[..], &command].concat());
        let came = out(&output).lines().count();
        let err = self::err(&output);
        let row: Vec<&str> = err.lines().last().expect("a summary").split_whitespace().collect();
        let (counted, lost): (usize, usize) =
            (row[1].parse().expect("lines"), row[3].parse().expect("lost"));
        assert_eq!((came, came + lost), (counted, 200_000), "{policy}");
        assert_eq!(output.status.code(), Some(0), "{policy}");
        let output = run(&[&small[..], &["--strict"], &command].concat());
        assert_eq!(
            output.status.code(),
            Some(i32::from(self::err(&output).contains(" lost, "))),
            "{policy}"
        );
    }
}

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
fn memory_is_bounded_however_long_a_line_is() {
    // 300 MB without an end of line.
    const BYTES: usize = 300_000_000;
    let script = format!("head -c {BYTES} /dev/zero");
    let mut child =
        linering(&["--", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 1 << 20];
    let (mut bytes, mut kib) = (0, 0);
    loop {
        let read = stdout.read(&mut buffer).expect("bytes");
        if read == 0 {
            break;
        }
        assert!(buffer[..read].iter().all(|byte| *byte == 0));
        bytes += read;
        if kib == 0 && bytes > BYTES - (4 << 20) {
            // It lives: more is to come than a pipe holds.
            let status =
                fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a process");
            let highest =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
            kib = highest.trim().trim_end_matches(" kB").parse::<usize>().expect("a number");
        }
    }
    assert_eq!((bytes, child.wait().expect("ours").code()), (BYTES, Some(0)));
    assert!((1..64 << 10).contains(&kib), "{kib} KiB");
}

#[test]
fn everything_goes_to_a_file_too_which_rotates() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
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
    let _ = fs::remove_file(&path);
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
        assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()), "{options:?}");
    }
}

#[test]
fn a_group_is_one_workers_output() {
    // Each waits until all have written their first line; one writes more than is kept in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let there = folder.path().to_str().expect("UTF-8");
    let script = format!(
        "echo $LINERING_WORKER begins; : > {there}/$LINERING_WORKER
        until [ -e {there}/0 ] && [ -e {there}/1 ] && [ -e {there}/2 ]; do sleep 0.01; done
        [ $LINERING_WORKER != 1 ] || seq 100000; echo err $LINERING_WORKER >&2; printf no.end"
    );
    let output = run(&["-n", "3", "--group", "--tag={worker}|", "--", "sh", "-c", &script]);
    let out = out(&output);
    let mut lines = out.lines().peekable();
    let mut order = Vec::new();
    while let Some(line) = lines.next() {
        let worker = line
            .strip_suffix(" begins")
            .and_then(|line| line.split_once('|'))
            .expect("its first line")
            .1;
        let more = if worker == "1" { 100_000 } else { 0 };
        assert!(lines.by_ref().take(more).eq((1..=more).map(|number| format!("1|{number}"))));
        assert_eq!(lines.next(), Some(&*format!("{worker}|no.end")));
        order.push(worker);
    }
    order.sort_unstable();
    assert_eq!(order, ["0", "1", "2"]);
    assert_eq!(sorted(&err(&output)), ["0|err 0", "1|err 1", "2|err 2"]);
    // Nowhere to keep it: it comes all the same.
    let output = linering(&["-n", "2", "--group", "--", "seq", "100000"])
        .env("TMPDIR", "/no/folder")
        .output();
    let output = output.expect("it starts");
    assert_eq!(self::out(&output).lines().count(), 200_000);
    assert!(
        err(&output).contains("cannot keep the output of worker 0 for its end: "),
        "{}",
        err(&output)
    );
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn what_there_is_is_shown_before_the_wait_for_more() {
    for format in ["cat", "json", "short"] {
        let script = "seq 20; read end; seq 3";
        let mut child = linering(&["-o", format, "--", "sh", "-c", script]);
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        for _ in 0..20 {
            lines.next().expect("it is shown").expect("UTF-8");
        }
        drop(child.stdin.take());
        assert_eq!(lines.count(), 3, "{format}");
        assert_eq!(child.wait().expect("ours").code(), Some(0));
    }
}

#[test]
fn lines_are_whole_where_stdout_and_stderr_are_one_file() {
    let path = scratch("run-one-file");
    for options in [
        &["-n", "2"][..],
        &["-n", "2", "--tag"],
        &["-n", "2", "--group"],
        &["-n", "2", "--max-line", "4"],
    ] {
        let file = fs::File::create(&path).expect("a file");
        let script = "seq 100000 150000 & seq 200000 250000 >&2; wait";
        let mut command = linering(&[options, &["--", "sh", "-c", script]].concat());
        command.stdout(file.try_clone().expect("a descriptor")).stderr(file);
        assert_eq!(command.status().expect("it starts").code(), Some(0));
        let text = fs::read_to_string(&path).expect("UTF-8");
        let is_whole = |line: &str| {
            let line = line.strip_prefix("[0] ").or(line.strip_prefix("[1] ")).unwrap_or(line);
            line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit())
        };
        // A line over the longest comes in pieces, but not glued to another's.
        let wrong = text.lines().filter(|line| !is_whole(line)).count();
        assert!(wrong == 0 || options.contains(&"--max-line"), "{options:?}: {wrong}");
        assert!(
            text.lines().count() >= 200_004 && text.lines().all(|line| line.len() <= 10),
            "{options:?}"
        );
    }
}

#[test]
fn who_was_told_to_end_leaves_nothing_that_is_waited_for() {
    // The worker is gone, what it started keeps its pipes open.
    let mut child = linering(&["--", "sh", "-c", "sleep 1000 & echo $!"]);
    let mut child = child.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut sleeper = String::new();
    stdout.read_line(&mut sleeper).expect("a line");
    // SAFETY: plain system calls, on a child that was not awaited and on what its child has
    // started.
    unsafe {
        assert_eq!(libc::kill(child.id() as i32, libc::SIGTERM), 0);
        child.wait().expect("it does not wait for the sleeper");
        libc::kill(sleeper.trim().parse().expect("a number"), libc::SIGKILL);
    }
    let path = scratch("run-left-behind");
    fs::write(&path, "sleep 1000 & echo $!; sleep 1000\nexit 3\n").expect("a file");
    let output = run(&["--halt", "--commands", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    for sleeper in out(&output).lines() {
        // SAFETY: as above.
        unsafe { libc::kill(sleeper.parse().expect("a number"), libc::SIGKILL) };
    }
}

#[test]
fn a_halt_hides_no_failure_and_counts_none_that_it_causes() {
    let code = |script: &str| run(&["-n", "3", "--halt", "--", "sh", "-c", script]).status.code();
    // The first is killed by the signal that halts the others.
    let first = "[ $LINERING_WORKER = 0 ] || exec sleep 1000; kill -TERM $$";
    assert_eq!(code(first), Some(1));
    let trapped =
        "[ $LINERING_WORKER != 0 ] || exit 5; trap 'exit 143' TERM; while :; do sleep 0.01; done";
    assert_eq!(code(trapped), Some(1));
}

#[test]
fn lines_that_are_cut_short_are_told_and_strict_makes_them_a_failure() {
    let small = ["--on-full", "drop", "--lines", "2", "--line-bytes", "64"];
    let command = ["--", "sh", "-c", "seq -s ' ' 1 500"];
    let output = run(&[&small[..], &["--strict"], &command].concat());
    assert_eq!(
        (output.status.code(), err(&output).as_str()),
        (Some(1), "linering: worker 0: 1 line cut short\n")
    );
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one_and_an_ignored_one_stays_ignored() {
    let script =
        "trap 'sleep 0.1; echo trapped; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut child = linering(&["--", "sh", "-c", script]);
    let mut child = child.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut String::new()).expect("it is ready");
    for _ in 0..2 {
        // SAFETY: a plain system call on a child that was not awaited.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    }
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert_eq!((rest.as_str(), child.wait().expect("ours").code()), ("trapped\n", Some(0)));
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let script =
        format!("trap '' HUP; exec {} run -- grep SigIgn /proc/self/status", program.display());
    let output = Command::new("sh").args(["-c", &script]).output().expect("it starts");
    let ignored = out(&output).trim().trim_start_matches("SigIgn:").trim().to_owned();
    assert_eq!(u64::from_str_radix(&ignored, 16).expect("hexadecimal") & 1, 1, "{ignored}");
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
    let _ = fs::remove_file(&path);
    let output = run(&["--file", path.to_str().expect("UTF-8"), "--", "/no/such/command"]);
    assert_eq!((output.status.code(), path.exists()), (Some(127), false));
}

/// What a terminal is sent, by a command whose stderr, and stdout too if `out`, is that terminal;
/// and the rest of its stdout.
fn on_a_terminal(mut command: Command, out: bool) -> (String, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let open = || fs::OpenOptions::new().read(true).write(true).open(&name).expect("a terminal");
    let side = open();
    let mut modes = tcgetattr(&side).expect("a terminal");
    // As it was written.
    modes.output_modes -= OutputModes::OPOST;
    tcsetattr(&side, OptionalActions::Now, &modes).expect("a terminal");
    drop(side);
    command.stdin(Stdio::null()).stderr(open());
    command.stdout(if out { Stdio::from(open()) } else { Stdio::piped() });
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut stdout = child.stdout.take();
    let rest = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.as_mut().map(|stdout| stdout.read_to_string(&mut text));
        text
    });
    let mut sent = Vec::new();
    // The end of a terminal is an error.
    let _ = fs::File::from(terminal).read_to_end(&mut sent);
    child.wait().expect("ours");
    (String::from_utf8_lossy(&sent).into_owned(), rest.join().expect("no panic"))
}

#[test]
fn a_terminal_is_shown_control_characters_and_colours() {
    let args = ["--tag", "--", "printf", r"a\033[31mb\tc\177\r\302\233d\303\251\n"];
    let shown = "a^[[31mb\tc^?^MM-^[d\u{e9}\n";
    let command = |more: &[&str]| {
        let mut command = linering(&[more, &args].concat());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR").env("TERM", "xterm");
        command
    };
    let colored = format!("\u{1b}[36m[0] \u{1b}[0m{shown}");
    assert_eq!(on_a_terminal(command(&[]), true).0, colored);
    let plain = format!("[0] {shown}");
    assert_eq!(on_a_terminal(command(&["--color", "never"]), true).0, plain);
    let mut without = command(&[]);
    without.env("NO_COLOR", "1");
    assert_eq!(on_a_terminal(without, true).0, plain);
    // A file is given what was written.
    let raw = "a\u{1b}[31mb\tc\u{7f}\r\u{9b}d\u{e9}\n";
    assert_eq!(on_a_terminal(command(&[]), false).1, format!("[0] {raw}"));
    assert_eq!(
        on_a_terminal(command(&["--color", "always"]), false).1,
        format!("\u{1b}[36m[0] \u{1b}[0m{raw}")
    );
}

#[test]
fn progress_is_told_on_a_terminal_alone() {
    let args = ["-n", "2", "--progress", "--", "sh", "-c", "seq 1000"];
    let output = run(&args);
    assert_eq!((out(&output).lines().count(), err(&output)), (2000, String::new()));
    let mut command = linering(&args);
    command.env("TERM", "xterm");
    let (terminal, rest) = on_a_terminal(command, false);
    assert_eq!(rest.lines().count(), 2000);
    assert!(terminal.contains("2,000 lines, 7.60 KiB, 2 of 2 workers ended"), "{terminal:?}");
}

#[test]
fn a_ring_whose_file_is_cut_short_ends_the_run_with_a_sentence() {
    let path = scratch("cut.ring");
    let ring = path.to_str().expect("UTF-8");
    // The worker cuts it itself, and writes until it has no reader.
    let work =
        format!("echo before; truncate -s 0 {ring}; while echo after; do :; done 2>/dev/null");
    let _ = fs::remove_file(&path);
    let output = run(&["--file", ring, "--", "sh", "-c", &work]);
    fs::remove_file(&path).expect("it stays");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(
        err(&output).contains("the ring's file was cut short while it was in use"),
        "{output:?}"
    );
}
