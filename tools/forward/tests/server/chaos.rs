//! Forwarder and server are killed at any moment.

use std::io::BufRead;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{MADE, Server, err, forward, merge, ring};

fn content(writer: usize, number: u64) -> String {
    // Each twentieth line has four parts.
    let text = format!("{writer} {number};");
    if number.is_multiple_of(20) { text.repeat(300 / text.len()) } else { text }
}

/// `LINERING_FORWARD_KILLS=1000 cargo test --release --test server -- killed` goes on for minutes.
#[test]
fn each_line_is_there_once_and_whole_however_often_forwarder_and_server_are_killed() {
    const WRITERS: usize = 3;
    let kills: u64 = std::env::var("LINERING_FORWARD_KILLS")
        .map_or(20, |kills| kills.parse().expect("LINERING_FORWARD_KILLS is a number"));
    let mut server = Server::start("");
    let path = server.path("chaos.ring");
    // A writer that sleeps while others fill half of the ring has its line cut by a kill.
    let ring = ring(&path, 1 << 16);
    let stop = AtomicBool::new(false);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (ring, stop) = (&ring, &stop);
                scope.spawn(move || {
                    let label = writer.to_string();
                    let mut mirror = ring.mirror_labelled(&label).expect("a mirror");
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let text = content(writer, number);
                        mirror.write_line(text.as_bytes()).expect("it waits for room");
                        number += 1;
                    }
                    number
                })
            })
            .collect();
        for kill in 0..kills {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            let mut forwarder = forward(&path, &server.target(), &MADE)
                .args(["--message-bytes", "30000"])
                .stderr(Stdio::null())
                .spawn()
                .expect("it runs");
            // The moment is the chaos; nothing rests on it.
            std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 200));
            if kill % 5 == 4 {
                server.kill();
                server.go_on();
            }
            forwarder.kill().expect("it is ours");
            forwarder.wait().expect("it is ours");
        }
        stop.store(true, Ordering::Relaxed);
        // The writers may wait for room.
        let last = forward(&path, &server.target(), &MADE).output().expect("it runs");
        assert!(last.status.success(), "{}", err(&last));
        writers.into_iter().map(|writer| writer.join().expect("it wrote")).collect::<Vec<u64>>()
    });
    let merged = merge(&server.target());
    assert!(merged.status.success(), "{}", err(&merged));
    let mut next = [0_u64; WRITERS];
    let mut ended = [false; WRITERS];
    let mut position = None;
    for line in merged.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        let writer: usize = line["label"].as_str().and_then(|it| it.parse().ok()).expect("ours");
        if let Some(text) = line["text"].as_str() {
            assert_eq!(text, content(writer, next[writer]), "{line}");
            assert!(line["truncated"] == false && !ended[writer], "{line}");
            let at = line["position"].as_u64();
            assert!(at > position, "one order: {line}");
            (position, next[writer]) = (at, next[writer] + 1);
        } else {
            assert_eq!((&line["ended"], &line["lines"]), (&"eof".into(), &written[writer].into()));
            assert!(!std::mem::replace(&mut ended[writer], true), "once: {line}");
        }
    }
    assert_eq!((next.to_vec(), ended), (written, [true; WRITERS]));
    println!("{kills} kills, {} lines", next.iter().sum::<u64>());
}
