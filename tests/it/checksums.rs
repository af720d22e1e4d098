//! Checksums: whatever was changed in a ring, torn by a copy or by a loss of power, no line comes
//! out unflagged that is not one that was written, at its position.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use linering::{Item, Line, LineBuffer, LineRing, Observer, Options, Policy, Reader};

use crate::common::{RING_SEALS, below_overflow, bytes_of, memory};

const POLICIES: [Policy; 3] = [Policy::Block, Policy::DropNewest, Policy::OverwriteOldest];

/// Well mixed numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// What is where in a ring: docs/format.md.
struct Places {
    slot_bytes: usize,
    slots: usize,
}

impl Places {
    fn of(bytes: &[u8]) -> Self {
        let number =
            |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
        let cells = (768 + number(32) * 64).next_multiple_of(128);
        let slots = (cells + number(28) * 256 + (8 << number(24))).next_multiple_of(128);
        Self { slot_bytes: number(20), slots }
    }

    /// Where the slots are of which the payload begins like this.
    fn slots_with(&self, bytes: &[u8], text: &[u8]) -> Vec<usize> {
        let starts = (self.slots..bytes.len()).step_by(self.slot_bytes);
        starts.filter(|start| bytes[start + 40..].starts_with(text)).collect()
    }
}

fn is_flagged(line: &Line<'_>) -> bool {
    line.damaged || line.truncated || line.unfinished || line.unacknowledged
}

/// Everything that is there now.
fn drained(reader: &mut Reader) -> Vec<Item<'static>> {
    let mut items = Vec::new();
    while let Some(item) = reader.try_recv().expect("ours") {
        items.push(item.into_owned());
    }
    items
}

/// Everything until each end was told.
fn drained_to_the_end(reader: &mut Reader) -> Vec<Item<'static>> {
    let began = Instant::now();
    let mut items = Vec::new();
    while !reader.is_over() && began.elapsed() < Duration::from_secs(20) {
        items.extend(drained(reader));
    }
    items
}

/// Lines by their position, each that was ever written.
type Written = HashMap<u64, Vec<u8>>;

