//! Who is dead and who is not: the kernel says so, by a lock that ends with its process and in no
//! other way.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use linering::{End, Item, LineRing, MirrorError, Options};

use crate::common::{Child, Gate, die, exit, fork, not_run, wait_for_the_end};

const MIRRORS: usize = 3;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn ring() -> LineRing {
    LineRing::new(Options::new().lines(16).line_bytes(64).mirrors(MIRRORS)).expect("a ring")
}

/// What a reader sees that has just become that, and so looks for the dead at once.
fn look(ring: &LineRing) -> Vec<String> {
    let mut reader = ring.reader().expect("no other reader");
    let mut seen = Vec::new();
    while let Some(item) = reader.try_recv().expect("ours") {
        seen.push(match &item {
            Item::Ended(ended) => format!("{:?}", ended.end),
            other => other.to_string(),
        });
    }
    seen
}

fn assert_alive(ring: &LineRing) {
    assert_eq!(look(ring), ["line"]);
    assert_eq!((look(ring), ring.counts().live), (vec![], 1), "it lives");
}

fn assert_dead(ring: &LineRing) {
    // The kernel lets go of a dead process's memory when no process looks at that any more: a
    // moment later, perhaps.
    let began = Instant::now();
    let mut seen = Vec::new();
    while !seen.contains(&"Died".to_owned()) {
        seen.extend(look(ring));
        assert!(began.elapsed() < PATIENCE, "it is dead: {seen:?}");
    }
    assert!(seen == ["line", "Died"] || seen == ["Died"], "{seen:?}");
    assert_eq!(ring.counts().live, 0);
    // Its cell can be had.
    let all: Vec<_> = (0..MIRRORS).map(|_| ring.mirror().expect("a cell")).collect();
    drop(all);
}

/// A child that has a mirror, has written a line into it, and goes on with `then`.
fn writer(ring: &LineRing, then: impl FnOnce() -> u8) -> Child {
    let gate = Gate::new();
    let child = fork(|| {
        let Ok(mut mirror) = ring.mirror() else { return 1 };
        if mirror.write_line(b"line").is_err() {
            return 2;
        }
        gate.open();
        let code = then();
        // Not an EOF.
        std::mem::forget(mirror);
        code
    });
    gate.pass();
    child
}

/// Waits for a child's change of state, and leaves it as it is.
fn await_state(child: &Child, state: i32) {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call.
    unsafe {
        let mut info: libc::siginfo_t = core::mem::zeroed();
        let flags = state | libc::WNOWAIT;
        assert_eq!(libc::waitid(libc::P_PID, child.0 as libc::id_t, &raw mut info, flags), 0);
    }
}

fn signal(process: i32, signal: i32) {
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

#[test]
fn a_stopped_writer_is_alive() {
    let ring = ring();
    let child = writer(&ring, wait_for_the_end);
    signal(child.0, libc::SIGSTOP);
    await_state(&child, libc::WSTOPPED);
    assert_alive(&ring);
    child.end();
    assert_dead(&ring);
}

#[test]
fn a_zombie_is_dead() {
    let ring = ring();
    let child = writer(&ring, || 0);
    await_state(&child, libc::WEXITED);
    signal(child.0, 0);
    assert_dead(&ring);
    child.succeeds();
}

/// Forks with a number of our choice, for `work`; `None` where that is not permitted.
fn fork_as(process: i32, work: impl FnOnce() -> u8) -> Option<Child> {
    let numbers = [process];
    // SAFETY: plain data, for which zeros are valid, which lives during the call; the child does
    // what `fork`'s does.
    unsafe {
        let mut args: libc::clone_args = core::mem::zeroed();
        args.exit_signal = libc::SIGCHLD as u64;
        args.set_tid = numbers.as_ptr() as u64;
        args.set_tid_size = 1;
        match libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) {
            -1 => None,
            0 => exit(work()),
            process => Some(Child(process as i32)),
        }
    }
}

/// Exit code of a process that may not fork as it should.
const MAY_NOT: u8 = 100;

// A clone without a fork's handlers takes along what other threads have for a moment, locks of this
// library among them: it is made by a process of one thread.
#[test]
fn a_process_with_a_dead_ones_number_is_another() {
    let status = fork(|| {
        let ring = ring();
        let child = writer(&ring, wait_for_the_end);
        let number = child.0;
        child.end();
        let Some(other) = fork_as(number, wait_for_the_end) else { return MAY_NOT };
        if other.0 != number {
            return 1;
        }
        assert_dead(&ring);
        other.end();
        0
    })
    .status();
    match status.code() {
        Some(code) if code == i32::from(MAY_NOT) => {
            not_run("to fork a process with a number of one's choice (as root, say)")
        }
        code => assert_eq!(code, Some(0), "{status}"),
    }
}

