//! The programs against a real server, started here on loopback.
//!
//! `nats-server` is looked for in `NATS_SERVER` and on the path; ci/forward installs it.

mod bad_input;
mod chaos;
mod clocks;
mod cluster;
mod ends;
mod formats;
mod harness;
mod idle;
#[cfg(feature = "kafka")]
mod kafka;
mod lines;
mod many;
mod metrics;
mod network;
mod outage;
mod rings;
mod secure;
mod service;
mod streams;
