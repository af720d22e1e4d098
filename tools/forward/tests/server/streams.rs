//! Streams that lose messages, that go away, or that no forwarder can rest on.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, Source, SubjectTransform,
};
use linering::LineRing;
use serde_json::Value;

use crate::harness::{
    MADE, Server, assert_fails, assert_one_sentence, begin, ended, err, forward, merge, operate,
    output, ring, running, write,
};

const SUBJECT: &str = "linering.test";

fn run(ring: &Path, server: &Server, more: &[&str]) -> Output {
    let target = format!("{}/{SUBJECT}", server.target());
    output(forward(ring, &target, more))
}

#[track_caller]
fn assert_passes(output: &Output) {
    assert!(output.status.success(), "{}", err(output));
}

/// A message for each text.
fn forward_each(path: &Path, made: &LineRing, server: &Server, texts: &[&str]) {
    for text in texts {
        write(made, &[text]);
        assert_passes(&run(path, server, &MADE));
    }
}

/// Merges: the exit code, and each line's text or gap.
fn merged(server: &Server) -> (Option<i32>, Vec<String>) {
    let merged = merge(&server.target());
    let texts = String::from_utf8_lossy(&merged.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter_map(|line| match (line["text"].as_str(), &line["gap"]) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Value::Null) => None,
            (None, _) => Some("gap".to_owned()),
        })
        .collect();
    (merged.status.code(), texts)
}

async fn delete(context: Context, sequence: u64) {
    let stream = context.get_stream("LINES").await.expect("it is there");
    stream.delete_message(sequence).await.expect("it is there");
}

#[test]
fn a_message_that_was_deleted_is_a_gap_in_its_place() {
    let (server, path, made) = begin();
    forward_each(&path, &made, &server, &["one", "two", "three"]);
    operate(&server, async |context| delete(context, 2).await);
    let expected = ["one", "gap", "three"].map(str::to_owned).to_vec();
    assert_eq!(merged(&server), (Some(5), expected));
    // The forwarder looks at the last one alone.
    forward_each(&path, &made, &server, &["four"]);
}

#[test]
fn the_last_message_that_was_deleted_ends_it_with_5_before_or_while_it_runs() {
    let (server, path, made) = begin();
    forward_each(&path, &made, &server, &["one", "two"]);
    operate(&server, async |context| delete(context, 2).await);
    write(&made, &["three"]);
    let lost = run(&path, &server, &MADE);
    assert_one_sentence(&lost, 5, "the engine has lost what it acknowledged: positions ");
    assert_passes(&run(&path, &server, &[&MADE[..], &["--accept-loss"]].concat()));
    let expected = ["one", "gap", "three"].map(str::to_owned).to_vec();
    assert_eq!(merged(&server), (Some(5), expected));

    let runs = running(&path, &server, SUBJECT);
    operate(&server, async |context| delete(context, 3).await);
    write(&made, &["four"]);
    let lost = ended(runs);
    assert_one_sentence(&lost, 5, "the engine has lost what it acknowledged: positions ");
    assert_passes(&run(&path, &server, &[&MADE[..], &["--accept-loss"]].concat()));
    let expected = ["one", "gap", "four"].map(str::to_owned).to_vec();
    assert_eq!(merged(&server), (Some(5), expected));
}

#[test]
fn a_stream_that_is_purged_or_deleted_while_it_runs_is_told_and_the_ring_keeps_what_comes() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    let runs = running(&path, &server, SUBJECT);
    operate(&server, async |context| {
        let stream = context.get_stream("LINES").await.expect("it is there");
        stream.purge().await.expect("it is there");
    });
    write(&made, &["two"]);
    let lost = ended(runs);
    assert_one_sentence(&lost, 5, "the engine has no message of this ring, from which it, or ");
    assert_passes(&run(&path, &server, &[&MADE[..], &["--accept-loss"]].concat()));
    assert_eq!(merged(&server), (Some(0), vec!["two".to_owned()]));

    let runs = running(&path, &server, SUBJECT);
    operate(&server, async |context| {
        context.delete_stream("LINES").await.expect("it is there");
    });
    write(&made, &["three"]);
    let gone = ended(runs);
    assert_fails(&gone, 1, "the stream LINES is gone");
    assert_passes(&run(&path, &server, &[&MADE[..], &["--accept-loss"]].concat()));
    assert_eq!(merged(&server), (Some(0), vec!["three".to_owned()]));
}