/// A child that has a mirror and has made another process by `make`, which gives its number.
fn with_a_child_of_its_own(ring: &LineRing, make: impl FnOnce() -> i32) -> (Child, i32) {
    let (mut heard, mut said) = std::io::pipe().expect("a pipe");
    let child = writer(ring, || {
        let number = make();
        if said.write_all(&number.to_ne_bytes()).is_err() {
            return 1;
        }
        wait_for_the_end()
    });
    let mut number = [0; 4];
    heard.read_exact(&mut number).expect("it says so");
    (child, i32::from_ne_bytes(number))
}

/// What a writer leaves running does not keep it alive.
fn assert_dies_alone(make: impl FnOnce() -> i32) {
    let ring = ring();
    let (child, other) = with_a_child_of_its_own(&ring, make);
    assert_alive(&ring);
    child.end();
    signal(other, 0);
    assert_dead(&ring);
    signal(other, libc::SIGKILL);
}

#[test]
fn a_forked_child_that_lives_on_does_not_keep_its_dead_parent_alive() {
    assert_dies_alone(|| fork(wait_for_the_end).0);
}

#[test]
fn nor_does_one_of_a_raw_clone() {
    assert_dies_alone(|| {
        // SAFETY: as a fork, without its handlers; the child does nothing but wait.
        match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
            0 => exit(wait_for_the_end()),
            number => number as i32,
        }
    });
}

#[test]
fn nor_does_one_that_was_spawned() {
    // By `posix_spawn`, which is a `vfork`.
    assert_dies_alone(|| {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_or(-1, |child| child.id() as i32)
    });
}

#[test]
fn what_a_raw_clone_writes_is_its_own() {
    // By a process of one thread: the clone writes, and would wait for ever for a lock that another
    // thread has at that moment.
    fork(|| {
        let ring = ring();
        let mut mirror = ring.mirror().expect("a mirror");
        mirror.write_all(b"par").expect("room");
        // SAFETY: as a fork, without its handlers; the child writes and leaves.
        let child = match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
            0 => exit(u8::from(mirror.write_line(b"child").is_err())),
            number => Child(number as i32),
        };
        child.succeeds();
        mirror.write_all(b"ent\n").expect("room");
        let began = Instant::now();
        let mut seen = look(&ring);
        while seen.len() < 3 && began.elapsed() < PATIENCE {
            seen.extend(look(&ring));
        }
        seen.sort();
        u8::from(seen != ["Died", "child", "parent"])
    })
    .succeeds();
}

#[test]
fn another_program_in_a_writers_process_is_not_the_writer() {
    let ring = ring();
    let child = writer(&ring, || {
        // SAFETY: strings with their ends, and a list with its own.
        unsafe {
            libc::execlp(
                c"sleep".as_ptr(),
                c"sleep".as_ptr(),
                c"1000".as_ptr(),
                core::ptr::null::<i8>(),
            )
        };
        1
    });
    // Until it is that program: its memory, and the lock with it, are gone before its name changes.
    let name = || std::fs::read_to_string(format!("/proc/{}/comm", child.0)).unwrap_or_default();
    while name().trim() != "sleep" {
        std::thread::yield_now();
    }
    assert_dead(&ring);
    signal(child.0, 0);
    child.end();
}

#[test]
fn a_writer_that_closes_all_descriptors_keeps_its_cell() {
    let ring = ring();
    let (go_on, gone_on) = (Gate::new(), Gate::new());
    let child = fork(|| {
        let Ok(mut mirror) = ring.mirror() else { return 1 };
        if mirror.write_line(b"line").is_err() {
            return 2;
        }
        // What a daemon does. The gates are kept on numbers that it leaves.
        let mut keep = [go_on.descriptors(), gone_on.descriptors()].concat();
        keep.sort_unstable();
        let mut first = 3;
        for kept in keep.into_iter().map(|kept| kept as u32).chain([u32::MAX]) {
            // SAFETY: closes what may be anybody's, which is the point.
            if first < kept && unsafe { libc::close_range(first, kept - 1, 0) } != 0 {
                return 4;
            }
            first = kept.wrapping_add(1);
        }
        gone_on.open();
        go_on.pass();
        u8::from(mirror.write_line(b"second").is_err()) * 3
    });
    gone_on.pass();
    assert_alive(&ring);
    let others: Vec<_> = (1..MIRRORS).map(|_| ring.mirror().expect("a cell")).collect();
    assert!(
        matches!(ring.mirror(), Err(MirrorError::TooManyMirrors { .. })),
        "no other process has its cell"
    );
    drop(others);
    go_on.open();
    child.succeeds();
    let mut seen = look(&ring);
    seen.sort();
    let eof = format!("{:?}", End::Eof);
    assert_eq!(seen, [eof.as_str(), &eof, &eof, "second"]);
}

