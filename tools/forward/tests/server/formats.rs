//! Binary records and JSON lines, compressed or not.

use std::process::{Command, Output};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;

use crate::harness::{
    MADE, Server, assert_one_sentence, begin, err, forward, merge, operate, output, ring, write,
};

/// All messages of the stream.
fn messages(server: &Server) -> Vec<Message> {
    operate(server, async |context| {
        let stream = context.get_stream("LINES").await.expect("it was made");
        let consumer = stream.create_consumer(pull::Config::default()).await.expect("a consumer");
        let count = consumer.cached_info().num_pending as usize;
        let messages = consumer.messages().await.expect("messages").take(count);
        messages.try_collect().await.expect("messages")
    })
}

#[test]
fn each_format_is_merged_with_every_byte_and_json_is_readable_without_linering() {
    let server = Server::start("");
    let path = server.path("a.ring");
    let made = ring(&path, 256);
    let formats: [&[&str]; 4] = [
        &[],
        &["--format", "json"],
        &["--format", "json", "--compress", "zstd"],
        &["--compress", "zstd"],
    ];
    for format in formats {
        {
            let mut mirror = made.mirror_labelled("web").expect("a mirror");
            mirror.set_tag(7);
            mirror.write_line("a \"text\"\twith \u{1f600}".as_bytes()).expect("room");
            mirror.write_line(b"\xff\x00 bytes \xc3").expect("room");
            mirror.write_line(&b"long ".repeat(300)).expect("room");
            mirror.write_line(&[1; 4000]).expect("room");
        }
        let output = output(forward(&path, &server.target(), &[&MADE[..], format].concat()));
        assert!(output.status.success(), "{}", err(&output));
    }
    let merged = merge(&server.target());
    assert!(merged.status.success(), "{}", err(&merged));
    let mut lines: Vec<Value> = merged
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    let first: Vec<Value> = lines.drain(..5).map(without_key).collect();
    assert_eq!(first[1]["bytes"], "/wAgYnl0ZXMgww==", "{first:?}");
    assert_eq!(first[2]["text"].as_str().map(str::len), Some(1500));
    for other in lines.chunks(5) {
        assert_eq!(other.iter().cloned().map(without_key).collect::<Vec<_>>(), first);
    }
    assert_eq!(lines.len(), 15);

    let messages = messages(&server);
    let json: Vec<&Message> = messages
        .iter()
        .filter(|message| {
            let headers = message.headers.as_ref().expect("headers");
            headers.get("Linering-Encoding").is_some_and(|encoding| encoding.as_str() == "json")
        })
        .collect();
    assert!(!json.is_empty());
    for message in json {
        let text = std::str::from_utf8(&message.payload).expect("UTF-8");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[0]["msg"], "a \"text\"\twith \u{1f600}");
        let line = &lines[1];
        assert_eq!(
            (&line["lossy"], &line["tag"], &line["label"]),
            (&true.into(), &7.into(), &"web".into())
        );
        assert_eq!((&lines[4]["event"], &lines[4]["lines"]), (&"ended".into(), &4.into()));
    }
}

/// Without what differs from one mirror to the next.
fn without_key(mut line: Value) -> Value {
    let object = line.as_object_mut().expect("an object");
    for key in ["position", "time", "worker"] {
        object.remove(key);
    }
    line
}

#[test]
fn lines_that_are_too_long_as_json_are_told_before_any_is_read() {
    let server = Server::start("max_payload: 12KB");
    let path = server.path("a.ring");
    let made = ring(&path, 64);
    write(&made, &["one"]);
    let run = |more: &[&str]| output(forward(&path, &server.target(), &[&MADE[..], more].concat()));
    let json = run(&["--format", "json"]);
    assert_one_sentence(&json, 2, "have up to 4096 bytes, 9556 as JSON, and the server takes");
    assert!(run(&[]).status.success());
}

#[test]
fn a_seat_that_no_process_opened_is_told_of_in_json_alone() {
    let (server, path, made) = begin();
    assert!(made.seat().expect("room").cancel());
    write(&made, &["one"]);
    let forwarded = output(forward(&path, &server.target(), &MADE));
    assert!(forwarded.status.success(), "{}", err(&forwarded));
    let printed = |output: Output| String::from_utf8(output.stdout).expect("text");
    assert_eq!(printed(merge(&server.target())).matches("cancelled").count(), 1);
    let mut short = Command::new(env!("CARGO_BIN_EXE_linering-merge"));
    short.args(["--from", &server.target()]);
    let short = printed(output(short));
    assert!(short.contains(": one\n") && !short.contains("cancelled"), "{short}");
}
