//! Runs one measurement of a given transport in this process: starts the writers, reads, checks and
//! counts. Which transport a name stands for is decided above, in `transports`.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Figures, Measure, Outcome};
use crate::clock::{Clock, after, before};
use crate::distance::{RoundTrips, round_trip_ns};
use crate::line::{Check, line};
use crate::shared::Stage;
use crate::stats::Cost;
use crate::transport::{Kind, Reader, Run, Setup, Transport, Writer};

/// A paced writer calls this often, if the transport lets it.
const PERIOD_NS: u64 = 2000;
/// A reader that waits for lines that all writers have sent long ago waits in vain.
const QUIET: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Prints the outcome as one line of JSON, on a line of its own whatever a transport has printed.
pub fn print(outcome: &Outcome) {
    let text = serde_json::to_string(outcome).expect("figures and words are JSON");
    let _ = std::io::stdout().write_all(format!("\n{text}\n").as_bytes());
}

/// Writers that are threads of this process.
pub fn threads<const N: usize, T: Transport<N> + Sync>(case: &Case) -> Outcome {
    measure::<N, T>(case, |transport, plan, read| {
        thread::scope(|scope| {
            for index in 0..plan.writers {
                scope.spawn(move || plan.write::<N, T>(transport, index));
            }
            read();
        });
        Ok(())
    })
}

/// Writers that are forked children, which share with this process what the transport shares with
/// them.
pub fn processes<const N: usize, T: Transport<N>>(case: &Case) -> Outcome {
    measure::<N, T>(case, |transport, plan, read| {
        let children: Vec<_> =
            (0..plan.writers).map(|index| fork(|| plan.write::<N, T>(transport, index))).collect();
        read();
        let failed = children.into_iter().filter(|child| !ended_well(*child)).count();
        if failed == 0 { Ok(()) } else { Err(format!("{failed} writers failed")) }
    })
}

/// What the writers are to do.
#[derive(Clone, Debug)]
struct Plan {
    writers: usize,
    each: u64,
    /// The clock, if their calls are paced and measured.
    paced: Option<Clock>,
    stage: Arc<Stage>,
}

impl Plan {
    /// One writer's life.
    fn write<const N: usize, T: Transport<N>>(&self, transport: &T, index: usize) {
        let mut writer = transport.writer(index);
        self.stage.wait_for_start();
        match &self.paced {
            None => (0..self.each).for_each(|number| writer.send(&line(index as u64, number))),
            Some(clock) => self.write_paced(clock, &mut writer, index),
        }
        self.stage.finish_and_wait();
    }

    /// A call each [`PERIOD_NS`]; after a call that took longer the next comes at once, and the
    /// pace goes on from there.
    fn write_paced<const N: usize>(
        &self,
        clock: &Clock,
        writer: &mut impl Writer<N>,
        index: usize,
    ) {
        let period = clock.ticks(PERIOD_NS);
        let samples = self.stage.samples(index);
        let mut due = before();
        for (number, sample) in samples.iter().enumerate() {
            let line = line(index as u64, number as u64);
            due = (due + period).max(before());
            while before() < due {
                std::hint::spin_loop();
            }
            let start = before();
            writer.send(&line);
            sample.store((after() - start).try_into().unwrap_or(u32::MAX), Relaxed);
        }
    }
}

fn measure<const N: usize, T: Transport<N>>(
    case: &Case,
    with_writers: impl FnOnce(&T, &Plan, &mut dyn FnMut()) -> Result<(), String>,
) -> Outcome {
    match try_measure::<N, T>(case, with_writers) {
        Ok(figures) => Outcome::Good(figures),
        Err(words) => Outcome::Fault(words),
    }
}

fn try_measure<const N: usize, T: Transport<N>>(
    case: &Case,
    with_writers: impl FnOnce(&T, &Plan, &mut dyn FnMut()) -> Result<(), String>,
) -> Result<Figures, String> {
    let paced = (case.measure == Measure::Paced).then(Clock::calibrated);
    let round_trip = || case.measure.is_timed().then(round_trip_ns).flatten();
    // Nothing but the reader's loop: who makes no lines for others starts no writers.
    let writers = if T::KIND == Kind::Alone { 0 } else { case.writers };
    let each = case.each();
    let calls = if paced.is_some() { each as usize } else { 0 };
    let stage =
        Stage::new(writers, calls).map_err(|error| format!("no memory to share: {error}"))?;
    let stage = Arc::new(stage);
    let setup = Setup {
        room: case.room,
        writers: case.writers,
        reading: case.reading,
        stage: Arc::clone(&stage),
    };
    let transport = T::make(&setup)?;
    let plan = Plan { writers, each, paced, stage: Arc::clone(&stage) };
    let run = Run { stage: Arc::clone(&stage), total: each * case.writers as u64 };

    let mut check = Check::<N>::new(case.writers);
    let mut time = Duration::ZERO;
    let mut read = || {
        let watched = (Arc::clone(&stage), run.total, Duration::from_secs(case.limit));
        thread::spawn(move || watch(&watched.0, watched.1, watched.2));
        time = transport.reader().read_all(&run, &mut check);
        stage.end();
    };
    let before_ns = round_trip();
    with_writers(&transport, &plan, &mut read)?;
    let round_trips =
        before_ns.zip(round_trip()).map(|(before_ns, after_ns)| RoundTrips { before_ns, after_ns });
    if T::KIND != Kind::Limit {
        check.verdict(each)?;
    }
    let cost = paced.and_then(|clock| {
        let all = (0..writers).flat_map(|writer| stage.samples(writer));
        Cost::of(all.map(|sample| clock.cost(sample.load(Relaxed))).collect())
    });
    Ok(Figures {
        lines: run.total,
        seconds: time.as_secs_f64(),
        round_trips,
        room: transport.room(),
        resident_kib: (case.measure == Measure::Memory).then(resident_kib).flatten(),
        cost_ns: cost,
        clock_ns: cost.and(paced).map(|clock| clock.own()),
        syscalls: None,
    })
}

/// Ends a process whose reader waits in vain, and says how far it came; its children are killed
/// with it.
///
/// Time is counted in looks, so that a machine that stood still meanwhile makes no writer late.
fn watch(stage: &Stage, total: u64, limit: Duration) {
    let (mut last, mut quiet, mut all) = (0, Duration::ZERO, Duration::ZERO);
    loop {
        thread::sleep(LOOK);
        if stage.is_over() {
            return;
        }
        let received = stage.lines_received();
        all += LOOK;
        quiet =
            if received == last && stage.all_finished() { quiet + LOOK } else { Duration::ZERO };
        last = received;
        let words = if quiet > QUIET {
            format!(
                "lost {} of {total}: all were sent, and no more come",
                total.saturating_sub(received)
            )
        } else if all > limit {
            format!("hangs: {received} of {total} lines in {} s", limit.as_secs())
        } else {
            continue;
        };
        print(&Outcome::Fault(words));
        // SAFETY: ends this process at once, whatever its other threads hold.
        unsafe { libc::_exit(0) };
    }
}

/// The most memory that this process has had resident so far.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs `body` in a child, which dies with this process.
fn fork(body: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this process has one thread here, so the child may use whatever it inherits.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: changes nothing but what becomes of this child.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err();
            // SAFETY: leaves without the parent's destructors.
            unsafe { libc::_exit(panicked.into()) }
        }
        child => child,
    }
}

fn ended_well(child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: a child of ours, which no other thread waits for.
    unsafe { libc::waitpid(child, &mut status, 0) == child && status == 0 }
}
