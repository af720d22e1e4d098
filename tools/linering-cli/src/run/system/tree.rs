//! The processes that there are, and whose descendants they are. A process is its number and the
//! time of its start: a number alone may be another's by now.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::{self, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, of all that there ever are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    pub number: i32,
    start: u64,
}

/// A process that had not ended when it was looked at.
#[derive(Clone, Debug)]
pub struct Process {
    pub id: Id,
    pub parent: i32,
    pub group: i32,
    pub name: String,
}

/// All that live. Those that are forked while this looks may be missing.
pub fn all() -> Vec<Process> {
    let Ok(processes) = process::all_processes() else { return Vec::new() };
    processes.filter_map(|process| look_at(&process.ok()?)).collect()
}

fn look_at(process: &process::Process) -> Option<Process> {
    let stat = process.stat().ok()?;
    let has_ended = matches!(stat.state, 'Z' | 'X');
    let id = Id { number: stat.pid, start: stat.starttime };
    let Stat { ppid: parent, pgrp: group, comm: name, .. } = stat;
    (!has_ended).then_some(Process { id, parent, group, name })
}

/// Those that `is_root` holds for, and all their descendants.
pub fn below(all: Vec<Process>, is_root: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut children = HashMap::<i32, Vec<Process>>::new();
    let mut found = Vec::new();
    for process in all {
        if is_root(&process) {
            found.push(process);
        } else {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let mut next = 0;
    while next < found.len() {
        let of = found[next].id.number;
        found.extend(children.remove(&of).unwrap_or_default());
        next += 1;
    }
    found
}

/// Which job a process belongs to, as its environment has it.
pub fn job_of(process: &Process) -> Option<usize> {
    let environment = fs::read(format!("/proc/{}/environ", process.id.number)).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let number = variables.find_map(|variable| variable.strip_prefix(b"LINERING_WORKER="))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A process's group; of 0, our own. 0 if that is outside of our namespace.
pub fn group_of(process: i32) -> i32 {
    // SAFETY: a plain system call.
    unsafe { libc::getpgid(process) }
}

/// A process's session, in the same way.
pub fn session_of(process: i32) -> i32 {
    // SAFETY: a plain system call.
    unsafe { libc::getsid(process) }
}

/// Signals a process, and no other that has its number by now.
pub fn tell(process: &Process, signal: i32) -> Result<(), Errno> {
    let number = process.id.number;
    let (Some(pid), Some(signal)) = (Pid::from_raw(number), Signal::from_named_raw(signal)) else {
        return Err(Errno::INVAL);
    };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        // Before Linux 5.3.
        Err(Errno::NOSYS) => return rustix::process::kill_process(pid, signal),
        opened => opened?,
    };
    let seen = process::Process::new(number).ok().and_then(|process| look_at(&process));
    if seen.is_none_or(|seen| seen.id != process.id) {
        return Err(Errno::SRCH);
    }
    pidfd_send_signal(descriptor, signal)
}

/// Signals a child that was not reaped.
pub fn tell_child(number: i32, signal: i32) {
    if let (Some(pid), Some(signal)) = (Pid::from_raw(number), Signal::from_named_raw(signal)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The other processes that have one of these open, as far as we may look: their names and numbers.
pub fn holders(shown: &[PathBuf]) -> Vec<String> {
    let us = std::process::id() as i32;
    let has_one = |process: &Process| {
        let folder = Path::new("/proc").join(process.id.number.to_string()).join("fd");
        let descriptors = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| shown.contains(&target))
    };
    let others = all().into_iter().filter(|process| process.id.number != us);
    others
        .filter(has_one)
        .map(|process| format!("{} ({})", process.name, process.id.number))
        .collect()
}
