//! A task of tokio's reads a ring: what is written wakes it, and no call of it blocks the runtime.

use std::io;
use std::thread;
use std::time::Duration;

use linering::{AsyncReader, Item, LineRing, Options, WakeUp};
use tokio::time::timeout;

use super::LIMIT;
use crate::common::{die, fork};

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(work)
}

fn ring(lines: usize) -> LineRing {
    LineRing::new(Options::new().wake_up(WakeUp::Pipe).lines(lines)).expect("a ring")
}

fn reader(ring: &LineRing) -> AsyncReader {
    AsyncReader::new(ring.reader().expect("no other")).expect("a runtime")
}

#[test]
fn a_task_gets_every_line_and_every_end_of_many_threads() {
    for round in 0..50 {
        let ring = ring(16);
        let mirrors: Vec<_> = (0..3).map(|_| ring.mirror().expect("a mirror")).collect();
        thread::scope(|scope| {
            for mut mirror in mirrors {
                scope.spawn(move || {
                    for line in 0..round {
                        mirror.write_line(line.to_string().as_bytes()).expect("room, in time");
                    }
                });
            }
            let found = run(async {
                let mut reader = reader(&ring);
                let mut found = 0;
                while reader.recv().await.expect("ours").is_some() {
                    found += 1;
                    if round % 2 == 0 {
                        let batch = reader.batch().await.expect("ours");
                        found += batch.len();
                        batch.commit();
                    }
                }
                found
            });
            assert_eq!(found, 3 * round + 3);
        });
    }
}

#[test]
fn a_line_wakes_a_task_that_waits_and_another_task_runs_meanwhile() {
    let ring = ring(64);
    let found = run(async {
        let mut reader = reader(&ring);
        let mut mirror = ring.mirror().expect("a mirror");
        let writes = tokio::spawn(async move {
            for line in ["one", "two"] {
                // The other waits by then, and was given up once.
                tokio::task::yield_now().await;
                mirror.write_line(line.as_bytes()).expect("room");
            }
            drop(mirror);
        });
        let mut found = Vec::new();
        if let Ok(item) = timeout(Duration::ZERO, reader.recv()).await {
            found.extend(item.expect("ours").map(Item::into_owned));
        }
        while let Some(item) = reader.recv().await.expect("ours") {
            found.push(item.into_owned());
        }
        writes.await.expect("no panic");
        found
    });
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["one", "two", "-- worker 0 ended --"]);
}

#[test]
fn what_was_not_accepted_comes_to_the_next_reader() {
    let ring = ring(64);
    let mut mirror = ring.mirror().expect("a mirror");
    for line in ["one", "two", "three", "four"] {
        mirror.write_line(line.as_bytes()).expect("room");
    }
    run(async {
        let mut reader = reader(&ring);
        assert_eq!(reader.recv().await.expect("ours").expect("a line").to_string(), "one");
        // Accepts it; the batch itself is dropped.
        assert_eq!(reader.batch().await.expect("ours").len(), 3);
        assert_eq!(reader.recv().await.expect("ours").expect("a line").to_string(), "two");
        reader.get_mut().commit().expect("ours");
        let item = reader.recv().await.expect("ours").map(|item| item.to_string());
        assert_eq!(item.as_deref(), Some("three"));
        let mut reader = reader.into_inner();
        let item = reader.recv_timeout(LIMIT).expect("ours").map(|item| item.to_string());
        assert_eq!(item.as_deref(), Some("four"), "asking for it accepts the one before");
    });
}

#[test]
fn a_ring_that_is_kept_open_waits_until_it_is_woken_and_death_is_told() {
    let ring = ring(64);
    run(async {
        let mut reader = reader(&ring);
        reader.get_mut().keep_open(true);
        let child = fork(|| {
            let Ok(mut mirror) = ring.mirror() else { return 1 };
            if mirror.write_line(b"the last words").is_err() { 2 } else { die() }
        });
        let process = child.0;
        let item = reader.recv().await.expect("ours").expect("a line").to_string();
        assert_eq!(item, "the last words");
        // It makes nothing readable.
        let item = reader.recv().await.expect("ours").expect("an end");
        let Item::Ended(ended) = item else { panic!("{item}") };
        assert_eq!(ended.process, Some(process as u32));
        child.status();
        let waker = reader.get_ref().waker();
        let wakes = tokio::spawn(async move { waker.wake() });
        assert!(reader.recv().await.expect("ours").is_none(), "though it is kept open");
        wakes.await.expect("no panic");
    });
}

#[test]
fn a_ring_without_a_pipe_and_a_thread_without_a_runtime_are_refused() {
    let futex = LineRing::new(Options::new()).expect("a ring");
    let error = run(async { AsyncReader::new(futex.reader().expect("no other")) });
    let error = error.expect_err("no pipe");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("WakeUp::Pipe"), "{error}");
    let error = AsyncReader::new(ring(8).reader().expect("no other")).expect_err("no runtime");
    assert!(error.to_string().contains("runtime"), "{error}");
}
