//! However a process leaves, its writers end: with what was begun, and an end that says so.

use std::io::Write;
use std::thread;

use linering::{End, Item, Level, LineRing, Options, SharedWriter, WorkerPool};

use super::{LIMIT, is_alone, ring};
use crate::common::{fork, wait_for_the_end};

/// What the ring has, by the texts of its lines, and how its mirrors ended.
fn left(ring: &LineRing) -> (Vec<String>, Vec<End>) {
    let (mut lines, mut ends) = (Vec::new(), Vec::new());
    for item in ring.reader().expect("no other") {
        match item.expect("ours") {
            Item::Ended(ended) => ends.push(ended.end),
            item => lines.push(item.to_string()),
        }
    }
    lines.sort();
    (lines, ends)
}

/// A record, and a line without an end, from this thread and from one that has ended.
fn log(writer: &SharedWriter) {
    let mut here = writer;
    writer.record(Level::Info, "a record").expect("room");
    here.write_all(b"begun").expect("room");
    thread::scope(|scope| scope.spawn(|| writer.record(Level::Info, "a thread's")).join())
        .expect("no panic")
        .expect("room");
}

#[test]
fn a_pools_worker_ends_the_writers_that_it_used() {
    if !is_alone("service::ends::a_pools_worker_ends_the_writers_that_it_used") {
        return;
    }
    for way in ["inherited", "its own, and static", "its own, of an error", "of a panic"] {
        let ring = ring(linering::Policy::Block, 64);
        let writer = ring.writer().expect("a writer");
        let work = |_, _: &mut linering::LineProcMirror| match way {
            "inherited" => {
                log(&writer);
                Ok(())
            }
            "its own, and static" => {
                let own = ring.writer().expect("a writer");
                log(&own);
                std::mem::forget(own);
                Ok(())
            }
            "its own, of an error" => {
                log(&writer);
                Err("out of luck")
            }
            _ => {
                log(&writer);
                std::panic::panic_any(7)
            }
        };
        let mut pool = WorkerPool::fork(&ring, 2, work).expect("workers");
        pool.join();
        drop(writer);
        let (lines, ends) = left(&ring);
        let own: Vec<_> = lines.iter().filter(|line| !line.contains(' ')).collect();
        assert_eq!(own, ["begun", "begun"], "{way}: {lines:?}");
        assert_eq!(lines.iter().filter(|line| *line == "a thread's").count(), 2, "{way}");
        let expected = if way.starts_with("inherited") || way.ends_with("static") { 0 } else { 2 };
        assert_eq!(ends.iter().filter(|end| **end == End::Error).count(), expected, "{way}");
        assert!(ends.iter().all(|end| matches!(end, End::Eof | End::Error)), "{way}: {ends:?}");
    }
}

#[test]
fn a_child_that_exits_ends_the_writers_that_it_used_also_where_threads_share_one() {
    if !is_alone(
        "service::ends::a_child_that_exits_ends_the_writers_that_it_used_also_where_threads_share_one",
    ) {
        return;
    }
    // With three, the child's threads share the last.
    for mirrors in [3, 16] {
        let options = Options::new().mirrors(mirrors).lines(64);
        let ring = LineRing::new(options).expect("a ring");
        let writer = ring.writer().expect("a writer");
        let child = fork(|| {
            log(&writer);
            // SAFETY: what runs then is this crate's, and the C library's.
            unsafe { libc::exit(0) }
        });
        child.succeeds();
        drop(writer);
        let (lines, ends) = left(&ring);
        assert_eq!(lines, ["a record", "a thread's", "begun"], "{mirrors}");
        assert!(ends.iter().all(|end| *end == End::Eof), "{mirrors}: {ends:?}");
    }
}

#[test]
fn a_writer_that_is_dropped_publishes_what_threads_that_share_a_mirror_have_begun() {
    // The threads have none of their own.
    let ring = LineRing::new(Options::new().mirrors(1).lines(64)).expect("a ring");
    let writer = ring.writer().expect("a writer");
    let (begun, is_begun) = std::sync::mpsc::channel();
    let other = {
        let (writer, ring) = (writer.clone(), ring.clone());
        thread::spawn(move || {
            (&writer).write_all(b"begun by another").expect("room");
            drop(writer);
            begun.send(()).expect("it waits");
            // For as long as the ring is not over.
            left(&ring)
        })
    };
    is_begun.recv_timeout(LIMIT).expect("it begins");
    (&writer).write_all(b"begun here").expect("room");
    drop(writer);
    let (lines, ends) = other.join().expect("no panic");
    assert_eq!(lines, ["begun by another", "begun here"]);
    assert_eq!(ends, [End::Eof]);
}

#[test]
fn a_child_that_exits_while_a_thread_has_the_shared_mirror_does_not_wait_for_it() {
    if !is_alone(
        "service::ends::a_child_that_exits_while_a_thread_has_the_shared_mirror_does_not_wait_for_it",
    ) {
        return;
    }
    // Full, and the reader takes nothing: that thread waits for room, for ever.
    let ring = LineRing::new(Options::new().mirrors(2).lines(8)).expect("a ring");
    let reader = ring.reader().expect("no other");
    let writer = ring.writer().expect("a writer");
    let child = fork(|| {
        let (full, is_full) = std::sync::mpsc::channel();
        let writer = writer.clone();
        thread::spawn(move || {
            for _ in 0..8 {
                let _ = writer.record(Level::Info, "line");
            }
            let _ = full.send(());
            let _ = writer.record(Level::Info, "too many");
            wait_for_the_end();
        });
        let _ = is_full.recv();
        // SAFETY: as above.
        unsafe { libc::exit(0) }
    });
    child.succeeds();
    drop(reader);
}
