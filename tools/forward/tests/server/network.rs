//! Between forwarder and server the network cuts, holds, and delivers late.
//!
//! A proxy knows as much of NATS' protocol as finding messages needs, and does one thing to one
//! message, whenever that comes.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Forwarding, MADE, PATIENCE, Random, Server, kills, ring};
use crate::lines::{assert_once, written};

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection is cut before any of it came to the server,
    CutBefore,
    /// when a half did,
    CutWithin,
    /// when all did, and before the acknowledgement came back.
    CutAfter,
    /// Nothing comes through any more, in both directions, until the forwarder has run into its
    /// time-out; then all of it does. The message is held,
    FreezeBefore,
    /// or its acknowledgement.
    FreezeAfter,
    /// The forwarder's connection is cut, and the message comes to the server over what is left of
    /// it once the next one, over another connection, was acknowledged.
    Late,
    /// As the last one, and the forwarder is killed meanwhile.
    LateOfOneKilled,
    /// It comes just before the next one does: that one is not appended.
    LateBeforeTheNext,
}

const FAULTS: [Fault; 8] = [
    Fault::Late,
    Fault::CutBefore,
    Fault::LateBeforeTheNext,
    Fault::CutWithin,
    Fault::LateOfOneKilled,
    Fault::CutAfter,
    Fault::FreezeBefore,
    Fault::FreezeAfter,
];

/// A line of the protocol, with what belongs to it.
struct Frame {
    bytes: Vec<u8>,
    /// Of a message.
    subject: String,
    /// Where its answer goes to.
    reply: String,
}

impl Frame {
    /// `None` at the end.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes).into_owned();
        let parts: Vec<&str> = line.split_ascii_whitespace().collect();
        if !matches!(parts.first(), Some(&("PUB" | "HPUB" | "MSG" | "HMSG"))) {
            return Ok(Some(Self { bytes, subject: String::new(), reply: String::new() }));
        }
        let rest: usize = parts[parts.len() - 1].parse().expect("a length comes last");
        let head = bytes.len();
        bytes.resize(head + rest + 2, 0);
        from.read_exact(&mut bytes[head..])?;
        Ok(Some(Self { bytes, subject: parts[1].to_owned(), reply: parts[2].to_owned() }))
    }

    fn is_of_a_ring(&self) -> bool {
        self.subject.starts_with("linering.")
    }
}

/// A message that is late.
struct Held {
    frame: Frame,
    fault: Fault,
    server: TcpStream,
}

#[derive(Default)]
struct Shared {
    /// What the next message is to meet.
    plan: Option<Fault>,
    is_frozen: bool,
    held: Option<Held>,
    /// Where the acknowledgements of messages go to that were passed on.
    awaited: HashSet<String>,
    /// How many of them came back.
    acknowledged: u64,
    /// Where the answer to the message that was late goes to.
    late: Option<String>,
    /// What these answers were.
    answers: Vec<String>,
}

