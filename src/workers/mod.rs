//! Processes around a ring: a pool of forked workers, and the capture of stdout and stderr.
//!
//! Imports `buffer` and what is below it. A worker that ends, however, is told; a descriptor that
//! was captured is given back.

#[cfg(feature = "capture")]
pub(crate) mod capture;
#[cfg(feature = "workers")]
pub(crate) mod pool;
#[cfg(feature = "workers")]
mod replacing;
#[cfg(feature = "workers")]
mod signals;
#[cfg(feature = "workers")]
pub(crate) mod worker;
