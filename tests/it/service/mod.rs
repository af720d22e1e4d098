//! A service's log: what all threads and children write is in the sink, once, or told as lost; and
//! no failure of a sink, of a program that dies or of one that logs from the wrong place stops it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use linering::{LineRing, Options, Policy, Sink};

mod drains;
mod formats;
mod inherited;
#[cfg(feature = "log")]
mod logger;
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
