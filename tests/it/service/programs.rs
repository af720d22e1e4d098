//! Whole programs, as short as their users would have them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use linering::{Ends, Level, LineRing, LogDrain, Options, SharedWriter, non_blocking};

use super::{Kept, LIMIT, is_alone};
use crate::common::{die, fork};

/// How many of the lines end so.
fn count(sink: &Kept, end: &str) -> usize {
    sink.lines().iter().filter(|line| line.ends_with(end)).count()
}

#[test]
fn a_server_whose_workers_are_forked_before_and_replaced_when_they_die() {
    if !is_alone(
        "service::programs::a_server_whose_workers_are_forked_before_and_replaced_when_they_die",
    ) {
        return;
    }
    let sink = Kept::default();
    let (log, guard) = non_blocking(sink.clone()).expect("a log");
    let serve = |worker: u8| {
        let log = &log;
        fork(move || {
            for request in 0..10 {
                let text = format_args!("worker {worker} serves {request}");
                if log.record_fmt(Level::Info, text).is_err() {
                    return 1;
                }
            }
            if worker.is_multiple_of(2) { die() } else { 0 }
        })
    };
    let workers: Vec<_> = (0..4).map(serve).collect();
    for (number, worker) in (4..).zip(workers) {
        if !worker.status().success() {
            log.record_fmt(Level::Warn, format_args!("worker {number} replaces it")).expect("room");
            serve(2 * number + 1).succeeds();
        }
    }
    let totals = guard.stop(LIMIT).expect("ours");
    assert_eq!((totals.lines, totals.lost, totals.left), (62, 0, 0));
    assert_eq!((count(&sink, "serves 9"), count(&sink, "replaces it")), (6, 2));
    assert!(sink.text().matches(" ERROR -- worker ").count() >= 2, "{}", sink.text());
}

#[test]
fn a_program_that_computes_in_many_threads() {
    let sink = Kept::default();
    let (log, guard) = non_blocking(sink.clone()).expect("a log");
    let sums: Vec<u64> = thread::scope(|scope| {
        let log = &log;
        let sum = |part: u64| {
            let sum = (part * 1000..(part + 1) * 1000).sum();
            writeln!(log.at(Level::Debug), "part {part}: {sum}").expect("it logs");
            sum
        };
        let threads: Vec<_> = (0..16).map(|part| scope.spawn(move || sum(part))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    guard.stop(LIMIT).expect("ours");
    assert_eq!(sums.iter().sum::<u64>(), (0..16_000).sum::<u64>());
    assert_eq!(count(&sink, &format!("part 3: {}", sums[3])), 1);
    assert_eq!(sink.lines().len(), 16);
}

#[test]
#[cfg(feature = "workers")]
fn workers_that_panic_abort_fail_and_are_killed() {
    let ring = LineRing::new(Options::new()).expect("a ring");
    let sink = Kept::default();
    let mut pool = linering::WorkerPool::fork(&ring, 5, |worker, mirror| {
        writeln!(mirror, "worker {worker} begins").map_err(|error| error.to_string())?;
        match worker {
            0 => Ok(()),
            1 => Err("out of luck".to_owned()),
            2 => std::panic::panic_any("unlucky"),
            3 => std::process::abort(),
            _ => die(),
        }
    })
    .expect("workers");
    let drain = LogDrain::new(ring.reader().expect("no other")).to(sink.clone()).ends(Ends::All);
    let totals = drain.run().expect("ours");
    pool.join();
    let text = sink.text();
    // An error and a panic are records too.
    assert_eq!((totals.lines, totals.ended, text.matches(" begins\n").count()), (7, 5, 5));
    for told in [
        "worker 0 ended --",
        "out of luck",
        "worker 1 ended with an error --",
        "unlucky",
        "worker 2 ended with an error --",
        "worker 3 died, signal: 6 (SIGABRT)",
        "worker 4 died, signal: 9 (SIGKILL) --",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

/// What this program does where the test below starts it; nothing otherwise.
#[test]
fn a_program_of_another_kind() {
    let Some(log) = SharedWriter::from_env().expect("a seat") else { return };
    log.record(Level::Info, "straight into the parent's log").expect("room");
}

#[test]
fn a_service_that_starts_programs_which_log_into_its_file() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("service.log");
    let (log, guard) = non_blocking(fs::File::create(&path).expect("a file")).expect("a log");
    let seat = log.ring().seat_labelled("helper").expect("a seat");
    let mut program = Command::new(std::env::current_exe().expect("a path"));
    program.args(["--exact", "service::programs::a_program_of_another_kind", "--quiet"]);
    seat.pass_to(program.stdout(Stdio::null())).expect("a descriptor");
    assert!(program.status().expect("it runs").success());
    guard.stop(LIMIT).expect("ours");
    let text = fs::read_to_string(&path).expect("UTF-8");
    assert!(text.contains("straight into the parent's log\n"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
