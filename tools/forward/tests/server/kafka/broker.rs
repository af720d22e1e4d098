//! The programs against a broker.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use linering::{LineRing, Options};
use linering_forward::access::Access;
use linering_forward::engine::Engine;
use linering_forward::kafka::Kafka;
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::target::Target;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::{Broker, merged};
use crate::harness::{
    Forwarding, MADE, PATIENCE, Random, assert_fails, err, forward, kills, output, ring, write,
};
use crate::lines::{assert_lines, written};

/// `LINERING_FORWARD_KILLS=1000 cargo test --features kafka --test server -- kafka::broker` goes on
/// for minutes.
#[test]
fn each_line_is_there_once_and_whole_however_often_the_forwarder_is_killed() {
    let kills = kills(20);
    let broker = Broker::start();
    let path = broker.path("chaos.ring");
    // A writer that sleeps while others fill half of the ring has its line cut by a kill.
    let ring = ring(&path, 1 << 16);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let disturb = || {
        let more = [&MADE[..], &["--message-bytes", "30000"]].concat();
        let mut forwarder = Forwarding::start(&path, &broker.target(), &more);
        for _ in 0..kills {
            random.pass(300);
            forwarder.again();
        }
        forwarder
    };
    let written = written(&ring, disturb, Forwarding::finish);
    let lines = assert_lines(&broker.target(), &written);
    println!("{kills} kills, {lines} lines");
}

fn make_topic(broker: &Broker, name: &str, partitions: i32) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address());
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let made = runtime
        .expect("a runtime")
        .block_on(async { admin.create_topics(&[topic], &AdminOptions::new()).await });
    assert!(made.expect("an answer")[0].is_ok());
}

#[test]
fn rings_share_a_partition_and_each_finds_its_own_last_message() {
    let broker = Broker::start();
    make_topic(&broker, "LINES", 1);
    let names = ["a", "b", "c"];
    let rings = names.map(|name| ring(&broker.path(name), 1024));
    let run = |name: &str| {
        let target = format!("{}/linering.{name}", broker.target());
        // A few lines a message: more offsets than are read back at once.
        let more = ["--message-bytes", "100", "--linger", "0s"];
        let output = output(forward(&broker.path(name), &target, &more));
        assert!(output.status.success(), "{}", err(&output));
    };
    for round in 0..3 {
        for (name, ring) in names.iter().zip(&rings) {
            let lines: Vec<String> = (0..50).map(|line| format!("{name} {round} {line}")).collect();
            write(ring, &lines.iter().map(String::as_str).collect::<Vec<_>>());
            run(name);
            // With nothing new, twice.
            run(name);
        }
    }
    let all = merged(&broker.target());
    for name in names {
        let subject = format!("linering.{name}");
        let of_ring = all.iter().filter(|line| line["subject"] == subject);
        let texts: Vec<&str> = of_ring.clone().filter_map(|line| line["text"].as_str()).collect();
        let rounds = (0..3).flat_map(|round| (0..50).map(move |line| (round, line)));
        let expected: Vec<String> =
            rounds.map(|(round, line)| format!("{name} {round} {line}")).collect();
        assert_eq!(texts, expected);
        assert_eq!(of_ring.filter(|line| line["ended"] == "eof").count(), 3, "{subject}");
    }
}

