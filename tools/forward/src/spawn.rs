//! [`spawn`]: a program forwards its own ring, in a thread.
//!
//! It is the command's loop, so messages and promises are the same. Why it is no
//! [`Sink`](linering::Sink) of a drain: see docs/forward.md.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use linering::{LineRing, Observer, Reader, Waker};

use crate::exit::{Failure, note};
use crate::forward::{Options, Totals, Watch, reader};
use crate::message::is_before;
use crate::start::{Destination, start};

/// How long a guard that is dropped waits for the rest.
const LAST_ROUND: Duration = Duration::from_secs(5);
const NAME: &str = "linering-forward";

#[derive(Debug, Default)]
struct State {
    totals: Totals,
    /// Up to which position it is to forward, and until when.
    stop: Option<(u64, Instant)>,
    result: Option<Result<(), Failure>>,
}

/// What the thread and its guard tell each other.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forwards a ring in a thread of its own, until the guard is stopped or dropped.
///
/// This process is the ring's reader then. Writers may be in this process or in others; what they
/// wrote leaves the ring once the engine has acknowledged it. In a ring in a file it outlives the
/// process, and the next one that forwards the ring goes on where the engine's last message says
/// that this one was: each position is in the engine once. `Options::follows` is taken as true.
///
/// What this thread itself logs into the ring, such as records of the client's crate, goes to
/// standard error: it would wait for itself.
///
/// ```no_run
/// use std::time::Duration;
/// use linering::{Level, LineRing};
/// use linering_forward::forward::Options;
/// use linering_forward::spawn::spawn;
/// use linering_forward::start::Destination;
///
/// let path = "/var/lib/app/app.ring";
/// let ring = LineRing::open_file(path)
///     .or_else(|_| LineRing::create_file(path, linering::Options::new()))?;
/// let destination = Destination::new("nats://localhost/LINES".parse()?, "local", "app");
/// let forwarding = spawn(&ring, destination, Options::default())?;
/// let log = ring.writer()?;
/// log.record(Level::Info, "the service starts")?;
/// forwarding.stop(Duration::from_secs(60))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Another process reads the ring, or the system refuses a thread. What fails later ends the
/// thread: it is said on standard error, and in [`ForwardGuard::failure`]. A server that is away is
/// waited for, as [`Options::away`] says.
pub fn spawn(
    ring: &LineRing,
    destination: Destination,
    options: Options,
) -> Result<ForwardGuard, Failure> {
    // Before it connects: a ring whose engine is away has a reader all the same.
    let reader = reader(ring)?;
    let observe =
        || Observer::attach(ring.descriptor().map_err(Failure::failed)?).map_err(Failure::failed);
    let (observer, waker) = (observe()?, reader.waker());
    // Of the same ring in this process: what its writers and this reader know of each other.
    let ring = ring.writer().map_err(Failure::failed)?.ring();
    let options = Options { follows: true, ..options };
    let shared = Arc::new(Shared::default());
    let of_thread = Arc::clone(&shared);
    let run = move || {
        reader.set_staying(true);
        let mut watch = Progress(Arc::clone(&of_thread));
        let result = forward(&ring, reader, &destination, options, &mut watch);
        if let Err(failure) = &result {
            note(NAME, format_args!("{failure}; this ring is forwarded no more"));
        }
        of_thread.lock().result = Some(result);
        of_thread.ended.notify_all();
    };
    let thread = std::thread::Builder::new()
        .name("linering forward".to_owned())
        .spawn(run)
        .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
    let process = std::process::id();
    Ok(ForwardGuard { shared, observer, waker, process, thread: Some(thread) })
}

fn forward(
    ring: &LineRing,
    reader: Reader,
    destination: &Destination,
    options: Options,
    watch: &mut Progress,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error: io::Error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let Some(mut forwarder) = start(ring, Some(reader), destination, options, watch).await?
        else {
            return Ok(());
        };
        let totals = forwarder.run(watch).await?;
        watch.0.lock().totals = totals;
        Ok(())
    })
}

/// The thread's side.
#[derive(Debug)]
struct Progress(Arc<Shared>);

impl Watch for Progress {
    fn is_over(&mut self, totals: &Totals) -> bool {
        let mut state = self.0.lock();
        state.totals = *totals;
        // Beyond what it is to forward: writers that never pause keep it no longer.
        state.stop.is_some_and(|(upto, deadline)| {
            is_before(upto, totals.upto) || Instant::now() >= deadline
        })
    }

    fn ends_idle(&mut self) -> bool {
        self.0.lock().stop.is_some()
    }

    fn say(&mut self, sentence: &str) {
        note(NAME, sentence);
    }
}

/// The thread that forwards a ring, from [`spawn`]. Keep it for as long as the program logs.
///
/// Its drop is a [`stop`](Self::stop) within 5 seconds. In a forked child it does nothing: the
/// thread is the parent's, and forwards what the child writes.
#[must_use = "a guard that is dropped ends the forwarding"]
#[derive(Debug)]
pub struct ForwardGuard {
    shared: Arc<Shared>,
    observer: Observer,
    waker: Waker,
    process: u32,
    thread: Option<JoinHandle<()>>,
}

impl ForwardGuard {
    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        if self.is_inherited() { Totals::default() } else { self.shared.lock().totals }
    }

    /// Why it forwards no more, if that is so: another forwarder, a stream that is gone.
    pub fn failure(&self) -> Option<Failure> {
        if self.is_inherited() {
            return None;
        }
        self.shared.lock().result.clone().and_then(Result::err)
    }

    fn is_inherited(&self) -> bool {
        std::process::id() != self.process
    }

    /// Forwards what was written before this call, for `limit` at most, and ends the thread.
    ///
    /// # Errors
    ///
    /// Why it ended before, or how many positions are left in the ring: in one in a file they are
    /// there for the next process.
    pub fn stop(mut self, limit: Duration) -> Result<Totals, Failure> {
        self.stop_within(limit)
    }

    fn stop_within(&mut self, limit: Duration) -> Result<Totals, Failure> {
        if self.is_inherited() {
            // A handle of a thread that is not here is not to be waited for.
            std::mem::forget(self.thread.take());
            return Err(Failure::failed("the parent's forwarder, expected one of this process"));
        }
        let Some(thread) = self.thread.take() else { return Ok(self.totals()) };
        let next = self.observer.statistics().map_err(Failure::failed)?.next;
        // One that the clock cannot name is a year ahead.
        let (now, longest) = (Instant::now(), Duration::from_secs(365 * 86_400));
        let deadline = now.checked_add(limit).unwrap_or(now + longest);
        self.shared.lock().stop = Some((next, deadline));
        self.waker.wake();
        let state = self.shared.lock();
        let waits = |state: &mut State| state.result.is_none();
        let waited = self.shared.ended.wait_timeout_while(state, limit.min(longest), waits);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (totals, result) = (state.totals, state.result.clone());
        drop(state);
        if let Some(result) = result {
            // It ends now, and cannot panic any more.
            let _ = thread.join();
            result?;
        }
        let left = next.wrapping_sub(totals.upto) as i64;
        if left > 0 {
            let sentence = format!(
                "{left} positions are left in the ring, expected none: the \
                                    engine is away, or needs more time"
            );
            return Err(Failure::failed(sentence));
        }
        Ok(totals)
    }
}

impl Drop for ForwardGuard {
    fn drop(&mut self) {
        let is_over = self.thread.is_none() || self.failure().is_some();
        if let Err(failure) = self.stop_within(LAST_ROUND)
            && !is_over
            && !self.is_inherited()
        {
            note(NAME, failure);
        }
    }
}
