//! Runs that are told to end: nothing of theirs is left, in whatever group and session it is and
//! whatever it ignores, and nothing that it wrote is lost.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;

use rustix::fs::{Mode, OFlags};

use super::linering;
use super::processes::{self, Marked, marked, send, until};
use super::terminal::Terminal;
use crate::common::{folder, text};

/// A worker with children in its group, in a group and in sessions of their own, with closed
/// outputs, that ignore signals, and an orphan.
const TREE: &str = "
    sleep 777 &
    setsid sleep 777 &
    setsid sh -c 'sleep 777; :' >/dev/null 2>&1 &
    sh -c 'trap \"\" TERM INT HUP; sleep 777; sleep 777' &
    setsid sh -c 'trap \"\" TERM INT HUP; sleep 777; sleep 777' <&- >&- 2>&- &
    sh -c 'sleep 777 & exec setsid sleep 777 & exit 0'
    echo ready";
/// What it does then.
const WAITS: &str = "sleep 777; echo after";
const IGNORES: &str = "trap '' TERM INT HUP; sleep 777; sleep 777";

/// So many trees, which have begun.
fn trees(options: &[&str], count: usize, then: &str) -> Marked {
    let script = format!("{TREE}; {then}");
    let count_text = count.to_string();
    let mut run = marked(&[&["-n", &count_text], options, &["--", "sh", "-c", &script]].concat());
    run.await_lines(count, "ready");
    run
}

const SOON: [&str; 2] = ["--kill-after", "300ms"];

#[test]
fn a_stop_reaches_whole_trees() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        for then in [WAITS, IGNORES] {
            let run = trees(&SOON, 2, then);
            assert!(run.processes().len() > 16, "{:?}", run.processes());
            run.signal(signal);
            let (status, out, err) = run.end_alone();
            assert_eq!((status.signal(), &*out, &*err), (Some(signal), "", ""), "{then}");
        }
    }
}

#[test]
fn a_second_signal_kills_at_once() {
    for (first, second) in [(libc::SIGTERM, libc::SIGTERM), (libc::SIGINT, libc::SIGINT)] {
        let script = format!("{TREE}; trap 'echo told' TERM INT; while :; do sleep 0.01; done");
        let mut run = marked(&["--kill-after", "never", "--", "sh", "-c", &script]);
        run.await_lines(1, "ready");
        run.signal(first);
        run.await_lines(1, "told");
        // A moment later: at once it would be the first one, sent twice.
        let killed = || {
            run.signal(second);
            run.processes().is_empty()
        };
        until("its end", killed);
        assert_eq!(run.end_alone().0.signal(), Some(second));
    }
}

#[test]
fn a_halt_reaches_whole_trees() {
    for then in [WAITS, IGNORES] {
        // One fails when the others are ready, and leaves its tree behind.
        let folder = folder();
        let there = text(folder.path());
        let then = format!(
            ": > {there}/$LINERING_WORKER
            if [ $LINERING_WORKER = 1 ]; then
                until [ -e {there}/0 ] && [ -e {there}/2 ]; do sleep 0.01; done; exit 7
            fi; {then}"
        );
        let run = trees(&[&["--halt"], &SOON[..]].concat(), 3, &then);
        let (status, out, err) = run.end_alone();
        assert_eq!((status.code(), &*out), (Some(1), ""), "{err}");
        assert!(err.starts_with("linering: worker 1 ended with exit code 7\n"), "{err}");
    }
}

#[test]
fn commands_of_a_file_are_stopped_with_their_trees_too() {
    let folder = folder();
    let path = folder.path().join("commands");
    let tree = "sleep 777 & setsid sleep 777 & echo ready; sleep 777";
    fs::write(&path, format!("{tree}\n{tree}; :\n")).expect("a file");
    let mut run = marked(&["--commands", text(&path)]);
    run.await_lines(2, "ready");
    run.signal(libc::SIGTERM);
    assert_eq!(run.end_alone().0.signal(), Some(libc::SIGTERM));
}

