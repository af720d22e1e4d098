//! A ring that another process reads.

use std::io::Read;
use std::process::Stdio;

use linering::{Item, LineRing};

use super::run;
use crate::common::{err, linering, scratch};

#[test]
fn what_workers_print_is_in_the_ring_and_how_they_end_is_told() {
    let path = scratch("no-drain.ring");
    let ring = path.to_str().expect("text");
    let worker = "echo out; echo err >&2; exit $LINERING_WORKER";
    let output = run(&["-n", "2", "--no-drain", "--file", ring, "--", "sh", "-c", worker]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert_eq!(output.stdout, b"");
    assert_eq!(err(&output), "linering: worker 1 ended with exit code 1\n");
    let ring = LineRing::open_file(&path).expect("it stays");
    let items: Vec<Item<'static>> =
        ring.reader().expect("no other reader").map(|item| item.expect("whole")).collect();
    for worker in ["0", "1"] {
        let lines = items.iter().filter_map(Item::line).filter(|line| line.label == worker);
        let mut texts: Vec<_> = lines.map(ToString::to_string).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["err", "out"], "each is a line of its own");
    }
    assert!(items.iter().filter_map(Item::line).all(|line| line.time.is_some()));
    std::fs::remove_file(path).expect("it is ours");
}

/// More than the ring holds: the workers wait for a reader that comes late, and nothing is lost.
#[test]
fn a_reader_that_comes_late_gets_all() {
    let path = scratch("late.ring");
    let ring = path.to_str().expect("text");
    let mut command =
        linering(&["run", "--lines", "64", "--no-drain", "--file", ring, "--", "seq", "5000"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let reader = loop {
        // Until it is whole.
        if let Ok(ring) = LineRing::open_file(&path)
            && let Ok(reader) = ring.reader()
        {
            break reader;
        }
        std::thread::yield_now();
    };
    let lines = reader.filter_map(|item| match item.expect("whole") {
        Item::Line(line) => Some(line.to_string()),
        Item::Ended(_) => None,
        other => panic!("{other:?}"),
    });
    assert!(lines.eq((1..=5000).map(|number| number.to_string())));
    assert!(child.wait().expect("it is ours").success());
    let mut printed = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut printed).expect("text");
    assert_eq!(printed, "");
    std::fs::remove_file(path).expect("it is ours");
}

#[test]
fn without_a_file_or_with_what_is_printed_it_is_wrong_usage() {
    let output = run(&["--no-drain", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("--file <PATH>"), "{}", err(&output));
    let output = run(&["--no-drain", "--file", "/tmp/x", "--summary", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("--summary"), "{}", err(&output));
}
