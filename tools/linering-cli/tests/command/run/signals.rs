//! Which process gets which signal: each worker each of them once, from wherever it came, and the
//! run dies of the one that ended it.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use super::linering;
use super::processes::{self, Marked, marked, send, until};
use super::terminal::Terminal;

/// Tells each signal that it gets, and goes on.
const TELLS: &str = "
    for signal in HUP INT QUIT TERM USR1 USR2 WINCH CONT; do trap \"echo $signal\" $signal; done
    echo ready; while :; do sleep 0.01; done";

/// Ends a run that was told to end, and its workers that go on: by telling it again.
fn killed(run: Marked) -> (ExitStatus, String, String) {
    until("its end", || {
        run.signal(libc::SIGTERM);
        run.processes().is_empty()
    });
    run.end_alone()
}

#[test]
fn a_worker_gets_a_signal_once_from_wherever_it_came() {
    for to in ["the run", "its group", "all processes"] {
        for script in [TELLS.to_owned(), format!("exec setsid sh -c '{TELLS}'")] {
            let mut run = marked(&["-n", "3", "--kill-after", "20s", "--", "sh", "-c", &script]);
            run.await_lines(3, "ready");
            match to {
                "the run" => run.signal(libc::SIGTERM),
                "its group" => send(-run.id(), libc::SIGTERM),
                // As a service manager does: the main process first.
                _ => {
                    let processes = run.processes();
                    run.signal(libc::SIGTERM);
                    let others = processes.iter().filter(|process| process.id != run.id());
                    others.for_each(|process| send(process.id, libc::SIGTERM));
                }
            }
            run.await_lines(3, "TERM");
            let (status, out, err) = killed(run);
            assert_eq!(out, "", "to {to}: {script} {err}");
            assert_eq!(status.signal(), Some(libc::SIGTERM), "{to}");
        }
    }
}

#[test]
fn what_a_worker_has_started_is_told_once_too_though_the_worker_goes_on() {
    let script = format!("trap : TERM; sh -c '{TELLS}' & while :; do sleep 0.01; done");
    let mut run = marked(&["--kill-after", "20s", "--", "sh", "-c", &script]);
    run.await_lines(1, "ready");
    run.signal(libc::SIGTERM);
    run.await_lines(1, "TERM");
    let (status, out, err) = killed(run);
    assert_eq!((status.signal(), &*out), (Some(libc::SIGTERM), ""), "{err}");
}

#[test]
fn other_signals_are_passed_on_and_end_nothing() {
    let names = ["USR1", "USR2", "WINCH", "CONT", "QUIT"];
    let signals = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH, libc::SIGCONT, libc::SIGQUIT];
    let mut run = marked(&["-n", "2", "--kill-after", "100ms", "--", "sh", "-c", TELLS]);
    run.await_lines(2, "ready");
    for (name, signal) in names.into_iter().zip(signals) {
        run.signal(signal);
        run.await_lines(2, name);
    }
    run.signal(libc::SIGTERM);
    run.await_lines(2, "TERM");
    assert_eq!(run.end_alone().0.signal(), Some(libc::SIGTERM));
    // A worker that dies of it takes the run along.
    let mut run = marked(&["--", "sh", "-c", "echo ready; exec sleep 777"]);
    run.await_lines(1, "ready");
    // It may not be sleep yet, but takes the signal all the same.
    run.signal(libc::SIGQUIT);
    assert_eq!(run.end_alone().0.signal(), Some(libc::SIGQUIT));
}

#[test]
fn another_signal_is_passed_on_and_a_third_kills() {
    let mut run = marked(&["--kill-after", "never", "--", "sh", "-c", TELLS]);
    run.await_lines(1, "ready");
    run.signal(libc::SIGINT);
    run.await_lines(1, "INT");
    run.signal(libc::SIGTERM);
    run.await_lines(1, "TERM");
    run.signal(libc::SIGINT);
    assert_eq!(run.end_alone().0.signal(), Some(libc::SIGINT));
}

