//! What an observer costs writers and itself, and how soon it shows a line.
//!
//! `cargo run --release -p linering-cli --example observed`, after
//! `cargo build --release -p linering-cli`; docs/benchmarks.md has what it printed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use linering::{LineRing, Options, Policy};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Pairs of slices, one with and one without the observer.
const PAIRS: usize = 15;
const SLICE: Duration = Duration::from_millis(500);

fn linering(args: &[&str]) -> Command {
    // Beside this example's folder.
    let mut path = std::env::current_exe().expect("this one");
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("linering"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Nanoseconds on a processor, and how often it slept.
fn used(child: &Child) -> (u64, u64) {
    let read = |name| fs::read_to_string(format!("/proc/{}/{name}", child.id())).expect("a child");
    let on_cpu = read("schedstat").split(' ').next().and_then(|it| it.parse().ok());
    let status = read("status");
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    (on_cpu.expect("a number"), sleeps.and_then(|it| it.trim().parse().ok()).expect("a number"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Writers that never wait, and an observer that comes and goes.
fn under_load(path: &Path, writers: usize, observer: impl Fn() -> Command, what: &str) {
    let options = Options::new().lines(4096).line_bytes(192).policy(Policy::OverwriteOldest);
    let _ = fs::remove_file(path);
    let ring = LineRing::create_file(path, options.checksums(false)).expect("a ring");
    let over = AtomicBool::new(false);
    let written: Vec<AtomicU64> = (0..writers).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for count in &written {
            let mut mirror = ring.mirror().expect("a mirror");
            let over = &over;
            scope.spawn(move || {
                let line = [b'x'; 100];
                while !over.load(SeqCst) {
                    for _ in 0..1000 {
                        mirror.write_line(&line).expect("never full");
                    }
                    count.fetch_add(1000, SeqCst);
                }
            });
        }
        let total = || written.iter().map(|count| count.load(SeqCst)).sum::<u64>();
        let slice = || {
            let (began, before) = (Instant::now(), total());
            thread::sleep(SLICE);
            began.elapsed().as_nanos() as f64 * writers as f64 / (total() - before) as f64
        };
        let (mut without, mut with, mut ratios, mut cpu) = (vec![], vec![], vec![], vec![]);
        for _ in 0..PAIRS {
            let plain = slice();
            let mut child = observer().spawn().expect("it starts");
            thread::sleep(Duration::from_millis(100));
            let (before, began) = (used(&child).0, Instant::now());
            let observed = slice();
            cpu.push((used(&child).0 - before) as f64 / began.elapsed().as_nanos() as f64);
            child.kill().expect("a child");
            child.wait().expect("a child");
            ratios.push(observed / plain);
            without.push(plain);
            with.push(observed);
        }
        over.store(true, SeqCst);
        println!(
            "{what}, {writers} writers: {:.1} ns a line without, {:.1} with, ratio {:.3}; \
             {:.1} % of a core",
            median(without),
            median(with),
            median(ratios),
            100.0 * median(cpu)
        );
    });
}

/// A terminal of 80 by 24, which shows nothing.
fn terminal() -> File {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&far).and_then(|()| unlockpt(&far)).expect("it is ours");
    let name = ptsname(&far, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let near = OpenOptions::new().read(true).write(true).open(name).expect("a terminal");
    let size = Winsize { ws_col: 80, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&far, size).expect("a terminal");
    let mut far = File::from(far);
    thread::spawn(move || while far.read(&mut [0; 4096]).is_ok() {});
    near
}

/// How soon a line is shown that comes after so long a pause, beside a reader that sleeps or none.
fn latency(path: &Path, pause: Duration, has_reader: bool) {
    let _ = fs::remove_file(path);
    let ring = LineRing::create_file(path, Options::new()).expect("a ring");
    let mut mirror = ring.mirror().expect("a mirror");
    if has_reader {
        let mut reader = ring.reader().expect("no other reader");
        thread::spawn(move || while reader.recv().is_ok_and(|item| item.is_some()) {});
    }
    let mut command = linering(&["tail", "-f", "-o", "cat", path.to_str().expect("UTF-8")]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut shown = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    let mut took = Vec::new();
    mirror.write_line(b"first").expect("room");
    shown.read_line(&mut line).expect("text");
    let (before, began) = (used(&child), Instant::now());
    let mut number = 0_u64;
    while took.len() < 30 {
        number += 1;
        // At another moment of its period each time.
        thread::sleep(pause + Duration::from_micros(number * 7919 % 100_000));
        let wrote = Instant::now();
        mirror.write_line(b"line").expect("room");
        shown.read_line(&mut line).expect("text");
        took.push(wrote.elapsed().as_secs_f64() * 1e3);
    }
    let (after, seconds) = (used(&child), began.elapsed().as_secs_f64());
    child.kill().expect("a child");
    child.wait().expect("a child");
    let longest = took.iter().copied().fold(0.0, f64::max);
    println!(
        "a reader: {has_reader}; a line after {pause:?} without any: shown after {:.1} ms (median), {longest:.1} (longest); \
         {:.0} wake-ups a second, {:.2} % of a core",
        median(took),
        (after.1 - before.1) as f64 / seconds,
        (after.0 - before.0) as f64 / 1e7 / seconds
    );
}

fn main() {
    // One of them alone: `tail`, `stat`, `top`, `latency`.
    let only = std::env::args().nth(1);
    let is_wanted = |what: &str| only.as_deref().is_none_or(|only| what == only);
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let path = folder.path().join("ring");
    let ring = path.to_str().expect("UTF-8");
    for writers in [1, 2] {
        let tail = || {
            let mut command = linering(&["tail", "-f", ring]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if is_wanted("tail") {
            under_load(&path, writers, tail, "tail -f");
        }
        let stat = || {
            let mut command = linering(&["stat", "--watch", ring]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if is_wanted("stat") {
            under_load(&path, writers, stat, "stat --watch");
        }
        let near = terminal();
        let top = || {
            let open = || Stdio::from(near.try_clone().expect("a terminal"));
            let mut command = linering(&["top", ring]);
            command.stdin(open()).stdout(open()).stderr(Stdio::null());
            command
        };
        if is_wanted("top") {
            under_load(&path, writers, top, "top");
        }
    }
    for pause in if is_wanted("latency") { &[50, 300, 2000][..] } else { &[] } {
        latency(&path, Duration::from_millis(*pause), true);
        latency(&path, Duration::from_millis(*pause), false);
    }
}
