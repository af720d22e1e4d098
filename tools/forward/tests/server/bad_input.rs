//! What the server or the usage lacks.

use std::fs;
use std::path::Path;

use linering::{LineRing, Options};

use crate::harness::{
    MADE, Server, assert_fails, begin, err, forward, free_port, merge, merge_with, ring, write,
};

#[test]
fn what_the_server_or_the_usage_lacks_is_one_sentence_and_the_ring_keeps_its_lines() {
    let server = Server::start("max_payload: 16KB");
    let path = server.path("a.ring");
    let made = ring(&path, 64);
    write(&made, &["one", "two"]);
    let run = |target: &str, more: &[&str]| forward(&path, target, more).output().expect("it runs");
    let target = server.target();
    let nowhere = format!("nats://127.0.0.1:{}/LINES", free_port());
    assert_fails(&run(&nowhere, &["--on-away", "wait:100ms"]), 4, "the engine is away for 100ms");
    assert_fails(&run(&target, &[]), 2, "there is no stream LINES, expected one that keeps");
    assert_fails(&run("redis://x/y", &[]), 2, "redis:// is no engine");
    assert_fails(&run("nats://me:secret@x/y", &[]), 2, "a target has no password");
    assert_fails(&run(&target, &["--creds", "/nonexistent"]), 2, "cannot read the credentials");
    let other = format!("{target}/other.subject");
    assert_fails(&run(&other, &MADE), 2, "expected other.subject among them");
    let missing = forward(&server.path("none"), &target, &MADE).output().expect("it runs");
    assert_fails(&missing, 1, "cannot open the ring");
    let long = Options::new().lines(64).line_bytes(128).max_line(4096);
    let path_of_long = server.path("long.ring");
    drop(LineRing::create_file(&path_of_long, long.lines(1024).max_line(50_000)).expect("a ring"));
    let long = forward(&path_of_long, &target, &MADE).output().expect("it runs");
    assert_fails(&long, 2, "lines of this ring have up to 50000 bytes, and the server takes");
    let reader = made.reader().expect("no forwarder is left");
    assert_fails(&run(&target, &MADE), 3, "reads the ring");
    drop(reader);
    let all = run(&target, &MADE);
    assert!(all.status.success(), "{}", err(&all));
    let merged = merge(&target);
    let lines = String::from_utf8_lossy(&merged.stdout).lines().count();
    assert_eq!(lines, 3, "two lines and an end: {merged:?}");
}

#[test]
fn wrong_credentials_and_missing_permissions_are_told_and_no_others_are_needed() {
    let users = "authorization { users = [ \
        { user: right, password: secret }, \
        { user: exact, password: secret, permissions: { \
            publish: [ \"linering.>\", \"$JS.API.STREAM.INFO.LINES\", \
                \"$JS.API.STREAM.MSG.GET.LINES\", \"$JS.API.STREAM.CREATE.LINES\" ], \
            subscribe: [ \"_INBOX.>\" ] } }, \
        { user: merger, password: secret, permissions: { \
            publish: [ \"$JS.API.STREAM.INFO.LINES\", \"$JS.API.CONSUMER.CREATE.LINES\", \
                \"$JS.API.CONSUMER.INFO.LINES.>\", \"$JS.API.CONSUMER.MSG.NEXT.LINES.>\" ], \
            subscribe: [ \"_INBOX.>\" ] } }, \
        { user: poor, password: secret, permissions: { publish: [\"$JS.API.>\"] } } ] }";
    let server = Server::start(users);
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let password = server.path("password");
    fs::write(&password, "secret\n").expect("a file");
    let wrong = server.path("wrong");
    fs::write(&wrong, "guess\n").expect("a file");
    let run = |user: &str, password: &Path| {
        let password = password.to_str().expect("text");
        let access = ["--user", user, "--password-file", password, "--on-away", "wait:100ms"];
        forward(&path, &server.target(), &[&MADE[..], &access].concat()).output().expect("it runs")
    };
    assert_fails(&run("right", &wrong), 1, "authorization violation");
    let poor = run("poor", &password);
    assert_fails(&poor, 4, "a message was not acknowledged");
    assert!(err(&poor).contains("ermissions"), "{}", err(&poor));
    let exact = run("exact", &password);
    assert!(exact.status.success(), "{}", err(&exact));
    let right = run("right", &password);
    assert!(right.status.success(), "{}", err(&right));
    let password = password.to_str().expect("text");
    let access = ["--user", "merger", "--password-file", password];
    let merged = merge_with(&server.target(), &access);
    assert!(merged.status.success(), "{}", err(&merged));
    assert!(String::from_utf8_lossy(&merged.stdout).contains("one"), "{merged:?}");
}

#[test]
fn what_the_stream_has_lost_is_told_and_a_ring_made_anew_is_another() {
    let (server, path, made) = begin();
    let target = server.target();
    let run = |more: &[&str]| {
        forward(&path, &target, &[&MADE[..], more].concat()).output().expect("it runs")
    };
    write(&made, &["one", "two"]);
    assert!(run(&[]).status.success());
    // The store is gone with all that it had acknowledged.
    let mut server = server;
    server.kill();
    fs::remove_dir_all(server.path("store")).expect("its folder");
    server.go_on();
    write(&made, &["three"]);
    assert_fails(&run(&[]), 5, "has no message of this ring, from which it, or another program");
    assert!(run(&["--accept-loss"]).status.success());
    drop(made);
    fs::remove_file(&path).expect("it is ours");
    let anew = ring(&path, 64);
    write(&anew, &["four"]);
    let output = run(&[]);
    assert!(output.status.success(), "{}", err(&output));
    let merged = merge(&target);
    let text = String::from_utf8_lossy(&merged.stdout).into_owned();
    assert!(text.contains("three") && text.contains("four") && !text.contains("\"one\""), "{text}");
}
