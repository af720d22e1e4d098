//! How the demo ends: quietly without a reader, with a sentence where it was interrupted, a worker
//! was killed or a file changed under it.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};

use super::{MODES, count_in_order, row};
use crate::common::{linering, scratch, text};

fn spawn(args: &[&str], stdout: impl Into<Stdio>) -> Child {
    let mut command = linering(&[&["demo"], args].concat());
    command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn rest_of(mut stderr: ChildStderr) -> String {
    let mut said = String::new();
    stderr.read_to_string(&mut said).expect("UTF-8");
    said
}

/// Waits; gives how it ended and all that it said on stderr.
fn end_of(mut child: Child) -> (ExitStatus, String) {
    let said = rest_of(child.stderr.take().expect("piped"));
    (child.wait().expect("an end"), said)
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let cases: [&[&str]; 3] = [
        &["--lines", "1000"],
        &["--lines", "1000000", "--output", "-"],
        &["--output", "-", "--mode", "threads"],
    ];
    for args in cases {
        let (unread, stdout) = std::io::pipe().expect("a pipe");
        drop(unread);
        let (status, said) = end_of(spawn(args, stdout));
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_full_stdout_is_a_failure() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    for args in [&["--lines", "1000"][..], &["--lines", "1000", "--output", "-"]] {
        let (status, said) = end_of(spawn(args, full()));
        assert_eq!(status.code(), Some(1));
        assert!(
            said.starts_with("linering: cannot write standard output: No space left"),
            "{said}"
        );
    }
}

/// Enough lines that no run comes to their end.
const ENDLESS: &str = "900000000000";

/// How the workers' lines begin.
const FIRSTS: [&[u8]; 3] = [b"worker 0000", b"worker 0001", b"worker 0002"];

/// A run in which every worker has begun, as its first lines out of the pipe say. While this
/// process does not read on, no worker can end: each has more lines than the pipe, the run's own
/// buffer and the ring hold.
fn begun(args: &[&str], firsts: &[&[u8]]) -> (Child, ChildStdout, Vec<u8>) {
    let mut child = spawn(&[&["--output", "-"], args].concat(), Stdio::piped());
    let mut pipe = child.stdout.take().expect("piped");
    let mut lines = Vec::new();
    let mut missing = firsts.to_vec();
    while !missing.is_empty() {
        let from = lines.len().saturating_sub(100);
        let read = (&mut pipe).take(10_000).read_to_end(&mut lines).expect("lines");
        assert!(read > 0, "it has ended");
        missing.retain(|first| !lines[from..].windows(first.len()).any(|found| found == *first));
    }
    (child, pipe, lines)
}

fn kill(process: u32, signal: i32) {
    // SAFETY: a plain system call; the process is a child, or a child's child, that was not
    // awaited.
    assert_eq!(unsafe { libc::kill(process as i32, signal) }, 0);
}

#[test]
fn an_interrupt_ends_the_workers_and_drains_what_they_wrote() {
    for mode in MODES {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            let (child, mut pipe, mut lines) =
                begun(&["--mode", mode, "--lines", ENDLESS], &FIRSTS[..2]);
            kill(child.id(), signal);
            pipe.read_to_end(&mut lines).expect("lines");
            let (status, said) = end_of(child);
            assert_eq!(status.code(), Some(130), "{said}");
            assert!(said.contains("interrupted"), "{said}");
            let counts = count_in_order(std::str::from_utf8(&lines).expect("UTF-8"));
            assert_eq!(counts.values().sum::<u64>(), row(&said, "lines"));
        }
    }
}

/// The processes whose parent this is.
fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_parent = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // After the name, which is in parentheses and may hold anything: the state, then the
        // parent.
        let after = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        after.and_then(|mut words| words.nth(1)?.parse().ok()) == Some(parent)
    };
    processes.filter(has_parent).collect()
}

#[test]
fn a_killed_worker_is_named_and_the_others_lines_all_come() {
    let (child, mut pipe, mut lines) = begun(&["--workers", "3", "--lines", "60000"], &FIRSTS);
    let workers = children_of(child.id());
    assert_eq!(workers.len(), 3);
    kill(*workers.iter().max().expect("a worker"), libc::SIGKILL);
    pipe.read_to_end(&mut lines).expect("lines");
    let (status, said) = end_of(child);
    assert_eq!(status.code(), Some(1), "{said}");
    let told = said.lines().find(|line| line.contains("was killed by SIGKILL after")).expect(&said);
    let killed = told
        .split_whitespace()
        .nth(2)
        .and_then(|word| word.parse().ok())
        .expect("a worker's number");
    let counts = count_in_order(std::str::from_utf8(&lines).expect("UTF-8"));
    assert!(counts.get(&killed).is_none_or(|count| *count < 20_000));
    assert!((0..3).filter(|worker| *worker != killed).all(|worker| counts[&worker] == 20_000));
}

#[test]
fn an_input_that_becomes_shorter_is_named() {
    for mode in MODES {
        let input = scratch(&format!("shorter-{mode}"));
        let mut file = fs::File::create(&input).expect("the input");
        file.write_all(&b"a line of the file\n".repeat(1_000_000)).expect("the input");
        let args = ["--mode", mode, "--workers", "1", "--input", text(&input)];
        let (child, mut pipe, mut lines) = begun(&args, &[b"a line"]);
        file.set_len(0).expect("a shorter file");
        pipe.read_to_end(&mut lines).expect("lines");
        let (status, said) = end_of(child);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.starts_with("linering: the input became shorter while it was read"), "{said}");
    }
}
