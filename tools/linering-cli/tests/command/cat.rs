//! `linering cat` from outside: rings in use, rings that a crash has left, and what is no ring.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use linering::{LineRing, Options, Policy, Stream, Timestamps};

use crate::common::{err, folder, linering, out};

fn cat(args: &[&str]) -> Output {
    linering(&[&["cat"], args].concat()).output().expect("it starts")
}

/// Two mirrors' lines, one loss, one end.
fn sample(path: &Path) {
    let options = Options::new()
        .lines(8)
        .line_bytes(128)
        .policy(Policy::DropNewest)
        .timestamps(Timestamps::Coarse);
    let ring = LineRing::create_file(path, options).expect("a ring");
    let mut one = ring.mirror_labelled("0").expect("a mirror");
    let mut two = ring.mirror_labelled("two").expect("a mirror");
    one.write_line(b"first").expect("room");
    two.set_stream(Stream::Stderr).write_line(b"second").expect("room");
    one.write_packed(b"a\nb\nc\n").expect("room");
    for number in 0..10 {
        two.write_line(format!("two {number}").as_bytes()).expect("never refused");
    }
    two.send_eof().expect("never refused");
    // Of which nothing is to be said.
    assert!(ring.seat().expect("room").cancel());
    // As a kill would leave it: it has not ended.
    std::mem::forget(one);
}

#[test]
fn a_rings_lines_losses_and_ends_are_shown() {
    let folder = folder();
    let path = folder.path().join("ring");
    sample(&path);
    let ring = path.to_str().expect("UTF-8");
    let before = fs::read(&path).expect("a file");
    let output = cat(&[ring]);
    assert_eq!(out(&output), "first\nsecond\na\nb\nc\ntwo 0\ntwo 1\ntwo 2\ntwo 3\ntwo 4\n");
    let notes =
        "linering: -- worker two: 5 lines lost, ring full --\nlinering: -- worker two ended --\n";
    assert_eq!((err(&output).as_str(), output.status.code()), (notes, Some(0)));
    for (args, expected) in [
        (&["-n", "3"][..], "two 2\ntwo 3\ntwo 4\n"),
        (&["-n", "7"], "b\nc\ntwo 0\ntwo 1\ntwo 2\ntwo 3\ntwo 4\n"),
        (&["-n", "100", "--worker", "0"], "first\na\nb\nc\n"),
        (&["-n", "2", "--worker", "0"], "b\nc\n"),
        (&["-n", "0"], ""),
        (&["--worker", "1"], ""),
        (&["--worker", "two", "-n", "1"], "two 4\n"),
    ] {
        assert_eq!(out(&cat(&[args, &[ring]].concat())), expected, "{args:?}");
    }
    let short = out(&cat(&["-o", "short", "-n", "6", ring]));
    let tails: Vec<_> =
        short.lines().map(|line| line.split_once("Z ").expect("a time").1).collect();
    assert_eq!(
        tails,
        ["[0] c", "[two] two 0", "[two] two 1", "[two] two 2", "[two] two 3", "[two] two 4"]
    );
    let json = out(&cat(&["-o", "json", ring]));
    let objects: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages: Vec<_> =
        objects.iter().map(|object| object["msg"].as_str().expect("text")).collect();
    assert_eq!(messages[..6], ["first", "second", "a", "b", "c", "two 0"]);
    assert_eq!((&objects[0]["worker"], &objects[0]["stream"]), (&0.into(), &"stdout".into()));
    assert_eq!((&objects[1]["label"], &objects[1]["stream"]), (&"two".into(), &"stderr".into()));
    assert_eq!((&objects[2]["position"], &objects[3]["position"]), (&2.into(), &2.into()));
    assert!(fs::read(&path).expect("a file") == before);
}

/// A run whose worker has written three lines and waits for its standard input to end.
fn running(options: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let args =
        [&["run"], options, &["--", "sh", "-c", "echo 1; echo 2; echo 3; read wait"]].concat();
    let mut child =
        linering(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for number in ["1\n", "2\n", "3\n"] {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, number);
    }
    (child, stdout)
}

