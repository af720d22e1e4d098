//! Rings of two machines, whose forwarders and server are killed meanwhile.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{MADE, Server, err, forward, merge_with, output, ring};

const HOSTS: [&str; 2] = ["a", "b"];
const RINGS: usize = 4;

fn forwarder(server: &Server, host: &str, path: &Path, more: &[&str]) -> Command {
    let mut command = forward(path, &server.target(), &MADE);
    command.args(["--host", host, "--linger", "5ms", "--message-bytes", "20000"]).args(more);
    command.stderr(Stdio::null());
    command
}

/// `LINERING_FORWARD_KILLS=1000` goes on for longer.
#[test]
fn the_lines_of_eight_rings_are_all_there_in_each_rings_order_and_by_time() {
    let kills: u64 = std::env::var("LINERING_FORWARD_KILLS")
        .map_or(24, |kills| kills.parse().expect("LINERING_FORWARD_KILLS is a number"));
    let mut server = Server::start("");
    let rings: Vec<(&str, PathBuf)> = HOSTS
        .iter()
        .flat_map(|host| (0..RINGS).map(move |number| (*host, format!("{host}-{number}.ring"))))
        .map(|(host, name)| (host, server.path(&name)))
        .collect();
    let made: Vec<_> = rings.iter().map(|(_, path)| ring(path, 4096)).collect();
    let stop = AtomicBool::new(false);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let written: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = made
            .iter()
            .map(|ring| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut mirror = ring.mirror().expect("a mirror");
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let text = format!("line {number}");
                        mirror.write_line(text.as_bytes()).expect("it waits for room");
                        number += 1;
                        if number % 100 == 0 {
                            // No ring is faster than what eight forwarders take on two cores.
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    }
                    number
                })
            })
            .collect();
        let start = |server: &Server, of: usize, more: &[&str]| -> Child {
            let (host, path) = &rings[of];
            forwarder(server, host, path, more).spawn().expect("it runs")
        };
        let mut running: Vec<Child> = (0..rings.len()).map(|of| start(&server, of, &[])).collect();
        for kill in 0..kills {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            // The moment is the chaos; nothing rests on it.
            std::thread::sleep(Duration::from_millis(10 + (random >> 33) % 100));
            if kill % 8 == 7 {
                server.kill();
                server.go_on();
            }
            let of = (random >> 40) as usize % running.len();
            running[of].kill().expect("it is ours");
            running[of].wait().expect("it is ours");
            running[of] = start(&server, of, &[]);
        }
        stop.store(true, Ordering::Relaxed);
        let written = writers.into_iter().map(|writer| writer.join().expect("it wrote")).collect();
        for (mut child, (host, path)) in running.into_iter().zip(&rings) {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            let last = output(forwarder(&server, host, path, &[]));
            assert!(last.status.success(), "{path:?}: {last:?}");
        }
        written
    });
    // So long that what a kill has delayed is sorted in.
    let merged = merge_with(&server.target(), &["--skew", "1h"]);
    assert!(merged.status.success(), "{}", err(&merged));
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut ends: HashMap<String, Value> = HashMap::new();
    let mut time = String::new();
    for line in String::from_utf8(merged.stdout).expect("text").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let subject = line["subject"].as_str().expect("a text").to_owned();
        let Some(text) = line["text"].as_str() else {
            assert!(ends.insert(subject, line["lines"].clone()).is_none(), "once: {line}");
            continue;
        };
        let number = next.entry(subject).or_default();
        assert_eq!(text, format!("line {number}"), "{line}");
        *number += 1;
        let at = line["time"].as_str().expect("a text");
        assert!(at >= time.as_str(), "{at} comes after {time}");
        at.clone_into(&mut time);
    }
    for ((host, path), written) in rings.iter().zip(&written) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("text");
        let subject = format!("linering.local.{host}.{name}");
        assert_eq!(
            (next.get(&subject), ends.get(&subject)),
            (Some(written), Some(&(*written).into()))
        );
    }
    assert_eq!(next.len(), 8);
    println!("{kills} kills, {} lines", written.iter().sum::<u64>());
}