#[test]
fn a_writer_in_another_pid_namespace_is_judged_rightly() {
    let ring = ring();
    let (begun, permitted) = (Gate::new(), Gate::new());
    let (mut heard, mut said) = std::io::pipe().expect("a pipe");
    let child = fork(|| {
        // SAFETY: a plain system call; the next child is the first of its namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            return u8::from(said.write_all(&[0; 4]).is_err());
        }
        let inner = fork(|| {
            let own = std::process::id();
            let Ok(mut mirror) = ring.mirror() else { return 1 };
            if own != 1 || mirror.write_line(b"line").is_err() {
                return 2;
            }
            begun.open();
            wait_for_the_end()
        });
        begun.pass();
        if said.write_all(&inner.0.to_ne_bytes()).is_err() {
            return 3;
        }
        permitted.pass();
        inner.end();
        0
    });
    let mut number = [0; 4];
    heard.read_exact(&mut number).expect("it says so");
    if number == [0; 4] {
        child.succeeds();
        return not_run("to make a PID namespace (as root, say)");
    }
    assert_alive(&ring);
    permitted.open();
    child.succeeds();
    assert_dead(&ring);
}

#[test]
fn ten_thousand_crashes_cost_no_slot_and_no_cell() {
    let ring = ring();
    let mut reader = ring.reader().expect("no other reader");
    let crashes = 10_000;
    for _ in 0..crashes {
        let child = fork(|| {
            let Ok(mut mirror) = ring.mirror() else { return 1 };
            if mirror.write_all(b"line\nunfini").is_err() {
                return 2;
            }
            die()
        });
        assert_eq!(child.status().code(), None, "it had a cell, and room");
        while reader.try_recv().expect("ours").is_some() {}
    }
    while ring.counts().live > 0 {
        while reader.try_recv().expect("ours").is_some() {}
    }
    assert_eq!(ring.counts().deaths, crashes);
    drop(reader);
    let all: Vec<_> = (0..MIRRORS).map(|_| ring.mirror().expect("a cell")).collect();
    drop(all);
}

/// How the one mirror of this ring ended.
fn end_of(ring: &LineRing) -> linering::Ended<'static> {
    let mut reader = ring.reader().expect("no other reader");
    loop {
        if let Some(Item::Ended(ended)) = reader.recv().expect("ours").map(Item::into_owned) {
            return ended;
        }
    }
}

#[test]
fn a_parent_is_told_how_its_child_exited_and_may_still_await_it() {
    for (work, is_failure, told) in [
        ((|| 0) as fn() -> u8, false, "exited, no EOF"),
        (|| 7, true, "died, exit status: 7"),
        (|| die(), true, "died, signal: 9 (SIGKILL)"),
    ] {
        let ring = ring();
        let child = writer(&ring, work);
        let ended = end_of(&ring);
        assert_eq!((ended.end, ended.is_failure()), (End::Died, is_failure));
        assert_eq!(ended.to_string(), format!("-- worker 0 {told} --"));
        assert_eq!(ended.process, Some(child.0 as u32));
        assert_eq!(ended.exit, Some(child.status()), "it was not awaited before");
    }
}

#[test]
fn nobody_is_told_how_another_processes_child_exited() {
    let ring = ring();
    let between = fork(|| {
        let status = writer(&ring, wait_for_the_end);
        status.end();
        0
    });
    between.succeeds();
    let ended = end_of(&ring);
    assert_eq!((ended.end, ended.exit), (End::Died, None));
    assert_eq!(ended.to_string(), "-- worker 0 is gone, no EOF --", "killed, or not");
    assert!(ended.process.is_some_and(|process| process != std::process::id()));
}
