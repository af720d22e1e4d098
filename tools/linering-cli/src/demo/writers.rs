//! The writers: forked processes, or threads.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use linering::{LineRing, Reader, Seat, WorkerPool};

use super::content::Content;
use super::figures::work;
use crate::failure::Failure;
use crate::interrupt;

/// Bytes of a thread's stack: writing a line needs little.
const STACK: usize = 1 << 18;

/// How the workers fared.
#[derive(Debug)]
pub struct Outcome {
    /// SIGINT or SIGTERM came.
    pub interrupted: bool,
    /// Of each worker, what the ring does not know.
    pub fates: Vec<Fate>,
}

/// How a worker ended, as seen from outside.
#[derive(Debug)]
pub enum Fate {
    Exited(ExitStatus),
    /// A thread that could not do its work.
    Failed(String),
    Unknown,
}

fn refused(doing: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("cannot {doing}: {error}"))
}

// ------------------------------------------------------------------------------------- processes

/// A pool that ends its workers when it is left early.
struct Pool(WorkerPool);

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.signal(libc::SIGKILL);
        self.0.join();
    }
}

/// Forks the workers; `drain` gets their numbers in the ring, and drains it.
pub fn forked(
    ring: &LineRing,
    content: &Content,
    count: usize,
    drain: impl FnOnce(Vec<u32>, &mut Reader) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    // Before the fork: writers of a full ring give up after a while without a reader.
    let mut reader = ring.reader().map_err(|error| refused("read the ring", error))?;
    let go_on = AtomicBool::new(false);
    let pool =
        WorkerPool::fork(ring, count, |worker, mirror| work(content, worker, mirror, &go_on));
    let mut pool = Pool(pool.map_err(|error| refused(&format!("start {count} workers"), error))?);
    pool.0.end_on_interrupt().map_err(|error| refused("watch for Ctrl-C", error))?;
    // After it, since this calls the handler that was there before, and that one does not.
    let interrupted = interrupt::watch().map_err(|error| refused("watch for Ctrl-C", error))?;
    let serials = pool.0.workers().iter().map(|worker| worker.worker).collect();
    drain(serials, &mut reader)?;
    let exited = pool
        .0
        .join()
        .iter()
        .map(|worker| worker.status.map_or(Fate::Unknown, Fate::Exited))
        .collect();
    Ok(Outcome { interrupted: interrupted.load(Ordering::Relaxed), fates: exited })
}

// --------------------------------------------------------------------------------------- threads

/// As [`forked`], with threads.
pub fn threaded(
    ring: &LineRing,
    content: &Content,
    count: usize,
    drain: impl FnOnce(Vec<u32>, &mut Reader) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let interrupted = interrupt::watch().map_err(|error| refused("watch for Ctrl-C", error))?;
    let mut reader = ring.reader().map_err(|error| refused("read the ring", error))?;
    let seats: Result<Vec<Seat>, _> = (0..count).map(|_| ring.seat()).collect();
    let seats = seats.map_err(|error| refused(&format!("seat {count} workers"), error))?;
    let serials = seats.iter().map(Seat::writer_id).collect();
    let fates = thread::scope(|scope| {
        let drained = start(scope, &seats, content, &interrupted).and_then(|threads| {
            drain(serials, &mut reader)?;
            Ok(threads)
        });
        if drained.is_err() {
            // Or the scope would wait for writers that wait for room.
            ring.stop_all_mirrors();
            for seat in &seats {
                seat.cancel();
            }
            discard(&mut reader);
        }
        Ok(drained?.into_iter().map(fate_of).collect())
    })?;
    Ok(Outcome { interrupted: interrupted.load(Ordering::Relaxed), fates })
}

type Worker<'scope> = thread::ScopedJoinHandle<'scope, Result<(), String>>;

fn start<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    seats: &'scope [Seat],
    content: &'scope Content,
    interrupted: &'scope AtomicBool,
) -> Result<Vec<Worker<'scope>>, Failure> {
    let mut threads = Vec::with_capacity(seats.len());
    for (worker, seat) in seats.iter().enumerate() {
        let run = move || sit(seat, |mirror| work(content, worker, mirror, interrupted));
        let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        threads.push(spawned.map_err(|error| {
            refused(&format!("start worker {worker} of {}", seats.len()), error)
        })?);
    }
    Ok(threads)
}

/// Works in its seat, or cancels it: the reader waits for each seat.
fn sit(
    seat: &Seat,
    work: impl FnOnce(&mut linering::LineProcMirror) -> io::Result<()>,
) -> Result<(), String> {
    let opened = seat.open();
    let mut mirror = opened.map_err(|error| {
        seat.cancel();
        error.to_string()
    })?;
    work(&mut mirror).map_err(|error| {
        let _ = mirror.send_error(&error);
        error.to_string()
    })
}

fn fate_of(worker: Worker<'_>) -> Fate {
    match worker.join() {
        Ok(Ok(())) => Fate::Unknown,
        Ok(Err(error)) => Fate::Failed(error),
        Err(_) => Fate::Failed("it panicked".to_owned()),
    }
}

/// Makes room until every writer has ended.
fn discard(reader: &mut Reader) {
    loop {
        match reader.batch() {
            Ok(batch) if batch.is_empty() => return,
            Ok(batch) => batch.commit(),
            Err(_) => return,
        }
    }
}
