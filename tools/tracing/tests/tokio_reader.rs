//! A task of tokio's reads a ring: what is written wakes it, and no call of it blocks the runtime.

use std::io;
use std::thread;
use std::time::Duration;

use linering::{Item, LineRing, Options, ReadError, Reader, WakeUp};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// The next item; `None` when the ring is over. It may be dropped before it is ready: what it had
/// not given comes with the next one.
async fn recv(
    reader: &mut Reader,
    pipe: &AsyncFd<std::os::fd::OwnedFd>,
) -> Result<Option<Item<'static>>, ReadError> {
    loop {
        if let Some(item) = reader.try_recv()? {
            return Ok(Some(item.into_owned()));
        }
        if reader.is_over() {
            return Ok(None);
        }
        // A mirror that is killed makes nothing readable: look once a second.
        if let Ok(Ok(mut ready)) = timeout(Duration::from_secs(1), pipe.readable()).await {
            ready.clear_ready();
        }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(work)
}

fn open(ring: &LineRing) -> io::Result<(Reader, AsyncFd<std::os::fd::OwnedFd>)> {
    let reader = ring.reader()?;
    let pipe = reader.poll_fd().ok_or_else(|| io::Error::other("no pipe"))?;
    let pipe = pipe.try_clone_to_owned()?;
    // SAFETY: a descriptor of its own, which it keeps open.
    let pipe = unsafe { AsyncFd::register_with_interest(pipe, tokio::io::Interest::READABLE)? };
    Ok((reader, pipe))
}

#[test]
fn a_task_gets_every_line_and_every_end_of_many_threads() {
    for round in 0..50 {
        let ring = LineRing::new(Options::new().wake_up(WakeUp::Pipe).lines(16)).expect("a ring");
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
                let (mut reader, pipe) = open(&ring).expect("a reader");
                let mut found = 0;
                while recv(&mut reader, &pipe).await.expect("ours").is_some() {
                    found += 1;
                }
                found
            });
            assert_eq!(found, 3 * round + 3);
        });
    }
}

#[test]
fn a_line_wakes_a_task_that_waits_and_another_task_runs_meanwhile() {
    let ring = LineRing::new(Options::new().wake_up(WakeUp::Pipe)).expect("a ring");
    let found = run(async {
        let (mut reader, pipe) = open(&ring).expect("a reader");
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
        let given_up = timeout(Duration::ZERO, recv(&mut reader, &pipe)).await;
        found.extend(given_up.ok().and_then(|item| item.expect("ours")));
        while let Some(item) = recv(&mut reader, &pipe).await.expect("ours") {
            found.push(item);
        }
        writes.await.expect("no panic");
        found
    });
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["one", "two", "-- worker 0 ended --"]);
}