/// Each line that says nothing else was written so, there.
#[track_caller]
fn assert_written(what: &dyn std::fmt::Display, items: &[Item<'_>], written: &Written) -> usize {
    let mut unflagged = 0;
    for line in items.iter().filter_map(Item::line).filter(|line| !is_flagged(line)) {
        let expected = written.get(&line.position);
        assert_eq!(expected.map(|bytes| &**bytes), Some(&*line.bytes), "{what}: {line:?}");
        unflagged += 1;
    }
    unflagged
}

/// Something says that not all is well.
fn is_seen(items: &[Item<'_>]) -> bool {
    items.iter().any(|item| match item {
        Item::Line(line) => line.damaged,
        Item::Damaged { .. } => true,
        _ => false,
    })
}

// ----------------------------------------------------------------------------------------- options

#[test]
fn rings_in_files_have_checksums_and_others_have_not_unless_they_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = format!("linering-checksums-{}", std::process::id());
    let path = |number: u32| folder.path().join(number.to_string());
    for (number, (asked, expected)) in
        [(None, [false, false, true]), (Some(true), [true; 3]), (Some(false), [false; 3])]
            .into_iter()
            .zip(0..)
            .map(|(a, b)| (b, a))
    {
        let options = || Options::new().lines(8).checksums(asked);
        let rings = [
            LineRing::new(options()).expect("a ring"),
            LineRing::create_named(&name, options()).expect("a ring"),
            LineRing::create_file(path(number), options()).expect("a ring"),
        ];
        assert_eq!(rings.each_ref().map(LineRing::has_checksums), expected, "{asked:?}");
        let observer = Observer::open_file(path(number)).expect("a ring");
        assert_eq!(observer.has_checksums(), expected[2]);
        let attached = LineRing::open_file(path(number)).expect("a ring");
        assert_eq!(attached.has_checksums(), expected[2]);
    }
}

#[test]
fn a_slot_has_eight_bytes_less_for_a_line() {
    for (line_bytes, checksums, fits) in
        [(64, false, 32), (64, true, 24), (256, false, 224), (256, true, 216)]
    {
        let options = Options::new().lines(16).line_bytes(line_bytes).checksums(checksums);
        let ring = LineRing::new(options).expect("a ring");
        assert_eq!(ring.max_line(), 16 * fits / 8);
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_line(&vec![b'x'; fits]).expect("room");
        mirror.write_line(&vec![b'y'; fits + 1]).expect("room");
        let mut reader = ring.reader().expect("the ring has no reader");
        let lines = drained(&mut reader);
        let positions: Vec<_> =
            lines.iter().filter_map(Item::line).map(|line| line.position).collect();
        assert_eq!(positions, [0, 2], "the first takes one position, the second two");
    }
}

// ---------------------------------------------------------------------------- lines that are sound

/// All ways in which a line comes about.
fn write_some_of_all(ring: &LineRing, label: &str) {
    let mut mirror = ring.mirror_labelled(label).expect("a mirror");
    mirror.write_line(b"").expect("room");
    for length in [1, 7, 8, 23, 24, 25, 31, 32, 40, 100, 150] {
        mirror.write_line(&vec![b'a' + (length % 26) as u8; length]).expect("room");
        mirror.write_all(&vec![b'A'; length / 3]).expect("room");
        mirror.write_all(&vec![b'B'; length - length / 3]).expect("room");
        mirror.write_all(b"\nnext").expect("room");
        mirror.finish_line().expect("room");
    }
    mirror.write_packed(b"1\n2\n3\n").expect("room");
    mirror.write_all(b"begun and published").expect("room");
    mirror.flush_partial().expect("room");
    let mut group = mirror.group().expect("room");
    group.line(b"one of a group").and_then(|()| group.line(b"two")).expect("room");
    group.end().expect("room");
    mirror.send_warning("a warning of\ntwo lines").expect("room");
    mirror.write_line(&[b'c'; 9000]).expect("cut");
    mirror.send_panic(&"the end, which does not fit in one of the small slots").expect("room");
}

#[test]
fn what_writers_write_agrees_for_readers_and_observers() {
    for policy in POLICIES {
        for line_bytes in [64, 128, 256, 4096] {
            let options =
                Options::new().lines(512).line_bytes(line_bytes).max_line(2000).policy(policy);
            let options = options.checksums(true).start_position(below_overflow(512));
            let ring = LineRing::new(options).expect("a ring");
            write_some_of_all(&ring, "some");
            let observer = Observer::attach(ring.descriptor().expect("open")).expect("a ring");
            let seen = observer.snapshot().expect("the file stays whole");
            let mut reader = ring.reader().expect("the ring has no reader");
            let read = drained_to_the_end(&mut reader);
            assert!(!is_seen(&seen) && !is_seen(&read), "{policy:?}, {line_bytes}: {seen:?}");
            let lines = |items: &[Item<'static>]| {
                items.iter().filter_map(Item::line).cloned().collect::<Vec<_>>()
            };
            assert_eq!(lines(&seen), lines(&read));
            assert_eq!(
                lines(&observer.snapshot().expect("the file stays whole")),
                lines(&read),
                "also once they are taken"
            );
            let without =
                LineRing::new(Options::new().lines(512).line_bytes(line_bytes).max_line(2000))
                    .expect("a ring");
            write_some_of_all(&without, "some");
            let text = |line: Line<'static>| {
                (line.bytes, line.truncated, line.unfinished, line.kind, line.missing)
            };
            let expected =
                drained_to_the_end(&mut without.reader().expect("the ring has no reader"));
            let texts =
                |items: &[Item<'static>]| lines(items).into_iter().map(text).collect::<Vec<_>>();
            assert_eq!(texts(&read), texts(&expected), "as without checksums");
        }
    }
}

#[test]
fn threads_of_a_buffer_that_rewrite_and_forget_lines_agree() {
    let options = Options::new().checksums(true).lines(64).line_bytes(64);
    let buffer = LineBuffer::with_options(20, options).expect("a buffer");
    let long = "x".repeat(100);
    for number in 0..50 {
        write!(&buffer, "{long}\r{number}%").expect("it overwrites");
        if number % 7 == 3 {
            buffer.clear().expect("ours");
        }
        writeln!(&buffer, " done {number}").expect("it overwrites");
    }
    let lines = buffer.read(None).expect("ours");
    assert!(lines.len() > 1 && lines.iter().all(|line| !is_flagged(line)), "{lines:?}");
    assert_eq!(lines.last().expect("some").to_string(), "49% done 49");
}

// ------------------------------------------------------------------------------------ flipped bits

/// A short line, one of three parts and another short one of each of two mirrors; of some, a few
/// are taken.
fn sample(policy: Policy, line_bytes: usize, taken: usize) -> (LineRing, Written) {
    let options = Options::new()
        .lines(16)
        .line_bytes(line_bytes)
        .max_line(line_bytes * 3)
        .mirrors(3)
        .seats(4);
    let options = options.policy(policy).checksums(true).start_position(below_overflow(16));
    let ring = LineRing::new(options.timestamps(linering::Timestamps::Coarse)).expect("a ring");
    let mut written = Written::new();
    {
        let mut mirrors =
            [0, 1].map(|number| ring.mirror_labelled(&format!("{number}")).expect("a mirror"));
        let long = vec![b'L'; 2 * (line_bytes - 40) + 9];
        for text in [b"a short one", &*long, b"after it"] {
            for mirror in &mut mirrors {
                mirror.write_line(text).expect("room");
            }
        }
        let mut reader = copy(&bytes_of(&ring)).reader().expect("no process lives there");
        for line in drained(&mut reader).iter().filter_map(Item::line) {
            written.insert(line.position, line.bytes.to_vec());
        }
        assert_eq!(written.len(), 6);
        let mut reader = ring.reader().expect("the ring has no reader");
        for _ in 0..taken {
            reader.try_recv().expect("ours").expect("a line");
        }
        reader.commit().expect("ours");
    }
    (ring, written)
}

fn copy(bytes: &[u8]) -> LineRing {
    LineRing::attach(memory(bytes, RING_SEALS)).expect("the bytes of a ring")
}

#[test]
fn each_flipped_bit_of_a_short_and_of_a_long_line_shows() {
    for (policy, line_bytes, taken) in [
        (Policy::Block, 64, 0),
        (Policy::DropNewest, 64, 2),
        (Policy::OverwriteOldest, 64, 0),
        (Policy::OverwriteOldest, 128, 6),
    ] {
        let (ring, written) = sample(policy, line_bytes, taken);
        let bytes = bytes_of(&ring);
        let places = Places::of(&bytes);
        let mut slots: Vec<_> =
            [&b"a short one"[..], b"LLL"].map(|text| places.slots_with(&bytes, text)).concat();
        // Both of the short ones, and the three parts of a long one.
        slots.dedup();
        assert_eq!(slots.len(), 2 + 6);
        let (mut unflagged, mut looks) = (0, 0);
        let file = memory(&bytes, RING_SEALS);
        for slot in slots {
            let length = usize::from(u16::from_ne_bytes([bytes[slot + 27], bytes[slot + 28]]));
            for bit in 0..8 * line_bytes {
                let at = slot + bit / 8;
                file.write_all_at(&bytes, 0).expect("memory");
                file.write_all_at(&[bytes[at] ^ 1 << (bit % 8)], at as u64).expect("memory");
                let what = format!("{policy:?}, bit {bit} of the slot at {slot}");
                let seen = Observer::attach(&file)
                    .expect("a ring")
                    .snapshot()
                    .expect("the file stays whole");
                let mut reader = LineRing::attach(&file)
                    .expect("a ring")
                    .reader()
                    .expect("the ring has no reader");
                let read = drained_to_the_end(&mut reader);
                unflagged +=
                    assert_written(&what, &seen, &written) + assert_written(&what, &read, &written);
                let is_covered = bit / 8 < 40 + length;
                assert_eq!(is_seen(&seen), is_covered, "{what}: {seen:?}");
                if taken == 0 {
                    assert_eq!(is_seen(&read), is_covered, "{what}: {read:?}");
                    // What is damaged ends no mirror, and loses no more than itself.
                    let ends = read.iter().filter(|item| matches!(item, Item::Ended(_))).count();
                    let lost: u64 = read
                        .iter()
                        .map(|item| if let Item::Lost(lost) = item { lost.lines } else { 0 })
                        .sum();
                    assert!(ends == 2 && lost <= 1, "{what}: {read:?}");
                    let lines =
                        read.iter().filter_map(Item::line).filter(|line| !is_flagged(line)).count();
                    assert!(lines >= 5, "{what}: {read:?}");
                }
                looks += 1;
            }
        }
        assert!(unflagged > 5 * looks, "the other lines come as they are");
    }
}

#[test]
fn a_damaged_line_among_many_of_a_living_mirror_shows() {
    let ring =
        LineRing::new(Options::new().lines(64).line_bytes(64).checksums(true)).expect("a ring");
    let file =
        File::from(ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor"));
    let mut mirror = ring.mirror().expect("a mirror");
    let mut reader = ring.reader().expect("the ring has no reader");
    for round in 0..5 {
        for number in 0..40 {
            mirror.write_line(format!("line {round} {number}").as_bytes()).expect("room");
        }
        let bytes = bytes_of(&ring);
        let slot = Places::of(&bytes).slots_with(&bytes, format!("line {round} 20").as_bytes())[0];
        file.write_all_at(b"L", slot as u64 + 40).expect("memory");
        let items = drained(&mut reader);
        for (number, item) in items.iter().enumerate() {
            let line = item.line().expect("lines alone");
            let first = if number == 20 { 'L' } else { 'l' };
            assert_eq!(
                (line.to_string(), line.damaged),
                (format!("{first}ine {round} {number}"), number == 20)
            );
        }
        assert_eq!(items.len(), 40);
    }
}

#[test]
fn a_damaged_line_of_a_mirror_counts_as_its_next_one() {
    let (ring, _) = sample(Policy::Block, 64, 0);
    let mut bytes = bytes_of(&ring);
    let places = Places::of(&bytes);
    for slot in places.slots_with(&bytes, b"after it") {
        bytes[slot + 41] ^= 0x20;
    }
    // A first part: a last one would be taken for the end of its line only once the next line has
    // come.
    let firsts =
        places.slots_with(&bytes, b"LLL").into_iter().filter(|slot| bytes[slot + 24] & 1 == 1);
    let first = firsts.collect::<Vec<_>>()[0];
    bytes[first + 41] ^= 0x20;
    let items = drained_to_the_end(&mut copy(&bytes).reader().expect("the ring has no reader"));
    let damaged = items.iter().filter_map(Item::line).filter(|line| line.damaged).count();
    assert_eq!((damaged, items.iter().filter_map(Item::line).count()), (3, 6), "{items:?}");
    for item in &items {
        match item {
            Item::Ended(ended) => assert_eq!((ended.lines, ended.lost), (3, 0)),
            Item::Line(line) if line.damaged => {
                let text = line.to_string();
                assert!(
                    text == "aFter it" || text.starts_with("LlL") && text.len() == 57,
                    "{text}"
                );
                assert!(!line.truncated);
            }
            item => assert!(item.line().is_some(), "{item:?}"),
        }
    }
}

#[test]
fn a_line_that_names_a_mirror_it_may_not_be_of_moves_no_count() {
    // Its line number is another: the mirror's next line says that one is missing.
    let (ring, written) = sample(Policy::Block, 64, 0);
    let mut bytes = bytes_of(&ring);
    let slot = Places::of(&bytes).slots_with(&bytes, b"a short one")[0];
    bytes[slot + 16 + 5] ^= 0x40;
    let items = drained_to_the_end(&mut copy(&bytes).reader().expect("the ring has no reader"));
    assert_written(&"another number", &items, &written);
    let damaged: Vec<_> = items.iter().filter_map(Item::line).filter(|line| line.damaged).collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].to_string(), "a short one");
    let lost = |item: &&Item<'_>| matches!(item, Item::Lost(lost) if lost.lines == 1);
    assert_eq!(items.iter().filter(lost).count(), 1, "{items:?}");
    let ends = items.iter().filter_map(|item| {
        if let Item::Ended(ended) = item { Some((ended.lines, ended.lost)) } else { None }
    });
    let mut ends = ends.collect::<Vec<_>>();
    ends.sort_unstable();
    assert_eq!(ends, [(2, 1), (3, 0)]);
}

