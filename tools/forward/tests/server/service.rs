//! A service that forwards its own ring: the example of that name.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use linering::{Level, Observer, SharedWriter};
use linering_forward::exit::Kind;
use linering_forward::forward::Options;
use linering_forward::nats::Create;
use linering_forward::spawn::spawn;
use linering_forward::start::Destination;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

use crate::harness::{MADE, PATIENCE, Server, begin, err, forward, free_port, merge, write};

/// Beside the tests' own folder: `cargo test` builds it.
fn service() -> Command {
    let tests = std::env::current_exe().expect("this test");
    let path: PathBuf = tests.ancestors().nth(2).expect("deps").join("examples/service");
    assert!(path.exists(), "there is no {path:?}, expected it of cargo build --example service");
    Command::new(path)
}

#[test]
fn each_line_of_a_service_that_is_killed_is_there_once() {
    let server = Server::start("");
    let path = server.path("service.ring");
    let started = || {
        let mut command = service();
        command.arg(&path).arg(server.target()).stderr(Stdio::null()).stdout(Stdio::null());
        command
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..10 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let mut process = started().spawn().expect("it runs");
        // The moment is the chaos; nothing rests on it.
        std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 150));
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }
    let last = started().arg("100").stderr(Stdio::piped()).output().expect("it runs");
    assert!(last.status.success(), "{}", err(&last));
    let statistics = Observer::open_file(&path).expect("a ring").statistics().expect("whole");
    assert_eq!(statistics.unread(), 0, "all is forwarded");
    let merged = merge(&server.target());
    assert!(merged.status.success(), "{}", err(&merged));
    // Of each thread of each run.
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut position = None;
    for line in merged.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        assert!(line["lost"].is_null(), "{line}");
        let Some(text) = line["text"].as_str() else { continue };
        let at = line["position"].as_u64();
        assert!(at > position, "one order: {line}");
        position = at;
        let (thread, number) = text.trim_end().split_once(' ').expect("of the service");
        let next = next.entry(thread.to_owned()).or_default();
        assert_eq!(number.parse(), Ok(*next), "{line}");
        *next += 1;
    }
    assert!(position < Some(statistics.next), "{position:?}");
    let whole = next.values().filter(|lines| **lines == 100).count();
    assert!(whole >= 3, "the last run's: {next:?}");
    println!("{} lines of {} threads", next.values().sum::<u64>(), next.len());
}

fn destination(target: &str) -> Destination {
    Destination::new(target.parse().expect("a target"), "local", "a")
}

#[test]
fn a_service_is_told_of_another_forwarder_and_of_what_is_left() {
    let (server, path, made) = begin();
    let nowhere = destination(&format!("nats://127.0.0.1:{}/LINES", free_port()));
    let guard = spawn(&made, nowhere.clone(), Options::default()).expect("the first");
    let failure = spawn(&made, nowhere, Options::default()).expect_err("it has a reader");
    assert_eq!(failure.kind, Kind::Another, "{failure}");
    write(&made, &["one", "two"]);
    let failure = guard.stop(Duration::ZERO).expect_err("the server is away").to_string();
    assert!(failure.starts_with("2 positions are left in the ring"), "{failure}");
    // No stream: the thread ends, and says why.
    let began = Instant::now();
    let guard = loop {
        // The thread before looks once more.
        match spawn(&made, destination(&server.target()), Options::default()) {
            Ok(guard) => break guard,
            Err(failure) => assert!(began.elapsed() < PATIENCE, "{failure}"),
        }
    };
    while guard.failure().is_none() {
        assert!(began.elapsed() < PATIENCE, "there is no such stream");
        std::thread::yield_now();
    }
    let failure = guard.stop(PATIENCE).expect_err("as before");
    assert_eq!(failure.kind, Kind::Usage, "{failure}");
    let rest = forward(&path, &server.target(), &MADE).output().expect("it runs");
    assert!(rest.status.success(), "{}", err(&rest));
}

/// Logs what the client's crate says in the forwarder's own thread.
struct Loud(SharedWriter, AtomicUsize);

impl tracing::Subscriber for Loud {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        std::thread::current().name() == Some("linering forward")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // Not in each round of its loop.
        if self.1.fetch_add(1, Ordering::Relaxed) < 20 {
            let _ = self.0.record(Level::Debug, event.metadata().target());
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn what_the_forwarders_thread_logs_into_its_ring_is_not_waited_for() {
    let server = Server::start("");
    let path = server.path("a.ring");
    // One that waits for itself does so no longer than that.
    let options = linering::Options::new().lines(64).block_limit(PATIENCE);
    let made = linering::LineRing::create_file(&path, options).expect("a ring");
    let log = made.writer().expect("a writer");
    let subscriber = tracing::Dispatch::new(Loud(log.clone(), AtomicUsize::new(0)));
    tracing::dispatcher::set_global_default(subscriber).expect("the only one");
    let mut destination = destination(&server.target());
    let (max_age, max_bytes) = (Duration::ZERO, -1);
    destination.create = Some(Create { replicas: 1, max_age, max_bytes });
    let guard = spawn(&made, destination, Options::default()).expect("the first");
    for line in 0..1000 {
        log.record(Level::Info, format!("line {line}")).expect("it waits for room");
    }
    let totals = guard.stop(PATIENCE).expect("all is forwarded");
    assert!(totals.records >= 1000, "{totals:?}");
    assert!(log.diverted_lines() > 0, "the client's crate has logged");
}
