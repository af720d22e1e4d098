//! Two forwarders, copies of a ring, a ring that is made anew, and files that are damaged.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use linering::LineRing;

use crate::harness::{
    MADE, PATIENCE, Server, assert_fails, assert_one_sentence, begin, ended, err, forward, merge,
    output, ring, running, write,
};

const SUBJECT: &str = "linering.test";

fn run(ring: &Path, server: &Server) -> Output {
    let target = format!("{}/{SUBJECT}", server.target());
    output(forward(ring, &target, &MADE))
}

/// What a ring still has.
fn unread(path: &Path) -> Vec<String> {
    let ring = LineRing::open_file(path).expect("a ring");
    let mut reader = ring.reader().expect("no forwarder is left");
    std::iter::from_fn(|| reader.try_recv().expect("whole").map(|item| item.to_string())).collect()
}

fn copy(server: &Server, of: &Path) -> PathBuf {
    let copy = server.path("copy.ring");
    fs::copy(of, &copy).expect("a copy");
    copy
}

#[test]
fn a_ring_that_is_about_to_be_made_is_waited_for_and_with_follow_one_that_is_not_there() {
    let server = Server::start("");
    let [half, path] = ["half", "a.ring"].map(|name| server.path(name));
    fs::write(&half, b"linering").expect("a file");
    assert_one_sentence(&run(&half, &server), 1, "the ring is not finished");
    let target = format!("{}/{SUBJECT}", server.target());
    let mut follows = forward(&path, &target, &[&MADE[..], &["--follow"]].concat());
    let mut follows = follows.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut said = BufReader::new(follows.stderr.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("text");
    assert!(line.contains("which is not there yet"), "{line}");
    fs::copy(&half, &path).expect("a file");
    // As a maker does that needs no name for it before.
    let whole = server.path("whole");
    let made = ring(&whole, 64);
    write(&made, &["one"]);
    fs::rename(&whole, &path).expect("a file");
    let began = Instant::now();
    while merge(&server.target()).stdout.is_empty() {
        assert!(began.elapsed() < PATIENCE, "it is forwarded");
    }
    follows.kill().expect("it is ours");
    follows.wait().expect("it is ours");
}

#[test]
fn two_forwarders_of_one_ring_are_told_apart_by_its_lock() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    let mut first = running(&path, &server, SUBJECT);
    assert_one_sentence(&run(&path, &server), 3, "reads the ring");
    first.kill().expect("it is ours");
    first.wait().expect("it is ours");
    assert!(run(&path, &server).status.success());
}

#[test]
fn a_copy_of_a_ring_with_other_lines_is_told_and_each_keeps_its_own() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    let first = running(&path, &server, SUBJECT);
    let path_of_copy = copy(&server, &path);
    let copied = LineRing::open_file(&path_of_copy).expect("a ring");
    write(&copied, &["two of the copy"]);
    assert!(run(&path_of_copy, &server).status.success());
    // While it runs, and from its start on.
    write(&made, &["two"]);
    let output = ended(first);
    assert_one_sentence(&output, 3, "another forwarder has sent other lines as this ring's");
    let again = run(&path, &server);
    assert_one_sentence(&again, 3, "another forwarder has sent other lines as this ring's");
    assert!(unread(&path).iter().any(|line| line.contains("two")));
    assert!(merge(&server.target()).status.success());
}

#[test]
fn a_copy_that_came_further_or_less_far_is_told_too() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    let first = running(&path, &server, SUBJECT);
    let path_of_copy = copy(&server, &path);
    let copied = LineRing::open_file(&path_of_copy).expect("a ring");
    let mut mirror = copied.mirror().expect("a mirror");
    for line in ["two of the copy", "three of the copy", "four of the copy"] {
        mirror.write_line(line.as_bytes()).expect("room");
        let mut sends = running(&path_of_copy, &server, SUBJECT);
        sends.kill().expect("it is ours");
        sends.wait().expect("it is ours");
    }
    write(&made, &["two"]);
    let output = ended(first);
    assert_one_sentence(&output, 3, "another forwarder has sent other lines as this ring's");
    assert_one_sentence(&run(&path, &server), 3, "another forwarder has sent other lines");
    assert!(unread(&path).iter().any(|line| line.contains("two")));
}