/// A stream of this configuration, whose ring has one line.
fn with(config: Config) -> (Server, LineRing) {
    let server = Server::start("");
    let config = Config {
        name: "LINES".to_owned(),
        subjects: if config.mirror.is_some() { Vec::new() } else { vec!["linering.>".to_owned()] },
        ..config
    };
    operate(&server, async |context| {
        let origin =
            Config { name: "ORIGIN".into(), subjects: vec!["o.>".into()], ..Config::default() };
        context.create_stream(origin).await.expect("it is new");
        context.create_stream(config).await.expect("it is new");
    });
    let made = ring(&server.path("a.ring"), 64);
    write(&made, &["one"]);
    (server, made)
}

#[test]
fn a_stream_that_no_forwarder_can_rest_on_is_told_before_a_line_is_read() {
    let cases: [(Config, &str); 5] = [
        (
            Config { retention: RetentionPolicy::WorkQueue, ..Config::default() },
            "drops messages once they are read",
        ),
        (
            Config { retention: RetentionPolicy::Interest, ..Config::default() },
            "drops messages once they are read",
        ),
        (
            Config {
                mirror: Some(Source { name: "ORIGIN".into(), ..Source::default() }),
                ..Config::default()
            },
            "is a mirror: expected ORIGIN in its place",
        ),
        (
            Config {
                subject_transform: Some(SubjectTransform {
                    source: "linering.>".into(),
                    destination: "other.>".into(),
                }),
                ..Config::default()
            },
            "as other.>, expected no transform of it",
        ),
        (Config { no_ack: true, ..Config::default() }, "acknowledges nothing"),
    ];
    for (config, sentence) in cases {
        let (server, made) = with(config);
        assert_one_sentence(&run(&server.path("a.ring"), &server, &MADE), 2, sentence);
        let mut reader = made.reader().expect("no forwarder is left");
        assert_eq!(reader.try_recv().expect("ours").expect("a line").to_string(), "one");
    }
    let (server, _made) = with(Config { max_message_size: 6000, ..Config::default() });
    let longer = run(&server.path("a.ring"), &server, &[]);
    assert_one_sentence(
        &longer,
        2,
        "lines of this ring have up to 4096 bytes, and the server takes",
    );
}

#[test]
fn a_stream_that_is_sealed_before_or_while_it_runs_is_told() {
    let (server, made) = with(Config::default());
    let path = server.path("a.ring");
    let runs = running(&path, &server, SUBJECT);
    operate(&server, async |context| {
        let stream = context.get_stream("LINES").await.expect("it is there");
        let config = Config { sealed: true, ..stream.cached_info().config.clone() };
        context.update_stream(config).await.expect("it can be sealed");
    });
    write(&made, &["two"]);
    let output = ended(runs);
    assert_one_sentence(&output, 1, "a message was not acknowledged");
    assert!(err(&output).contains("sealed"), "{}", err(&output));
    assert_one_sentence(
        &run(&path, &server, &[]),
        2,
        "is sealed, expected one that takes messages",
    );
}

#[test]
fn limits_that_drop_the_oldest_leave_the_rest_whole() {
    let (server, made) = with(Config { max_messages: 2, ..Config::default() });
    let path = server.path("a.ring");
    forward_each(&path, &made, &server, &["two", "three", "four"]);
    assert_eq!(merged(&server), (Some(0), ["three", "four"].map(str::to_owned).to_vec()));
    // Another ring's messages drop the last one of this: how far it came is not known any more.
    let other = server.path("b.ring");
    let made_too = ring(&other, 64);
    for _ in 0..2 {
        write(&made_too, &["other"]);
        let target = format!("{}/linering.other", server.target());
        assert_passes(&output(forward(&other, &target, &[])));
    }
    write(&made, &["five"]);
    assert_one_sentence(&run(&path, &server, &[]), 5, "has no message of this ring");
}

