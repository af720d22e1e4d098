//! The two examples print the same, and differ in one line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    fs::read_to_string(path).expect("an example")
}

/// What an example writes. Cargo builds examples before it runs tests.
fn output(name: &str, folder: &Path) -> String {
    let tests: PathBuf = std::env::current_exe().expect("a path");
    let program = tests.ancestors().nth(2).expect("a folder").join("examples").join(name);
    let file = folder.join(name);
    let status = Command::new(program).arg(&file).status();
    assert!(status.expect("`cargo test` without `--test` builds it").success());
    fs::read_to_string(file).expect("UTF-8")
}

#[test]
fn a_program_that_moves_by_one_line_prints_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let appender = output("with_tracing_appender", folder.path());
    assert_eq!(output("with_linering", folder.path()), appender);
    assert_eq!(appender.lines().count(), 6, "{appender}");

    let code = |name| {
        let text = source(name);
        let lines: Vec<_> =
            text.lines().filter(|line| !line.starts_with("//!")).map(str::to_owned).collect();
        lines
    };
    let (before, after) = (code("with_tracing_appender.rs"), code("with_linering.rs"));
    assert_eq!(before.len(), after.len());
    assert_eq!(before.iter().zip(&after).filter(|(before, after)| before != after).count(), 1);
}
