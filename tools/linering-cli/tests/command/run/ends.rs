//! How workers end, and what that does: exit codes, signals passed on, halts; what they left
//! running is not waited for.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::{linering, run};
use crate::common::{Gate, err, out, scratch, sorted};

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
fn halt_ends_the_others_when_one_has_failed() {
    let gate = Gate::new();
    let script = format!(
        "if [ $LINERING_WORKER = 2 ]; then echo failing; exit 7; fi; echo begun; exec {}",
        gate.wait()
    );
    let output = run(&["-n", "4", "--halt", "--", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(1));
    let err = err(&output);
    assert_eq!(err.lines().filter(|line| line.ends_with("killed by SIGTERM")).count(), 3, "{err}");
    // In the table, and told before; those that were told to end are not.
    assert_eq!(err.lines().filter(|line| line.ends_with("exit code 7")).count(), 2, "{err}");
    let told: Vec<_> = err.lines().filter(|line| line.contains("linering: worker")).collect();
    assert_eq!(told, ["linering: worker 2 ended with exit code 7"]);
}

#[test]
fn a_halt_hides_no_failure_and_counts_none_that_it_causes() {
    let code = |script: &str| run(&["-n", "3", "--halt", "--", "sh", "-c", script]).status.code();
    // The first is killed by the signal that halts the others.
    let gate = Gate::new();
    let first = format!("[ $LINERING_WORKER = 0 ] || exec {}; kill -TERM $$", gate.wait());
    assert_eq!(code(&first), Some(1));
    let trapped =
        "[ $LINERING_WORKER != 0 ] || exit 5; trap 'exit 143' TERM; while :; do sleep 0.01; done";
    assert_eq!(code(trapped), Some(1));
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
    // It was told to end, whatever the workers say: a shell's loop around it ends too.
    assert_eq!(child.wait().expect("ours").signal(), Some(libc::SIGTERM));
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
    let signal = child.wait().expect("ours").signal();
    assert_eq!((rest.as_str(), signal), ("trapped\n", Some(libc::SIGTERM)));
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let script =
        format!("trap '' HUP; exec {} run -- grep SigIgn /proc/self/status", program.display());
    let output = Command::new("sh").args(["-c", &script]).output().expect("it starts");
    let ignored = out(&output).trim().trim_start_matches("SigIgn:").trim().to_owned();
    assert_eq!(u64::from_str_radix(&ignored, 16).expect("hexadecimal") & 1, 1, "{ignored}");
}

#[test]
fn who_was_told_to_end_leaves_nothing_that_is_waited_for() {
    let gate = Gate::new();
    let wait = gate.wait();
    // The worker is gone, what it started keeps its pipes open.
    let mut child = linering(&["--", "sh", "-c", &format!("{wait} & echo begun")]);
    let mut child = child.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "begun\n");
    // SAFETY: a plain system call on a child that was not awaited.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    // By SIGALRM, if it waited for what its worker left.
    assert_eq!(child.wait().expect("ours").signal(), Some(libc::SIGTERM));
    let path = scratch("run-left-behind");
    fs::write(&path, format!("{wait} & {wait}\nexit 3\n")).expect("a file");
    let output = run(&["--halt", "--commands", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
}
