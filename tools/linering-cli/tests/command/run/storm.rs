//! Random trees of processes, for each way in which a run is stopped: none is left, and no line is
//! lost whose write had returned.
//!
//! `LINERING_STORM_TREES` says how many trees there are for each way; 24 without it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::processes::{Marked, marked, send, until};
use crate::common::example;
use crate::common::{folder, text};

const AT_ONCE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Signal(i32),
    Group,
    All,
    Twice,
    Halt,
    TimeLimit,
}

fn trees() -> usize {
    std::env::var("LINERING_STORM_TREES").map_or(24, |count| count.parse().expect("a number"))
}

fn storm(way: Way) {
    for round in 0..trees().div_ceil(AT_ONCE) {
        let folder = folder();
        let there = text(folder.path());
        let program = example("storm_tree");
        let first = round * AT_ONCE;
        // One more, which fails or waits.
        let script = format!(
            "[ $LINERING_WORKER != {AT_ONCE} ] || {{ until [ -e {there}/go ]; do sleep 0.01; done; exit 1; }}
            exec {} $(({first} + LINERING_WORKER)) {there}",
            program.display()
        );
        let workers = if way == Way::Halt { AT_ONCE + 1 } else { AT_ONCE }.to_string();
        let mut args = vec!["-n", &workers, "--kill-after", "200ms"];
        match way {
            Way::Halt => args.push("--halt"),
            Way::TimeLimit => args.extend(["--timeout", "1s"]),
            _ => {}
        }
        let run = marked(&[&args[..], &["--", "sh", "-c", &script]].concat());
        if way != Way::TimeLimit {
            for seed in first..first + AT_ONCE {
                until("a tree", || has_grown(folder.path(), seed));
            }
        }
        stop(&run, way, folder.path());
        let (status, out, err) = run.end_alone();
        assert!(!status.success(), "{way:?}, trees from {first}: {err}");
        check(&out, folder.path(), first..first + AT_ONCE);
    }
}

fn has_grown(folder: &Path, seed: usize) -> bool {
    let total = fs::read_to_string(folder.join(format!("{seed}.total"))).unwrap_or_default();
    let Some(total) = total.strip_suffix('\n') else { return false };
    (0..total.parse().expect("a number"))
        .all(|number: usize| folder.join(format!("{seed}.{number}")).exists())
}

fn stop(run: &Marked, way: Way, folder: &Path) {
    match way {
        Way::Signal(signal) => run.signal(signal),
        Way::Group => send(-run.id(), libc::SIGTERM),
        Way::All => {
            let others: Vec<i32> = run.processes().iter().map(|process| process.id).collect();
            run.signal(libc::SIGTERM);
            others.into_iter().filter(|id| *id != run.id()).for_each(|id| send(id, libc::SIGTERM));
        }
        Way::Twice => {
            run.signal(libc::SIGTERM);
            // Beyond the moment in which it would be the same one.
            std::thread::sleep(std::time::Duration::from_millis(210));
            run.signal(libc::SIGTERM);
        }
        Way::Halt => fs::write(folder.join("go"), "").expect("a folder"),
        Way::TimeLimit => {}
    }
}

/// Each process's lines are there, from the first to the last whose write had returned.
fn check(out: &str, folder: &Path, seeds: std::ops::Range<usize>) {
    let mut next = HashMap::<&str, u64>::new();
    for line in out.lines() {
        let (node, number) = line.rsplit_once('.').expect("a line of a tree");
        let next = next.entry(node).or_insert(1);
        assert_eq!(number.parse(), Ok(*next), "{node}");
        *next += 1;
    }
    for file in fs::read_dir(folder).expect("a folder").flatten() {
        let name = file.file_name().into_string().expect("UTF-8");
        let is_node = name.split_once('.').is_some_and(|(seed, number)| {
            seed.parse().is_ok_and(|seed: usize| seeds.contains(&seed)) && number != "total"
        });
        if is_node {
            let returned = fs::read(file.path()).expect("a file");
            let returned = returned.try_into().map_or(0, u64::from_ne_bytes);
            let came = next.get(&*name).map_or(0, |next| next - 1);
            assert!(came >= returned, "{name}: {came} lines came of {returned}");
        }
    }
}

#[test]
fn no_process_and_no_line_is_left_after_a_signal() {
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP].map(Way::Signal).into_iter().for_each(storm);
}

#[test]
fn no_process_and_no_line_is_left_after_a_signal_to_more() {
    [Way::Group, Way::All, Way::Twice].into_iter().for_each(storm);
}

#[test]
fn no_process_and_no_line_is_left_after_a_halt_or_a_time_limit() {
    [Way::Halt, Way::TimeLimit].into_iter().for_each(storm);
}