#[test]
fn an_error_that_was_kept_is_verified_too() {
    for damage in [false, true] {
        let options = Options::new()
            .lines(4)
            .line_bytes(64)
            .mirrors(3)
            .policy(Policy::OverwriteOldest)
            .checksums(true);
        let ring = LineRing::new(options).expect("a ring");
        let mut failing = ring.mirror_labelled("failing").expect("a mirror");
        failing.send_panic(&"no good").expect("it overwrites");
        let mut other = ring.mirror().expect("a mirror");
        for _ in 0..8 {
            other.write_line(b"over it").expect("it overwrites");
        }
        other.send_eof().expect("it overwrites");
        let mut bytes = bytes_of(&ring);
        let places = Places::of(&bytes);
        let slots = places.slots_with(&bytes, b"panic: no good");
        assert_eq!(slots.len(), 1, "the line itself is overwritten");
        if damage {
            bytes[slots[0] + 44] ^= 1;
        }
        let items = drained_to_the_end(&mut copy(&bytes).reader().expect("the ring has no reader"));
        let lines: Vec<_> =
            items.iter().filter_map(Item::line).filter(|line| line.label == "failing").collect();
        assert_eq!(lines.len(), 1, "{items:?}");
        assert_eq!((lines[0].damaged, lines[0].truncated), (damage, false));
    }
}

