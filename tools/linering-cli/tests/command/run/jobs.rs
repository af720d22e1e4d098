//! Many commands, so many at a time: from files, with names, with time limits and second tries.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::processes::marked;
use super::{linering, run};
use crate::common::{err, folder, out, sorted, text};

#[test]
fn so_many_run_at_a_time_and_all_of_them_in_the_end() {
    let folder = folder();
    let there = text(folder.path());
    // Each sees how many there are with it.
    let script = format!(
        "mkdir {there}/$LINERING_WORKER; ls {there} | wc -l; sleep 0.02; rmdir {there}/$LINERING_WORKER"
    );
    let output = run(&["-n", "40", "-j", "3", "--", "sh", "-c", &script]);
    let most = out(&output).lines().map(|line| line.trim().parse::<u32>().unwrap_or(0)).max();
    assert_eq!(out(&output).lines().count(), 40, "{}", err(&output));
    assert!(most.is_some_and(|most| matches!(most, 1..=3)), "{}", out(&output));
    // More than can run at a time, and so more than one run takes without -j.
    let path = folder.path().join("commands");
    fs::write(&path, ": \n".repeat(1500) + "exit 1\n").expect("a file");
    let output = run(&["--commands", text(&path)]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("found 1501 commands, expected at most 1000, or -j N"));
    let output = run(&["-j", "8", "--commands", text(&path)]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn each_line_of_a_file_is_an_argument() {
    let folder = folder();
    let path = folder.path().join("arguments");
    fs::write(&path, "a b\n\n$HOME\n'c'\n").expect("a file");
    for (command, expected) in [
        (&["printf", "<%s>\\n"][..], ["<$HOME>", "<'c'>", "<a b>"]),
        (&["printf", "<%s>\\n", "{}{}"], ["<$HOME$HOME>", "<'c''c'>", "<a ba b>"]),
        (&["printf", "<%s>\\n", "x{}y"], ["<x$HOMEy>", "<x'c'y>", "<xa by>"]),
    ] {
        let output = run(&[&["--args", text(&path), "--"], command].concat());
        assert_eq!(sorted(&out(&output)), expected, "{}", err(&output));
    }
    let mut child = linering(&["-j", "1", "--args", "-", "--", "echo"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"1\n2\n3\n").expect("room");
    assert_eq!(child.wait_with_output().expect("ours").stdout, b"1\n2\n3\n");
}

#[test]
fn commands_of_a_procfile_have_names() {
    let folder = folder();
    let path = folder.path().join("Procfile");
    fs::write(&path, "# two\nweb: echo serving; exit 3\n\nworker-1:echo a: b\n").expect("a file");
    let output = run(&["--procfile", text(&path)]);
    assert_eq!(sorted(&out(&output)), ["[web] serving", "[worker-1] a: b"]);
    assert!(err(&output).starts_with("linering: worker web ended with exit code 3\n"));
    let output = run(&["--procfile", text(&path), "--tag={worker}{name}|"]);
    assert_eq!(sorted(&out(&output)), ["0web|serving", "1worker-1|a: b"]);
    for line in ["web", "web:", ": true", "a b: true"] {
        fs::write(&path, line).expect("a file");
        let output = run(&["--procfile", text(&path)]);
        assert_eq!(output.status.code(), Some(125));
        assert!(err(&output).contains(&format!("found \"{line}\", expected name: command")));
    }
}

#[test]
fn what_fails_is_tried_again_and_its_lines_all_come() {
    let folder = folder();
    let there = text(folder.path());
    let script = format!(
        "echo try >> {there}/tries; echo $(wc -l < {there}/tries); [ $(wc -l < {there}/tries) = 3 ]"
    );
    let output = run(&["--retries", "5", "--", "sh", "-c", &script]);
    assert_eq!((out(&output), output.status.code()), ("1\n2\n3\n".to_owned(), Some(0)));
    let told = "linering: worker 0 ended with exit code 1: started again\n";
    assert_eq!(err(&output), told.repeat(2));
    fs::remove_file(folder.path().join("tries")).expect("a file");
    let output = run(&["--retries", "1", "--group", "--", "sh", "-c", &script]);
    assert_eq!((out(&output), output.status.code()), ("1\n2\n".to_owned(), Some(1)));
}

#[test]
fn what_is_always_started_again_is_until_it_is_told_to_end() {
    let mut run = marked(&["-n", "2", "--restart", "always", "--", "sh", "-c", "echo here"]);
    run.await_lines(6, "here");
    run.signal(libc::SIGTERM);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(run.end_alone().0.signal(), Some(libc::SIGTERM));
}

#[test]
fn a_success_may_end_the_others() {
    let run = marked(&[
        "-n",
        "3",
        "--halt=success=1",
        "--",
        "sh",
        "-c",
        "[ $LINERING_WORKER = 1 ] || exec sleep 777; echo found",
    ]);
    let (status, out, err) = run.end_alone();
    assert_eq!((status.code(), &*out, &*err), (Some(0), "found\n", ""));
}

#[test]
fn a_log_has_a_line_for_each_job() {
    let folder = folder();
    let path = folder.path().join("log");
    let script = "printf 12345; [ $LINERING_WORKER = 0 ] || kill -KILL $$; exit 3";
    let output = run(&["-n", "2", "--joblog", text(&path), "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(2));
    let log = fs::read_to_string(&path).expect("a file");
    let rows: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0][..4], ["Seq", "Host", "Starttime", "JobRuntime"]);
    let mut ends: Vec<_> = rows[1..].iter().map(|row| (row[0], row[6], row[7])).collect();
    ends.sort_unstable();
    assert_eq!(ends, [("1", "3", "0"), ("2", "0", "9")]);
    assert!(rows[1][8].starts_with("sh -c 'printf 12345; "), "{log}");
    let output = run(&["--joblog", "/no/folder/log", "--", "echo", "started"]);
    assert_eq!((output.status.code(), out(&output)), (Some(125), String::new()));
    let output = run(&["--joblog", "/dev/full", "--", "echo", "started"]);
    assert_eq!(output.status.code(), Some(125), "{}", err(&output));
}
