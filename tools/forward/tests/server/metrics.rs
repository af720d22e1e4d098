//! What Prometheus reads of a forwarder.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use crate::harness::{
    MADE, PATIENCE, Server, assert_one_sentence, ended, err, forward, free_port, output, ring,
    write,
};

fn ask(port: u16, request: &str) -> Option<String> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).ok()?;
    client.set_read_timeout(Some(PATIENCE)).expect("a socket");
    client.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    Some(answer)
}

/// The samples of an exposition, by name; each is checked as `promtool check metrics` does.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut found = HashMap::new();
    let mut lines = text.lines();
    while let Some(help) = lines.next() {
        let (name, help) = help
            .strip_prefix("# HELP ")
            .and_then(|help| help.split_once(' '))
            .unwrap_or_else(|| panic!("help first: {help}"));
        assert!(!help.is_empty());
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        let kind = kind.expect("then its type");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let sample = lines.next().expect("then its sample");
        let (series, value) = sample.rsplit_once(' ').expect("a value");
        assert!(series.starts_with(&format!("{name}{{ring=\"")), "{series}");
        assert!(found.insert(name.to_owned(), value.parse().expect("a number")).is_none());
    }
    found
}

#[test]
fn metrics_are_the_same_over_http_and_in_a_file_and_are_as_prometheus_wants_them() {
    let server = Server::start("");
    let path = server.path("a \"b\".ring");
    let made = ring(&path, 64);
    let mut mirror = made.mirror().expect("a mirror");
    mirror.write_line(b"one").expect("room");
    let port = free_port();
    let place = format!(":{port}");
    let more = [&MADE[..], &["--metrics", &place, "--message-bytes", "1"]].concat();
    let forwarder = forward(&path, &server.target(), &more).spawn().expect("it runs");
    let began = Instant::now();
    let of_http = loop {
        assert!(began.elapsed() < PATIENCE, "it forwards a line and says so");
        let Some(answer) = ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") else { continue };
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        let found = samples(body);
        if found["linering_forward_records_total"] == 1.0
            && found["linering_forward_unread_slots"] == 0.0
        {
            break found;
        }
    };
    assert_eq!(of_http["linering_forward_capacity_slots"], 64.0);
    assert!(of_http["linering_forward_acknowledged_timestamp_seconds"] > 1.7e9);
    let answer = |request: &str| ask(port, request).expect("it listens");
    assert!(answer("GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(answer("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(answer("\r\n\r\n").starts_with("HTTP/1.1 405 "));
    drop(mirror);
    assert!(ended(forwarder).status.success());

    write(&made, &["two"]);
    let file = server.path("a.prom");
    let place = file.to_str().expect("text");
    let more = [&MADE[..], &["--metrics", place]].concat();
    let output = output(forward(&path, &server.target(), &more));
    assert!(output.status.success(), "{}", err(&output));
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("a \\\"b\\\".ring\"} "), "{text}");
    let of_file = samples(&text);
    assert_eq!(of_file["linering_forward_records_total"], 2.0, "a line and an end: {text}");
    let mut names = [&of_http, &of_file].map(|found| found.keys().collect::<Vec<_>>());
    names.iter_mut().for_each(|names| names.sort());
    assert_eq!(names[0], names[1]);
}

#[test]
fn a_port_that_another_program_has_is_told_before_anything_is_done() {
    let server = Server::start("");
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let place = format!(":{}", taken.local_addr().expect("bound").port());
    let run = |place: &str| {
        let more = [&MADE[..], &["--metrics", place]].concat();
        output(forward(&path, &server.target(), &more))
    };
    assert_one_sentence(&run(&place), 2, "Address already in use");
    assert_one_sentence(&run("192.0.2.1:9100"), 2, "cannot give metrics on 192.0.2.1:9100");
    let nowhere = run("/nonexistent/a.prom");
    assert!(nowhere.status.success(), "{}", err(&nowhere));
    assert!(err(&nowhere).contains("cannot write /nonexistent/a.prom"), "{}", err(&nowhere));
}
