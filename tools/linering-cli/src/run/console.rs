//! The terminal that this process reads from, where what is typed there is for a worker of
//! `--pty`. It edits and echoes lines itself, as it always does; the worker's terminal does neither
//! (`EXTPROC`), and what the worker changes of that is done here too. What it was is set back.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

use super::mailbox::Mailbox;

/// What a worker may change: whether what is typed is shown, and whether it comes in lines.
const FOLLOWED: LocalModes = LocalModes::ECHO.union(LocalModes::ICANON);

/// Our own terminal.
#[derive(Debug)]
pub struct Console {
    terminal: OwnedFd,
    before: Termios,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the worker wants of `FOLLOWED`.
    wanted: LocalModes,
    /// They are not as they were before.
    is_changed: bool,
    /// Nothing is changed any more.
    is_over: bool,
}

impl Console {
    /// This terminal, if it is one.
    pub fn new(terminal: OwnedFd) -> Option<Self> {
        let before = tcgetattr(&terminal).ok()?;
        let wanted = before.local_modes & FOLLOWED;
        let state = State { wanted, is_changed: false, is_over: false };
        Some(Self { terminal, before, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a worker's terminal the ways of this one, which edits and echoes for it.
    pub fn prepare(&self, modes: &mut Termios) {
        modes.local_modes.remove(FOLLOWED);
        modes.local_modes.insert(self.before.local_modes & FOLLOWED | LocalModes::EXTPROC);
    }

    /// Has what the worker has changed of its terminal, whose other side this is, changed here too.
    pub fn follow(&self, worker: &impl AsFd) {
        let Ok(modes) = tcgetattr(worker) else { return };
        self.want(modes.local_modes & FOLLOWED);
    }

    /// No worker reads any more, or not now.
    pub fn release(&self) {
        self.want(self.before.local_modes & FOLLOWED);
    }

    fn want(&self, wanted: LocalModes) {
        let mut state = self.state();
        state.wanted = wanted;
        self.apply(&mut state, wanted);
    }

    /// Before this process stops: what it was. Afterwards: what is wanted.
    pub fn around_stop(&self, stop: impl FnOnce()) {
        self.apply(&mut self.state(), self.before.local_modes & FOLLOWED);
        stop();
        let mut state = self.state();
        let wanted = state.wanted;
        self.apply(&mut state, wanted);
    }

    fn apply(&self, state: &mut State, wanted: LocalModes) {
        let is_change = wanted != self.before.local_modes & FOLLOWED;
        // In the background it is another's.
        if state.is_over || !is_change && !state.is_changed || !self.is_ours() {
            return;
        }
        let mut modes = self.before.clone();
        if is_change {
            modes.local_modes.remove(FOLLOWED);
            modes.local_modes.insert(wanted);
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        }
        state.is_changed =
            tcsetattr(&self.terminal, OptionalActions::Now, &modes).is_ok() && is_change;
    }

    /// Whether it is not another job's, of the shell that started us.
    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.terminal).map_or(true, |group| group == rustix::process::getpgrp())
    }
}

/// From now on this side of a worker's terminal says when that changes: each read begins with a
/// byte, which is 0 before text.
pub fn say_changes(far: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: reads one number, which lives during the call.
    match unsafe { libc::ioctl(far.as_fd().as_raw_fd(), libc::TIOCPKT, &raw const on) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the terminal back, however its owner ends.
#[derive(Debug)]
pub struct Restored(pub Arc<Console>);

impl Drop for Restored {
    fn drop(&mut self) {
        self.0.release();
        self.0.state().is_over = true;
    }
}

/// How long a line waits that was typed while this process was in the background.
const BACKGROUND: Duration = Duration::from_secs(1);
/// How soon, and how seldom, it is looked whether the worker has read what was typed.
const SOON: Duration = Duration::from_millis(1);
const SELDOM: Duration = Duration::from_millis(500);

/// What is typed, and the worker that reads it.
struct Keyboard {
    console: Arc<Console>,
    workers: Mailbox<Weak<File>>,
    /// The other side of its terminal, which the pump alone closes.
    worker: Weak<File>,
    /// What it was given may not be read yet: how long to wait for that.
    unread: Option<Duration>,
}

/// Passes on what is typed to the worker whose terminal's other side came last: a line at a time,
/// so that a read gives one line, and an end is one. That ends with the process.
pub fn pass_on(console: Arc<Console>, workers: Mailbox<Weak<File>>) -> io::Result<()> {
    let mut keyboard = Keyboard { console, workers, worker: Weak::new(), unread: None };
    let run = move || while keyboard.step().is_ok() {};
    thread::Builder::new().name("keyboard".to_owned()).spawn(run).map(drop)
}

impl Keyboard {
    /// Fails when the terminal was hung up.
    fn step(&mut self) -> io::Result<()> {
        let is_read = self.worker.strong_count() > 0 && self.unread.is_none();
        if !self.wait(is_read, self.unread) {
            self.unread = self.still_unread();
            return Ok(());
        }
        if !self.console.is_ours() {
            self.wait(false, Some(BACKGROUND));
            return Ok(());
        }
        let Some(to) = self.worker.upgrade() else { return Ok(()) };
        let mut typed = [0; 4096];
        let typed = match rustix::io::read(&self.console.terminal, &mut typed) {
            Ok(0) => &[self.console.before.special_codes[SpecialCodeIndex::VEOF]],
            Ok(read) => &typed[..read],
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // One that has ended reads nothing.
        let _ = (&*to).write_all(typed);
        self.unread = Some(SOON);
        Ok(())
    }

    /// Waits for another worker and, if that `is_read`, for what is typed: whether that is there.
    fn wait(&mut self, is_read: bool, limit: Option<Duration>) -> bool {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut polled = vec![PollFd::new(&self.workers, PollFlags::IN)];
        if is_read {
            polled.push(PollFd::new(&self.console.terminal, PollFlags::IN));
        }
        let _ = poll(&mut polled, limit.as_ref());
        let is_typed = polled.get(1).is_some_and(|polled| !polled.revents().is_empty());
        if let Some(worker) = self.workers.take().pop_back() {
            (self.worker, self.unread) = (worker, None);
        }
        is_typed
    }

    /// How long to wait now, if the worker has not read yet what it was given.
    fn still_unread(&self) -> Option<Duration> {
        let (waited, to) = self.unread.zip(self.worker.upgrade())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = ioctl_tiocgptpeer(&*to, flags).ok()?;
        // Unlike FIONREAD this sees what is still on its way.
        let mut polled = [PollFd::new(&near, PollFlags::IN)];
        let _ = poll(&mut polled, Some(&Timespec::default()));
        polled[0].revents().contains(PollFlags::IN).then_some((2 * waited).min(SELDOM))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::pty::{grantpt, openpt, unlockpt};

    use super::*;

    fn terminal() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let far = openpt(flags).expect("a terminal");
        grantpt(&far).and_then(|()| unlockpt(&far)).expect("it is ours");
        let near = ioctl_tiocgptpeer(&far, flags).expect("its other side");
        (far, near)
    }

    #[test]
    fn a_panic_sets_the_terminal_back_too_and_nothing_changes_it_later() {
        let ((_far, near), (workers, at_worker)) = (terminal(), terminal());
        let modes = |of: &OwnedFd| tcgetattr(of).expect("a terminal").local_modes & FOLLOWED;
        let before = modes(&near);
        let console = Console::new(near.try_clone().expect("a descriptor")).expect("a terminal");
        let console = Arc::new(console);
        let mut hidden = tcgetattr(&at_worker).expect("a terminal");
        hidden.local_modes.remove(FOLLOWED);
        tcsetattr(&at_worker, OptionalActions::Now, &hidden).expect("a terminal");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _restored = Restored(Arc::clone(&console));
            console.follow(&workers);
            assert_eq!(modes(&near), LocalModes::empty());
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(&near), before);
        console.follow(&workers);
        assert_eq!(modes(&near), before);
    }

    #[test]
    fn what_is_no_terminal_is_none() {
        let (one, _other) = std::io::pipe().expect("a pipe");
        assert!(Console::new(one.into()).is_none());
    }
}