#[test]
fn a_ring_that_is_made_anew_under_its_name_ends_one_that_follows_the_old_one() {
    let (server, path, old) = begin();
    let mut mirror = old.mirror().expect("a mirror");
    mirror.write_line(b"old").expect("room");
    let follows = running(&path, &server, SUBJECT);
    fs::remove_file(&path).expect("it is ours");
    write(&ring(&path, 64), &["new"]);
    // The old one is not over before its last writer ends.
    mirror.write_line(b"late").expect("room");
    drop(mirror);
    let output = ended(follows);
    assert_one_sentence(&output, 0, "is forwarded; another one is there");
    assert!(run(&path, &server).status.success());
    let merged = merge(&server.target());
    let text = String::from_utf8_lossy(&merged.stdout).into_owned();
    assert!(["\"old\"", "\"late\"", "\"new\""].iter().all(|line| text.contains(line)), "{text}");
    assert!(merged.status.success(), "{}", err(&merged));
}

#[test]
fn a_file_that_is_no_ring_or_a_damaged_one_is_one_sentence() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    drop(made);
    let whole = fs::read(&path).expect("a file");
    let damaged = server.path("damaged.ring");
    let with = |bytes: &[u8]| {
        fs::write(&damaged, bytes).expect("a file");
        run(&damaged, &server)
    };
    for bytes in [&b""[..], b"no ring", &vec![0; 1 << 20], &whole[..whole.len() / 2], &whole[..100]]
    {
        assert_one_sentence(&with(bytes), 1, "cannot open the ring");
    }
    let folder = run(&server.path(""), &server);
    assert_one_sentence(&folder, 1, "cannot open the ring");
    let mut magic = whole.clone();
    magic[0] ^= 1;
    assert_one_sentence(&with(&magic), 1, "cannot open the ring");
}

#[test]
fn a_file_that_is_cut_while_it_is_forwarded_is_one_sentence() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    let first = running(&path, &server, SUBJECT);
    fs::File::options().write(true).open(&path).expect("a file").set_len(4096).expect("cut");
    let output = ended(first);
    assert_one_sentence(&output, 1, "cut");
    std::mem::forget(made);
}

#[test]
fn a_server_that_stays_away_for_longer_than_allowed_is_told_and_the_ring_keeps_what_comes() {
    let (mut server, path, made) = begin();
    write(&made, &["one"]);
    assert!(run(&path, &server).status.success());
    let mut mirror = made.mirror().expect("a mirror");
    mirror.write_line(b"two").expect("room");
    let target = format!("{}/{SUBJECT}", server.target());
    let more = [&MADE[..], &["--on-away", "wait:50ms", "--status"]].concat();
    let mut child = forward(&path, &target, &more);
    let child = child.stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    let observer = linering::Observer::open_file(&path).expect("the ring");
    let began = Instant::now();
    while observer.statistics().is_ok_and(|found| found.unread() > 0) {
        assert!(began.elapsed() < PATIENCE, "all is forwarded");
        std::thread::yield_now();
    }
    server.kill();
    let (killed, at_most) = (Instant::now(), Duration::from_secs(30));
    mirror.write_line(b"three").expect("room");
    let output = ended(child);
    assert_fails(&output, 4, "the engine is away for 50ms");
    assert!(killed.elapsed() < at_most, "not much longer than a request's patience");
    drop(mirror);
    server.go_on();
    assert!(run(&path, &server).status.success());
    let text = String::from_utf8_lossy(&merge(&server.target()).stdout).into_owned();
    assert!(["one", "two", "three"].iter().all(|line| text.contains(line)), "{text}");
}
