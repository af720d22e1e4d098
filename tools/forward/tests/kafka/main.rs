//! Kafka: the programs against a broker of one file, started here on loopback, and the engine
//! against librdkafka's own cluster of mocks, which can be told to fail.
//!
//! `tansu` is looked for in `TANSU` and on the path; ci/kafka installs it. Neither of the two hides
//! what an aborted transaction wrote, as a real broker and `read_committed` do.

mod broker;
mod harness;
mod mocks;
