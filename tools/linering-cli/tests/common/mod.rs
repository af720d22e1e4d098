//! What these tests of the real binary need: running it, its output, a folder.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub fn linering(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("linering"));
    command.args(args).stdin(Stdio::null());
    command
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}
