//! Where the ring is: a file that stays, or a name meanwhile.

use std::fs;
use std::path::Path;

use super::run;
use crate::common::{err, out, scratch};

#[test]
fn the_ring_can_be_a_file_that_stays_or_have_a_name_meanwhile() {
    let path = scratch("run.ring");
    let text = path.to_str().expect("UTF-8");
    let output = run(&["--file", text, "--", "echo", "hello"]);
    assert_eq!(
        (out(&output), output.status.code()),
        ("hello\n".to_owned(), Some(0)),
        "{}",
        err(&output)
    );
    let ring = linering::LineRing::open_file(&path).expect("it stays");
    assert!(ring.reader().expect("no other reader").next().is_none(), "everything was read");
    let output = run(&["--file", text, "--", "echo", "hello"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains(&format!("{text} is there already")), "{}", err(&output));
    let name = format!("linering-run-test-{}", std::process::id());
    let shown = format!("/dev/shm/{name}");
    let output = run(&["--name", &name, "--", "test", "-e", &shown]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(!Path::new(&shown).exists());
    let output = run(&["--name", "a/b", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("\"a/b\" is no name for a ring"), "{}", err(&output));
    let output = run(&["--file", "/nonexistent/x.ring", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("cannot make the file: No such file"), "{}", err(&output));
}

#[test]
fn a_ring_whose_file_is_cut_short_ends_the_run_with_a_sentence() {
    let path = scratch("cut.ring");
    let ring = path.to_str().expect("UTF-8");
    // The worker cuts it itself, and writes until it has no reader.
    let work =
        format!("echo before; truncate -s 0 {ring}; while echo after; do :; done 2>/dev/null");
    let output = run(&["--file", ring, "--", "sh", "-c", &work]);
    fs::remove_file(&path).expect("it stays");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(
        err(&output).contains("the ring's file was cut short while it was in use"),
        "{output:?}"
    );
}
