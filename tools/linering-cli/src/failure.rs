//! How a command fails: one sentence, and an exit code.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Exit code after SIGINT or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// Why a command cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// The caller asked for something that is not possible.
    Usage(String),
    /// It did not work.
    Failed(String),
    /// The reader of its output has gone, which is no reason to complain.
    Unread,
}

impl Failure {
    /// A path that the system refuses.
    pub fn of_path(doing: &str, path: &Path, error: &io::Error) -> Self {
        Failure::Failed(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// A failed write to `name`.
    pub fn of_write(name: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::Failed(format!("cannot write {name}: {error}")),
        }
    }

    /// Says it on stderr and gives the exit code.
    pub fn tell(&self) -> ExitCode {
        let code = match self {
            Failure::Unread => return ExitCode::SUCCESS,
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
        };
        note(self);
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(sentence) | Failure::Failed(sentence) => f.write_str(sentence),
            Failure::Unread => f.write_str("the output is closed"),
        }
    }
}

/// A note on stderr. A failure to write it cannot be reported anywhere.
pub fn note(text: impl fmt::Display) {
    use io::Write;
    let _ = writeln!(io::stderr(), "linering: {text}");
}
