//! Processes that own a ring's locks and go through trials: closed descriptors, forks, stops.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use linering::{LineRing, Options};

use crate::common::{Child, exit, fork, wait_for_the_end};

/// Numbers that a process and those forked from it share.
pub(super) fn counters() -> &'static [AtomicU64; 32] {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice, which stays; zeros are valid
    // atomics.
    unsafe {
        let page = libc::mmap(core::ptr::null_mut(), 4096, access, flags, -1, 0);
        assert!(page != libc::MAP_FAILED, "there is memory");
        &*page.cast()
    }
}

/// Stops this process until it is told to go on: a gate that needs no descriptor.
pub(super) fn stop() {
    // SAFETY: a plain system call.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

/// Waits until the child has stopped itself; its end, if it ended instead.
pub(super) fn await_stop(child: &Child) -> Result<(), String> {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call.
    unsafe {
        let mut info: libc::siginfo_t = core::mem::zeroed();
        let states = libc::WSTOPPED | libc::WEXITED;
        assert_eq!(libc::waitid(libc::P_PID, child.0 as libc::id_t, &raw mut info, states), 0);
        match info.si_code {
            libc::CLD_STOPPED => Ok(()),
            _ => Err(format!("the process ended: code or signal {}", info.si_status())),
        }
    }
}

fn go_on(child: &Child) {
    // SAFETY: a plain system call, for a child of ours that was not awaited.
    unsafe { libc::kill(child.0, libc::SIGCONT) };
}

/// Children of this process that live on, with all that they inherit: by `fork`, and by a `clone`
/// without its handlers.
fn leave_children() {
    fork(wait_for_the_end);
    // SAFETY: as a fork, without its handlers; the child does nothing but wait.
    if unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
        exit(wait_for_the_end());
    }
}

/// What an owner of a cell goes through. It stops itself after each, and is to live.
const TRIALS: [(&str, fn()); 5] = [
    ("with the cell alone", || {}),
    ("with children by fork and clone", leave_children),
    ("without any descriptor", || {
        // SAFETY: closes what is this process's own; its standard streams stay.
        unsafe { libc::close_range(3, u32::MAX, 0) };
    }),
    ("after a forked child has exited", || fork(|| 0).succeeds()),
    ("after a forked child has become another program", || {
        let child = fork(|| {
            // SAFETY: strings with their ends, and a list with its own.
            unsafe { libc::execlp(c"true".as_ptr(), c"true".as_ptr(), core::ptr::null::<i8>()) };
            1
        });
        child.succeeds();
    }),
];

/// A process that has `open` and goes through the trials.
pub(super) fn owner<T>(open: impl FnOnce() -> Option<T>) -> Child {
    fork(|| {
        let Some(_owned) = open() else { return 1 };
        for (_, trial) in TRIALS {
            trial();
            stop();
        }
        wait_for_the_end()
    })
}

/// Runs `look` after each trial of a new owner, while that is stopped and at last while it runs.
/// Then it is killed.
pub(super) fn through_all_trials<T>(open: impl FnOnce() -> Option<T>, mut look: impl FnMut(&str)) {
    let owner = owner(open);
    for (trial, _) in TRIALS {
        await_stop(&owner).unwrap_or_else(|error| panic!("{trial}: {error}"));
        look(trial);
        go_on(&owner);
    }
    look("running");
    owner.end();
}

pub(super) fn small() -> Options {
    Options::new().lines(16).line_bytes(64).mirrors(2).seats(64)
}

/// A new ring at a place where none was.
pub(super) fn new_ring(place: &Path, name: &str, options: Options) -> (PathBuf, LineRing) {
    let path = place.join(name);
    let ring = LineRing::create_file(&path, options).expect("a ring");
    (path, ring)
}