#[test]
fn what_the_broker_or_the_usage_lacks_is_one_sentence_and_the_ring_keeps_its_lines() {
    let broker = Broker::start();
    let path = broker.path("a.ring");
    let made = ring(&path, 64);
    write(&made, &["one", "two"]);
    let run = |target: &str, more: &[&str]| output(forward(&path, target, more));
    let target = broker.target();
    assert_fails(
        &run("kafka://127.0.0.1:1/LINES", &["--on-away", "wait:100ms"]),
        4,
        "the engine is away for 100ms",
    );
    assert_fails(&run(&target, &[]), 2, "there is no topic LINES, expected one: --create");
    assert_fails(&run(&target, &["--creds", "/x"]), 2, "--creds and --nkey are of NATS");
    assert_fails(&run("kafka://me:secret@x/y", &[]), 2, "a target has no password");
    let path_of_long = broker.path("long.ring");
    let long = Options::new().lines(1 << 14).line_bytes(128).max_line(1_000_000);
    drop(LineRing::create_file(&path_of_long, long).expect("a ring"));
    let long = output(forward(&path_of_long, &target, &MADE));
    assert_fails(&long, 2, "lines of this ring have up to 1000000 bytes, and the server takes");
    assert!(err(&long).contains("expected a larger max.message.bytes"), "{}", err(&long));
    let reader = made.reader().expect("no forwarder is left");
    assert_fails(&run(&target, &MADE), 3, "reads the ring");
    drop(reader);
    let all = run(&target, &MADE);
    assert!(all.status.success(), "{}", err(&all));
    assert_eq!(merged(&target).len(), 3, "two lines and an end");
    // Another topic has nothing of it.
    write(&made, &["three"]);
    let other = format!("kafka://{}/OTHER", broker.address());
    assert_fails(&run(&other, &MADE), 5, "has no message of this ring");
}

#[test]
fn a_merge_that_follows_prints_what_comes() {
    let broker = Broker::start();
    let path = broker.path("a.ring");
    let made = ring(&path, 64);
    let run = || {
        let output = output(forward(&path, &broker.target(), &MADE));
        assert!(output.status.success(), "{}", err(&output));
    };
    write(&made, &["one"]);
    run();
    let mut merge = Command::new(env!("CARGO_BIN_EXE_linering-merge"))
        .args(["--from", &broker.target(), "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let printed = BufReader::new(merge.stdout.take().expect("piped"));
    let (sender, lines) = std::sync::mpsc::channel();
    let reading =
        std::thread::spawn(move || printed.lines().try_for_each(|line| sender.send(line)));
    let wait_for = |text: &str| {
        let is_it = |line: &str| line.ends_with(text);
        while !is_it(&lines.recv_timeout(PATIENCE).expect("it goes on").expect("text")) {}
    };
    wait_for(": one");
    write(&made, &["two"]);
    run();
    wait_for(": two");
    merge.kill().expect("it is ours");
    merge.wait().expect("it is ours");
    // Its receiver is here still: all that it had printed was taken.
    assert!(reading.join().expect("no panic").is_ok());
}

/// This broker cuts the connection of one that is fenced.
#[test]
fn a_new_forwarder_fences_the_one_before() {
    let broker = Broker::start();
    make_topic(&broker, "LINES", 1);
    let target: Target = broker.target().parse().expect("a target");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let message = |first| {
        let extent = Extent { ring: 1, first, upto: first + 1, records: 0 };
        Message::new(extent, Encoding::None, Vec::new())
    };
    runtime.expect("a runtime").block_on(async {
        let open = async |subject| {
            let opened = Kafka::open(&target, &Access::default(), subject, None).await;
            opened.expect("all is as it should be").expect("it answers")
        };
        let last = async |engine: &Kafka| {
            let last = engine.last().await.expect("it answers");
            last.map(|last| last.message.expect("a ring's").extent.first)
        };
        let (a, b) = (open("linering.a").await, open("linering.a").await);
        assert_eq!(last(&a).await, None);
        a.append(0, &message(0)).await.expect("nothing came in between");
        assert_eq!(last(&b).await, Some(0));
        a.append(1, &message(1)).await.expect_err("it is fenced");
        assert_eq!(last(&b).await, Some(0));
        b.append(1, &message(2)).await.expect("the other is fenced");
        // The other way round; and one of another subject fences none.
        assert_eq!(last(&a).await, Some(2));
        let other = open("linering.other").await;
        assert_eq!(last(&other).await, None);
        a.append(2, &message(3)).await.expect("it is its own");
        b.append(2, &message(4)).await.expect_err("it is fenced");
        assert_eq!(last(&b).await, Some(3));
    });
}
