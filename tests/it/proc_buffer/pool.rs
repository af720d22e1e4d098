//! A pool's workers: their numbers, their lines, and the children that are not the pool's.

use std::io::Write;

use linering::{WorkerPool, WriteError};

use super::{small, sorted};
use crate::common::fork;

#[test]
fn a_pool_reaps_no_child_that_it_did_not_start() {
    let buffer = small(10);
    let other = fork(|| 7);
    let mut pool = WorkerPool::fork(&buffer, 2, |_, _| Ok::<(), WriteError>(())).expect("a pool");
    assert_eq!(pool.wait(&buffer).expect("ours").len(), 2);
    assert_eq!(other.status().code(), Some(7));
}

#[test]
fn a_pools_workers_have_the_numbers_of_their_mirrors() {
    let buffer = small(10);
    let _first = buffer.mirror().expect("a mirror");
    let mut pool = WorkerPool::fork(&buffer, 3, |worker, mirror| {
        match mirror.writer_id() as usize == worker + 1 {
            true => Ok(()),
            false => Err("another number"),
        }
    })
    .expect("a pool");
    pool.join();
    let workers: Vec<_> = pool
        .workers()
        .iter()
        .map(|worker| (worker.worker, worker.status.and_then(|s| s.code())))
        .collect();
    assert_eq!(workers, [(1, Some(0)), (2, Some(0)), (3, Some(0))]);
}

#[test]
fn sorted_lines_of_a_pool_are_all_there() {
    let buffer = small(100);
    let mut pool =
        WorkerPool::fork(&buffer, 8, |worker, mirror| writeln!(mirror, "worker {worker}"))
            .expect("a pool");
    pool.wait(&buffer).expect("ours");
    assert_eq!(
        sorted(&buffer),
        (0..8).map(|worker| format!("worker {worker}")).collect::<Vec<_>>()
    );
}
