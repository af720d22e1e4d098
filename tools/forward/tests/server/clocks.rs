//! Times that jump: of lines, and what a merge makes of them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config;
use linering::{Item, Line, Observer};
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::record;
use serde_json::Value;

use crate::harness::{MADE, PATIENCE, Server, err, forward, merge, operate, output, ring, write};

const HOUR: Duration = Duration::from_secs(3600);

async fn make(context: &Context) {
    let config =
        Config { name: "LINES".into(), subjects: vec!["linering.>".into()], ..Config::default() };
    context.create_stream(config).await.expect("it is new");
}

/// Line `number` of the ring of this subject, which says when it was begun.
async fn publish(context: &Context, subject: &str, number: u64, time: SystemTime) {
    let text = format!("{subject} {number}");
    let mut line = Line::new(&text);
    (line.position, line.number, line.time) = (number, number, Some(time));
    let mut page = Vec::new();
    record::add_item(&mut page, &Item::Line(line), 0);
    let extent = Extent { ring: 1, first: number, upto: number + 1, records: 1 };
    let message = Message::new(extent, Encoding::None, page);
    let mut headers = HeaderMap::new();
    message.headers().into_iter().for_each(|(name, value)| headers.insert(name, value));
    let sent = context.publish_with_headers(format!("linering.{subject}"), headers, message.body);
    sent.await.expect("it listens").await.expect("it is kept");
}

/// Hours back, far in the future, and where no calendar has a name for it.
fn jumping(number: u64) -> SystemTime {
    let now = SystemTime::now();
    match number % 4 {
        0 => now,
        1 => now - 5 * HOUR,
        2 => now + 1_000_000 * HOUR,
        _ => SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40),
    }
}

#[test]
fn lines_keep_the_rings_time() {
    let server = Server::start("");
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let observer = Observer::open_file(&path).expect("the ring");
    let lines = observer.snapshot().expect("whole");
    let time = lines.iter().find_map(|item| item.line()?.time).expect("a line");
    let forwarded = output(forward(&path, &server.target(), &MADE));
    assert!(forwarded.status.success(), "{}", err(&forwarded));
    let merged = merge(&server.target());
    let line = merged.stdout.split(|byte| *byte == b'\n').next().expect("a line");
    let line: Value = serde_json::from_slice(line).expect("JSON");
    assert_eq!(line["time"], humantime::format_rfc3339_micros(time).to_string());
}

#[test]
fn times_that_jump_neither_drop_a_line_nor_change_a_rings_order() {
    let server = Server::start("");
    operate(&server, async |context| {
        make(&context).await;
        for number in 0..40 {
            publish(&context, "jumps", number, jumping(number)).await;
            publish(&context, "is-right", number, SystemTime::now()).await;
            publish(&context, "is-back", number, SystemTime::now() - 3 * HOUR).await;
        }
    });
    let merged = merge(&server.target());
    assert!(merged.status.success(), "{}", err(&merged));
    let text = String::from_utf8(merged.stdout).expect("text");
    for subject in ["jumps", "is-right", "is-back"] {
        let numbers: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .filter_map(|line| {
                let (of, number) = line["text"].as_str().expect("a line").split_once(' ')?;
                (of == subject).then(|| number.parse().expect("a number"))
            })
            .collect();
        assert!(numbers.iter().copied().eq(0..40), "{subject}: {numbers:?}");
    }
}

#[test]
fn a_line_of_the_future_does_not_wait_for_it_on_a_stream_that_is_never_idle() {
    let server = Server::start("");
    operate(&server, async |context| {
        make(&context).await;
        publish(&context, "jumps", 0, SystemTime::now() + 1_000_000 * HOUR).await;
    });
    let mut follows = Command::new(env!("CARGO_BIN_EXE_linering-merge"))
        .args(["--from", &server.target(), "--follow", "--skew", "200ms"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let lines = BufReader::new(follows.stdout.take().expect("piped"));
    let (is_enough, (found, came)) = (AtomicBool::new(false), mpsc::channel());
    let has_come = std::thread::scope(|scope| {
        scope.spawn(|| {
            operate(&server, async |context| {
                let mut number = 0;
                while !is_enough.load(Ordering::Relaxed) {
                    publish(&context, "is-right", number, SystemTime::now()).await;
                    number += 1;
                }
            });
        });
        scope.spawn(move || {
            let is_there = lines.lines().any(|line| line.expect("text").contains("jumps 0"));
            let _ = found.send(is_there);
        });
        let has_come = came.recv_timeout(PATIENCE);
        is_enough.store(true, Ordering::Relaxed);
        follows.kill().expect("it is ours");
        has_come
    });
    follows.wait().expect("it is ours");
    assert_eq!(has_come, Ok(true));
}
