//! The programs against a real server, started here on loopback.
//!
//! `nats-server` is looked for in `NATS_SERVER` and on the path; ci/forward installs it.

mod bad_input;
mod chaos;
mod clocks;
mod formats;
mod harness;
mod many;
mod metrics;
mod outage;
mod rings;
mod secure;
mod service;
mod streams;
