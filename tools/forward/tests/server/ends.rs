//! Many mirrors that end while the forwarder is killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Forwarding, MADE, Random, Server, number, ring};
use crate::lines::{Release, assert_chain, merged};

/// Mirrors that are open at a time.
const WRITERS: usize = 2;

#[test]
fn each_end_is_there_once_and_with_its_line_however_often_the_forwarder_is_killed() {
    let mirrors = number("LINERING_FORWARD_ENDS", 5_000) as usize;
    let server = Server::start("");
    let path = server.path("ends.ring");
    let ring = ring(&path, 1 << 12);
    let target = server.target();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut random = Random(0x5851_f42d_4c95_7f2d);
    let mut kills = 0;
    std::thread::scope(|scope| {
        let open_and_end = || {
            while !stop.load(Ordering::Relaxed) {
                let mirror = next.fetch_add(1, Ordering::Relaxed);
                if mirror >= mirrors {
                    return;
                }
                let text = mirror.to_string();
                let mut mirror = ring.mirror_labelled(&text).expect("a mirror");
                mirror.write_line(text.as_bytes()).expect("it waits for room");
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(open_and_end)).collect();
        let release = Release(&ring, &stop);
        // One that stays: the ring is not over before the last kill.
        let last = ring.mirror_labelled("last").expect("a mirror");
        let more = [&MADE[..], &["--message-bytes", "1000"]].concat();
        let mut forwarder = Forwarding::start(&path, &target, &more);
        while writers.iter().any(|writer| !writer.is_finished()) {
            random.pass(100);
            forwarder.again();
            kills += 1;
        }
        drop(last);
        forwarder.finish();
        drop(release);
    });
    let messages = assert_chain(&target);
    // Of each mirror, its line and its end.
    let mut seen = vec![(false, false); mirrors];
    let mut lasts = 0;
    merged(&target, |line| {
        let label = line["label"].as_str().expect("a label");
        if label == "last" {
            assert_eq!(line["ended"], "eof", "{line}");
            lasts += 1;
            return;
        }
        let (written, ended) = &mut seen[label.parse::<usize>().expect("ours")];
        if let Some(text) = line["text"].as_str() {
            assert!(text == label && !*ended, "{line}");
            assert!(!std::mem::replace(written, true), "once: {line}");
        } else {
            assert_eq!((&line["ended"], &line["lines"]), (&"eof".into(), &1.into()), "{line}");
            assert!(*written && !std::mem::replace(ended, true), "once: {line}");
        }
    });
    assert!(lasts == 1 && seen.iter().all(|it| *it == (true, true)), "each line, and each end");
    println!("{mirrors} lines and ends in {messages} messages, each once; {kills} kills");
}
