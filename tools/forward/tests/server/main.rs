//! The programs against a real server, started here on loopback.
//!
//! `nats-server` is looked for in `NATS_SERVER` and on the path; ci/forward installs it.

mod bad_input;
mod chaos;
mod cluster;
mod ends;
mod harness;
mod lines;
mod network;
mod outage;