// ------------------------------------------------------------------------------------- torn copies

/// A line that says which one it is, all over.
fn content(writer: usize, number: usize) -> Vec<u8> {
    let word = format!("{writer}:{number}/");
    let length = word.len() + (number * 7919 + writer) % 150;
    word.bytes().cycle().take(length).collect()
}

fn is_content(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).ok();
    let word =
        text.and_then(|text| text.split_once('/')).and_then(|(word, _)| word.split_once(':'));
    let number = |text: &str| text.parse().ok();
    word.and_then(|(writer, line)| Some(content(number(writer)?, number(line)?)))
        .is_some_and(|line| line == bytes)
}

/// Copies a file as `cp` does, in small blocks, while others write.
fn copy_in_blocks(file: &File, to: &Path, block: usize) {
    let bytes = file.metadata().expect("a file").len() as usize;
    let mut image = vec![0; bytes];
    for (index, part) in image.chunks_mut(block).enumerate() {
        file.read_exact_at(part, (index * block) as u64).expect("so many bytes");
    }
    std::fs::write(to, image).expect("a file");
}

#[test]
fn a_copy_of_a_living_ring_has_no_torn_line_that_does_not_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut totals = [0_usize; 3];
    for policy in POLICIES {
        let path = folder.path().join(format!("{policy:?}"));
        let options = Options::new().lines(256).line_bytes(128).policy(policy).mirrors(4).seats(8);
        let ring = LineRing::create_file(&path, options.block_limit(Duration::from_secs(60)))
            .expect("a ring");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..2 {
                let (ring, over) = (&ring, &over);
                scope.spawn(move || {
                    let mut mirror = ring.mirror_labelled(&format!("{writer}")).expect("a mirror");
                    for number in 0.. {
                        if over.load(Relaxed) {
                            break;
                        }
                        let _ = mirror.write_line(&content(writer, number));
                    }
                });
            }
            let reads = scope.spawn(|| {
                let mut reader = ring.reader().expect("the ring has no reader");
                while let Ok(Some(item)) = reader.recv() {
                    // Of the living ring nothing is ever damaged.
                    assert!(!matches!(item, Item::Damaged { .. }), "{item:?}");
                    if let Item::Line(line) = item {
                        assert!(
                            !line.damaged && (line.truncated || is_content(&line.bytes)),
                            "{line:?}"
                        );
                    }
                }
            });
            let file = File::open(&path).expect("it is there");
            let living = Observer::open_file(&path).expect("a ring");
            for round in 0..60 {
                let to = folder.path().join("copy");
                copy_in_blocks(&file, &to, [512, 4096, 100][round % 3]);
                let seen = Observer::open_file(&to)
                    .expect("a ring")
                    .snapshot()
                    .expect("the file stays whole");
                let copied = LineRing::open_file(&to).expect("a ring");
                let read = drained(&mut copied.reader().expect("the ring has no reader"));
                for line in seen.iter().chain(&read).filter_map(Item::line) {
                    totals[0] += 1;
                    totals[1] += usize::from(line.damaged);
                    let is_written = is_flagged(line) || is_content(&line.bytes);
                    totals[2] += usize::from(!is_written);
                    assert!(is_written, "{policy:?}: {line:?}");
                }
                let seen = living.snapshot().expect("the file stays whole");
                assert!(!is_seen(&seen), "{policy:?}: nothing is damaged in the living one");
            }
            over.store(true, Relaxed);
            reads.join().expect("it reads");
        });
    }
    println!("{} lines of copies, {} damaged, {} wrong", totals[0], totals[1], totals[2]);
    assert!(totals[0] > 1000);
}

