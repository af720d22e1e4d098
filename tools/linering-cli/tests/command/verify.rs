//! `linering verify` from outside, and how the others show what is damaged.

use std::fs;
use std::path::Path;
use std::process::Output;

use linering::{LineRing, Options};

use crate::common::{err, folder, linering, out};

fn output(args: &[&str]) -> Output {
    linering(args).output().expect("it starts")
}

/// A ring in a file with three lines of one worker, which has ended.
fn sample(path: &Path, checksums: impl Into<Option<bool>>) {
    let options = Options::new().lines(8).line_bytes(64).mirrors(3).seats(8).checksums(checksums);
    let ring = LineRing::create_file(path, options).expect("a ring");
    let mut mirror = ring.mirror_labelled("3").expect("a mirror");
    for line in ["first", "second", "third"] {
        mirror.write_line(line.as_bytes()).expect("room");
    }
    mirror.send_eof().expect("room");
}

/// Changes the text `from`, which is in the file once.
fn change(path: &Path, from: &str, to: &str) {
    let mut bytes = fs::read(path).expect("a file");
    let at =
        bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("it is there");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    fs::write(path, bytes).expect("a file");
}

#[test]
fn a_sound_ring_and_a_damaged_one_are_told_apart_in_one_line() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    sample(&path, None);
    let before = fs::read(&path).expect("a file");
    let sound = output(&["verify", ring]);
    let says = |text: &str| format!("{ring}: {text}\n");
    assert_eq!(out(&sound), says("3 lines sound, 0 lines damaged, 0 positions damaged"));
    assert_eq!((err(&sound).as_str(), sound.status.code()), ("", Some(0)));
    assert!(fs::read(&path).expect("a file") == before, "nothing is changed");
    change(&path, "second", "sEcond");
    let damaged = output(&["verify", ring]);
    let text = "2 lines sound, 1 line damaged (position 1 of worker 3), 0 positions damaged";
    assert_eq!((out(&damaged), damaged.status.code()), (says(text), Some(1)));
    // Once they are taken too.
    assert_eq!(output(&["recover", ring]).status.code(), Some(0));
    assert_eq!(out(&output(&["verify", ring])), says(text));
}

#[test]
fn of_a_ring_without_checksums_it_is_known_what_is_in_place() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    sample(&path, false);
    change(&path, "second", "sEcond");
    let seen = output(&["verify", ring]);
    let says = |text: &str| format!("{ring}: {text}\n");
    assert_eq!(out(&seen), says("no checksums: 3 lines in place, 0 positions damaged"));
    assert_eq!(seen.status.code(), Some(0));
    // The header's first word is the position.
    let mut bytes = fs::read(&path).expect("a file");
    let at = bytes.windows(6).position(|part| part == b"sEcond").expect("it is there");
    bytes[at - 32] ^= 1;
    fs::write(&path, bytes).expect("a file");
    let seen = output(&["verify", ring]);
    assert_eq!(out(&seen), says("no checksums: 2 lines in place, 1 position damaged (1)"));
    assert_eq!(seen.status.code(), Some(1));
}

#[test]
fn what_is_no_ring_is_refused_and_wrong_usage_too() {
    let refused = output(&["verify", "/etc/passwd"]);
    assert_eq!((refused.status.code(), out(&refused)), (Some(1), String::new()));
    assert!(
        err(&refused).starts_with("linering: cannot verify /etc/passwd: "),
        "{}",
        err(&refused)
    );
    assert_eq!(output(&["verify"]).status.code(), Some(2));
}

#[test]
fn damaged_lines_are_shown_and_told_of() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    sample(&path, None);
    change(&path, "second", "sEcond");
    // The second one takes them out.
    for command in ["cat", "recover"] {
        let note = "linering: -- worker 3: the line at position 1 is damaged --\n";
        let json = out(&output(&["cat", "-o", "json", ring]));
        let shown = output(&[command, ring]);
        assert_eq!(out(&shown), "first\nsEcond\nthird\n", "{command}");
        assert!(err(&shown).starts_with(note), "{}", err(&shown));
        let objects: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((&objects[1]["msg"], &objects[1]["damaged"]), (&"sEcond".into(), &true.into()));
        assert!(objects[0].get("damaged").is_none());
    }
}
