//! What is typed reaches the one worker that reads it, also where it has a terminal of its own; and
//! the terminal that it is typed at is as it was, however the run ends.

use std::process::Command;

use rustix::termios::LocalModes;

use super::linering;
use super::processes::{self, Marked, send, until};
use super::terminal::Terminal;

/// A run before this terminal.
fn at(terminal: &Terminal, args: &[&str]) -> Marked {
    processes::of_with(linering(args), |command| before(terminal, command))
}

fn before(terminal: &Terminal, command: &mut Command) {
    command.stdout(terminal.open()).stderr(terminal.open());
    terminal.controls(command);
}

const ECHO: LocalModes = LocalModes::ECHO;
const BOTH: LocalModes = LocalModes::ECHO.union(LocalModes::ICANON);

#[test]
fn a_worker_with_a_terminal_is_answered() {
    for read in ["read x", "read x </dev/tty", "x=$(head -n 1)", "x=$(python3 -c 'print(input())')"]
    {
        for options in [&[][..], &["-n", "3", "--stdin", "1"], &["-n", "2", "--stdin", "0"]] {
            let terminal = Terminal::new();
            let script = format!(
                "if [ -t 0 ]; then printf 'Name? '; {read}; echo \"hi $x\"; else sleep 777; fi"
            );
            let run = at(&terminal, &[options, &["--pty", "--", "sh", "-c", &script]].concat());
            terminal.read_to("Name? ");
            terminal.write(b"you\n");
            terminal.read_to("hi you\n");
            run.signal(libc::SIGTERM);
            run.end_alone();
        }
    }
}

/// Also without terminals of their own: one of several reads.
#[test]
fn a_prompt_of_one_of_several_is_shown() {
    for options in [&[][..], &["--tag"], &["--merge"]] {
        let terminal = Terminal::new();
        let script = "[ -t 0 ] || exec sleep 777; printf 'Name? '; read x; echo \"hi $x\"";
        let options = [&["-n", "3", "--stdin", "1"], options, &["--", "sh", "-c", script]].concat();
        let run = at(&terminal, &options);
        terminal.read_to("Name? ");
        terminal.write(b"you\n");
        terminal.read_to("hi you\n");
        run.signal(libc::SIGTERM);
        run.end_alone();
    }
}

#[test]
fn each_read_gives_one_line_however_early_it_was_typed_and_an_end_is_one() {
    let terminal = Terminal::new();
    // dd reads once.
    let script = "stty -a | grep -o ' icanon'; echo ready; read go
        for i in 1 2 3; do dd bs=100 count=1 status=none; echo \"$i\"; done
        cat; echo end; cat; echo end";
    let run = at(&terminal, &["--pty", "--", "sh", "-c", script]);
    terminal.read_to(" icanon\nready\n");
    terminal.write(b"go\nfirst\nsecond\nthird\nfourth\n\x04\x04");
    assert_eq!(terminal.read_to("end\nend\n"), "first\n1\nsecond\n2\nthird\n3\nfourth\nend\nend\n");
    assert_eq!(run.end_alone().0.code(), Some(0));
}

#[test]
fn what_a_worker_changes_of_its_terminal_is_changed_here_and_set_back() {
    let hide = "stty -echo; printf 'Password: '; read x";
    let key = "stty -icanon -echo; printf 'Any key: '; x=$(dd bs=1 count=1 status=none)";
    for (script, typed, hidden) in [(hide, "secret\n", ECHO), (key, "k", BOTH)] {
        let terminal = Terminal::new();
        terminal.set_modes(BOTH, true);
        let then = "stty echo icanon; echo \"got $x\"; sleep 777";
        let run = at(&terminal, &["--pty", "--", "sh", "-c", &format!("{script}; {then}")]);
        terminal.read_to(": ");
        until("hiding", || !terminal.modes().intersects(hidden));
        terminal.write(typed.as_bytes());
        // Nothing else is shown: the worker's terminal has not echoed it either.
        assert_eq!(terminal.read_to("\n"), format!("got {}\n", typed.trim()));
        until("showing", || terminal.modes().contains(BOTH));
        run.signal(libc::SIGTERM);
        run.end_alone();
    }
}

