//! Batches of any size, that grow while others are on their way: each line is accepted once, in
//! order, whole, whatever is committed when and whichever reader has it.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use linering::{Item, LineProcMirror, LineRing, Observer, Options, Policy};
use proptest::prelude::*;

use crate::common::{ring, small};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The mirror of this index writes a part of a line of so many bytes, or ends it.
    Write(usize, usize, bool),
    /// The mirror ends, and another takes its place.
    End(usize),
    More,
    /// So many of a hundred parts of the batch are accepted.
    Commit(usize),
    /// Another reader takes over.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3_usize, 1..70_usize, prop::bool::weighted(0.6)).prop_map(|(mirror, bytes, ends)| Step::Write(mirror, bytes, ends)),
        1 => (0..3_usize).prop_map(Step::End),
        4 => Just(Step::More),
        3 => (0..=100_usize).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..300)
}

/// What was written, and what was accepted.
#[derive(Default)]
struct Account {
    written: Vec<String>,
    begun: [String; 3],
    /// The positions before which they began.
    began: [u64; 3],
    accepted: Vec<(u64, String)>,
    /// Keys of ends.
    ends: HashSet<(u16, u64)>,
    ended: usize,
}

impl Account {
    fn end_line(&mut self, index: usize, mirror: &mut LineProcMirror) {
        let begun = std::mem::take(&mut self.begun[index]);
        if !begun.is_empty() {
            mirror.write_all(b"\n").expect("room");
            self.written.push(begun);
        }
    }

