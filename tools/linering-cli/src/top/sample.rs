//! What one look at a ring finds: its statistics, and the lines that came last.

use std::collections::HashMap;
use std::time::Instant;

use linering::{Follow, Followed, Item, Observer, ReadError};

use crate::stat::{age, state};

/// Lines that are looked at in one look: for their lengths, and for the last of each writer.
const LOOKED_AT: u64 = 1024;

/// What is kept of a line: more than a terminal shows of it.
const SHOWN: usize = 1024;

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, since the first one.
    pub seconds: f64,
    pub is_used: bool,
    pub has_reader: bool,
    pub policy: &'static str,
    pub age: String,
    /// Bytes of its memory.
    pub size: u64,
    /// Lines that it has room for, and those of them that no reader has accepted.
    pub room: u64,
    pub unread: u64,
    /// Unread lines that were overwritten.
    pub overwritten: u64,
    /// Lines, or parts of long ones, that were ever written.
    pub lines: u64,
    pub live: u64,
    pub seats: u64,
    pub ended: u64,
    pub errors: u64,
    pub deaths: u64,
    pub found_full: u64,
    pub writers: Vec<WriterSample>,
}

/// A writer in one look.
#[derive(Clone, Debug, Default)]
pub struct WriterSample {
    pub id: u32,
    pub label: String,
    pub process: Option<u32>,
    pub state: &'static str,
    pub lines: u64,
    pub dropped: u64,
    pub seen: Seen,
}

/// What was seen of a writer's lines since the last look.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub lines: u64,
    pub bytes: u64,
    pub last: Option<String>,
}

/// Looks at a ring now and then.
#[derive(Debug)]
pub struct Sampler {
    observer: Observer,
    follow: Follow,
    began: Instant,
}

impl Sampler {
    pub fn new(observer: Observer) -> Self {
        let follow = observer.follow();
        Self { observer, follow, began: Instant::now() }
    }

    pub fn sample(&mut self) -> Result<Sample, ReadError> {
        let found = self.observer.statistics()?;
        let seconds = self.began.elapsed().as_secs_f64();
        let mut seen = self.seen()?;
        let written = found.next.wrapping_sub(found.accepted);
        let counts = &found.counts;
        let writers = found.writers.iter().map(|writer| WriterSample {
            id: writer.writer_id,
            label: shown(writer.label.as_bytes()),
            process: writer.process,
            state: state(writer),
            lines: writer.lines,
            dropped: writer.dropped,
            seen: seen.remove(&writer.writer_id).unwrap_or_default(),
        });
        Ok(Sample {
            seconds,
            is_used: found.is_used,
            has_reader: found.has_reader,
            policy: found.policy.as_str(),
            age: age(found.created),
            size: found.bytes,
            room: found.lines,
            unread: found.unread(),
            // Of numbers that make no sense, none.
            overwritten: if written < u64::MAX / 2 { written - found.unread() } else { 0 },
            lines: found.next.wrapping_sub(found.first),
            live: counts.live,
            seats: counts.seats,
            ended: counts.eofs,
            errors: counts.errors,
            deaths: counts.deaths,
            found_full: counts.found_full,
            writers: writers.collect(),
        })
    }

    /// The lines that came last, by their writers.
    fn seen(&mut self) -> Result<HashMap<u32, Seen>, ReadError> {
        self.follow.skip_to_last(LOOKED_AT);
        let mut by_writer: HashMap<u32, Seen> = HashMap::new();
        for item in self.follow.next_items()? {
            let Followed::Item(Item::Line(line)) = item else { continue };
            let seen = by_writer.entry(line.writer_id).or_default();
            // As the ring counts them: short ones that share a slot are one.
            seen.lines += 1;
            // As it was written, each with its end.
            let end = u64::from(line.bytes.last() != Some(&b'\n'));
            seen.bytes += line.bytes.len() as u64 + end;
            if let Some(text) = line.lines().last() {
                seen.last = Some(shown(&text[..text.len().min(SHOWN)]));
            }
        }
        Ok(by_writer)
    }
}

/// Text that no terminal obeys.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace('\t', "    ");
    text.replace(char::is_control, "\u{fffd}")
}
