//! A look at a ring after a crash: a forked writer is killed in the middle of a line; the process
//! that comes after it reads all that was written, the last words too, and how the writer ended.
//!
//! `cargo run --example after_crash`

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use linering::{Item, LineRing, Observer, Options};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};

/// What the writer does, until it is killed.
fn write_and_be_killed(path: &Path) -> Result<Infallible, Box<dyn Error>> {
    let ring = LineRing::create_file(path, Options::new())?;
    let mut log = ring.mirror_labelled("service")?;
    for request in 1..=3 {
        writeln!(log, "request {request} served")?;
    }
    write!(log, "request 4: waiting for the d")?;
    kill_process(getpid(), Signal::KILL)?;
    unreachable!("a process does not outlive SIGKILL")
}

/// Forks the writer, and returns once it is dead.
fn crash(path: &Path) -> io::Result<Pid> {
    // SAFETY: this process has no other thread, so the child finds no lock taken.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let Err(error) = write_and_be_killed(path);
            eprintln!("the writer: {error}");
            std::process::abort();
        }
        child => Pid::from_raw(child).expect("the number of a child"),
    };
    // Its exit status stays with the kernel, for the reader to ask.
    waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    Ok(child)
}

/// A line with what the crash did to it, or how a writer ended.
fn show(item: &Item<'_>) {
    match item {
        Item::Line(line) if line.unfinished => println!("  {line}   <- cut off by the crash"),
        other => println!("  {other}"),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ring");
    let child = crash(&path)?;

    // An observer changes nothing: it may look as often as it likes, and also before the crash.
    let observer = Observer::open_file(&path)?;
    assert!(!observer.is_used(), "its only process is dead");
    println!("An observer sees:");
    observer.snapshot()?.iter().for_each(show);

    // A reader takes the ring over: what it has accepted comes to no later one. As the writer's
    // parent it can say what killed it.
    let ring = LineRing::open_file(&path)?;
    let mut reader = ring.reader()?;
    println!("A reader takes:");
    while let Some(item) = reader.recv()? {
        show(&item);
    }
    drop(reader);
    waitid(WaitId::Pid(child), WaitIdOptions::EXITED)?;

    let left = ring.reader()?.recv()?.is_some();
    println!("A second reader finds {}.", if left { "something" } else { "nothing" });
    Ok(())
}
