//! The observing commands on damaged rings, and on those whose processes are killed: each ends,
//! says what is wrong in a sentence, and does not panic.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use linering::{LineRing, Options, Policy};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Gate, err, example, folder, linering, out, start_anew, text};

/// Rings that are damaged.
const RINGS: u64 = 150;

/// Behind this, words of a ring change while it is used.
const GEOMETRY: usize = 128;

/// Well mixed numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// A word that may stand where this one stood.
    fn instead_of(&mut self, old: u64) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => 0,
            2 => u64::MAX,
            3 => self.below(32) as u64,
            4 => old.wrapping_add(1),
            5 => old.wrapping_add(1 << 25),
            6 => old ^ 1 << self.below(64),
            _ => old.wrapping_add((self.below(4) as u64) << 62),
        }
    }
}

/// The command, which is killed if it takes a minute.
fn bounded(args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "60", text(assert_cmd::cargo::cargo_bin!("linering"))]);
    command.args(args).stdin(Stdio::null());
    start_anew(&mut command);
    command
}

/// Runs it: it ends with one of these codes, and where that is a failure with a sentence.
fn ends(args: &[&str], codes: &[i32], what: &str) {
    let output = bounded(args).output().expect("timeout, of coreutils: install it");
    let (code, said) = (output.status.code(), err_of(&output));
    let args = args.join(" ");
    assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {args}: {code:?}: {said}");
    assert!(!said.contains("panicked"), "{what}: {args}: {said}");
    let begins = said.is_empty() || said.starts_with("linering: ");
    assert!(begins, "{what}: {args}: {said}");
    if code == Some(1) {
        assert!(!said.is_empty() || !output.stdout.is_empty(), "{what}: {args} says nothing");
    }
}

/// Labels and lines of a damaged ring are any bytes.
fn err_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A ring of which the processes are gone: with lines taken and not, long and packed ones, ends.
fn sound_ring(path: &Path, policy: Policy) -> Vec<u8> {
    let options = Options::new().lines(64).line_bytes(128).max_line(600).mirrors(4).seats(8);
    let ring = LineRing::create_file(path, options.policy(policy)).expect("a ring");
    let mut mirrors = ["web", "db"].map(|label| ring.mirror_labelled(label).expect("a mirror"));
    let mut reader = ring.reader().expect("no other");
    for number in 0..12 {
        mirrors[number % 2].write_line(&[b'a'; 300][..number * 25]).expect("room");
        if number < 6 {
            while reader.try_recv().expect("ours").is_some() {}
        }
    }
    mirrors[0].write_packed(b"1\n2\n3\nunfinished").expect("room");
    fs::read(path).expect("a file")
}

pub fn sound_rings(folder: &Path) -> [Vec<u8>; 2] {
    [Policy::Block, Policy::OverwriteOldest]
        .map(|policy| sound_ring(&folder.join(policy.to_string()), policy))
}

/// One of the sound ones, damaged.
pub fn damaged(sound: &[Vec<u8>; 2], seed: u64) -> Vec<u8> {
    let mut random = Random(seed * 0x9e37_79b9 + 1);
    let mut bytes = sound[seed as usize % 2].clone();
    match seed % 10 {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
        _ => {
            // What describes the ring is damaged seldom: it is refused then, and that is all.
            let from = if seed % 10 == 2 { 0 } else { GEOMETRY / 8 };
            for _ in 0..1 << random.below(8) {
                // The first sections more often: they are small, and mean more.
                let words = bytes.len() / 8 / [1, 4][random.below(2)];
                let at = 8 * (from + random.below(words - from));
                let old = u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("a word"));
                let word = random.instead_of(old).to_ne_bytes();
                bytes[at..at + 8].copy_from_slice(&word);
            }
        }
    }
    bytes
}

#[test]
fn damaged_rings_are_looked_at_and_nothing_hangs_or_panics() {
    let folder = folder();
    let sound = sound_rings(folder.path());
    let (place, sound) = (folder.path(), &sound);
    thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for seed in (1..=RINGS).filter(|seed| seed % 2 == half) {
                    let path = place.join(format!("damaged-{seed}"));
                    fs::write(&path, damaged(sound, seed)).expect("a file");
                    let ring = text(&path);
                    let what = format!("ring {seed}");
                    for args in [
                        &["stat", ring][..],
                        &["stat", "-o", "prometheus", ring],
                        &["stat", "--watch", "-o", "json", ring],
                        &["tail", "-f", ring],
                        &["tail", "-n", "3", "-o", "{label}", ring],
                        &["cat", "-o", "json", ring],
                        &["verify", ring],
                        // It takes what is there: at last.
                        &["recover", ring],
                    ] {
                        ends(args, &[0, 1], &what);
                    }
                    let wait = ["wait", ring, "--for", "line=never", "--timeout", "1s"];
                    ends(&wait, &[0, 1, 3, 124], &what);
                }
            });
        }
    });
    ends(&["ls", text(place)], &[0], "all of them");
    ends(&["ls", "-o", "json", text(place)], &[0], "all of them");
}

/// A run in the background, whose ring is in a file.
fn running(path: &Path, worker: &str) -> Child {
    let args = ["run", "--file", text(path), "-n", "3", "--", "sh", "-c", worker];
    let mut run = linering(&args);
    let run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while LineRing::open_file(path).is_err() {
        thread::yield_now();
    }
    run
}

