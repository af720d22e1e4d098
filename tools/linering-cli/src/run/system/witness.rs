//! Witnesses: two children that report which signals they are sent, so that it is known whether a
//! signal that came here was sent to others too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::run::supervisor::Reach;

/// The two, as far as they could be started and live.
#[derive(Debug)]
pub struct Witnesses {
    reports: File,
    /// One in our process group, one outside of it.
    ids: [Option<i32>; 2],
    /// When each reported a signal last.
    seen: HashMap<(usize, i32), Instant>,
}

const IN_GROUP: usize = 0;
const OUTSIDE: usize = 1;

impl Witnesses {
    /// Starts them. To be called while this process has one thread and nothing open that others
    /// must not keep: they are forked.
    pub fn start() -> io::Result<Self> {
        let (reports, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let us = std::process::id() as i32;
        // SAFETY: plain C structs, for which zeros are valid, which live during the calls. What is
        // blocked here is set back below.
        let (all, former) = unsafe {
            let (mut all, mut former) = (core::mem::zeroed(), core::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut former);
            (all, former)
        };
        let ids = [IN_GROUP, OUTSIDE].map(|which| {
            // SAFETY: this process has one thread; the child makes system calls alone, and never
            // returns.
            match unsafe { libc::fork() } {
                0 => watch(which, us, to.as_raw_fd(), &all),
                -1 => None,
                child => Some(child),
            }
        });
        // SAFETY: as above.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const former, core::ptr::null_mut())
        };
        Ok(Self { reports: reports.into(), ids, seen: HashMap::new() })
    }

    /// Their numbers.
    pub fn ids(&self) -> Vec<i32> {
        self.ids.iter().flatten().copied().collect()
    }

    /// A child was reaped that may have been one.
    pub fn reaped(&mut self, child: i32) {
        for id in &mut self.ids {
            id.take_if(|id| *id == child);
        }
    }

    /// Reads what they have reported.
    pub fn read(&mut self) {
        let mut reports = [0; 64];
        while let Ok(read @ 2..) = self.reports.read(&mut reports) {
            for report in reports[..read].chunks_exact(2) {
                self.seen.insert((report[0].into(), report[1].into()), Instant::now());
            }
        }
    }

    /// Which of us were sent this signal since then, as far as is known by now.
    pub fn reach(&self, signal: i32, since: Instant) -> Reach {
        let was_sent = |which: usize| {
            self.seen.get(&(which, signal)).is_some_and(|seen| *seen >= since)
                || self.ids[which].is_some_and(|id| is_pending(id, signal))
        };
        match (was_sent(IN_GROUP), was_sent(OUTSIDE)) {
            (true, true) => Reach::All,
            (true, false) => Reach::Group,
            _ => Reach::Us,
        }
    }
}

impl AsFd for Witnesses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reports.as_fd()
    }
}

/// None stays behind.
impl Drop for Witnesses {
    fn drop(&mut self) {
        // Both first, so that they end at the same time.
        for id in self.ids.iter().flatten() {
            // SAFETY: a plain system call on a child that was not reaped.
            unsafe { libc::kill(*id, libc::SIGKILL) };
        }
        for id in self.ids.iter().flatten() {
            // SAFETY: as above.
            unsafe { libc::waitpid(*id, core::ptr::null_mut(), 0) };
        }
    }
}

/// Whether a witness was sent a signal that it has not reported yet.
fn is_pending(witness: i32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{witness}/status")).unwrap_or_default();
    let mut masks = status.lines().filter_map(|line| {
        let mask = line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    masks.any(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The life of a witness, with all signals blocked. It ends when its parent does.
fn watch(which: usize, parent: i32, to: RawFd, all: &libc::sigset_t) -> ! {
    let to = to as libc::c_uint;
    // SAFETY: plain system calls, which a forked child may make, on structs that live during them.
    // The descriptors that are closed are used no more.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"witness".as_ptr());
        if libc::getppid() != parent {
            libc::_exit(0);
        }
        if which == OUTSIDE {
            libc::setsid();
        }
        libc::syscall(libc::SYS_close_range, to + 1, libc::c_uint::MAX, 0);
        if to > 0 {
            libc::syscall(libc::SYS_close_range, 0, to - 1, 0);
        }
        loop {
            let signal = libc::sigwaitinfo(all, core::ptr::null_mut());
            if signal > 0 && signal != libc::SIGCHLD {
                let report = [which as u8, signal as u8];
                libc::write(to as RawFd, report.as_ptr().cast(), report.len());
            }
        }
    }
}
