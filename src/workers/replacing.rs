//! Workers that exit while others go on: waiting for one, replacing it, and the end of all.

use std::error::Error;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::pool::{Place, REAP_EVERY, WorkerPool};
use super::worker::Worker;
use crate::error::PoolError;
use crate::handles::line_ring::LineRing;
use crate::handles::mirror::LineProcMirror;
use crate::sys::futex::timespec;

/// The longest sleep at a time.
const LONGEST: Duration = Duration::from_secs(86_400);
/// How often a worker is replaced at most.
const RESPAWN_EVERY: Duration = Duration::from_secs(1);

impl WorkerPool {
    /// Waits until a worker has exited, for `limit` at most: its number, once for each exit. `None`
    /// also at once if none runs any more, and if a signal handler has run meanwhile.
    ///
    /// Does not drain, as [`join`](Self::join).
    pub fn wait_one(&mut self, limit: Duration) -> Option<usize> {
        let mut deadline = Instant::now().checked_add(limit);
        loop {
            self.reap(libc::WNOHANG);
            let exited = |(worker, place): (&Worker, &Place)| !worker.running && !place.is_told;
            if let Some(number) = self.workers.iter().zip(&self.places).position(exited) {
                self.places[number].is_told = true;
                return Some(number);
            }
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || !self.workers.iter().any(|worker| worker.running) {
                return None;
            }
            if self.sleep(left.unwrap_or(limit)).is_err() {
                // A last look: the signal may be that of an exit.
                deadline = Some(Instant::now());
            }
        }
    }

    /// Sleeps until a worker exits, for `limit` at most.
    fn sleep(&self, limit: Duration) -> Result<(), Errno> {
        let running = self.workers.iter().filter(|worker| worker.running);
        let open = |worker: &Worker| {
            pidfd_open(Pid::from_raw(worker.process as i32)?, PidfdFlags::empty()).ok()
        };
        let descriptors: Option<Vec<_>> = running.map(open).collect();
        // Too many, or a kernel without them: looked for now and then.
        let limit = if descriptors.is_some() { limit } else { limit.min(REAP_EVERY) };
        let descriptors = descriptors.unwrap_or_default();
        let mut polled: Vec<_> =
            descriptors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        poll(&mut polled, Some(&timespec(limit.min(LONGEST)))).map(drop)
    }

    /// Keeps the workers running: waits until all have exited, and forks another in the place of
    /// each that exits and of which `again`, given its number and what is known of it, says so. A
    /// worker that exits as soon as it runs is replaced once a second.
    ///
    /// It returns after an interrupt that ends the workers, where
    /// [`end_on_interrupt`](Self::end_on_interrupt) asked for that, or once none runs for which
    /// `again` wants another. Does not drain, as [`join`](Self::join): a
    /// [`LogDrain`](crate::LogDrain) does, in its thread.
    ///
    /// ```
    /// use linering::{LineRing, LogDrain, Options, WorkerPool};
    ///
    /// let ring = LineRing::new(Options::new())?;
    /// let drain = LogDrain::new(ring.reader()?).to(std::io::stdout()).spawn()?;
    /// let log = ring.writer()?;
    /// let serve = |worker: usize, _: &mut linering::LineProcMirror| {
    ///     log.record_fmt(linering::Level::Info, format_args!("worker {worker} serves"))
    /// };
    /// let mut pool = WorkerPool::fork(&ring, 2, &serve)?;
    /// pool.respawn(&ring, &serve, |_, gone| !gone.status.is_some_and(|status| status.success()))?;
    /// drain.stop(std::time::Duration::from_secs(60))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`fork_one`](Self::fork_one). The workers go on.
    pub fn respawn<F, E>(
        &mut self,
        ring: &impl AsRef<LineRing>,
        work: F,
        mut again: impl FnMut(usize, &Worker) -> bool,
    ) -> Result<(), PoolError>
    where
        F: Fn(usize, &mut LineProcMirror) -> Result<(), E>,
        E: Into<Box<dyn Error>>,
    {
        let mut wanted: Vec<usize> = Vec::new();
        loop {
            let now = Instant::now();
            let due = |number: &usize| self.places[*number].forked + RESPAWN_EVERY;
            let next = wanted.iter().copied().min_by_key(due);
            let left = next.map_or(LONGEST, |next| due(&next).saturating_duration_since(now));
            match next {
                Some(next) if left.is_zero() => {
                    wanted.retain(|number| *number != next);
                    if !self.fork_one(ring, next, &work)? {
                        wanted.clear();
                    }
                }
                _ => match self.wait_one(left) {
                    Some(number) if again(number, &self.workers[number]) => wanted.push(number),
                    Some(_) => {}
                    None => {
                        let runs = self.workers.iter().any(|worker| worker.running);
                        if self.is_interrupted() {
                            wanted.clear();
                        }
                        match (runs, wanted.is_empty()) {
                            (false, true) => return Ok(()),
                            // Until the next one may be forked.
                            (false, false) => drop(self.sleep(left)),
                            (true, _) => {}
                        }
                    }
                },
            }
        }
    }

    /// Ends the workers: SIGTERM to each that runs, SIGKILL to those that still run after `limit`,
    /// and waits until all have exited.
    ///
    /// Does not drain, as [`join`](Self::join).
    pub fn stop(&mut self, limit: Duration) -> &[Worker] {
        self.reap(libc::WNOHANG);
        self.signal(libc::SIGTERM);
        let deadline = Instant::now().checked_add(limit);
        while self.workers().iter().any(|worker| worker.running) {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                self.signal(libc::SIGKILL);
                break;
            }
            // A signal for this process changes nothing.
            let _ = self.sleep(left.unwrap_or(limit));
        }
        self.join()
    }
}