#[test]
fn one_that_is_damaged_while_it_is_used_is_looked_at_too() {
    let folder = folder();
    let path = folder.path().join("ring");
    let gate = Gate::new();
    let mut run = running(&path, &format!("echo line; {}", gate.wait()));
    let file = OpenOptions::new().read(true).write(true).open(&path).expect("a file");
    let words = file.metadata().expect("a file").len() as usize / 8;
    let ring = text(&path);
    let mut random = Random(42);
    for round in 0..30 {
        for _ in 0..1 << random.below(8) {
            let words = words / [1, 4, 64][random.below(3)];
            let at = 8 * (GEOMETRY / 8 + random.below(words - GEOMETRY / 8)) as u64;
            let mut old = [0; 8];
            file.read_exact_at(&mut old, at).expect("a file");
            let word = random.instead_of(u64::from_ne_bytes(old));
            file.write_all_at(&word.to_ne_bytes(), at).expect("a file");
        }
        let what = format!("round {round}");
        ends(&["stat", ring], &[0, 1], &what);
        ends(&["tail", ring], &[0, 1], &what);
        ends(&["cat", ring], &[0, 1], &what);
        ends(&["wait", ring, "--for", "death", "--timeout", "50ms"], &[0, 1, 3, 124], &what);
    }
    // Whatever it made of that.
    let _ = run.kill();
    run.wait().expect("a child");
    ends(&["tail", "-f", ring], &[0, 1], "at last");
}

#[test]
fn what_looks_at_a_run_that_is_killed_at_any_moment_ends() {
    let folder = folder();
    let mut random = Random(7);
    for round in 0..8 {
        let path = folder.path().join(format!("ring-{round}"));
        let mut run = running(&path, "while echo some line; do :; done");
        let ring = text(&path);
        let watched: Vec<Child> = [
            &["tail", "-f", ring][..],
            &["tail", "-f", "-o", "json", ring],
            &["stat", "--watch", ring],
            &["wait", ring],
            &["wait", ring, "--for", "line=never said"],
        ]
        .iter()
        .map(|args| {
            let mut command = bounded(args);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
        // Not as a wait for something: so that it is killed at another moment each time.
        thread::sleep(Duration::from_millis(random.below(300) as u64));
        run.kill().expect("a child");
        run.wait().expect("a child");
        for (which, child) in watched.into_iter().enumerate() {
            let output = child.wait_with_output().expect("a child");
            let said = err_of(&output);
            let expected = if which == 4 { 3 } else { 0 };
            assert_eq!(output.status.code(), Some(expected), "round {round}, {which}: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
        let output = linering(&["tail", "-n1", ring]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).lines().all(|line| line.ends_with("some line")), "{}", out(&output));
    }
}

/// The processes that write into a ring straight, and live.
fn writing(ring: &str) -> Vec<i32> {
    let output = linering(&["stat", "-o", "json", ring]).output().expect("it starts");
    let found: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    let writers = found["writers"].as_array().expect("writers").iter();
    let open = writers.filter(|writer| writer["state"] == "open" && writer["lines"] != 0);
    open.filter_map(|writer| writer["pid"].as_i64()).map(|pid| pid as i32).collect()
}

#[test]
fn what_looks_at_writers_that_are_killed_one_by_one_says_so_and_shows_whole_lines() {
    let folder = folder();
    let path = folder.path().join("ring");
    let ring = text(&path);
    let native = example("native_worker");
    let args = ["run", "--file", ring, "-n", "5", "--", text(&native), "9999999999999"];
    let mut run = linering(&args);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while LineRing::open_file(&path).is_err() {
        thread::yield_now();
    }
    let start = |args: &[&str]| {
        let mut command = bounded(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let tail = start(&["tail", "-f", "-n0", "-g", "no line has this", ring]);
    let watch = start(&["stat", "--watch", "-o", "json", ring]);
    let wait = start(&["wait", ring, "--for", "death"]);
    let itself = run.id() as i32;
    let mut killed = 0;
    while killed < 5 {
        let mut others = writing(ring);
        others.retain(|pid| *pid != itself);
        // All write, but for those that were killed.
        if others.len() + killed != 5 {
            assert!(run.try_wait().expect("a child").is_none(), "they write until they are killed");
            continue;
        }
        let victim = Pid::from_raw(others[killed % others.len()]).expect("a process");
        kill_process(victim, Signal::KILL).expect("it is ours");
        killed += 1;
        let shown = bounded(&["tail", "-n", "20", "-o", "cat", ring]).output().expect("it starts");
        assert_eq!(shown.status.code(), Some(0), "{}", err_of(&shown));
        let is_whole = |line: &str| line.starts_with("worker ") && line.contains(", line ");
        // All but what the killed ones had begun, which says so on the other stream.
        let odd = out(&shown).lines().filter(|line| !is_whole(line)).count();
        assert_eq!(odd, 0, "{}", out(&shown));
    }
    assert_eq!(run.wait().expect("a child").code(), Some(5));
    let ends = |child: Child| child.wait_with_output().expect("a child");
    let (tail, watch, wait) = (ends(tail), ends(watch), ends(wait));
    for output in [&tail, &watch, &wait] {
        assert_eq!(output.status.code(), Some(0), "{}", err_of(output));
    }
    // Each death once, where it is not told after the reader had accepted it.
    let told = err_of(&tail).matches("is gone, no EOF").count();
    assert!(told <= 5, "{}", err_of(&tail));
    let last = out(&watch).lines().last().expect("a line").to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    assert!(last["deaths"].as_u64().is_some_and(|deaths| deaths <= 5), "{last}");
}
