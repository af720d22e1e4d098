//! The signals that come here, and which other processes were sent them.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use super::supervisor::Reach;
use super::system::Witnesses;

/// What is passed on.
const HEEDED: [i32; 9] =
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP];

/// How long the witnesses' word is waited for: a service manager sends a signal to one process
/// after the other.
const WITNESSES_PATIENCE: Duration = Duration::from_millis(50);

/// The signals that have come.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    /// Those of which it is not known yet which processes were sent them.
    undecided: Vec<(i32, Instant)>,
}

impl Signals {
    /// From now on, signals that are passed on do nothing else. Those that the process that
    /// started us wants ignored, as nohup does, stay so: by the workers too.
    pub fn watch() -> io::Result<Self> {
        let heeded: Vec<i32> =
            HEEDED.into_iter().filter(|signal| !is_ignored(*signal)).chain([SIGCHLD]).collect();
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), &heeded)?;
        // SAFETY: a plain C struct, for which zeros are valid, which lives during the calls.
        unsafe {
            let mut mask: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut mask);
            for signal in &heeded {
                libc::sigaddset(&raw mut mask, *signal);
            }
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const mask, null_mut());
        }
        Ok(Self { delivery, undecided: Vec::new() })
    }

    /// Takes in what has come: what is known of by now, in its order.
    pub fn take(&mut self, witnesses: &mut Witnesses) -> Vec<(i32, Reach)> {
        witnesses.read();
        let mut known = Vec::new();
        let now = Instant::now();
        for origin in self.delivery.pending() {
            match (origin.signal, origin.cause) {
                (SIGCHLD, _) => {}
                // A terminal's keys. What becomes of a session it tells its leader alone.
                (signal, Cause::Kernel) if signal != SIGHUP => known.push((signal, Reach::Group)),
                (signal, _) => self.undecided.push((signal, now)),
            }
        }
        self.undecided.retain(|(signal, came)| {
            let since = came.checked_sub(WITNESSES_PATIENCE).unwrap_or(*came);
            let reach = witnesses.reach(*signal, since);
            let is_decided = reach == Reach::All || came.elapsed() >= WITNESSES_PATIENCE;
            if is_decided {
                known.push((*signal, reach));
            }
            !is_decided
        });
        known
    }

    /// Whether the end of a worker may be the work of a signal of which more will be known.
    pub fn is_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// When more is known.
    pub fn due_in(&self) -> Option<Duration> {
        let first = self.undecided.iter().map(|(_, came)| came.elapsed()).max()?;
        Some(WITNESSES_PATIENCE.saturating_sub(first))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Stops, as a terminal's key would have it, until this process is continued.
pub fn stop_here() {
    raise_plain(SIGTSTP);
}

/// Raises a signal as if it had no handler.
fn raise_plain(signal: i32) {
    // SAFETY: plain C structs, for which zeros are valid, which live during the calls. What is
    // changed is set back.
    unsafe {
        let (mut plain, mut former): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
        plain.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const plain, &raw mut former);
        libc::raise(signal);
        libc::sigaction(signal, &raw const former, null_mut());
    }
}

/// Ends as a process does that has no handler for this signal. Comes back where that does not end
/// it: as process 1 of a container.
pub fn die_of(signal: i32) {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    // It is no fault of ours.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    raise_plain(signal);
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: a plain C struct, for which zeros are valid, which lives during the call; nothing is
    // changed.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        libc::sigaction(signal, core::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
