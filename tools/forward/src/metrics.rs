//! [`Metrics`]: how far a forwarder is, as Prometheus reads it, in a file or over HTTP.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use linering::Observer;

use crate::exit::{Failure, Kind};
use crate::forward::Totals;

/// How long a client may take over its request, and over the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of a request that are read.
const REQUEST: u64 = 8192;

/// Where metrics go: `FILE`, `:PORT` (on loopback) or `ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Written anew each second, for node_exporter's textfile collector.
    File(PathBuf),
    /// Answered to `GET /metrics`.
    Http(SocketAddr),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix(':') {
            let port: u16 = port
                .parse()
                .map_err(|_| format!("{text:?}, expected FILE, :PORT or ADDRESS:PORT"))?;
            return Ok(Place::Http(([127, 0, 0, 1], port).into()));
        }
        Ok(text.parse().map_or_else(|_| Place::File(text.into()), Place::Http))
    }
}

/// What is told.
#[derive(Debug)]
struct Told {
    totals: Totals,
    /// When the last message was acknowledged.
    acknowledged: SystemTime,
    ring: Observer,
    /// The ring's name, as a label.
    name: String,
}

/// What is told, and where.
#[derive(Debug)]
pub struct Metrics {
    told: Arc<Mutex<Told>>,
    file: Option<PathBuf>,
}

impl Metrics {
    /// Begins to tell of the ring of this name; what answers over HTTP is a thread of its own.
    ///
    /// # Errors
    ///
    /// Another program has the port, or the address is none of this machine's.
    pub fn new(place: &Place, name: &str, ring: Observer) -> Result<Self, Failure> {
        let (totals, acknowledged) = (Totals::default(), SystemTime::now());
        let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let told = Arc::new(Mutex::new(Told { totals, acknowledged, ring, name }));
        let file = match place {
            Place::File(path) => Some(path.clone()),
            Place::Http(address) => {
                let listener = TcpListener::bind(address).map_err(|error| {
                    let sentence = format!(
                        "cannot give metrics on {address}: {error}; expected a free port of this \
                         machine"
                    );
                    Failure::new(Kind::Usage, sentence)
                })?;
                let told = Arc::clone(&told);
                let answering = std::thread::Builder::new().name("metrics".to_owned());
                let started = answering.spawn(move || {
                    for client in listener.incoming() {
                        // A client that goes away before its answer has none.
                        let _ = client.and_then(|client| answer(&client, &told));
                    }
                });
                started.map_err(|error| {
                    Failure::failed(format!("cannot start a thread for metrics: {error}"))
                })?;
                None
            }
        };
        Ok(Self { told, file })
    }

    /// Takes note of it.
    pub fn note(&self, totals: &Totals) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.totals.messages != totals.messages {
            told.acknowledged = SystemTime::now();
        }
        told.totals = *totals;
    }

    /// Writes the file, if it is one.
    ///
    /// # Errors
    ///
    /// With its path.
    pub fn write(&self) -> Result<(), String> {
        let Some(path) = &self.file else { return Ok(()) };
        // Whole, whenever it is read.
        let new = path.with_extension("new");
        let written = fs::write(&new, text(&self.told)).and_then(|()| fs::rename(&new, path));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

fn text(told: &Mutex<Told>) -> String {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let Totals { messages, records, bytes, doubts, upto, .. } = told.totals;
    let statistics = told.ring.statistics();
    let (unread, slots) = statistics.map_or((0, 0), |ring| (ring.unread(), ring.lines));
    let since = told.acknowledged.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("messages_total", "counter", "Messages that the engine acknowledged.", messages),
        ("records_total", "counter", "Lines, losses and ends in them.", records),
        ("record_bytes_total", "counter", "Bytes of these, uncompressed.", bytes),
        ("doubts_total", "counter", "How often it asked the engine anew.", doubts),
        ("position", "gauge", "Everything before it is in the engine.", upto),
        (
            "unread_slots",
            "gauge",
            "Slots of the ring that the engine has not acknowledged.",
            unread,
        ),
        ("capacity_slots", "gauge", "Slots of the ring.", slots),
        (
            "acknowledged_timestamp_seconds",
            "gauge",
            "When the engine last acknowledged a message, or else the start.",
            since.as_secs(),
        ),
    ] {
        let (name, ring) = (format!("linering_forward_{name}"), &told.name);
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{ring=\"{ring}\"}} {value}"
        );
    }
    text
}

fn answer(mut client: &TcpStream, told: &Mutex<Told>) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(client.take(REQUEST)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest is read, or else closing would cut off the answer.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = match first.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/" | "/metrics", _] => ("200 OK", text(told)),
        ["GET", _, _] => ("404 Not Found", "expected /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "expected GET /metrics\n".to_owned()),
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_an_address() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place(":9100"), Ok(Place::Http(([127, 0, 0, 1], 9100).into())));
        assert_eq!(place("0.0.0.0:1"), Ok(Place::Http(([0, 0, 0, 0], 1).into())));
        assert_eq!(place("[::1]:1"), Ok(Place::Http("[::1]:1".parse().expect("an address"))));
        assert_eq!(place("a.prom"), Ok(Place::File("a.prom".into())));
        assert!(place(":99999").is_err_and(|error| error.contains("expected FILE, :PORT")));
    }
}
