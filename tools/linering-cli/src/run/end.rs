//! How a process ended.

use std::fmt;

use rustix::process::WaitStatus;
use signal_hook::low_level::signal_name;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed(i32),
}

impl End {
    pub fn of(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::Killed(signal),
            None => Self::Exited(status.exit_status().unwrap_or(0)),
        }
    }

    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }

    /// Its exit code, or the name of the signal that killed it.
    pub fn how(self) -> Result<i32, String> {
        match self {
            Self::Exited(code) => Ok(code),
            Self::Killed(signal) => Err(name_of(signal)),
        }
    }

    /// As a shell gives it.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        }
    }

    /// As a process ends that writes where no reader is any more, or a shell whose command did; or
    /// one whose terminal was closed.
    pub fn is_unread(self, has_terminal: bool) -> bool {
        let signal = self.code() - 128;
        signal == libc::SIGPIPE || has_terminal && signal == libc::SIGHUP
    }

    /// What is said of a worker that ended so.
    pub fn predicate(self) -> String {
        match self {
            Self::Exited(_) => format!("ended with {self}"),
            Self::Killed(_) => format!("was {self}"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "killed by {}", name_of(*signal)),
        }
    }
}

/// A signal's name, or its number.
pub fn name_of(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}