// -------------------------------------------------------------------------------------- power loss

const PAGE: usize = 4096;

/// Snapshots of a ring while lines are written and read, and all of its lines by their positions.
fn history(policy: Policy, line_bytes: usize, seed: u64) -> (Vec<Vec<u8>>, Written) {
    let options = Options::new()
        .lines(64)
        .line_bytes(line_bytes)
        .max_line(400)
        .mirrors(5)
        .seats(8)
        .policy(policy);
    let ring =
        LineRing::new(options.checksums(true).start_position(below_overflow(64))).expect("a ring");
    let mut random = Random(seed | 1);
    let mut reader = ring.reader().expect("the ring has no reader");
    let mut mirrors: Vec<_> = (0..3).map(|_| ring.mirror().expect("a mirror")).collect();
    let (mut written, mut snapshots) = (Written::new(), Vec::new());
    let mut numbers = [0; 3];
    let file =
        File::from(ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor"));
    // Where the next line will stand, and the next to be read.
    let word = |at: u64| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at).expect("a word");
        u64::from_ne_bytes(word)
    };
    for _ in 0..30 {
        for _ in 0..random.below(40) {
            let which = random.below(3);
            numbers[which] += 1;
            let line = content(which, numbers[which]);
            if random.below(4) == 0 {
                let (first, second) = line.split_at(line.len() / 2);
                mirrors[which].write_all(first).expect("room");
                mirrors[which].write_all(second).expect("room");
                mirrors[which].write_all(b"\n").expect("room");
            } else {
                mirrors[which].write_line(&line).expect("room");
            }
            // The hint is right while only one thread writes.
            written.insert(word(128) - 1, line);
            // A line of parts takes several positions: there is room all the time.
            while word(128) - word(256) > 30 {
                reader.try_recv().expect("ours").expect("a line");
            }
        }
        for _ in 0..random.below(20) {
            let _ = reader.try_recv().expect("ours");
        }
        if random.below(3) == 0 {
            reader.commit().expect("ours");
        }
        if random.below(10) == 0 {
            mirrors[0] = ring.mirror().expect("a mirror");
        }
        if random.below(5) == 0 {
            mirrors[1].write_all(b"unfinished").expect("room");
            snapshots.push(bytes_of(&ring));
            mirrors[1].discard_partial().expect("ours");
        }
        snapshots.push(bytes_of(&ring));
    }
    (snapshots, written)
}

