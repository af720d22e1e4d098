//! Each byte that a worker writes comes out once: lines whole, each worker's in its order, shown
//! as soon as they are there, in bounded memory.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use super::{linering, run};
use crate::common::{err, folder, out, scratch, sorted};

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
fn a_group_is_one_workers_output() {
    // Each waits until all have written their first line; one writes more than is kept in memory.
    let folder = folder();
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
