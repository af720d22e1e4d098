//! The program as its users run it: what goes wrong in a transport is found and said, and costs a
//! time limit at most.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn compare(arguments: &[&str]) -> Output {
    let out =
        std::env::temp_dir().join(format!("compare-test-{:?}.json", std::thread::current().id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(arguments);
    if arguments.first() != Some(&"plot") {
        command.arg("--out").arg(&out);
    }
    let output = command.output().expect("it runs");
    let _ = std::fs::remove_file(out);
    output
}

/// Longer than any run here takes that does not hang.
const LONG: Duration = Duration::from_secs(120);

/// What such a transport does wrong stands in the table of its run, which ends after `limit` at
/// the latest.
#[track_caller]
fn assert_finds(transport: &str, limit: Duration, fault: &str) {
    let arguments =
        ["--mode", "threads", "--measure", "throughput", "--writers", "1", "--lines", "2000"];
    let limit = limit.as_secs().to_string();
    let more = ["--limit", &limit, "--repeat", "2", "--transport", transport];
    let output = compare(&[&arguments[..], &more[..]].concat());
    assert_eq!(output.status.code(), Some(0), "another's fault is reported, and no failure");
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(table.contains(fault), "{table}");
}

#[test]
fn a_lost_line_is_found_without_the_reader_hanging() {
    let start = Instant::now();
    assert_finds("faulty: loses", LONG, "lost 1 of 2000");
    assert!(start.elapsed() < LONG, "it is known when all have been sent");
}

#[test]
fn a_doubled_line_is_found() {
    assert_finds("faulty: doubles", LONG, "doubled 1 of 2000");
}

#[test]
fn a_torn_line_is_found() {
    assert_finds("faulty: tears", LONG, "torn 1 of 2000");
}

#[test]
fn a_reordered_line_is_found() {
    assert_finds("faulty: swaps", LONG, "out of order 1 of 2000");
}

#[test]
fn a_transport_that_hangs_costs_its_limit_once() {
    let (start, limit) = (Instant::now(), Duration::from_secs(10));
    assert_finds("faulty: hangs", limit, "hangs: 99 of 2000 lines in 10 s");
    let time = start.elapsed();
    assert!((limit..2 * limit).contains(&time), "{time:?}");
}

#[test]
fn children_of_a_run_that_hangs_are_gone_afterwards() {
    // A number of lines that no other test has: it stands in the command lines of the children.
    let lines = "2013";
    let arguments =
        ["--mode", "processes", "--measure", "throughput", "--writers", "3", "--lines", lines];
    let output =
        compare(&[&arguments[..], &["--limit", "1", "--transport", "faulty: hangs"]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains("hangs: 0 of 2013 lines in 1 s"));
    let is_ours = |command: Vec<u8>| {
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        words.contains(&&b"one"[..]) && words.contains(&lines.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").expect("there is /proc").filter_map(Result::ok);
    let left = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    assert_eq!(left.map(is_ours).filter(|ours| *ours).count(), 0);
}

#[test]
fn a_writer_that_panics_is_quoted() {
    assert_finds("faulty: panics", Duration::from_secs(5), "(this writer has had enough)");
}

#[test]
fn linering_carries_lines_of_every_length_in_both_modes() {
    let arguments = ["--quick", "--measure", "throughput", "--transport", "linering"];
    let output = compare(&[&arguments[..], &["--bytes", "32,100,256,1000,4000"]].concat());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let text = String::from_utf8_lossy(&output.stdout);
    // One for each length and mode; two where the distance of the processors changed.
    let tables: Vec<&str> = text.split("## ").skip(1).collect();
    for bytes in [32, 100, 256, 1000, 4000] {
        for mode in ["threads", "processes"] {
            let title = format!("Million lines of {bytes} bytes a second, lossless, {mode}");
            assert!(tables.iter().any(|table| table.starts_with(&title)), "{title}: {text}");
        }
    }
    let rows = |table: &&str| table.matches("| linering |").count();
    assert!(tables.iter().map(rows).all(|rows| rows == 1), "{text}");
}

#[test]
fn wrong_arguments_are_one_sentence_and_exit_code_2() {
    let wrong: [&[&str]; 6] = [
        &["--bytes", "7"],
        &["--transport", "carrier pigeon"],
        &["--mode", "treads"],
        &["--writers", "0"],
        &["--frob"],
        &["plot", "/nowhere/results.json"],
    ];
    for arguments in wrong {
        let output = compare(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {words}");
        assert_eq!(words.lines().count(), 1, "{arguments:?}: {words}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
