//! The loop over an engine in memory that does what networks and servers do: acknowledgements get
//! lost, messages are late, the engine is away, and forgets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;

use linering::{Item, LineRing, Options as RingOptions, Policy};

use super::*;
use crate::message::Encoding;
use crate::record::{Record, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It keeps the message, and its acknowledgement is lost.
    AcknowledgementLost,
    /// The message is lost.
    MessageLost,
    /// The message comes after the next thing that is asked.
    MessageLate,
}

/// Keeps messages, as long as the fence lets them in.
#[derive(Debug, Default)]
struct Memory {
    kept: RefCell<Vec<Message>>,
    faults: RefCell<VecDeque<Fault>>,
    late: RefCell<Vec<(u64, Message)>>,
}

impl Memory {
    fn keep(&self, after: u64, message: &Message) -> Result<u64, Trouble> {
        let mut kept = self.kept.borrow_mut();
        if kept.len() as u64 != after {
            return Err(Trouble::Overtaken);
        }
        kept.push(message.clone());
        Ok(kept.len() as u64)
    }

    fn let_in_what_is_late(&self) {
        for (after, message) in self.late.take() {
            let _ = self.keep(after, &message);
        }
    }
}

impl Engine for &Memory {
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn fences(&self) -> bool {
        false
    }

    async fn last(&self) -> Result<Option<Last>, Trouble> {
        let kept = self.kept.borrow();
        let last = kept
            .last()
            .map(|message| Last { sequence: kept.len() as u64, message: Ok(message.clone()) });
        drop(kept);
        // It is there after the question was answered: the worst moment.
        self.let_in_what_is_late();
        Ok(last)
    }

    async fn append(&self, after: u64, message: &Message) -> Result<u64, Trouble> {
        let fault = self.faults.borrow_mut().pop_front().unwrap_or(Fault::None);
        let doubt = || Err(Trouble::Doubt("no acknowledgement".to_owned()));
        match fault {
            Fault::None => self.keep(after, message),
            Fault::AcknowledgementLost => self.keep(after, message).and_then(|_| doubt()),
            Fault::MessageLost => doubt(),
            Fault::MessageLate => {
                self.late.borrow_mut().push((after, message.clone()));
                doubt()
            }
        }
    }
}

/// Stops once so many messages were acknowledged.
#[derive(Debug)]
struct Until(u64);

impl Watch for Until {
    fn is_over(&mut self, totals: &Totals) -> bool {
        totals.messages >= self.0
    }

    fn say(&mut self, _: &str) {}
}

fn options() -> Options {
    // A few lines each.
    Options { message_bytes: 300, linger: Duration::ZERO, ..Options::default() }
}

fn run(ring: &LineRing, engine: &Memory, options: Options, until: u64) -> Result<Totals, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let forwarding = async { Forwarder::new(ring, engine, options)?.run(&mut Until(until)).await };
    runtime.expect("a runtime").block_on(forwarding)
}

/// What the engine has, of a chain that is whole.
fn records(engine: &Memory, ring: &LineRing) -> Vec<Record> {
    let kept = engine.kept.borrow();
    let mut upto = None;
    let mut all = Vec::new();
    for message in kept.iter() {
        assert_eq!(message.extent.ring, ring.identity());
        assert!(upto.is_none_or(|upto| upto == message.extent.first), "a chain: {kept:?}");
        upto = Some(message.extent.upto);
        all.extend(message.records().expect("its own"));
    }
    all
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| Item::from(record.clone()).to_string()).collect()
}

fn write(ring: &LineRing, lines: std::ops::Range<u32>) {
    let mut mirror = ring.mirror().expect("a mirror");
    for line in lines {
        // Each fifth one has several parts.
        let text = format!("{line} ").repeat(if line % 5 == 0 { 60 } else { 1 });
        mirror.write_line(text.as_bytes()).expect("room");
    }
}

fn expected(lines: std::ops::Range<u32>) -> Vec<String> {
    lines.map(|line| format!("{line} ").repeat(if line % 5 == 0 { 60 } else { 1 })).collect()
}

fn ring() -> LineRing {
    LineRing::new(RingOptions::new().lines(1024).line_bytes(128)).expect("a ring")
}

#[test]
fn each_line_and_each_end_is_there_once_whatever_the_network_does() {
    let faults = [Fault::None, Fault::AcknowledgementLost, Fault::MessageLost, Fault::MessageLate];
    // All ways in which three messages fare.
    for way in 0..64_usize {
        let ring = ring();
        write(&ring, 0..20);
        write(&ring, 20..40);
        let engine = Memory::default();
        let plan = (0..3).map(|message| faults[way >> (2 * message) & 3]);
        engine.faults.borrow_mut().extend(plan);
        let forwarded = run(&ring, &engine, options(), u64::MAX);
        assert!(forwarded.is_ok(), "{way}: {forwarded:?}");
        engine.let_in_what_is_late();
        let records = records(&engine, &ring);
        let (ends, lines): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| matches!(record.what, What::Ended { .. }));
        assert_eq!(texts(&lines), expected(0..40), "way {way}");
        assert_eq!(texts(&ends), ["-- worker 0 ended --", "-- worker 1 ended --"], "way {way}");
    }
}

