//! [`Journald`]: a sink that is the system's log.

use std::env;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::sink::Sink;
use super::text;
use crate::line::item::{Item, Kind, Level, Line, LossCause};
use crate::sys::datagram::Datagrams;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How long a message waits at most while journald takes nothing, before that counts as a failure.
const PATIENCE: Duration = Duration::from_millis(250);
/// The longest name of a field that journald takes.
const LONGEST_NAME: usize = 64;

/// A sink of a [`LogDrain`](crate::LogDrain): systemd's journald, by its native protocol, so that a
/// record has fields, and stays one entry whatever lines it has.
///
/// ```no_run
/// use linering::{Journald, Level, non_blocking};
///
/// let (log, _guard) = non_blocking(Journald::new()?.field("SERVICE_VERSION", "1.2")?)?;
/// log.record(Level::Warn, "slow\nwaited for the disk")?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// `journalctl -o verbose -t NAME` shows them; `journalctl LINERING_LABEL=api` finds them.
///
/// | field | of | what it says |
/// |---|---|---|
/// | `MESSAGE` | all | the record, with its line ends; for losses and ends, the sentence that other sinks print |
/// | `PRIORITY` | all | 3 error, 4 warn, 6 info, 7 debug and trace; 6 without a level |
/// | `SYSLOG_IDENTIFIER` | all | the program's name, or [`identifier`](Self::identifier)'s |
/// | `LINERING_WORKER`, `LINERING_LABEL` | all | the mirror's number, and its label if it has one |
/// | `LINERING_LEVEL` | records | the level's name, of those that have one: trace is not debug |
/// | `LINERING_STREAM` | records | `log`, `stdout` or `stderr` |
/// | `LINERING_LINE` | records | [`Line::position`]: its number in the order of the ring's lines |
/// | `LINERING_TIME` | records | when it was written (RFC 3339): the entry's own time is that of the drain |
/// | `LINERING_KIND`, `LINERING_TAG` | records | if they have one |
/// | `LINERING_TRUNCATED`, `_UNFINISHED`, `_UNACKNOWLEDGED`, `_DAMAGED` | records | `1`, where it is so; `LINERING_MISSING` is in bytes |
/// | `LINERING_EVENT` | others | `lost`, `ended` or `damaged` |
/// | `LINERING_LINES`, `LINERING_CAUSE` | losses | how many lines, and why |
/// | `LINERING_END`, `LINERING_PROCESS`, `LINERING_EXIT` | ends | how, of which process, and how that exited |
///
/// A message that is too long for a datagram goes as a sealed memory file, as journald wants it:
/// nothing is cut here.
///
/// **Failures** are those of every sink: while the socket is away, or takes nothing (for a quarter
/// of a second), the drain tries again, and what it has not taken stays in the ring; see
/// [`Sink`]. A socket that comes back is found by its path.
///
/// The drain's [`Format`](crate::Format) makes no difference to what journald gets.
#[derive(Debug)]
pub struct Journald {
    datagrams: Datagrams,
    identifier: Vec<u8>,
    /// Fields that the program adds to each message, as they are sent.
    fields: Vec<u8>,
    /// Of an item that was sent in several messages, how many were.
    sent: usize,
    message: Vec<u8>,
}

impl Journald {
    /// To the socket of the machine's journald. Whether it is there is seen with the first item.
    ///
    /// # Errors
    ///
    /// The system's refusal of a socket.
    pub fn new() -> io::Result<Self> {
        Self::at(SOCKET)
    }

    /// To the socket at another path: that of another namespace of journald's, or a test's.
    ///
    /// # Errors
    ///
    /// The system's refusal of a socket, or a path that is too long for one.
    pub fn at(path: impl AsRef<Path>) -> io::Result<Self> {
        let program = env::current_exe().ok();
        let name = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let identifier = name.as_encoded_bytes().to_vec();
        let datagrams = Datagrams::to(path.as_ref(), PATIENCE)?;
        Ok(Self { datagrams, identifier, fields: Vec::new(), sent: 0, message: Vec::new() })
    }

    /// With this for `SYSLOG_IDENTIFIER`, which `journalctl -t` looks for.
    #[must_use]
    pub fn identifier(self, name: impl Into<Vec<u8>>) -> Self {
        Self { identifier: name.into(), ..self }
    }