#[test]
fn the_terminal_is_as_it_was_however_the_run_ends() {
    let hides = "stty -echo -icanon; printf 'ready '";
    for (case, then) in [
        ("end", "exit 0"),
        ("failure", "exit 7"),
        ("worker killed", "kill -KILL $$"),
        ("a stop", "exec sleep 777"),
        ("a second one", "trap '' TERM; sleep 777; sleep 777"),
        ("what it leaves behind", "trap '' HUP; setsid sleep 777 & exit 0"),
        ("time", "exec sleep 777"),
    ] {
        let terminal = Terminal::new();
        terminal.set_modes(BOTH, true);
        let script = format!("{hides}; read go; {then}");
        let limit: &[&str] = if case == "time" { &["--timeout", "1s"] } else { &[] };
        let args = [limit, &["--linger", "0", "--pty", "--", "sh", "-c", &script]].concat();
        let mut run = at(&terminal, &args);
        terminal.read_to("ready ");
        until("hiding", || !terminal.modes().intersects(BOTH));
        terminal.write(b"\n");
        if case.contains("stop") || case.contains("second") {
            let sleeps = || run.processes().iter().any(|process| process.name == "sleep");
            until("sleep", sleeps);
            if case.contains("stop") {
                run.signal(libc::SIGTERM);
            } else {
                until("its end", || {
                    run.signal(libc::SIGTERM);
                    run.child.try_wait().expect("ours").is_some()
                });
            }
        }
        run.child.wait().expect("ours");
        assert!(terminal.modes().contains(BOTH), "{case}");
    }
}

#[test]
fn a_worker_that_is_started_again_is_answered_again() {
    let terminal = Terminal::new();
    let script = "printf 'Name? '; read x; echo \"hi $x\"; stty -echo; [ $x = last ]";
    let run = at(&terminal, &["--retries", "3", "--pty", "--", "sh", "-c", script]);
    for name in ["first", "second", "last"] {
        terminal.read_to("Name? ");
        terminal.write(format!("{name}\n").as_bytes());
        terminal.read_to(&format!("hi {name}\n"));
    }
    assert_eq!(run.end_alone().0.code(), Some(0));
}

#[test]
fn in_the_background_it_takes_nothing_and_a_shell_lets_it_go_on() {
    let terminal = Terminal::new();
    terminal.set_modes(BOTH, true);
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let script = format!(
        "set -m; {} run --pty -- sh -c 'stty -echo; echo ready; read x; echo got $x; exec sleep 777' &
        for i in 1 2 3 4 5; do read line; echo shell $line; done; fg >/dev/null",
        program.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]);
    let run = processes::of_with(command, |command| before(&terminal, command));
    terminal.set_modes(ECHO, false);
    terminal.read_to("ready\n");
    let id = run.processes().iter().find(|process| process.name == "linering").expect("it").id;
    for _ in 0..5 {
        terminal.write(b"one\n");
        terminal.read_to("shell one\n");
        // As one that reads in the background is.
        assert_ne!(processes::state(id), Some('T'));
    }
    terminal.write(b"two\n");
    terminal.read_to("got two\n");
    terminal.write(b"\x03");
    run.end_alone();
}

#[test]
fn a_stop_by_a_key_sets_the_terminal_back_for_as_long_as_it_takes() {
    let terminal = Terminal::new();
    terminal.set_modes(BOTH, true);
    let program = assert_cmd::cargo::cargo_bin!("linering");
    let script = format!(
        "set -m; {} run --pty -- sh -c 'stty -echo; echo ready; exec cat'
        echo stopped; read go; fg >/dev/null",
        program.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]);
    let run = processes::of_with(command, |command| before(&terminal, command));
    terminal.read_to("ready\n");
    until("hiding", || !terminal.modes().contains(ECHO));
    terminal.write(b"\x1a");
    until("showing", || terminal.modes().contains(ECHO));
    terminal.set_modes(ECHO, false);
    terminal.read_to("stopped\n");
    terminal.set_modes(ECHO, true);
    terminal.write(b"\n");
    until("hiding", || !terminal.modes().contains(ECHO));
    terminal.write(b"to cat\n");
    terminal.read_to("to cat\n");
    terminal.write(b"\x03");
    run.end_alone();
    assert!(terminal.modes().contains(ECHO));
}

#[test]
fn a_file_and_a_pipe_are_read_as_they_are() {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let folder = crate::common::folder();
    let path = folder.path().join("input");
    std::fs::write(&path, &bytes).expect("a file");
    let input = std::fs::File::open(&path).expect("it");
    let output = linering(&["--pty", "--", "cmp", "-", crate::common::text(&path)])
        .stdin(input)
        .output()
        .expect("it starts");
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]));
}

#[test]
fn a_terminal_that_was_closed_since_the_output_has_no_reader_is_no_failure() {
    for script in ["exec yes", "yes; exit $?"] {
        let mut child = linering(&["--pty", "--", "sh", "-c", script])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ours");
        let err = crate::common::err(&output);
        assert_eq!((output.status.code(), err), (Some(0), String::new()), "{script}");
    }
}

/// What is left of a killed run is not answered, but nothing hangs.
#[test]
fn a_worker_that_reads_nothing_keeps_nothing_waiting() {
    let terminal = Terminal::new();
    let run = at(&terminal, &["--pty", "--kill-after", "200ms", "--", "sleep", "777"]);
    until("sleep", || run.processes().iter().any(|process| process.name == "sleep"));
    for _ in 0..100 {
        terminal.write(b"a line that no process reads\n");
    }
    send(run.id(), libc::SIGTERM);
    run.end_alone();
}
