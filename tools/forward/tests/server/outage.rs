//! The server goes away and comes back.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::harness::{MADE, PATIENCE, Server, begin, err, forward, merge, output, write};

#[test]
fn what_is_written_while_the_server_is_away_comes_after_it() {
    let (mut server, path, made) = begin();
    let mut mirror = made.mirror().expect("a mirror");
    mirror.write_line(b"before").expect("room");
    let mut forwarder =
        forward(&path, &server.target(), &MADE).stderr(Stdio::piped()).spawn().expect("it runs");
    let observer = linering::Observer::open_file(&path).expect("the ring");
    let began = Instant::now();
    while observer.statistics().expect("whole").unread() > 0 {
        assert!(began.elapsed() < PATIENCE, "the first line is forwarded");
        std::thread::yield_now();
    }
    server.kill();
    mirror.write_line(b"meanwhile").expect("room");
    let mut said = BufReader::new(forwarder.stderr.take().expect("piped"));
    let mut sentence = String::new();
    while !sentence.contains("nothing is lost, and it is tried again") {
        sentence.clear();
        assert!(said.read_line(&mut sentence).expect("text") > 0, "it goes on");
    }
    server.go_on();
    drop(mirror);
    drop(said);
    assert!(forwarder.wait().expect("it is ours").success());
    let text = String::from_utf8_lossy(&merge(&server.target()).stdout).into_owned();
    assert!(text.contains("before") && text.contains("meanwhile"), "{text}");
}

#[test]
fn a_merge_that_follows_goes_on_after_a_server_that_forgot_its_consumer() {
    let (mut server, path, made) = begin();
    let run = |server: &Server, text: &str| {
        write(&made, &[text]);
        let forwarded = output(forward(&path, &server.target(), &MADE));
        assert!(forwarded.status.success(), "{}", err(&forwarded));
    };
    run(&server, "one");
    let mut merge = Command::new(env!("CARGO_BIN_EXE_linering-merge"))
        .args(["--from", &server.target(), "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let printed = BufReader::new(merge.stdout.take().expect("piped"));
    let (sender, lines) = std::sync::mpsc::channel();
    let reading =
        std::thread::spawn(move || printed.lines().try_for_each(|line| sender.send(line)));
    let mut all = Vec::new();
    let mut wait_for = |text: &str| {
        while all.last().is_none_or(|line: &String| !line.ends_with(text)) {
            all.push(lines.recv_timeout(PATIENCE).expect("it goes on").expect("text"));
        }
    };
    wait_for(": one");
    server.kill();
    server.go_on();
    run(&server, "two");
    wait_for(": two");
    merge.kill().expect("it is ours");
    merge.wait().expect("it is ours");
    assert_eq!(all.iter().filter(|line| line.ends_with(": one")).count(), 1, "{all:?}");
    assert!(reading.join().expect("no panic").is_ok());
}
