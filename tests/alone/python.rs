//! The Python package: its tests, run by their one command.
//!
//! Alone in its target: it needs an interpreter and a network, runs for long, and can be left out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

#[path = "../it/common/needs.rs"]
mod needs;
use needs::not_run;

/// Leaves Python out, on a machine that has none.
const WITHOUT: &str = "LINERING_WITHOUT_PYTHON";

/// The exit code of `tools/python/test` where something is missing that it needs.
const MISSING: i32 = 77;

#[test]
fn the_python_package_passes_its_tests() {
    if std::env::var_os(WITHOUT).is_some_and(|value| value == "1") {
        return not_run(&format!("{WITHOUT}=1 leaves Python out"));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/python/test");
    let mut command = Command::new(script);
    // What cargo says of this package is nothing to the one that builds that.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_BIN_")
            || text.starts_with("CARGO_MANIFEST_")
        {
            command.env_remove(name);
        }
    }
    // Into a file: a process that a failed test has left behind would keep a pipe open.
    let said = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-tests.log");
    let log = File::create(&said).expect("a file in the target folder");
    command.stderr(log.try_clone().expect("a second descriptor")).stdout(log);
    let status = command.status().expect("tools/python/test can be run: it is a script for bash");
    let log = std::fs::read(&said).expect("the file made above");
    let log = String::from_utf8_lossy(&log);
    if status.code() == Some(MISSING) {
        let why = log.lines().last().unwrap_or_default();
        return not_run(&format!("{why} ({WITHOUT}=1 leaves Python out)"));
    }
    assert!(status.success(), "tools/python/test: {status}\n{log}\n{WITHOUT}=1 leaves Python out");
    // On the terminal, of which the test harness keeps what `println!` writes.
    let _ = writeln!(io::stderr(), "the Python package's tests were run: {}", said.display());
}

#[test]
fn where_python_is_missing_a_sentence_says_what_to_install() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/python/test");
    let bin = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-python");
    std::fs::create_dir_all(&bin).expect("a directory");
    for tool in ["bash", "dirname", "cargo"] {
        let link = bin.join(tool);
        let _ = std::fs::remove_file(&link);
        let found = Command::new("bash")
            .args(["-c", &format!("command -v {tool}")])
            .output()
            .expect("bash");
        let found = String::from_utf8(found.stdout).expect("a path");
        std::os::unix::fs::symlink(found.trim(), link).expect("a link");
    }
    let done = Command::new(script).env("PATH", &bin).output().expect("a script for bash");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(MISSING));
    assert!(said.contains("needs Python 3.9 or later: install python3"), "{said}");
}
