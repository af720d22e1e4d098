//! `linering demo` from outside: what it prints, what it writes, how it ends.

use std::collections::HashMap;
use std::time::Duration;

use assert_cmd::assert::Assert;

use crate::common::{err, out};

mod ends;
mod files;
mod made_lines;
mod refusals;

/// Far longer than any of this takes: against a hang.
const PATIENCE: Duration = Duration::from_secs(120);
const MODES: [&str; 2] = ["procs", "threads"];

fn demo(args: &[&str]) -> Assert {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("linering");
    command.arg("demo").args(args).timeout(PATIENCE).assert()
}

fn stdout_of(assert: &Assert) -> String {
    out(assert.get_output())
}

fn stderr_of(assert: &Assert) -> String {
    err(assert.get_output())
}

/// The value in the report's row `name`.
fn row(report: &str, name: &str) -> u64 {
    let line = report.lines().find(|line| line.starts_with(&format!("{name} "))).expect("the row");
    let value = line[name.len()..].split_whitespace().next().expect("a value");
    value.replace(',', "").parse().expect("a number")
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

#[test]
fn help_and_version_are_on_stdout() {
    for args in [&["--help"][..], &["--version"], &["demo", "--help"], &["demo", "-h"]] {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("linering");
        let done = command.args(args).assert().success();
        assert!(stdout_of(&done).contains("linering") && stderr_of(&done).is_empty());
    }
}
