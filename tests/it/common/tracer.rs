//! A child that is executed one instruction at a time.

use std::io;
use std::ptr;

use super::{Child, fork};

/// A forked child that this thread traces.
#[derive(Debug)]
pub struct Traced {
    child: Option<Child>,
    pub process: libc::pid_t,
}

/// Why a traced child stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After an instruction.
    Step,
    /// At its next [`mark`].
    Mark,
    /// It has exited with this code.
    Exit(i32),
}

/// In a traced child: stands still, so that the tracer knows how far it is.
pub fn mark() {
    // SAFETY: a plain system call on this process.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// A thread that stays on one processor, until this is dropped.
#[must_use]
pub struct OnProcessor(libc::cpu_set_t);

/// Keeps this thread, and children that it forks, on one processor: a step is then a switch and no
/// message. `number` counts those that there are, and begins again after the last.
pub fn stay_on_processor(number: usize) -> OnProcessor {
    // SAFETY: plain data, for which zeros are valid; the calls only read and write it.
    unsafe {
        let mut before: libc::cpu_set_t = core::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&before), &raw mut before);
        let all = (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &before));
        let own = all.cycle().nth(number).expect("a processor");
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(own, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        OnProcessor(before)
    }
}

impl Drop for OnProcessor {
    fn drop(&mut self) {
        // With one test thread, the next test runs in this thread too.
        // SAFETY: the set lives during the call.
        unsafe { libc::sched_setaffinity(0, size_of_val(&self.0), &raw const self.0) };
    }
}

impl Traced {
    /// Forks a child that runs `work`, and waits for its first [`mark`].
    pub fn start(work: impl FnOnce() -> u8) -> Self {
        let child = fork(|| {
            // SAFETY: a plain system call; the parent is the tracer from now on.
            if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } != 0 {
                return 102;
            }
            work()
        });
        let traced = Self { process: child.0, child: Some(child) };
        match traced.wait() {
            Stop::Mark => traced,
            stop => panic!(
                "the child did not come to its mark ({stop:?}): does this machine permit ptrace?"
            ),
        }
    }

    /// The address of the instruction that comes next.
    #[cfg(target_arch = "x86_64")]
    pub fn next_instruction(&self) -> u64 {
        let at = core::mem::offset_of!(libc::user, regs)
            + core::mem::offset_of!(libc::user_regs_struct, rip);
        // SAFETY: a plain system call on a child of ours that stands still.
        unsafe {
            libc::ptrace(libc::PTRACE_PEEKUSER, self.process, at, ptr::null_mut::<()>()) as u64
        }
    }

    /// Goes on until it stands before the instruction at this address, for the `count`-th time, by
    /// a breakpoint of the processor: a thousand times as fast as step by step. `false` if it stops
    /// before, or if this machine has no such breakpoints to give.
    #[cfg(target_arch = "x86_64")]
    pub fn run_to(&self, address: u64, count: usize) -> bool {
        // The first breakpoint's address, and the register that switches it on, for execution.
        if !self.set_debug_register(0, address) || !self.set_debug_register(7, 1) {
            return false;
        }
        let mut comes = true;
        for number in 0..count {
            // A breakpoint would stop it again where it stands.
            comes &= number == 0 || self.step() == Stop::Step;
            comes &= comes
                && (number == 0 && self.next_instruction() == address
                    || self.resume() == Stop::Step && self.next_instruction() == address);
        }
        comes && self.set_debug_register(7, 0)
    }

    #[cfg(target_arch = "x86_64")]
    fn set_debug_register(&self, register: usize, value: u64) -> bool {
        let at = core::mem::offset_of!(libc::user, u_debugreg) + 8 * register;
        // SAFETY: a plain system call on a child of ours that stands still.
        unsafe { libc::ptrace(libc::PTRACE_POKEUSER, self.process, at, value) == 0 }
    }

    /// Step by step is the only way there.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn next_instruction(&self) -> u64 {
        0
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn run_to(&self, _: u64, _: usize) -> bool {
        false
    }

    /// Executes one instruction.
    pub fn step(&self) -> Stop {
        self.go_on(libc::PTRACE_SINGLESTEP);
        self.wait()
    }

    /// Goes on to the next mark or the end, and waits for it.
    pub fn resume(&self) -> Stop {
        self.go_on(libc::PTRACE_CONT);
        self.wait()
    }

    /// The same without waiting: [`has_stopped`](Self::has_stopped) tells.
    pub fn go_on_alone(&self) {
        self.go_on(libc::PTRACE_CONT);
    }

    fn go_on(&self, request: libc::c_uint) {
        // SAFETY: a plain system call on a child of ours that stands still.
        let done = unsafe {
            libc::ptrace(request, self.process, ptr::null_mut::<()>(), ptr::null_mut::<()>())
        };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    fn wait(&self) -> Stop {
        self.look(0).expect("it waits")
    }

    /// Whether it stands still by now.
    pub fn has_stopped(&self) -> Option<Stop> {
        self.look(libc::WNOHANG)
    }

    fn look(&self, flags: i32) -> Option<Stop> {
        let mut status = 0;
        loop {
            // SAFETY: a plain system call; the number lives during it.
            match unsafe { libc::waitpid(self.process, &raw mut status, flags | libc::__WALL) } {
                0 => return None,
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => panic!("{}", io::Error::last_os_error()),
                _ => break,
            }
        }
        Some(if libc::WIFEXITED(status) {
            Stop::Exit(libc::WEXITSTATUS(status))
        } else if libc::WIFSTOPPED(status) {
            match libc::WSTOPSIG(status) {
                libc::SIGTRAP => Stop::Step,
                libc::SIGSTOP => Stop::Mark,
                signal => panic!("the child got signal {signal}"),
            }
        } else {
            panic!("the child was killed by signal {}", libc::WTERMSIG(status));
        })
    }

    /// Kills it where it stands, and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.child.take().expect("it lives until now").end();
    }
}
