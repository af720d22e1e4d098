//! What the system is asked for: forks, processes, sleeping, clocks.
//!
//! Imports no room. The one place, beside `segment` and `workers`, that makes system calls.

pub(crate) mod clock;
#[cfg(feature = "rotate")]
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod process;
pub(crate) mod stderr;
pub(crate) mod thread;
