//! Lines that are written while something goes wrong, and what of them is in the stream.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use futures_util::StreamExt;
use linering::LineRing;
use linering_forward::message::{EXTENT, Extent};
use linering_forward::target::Target;

use crate::harness::PATIENCE;

const WRITERS: usize = 3;

fn content(writer: usize, number: u64) -> String {
    // Each twentieth line has four parts.
    let text = format!("{writer} {number};");
    if number.is_multiple_of(20) { text.repeat(300 / text.len()) } else { text }
}

/// Makes room for writers that wait, once the test has failed, until they end.
pub struct Release<'r>(pub &'r LineRing, pub &'r AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            let mut reader = self.0.reader().expect("the forwarder is killed before");
            while let Ok(Some(_)) = reader.recv() {}
        }
    }
}

/// Writes while `disturb` goes on, and then waits for room until `finish` has forwarded the rest:
/// the lines of each writer.
pub fn written<T>(
    ring: &LineRing,
    disturb: impl FnOnce() -> T,
    finish: impl FnOnce(T),
) -> Vec<u64> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let stop = &stop;
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
        let release = Release(ring, &stop);
        let disturbed = disturb();
        stop.store(true, Ordering::Relaxed);
        finish(disturbed);
        drop(release);
        writers.into_iter().map(|writer| writer.join().expect("it wrote")).collect()
    })
}

/// Each message of the stream begins where the one before ended: no position is there twice, as a
/// merge would not show. Their number.
pub fn assert_chain(target: &str) -> usize {
    let target: Target = target.parse().expect("a target");
    let reading = async {
        loop {
            match chain(&target).await {
                Ok(count) => return count,
                // Servers that are choosing one that leads do not answer before they have.
                Err(error) => eprintln!("cannot read the stream, and try again: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limited = async { tokio::time::timeout(2 * PATIENCE, reading).await };
    runtime.expect("a runtime").block_on(limited).expect("it reads on")
}

async fn chain(target: &Target) -> Result<usize, Box<dyn Error>> {
    let client = async_nats::connect(&target.servers[..]).await?;
    let stream = jetstream::new(client).get_stream(&target.stream).await?;
    let config = consumer::pull::Config {
        headers_only: true,
        ack_policy: consumer::AckPolicy::None,
        ..consumer::pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let left = consumer.cached_info().num_pending as usize;
    let mut messages = consumer.messages().await?.take(left);
    let (mut upto, mut count) = (None, 0);
    while let Some(message) = messages.next().await {
        let message = message?;
        let headers = message.headers.as_ref().expect("headers");
        let extent: Extent =
            headers.get(EXTENT).expect("a ring's").as_str().parse().expect("an extent");
        assert!(upto.is_none_or(|upto| upto == extent.first), "{extent} after {upto:?}");
        (upto, count) = (Some(extent.upto), count + 1);
    }
    assert_eq!(count, left);
    Ok(count)
}

/// What `linering-merge` prints of a stream, which is whole.
pub fn merged(target: &str, mut each: impl FnMut(serde_json::Value)) {
    let mut merge = Command::new("timeout")
        .args(["600", env!("CARGO_BIN_EXE_linering-merge"), "--from", target, "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("timeout, of coreutils");
    for line in BufReader::new(merge.stdout.take().expect("piped")).lines() {
        each(serde_json::from_str(&line.expect("text")).expect("JSON"));
    }
    let status = merge.wait().expect("it is ours");
    assert!(status.success(), "{status}");
}

/// Each position is in the stream once, in order, and whole, and each writer's end; the number of
/// lines.
pub fn assert_once(target: &str, written: &[u64]) -> u64 {
    let messages = assert_chain(target);
    let lines = assert_lines(target, written);
    println!("{lines} lines in {messages} messages, each position once");
    lines
}

/// As [`assert_once`], by what `linering-merge` prints, which shows no position twice.
pub fn assert_lines(target: &str, written: &[u64]) -> u64 {
    let mut next = [0_u64; WRITERS];
    let mut ended = [false; WRITERS];
    let mut position = None;
    merged(target, |line| {
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
    });
    assert_eq!((&next[..], ended), (written, [true; WRITERS]));
    next.iter().sum()
}