#[test]
fn a_full_stream_is_waited_for_and_nothing_is_lost() {
    let full = Config { max_messages: 2, discard: DiscardPolicy::New, ..Config::default() };
    let (server, made) = with(full);
    let path = server.path("a.ring");
    assert_passes(&run(&path, &server, &[]));
    forward_each(&path, &made, &server, &["two"]);
    write(&made, &["three"]);
    let away = run(&path, &server, &["--on-away", "wait:100ms"]);
    assert_fails(&away, 4, "the engine is away for 100ms: a message was not acknowledged");
    assert!(err(&away).contains("maximum messages exceeded"), "{}", err(&away));
    let target = format!("{}/{SUBJECT}", server.target());
    let mut blocked = forward(&path, &target, &[]).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut said = BufReader::new(blocked.stderr.take().expect("piped"));
    let mut sentence = String::new();
    said.read_line(&mut sentence).expect("text");
    assert!(sentence.contains("nothing is lost, and it is tried again"), "{sentence}");
    operate(&server, async |context| {
        let stream = context.get_stream("LINES").await.expect("it is there");
        let config = Config { max_messages: 10, ..stream.cached_info().config.clone() };
        context.update_stream(config).await.expect("it can be larger");
    });
    sentence.clear();
    said.read_line(&mut sentence).expect("text");
    assert!(sentence.contains("the engine answers again"), "{sentence}");
    assert!(ended(blocked).status.success());
    let expected = ["one", "two", "three"].map(str::to_owned).to_vec();
    assert_eq!(merged(&server), (Some(0), expected));
}

#[test]
fn a_server_whose_disk_is_full_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let jetstream = |most: &str| {
        format!(
            "jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: {most} }}"
        )
    };
    let mut server = Server::start_in(folder, &jetstream("100KB"));
    let path = server.path("a.ring");
    let made = ring(&path, 4096);
    let text = "x".repeat(4000);
    write(&made, &vec![&text[..]; 60]);
    let away = run(
        &path,
        &server,
        &[&MADE[..], &["--message-bytes", "9000", "--on-away", "wait:300ms"]].concat(),
    );
    assert_fails(&away, 4, "the engine is away for 300ms: a message was not acknowledged");
    server.kill();
    server.configure(&jetstream("100MB"));
    server.go_on();
    assert_passes(&run(&path, &server, &MADE));
    assert_eq!(merged(&server), (Some(0), vec![text; 60]));
}

#[test]
fn a_server_that_cannot_have_the_stream_is_told_at_once() {
    let server = Server::start("");
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let three = run(&path, &server, &["--create"]);
    assert_one_sentence(&three, 2, "cannot make the stream LINES: ");
    assert!(err(&three).contains("replicas > 1 not supported"), "{}", err(&three));
    let large = run(&path, &server, &[&MADE[..], &["--max-bytes", "9000000000000000"]].concat());
    assert_one_sentence(&large, 2, "cannot make the stream LINES: ");
    operate(&server, async |context| {
        let other =
            Config { name: "OTHER".into(), subjects: vec![SUBJECT.into()], ..Config::default() };
        context.create_stream(other).await.expect("it is new");
    });
    assert_one_sentence(&run(&path, &server, &MADE), 2, "subjects overlap with an existing stream");

    let without = Server::start("jetstream: false");
    let output = run(&path, &without, &MADE);
    assert_one_sentence(&output, 2, "has no JetStream, expected nats-server -js");
    assert_one_sentence(&merge(&without.target()), 2, "has no JetStream, expected nats-server -js");
}

#[test]
fn what_is_no_nats_server_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.ring");
    write(&ring(&path, 64), &["one"]);
    for (greeting, code, sentence) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", 2, "expected a NATS server there"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", 2, "expected a NATS server there"),
        ("", 4, "the engine is away for 100ms: cannot connect to"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let target = format!("nats://{}/LINES", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("a client");
                // One that is gone has heard enough.
                let _ = client.write_all(greeting.as_bytes());
            }
        });
        let forwarded = output(forward(&path, &target, &["--on-away", "wait:100ms"]));
        assert_fails(&forwarded, code, sentence);
        assert_fails(&merge(&target), if code == 4 { 1 } else { code }, "cannot connect to");
    }
}
