//! How a line is printed: as it is, with its time and worker before it, or as JSON.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use linering::{Kind, Level, Line, Stream};
use serde::Serialize;

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

/// How times are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Times {
    /// As RFC 3339 has them, in UTC
    #[default]
    Utc,
    /// In the time zone that TZ names, or else this machine's
    Local,
    /// Seconds since the start
    Elapsed,
}

/// Shows times. Remembers the last one: stamps are coarse, so many lines have the same.
#[derive(Debug)]
pub struct Clock {
    times: Times,
    zone: TimeZone,
    began: SystemTime,
    last: Option<SystemTime>,
    text: String,
}

impl Clock {
    /// A clock that starts now.
    pub fn new(times: Times) -> Self {
        let zone = if times == Times::Local { TimeZone::system() } else { TimeZone::UTC };
        Self { times, zone, began: SystemTime::now(), last: None, text: String::new() }
    }

    pub fn text(&mut self, time: SystemTime) -> &str {
        if self.last != Some(time) {
            self.last = Some(time);
            self.text = self.shown(time);
        }
        &self.text
    }

    fn shown(&self, time: SystemTime) -> String {
        if self.times == Times::Elapsed {
            // A coarse stamp may be of a little before.
            let elapsed = time.duration_since(self.began).unwrap_or_default();
            return format!("{:8.3}", elapsed.as_secs_f64());
        }
        // A time that a calendar cannot name was not taken by a clock.
        let Ok(time) = jiff::Timestamp::try_from(time) else { return "-".to_owned() };
        match self.times {
            Times::Local => {
                let zoned = time.to_zoned(self.zone.clone());
                zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
            }
            _ => format!("{time:.3}"),
        }
    }
}

pub fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stderr => "stderr",
        Stream::Log => "log",
        _ => "stdout",
    }
}

pub fn level_name(level: Level) -> Option<&'static str> {
    Some(match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        _ => return None,
    })
}

/// What several lines that came together are.
fn kind_name(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Text => "group",
        Kind::Warning => "warning",
        Kind::Error => "error",
        _ => return None,
    })
}

/// A line, or a group of lines, as JSON has it.
#[derive(Serialize)]
struct Object<'l> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring: Option<&'l str>,
    worker: Option<usize>,
    /// The writer's label, if that is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'l str>,
    stream: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    msg: &'l str,
    position: u64,
    #[serde(skip_serializing_if = "is_unset")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_unset")]
    unfinished: bool,
    #[serde(skip_serializing_if = "is_unset")]
    unacknowledged: bool,
    #[serde(skip_serializing_if = "is_unset")]
    damaged: bool,
    /// Bytes of `msg` are replaced: JSON cannot carry them.
    #[serde(skip_serializing_if = "is_unset")]
    lossy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
}

fn is_unset(flag: &bool) -> bool {
    !flag
}

/// Adds a line, or a group of lines, as one JSON object and an end of line; lines that only share a
/// slot, as one each.
pub fn json(
    to: &mut Vec<u8>,
    clock: &mut Clock,
    ring: Option<&str>,
    worker: Option<usize>,
    line: &Line<'_>,
) {
    if line.kind == Kind::Packed {
        line.lines().for_each(|text| object(to, clock, ring, worker, line, text));
    } else {
        object(to, clock, ring, worker, line, &line.bytes);
    }
}

/// Without what there is of a character whose rest was cut off, and how many bytes that is.
fn whole_characters(text: &[u8]) -> (&[u8], u64) {
    let tail = text.len().saturating_sub(3);
    let begins = |byte: &u8| byte & 0xc0 != 0x80;
    let Some(begin) = text[tail..].iter().rposition(begins).map(|index| tail + index) else {
        return (text, 0);
    };
    match std::str::from_utf8(&text[begin..]) {
        Err(error) if error.error_len().is_none() => (&text[..begin], (text.len() - begin) as u64),
        _ => (text, 0),
    }
}

fn object(
    to: &mut Vec<u8>,
    clock: &mut Clock,
    ring: Option<&str>,
    worker: Option<usize>,
    line: &Line<'_>,
    text: &[u8],
) {
    let (text, cut) = if line.truncated { whole_characters(text) } else { (text, 0) };
    let text = String::from_utf8_lossy(text);
    let missing = line.missing + cut;
    let object = Object {
        time: line.time.map(|time| clock.text(time)),
        ring,
        worker,
        label: Some(&*line.label).filter(|label| worker.is_none() && !label.is_empty()),
        stream: stream_name(line.stream),
        level: level_name(line.level),
        kind: kind_name(line.kind),
        msg: &text,
        position: line.position,
        truncated: line.truncated,
        unfinished: line.unfinished,
        unacknowledged: line.unacknowledged,
        damaged: line.damaged,
        lossy: matches!(text, Cow::Owned(_)),
        missing: (missing > 0).then_some(missing),
    };
    // Into memory, of strings and numbers: cannot fail.
    let _ = serde_json::to_writer(&mut *to, &object);
    to.push(b'\n');
}

/// A worker's end, as JSON has it.
#[derive(Debug)]
pub struct EndRecord<'r> {
    pub time: SystemTime,
    pub worker: usize,
    /// Its exit code, or the name of the signal that killed it.
    pub how: Result<i32, String>,
    pub msg: &'r str,
}

/// Adds a worker's end as one JSON object and an end of line.
pub fn json_end(to: &mut Vec<u8>, clock: &mut Clock, record: &EndRecord<'_>) {
    #[derive(Serialize)]
    struct Object<'r> {
        time: &'r str,
        worker: usize,
        level: &'static str,
        kind: &'static str,
        msg: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<&'r str>,
    }
    let (code, signal) = (record.how.as_ref().ok(), record.how.as_ref().err());
    let object = Object {
        time: clock.text(record.time),
        worker: record.worker,
        level: "error",
        kind: "end",
        msg: record.msg,
        code: code.copied(),
        signal: signal.map(String::as_str),
    };
    // As above.
    let _ = serde_json::to_writer(&mut *to, &object);
    to.push(b'\n');
}
