//! A service's log: what all threads and children write is in the sink, once, or told as lost; and
//! no failure of a sink, of a program that dies or of one that logs from the wrong place stops it.

use std::env;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use linering::{LineRing, Options, Policy, Sink};

#[cfg(feature = "tokio")]
mod async_reader;
mod drains;
#[cfg(feature = "workers")]
mod ends;
mod formats;
mod inherited;
#[cfg(feature = "journald")]
mod journald;
#[cfg(feature = "log")]
mod logger;
#[cfg(feature = "workers")]
mod pools;
mod programs;
mod sinks;
mod writers;

/// For what comes as soon as a thread runs.
const LIMIT: Duration = Duration::from_secs(600);

/// A sink that keeps what it gets.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

impl Sink for Kept {
    fn put(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }
}

fn ring(policy: Policy, lines: usize) -> LineRing {
    LineRing::new(Options::new().policy(policy).lines(lines)).expect("a ring")
}

/// Runs a test in a program of its own, for one whose forked children start threads or exit: a
/// thread of another test may have a lock of the C library's at that moment, which is locked for
/// ever in the child. `true` in that program.
fn is_alone(name: &str) -> bool {
    if env::var_os("LINERING_TEST_ALONE").is_some() {
        return true;
    }
    let mut program = Command::new(env::current_exe().expect("a path"));
    program.args(["--exact", name, "--nocapture"]).env("LINERING_TEST_ALONE", "1");
    let output = program.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let is_red = !output.status.success() || !told.contains("1 passed");
    assert!(!is_red, "{told}{}", String::from_utf8_lossy(&output.stderr));
    false
}