/// A forwarder that ends at any message, with its acknowledgement lost or not, leaves the rest.
#[test]
fn the_next_forwarder_goes_on_where_the_one_before_was() {
    for until in 1..8 {
        for fault in [Fault::None, Fault::AcknowledgementLost] {
            let ring = ring();
            write(&ring, 0..40);
            let engine = Memory::default();
            // A forwarder that is killed has no acknowledgement of its last message.
            let faults = (1..until).map(|_| Fault::None).chain([fault]);
            engine.faults.borrow_mut().extend(faults);
            let away = Options { away: Some(Duration::ZERO), ..options() };
            let _ = run(&ring, &engine, away, until);
            run(&ring, &engine, options(), u64::MAX).expect("all is forwarded");
            let records = records(&engine, &ring);
            assert_eq!(texts(&records[..40]), expected(0..40), "{until} {fault:?}");
            assert_eq!(records.len(), 41, "{:?}", texts(&records));
        }
    }
}

/// To a new reader an end comes after the lines that were written meanwhile.
#[test]
fn an_end_comes_once_though_two_messages_in_a_row_are_in_doubt_and_two_forwarders_die() {
    for lines in [1, 20] {
        let ring = ring();
        let engine = Memory::default();
        let away = Options { away: Some(Duration::ZERO), ..options() };
        // In a cell of its own.
        let mut other = ring.mirror().expect("a mirror");
        write(&ring, 0..1);
        for _ in 0..3 {
            engine.faults.borrow_mut().push_back(Fault::AcknowledgementLost);
            let failure = run(&ring, &engine, away.clone(), u64::MAX).expect_err("in doubt");
            assert_eq!(failure.kind, Kind::Away);
            (0..lines).for_each(|_| other.write_line(b"other").expect("room"));
        }
        drop(other);
        run(&ring, &engine, options(), u64::MAX).expect("all is forwarded");
        let records = records(&engine, &ring);
        let count = |text: &str| {
            let is_it = |record: &&Record| {
                record.what != What::Known && Item::from((**record).clone()).to_string() == text
            };
            records.iter().filter(is_it).count()
        };
        assert_eq!(count("-- worker 0 ended --"), 1, "{:?}", texts(&records));
        assert_eq!(count("-- worker 1 ended --"), 1, "{:?}", texts(&records));
        assert_eq!(count("other"), 3 * lines, "{:?}", texts(&records));
    }
}

#[test]
fn what_an_engine_has_lost_is_told_and_gone_on_without_only_if_asked() {
    let ring = ring();
    write(&ring, 0..40);
    let engine = Memory::default();
    run(&ring, &engine, options(), 3).expect("some");
    let upto = engine.kept.borrow()[1].extent.upto;
    engine.kept.borrow_mut().truncate(2);
    let failure = run(&ring, &engine, options(), u64::MAX).expect_err("the third is gone");
    assert_eq!(failure.kind, Kind::Lost);
    assert!(failure.sentence.contains(&format!("positions {upto} to ")), "{failure}");
    let accepts = Options { accepts_loss: true, ..options() };
    run(&ring, &engine, accepts, u64::MAX).expect("it goes on");
    let kept = engine.kept.borrow();
    assert!(kept[2].extent.first > upto, "the chain shows it");
    drop(kept);
    engine.kept.borrow_mut().clear();
    let failure = run(&ring, &engine, options(), u64::MAX).expect_err("all is gone");
    assert!(failure.sentence.contains("has no message of this ring"), "{failure}");
    assert_eq!(failure.kind, Kind::Lost);
}

/// Stops once it was asked so often.
#[derive(Debug)]
struct Asked(u64);

impl Watch for Asked {
    fn is_over(&mut self, _: &Totals) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 == 0
    }

    fn say(&mut self, _: &str) {}
}

fn look(ring: &LineRing, engine: &Memory) -> Result<Totals, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let options = Options { follows: true, ..options() };
    let forwarding = async { Forwarder::new(ring, engine, options)?.run(&mut Asked(3)).await };
    runtime.expect("a runtime").block_on(forwarding)
}

#[test]
fn parts_of_a_line_that_is_not_complete_are_no_loss_of_the_engine() {
    // In a ring that overwrites a killed reader's parts are lost, which is told.
    for policy in [Policy::DropNewest, Policy::Block] {
        let options_of_ring = RingOptions::new().lines(64).line_bytes(64).policy(policy);
        let ring = LineRing::new(options_of_ring).expect("a ring");
        write(&ring, 1..2);
        let engine = Memory::default();
        run(&ring, &engine, options(), 1).expect("it");
        let mut mirror = ring.mirror().expect("a mirror");
        let text = "a part ".repeat(30);
        mirror.write_all(text.as_bytes()).expect("room");
        look(&ring, &engine).expect("there is nothing to send");
        mirror.write_all(b"and its end\n").expect("room");
        drop(mirror);
        let forwarded = run(&ring, &engine, options(), u64::MAX);
        assert!(forwarded.is_ok(), "{policy:?}: {forwarded:?}");
        let texts = texts(&records(&engine, &ring));
        assert!(
            texts.iter().any(|it| *it == format!("{text}and its end")),
            "{policy:?}: {texts:?}"
        );
    }
}

