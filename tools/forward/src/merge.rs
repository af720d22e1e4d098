//! [`Merge`]: records of many rings in one order, by their times, with what is missing in its
//! place.
//!
//! Each ring's own order is kept. Between rings there is only the time that each machine's clock
//! said: a record waits until one came that is younger by the `skew`, so clocks may differ by that,
//! or for as long by the engine's clock. One of the future, by that clock, counts as of `skew`
//! after it came: a clock that was wrong for a moment holds nothing back, and spoils no other
//! ring's order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, SystemTime};

use crate::doubt::Known;
use crate::json as lines;
use crate::message::{Extent, Message, Unreadable, is_before};
use crate::record::{self, Record, What};

/// What a merge hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// A record.
    Record(Record),
    /// Messages are missing: these positions of the ring, `from` to the one before `to`.
    Gap {
        /// The first position.
        from: u64,
        /// The one after the last.
        to: u64,
    },
    /// A message could not be read.
    Unreadable(Unreadable),
}

/// A ring's subject, and what came of it.
pub type Tagged = (String, Merged);

#[derive(Debug)]
struct Chain {
    ring: u128,
    upto: u64,
    known: Known,
}

/// Merges messages in the order in which an engine gives them.
#[derive(Debug)]
pub struct Merge {
    skew: Duration,
    chains: HashMap<String, Chain>,
    /// The time that each subject is at: its order is kept, whatever its clock says.
    times: HashMap<String, SystemTime>,
    newest: SystemTime,
    /// When the engine got what is added, by its own clock.
    arrived: Option<SystemTime>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    added: u64,
}

#[derive(Debug)]
struct Waiting {
    time: SystemTime,
    order: u64,
    arrived: Option<SystemTime>,
    tagged: Tagged,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

impl Merge {
    /// In which a record waits for those of other rings that are older by up to `skew`.
    pub fn new(skew: Duration) -> Self {
        Self {
            skew,
            chains: HashMap::new(),
            times: HashMap::new(),
            newest: SystemTime::UNIX_EPOCH,
            arrived: None,
            waiting: BinaryHeap::new(),
            added: 0,
        }
    }

    /// What is added from now on came to the engine then, by its clock.
    pub fn arrives(&mut self, time: SystemTime) {
        self.arrived = self.arrived.max(Some(time));
    }

    /// Adds a message of this subject.
    pub fn add(&mut self, subject: &str, message: Result<Message, Unreadable>) {
        match message.and_then(|message| Ok((message.extent, message.records()?, message))) {
            Ok((extent, records, message)) => self.add_records(subject, extent, records, &message),
            Err(unreadable) => self.push(subject, None, Merged::Unreadable(unreadable)),
        }
    }

    fn add_records(
        &mut self,
        subject: &str,
        extent: Extent,
        records: Vec<Record>,
        message: &Message,
    ) {
        let before = self.chains.get(subject).filter(|chain| chain.ring == extent.ring);
        let mut new = records;
        if let Some(chain) = before {
            if is_before(chain.upto, extent.first) {
                let gap = Merged::Gap { from: chain.upto, to: extent.first };
                self.push(subject, None, gap);
            } else if is_before(extent.first, chain.upto) {
                // An engine that has made a message twice.
                new.retain(|record| !chain.known.has(record));
            }
        }
        if before_is_behind(self.chains.get(subject), &extent) {
            let known = Known::by(message).unwrap_or_default();
            let chain = Chain { ring: extent.ring, upto: extent.upto, known };
            self.chains.insert(subject.to_owned(), chain);
        }
        for record in new.into_iter().filter(|record| record.what != What::Known) {
            let time = record.time;
            self.push(subject, time, Merged::Record(record));
        }
    }

    fn push(&mut self, subject: &str, time: Option<SystemTime>, merged: Merged) {
        let at = self.times.entry(subject.to_owned()).or_insert(SystemTime::UNIX_EPOCH);
        let latest = self.arrived.and_then(|arrived| arrived.checked_add(self.skew));
        let time = time.map(|time| latest.map_or(time, |latest| time.min(latest)));
        let time = time.map_or(*at, |time| time.max(*at));
        *at = time;
        self.newest = self.newest.max(time);
        self.added += 1;
        let (order, arrived) = (self.added, self.arrived);
        let waiting = Waiting { time, order, arrived, tagged: (subject.to_owned(), merged) };
        self.waiting.push(Reverse(waiting));
    }

