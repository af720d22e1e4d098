//! `linering demo` from outside: what it prints, what it writes, how it ends.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use assert_cmd::assert::Assert;

/// Far longer than any of this takes: against a hang.
const PATIENCE: Duration = Duration::from_secs(120);
const MODES: [&str; 2] = ["procs", "threads"];

fn demo(args: &[&str]) -> Assert {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("linering");
    command.arg("demo").args(args).timeout(PATIENCE).assert()
}

fn stdout_of(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8")
}

fn stderr_of(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).expect("UTF-8")
}

/// The value in the report's row `name`.
fn row(report: &str, name: &str) -> u64 {
    let line = report.lines().find(|line| line.starts_with(&format!("{name} "))).expect("the row");
    let value = line[name.len()..].split_whitespace().next().expect("a value");
    value.replace(',', "").parse().expect("a number")
}

/// A path for `name` in this build's own place, where nothing is.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

// ------------------------------------------------------------------------------------ made lines

#[test]
fn every_line_arrives_and_the_report_says_so() {
    for mode in MODES {
        for workers in ["1", "2", "5"] {
            let done = demo(&["--mode", mode, "--workers", workers, "--lines", "100003"]).success();
            let report = stdout_of(&done);
            assert_eq!(row(&report, "lines"), 100_003, "{report}");
            for name in ["lines/s", "bytes/s", "writers' ns/line"] {
                assert!(row(&report, name) > 0, "{report}");
            }
            row(&report, "ring found full");
            assert_eq!(stderr_of(&done), "");
        }
    }
}

#[test]
fn the_reports_values_end_in_one_column() {
    let report = stdout_of(&demo(&["--lines", "10"]).success());
    let ends = report
        .lines()
        .map(|line| line.get(18..34).map(|value| value.ends_with(|c: char| c.is_ascii_digit())));
    assert!(ends.clone().count() >= 6 && ends.into_iter().all(|end| end == Some(true)), "{report}");
}

#[test]
fn lines_of_any_length_arrive() {
    for mode in MODES {
        for (length, lines) in
            [("0", "1000"), ("1", "1000"), ("29", "1000"), ("224", "1000"), ("225", "1000")]
        {
            demo(&["--mode", mode, "--len", length, "--lines", lines]).success();
        }
        let done = demo(&["--mode", mode, "--len", "10000000", "--lines", "7", "--workers", "3"])
            .success();
        assert_eq!(row(&stdout_of(&done), "lines"), 7);
    }
}

#[test]
fn no_lines_and_fewer_lines_than_workers_are_fine() {
    for mode in MODES {
        assert_eq!(row(&stdout_of(&demo(&["--mode", mode, "--lines", "0"]).success()), "lines"), 0);
        let done = demo(&["--mode", mode, "--lines", "3", "--workers", "9"]).success();
        assert_eq!(row(&stdout_of(&done), "lines"), 3);
    }
}

#[test]
fn the_smallest_ring_is_enough() {
    for mode in MODES {
        let ring = ["--ring-lines", "2", "--line-bytes", "64"];
        let rest = ["--mode", mode, "--lines", "300", "--len", "200", "--workers", "3"];
        let done = demo(&[&ring[..], &rest].concat()).success();
        assert_eq!(row(&stdout_of(&done), "lines"), 300);
    }
}

#[test]
fn what_a_losing_ring_delivers_and_loses_is_what_was_written() {
    for mode in MODES {
        for policy in ["drop", "overwrite"] {
            let ring = ["--policy", policy, "--ring-lines", "8"];
            let done =
                demo(&[&ring[..], &["--mode", mode, "--lines", "200000"]].concat()).success();
            let report = stdout_of(&done);
            let lost = if report.contains("lines lost") { row(&report, "lines lost") } else { 0 };
            assert_eq!(row(&report, "lines") + lost, 200_000, "{report}");
        }
    }
}

#[test]
fn made_lines_go_to_the_output_each_workers_in_order() {
    for mode in MODES {
        let output = scratch(&format!("made-{mode}"));
        demo(&["--mode", mode, "--workers", "3", "--lines", "30000", "--output", text(&output)])
            .success();
        let counts = count_in_order(&fs::read_to_string(&output).expect("the output"));
        assert_eq!(counts, HashMap::from([(0, 10_000), (1, 10_000), (2, 10_000)]));
    }
}

