//! What several modules need: running the command, its output, a place for files, and a gate for
//! what a worker leaves running.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// Seconds after which the command is ended by SIGALRM, so that its test fails and does not hang
/// with it. Far longer than any of this takes.
const PATIENCE: u32 = 600;

/// The command with these arguments, and nothing on its standard input.
pub fn linering(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("linering"));
    command.args(args).stdin(Stdio::null());
    start_anew(&mut command);
    command
}

/// Has a program start as one does that a person started, whatever the tests inherited, and be
/// ended in time: a shell's job in the background ignores the keys' signals, and `nohup` SIGHUP.
pub fn start_anew(command: &mut Command) {
    let anew = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: a plain system call; the default is no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // SAFETY: a plain system call.
        unsafe { libc::alarm(PATIENCE) };
        Ok(())
    };
    // SAFETY: plain system calls, which a forked child may make.
    unsafe { command.pre_exec(anew) };
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

pub fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// A new folder, which goes with the value.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// A path for `name` in this build's own place, where nothing is.
pub fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Keeps processes waiting that run `wait`, until it is dropped or this process ends, however it
/// ends: what a worker leaves running outlives no test.
#[derive(Debug)]
pub struct Gate {
    // Removed before the lock goes: a process that finds no file does not wait.
    folder: TempDir,
    locked: File,
}

impl Gate {
    pub fn new() -> Self {
        let folder = folder();
        let locked = File::create(folder.path().join("gate")).expect("a file");
        flock(&locked, FlockOperation::LockExclusive).expect("no other process knows of it");
        Self { folder, locked }
    }

    /// Lets all pass, also those that come to it only now: as long as this is not dropped.
    pub fn open(&self) {
        flock(&self.locked, FlockOperation::Unlock).expect("it is locked");
    }

    /// A command of a shell that ends when the gate opens.
    pub fn wait(&self) -> String {
        format!("flock {} true", text(&self.folder.path().join("gate")))
    }
}

/// A program of this package's `examples/`, which the tests' build has built.
pub fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this program");
    let path = tests.ancestors().nth(2).expect("a build's folder").join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not there: build it with `cargo build --examples`",
        path.display()
    );
    path
}
