//! What a test says that does not run here.

use std::io::{self, Write};
use std::thread;

/// Says on the terminal that the calling test was not run, and why.
///
/// # Panics
///
/// If the environment has `LINERING_NEEDS_ALL`, as in CI: what is not run is a failure there.
pub fn not_run(why: &str) {
    assert!(std::env::var_os("LINERING_NEEDS_ALL").is_none(), "not run: {why}");
    // Not by `println!`, of which the test harness shows nothing where a test has not failed.
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "{test} was not run: {why}");
}