#[test]
fn a_halt_notices_a_failure_whatever_the_worker_did_with_its_outputs() {
    for failing in ["exec >&- 2>&-; exit 3", "sleep 777 & exit 3", "setsid sleep 777 & kill -9 $$"]
    {
        let script = format!("[ $LINERING_WORKER = 1 ] || exec sleep 777; {failing}");
        let run = marked(&["-n", "3", "--halt", "--", "sh", "-c", &script]);
        let (status, _, err) = run.end_alone();
        assert_eq!(status.code(), Some(1), "{failing}: {err}");
    }
}

#[test]
fn what_takes_too_long_ends_with_its_tree_and_the_others_go_on() {
    let script = format!(
        "if [ $LINERING_WORKER = 0 ]; then {TREE}; {IGNORES}; else echo ready; sleep 1.5; echo done; fi"
    );
    let options = ["-n", "2", "--timeout", "1s", "--kill-after", "100ms"];
    // The second one is told too, and traps that.
    let script = format!("[ $LINERING_WORKER = 0 ] || trap : TERM; {script}");
    let mut run = marked(&[&options[..], &["--", "sh", "-c", &script]].concat());
    run.await_lines(2, "ready");
    let (status, _, err) = run.end_alone();
    assert_eq!(status.code(), Some(2), "{err}");
    assert!(err.contains("worker 0 was out of time and was killed by SIGKILL"), "{err}");
    // One alone has the exit code of timeout(1).
    let run = marked(&["--timeout", "100ms", "--", "sleep", "777"]);
    let (status, _, err) = run.end_alone();
    assert_eq!(status.code(), Some(124), "{err}");
}

#[test]
fn two_signals_end_it_though_its_outputs_take_nothing() {
    // A pipe whose reader stands still, a FIFO, a terminal that was stopped.
    let folder = folder();
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let _reader =
        rustix::fs::open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("a FIFO");
    let terminal = Terminal::new();
    terminal.write(b"\x13");
    for case in ["pipe", "fifo", "terminal", "stderr too"] {
        for options in [&[][..], &["--group"], &["-o", "json"]] {
            let mut command = linering(&[options, &["-n", "2", "--", "sh", "-c"]].concat());
            command.arg("yes & yes >&2");
            let file = |path| fs::OpenOptions::new().write(true).open(path).expect("it opens");
            let to: Option<File> = match case {
                "pipe" => None,
                "fifo" => Some(file(fifo.clone())),
                _ => Some(terminal.open()),
            };
            let mut run = processes::of_with(command, |command| {
                let Some(to) = &to else { return };
                command.stdout(to.try_clone().expect("a descriptor"));
                if case == "stderr too" {
                    command.stderr(to.try_clone().expect("a descriptor"));
                }
            });
            until("workers", || {
                run.processes().iter().filter(|one| one.name == "yes").count() == 4
            });
            until("its end", || {
                run.signal(libc::SIGTERM);
                run.child.try_wait().expect("ours").is_some()
            });
            let status = run.child.wait().expect("ours");
            assert_eq!(status.signal(), Some(libc::SIGTERM), "{case} {options:?}");
            let left = run.processes();
            left.iter().for_each(|process| send(process.id, libc::SIGKILL));
            assert!(left.is_empty(), "{case} {options:?}: {left:?}");
        }
    }
}

#[test]
fn a_run_that_is_killed_has_its_workers_told() {
    let folder = folder();
    let there = text(folder.path());
    let script = format!(
        "trap \"echo told > {there}/$LINERING_WORKER; exit\" TERM
        echo ready; while :; do sleep 0.01; done"
    );
    let mut run = marked(&["-n", "2", "--", "sh", "-c", &script]);
    run.await_lines(2, "ready");
    run.signal(libc::SIGKILL);
    for worker in ["0", "1"] {
        assert_eq!(processes::text_of(&folder.path().join(worker)), "told\n");
    }
    until("the witnesses' end", || run.processes().is_empty());
    run.end_alone();
}