    fn accept(&mut self, item: &Item<'_>) -> Result<(), TestCaseError> {
        match item {
            Item::Line(line) => {
                prop_assert!(!line.truncated, "{line:?}");
                if let Some((last, _)) = self.accepted.last() {
                    prop_assert!(line.position.wrapping_sub(*last) as i64 > 0, "once, in order");
                }
                self.accepted.push((line.position, line.to_string()));
            }
            Item::Ended(end) => {
                let key = (end.cell.unwrap(), end.first);
                prop_assert!(self.ends.insert(key), "an end comes once: {end:?}");
            }
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    }
}

fn run(lines: usize, policy: Policy, size: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let options = small(lines, policy).max_line(8 * 32).block_limit(Duration::from_millis(1));
    let ring = ring(options.seats(400));
    let observer = Observer::attach(ring.descriptor().expect("open")).expect("a ring");
    let open = || ring.mirror().expect("a mirror");
    let mut mirrors: [LineProcMirror; 3] = [open(), open(), open()];
    let mut reader = ring.reader().expect("the first");
    reader.set_batch_size(size);
    let mut account = Account::default();
    for step in steps {
        match *step {
            Step::Write(index, bytes, ends) => {
                // No writer waits: what is not accepted has room, and a begun line's parts.
                let (next, unread) = far(&observer);
                if unread + 8 > lines / 2 {
                    continue;
                }
                // Only lines that need no more than half of the ring.
                for (old, mirror) in mirrors.iter_mut().enumerate() {
                    if next - account.began[old] + 16 > lines as u64 / 2 {
                        account.end_line(old, mirror);
                    }
                }
                if account.begun[index].is_empty() {
                    account.began[index] = next;
                }
                let byte = b'a' + (account.written.len() % 26) as u8;
                let begun = &mut account.begun[index];
                let bytes = bytes.min(7 * 32 - begun.len().min(7 * 32));
                begun.extend(std::iter::repeat_n(char::from(byte), bytes));
                mirrors[index].write_all(&vec![byte; bytes]).expect("room");
                if ends {
                    account.end_line(index, &mut mirrors[index]);
                }
            }
            Step::End(index) if account.begun[index].is_empty() && account.ended < 300 => {
                mirrors[index] = open();
                account.ended += 1;
            }
            Step::End(_) => {}
            Step::More => {
                let before = reader.batch_timeout(Duration::ZERO).expect("ours").len();
                let came = reader.more().expect("ours");
                let batch = reader.batch_timeout(Duration::ZERO).expect("ours");
                prop_assert!(came == (batch.len() > before) || before == 0);
            }
            Step::Commit(part) => {
                let batch = reader.batch_timeout(Duration::ZERO).expect("ours");
                let count = batch.len() * part / 100;
                for item in batch.iter().take(count) {
                    account.accept(&item)?;
                }
                let upto = batch.upto_of(count);
                let last = account.accepted.last().map(|(position, _)| *position);
                prop_assert!(last.is_none_or(|last| upto.wrapping_sub(last) as i64 > 0));
                batch.commit_first(count);
                prop_assert_eq!(reader.position(), upto);
            }
            Step::Reopen => {
                let position = reader.position();
                drop(reader);
                reader = ring.reader().expect("the one before has gone");
                reader.set_batch_size(size);
                // Without parts that came alone.
                let (now, last) = (reader.position(), account.accepted.last());
                prop_assert!(position.wrapping_sub(now) as i64 >= 0);
                prop_assert!(last.is_none_or(|(last, _)| now.wrapping_sub(*last) as i64 > 0));
            }
        }
    }
    for (index, mirror) in mirrors.iter_mut().enumerate() {
        account.end_line(index, mirror);
    }
    drop(mirrors);
    account.ended += 3;
    loop {
        let batch = reader.batch_timeout(Duration::from_secs(10)).expect("ours");
        if batch.is_empty() {
            break;
        }
        for item in batch.iter() {
            account.accept(&item)?;
        }
        batch.commit();
    }
    prop_assert!(reader.is_over());
    let accepted: Vec<_> = account.accepted.iter().map(|(_, text)| text).collect();
    let written: Vec<_> = account.written.iter().collect();
    prop_assert_eq!(accepted, written);
    prop_assert_eq!(account.ends.len(), account.ended);
    Ok(())
}

/// The next position, and how many before it are not accepted.
fn far(observer: &Observer) -> (u64, usize) {
    let statistics = observer.statistics().expect("it is not cut");
    (statistics.next, statistics.unread() as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_accepted_once_in_order_and_whole(
        lines in prop::sample::select(vec![64_usize, 128]),
        size in prop::sample::select(vec![1_usize, 2, 7, 64, 500]),
        steps in steps(),
    ) {
        run(lines, Policy::Block, size, &steps)?;
    }
}

#[test]
fn a_batch_grows_to_its_size_and_no_further() {
    let ring = LineRing::new(Options::new().lines(1024)).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    (0..1000).for_each(|number| mirror.write_line(format!("{number}").as_bytes()).expect("room"));
    let mut reader = ring.reader().expect("the first");
    reader.set_batch_size(300);
    assert_eq!(reader.batch().expect("ours").len(), 256, "a quarter of the ring");
    assert!(reader.more().expect("ours"));
    assert_eq!(reader.batch().expect("ours").len(), 300);
    assert!(!reader.more().expect("ours"), "it has its size");
    for number in [100, 100, 99] {
        reader.batch().expect("ours").commit_first(number);
        assert!(reader.more().expect("ours"));
        assert_eq!(reader.batch().expect("ours").len(), 300);
    }
    let batch = reader.batch().expect("ours");
    let texts: Vec<_> = batch.iter().map(|item| item.to_string()).collect();
    assert_eq!(texts, (299..599).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// All of the ring is queued, and none of it is taken for something of another lap.
#[test]
fn a_batch_may_have_all_of_a_ring() {
    for lines in [2, 4, 16] {
        let ring = ring(small(lines, Policy::DropNewest));
        let mut mirror = ring.mirror().expect("a mirror");
        let mut reader = ring.reader().expect("the first");
        reader.set_batch_size(1000);
        for lap in 0..4 {
            (0..lines + 1).for_each(|_| mirror.write_line(b"line").expect("dropped, if need be"));
            reader.batch().expect("ours").commit_first(usize::from(lap > 0));
            while reader.more().expect("ours") {}
            let batch = reader.batch().expect("ours");
            let count = batch.iter().filter(|item| item.line().is_some()).count();
            assert_eq!(count, lines, "{lines} lines, lap {lap}");
            batch.commit();
        }
    }
}

/// Parts take no room of the batch's.
#[test]
fn a_batch_with_a_long_line_may_have_all_of_a_ring() {
    let ring = ring(small(16, Policy::DropNewest).max_line(8 * 32));
    let mut mirror = ring.mirror().expect("a mirror");
    let mut reader = ring.reader().expect("the first");
    reader.set_batch_size(16);
    mirror.write_line(&[b'a'; 8 * 32]).expect("room");
    (0..8).for_each(|_| mirror.write_line(b"line").expect("room"));
    reader.batch().expect("ours").commit_first(0);
    while reader.more().expect("ours") {}
    let batch = reader.batch().expect("ours");
    let lengths: Vec<_> =
        batch.iter().map(|item| item.line().map(|line| line.bytes.len())).collect();
    assert_eq!(lengths, [Some(256)].into_iter().chain([Some(4); 8]).collect::<Vec<_>>());
}
