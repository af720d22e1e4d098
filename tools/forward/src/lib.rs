//! Forwards the lines of a ring to an engine that keeps them, each position once, and reads them
//! back.
//!
//! [`forward`] reads a [ring](linering::LineRing) and appends [messages](message::Message) to an
//! [`Engine`](engine::Engine), of which [`Nats`](nats::Nats) is one,
//! and `Kafka`, a feature, another. What a message says of itself
//! is the only note of how far a ring came: see docs/forward.md. The programs `linering-forward`
//! and `linering-merge` are these modules with options; [`spawn`](mod@spawn) is for a program that
//! forwards its own ring.

pub mod access;
pub mod doubt;
pub mod engine;
pub mod exit;
pub mod forward;
pub mod json;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
mod kafka_client;
#[cfg(feature = "kafka")]
pub mod kafka_merge;
pub mod merge;
pub mod message;
pub mod metrics;
pub mod nats;
mod page;
pub mod record;
pub mod spawn;
pub mod start;
pub mod stream;
pub mod target;
mod watch;
