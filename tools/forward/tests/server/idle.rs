//! What a forwarder takes while there is nothing to do, and of memory while there is much.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{MADE, PATIENCE, Server, begin, forward, ring, running, write};

const MOST_KILOBYTES: u64 = 64 << 10;

/// A number of /proc/PROCESS/status, or of a thread's.
fn number(path: &str, name: &str) -> Option<u64> {
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

fn anonymous_kilobytes(process: u32) -> Option<u64> {
    number(&format!("/proc/{process}/status"), "RssAnon")
}

/// How often its threads went to sleep.
fn sleeps(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let of = |folder: fs::DirEntry| {
        number(folder.path().join("status").to_str()?, "voluntary_ctxt_switches")
    };
    threads.filter_map(|folder| of(folder.ok()?)).sum()
}

#[test]
fn an_idle_forwarder_wakes_twice_a_second_at_most() {
    let (server, path, made) = begin();
    write(&made, &["one"]);
    // Open, and idle.
    let _mirror = made.mirror().expect("a mirror");
    let mut forwarder = running(&path, &server, "linering.test");
    let process = forwarder.id();
    // Whatever the start has left to do is done.
    std::thread::sleep(Duration::from_secs(2));
    let during = || {
        let (began, before) = (Instant::now(), sleeps(process));
        std::thread::sleep(Duration::from_secs(6));
        (began.elapsed().as_secs_f64(), sleeps(process) - before)
    };
    // Tests beside this one make it wait where it would not: that adds to what is its own.
    let is_idle = |&(seconds, count): &(f64, u64)| (count as f64) <= seconds * 2.0;
    let (seconds, count) = (0..3).map(|_| during()).find(is_idle).unwrap_or_else(during);
    let kilobytes = anonymous_kilobytes(process).expect("it runs");
    forwarder.kill().expect("it is ours");
    forwarder.wait().expect("it is ours");
    assert!((count as f64) <= seconds * 2.0, "{count} wake-ups in {seconds} s");
    assert!(kilobytes < MOST_KILOBYTES, "{kilobytes} kB");
}

#[test]
fn its_memory_does_not_grow_with_what_there_is_to_do() {
    const LINES: usize = 1 << 19;
    let server = Server::start("");
    let path = server.path("a.ring");
    let made = ring(&path, LINES);
    {
        let mut mirror = made.mirror().expect("a mirror");
        let text = "x".repeat(80);
        (0..LINES - 64).for_each(|_| mirror.write_line(text.as_bytes()).expect("room"));
    }
    for more in [&["--format", "json", "--compress", "zstd"][..], &[]] {
        let mut forwarder = forward(&path, &server.target(), &[&MADE[..], more].concat())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it runs");
        let (began, mut most, mut samples) = (Instant::now(), 0, 0);
        let is_done = loop {
            if let Some(kilobytes) = anonymous_kilobytes(forwarder.id()) {
                (most, samples) = (kilobytes.max(most), samples + 1);
            }
            match forwarder.try_wait().expect("it is ours") {
                Some(status) => break status.success(),
                // The rest is for the next format.
                None if !more.is_empty() && samples > 500 => break true,
                None => assert!(began.elapsed() < PATIENCE, "it forwards all"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let _ = forwarder.kill();
        forwarder.wait().expect("it is ours");
        assert!(is_done && samples > 0);
        assert!(most < MOST_KILOBYTES, "{more:?}: {most} kB");
    }
}
