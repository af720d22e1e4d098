//! What is known is told when it is known: deaths and failures, what keeps an output open, prompts;
//! and an idle run costs nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::processes::{marked, until};
use super::{linering, run};
use crate::common::{Gate, err, folder, out, text};

#[test]
fn an_end_is_told_while_the_others_run_on() {
    for (death, told, field) in [
        ("kill -KILL $$", "worker 1 was killed by SIGKILL", ("signal", "\"SIGKILL\"")),
        ("exit 7", "worker 1 ended with exit code 7", ("code", "7")),
    ] {
        for format in ["cat", "json"] {
            let gate = Gate::new();
            let script =
                format!("echo begun; [ $LINERING_WORKER = 1 ] || exec {}; {death}", gate.wait());
            let mut run = marked(&["-n", "3", "-o", format, "--", "sh", "-c", &script]);
            let mut err = BufReader::new(run.child.stderr.take().expect("a pipe"));
            let mut line = String::new();
            err.read_line(&mut line).expect("text");
            assert_eq!(line, format!("linering: {told}\n"));
            if format == "json" {
                let record = loop {
                    let record: serde_json::Value = run.line().parse().expect("JSON");
                    if record["kind"] == "end" {
                        break record;
                    }
                    assert_eq!(record["msg"], "begun");
                };
                assert_eq!((&record["worker"], &record["msg"]), (&1.into(), &told.into()));
                assert_eq!(record[field.0].to_string(), field.1, "{record}");
            }
            until("the others", || {
                run.processes().iter().filter(|process| process.name == "flock").count() == 2
            });
            gate.open();
            assert_eq!(run.end().0.code(), Some(1));
        }
    }
}

#[test]
fn what_keeps_an_output_open_is_named_and_left_after_linger() {
    for options in [&[][..], &["--group"], &["-n", "2", "--group"]] {
        for leaves in ["sleep 777 & echo done", "setsid sh -c 'sleep 777; :' & echo done"] {
            let args = [options, &["--linger", "1.2s", "--", "sh", "-c", leaves]].concat();
            let run = marked(&args);
            let pid = run.id();
            let (status, out, err) = run.end_and_look(|left| {
                assert!(left.iter().any(|process| process.name == "sleep"), "{left:?} {pid}");
            });
            assert_eq!(status.code(), Some(0), "{err}");
            assert_eq!(out.lines().next(), Some("done"));
            let named = "linering: worker 0 has ended, but its output is kept open by s";
            assert!(err.contains(named) && err.contains("sleep ("), "{err}");
        }
    }
    // Not waited for at all, and not said.
    let run = marked(&["--linger", "0", "--", "sh", "-c", "sleep 777 & echo done"]);
    let (status, out, err) = run.end();
    assert_eq!((status.code(), &*out, &*err), (Some(0), "done\n", ""));
}

#[test]
fn a_prompt_comes_before_its_answer_and_bytes_stay_as_they_are() {
    for options in [&[][..], &["--tag"], &["--timestamps"], &["--merge"]] {
        let script = "printf 'Name? '; read name; echo \"hello $name\"; printf 'no end'; sleep 0.3";
        let mut child = linering(&[options, &["--", "sh", "-c", script]].concat());
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = child.stdout.take().expect("a pipe");
        let mut shown = Vec::new();
        while !shown.ends_with(b"Name? ") {
            let mut byte = [0];
            stdout.read_exact(&mut byte).expect("it is shown");
            shown.extend(byte);
        }
        child.stdin.take().expect("a pipe").write_all(b"you\n").expect("room");
        stdout.read_to_end(&mut shown).expect("bytes");
        let shown = String::from_utf8(shown).expect("UTF-8");
        assert!(shown.contains("Name? hello you\n") && shown.ends_with("no end"), "{shown}");
        if options.is_empty() {
            assert_eq!(shown, "Name? hello you\nno end");
        }
        assert_eq!(child.wait().expect("ours").code(), Some(0));
    }
}

/// How often a process's threads have gone to sleep.
fn sleeps(process: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let of_thread = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |count| count.trim().parse::<u64>().expect("a number"))
    };
    threads.flatten().map(of_thread).sum()
}

#[test]
fn an_idle_run_sleeps() {
    for count in ["1", "300"] {
        let mut run = marked(&["-n", count, "--", "sh", "-c", "echo ready; exec sleep 777"]);
        let workers = count.parse().expect("a number");
        run.await_lines(workers, "ready");
        until("all of them", || {
            run.processes().iter().filter(|process| process.name == "sleep").count() == workers
        });
        let (began, before) = (Instant::now(), sleeps(run.id()));
        thread::sleep(Duration::from_secs(3));
        let (took, after) = (began.elapsed().as_secs_f64(), sleeps(run.id()));
        // Two a second; and a few for what was still under way.
        assert!(((after - before) as f64) <= 2.0 * took + 3.0, "{} in {took} s", after - before);
        run.signal(libc::SIGTERM);
        run.end_alone();
    }
}

#[test]
fn the_exit_code_of_one_worker_is_its_own() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -ABRT $$", 134),
    ] {
        let output = run(&["--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", err(&output));
    }
    // A file of commands with one line is one worker too.
    let folder = folder();
    let path = folder.path().join("commands");
    fs::write(&path, "exit 9\n").expect("a file");
    assert_eq!(run(&["--commands", text(&path)]).status.code(), Some(9));
}

#[test]
fn commands_that_cannot_be_run_have_the_codes_of_env() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let file = |name: &str, content: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        path.to_str().expect("UTF-8").to_owned()
    };
    let plain = file("plain", "echo hello; exit 3\n", 0o644);
    // As execvp does, and so each shell: what has no #! is for the shell.
    let script = file("script", "echo \"hello $1\"; exit 3\n", 0o755);
    let astray = file("astray", "#!/no/interpreter\n", 0o755);
    for (command, code, shown) in [
        (&[&*script, "you"][..], 3, "hello you\n"),
        (&[&*plain], 126, ""),
        (&["/"], 126, ""),
        (&[&*astray], 127, ""),
        (&["/no/such/command"], 127, ""),
        (&["no-such-command-anywhere"], 127, ""),
    ] {
        for count in ["1", "2"] {
            let output = run(&[&["-n", count, "--"], command].concat());
            // Of several, how many failed.
            let code = if code == 3 && count == "2" { 2 } else { code };
            assert_eq!(output.status.code(), Some(code), "{command:?}: {}", err(&output));
            assert!(out(&output).starts_with(shown));
        }
    }
}

#[test]
fn a_shells_141_before_a_closed_pipe_is_as_good_as_the_signal() {
    // yes dies of SIGPIPE, and the shell says so with its exit code.
    let mut child = linering(&["-n", "2", "--", "sh", "-c", "yes; exit $?"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let output = child.wait_with_output().expect("ours");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
}

#[test]
fn an_end_is_told_though_stdout_takes_nothing() {
    let script = "if [ $LINERING_WORKER = 0 ]; then exec yes; fi; exit 7";
    let mut command = linering(&["-n", "2", "--delay", "0.5", "--", "sh", "-c", script]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // Which is read after the note alone.
    let stdout = child.stdout.take().expect("a pipe");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a note");
    assert_eq!(line, "linering: worker 1 ended with exit code 7\n");
    drop(stdout);
    assert_eq!(child.wait().expect("ours").code(), Some(1));
    // Once.
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    assert!(!rest.contains("linering:"), "{rest}");
}
