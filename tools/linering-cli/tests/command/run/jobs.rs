//! Many commands, so many at a time: from files, with names, with time limits and second tries.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::processes::{marked, until};
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
    assert_eq!(sorted(&out(&output)), ["[web]      serving", "[worker-1] a: b"]);
    assert!(err(&output).starts_with("linering: worker web ended with exit code 3\n"));
    let output = run(&["--procfile", text(&path), "--tag={worker}{name}|"]);
    assert_eq!(sorted(&out(&output)), ["0web|     serving", "1worker-1|a: b"]);
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
    let before = Timestamp::now() - Duration::from_millis(1);
    let output = run(&["-n", "2", "--joblog", text(&path), "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(2));
    let log = fs::read_to_string(&path).expect("a file");
    let mut ends: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    ends.sort_by_key(|end| end["worker"].as_u64());
    assert_eq!((&ends[0]["code"], &ends[0]["signal"]), (&json!(3), &Value::Null), "{log}");
    assert_eq!((&ends[1]["code"], &ends[1]["signal"]), (&Value::Null, &json!("SIGKILL")), "{log}");
    for (worker, end) in ends.iter().enumerate() {
        assert_eq!((&end["worker"], end.get("told")), (&json!(worker), None), "{log}");
        assert_eq!(end["command"], format!("sh -c '{script}'"));
        let began = end["began"].as_str().expect("a time").parse().expect("as RFC 3339 has it");
        let took = Duration::from_secs_f64(end["seconds"].as_f64().expect("a number"));
        let now = Timestamp::now();
        assert!(before <= began && began + took <= now, "{before} {log} {now}");
    }
    let output = run(&["--joblog", "/no/folder/log", "--", "echo", "started"]);
    assert_eq!((output.status.code(), out(&output)), (Some(125), String::new()));
    let output = run(&["--joblog", "/dev/full", "--", "echo", "started"]);
    assert_eq!(output.status.code(), Some(125), "{}", err(&output));
}

#[test]
fn what_succeeded_is_left_out_when_a_log_is_resumed() {
    let folder = folder();
    let log = folder.path().join("log");
    let may_succeed = folder.path().join("may-succeed");
    let list = folder.path().join("list");
    fs::write(&list, "a\nb\nc\n").expect("a file");
    let script =
        format!("echo {{}} {{#}} {{worker}}; test {{}} != b || test -e {}", text(&may_succeed));
    let again = |more: &[&str]| {
        let options = ["--args", text(&list), "--joblog", text(&log)];
        run(&[&options, more, &["--", "sh", "-c", &script]].concat())
    };
    let output = again(&[]);
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(1), 3));
    let output = again(&["--resume"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), "b 2 1\n"));
    fs::write(&may_succeed, "").expect("a file");
    // As a kill in the middle of a line would have left it.
    let whole = fs::read_to_string(&log).expect("it");
    fs::write(&log, whole + "{\"worker\":1,\"comm").expect("ours");
    let output = again(&["--resume"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "b 2 1\n"));
    let output = again(&["--resume"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
    // Whichever of the jobs ended first.
    let output = run(&["-n", "3", "--joblog", text(&log), "--resume", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("expected true: it is of other jobs"), "{}", err(&output));
    let output = run(&["--joblog", text(&log), "--resume", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains(": it is of other jobs"), "{}", err(&output));
    fs::write(&list, "a file of\nsomething else\n").expect("a file");
    let output = run(&["--joblog", text(&list), "--resume", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    let expected = "line 1: found a file of, expected the end of a job";
    assert!(err(&output).contains(expected), "{}", err(&output));
    assert_eq!(fs::read(&list).expect("it"), b"a file of\nsomething else\n");
}

#[test]
fn a_job_that_was_told_to_end_has_not_succeeded_for_the_log() {
    let folder = folder();
    let log = folder.path().join("log");
    let script = "if [ $LINERING_WORKER = 0 ]; then trap 'exit 0' TERM; echo ready >&2; \
                  while :; do sleep 0.01; done; fi; read x; exit 1";
    let mut command = linering(&["-n", "2", "--stdin", "1", "--halt", "--joblog", text(&log)]);
    let command = command.args(["--", "sh", "-c", script]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut stderr, &mut String::new()).expect("a line");
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("ours").code(), Some(1));
    let log = fs::read_to_string(&log).expect("it");
    let first = log.lines().find(|line| line.starts_with("{\"worker\":0,")).expect("its line");
    let first: Value = serde_json::from_str(first).expect("an object");
    assert_eq!((&first["code"], &first["told"]), (&json!(0), &json!(true)), "{first}");
}

#[test]
fn jobs_that_print_nothing_wait_for_an_output_that_takes_nothing() {
    const JOBS: usize = 600;
    let folder = folder();
    let (list, there) = (folder.path().join("list"), folder.path().join("there"));
    fs::create_dir(&there).expect("a folder");
    let quiet = |job: usize| format!(": > {}/{job}\n", text(&there));
    let jobs: String = (0..JOBS).map(quiet).collect();
    fs::write(&list, format!("yes | head -c 200000\n{jobs}")).expect("a file");
    let mut command = linering(&["-j", "8", "--commands", text(&list)]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // Until none is started any more: their ends wait to be printed.
    let mut count = 0;
    until("them to wait", || {
        let before = count;
        std::thread::sleep(Duration::from_millis(300));
        count = fs::read_dir(&there).expect("a folder").count();
        count == before && count > 0
    });
    assert!(count < JOBS && child.try_wait().expect("ours").is_none(), "{count}");
    let mut lines = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut lines).expect("UTF-8");
    let output = child.wait_with_output().expect("ours");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    assert_eq!(lines.len(), 200_000);
    assert_eq!(fs::read_dir(&there).expect("a folder").count(), JOBS);
}