/// How many lines of each worker there are, which stand in their order and are all of the usual
/// length.
fn count_in_order(lines: &str) -> HashMap<u64, u64> {
    let mut counts = HashMap::new();
    for line in lines.lines() {
        assert_eq!(line.len(), 100, "{line}");
        let mut words = line.split(' ').skip(1).step_by(2);
        let mut number =
            || words.next().and_then(|word| word.parse::<u64>().ok()).expect("a number");
        let count = counts.entry(number()).or_default();
        assert_eq!(number(), *count);
        *count += 1;
    }
    counts
}

// ------------------------------------------------------------------------------------ real files

/// Lines that differ, with every byte that is a nuisance, and a last one without an end.
fn nasty() -> Vec<u8> {
    let mut file = Vec::new();
    let nuisances: [&[u8]; 8] = [
        b"",
        b"\0\0",
        b"\xff\xfe\x80",
        b"\r",
        b"a\rb\r",
        "\u{2028}é".as_bytes(),
        b"\x1b[31m\x07",
        b"\x0b\x0c\x85",
    ];
    for number in 0..20_000 {
        let nuisance = nuisances[number % nuisances.len()];
        file.extend_from_slice(format!("{number} ").as_bytes());
        file.extend_from_slice(nuisance);
        file.extend_from_slice(&b"x".repeat(number % 300));
        file.push(b'\n');
        if number % 100 == 0 {
            file.extend_from_slice(b"\n\r\n");
        }
        if number == 7000 {
            file.extend(b"long \0".iter().cycle().take(1_000_000));
            file.push(b'\n');
        }
    }
    file.extend_from_slice(b"the last line has no end");
    file
}

#[test]
fn one_worker_gives_the_file_back_byte_for_byte() {
    let empty_lines = b"\n".repeat(5);
    let files: [(&str, &[u8]); 6] = [
        ("nasty", &nasty()),
        ("empty", b""),
        ("end", b"\n"),
        ("ends", &empty_lines),
        ("unfinished", b"no end"),
        ("nul", b"a\nb\n\0"),
    ];
    for mode in MODES {
        for (name, bytes) in files {
            let (input, output) =
                (scratch(&format!("{name}-{mode}-in")), scratch(&format!("{name}-{mode}-out")));
            fs::write(&input, bytes).expect("the input");
            let ends = ["--workers", "1", "--input", text(&input), "--output", text(&output)];
            demo(&[&["--mode", mode], &ends[..]].concat()).success();
            assert!(fs::read(&output).expect("the output") == bytes, "{name} {mode}");
        }
    }
}

#[test]
fn several_workers_give_back_every_line_each_share_in_order() {
    let bytes = nasty();
    for mode in MODES {
        for workers in [3, 8] {
            let (input, output) =
                (scratch(&format!("share-{mode}-in")), scratch(&format!("share-{mode}-out")));
            fs::write(&input, &bytes).expect("the input");
            let ends = [
                "--workers",
                &workers.to_string(),
                "--input",
                text(&input),
                "--output",
                text(&output),
            ];
            demo(&[&["--mode", mode], &ends[..]].concat()).success();
            let drained = fs::read(&output).expect("the output");
            // Another worker's lines may come after the one without an end, so it got one.
            assert_shares(&[&bytes[..], b"\n"].concat(), &drained, workers);
        }
    }
}

/// `drained` has the lines of `input`, and is a mixture of `workers` contiguous parts of it, each
/// in order.
fn assert_shares(input: &[u8], drained: &[u8], workers: usize) {
    let lines_of = |bytes: &'_ [u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (input, drained) = (lines_of(input), lines_of(drained));
    let sorted = |lines: &[Vec<u8>]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    assert!(sorted(&input) == sorted(&drained), "lines are missing, doubled or changed");
    let place: HashMap<&[u8], usize> =
        drained.iter().enumerate().map(|(at, line)| (&line[..], at)).collect();
    // Empty lines are all alike.
    let places: Vec<usize> =
        input.iter().filter(|line| line.len() > 2).map(|line| place[&line[..]]).collect();
    let cuts = places.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(
        cuts < workers,
        "{cuts} lines come before the one before them, expected fewer than {workers}"
    );
}

