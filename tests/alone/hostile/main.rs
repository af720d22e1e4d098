//! Whatever bytes are in a segment, and whatever changes them meanwhile: no process that uses it
//! crashes or hangs, and what was skipped is reported (P8).
//!
//! Alone in its process: strings of seats name any descriptor of the process, which would be other
//! tests', and files that are cut while they are mapped need a handler for a signal.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use linering::{Item, LineRing, Observer, Options, Policy, Seat, WakeUp};

mod body;

/// Well mixed numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}

/// Says which input it was, should it panic.
struct Named<'n>(&'n str, &'n [u8]);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input is {}: {:02x?}", self.0, self.1);
        }
    }
}

fn run(name: &str, input: &[u8]) {
    let _named = Named(name, input);
    body::run(input);
}

#[test]
fn what_the_fuzzer_has_found_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/corpus/hostile");
    let found =
        fs::read_dir(&folder).map(|entries| entries.map(|entry| entry.expect("a folder").path()));
    let mut files: Vec<_> = found.into_iter().flatten().collect();
    files.sort();
    assert!(
        !files.is_empty(),
        "there is no corpus in {}: docs/fuzzing.md says how to make one",
        folder.display()
    );
    for file in files {
        run(&file.display().to_string(), &fs::read(&file).expect("readable"));
    }
}

#[test]
fn random_inputs_are_survived() {
    let mut random = Random(0x1337);
    for number in 0..10_000 {
        let length = random.below(160);
        let input: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        run(&format!("random input {number}"), &input);
    }
}

/// Tells the others that it is over.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Stores hostile words into a ring, behind the geometry, until it is over.
fn vandalise(file: &File, over: &AtomicBool, mut random: Random) {
    let words = file.metadata().expect("a file").len() as usize / 8;
    while !over.load(SeqCst) {
        // The first sections more often: they are small, and their words mean more.
        let limit = if random.below(4) == 0 { words } else { words / 2 };
        let at = 8 * (16 + random.below(limit - 16)) as u64;
        let mut old = [0; 8];
        file.read_exact_at(&mut old, at).expect("a file");
        let old = u64::from_ne_bytes(old);
        let word = match random.below(8) {
            0 => random.next(),
            1 => 0,
            2 => u64::MAX,
            3 => random.below(32) as u64,
            4 => old.wrapping_add(1),
            5 => old.wrapping_add(1 << 25),
            6 => old ^ 1 << random.below(64),
            _ => old.wrapping_add((random.below(4) as u64) << 62),
        };
        file.write_all_at(&word.to_ne_bytes(), at).expect("a file");
    }
}

/// What everybody does in a ring whose words change all the time.
fn stand_it(options: Options, seed: u64) {
    const ROUNDS: usize = 400;
    // Bytes of the longest line, and of a slot's payload.
    const MOST_BYTES: usize = 96;
    let check = |item: &Item<'_>| {
        assert!(item.line().is_none_or(|line| line.bytes.len() <= MOST_BYTES), "{item:?}");
        assert!(item.to_string().len() <= 3 * MOST_BYTES + 64, "{item:?}");
    };
    let options = options.lines(16).line_bytes(128).max_line(90).mirrors(6).seats(16);
    // A full ring is waited for, and not for ever.
    let ring = &LineRing::new(options.block_limit(Duration::ZERO)).expect("a ring");
    let file: File =
        ring.descriptor().expect("open").try_clone_to_owned().expect("a descriptor").into();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| vandalise(&file, &over, Random(seed)));
        // Also if what follows fails.
        let _over = Over(&over);
        let writers = [0, 1].map(|writer| {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // A mirror may not open, a line may find the ring damaged: that is said, and
                    // the next one is tried.
                    let Ok(mut mirror) = ring.mirror_labelled("writer") else { continue };
                    for number in 0..round % 20 {
                        let _ = mirror.write_line(&[b'0' + writer; 200][..number * 10]);
                    }
                    let _ = mirror.write_packed(b"1\n2\n3\nunfinished");
                    if round % 3 == 0 {
                        let _ = mirror.send_panic(&"no good");
                    }
                    let _ = ring.seat().as_ref().map(Seat::cancel);
                }
            })
        });
        let reader = scope.spawn(move || {
            for _ in 0..ROUNDS {
                // Some reader may have left words that do not say which slot was its
                // own.
                let Ok(mut reader) = ring.reader() else { continue };
                for _ in 0..50 {
                    let Ok(Some(item)) = reader.try_recv() else { break };
                    check(&item);
                }
                if reader.wait_timeout(Duration::ZERO).is_ok_and(|some| some) {
                    let batch = reader.batch().expect("something is there");
                    batch.iter().for_each(|item| check(&item));
                    batch.commit();
                }
            }
        });
        for _ in 0..ROUNDS {
            let observer = Observer::attach(&file).expect("its geometry is sound");
            observer.snapshot().expect("the file stays whole").iter().for_each(check);
        }
        reader.join().expect("it has not panicked");
        for writer in writers {
            writer.join().expect("it has not panicked");
        }
    });
}

#[test]
fn words_that_change_while_they_are_read_are_survived() {
    for (policy, seed) in
        [(Policy::Block, 1), (Policy::DropNewest, 2), (Policy::OverwriteOldest, 3)]
    {
        for wake_up in [WakeUp::Futex, WakeUp::Pipe] {
            // Both kinds of wake-up, and both of slots.
            let checksums = wake_up == WakeUp::Pipe;
            stand_it(Options::new().policy(policy).wake_up(wake_up).checksums(checksums), seed);
        }
    }
}