    /// The next record that has waited long enough; `at_end`, the next one there is.
    pub fn next(&mut self, at_end: bool) -> Option<Tagged> {
        let Reverse(first) = self.waiting.peek()?;
        let has_waited = |since: Option<SystemTime>, now: Option<SystemTime>| {
            since.and_then(|since| since.checked_add(self.skew)).is_some_and(|due| Some(due) <= now)
        };
        let is_due = at_end
            || has_waited(Some(first.time), Some(self.newest))
            || has_waited(first.arrived, self.arrived);
        if is_due { self.waiting.pop().map(|Reverse(waiting)| waiting.tagged) } else { None }
    }
}

fn before_is_behind(before: Option<&Chain>, extent: &Extent) -> bool {
    before.is_none_or(|chain| chain.ring != extent.ring || !is_before(extent.upto, chain.upto))
}

/// As a line of text, without its end: time, subject, label, and what it says.
pub fn short((subject, merged): &Tagged) -> Vec<u8> {
    let mut line = Vec::new();
    match merged {
        Merged::Gap { from, to } => {
            let last = to.wrapping_sub(1);
            line.extend_from_slice(
                format!("{subject}: -- positions {from} to {last} are missing --").as_bytes(),
            );
        }
        Merged::Unreadable(unreadable) => {
            line.extend_from_slice(format!("{subject}: -- {unreadable} --").as_bytes());
        }
        Merged::Record(record) => {
            if let Some(time) = record.time.and_then(lines::time) {
                // To the millisecond.
                line.extend_from_slice(format!("{}Z ", &time[..time.len() - 4]).as_bytes());
            }
            line.extend_from_slice(subject.as_bytes());
            if !record.label.is_empty() {
                line.extend_from_slice(format!(" [{}]", record.label).as_bytes());
            }
            line.extend_from_slice(b": ");
            match &record.what {
                What::Line { bytes, .. } => {
                    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                    line.extend_from_slice(bytes);
                }
                _ => {
                    let item = linering::Item::from(record.clone());
                    line.extend_from_slice(item.to_string().as_bytes());
                }
            }
        }
    }
    line
}

/// As a JSON object.
pub fn json((subject, merged): &Tagged) -> serde_json::Value {
    use serde_json::json;
    match merged {
        Merged::Gap { from, to } => json!({"subject": subject, "gap": {"from": from, "to": to}}),
        Merged::Unreadable(unreadable) => {
            json!({"subject": subject, "unreadable": unreadable.to_string()})
        }
        Merged::Record(record) => {
            let time = record.time.and_then(lines::time);
            let mut object = json!({
                "subject": subject,
                "time": time,
                "worker": record.writer_id,
                "label": record.label,
            });
            let more = match &record.what {
                What::Line { bytes, stream, level, truncated, unfinished, .. } => {
                    let (text, lossy) = lines::text_and_bytes(bytes);
                    let mut line = json!({
                        "position": record.position,
                        "text": text,
                        "stream": stream.as_str(),
                        "level": level.as_str(),
                        "truncated": truncated,
                        "unfinished": unfinished,
                    });
                    if let Some(bytes) = lossy {
                        (line["lossy"], line["bytes"]) = (true.into(), bytes.into());
                    }
                    line
                }
                What::Lost { lines, .. } => json!({"lost": lines}),
                What::Ended { end, next, .. } => json!({
                    "ended": format!("{end:?}").to_lowercase(),
                    "lines": record::lines_between(record.number, *next),
                }),
                What::Damaged | What::Known => json!({"damaged": record.position}),
            };
            if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more)
            {
                object.extend(more);
            }
            object
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Encoding;
    use crate::record;
    use linering::{LineRing, Options};

    /// Messages of one ring with so many lines each.
    fn messages(counts: &[usize]) -> Vec<Message> {
        let ring = LineRing::new(Options::new()).expect("a ring");
        let (mut mirror, mut reader) =
            (ring.mirror().expect("a mirror"), ring.reader().expect("the first"));
        let mut all = Vec::new();
        for count in counts {
            (0..*count).for_each(|line| {
                mirror.write_line(format!("{line} of {count}").as_bytes()).expect("room");
            });
            let first = reader.position();
            let batch = reader.batch().expect("ours");
            let mut page = Vec::new();
            batch.iter().for_each(|item| record::add_item(&mut page, &item, 0));
            let (upto, records) = (batch.upto(), batch.len() as u64);
            batch.commit();
            let extent = Extent { ring: ring.identity(), first, upto, records };
            all.push(Message::new(extent, Encoding::Zstd, page));
        }
        all
    }

    fn merged(messages: impl IntoIterator<Item = Message>) -> Vec<String> {
        let mut merge = Merge::new(Duration::ZERO);
        messages.into_iter().for_each(|message| merge.add("a", Ok(message)));
        std::iter::from_fn(|| merge.next(true))
            .map(|(subject, merged)| match merged {
                Merged::Record(Record { what: What::Line { bytes, .. }, .. }) => {
                    String::from_utf8(bytes).expect("text")
                }
                other => String::from_utf8(short(&(subject, other))).expect("text"),
            })
            .collect()
    }

    #[test]
    fn a_chain_is_whole_or_says_where_it_is_not() {
        let all = messages(&[1, 2, 1]);
        let [first, second, third] = &all[..] else { panic!("three") };
        assert_eq!(merged(all.clone()), ["0 of 1", "0 of 2", "1 of 2", "0 of 1"]);
        let twice = [first, second, second, third].map(Clone::clone);
        assert_eq!(merged(twice), merged(all.clone()), "what came twice is left out");
        let gap = merged([first.clone(), third.clone()]);
        assert_eq!(gap, ["0 of 1", "a: -- positions 1 to 2 are missing --", "0 of 1"]);
    }

    #[test]
    fn rings_are_merged_by_time_and_a_record_waits_for_older_ones() {
        let mut merge = Merge::new(Duration::from_secs(2));
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let gap = |from| Merged::Gap { from, to: 0 };
        for (subject, second) in [("a", 10), ("a", 9), ("b", 8), ("b", 11)] {
            merge.push(subject, Some(at(second)), gap(second));
        }
        assert_eq!(merge.next(false), Some(("b".into(), gap(8))));
        assert_eq!(merge.next(false), None);
        let rest: Vec<_> = std::iter::from_fn(|| merge.next(true)).collect();
        let expected = [("a", 10), ("a", 9), ("b", 11)].map(|(of, at)| (of.to_owned(), gap(at)));
        assert_eq!(rest, expected, "each one's own order is kept");
    }

    #[test]
    fn a_clock_that_is_wrong_holds_nothing_back_and_keeps_others_in_order() {
        let mut merge = Merge::new(Duration::from_secs(2));
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let gap = |from| Merged::Gap { from, to: 0 };
        let mut out = Vec::new();
        // Clock a is in the far future once, and from 1010 on; clock c is an hour back.
        for now in 1000..1100 {
            merge.arrives(at(now));
            let of_a = if now == 1000 || now >= 1010 { u64::MAX >> 30 } else { now };
            merge.push("a", Some(at(of_a)), gap(now));
            // b's message comes late, by less than the skew.
            merge.push("b", Some(at(now - 1)), gap(now));
            merge.push("c", Some(at(now.saturating_sub(3600))), gap(now));
            out.extend(std::iter::from_fn(|| merge.next(false)));
            assert!(merge.waiting.len() <= 12, "at {now}: {:?}", merge.waiting);
        }
        out.extend(std::iter::from_fn(|| merge.next(true)));
        for subject in ["a", "b", "c"] {
            let of: Vec<_> = out.iter().filter(|(of, _)| of == subject).map(|it| &it.1).collect();
            assert!(of.iter().copied().eq((1000..1100).map(gap).collect::<Vec<_>>().iter()));
        }
        // From 1003 to 1009 a is right again: b's lines of a second before come first.
        let place = |subject, from| {
            out.iter().position(|tagged| *tagged == (String::from(subject), gap(from)))
        };
        assert!((1004..1009).all(|now| place("b", now) < place("a", now)), "{out:?}");
        assert!((1004..1008).all(|now| place("a", now) < place("b", now + 2)), "{out:?}");
    }

    #[test]
    fn a_record_waits_no_longer_than_the_skew_where_all_others_are_behind() {
        let mut merge = Merge::new(Duration::from_secs(2));
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let gap = |from| Merged::Gap { from, to: 0 };
        merge.arrives(at(10_000));
        merge.push("right", Some(at(10_000)), gap(0));
        let came = (10_001..10_010).find(|now| {
            merge.arrives(at(*now));
            merge.push("behind", Some(at(now - 3600)), gap(*now));
            std::iter::from_fn(|| merge.next(false)).any(|(of, _)| of == "right")
        });
        assert_eq!(came, Some(10_002));
    }

    #[test]
    fn no_time_or_skew_is_too_large() {
        let mut merge = Merge::new(Duration::MAX);
        merge.arrives(SystemTime::now());
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60);
        merge.push("a", Some(far), Merged::Gap { from: 0, to: 1 });
        assert_eq!(merge.next(false), None);
        assert!(merge.next(true).is_some());
    }
}
