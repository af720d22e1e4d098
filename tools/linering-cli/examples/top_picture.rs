//! Prints what `linering top` shows on a terminal of 80 by 24, of five workers: so
//! docs/top.txt is made.
//!
//! `cargo build --release -p linering-cli`, then
//! `cargo run --release -p linering-cli --example top_picture > docs/top.txt`

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use linering::{LineRing, Options, Policy};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A worker: its label, how many lines it writes at a time, after so many milliseconds, and one.
const WORKERS: [(&str, u64, u64, &str); 5] = [
    ("web-1", 40, 1, "GET /reports took 21 ms"),
    ("web-2", 35, 1, "GET /login took 3 ms"),
    ("jobs", 2000, 250, "a job is done"),
    ("db", 3, 20, "a slow query: SELECT * FROM reports ORDER BY random()"),
    ("mail", 0, 20, ""),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Beside this example's folder.
    let mut linering = std::env::current_exe()?;
    linering.pop();
    linering.pop();
    linering.push("linering");
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let options = Options::new().lines(1024).line_bytes(128).policy(Policy::DropNewest);
    let ring = LineRing::create_file(folder.path().join("builds"), options.checksums(false))?;
    let ended = ring.mirror_labelled("migrate")?;
    for (label, lines, pause, line) in WORKERS {
        let mut mirror = ring.mirror_labelled(label)?;
        thread::spawn(move || {
            loop {
                // Until the ring goes.
                for _ in 0..lines {
                    let _ = mirror.write_line(line.as_bytes());
                }
                thread::sleep(Duration::from_millis(pause));
            }
        });
    }
    drop(ended);
    let mut reader = ring.reader()?;
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(8));
            while let Ok(Some(_)) = reader.try_recv() {}
        }
    });

    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&far)?;
    unlockpt(&far)?;
    let near = ptsname(&far, Vec::new())?.into_string()?;
    let near = OpenOptions::new().read(true).write(true).open(near)?;
    let size = Winsize { ws_col: COLUMNS, ws_row: ROWS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&far, size)?;
    let mut top = Command::new(&linering)
        .args(["top", "builds"])
        .current_dir(folder.path())
        .stdin(near.try_clone()?)
        .stdout(near.try_clone()?)
        .spawn()?;
    let (send, shown) = channel();
    let mut from = File::from(far);
    let mut keys = from.try_clone()?;
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length) = from.read(&mut bytes) {
            if send.send(bytes[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let cells = |number| NonZero::new(number).expect("a size");
    let mut screen = vt100::Parser::new(cells(ROWS), cells(COLUMNS), 0);
    let until = Instant::now() + Duration::from_secs(5);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match shown.recv_timeout(left) {
            Ok(bytes) => screen.process(&bytes),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let picture = screen.screen().contents();
    keys.write_all(b"q")?;
    top.wait()?;
    for line in picture.lines() {
        println!("{}", line.trim_end());
    }
    Ok(())
}
