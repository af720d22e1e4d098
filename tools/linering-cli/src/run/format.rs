//! How a line is printed: as it is, with its time and worker before it, or as JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::SystemTime;

use linering::{Level, Line, Stream};

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The line as it is
    Cat,
    /// Time, worker, line
    Short,
    /// A JSON object for each line, all on standard output
    Json,
}

/// A time as RFC 3339 has it. Remembers the last one: stamps are coarse, so many lines have the same.
#[derive(Debug, Default)]
pub struct Clock {
    last: Option<SystemTime>,
    text: String,
}

impl Clock {
    pub fn text(&mut self, time: SystemTime) -> &str {
        if self.last != Some(time) {
            self.last = Some(time);
            // A time that a calendar cannot name was not taken by a clock.
            self.text =
                jiff::Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}"));
        }
        &self.text
    }
}

pub fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stderr => "stderr",
        Stream::Log => "log",
        _ => "stdout",
    }
}

fn level_name(level: Level) -> Option<&'static str> {
    Some(match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        _ => return None,
    })
}

/// Writes a line as one JSON object and an end of line.
pub fn json(to: &mut impl Write, clock: &mut Clock, worker: usize, line: &Line<'_>) -> io::Result<()> {
    let mut object = serde_json::Map::new();
    if let Some(time) = line.time {
        object.insert("time".into(), clock.text(time).into());
    }
    object.insert("worker".into(), worker.into());
    object.insert("stream".into(), stream_name(line.stream).into());
    if let Some(level) = level_name(line.level) {
        object.insert("level".into(), level.into());
    }
    let text = String::from_utf8_lossy(&line.bytes);
    // What JSON cannot carry is replaced, and that is said.
    let is_lossy = matches!(text, Cow::Owned(_));
    object.insert("msg".into(), text.into());
    object.insert("position".into(), line.position.into());
    for (flag, is_set) in [
        ("truncated", line.truncated),
        ("unfinished", line.unfinished),
        ("unacknowledged", line.unacknowledged),
        ("lossy", is_lossy),
    ] {
        if is_set {
            object.insert(flag.into(), true.into());
        }
    }
    if line.missing > 0 {
        object.insert("missing".into(), line.missing.into());
    }
    serde_json::to_writer(&mut *to, &object)?;
    to.write_all(b"\n")
}
