//! The server goes away and comes back.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use crate::harness::{MADE, PATIENCE, begin, forward, merge};

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
