//! [`WorkerPool`]: forks workers, gives each a mirror, and collects how they exit.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::signals;
use super::worker::{Worker, fork_worker, reap};
use crate::buffer::proc_buffer::LineProcBuffer;
use crate::error::{MirrorError, PoolError, ReadError, cannot};
use crate::handles::line_ring::LineRing;
use crate::handles::mirror::LineProcMirror;
use crate::handles::seat::Seat;
use crate::line::item::{End, Ended};

/// Forked worker processes, each with a mirror of one ring or buffer.
///
/// ```
/// use std::io::Write;
/// use linering::{LineProcBuffer, WorkerPool};
///
/// let buffer = LineProcBuffer::new(10)?;
/// let mut pool = WorkerPool::fork(&buffer, 4, |worker, mirror| {
///     writeln!(mirror, "worker {worker}")
/// })?;
/// let ends = pool.wait(&buffer)?;
/// assert_eq!(ends.len(), 4);
/// assert_eq!(buffer.read(None)?.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A server that forks its workers beforehand replaces those that exit, with
/// [`respawn`](Self::respawn), or with [`wait_one`](Self::wait_one) and
/// [`fork_one`](Self::fork_one).
///
/// Dropping the pool leaves its workers running.
#[doc(alias("fork", "processes"))]
#[must_use = "the workers of a pool that is dropped are not awaited"]
#[derive(Debug)]
pub struct WorkerPool {
    pub(super) workers: Vec<Worker>,
    /// What the pool alone needs to know of each.
    pub(super) places: Vec<Place>,
    /// Which call for interrupts this pool made, if it did.
    asked: AtomicU32,
}

#[derive(Debug)]
pub(super) struct Place {
    /// Given up when its worker exits without having opened it.
    seat: Seat,
    pub(super) forked: Instant,
    /// Its exit was told.
    pub(super) is_told: bool,
}

/// How often a pool that waits looks for workers that have exited.
pub(super) const REAP_EVERY: Duration = Duration::from_millis(100);

impl WorkerPool {
    /// Forks `count` workers. Each runs `work` with its number from 0 and its mirror, then exits.
    ///
    /// An `Err` or a panic becomes [`send_error`](LineProcMirror::send_error) and exit code 1, all
    /// else is an EOF and 0. A worker that cannot open its mirror exits with 1, and its seat
    /// counts as cancelled.
    ///
    /// **Threads**: a forked child has the calling thread alone. Locks that other threads held at
    /// that moment stay locked in it, so fork before you start threads, or let `work` use none
    /// of what they lock. What this crate has locks for is safe, its drain's thread included, and
    /// so are `std`'s standard output and error.
    ///
    /// **Panics** of workers are not printed. In a process that has threads by then, this sets a
    /// panic hook for that, once, which calls the one before for all other panics; a hook that the
    /// program sets later, and that does not call this one, gets them in its place, and they are
    /// sent without a backtrace.
    ///
    /// # Errors
    ///
    /// More workers than the ring has mirrors or seats, or the system's refusal to fork; the
    /// workers forked by then are killed and awaited.
    pub fn fork<F, E>(ring: &impl AsRef<LineRing>, count: usize, work: F) -> Result<Self, PoolError>
    where
        F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
        E: Into<Box<dyn Error>>,
    {
        let segment = ring.as_ref().segment();
        let (mirrors, seats) = (segment.cells().len() - 1, segment.tickets().len());
        if count > mirrors {
            return Err(MirrorError::TooManyMirrors { limit: mirrors }.into());
        }
        if count > seats {
            return Err(MirrorError::TooManySeats { limit: seats }.into());
        }
        let (workers, places) = (Vec::new(), Vec::new());
        let mut pool = Self { workers, places, asked: AtomicU32::new(0) };
        for number in 0..count {
            if let Err(error) = pool.fork_one(ring, number, &work) {
                pool.signal(libc::SIGKILL);
                pool.join();
                return Err(error);
            }
        }
        Ok(pool)
    }

