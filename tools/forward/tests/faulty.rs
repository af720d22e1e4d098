//! The loop over an engine in memory that loses messages and acknowledgements and lets messages in
//! late, with the forwarder killed now and then; time is not waited for.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use linering::{LineRing, Options, Policy};
use linering_forward::engine::{Engine, Last, Trouble};
use linering_forward::exit::Kind;
use linering_forward::forward::{self, Forwarder, Totals, Watch};
use linering_forward::message::{Encoding, Extent, Message};
use linering_forward::record::{Record, What};
use tokio::time::Instant;

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It is kept, and the acknowledgement is lost.
    Unheard,
    /// It is lost on its way.
    Cut,
    /// It comes after the next question.
    Late,
}

#[derive(Debug, Default)]
struct Log {
    kept: Vec<Message>,
    /// On their way, with the number that each is to come after.
    late: Vec<(u64, Message)>,
    seed: u64,
    /// Of a hundred messages, so many have a fault.
    faults: u64,
    asked: u64,
    /// And no other fault.
    only: Option<Fault>,
}

impl Log {
    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) % below
    }

    fn fault(&mut self) -> Fault {
        if self.random(100) >= self.faults {
            return Fault::None;
        }
        let fault = [Fault::Unheard, Fault::Cut, Fault::Late][self.random(3) as usize];
        self.only.unwrap_or(fault)
    }

    fn keep(&mut self, after: u64, message: Message) -> Result<u64, Trouble> {
        if self.kept.len() as u64 != after {
            return Err(Trouble::Overtaken);
        }
        self.kept.push(message);
        Ok(after + 1)
    }
}

#[derive(Clone, Debug, Default)]
struct Memory(Rc<RefCell<Log>>);

impl Memory {
    fn new(seed: u64, faults: u64) -> Self {
        Self(Rc::new(RefCell::new(Log { seed, faults, ..Log::default() })))
    }

    /// Each record but keys, once the chain of the messages was found whole.
    fn records(&self) -> Vec<Record> {
        let log = self.0.borrow();
        for pair in log.kept.windows(2) {
            assert_eq!(pair[0].extent.upto, pair[1].extent.first, "a link of the chain");
        }
        let records = log.kept.iter().flat_map(|message| message.records().expect("records"));
        records.filter(|record| record.what != What::Known).collect()
    }
}

impl Engine for Memory {
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn fences(&self) -> bool {
        false
    }

    async fn last(&self) -> Result<Option<Last>, Trouble> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut log = self.0.borrow_mut();
        log.asked += 1;
        if log.faults > 0 && log.random(4) == 0 {
            return Err(Trouble::Doubt("no answer".to_owned()));
        }
        let sequence = log.kept.len() as u64;
        let last = log.kept.last().cloned().map(|message| Last { sequence, message: Ok(message) });
        // Just after the answer, which is the worst time.
        for (after, message) in std::mem::take(&mut log.late) {
            let _ = log.keep(after, message);
        }
        Ok(last)
    }

    async fn append(&self, after: u64, message: &Message) -> Result<u64, Trouble> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut log = self.0.borrow_mut();
        let doubt = || Trouble::Doubt("no acknowledgement".to_owned());
        match log.fault() {
            Fault::None => log.keep(after, message.clone()),
            Fault::Unheard => {
                log.keep(after, message.clone())?;
                Err(doubt())
            }
            Fault::Cut => Err(doubt()),
            Fault::Late => {
                log.late.push((after, message.clone()));
                Err(doubt())
            }
        }
    }
}

#[derive(Default)]
struct Quiet(Vec<String>);

impl Watch for Quiet {
    fn is_over(&mut self, _: &Totals) -> bool {
        false
    }

    fn say(&mut self, sentence: &str) {
        self.0.push(sentence.to_owned());
    }
}

fn options() -> forward::Options {
    forward::Options { message_bytes: 600, ..forward::Options::default() }
}

/// A ring with lines of one and of several parts, losses and ends, all of which are over.
fn full_ring(policy: Policy) -> LineRing {
    let options = Options::new().lines(1024).line_bytes(64).policy(policy);
    let ring = LineRing::new(options).expect("a ring");
    for writer in 0..8 {
        let mut mirror = ring.mirror().expect("a mirror");
        for line in 0..200 {
            let parts = if line % 20 == 0 { 12 } else { 1 };
            let text = format!("writer {writer} line {line} ").repeat(parts);
            mirror.write_line(text.as_bytes()).expect("dropped");
        }
    }
    ring
}

/// What is the same of a record for each reader.
fn key(record: &Record) -> String {
    let text = match &record.what {
        What::Line { bytes, truncated, .. } => {
            format!("line {} {truncated} {}", record.position, String::from_utf8_lossy(bytes))
        }
        What::Lost { lines, .. } => format!("lost {} {lines}", record.number),
        What::Ended { next, .. } => format!("ended {} {next}", record.number),
        What::Damaged => format!("damaged {}", record.position),
        What::Known => unreachable!("it is left out"),
    };
    format!("{:?} {} {text}", record.cell, record.writer_id)
}