#[test]
fn an_outputs_old_content_is_gone() {
    let (input, output) = (scratch("old-in"), scratch("old-out"));
    fs::write(&input, "new\n").expect("the input");
    fs::write(&output, "old, and much longer\n").expect("the output");
    demo(&["--workers", "1", "--input", text(&input), "--output", text(&output)]).success();
    assert_eq!(fs::read(&output).expect("the output"), b"new\n");
}

#[test]
fn lines_on_stdout_put_the_report_on_stderr() {
    let done = demo(&["--lines", "1000", "--output", "-"]).success();
    assert_eq!(count_in_order(&stdout_of(&done)).values().sum::<u64>(), 1000);
    assert_eq!(row(&stderr_of(&done), "lines"), 1000);
}

// ------------------------------------------------------------------------------------- bad input

/// It ends with this code, prints nothing, and says one sentence with these words.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let done = demo(args).code(code);
    let said = stderr_of(&done);
    assert_eq!(stdout_of(&done), "");
    assert!(said.starts_with("linering: ") && said.lines().count() == 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn wrong_usage_names_what_was_expected() {
    let cases: [(&[&str], &str); 9] = [
        (&["--workers", "0"], "1 to 1000"),
        (&["--workers", "1001"], "1 to 1000"),
        (&["--workers", "99999999999999999999999"], "1 to 1000"),
        (&["--len=-1"], "0 to 1073741824"),
        (&["--len", "9999999999999"], "0 to 1073741824"),
        (&["--lines", "many"], "--lines"),
        (&["--mode", "fibres"], "threads"),
        (&["--nonsense"], "--nonsense"),
        (&["--input", "x", "--lines", "3"], "cannot be used with"),
    ];
    for (args, word) in cases {
        let done = demo(args).code(2);
        assert!(stderr_of(&done).contains(word), "{}", stderr_of(&done));
        assert_eq!(stdout_of(&done), "");
    }
}

#[test]
fn rings_that_cannot_be_are_refused() {
    refused(&["--ring-lines", "1"], 2, &["lines is 1", "expected 2 to"]);
    refused(&["--ring-lines", "99999999999"], 2, &["99999999999", "expected 2 to"]);
    refused(&["--line-bytes", "0"], 2, &["line_bytes is 0", "expected 64 to"]);
    let narrow = ["--policy", "overwrite", "--ring-lines", "2", "--len", "1000"];
    refused(&narrow, 2, &["the longest line has 1000 bytes", "larger ring"]);
}

#[test]
fn an_input_that_is_no_file_is_refused() {
    refused(&["--input", "/nowhere/at/all"], 1, &["cannot read /nowhere/at/all", "No such file"]);
    refused(&["--input", "/"], 1, &["/ is a directory, expected a regular file"]);
    refused(&["--input", "/dev/null"], 1, &["/dev/null is a device, expected a regular file"]);
    refused(&["--input", "/proc/self/status"], 1, &["does not say its size"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused() {
    refused(&["--output", "/nowhere/at/all"], 1, &["cannot write /nowhere/at/all", "No such file"]);
    refused(&["--output", "/"], 1, &["cannot write /", "Is a directory"]);
    for mode in MODES {
        refused(
            &["--mode", mode, "--output", "/dev/full"],
            1,
            &["cannot write /dev/full", "No space left"],
        );
        refused(&["--mode", mode, "--output", "/dev/full", "--lines", "1"], 1, &["No space left"]);
    }
}

#[test]
fn an_input_is_never_overwritten_as_the_output() {
    let (input, link) = (scratch("both"), scratch("both-link"));
    fs::write(&input, "precious\n").expect("the input");
    fs::hard_link(&input, &link).expect("a link");
    for output in [&input, &link] {
        refused(
            &["--input", text(&input), "--output", text(output)],
            2,
            &["is the input, expected another file"],
        );
    }
    assert_eq!(fs::read(&input).expect("the input"), b"precious\n");
}

// ----------------------------------------------------------------------------- closed and full
// ends

fn spawn(args: &[&str], stdout: impl Into<Stdio>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering"));
    command.arg("demo").args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    command.spawn().expect("linering")
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

// --------------------------------------------------------------------------------- ended midway

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

// ------------------------------------------------------------------------------------------ help

#[test]
fn help_and_version_are_on_stdout() {
    for args in [&["--help"][..], &["--version"], &["demo", "--help"], &["demo", "-h"]] {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("linering");
        let done = command.args(args).assert().success();
        assert!(stdout_of(&done).contains("linering") && stderr_of(&done).is_empty());
    }
}