    /// Forks one worker: in the place of the one with this number, which has exited, or a further
    /// one, if `number` is that of the workers so far. It has a mirror of its own, with another
    /// [`writer_id`](crate::Line::writer_id). As [`fork`](Self::fork), which says what a process
    /// with threads has to see to.
    ///
    /// Forks none after an interrupt that ends the workers
    /// ([`end_on_interrupt`](Self::end_on_interrupt)): `false` then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use linering::{LineRing, Options, WorkerPool};
    ///
    /// # let ring = LineRing::new(Options::new())?;
    /// let serve = |worker: usize, mirror: &mut linering::LineProcMirror| {
    ///     mirror.write_line(format!("worker {worker} serves").as_bytes())
    /// };
    /// let mut pool = WorkerPool::fork(&ring, 2, serve)?;
    /// if let Some(number) = pool.wait_one(Duration::from_secs(60)) {
    ///     pool.fork_one(&ring, number, serve)?;
    /// }
    /// assert!(pool.stop(Duration::from_secs(60)).iter().all(|worker| !worker.running));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PoolError::Number`], if that worker runs or is too far on; otherwise as
    /// [`fork`](Self::fork). The workers go on.
    pub fn fork_one<F, E>(
        &mut self,
        ring: &impl AsRef<LineRing>,
        number: usize,
        work: F,
    ) -> Result<bool, PoolError>
    where
        F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
        E: Into<Box<dyn Error>>,
    {
        self.reap(libc::WNOHANG);
        let further = self.workers.len();
        let runs = self.workers.get(number).is_some_and(|worker| worker.running);
        if runs || number > further {
            return Err(PoolError::Number { found: number, runs, further });
        }
        if self.is_interrupted() {
            return Ok(false);
        }
        let (worker, seat) = fork_worker(ring.as_ref(), number, &work)?;
        let place = Place { seat, forked: Instant::now(), is_told: false };
        if number == further {
            self.workers.push(worker);
            self.places.push(place);
        } else {
            (self.workers[number], self.places[number]) = (worker, place);
        }
        if signals::is_asked(self.asked.load(Relaxed)) {
            signals::add(worker.process);
            // It came in between, and this one does not know of it.
            if self.is_interrupted() {
                self.signal(libc::SIGTERM);
            }
        }
        Ok(true)
    }

    pub(super) fn is_interrupted(&self) -> bool {
        signals::is_asked(self.asked.load(Relaxed)) && signals::interrupts() > 0
    }

    /// The workers, in the order of their numbers, with what is known of how they exited.
    pub fn workers(&mut self) -> &[Worker] {
        self.reap(libc::WNOHANG);
        &self.workers
    }

    /// Sends a signal to every worker that runs.
    pub fn signal(&self, signal: i32) {
        for worker in self.workers.iter().filter(|worker| worker.running) {
            // SAFETY: a plain system call. The process is a child of ours that was not awaited, so
            // its number has not been given to another.
            unsafe { libc::kill(worker.process as i32, signal) };
        }
    }

    /// Waits until every worker has exited, and says how. Reaps these processes and no others.
    ///
    /// Does not drain: with a ring that blocks its writers, drain first.
    pub fn join(&mut self) -> &[Worker] {
        self.reap(0);
        &self.workers
    }

    /// Drains `buffer` until every worker's mirror has ended, then joins the workers.
    ///
    /// # Errors
    ///
    /// As [`LineProcBuffer::wait`]. After [`end_on_interrupt`](Self::end_on_interrupt) a signal
    /// ends the workers, and this goes on draining what they had written.
    pub fn wait(&mut self, buffer: &LineProcBuffer) -> Result<Vec<Ended<'static>>, PoolError> {
        loop {
            // A worker that dies before it opens its mirror is known here alone.
            self.reap(libc::WNOHANG);
            match buffer.wait_timeout(REAP_EVERY) {
                Err(ReadError::Interrupted) if signals::interrupts() > 0 => {}
                other => {
                    if let Some(mut ends) = other? {
                        self.join();
                        self.tell_exits(&mut ends);
                        return Ok(ends);
                    }
                }
            }
        }
    }

    /// From now on Ctrl-C (SIGINT) and SIGTERM end this pool's workers with SIGTERM, and this
    /// process goes on to drain what they wrote. A second one ends this process as usual, and
    /// so does the first once all have been awaited.
    ///
    /// Installs signal handlers for the whole process, once; the last pool that asked for it is the
    /// one ended, with workers that are forked later.
    ///
    /// # Errors
    ///
    /// The system's refusal.
    pub fn end_on_interrupt(&self) -> Result<(), PoolError> {
        let running = self.workers.iter().filter(|worker| worker.running);
        let asked = signals::end_on_interrupt(running.map(|worker| worker.process));
        self.asked.store(asked.map_err(cannot("install a signal handler"))?, Relaxed);
        Ok(())
    }

    /// Says of the dead what this pool alone knows, since it has awaited them.
    fn tell_exits(&self, ends: &mut [Ended<'_>]) {
        for ended in ends.iter_mut().filter(|ended| ended.end == End::Died && ended.exit.is_none())
        {
            let worker = self.workers.iter().find(|worker| worker.worker == ended.writer_id);
            ended.exit = worker.and_then(|worker| worker.status);
        }
    }

    pub(super) fn reap(&mut self, flags: i32) {
        for (worker, place) in self.workers.iter_mut().zip(&self.places) {
            if worker.running
                && let Some(status) = reap(worker.process as i32, flags)
            {
                (worker.running, worker.status) = (false, status);
                // Nothing, if it was opened.
                place.seat.cancel();
            }
        }
    }
}