#[test]
fn a_ring_in_use_is_seen_by_its_name_and_gone_after() {
    let name = format!("linering-cat-{}", std::process::id());
    let (mut child, mut stdout) = running(&["--name", &name]);
    // Drained long ago, and still there.
    assert_eq!((out(&cat(&[&name])), err(&cat(&[&name]))), ("1\n2\n3\n".to_owned(), String::new()));
    child.stdin.take().expect("a pipe").write_all(b"\n").expect("it reads");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    child.wait().expect("ours");
    let output = cat(&[&name]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "linering: cannot read {name}: cannot open shared memory of that name: No such file or directory (os error 2)\n"
    );
    assert_eq!(err(&output), expected);
}

#[test]
fn a_killed_runs_ring_is_read_from_its_file() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    let (mut child, _stdout) = running(&["--file", ring]);
    child.kill().expect("ours");
    child.wait().expect("ours");
    assert_eq!(out(&cat(&[ring])), "1\n2\n3\n");
    // By a path that is no file's name alone, and through a link.
    std::os::unix::fs::symlink(&path, folder.path().join("link")).expect("a link");
    let mut there = linering(&["cat", "link", "-o", "short"]);
    assert_eq!(
        out(&there.current_dir(folder.path()).output().expect("it starts")),
        "[0] 1\n[0] 2\n[0] 3\n"
    );
}

#[test]
fn what_is_no_ring_is_named_in_one_sentence() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("text"), "some text, much longer than the header of a ring\n".repeat(100))
        .expect("a file");
    fs::write(path("empty"), "").expect("a file");
    sample(Path::new(&path("short")));
    fs::File::options()
        .write(true)
        .open(path("short"))
        .and_then(|file| file.set_len(2000))
        .expect("a file");
    fs::write(path("half"), "linering").expect("a file");
    sample(Path::new(&path("other")));
    let mut bytes = fs::read(path("other")).expect("a file");
    bytes[8] = 99;
    fs::write(path("other"), bytes).expect("a file");
    for (ring, expected) in [
        (path("text"), "the object begins with"),
        (path("half"), "the ring is not finished: a process makes it now, or died"),
        (path("empty"), "the object has 0 bytes, expected at least the 768"),
        (path("short"), "the object has 2000 bytes, expected"),
        (path("other"), "99"),
        (path("nothing"), "cannot open the file: No such file"),
        (
            folder.path().to_str().expect("UTF-8").to_owned(),
            "it is a folder, expected a regular file",
        ),
        ("/dev/null".to_owned(), "it is a device, expected a regular file"),
        ("linering-no-such-name".to_owned(), "No such file"),
        (String::new(), "is no name for a ring"),
    ] {
        let output = cat(&[&ring]);
        assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()), "{ring}");
        let err = err(&output);
        assert!(err.contains(expected) && err.lines().count() == 1 && err.contains(&ring), "{err}");
    }
    for args in [&[][..], &["-n", "x", "ring"], &["ring", "other"], &["-o", "xml", "ring"]] {
        assert_eq!(cat(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn pieces_of_two_writers_are_not_glued_together() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = LineRing::create_file(&path, Options::new()).expect("a ring");
    let mut alpha = ring.mirror_labelled("alpha").expect("a mirror");
    let mut beta = ring.mirror_labelled("beta").expect("a mirror");
    alpha.write_all(b"piece").and_then(|()| Ok(alpha.flush_partial()?)).expect("room");
    beta.write_line(b"line").expect("room");
    assert_eq!(out(&cat(&[path.to_str().expect("UTF-8")])), "piece\nline\n");
}

#[test]
fn a_closed_stdout_is_quiet_and_a_full_one_is_not() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    let ran =
        linering(&["run", "--file", ring, "--", "seq", "100000"]).stdout(Stdio::null()).status();
    assert_eq!(ran.expect("it starts").code(), Some(0));
    let mut child = linering(&["cat", ring])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ours");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output =
        linering(&["cat", ring]).stdout(full).stderr(Stdio::piped()).output().expect("it starts");
    let sentence =
        "linering: cannot write the standard output: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(1), sentence));
}