/// After an overrun the reader stands further than what the engine has, and what comes first may be
/// known.
#[test]
fn a_loss_that_the_engine_knows_brings_it_no_further() {
    let faults = [Fault::None, Fault::AcknowledgementLost, Fault::MessageLost, Fault::MessageLate];
    for (fault, dies) in faults.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
        let options_of_ring = RingOptions::new().lines(16).policy(Policy::OverwriteOldest);
        let ring = LineRing::new(options_of_ring).expect("a ring");
        let (mut one, mut other) =
            (ring.mirror().expect("a mirror"), ring.mirror().expect("a mirror"));
        let engine = Memory::default();
        (0..4).for_each(|_| one.write_line(b"one").expect("room"));
        engine.faults.borrow_mut().push_back(Fault::AcknowledgementLost);
        let away = Options { away: Some(Duration::ZERO), ..options() };
        run(&ring, &engine, away.clone(), u64::MAX).expect_err("in doubt");
        // These lines are overwritten, up to the fifth of the first mirror.
        (0..20).for_each(|_| other.write_line(b"other").expect("room"));
        one.write_line(b"one").expect("room");
        (0..15).for_each(|_| other.write_line(b"other").expect("room"));
        drop((one, other));
        engine.faults.borrow_mut().push_back(fault);
        if dies {
            let _ = run(&ring, &engine, away, u64::MAX);
        }
        let forwarded = run(&ring, &engine, options(), u64::MAX);
        assert!(forwarded.is_ok(), "{fault:?} {dies}: {forwarded:?}");
        let records = records(&engine, &ring);
        let lost: u64 = records
            .iter()
            .map(|record| if let What::Lost { lines, .. } = record.what { lines } else { 0 })
            .sum();
        let lines = records.iter().filter(|it| matches!(it.what, What::Line { .. })).count();
        assert_eq!((lines, lost), (4 + 16, 20), "{fault:?}: {:?}", texts(&records));
    }
}

#[test]
fn losses_are_forwarded_with_their_numbers() {
    let options_of_ring = RingOptions::new().lines(8).policy(Policy::DropNewest);
    let ring = LineRing::new(options_of_ring).expect("a ring");
    write(&ring, 1..30);
    let engine = Memory::default();
    engine.faults.borrow_mut().extend([Fault::AcknowledgementLost; 3]);
    run(&ring, &engine, options(), u64::MAX).expect("all is forwarded");
    let records = records(&engine, &ring);
    let lost: u64 = records
        .iter()
        .map(|record| if let What::Lost { lines, .. } = record.what { lines } else { 0 })
        .sum();
    let lines = records.iter().filter(|record| matches!(record.what, What::Line { .. })).count();
    assert_eq!(lines as u64 + lost, 29, "{:?}", texts(&records));
    let Some(What::Ended { next, .. }) = records.last().map(|record| &record.what) else {
        panic!("the end comes last")
    };
    assert_eq!(next - records.last().expect("the end").number, 29, "all numbers that it used");
}

#[test]
fn a_ring_has_one_forwarder_and_a_subject_one_ring() {
    let ring = ring();
    let _reader = ring.reader().expect("the first");
    let failure = run(&ring, &Memory::default(), options(), 1).expect_err("it has a reader");
    assert_eq!(failure.kind, Kind::Another);
    // Each message is overtaken: by another program that appends after each question, or, where a
    // question fences, by another forwarder that begins again and again and has sent nothing yet.
    struct Overtaken {
        fences: bool,
        asked: RefCell<u64>,
    }
    impl Engine for Overtaken {
        fn staleness(&self) -> Duration {
            Duration::ZERO
        }
        fn fences(&self) -> bool {
            self.fences
        }
        async fn last(&self) -> Result<Option<Last>, Trouble> {
            *self.asked.borrow_mut() += 1;
            let extent = Extent { ring: 7, first: 0, upto: 0, records: 0 };
            let message = Ok(Message::new(extent, Encoding::None, Vec::new()));
            let last = Last { sequence: *self.asked.borrow(), message };
            Ok((!self.fences).then_some(last))
        }
        async fn append(&self, _: u64, _: &Message) -> Result<u64, Trouble> {
            Err(Trouble::Overtaken)
        }
    }
    async fn failing(fences: bool) -> Failure {
        let engine = Overtaken { fences, asked: RefCell::new(0) };
        let other = super::tests::ring();
        write(&other, 0..3);
        let mut forwarder = Forwarder::new(&other, engine, options()).expect("no other reader");
        forwarder.run(&mut Until(u64::MAX)).await.expect_err("never first")
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let limited = async {
        let both = async { [failing(false).await, failing(true).await] };
        tokio::time::timeout(Duration::from_secs(60), both).await
    };
    for failure in runtime.expect("a runtime").block_on(limited).expect("it ends") {
        assert_eq!(failure.kind, Kind::Another);
    }
}