#[test]
fn pages_of_different_times_give_no_line_that_was_not_written() {
    let (mut sound, mut damaged) = (0, 0);
    for policy in POLICIES {
        for line_bytes in [64, 192, 256] {
            let (snapshots, written) = history(policy, line_bytes, line_bytes as u64 * 77);
            assert!(written.values().all(|line| is_content(line)));
            for seed in 0..200 {
                let mut random = Random(seed * 2 + 1);
                let newest = 1 + random.below(snapshots.len() - 1);
                let mut image = snapshots[newest].clone();
                for start in (PAGE..image.len()).step_by(PAGE).chain([0]) {
                    let end = (start + PAGE).min(image.len());
                    match random.below(4) {
                        0 => {
                            let older = &snapshots[newest - 1 - random.below(newest.min(4))];
                            image[start..end].copy_from_slice(&older[start..end]);
                        }
                        // Never written at all; but without its first page it is no ring.
                        1 if start > 0 && random.below(4) == 0 => image[start..end].fill(0),
                        _ => {}
                    }
                }
                let what = format!("{policy:?}, slots of {line_bytes} bytes, seed {seed}");
                let file = memory(&image, RING_SEALS);
                let seen = Observer::attach(&file)
                    .expect("a ring")
                    .snapshot()
                    .expect("the file stays whole");
                sound += assert_written(&what, &seen, &written);
                let ring = LineRing::attach(&file).expect("a ring");
                let mut reader = ring.reader().expect("the ring has no reader");
                let mut read = drained(&mut reader);
                // Others go on in it.
                let mut late = ring.mirror_labelled("late");
                if let Ok(late) = &mut late {
                    for _ in 0..70 {
                        let _ = late.write_line(b"late");
                        read.extend(drained(&mut reader));
                    }
                }
                read.retain(|item| item.line().is_none_or(|line| line.to_string() != "late"));
                sound += assert_written(&what, &read, &written);
                damaged += seen
                    .iter()
                    .chain(&read)
                    .filter_map(Item::line)
                    .filter(|line| line.damaged)
                    .count();
            }
        }
    }
    println!("{sound} sound lines, {damaged} damaged ones");
    assert!(sound > 10_000 && damaged > 0);
}