struct State {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no thread of the proxy panics")
    }

    fn set(&self, set: impl FnOnce(&mut Shared)) {
        set(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until this holds.
    #[track_caller]
    fn wait(&self, what: &str, mut holds: impl FnMut(&mut Shared) -> bool) {
        let mut shared = self.lock();
        let began = Instant::now();
        while !holds(&mut shared) {
            assert!(began.elapsed() < PATIENCE, "{what}");
            shared = self.changed.wait_timeout(shared, PATIENCE).expect("none panics").0;
        }
    }

    /// From the forwarder to the server.
    fn up(&self, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(client.try_clone()?);
        let mut to = server.try_clone()?;
        while let Some(frame) = Frame::read(&mut from)? {
            if !frame.is_of_a_ring() {
                self.wait("it is thawed", |shared| !shared.is_frozen);
                to.write_all(&frame.bytes)?;
                continue;
            }
            self.let_in(|held| held.fault == Fault::LateBeforeTheNext)?;
            self.wait("the server answers to what is late", |shared| shared.late.is_none());
            let fault = self.lock().plan.take();
            match fault {
                Some(Fault::CutBefore) => break,
                Some(Fault::CutWithin) => {
                    to.write_all(&frame.bytes[..frame.bytes.len() / 2])?;
                    break;
                }
                Some(Fault::CutAfter) => {
                    // The server has read it, whatever comes then.
                    self.set(|shared| shared.is_frozen = true);
                    self.pass_on(&frame, &mut to)?;
                    client.shutdown(Shutdown::Both)?;
                    self.set(|shared| shared.is_frozen = false);
                    to.shutdown(Shutdown::Write)?;
                    return Ok(());
                }
                Some(fault @ (Fault::FreezeBefore | Fault::FreezeAfter)) => {
                    self.set(|shared| shared.is_frozen = true);
                    if fault == Fault::FreezeAfter {
                        self.pass_on(&frame, &mut to)?;
                        continue;
                    }
                    self.wait("it is thawed", |shared| !shared.is_frozen);
                    self.pass_on(&frame, &mut to)?;
                }
                Some(fault) => {
                    let held = Some(Held { frame, fault, server: to });
                    self.set(|shared| shared.held = held);
                    // What is left of the connection is the server's half.
                    return client.shutdown(Shutdown::Both);
                }
                None => self.pass_on(&frame, &mut to)?,
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        server.shutdown(Shutdown::Both)
    }

    fn pass_on(&self, frame: &Frame, to: &mut TcpStream) -> io::Result<()> {
        self.lock().awaited.insert(frame.reply.clone());
        to.write_all(&frame.bytes)
    }

    /// Delivers what is late.
    fn let_in(&self, is_due: impl FnOnce(&Held) -> bool) -> io::Result<()> {
        let mut shared = self.lock();
        if !shared.held.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        let Some(mut held) = shared.held.take() else { return Ok(()) };
        shared.late = Some(held.frame.reply.clone());
        held.server.write_all(&held.frame.bytes)
    }

    /// From the server to the forwarder.
    fn down(&self, server: &TcpStream, client: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(server.try_clone()?);
        let mut to = client.try_clone()?;
        while let Some(frame) = Frame::read(&mut from)? {
            // On the connection over which it came, and on the next one: the client listens there.
            if self.lock().late.as_ref() == Some(&frame.subject) {
                let answer = String::from_utf8_lossy(&frame.bytes).into_owned();
                self.set(|shared| {
                    shared.late = None;
                    shared.answers.push(answer);
                });
                continue;
            }
            self.wait("it is thawed", |shared| !shared.is_frozen);
            // One is held since before this acknowledgement: the next is sent because of it.
            let (is_acknowledged, is_held) = {
                let mut shared = self.lock();
                (shared.awaited.remove(&frame.subject), shared.held.is_some())
            };
            // The forwarder may be gone, and what is late not yet answered.
            let _ = to.write_all(&frame.bytes);
            if is_acknowledged && is_held {
                self.let_in(|_| true)?;
            }
            if is_acknowledged {
                self.set(|shared| shared.acknowledged += 1);
            }
        }
        client.shutdown(Shutdown::Both)
    }
}

struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(State { shared: Mutex::default(), changed: Condvar::new() });
        let proxy = Self { port, state: Arc::clone(&state) };
        // It ends with the process.
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let server = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
                let ends = [&client, &server].map(|end| end.try_clone().expect("a descriptor"));
                let (up, down) = (Arc::clone(&state), Arc::clone(&state));
                // A connection that was cut is an error, and ends the threads.
                thread::spawn(move || up.up(&ends[0], &ends[1]));
                thread::spawn(move || down.down(&server, &client));
            }
        });
        proxy
    }

    fn target(&self) -> String {
        format!("nats://127.0.0.1:{}/LINES", self.port)
    }

    /// Lets the next message meet this, and waits until it is over.
    fn meet(&self, fault: Fault, forwarder: &mut Forwarding) {
        let state = &*self.state;
        let doubts = |forwarder: &Forwarding| forwarder.said().matches("it is tried again").count();
        let before = doubts(forwarder);
        let mut answers = 0;
        state.set(|shared| {
            shared.plan = Some(fault);
            answers = shared.answers.len();
        });
        state.wait("a message comes", |shared| shared.plan.is_none());
        match fault {
            Fault::CutBefore | Fault::CutWithin | Fault::CutAfter => {}
            Fault::FreezeBefore | Fault::FreezeAfter => {
                let began = Instant::now();
                while doubts(forwarder) == before {
                    assert!(began.elapsed() < PATIENCE, "no time-out: {}", forwarder.said());
                    thread::sleep(Duration::from_millis(5));
                }
                state.set(|shared| shared.is_frozen = false);
            }
            Fault::Late | Fault::LateOfOneKilled | Fault::LateBeforeTheNext => {
                if fault == Fault::LateOfOneKilled {
                    forwarder.again();
                }
                state.wait("what is late is answered", |shared| shared.answers.len() > answers);
                let answer = state.lock().answers[answers].clone();
                // NATS' number for another last sequence than the expected one.
                let is_refused = answer.contains("10071");
                assert_eq!(is_refused, fault != Fault::LateBeforeTheNext, "{fault:?}: {answer}");
            }
        }
        let before = state.lock().acknowledged;
        state.wait("it goes on", |shared| shared.acknowledged > before + 1);
    }
}

#[test]
fn each_line_is_there_once_however_the_network_cuts_and_holds_and_delivers_late() {
    let faults = kills(FAULTS.len() as u64);
    let server = Server::start("");
    let proxy = Proxy::start(server.port());
    let path = server.path("network.ring");
    let ring = ring(&path, 1 << 16);
    let mut random = Random(0xda94_2042_e4dd_58b5);
    let disturb = || {
        let more = [&MADE[..], &["--message-bytes", "30000"]].concat();
        let mut forwarder = Forwarding::start(&path, &proxy.target(), &more);
        for fault in FAULTS.iter().cycle().take(faults as usize) {
            random.pass(100);
            proxy.meet(*fault, &mut forwarder);
        }
        forwarder
    };
    let written = written(&ring, disturb, Forwarding::finish);
    assert_once(&server.target(), &written);
    println!("{faults} faults of the network: {FAULTS:?}, and again");
}