#[track_caller]
fn assert_same(found: &[String], expected: &[String], what: String) {
    if let Some(at) =
        (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at))
    {
        let at = at.saturating_sub(1);
        let part = |all: &[String]| all[at.min(all.len())..(at + 4).min(all.len())].join("\n");
        panic!(
            "{what}, at {at} of {}:\n{}\nexpected, of {}:\n{}",
            found.len(),
            part(found),
            expected.len(),
            part(expected)
        );
    }
}

async fn forwarded(ring: &LineRing, engine: &Memory) -> Totals {
    let mut forwarder = Forwarder::new(ring, engine.clone(), options()).expect("the one reader");
    forwarder.run(&mut Quiet::default()).await.expect("all is forwarded")
}

#[tokio::test(start_paused = true)]
async fn whatever_the_engine_does_each_item_is_there_once_and_in_order() {
    for policy in [Policy::DropNewest, Policy::OverwriteOldest] {
        let faultless = Memory::new(0, 0);
        forwarded(&full_ring(policy), &faultless).await;
        let expected: Vec<String> = faultless.records().iter().map(key).collect();
        assert!(expected.len() > 400, "{}", expected.len());
        for seed in 0..40 {
            let engine = Memory::new(seed, 40);
            forwarded(&full_ring(policy), &engine).await;
            let found: Vec<String> = engine.records().iter().map(key).collect();
            assert_same(&found, &expected, format!("seed {seed}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_forwarder_that_is_killed_again_and_again_leaves_nothing_out_and_nothing_twice() {
    let faultless = Memory::new(0, 0);
    forwarded(&full_ring(Policy::DropNewest), &faultless).await;
    let expected: Vec<String> = faultless.records().iter().map(key).collect();
    for seed in 0..40 {
        let (ring, engine) = (full_ring(Policy::DropNewest), Memory::new(seed, 20));
        let mut kills = 0;
        loop {
            let mut forwarder =
                Forwarder::new(&ring, engine.clone(), options()).expect("the one reader");
            let time = Duration::from_millis(1 + engine.0.borrow_mut().random(400));
            let mut watch = Quiet::default();
            match tokio::time::timeout(time, forwarder.run(&mut watch)).await {
                Err(_) => kills += 1,
                Ok(totals) => {
                    totals.expect("all is forwarded");
                    break;
                }
            }
        }
        let found: Vec<String> = engine.records().iter().map(key).collect();
        assert_same(&found, &expected, format!("seed {seed}, {kills} kills"));
    }
}

#[tokio::test(start_paused = true)]
async fn another_programs_message_in_between_ends_it_with_3() {
    let (ring, engine) = (full_ring(Policy::DropNewest), Memory::new(0, 0));
    let other = |ring| {
        let extent = Extent { ring, first: 0, upto: 0, records: 0 };
        Message::new(extent, Encoding::None, Vec::new())
    };
    let pusher = {
        let engine = engine.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                engine.0.borrow_mut().kept.push(other(7));
            }
        }
    };
    let mut forwarder = Forwarder::new(&ring, engine, options()).expect("the one reader");
    let mut watch = Quiet::default();
    let failure = tokio::select! {
        () = pusher => unreachable!("it goes on for ever"),
        totals = forwarder.run(&mut watch) => totals.expect_err("two of them"),
    };
    assert!(matches!(failure.kind, Kind::Another | Kind::Lost), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn acknowledged_positions_that_are_gone_are_told_and_end_it_with_5() {
    let options_of_ring = Options::new().lines(1024);
    let (ring, engine) = (LineRing::new(options_of_ring).expect("a ring"), Memory::new(0, 0));
    let mut mirror = ring.mirror().expect("a mirror");
    let start = ring.reader().expect("a reader").position();
    for round in 0..2 {
        (0..100).for_each(|_| mirror.write_line(b"a line").expect("room"));
        let mut forwarder =
            Forwarder::new(&ring, engine.clone(), options()).expect("the one reader");
        let mut watch = Until { upto: start + 100 * (round + 1) };
        forwarder.run(&mut watch).await.expect("stopped");
    }
    let kept = engine.0.borrow().kept.len();
    let upto = engine.0.borrow().kept[kept / 2 - 1].extent.upto;
    engine.0.borrow_mut().kept.truncate(kept / 2);
    let mut forwarder = Forwarder::new(&ring, engine.clone(), options()).expect("the one reader");
    let failure = forwarder.run(&mut Quiet::default()).await.expect_err("a loss");
    assert_eq!(failure.kind, Kind::Lost, "{failure}");
    let expected = format!("positions {upto} to {}, ", start + 199);
    assert!(failure.to_string().contains(&expected), "{failure}, expected {expected}");
    drop(forwarder);
    drop(mirror);
    let options = forward::Options { accepts_loss: true, ..options() };
    let mut forwarder = Forwarder::new(&ring, engine, options).expect("the one reader");
    forwarder.run(&mut Quiet::default()).await.expect("goes on without them");
}

/// One of several servers: it stood still, and answers for a time as things were then.
struct Behind {
    memory: Memory,
    messages: usize,
    until: Instant,
}

impl Engine for Behind {
    fn staleness(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn fences(&self) -> bool {
        false
    }

    async fn last(&self) -> Result<Option<Last>, Trouble> {
        let last = self.memory.last().await;
        if Instant::now() >= self.until {
            return last;
        }
        let messages = self.messages;
        let message = self.memory.0.borrow().kept[messages - 1].clone();
        Ok(Some(Last { sequence: messages as u64, message: Ok(message) }))
    }

    async fn append(&self, after: u64, message: &Message) -> Result<u64, Trouble> {
        self.memory.append(after, message).await
    }
}

/// A ring of 300 lines, of which 100 were read, and the messages of these and of one more, whose
/// acknowledgement did not come.
async fn half_read() -> (LineRing, Memory) {
    let ring = LineRing::new(Options::new().lines(1024)).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    let upto = ring.position() + 100;
    (0..300).for_each(|_| mirror.write_line(b"a line").expect("room"));
    let engine = Memory::new(0, 0);
    let mut forwarder = Forwarder::new(&ring, engine.clone(), options()).expect("the one reader");
    forwarder.run(&mut Until { upto }).await.expect("stopped");
    drop(forwarder);
    (engine.0.borrow_mut().faults, engine.0.borrow_mut().only) = (100, Some(Fault::Unheard));
    let away = forward::Options { away: Some(Duration::ZERO), ..options() };
    let mut forwarder = Forwarder::new(&ring, engine.clone(), away).expect("the one reader");
    let kept = engine.0.borrow().kept.len();
    while engine.0.borrow().kept.len() == kept {
        forwarder.run(&mut Quiet::default()).await.expect_err("in doubt");
    }
    engine.0.borrow_mut().faults = 0;
    (ring, engine)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_with_an_older_message_is_asked_again() {
    for behind in [1, 2] {
        let (ring, memory) = half_read().await;
        let kept = memory.0.borrow().kept.len();
        let until = Instant::now() + Duration::from_secs(5);
        let engine = Behind { memory: memory.clone(), messages: kept - behind, until };
        let mut forwarder = Forwarder::new(&ring, engine, options()).expect("the one reader");
        let totals = forwarder.run(&mut Quiet::default()).await;
        totals.unwrap_or_else(|failure| panic!("{behind} behind: {failure}"));
        assert_eq!(memory.records().len(), 301, "the lines, and the end");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_message_for_longer_than_a_server_can_be_behind_is_a_loss() {
    let (ring, memory) = half_read().await;
    let messages = memory.0.borrow().kept.len() - 2;
    let until = Instant::now() + Duration::from_secs(3600);
    let engine = Behind { memory, messages, until };
    let mut forwarder = Forwarder::new(&ring, engine, options()).expect("the one reader");
    let failure = forwarder.run(&mut Quiet::default()).await.expect_err("a loss");
    assert_eq!(failure.kind, Kind::Lost, "{failure}");
}

/// Stops once the engine has everything before a position.
struct Until {
    upto: u64,
}

impl Watch for Until {
    fn is_over(&mut self, totals: &Totals) -> bool {
        totals.upto >= self.upto
    }

    fn say(&mut self, _: &str) {}
}

#[tokio::test(start_paused = true)]
async fn lines_that_were_overwritten_while_no_forwarder_ran_are_losses_of_the_ring_not_the_engines()
{
    let options_of_ring = Options::new().lines(256).policy(Policy::OverwriteOldest);
    let (ring, engine) = (LineRing::new(options_of_ring).expect("a ring"), Memory::new(0, 0));
    let mut mirror = ring.mirror().expect("a mirror");
    let start = ring.reader().expect("a reader").position();
    (0..100).for_each(|_| mirror.write_line(b"a line").expect("room"));
    let mut forwarder = Forwarder::new(&ring, engine.clone(), options()).expect("the one reader");
    forwarder.run(&mut Until { upto: start + 100 }).await.expect("stopped");
    drop(forwarder);
    (0..1000).for_each(|_| mirror.write_line(b"a line").expect("room"));
    drop(mirror);
    forwarded(&ring, &engine).await;
    let mut count = 0;
    let mut positions = HashSet::new();
    for record in engine.records() {
        count += match record.what {
            What::Line { .. } => u64::from(positions.insert(record.position)),
            What::Lost { lines, .. } => lines,
            _ => 0,
        };
    }
    assert_eq!(count, 1100);
}