#[test]
fn a_key_reaches_workers_wherever_they_are_and_ends_a_loop_around_the_run() {
    for worker in ["sh -c", "setsid sh -c"] {
        let terminal = Terminal::new();
        let program = assert_cmd::cargo::cargo_bin!("linering");
        let script = format!(
            "while :; do {} run -n 2 --kill-after 1s -- {worker} 'echo ready; exec sleep 777'; done
            echo after",
            program.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdout(terminal.open()).stderr(terminal.open());
        let run = processes::of_with(command, |command| {
            command.stdout(terminal.open()).stderr(terminal.open());
            terminal.controls(command);
        });
        terminal.read_to("ready\nready\n");
        terminal.write(b"\x03");
        let (status, ..) = run.end_alone();
        assert_eq!(status.signal(), Some(libc::SIGINT), "{worker}");
        assert_eq!(terminal.rest(), "", "{worker}");
    }
}

#[test]
fn a_key_stops_the_run_with_its_workers_and_a_shell_lets_them_go_on() {
    let terminal = Terminal::new();
    let program = assert_cmd::cargo::cargo_bin!("linering");
    // A shell with job control. The worker is in a session of its own.
    let script = format!(
        "set -m; {} run --pty -- sh -c 'echo ready; while :; do :; done'
        echo stopped; read go; fg >/dev/null",
        program.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]);
    let run = processes::of_with(command, |command| {
        command.stdout(terminal.open()).stderr(terminal.open());
        terminal.controls(command);
    });
    terminal.read_to("ready\n");
    terminal.write(b"\x1a");
    terminal.read_to("stopped\n");
    let worker = || {
        let found = run.processes();
        let of_run = found.iter().find(|process| process.name == "linering")?.id;
        found.iter().find(|process| process.parent == of_run && process.name == "sh").cloned()
    };
    let worker = worker().expect("a worker");
    until("the worker's stop", || processes::state(worker.id) == Some('T'));
    terminal.write(b"\n");
    until("its going on", || processes::state(worker.id).is_some_and(|state| state != 'T'));
    terminal.write(b"\x03");
    run.end_alone();
}

#[test]
fn ignored_signals_stay_ignored() {
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let script = format!("trap '' HUP USR1; exec {} run -- sh -c", program.display());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script} 'echo ready; exec sleep 777'")]);
    let mut run = processes::of(command);
    run.await_lines(1, "ready");
    run.signal(libc::SIGHUP);
    run.signal(libc::SIGUSR1);
    run.signal(libc::SIGTERM);
    assert_eq!(run.end_alone().0.signal(), Some(libc::SIGTERM));
}

#[test]
fn as_process_1_it_heeds_signals_and_reaps_orphans() {
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let orphan = "sh -c 'sleep 0.1 & echo $!'";
    // Reaped, it has no entry any more.
    let script = format!(
        "orphan=$({orphan} </dev/null); while [ -e /proc/$orphan ]; do sleep 0.01; done
        echo $$ reaped; exec sleep 777"
    );
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program);
    command.args(["run", "--", "sh", "-c", &script]);
    // SAFETY: one plain system call, which a forked child may make.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(600);
            Ok(())
        })
    };
    let mut run = processes::of(command);
    let line = run.line();
    if line.is_empty() {
        let (_, _, err) = run.end();
        panic!("this test needs namespaces: run it as root, in a system that allows them: {err}");
    }
    assert!(line.ends_with(" reaped\n"), "{line}");
    let all = run.processes();
    let inner = all.iter().find(|process| process.name == "linering").expect("it runs");
    send(inner.id, libc::SIGTERM);
    let (status, ..) = run.end_alone();
    // No signal kills process 1.
    assert_eq!(status.code(), Some(128 + libc::SIGTERM));
    // The same without a namespace: a subreaper.
    let run = marked(&["--", "sh", "-c", &script.replace("exec sleep 777", "")]);
    let (status, out, _) = run.end_alone();
    assert!(out.ends_with(" reaped\n") && status.success(), "{out}");
}

#[test]
fn a_terminal_of_a_worker_has_the_size_of_ours_also_when_that_changes() {
    let terminal = Terminal::new();
    terminal.resize(77, 33);
    let mut command = linering(&["--pty", "--", "sh", "-c"]);
    command.arg(
        "trap 'stty size <&1' WINCH; test -t 1 && stty size <&1; while :; do sleep 0.01; done",
    );
    let run = processes::of_with(command, |command| {
        command.stdout(terminal.open()).stderr(terminal.open());
        terminal.controls(command);
    });
    terminal.read_to("33 77\n");
    terminal.resize(50, 20);
    terminal.read_to("20 50\n");
    run.signal(libc::SIGTERM);
    run.end_alone();
}
