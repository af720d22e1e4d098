//! What the system is asked for: forks, processes, sleeping, clocks.
//!
//! Imports no room. The one place, beside `segment` and `workers`, that makes system calls.

pub(crate) mod clock;
#[cfg(feature = "journald")]
pub(crate) mod datagram;
#[cfg(feature = "rotate")]
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod leaving;
pub(crate) mod original;
pub(crate) mod process;
pub(crate) mod thread;