    /// With one more field in each message.
    ///
    /// # Errors
    ///
    /// A name that journald would leave out: it has to be of 1 to 64 of `A-Z`, `0-9` and `_`, and
    /// to begin with a letter.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> io::Result<Self> {
        let is_allowed = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
        if !begins || name.len() > LONGEST_NAME || !name.bytes().all(is_allowed) {
            let told = format!(
                "found a field's name {name:?}, expected 1 to {LONGEST_NAME} of A-Z, 0-9 and _, \
                 beginning with a letter"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        add(&mut self.fields, name, value.as_ref());
        Ok(self)
    }

    fn begin(&mut self, level: Level, writer: Option<(u32, &str)>) {
        self.message.clear();
        let priority = match level {
            Level::Error => "3",
            Level::Warn => "4",
            Level::Debug | Level::Trace => "7",
            Level::Info | Level::None => "6",
        };
        self.add("PRIORITY", priority);
        add(&mut self.message, "SYSLOG_IDENTIFIER", &self.identifier);
        if let Some((worker, label)) = writer {
            self.add_shown("LINERING_WORKER", worker);
            if !label.is_empty() {
                self.add("LINERING_LABEL", label);
            }
        }
    }

    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        add(&mut self.message, name, value.as_ref());
    }

    fn add_shown(&mut self, name: &str, value: impl Display) {
        self.add(name, value.to_string());
    }

    fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.add("MESSAGE", text);
        self.message.extend_from_slice(&self.fields);
        self.datagrams.send(&self.message)
    }

    fn record(&mut self, line: &Line<'_>, text: &[u8]) -> io::Result<()> {
        self.begin(line.level, Some((line.writer_id, &line.label)));
        if line.level != Level::None {
            self.add("LINERING_LEVEL", line.level.as_str());
        }
        self.add("LINERING_STREAM", line.stream.as_str());
        self.add_shown("LINERING_LINE", line.position);
        if let Some(time) = line.time {
            let mut shown = Vec::new();
            text::rfc3339(&mut shown, time);
            self.add("LINERING_TIME", shown);
        }
        if !matches!(line.kind, Kind::Line | Kind::Packed) {
            self.add("LINERING_KIND", line.kind.as_str());
        }
        if line.tag != 0 {
            self.add_shown("LINERING_TAG", line.tag);
        }
        for (name, is_so) in [
            ("LINERING_TRUNCATED", line.truncated),
            ("LINERING_UNFINISHED", line.unfinished),
            ("LINERING_UNACKNOWLEDGED", line.unacknowledged),
            ("LINERING_DAMAGED", line.damaged),
        ] {
            if is_so {
                self.add(name, "1");
            }
        }
        if line.missing > 0 {
            self.add_shown("LINERING_MISSING", line.missing);
        }
        self.send(text.strip_suffix(b"\n").unwrap_or(text))
    }

    fn note(&mut self, item: &Item<'_>) -> io::Result<()> {
        let writer = match item {
            Item::Lost(lost) => Some((lost.writer_id, &*lost.label)),
            Item::Ended(ended) => Some((ended.writer_id, &*ended.label)),
            _ => None,
        };
        self.begin(text::level_of(item), writer);
        match item {
            Item::Lost(lost) => {
                let cause: LossCause = lost.cause;
                self.add("LINERING_EVENT", "lost");
                self.add_shown("LINERING_LINES", lost.lines);
                self.add("LINERING_CAUSE", cause.as_str());
            }
            Item::Ended(ended) => {
                self.add("LINERING_EVENT", "ended");
                self.add("LINERING_END", ended.end.as_str());
                if let Some(process) = ended.process {
                    self.add_shown("LINERING_PROCESS", process);
                }
                if let Some(exit) = ended.exit {
                    self.add_shown("LINERING_EXIT", exit);
                }
            }
            Item::Damaged { position } => {
                self.add("LINERING_EVENT", "damaged");
                self.add_shown("LINERING_LINE", position);
            }
            Item::Line(_) => {}
        }
        self.send(item.to_string().as_bytes())
    }
}

/// A field as the protocol has it: a value with line ends, or that is no text, by its length.
fn add(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    let is_text = !value.iter().any(|byte| *byte < b' ' && *byte != b'\t');
    if is_text && std::str::from_utf8(value).is_ok() {
        message.push(b'=');
    } else {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

impl Sink for Journald {
    /// A record is a message, and so is each line of one that was packed.
    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Line(line) if line.kind == Kind::Packed => {
                for text in line.lines().skip(self.sent) {
                    self.record(line, text)?;
                    // Not again, if the next one fails.
                    self.sent += 1;
                }
                self.sent = 0;
                Ok(())
            }
            Item::Line(line) => self.record(line, &line.bytes),
            other => self.note(other),
        }
    }

    /// What is formatted is not wanted: journald has the fields.
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        Ok(text.len())
    }
}
