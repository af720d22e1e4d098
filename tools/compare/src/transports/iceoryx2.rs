//! iceoryx2: publish and subscribe, samples written in place, nothing overwritten; a full buffer
//! makes the publisher wait in the way that is its default. Each writer has its own connection with
//! room for all lines.
//!
//! A blocking reader needs its event service: writers notify after each line, the reader waits for
//! that.

use core::time::Duration;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

use crate::transport::{Reader, Setup, Transport, Writer};

type Lines<const N: usize> = publish_subscribe::PortFactory<ipc::Service, [u8; N], ()>;
type Events = event::PortFactory<ipc::Service>;

pub struct Iceoryx2<const N: usize> {
    name: String,
    room: usize,
    writers: usize,
    blocks: bool,
    node: Node<ipc::Service>,
    lines: Lines<N>,
    events: Events,
}

fn node() -> Result<Node<ipc::Service>, String> {
    set_log_level(LogLevel::Error);
    let builder = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled);
    builder.create().map_err(|error| format!("{error:?}"))
}

/// The two services, made by the first and opened by the others.
fn services<const N: usize>(
    node: &Node<ipc::Service>,
    name: &str,
    room: usize,
    writers: usize,
) -> Result<(Lines<N>, Events), String> {
    let service = name.try_into().map_err(|error| format!("{error:?}"))?;
    let lines = node
        .service_builder(&service)
        .publish_subscribe::<[u8; N]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(room)
        .subscriber_max_borrowed_samples(2)
        .max_publishers(writers)
        .max_subscribers(1)
        .max_nodes(writers + 1)
        .open_or_create()
        .map_err(|error| format!("{error:?}"))?;
    let events = node
        .service_builder(&service)
        .event()
        .max_notifiers(writers)
        .max_listeners(1)
        .max_nodes(writers + 1)
        .open_or_create()
        .map_err(|error| format!("{error:?}"))?;
    Ok((lines, events))
}

impl<const N: usize> Transport<N> for Iceoryx2<N> {
    type Writer = IceWriter<N>;
    type Reader = IceReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let name = format!("linering-compare-{}", std::process::id());
        let node = node()?;
        let (lines, events) = services(&node, &name, setup.room, setup.writers)?;
        let (room, writers, blocks) = (setup.room, setup.writers, setup.blocks());
        Ok(Self { name, room, writers, blocks, node, lines, events })
    }

    fn writer(&self, _: usize) -> IceWriter<N> {
        // A child is a node of its own: what it inherited is its parent's.
        let node = node().expect("a node");
        let (lines, events) = services::<N>(&node, &self.name, self.room, self.writers)
            .expect("the services are there");
        let builder = lines.publisher_builder();
        let publisher = builder.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        let publisher = publisher.create().expect("a publisher");
        let notifier = self.blocks.then(|| events.notifier_builder().create().expect("a notifier"));
        IceWriter { publisher, notifier, _node: node }
    }

    fn reader(&self) -> IceReader<N> {
        let _ = &self.node;
        let subscriber = self.lines.subscriber_builder().buffer_size(self.room).create();
        let listener =
            self.blocks.then(|| self.events.listener_builder().create().expect("a listener"));
        IceReader { subscriber: subscriber.expect("a subscriber"), listener }
    }

    fn room(&self) -> Option<usize> {
        Some(self.room * self.writers)
    }
}

pub struct IceWriter<const N: usize> {
    publisher: Publisher<ipc::Service, [u8; N], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    _node: Node<ipc::Service>,
}

impl<const N: usize> Writer<N> for IceWriter<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        let sample = self.publisher.loan_uninit().expect("a sample is free");
        sample.write_payload(*line).send().expect("the subscriber lives");
        if let Some(notifier) = &self.notifier {
            // A notification that finds the listener's queue full is not needed: it will look
            // anyway.
            let _ = notifier.notify();
        }
    }
}

pub struct IceReader<const N: usize> {
    subscriber: Subscriber<ipc::Service, [u8; N], ()>,
    listener: Option<Listener<ipc::Service>>,
}

impl<const N: usize> Reader<N> for IceReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        let mut lines = 0;
        while lines < super::BATCH
            && let Some(sample) = self.subscriber.receive().expect("the connections hold")
        {
            sink(&sample[..]);
            lines += 1;
        }
        if lines == 0
            && let Some(listener) = &mut self.listener
        {
            let _ = listener.timed_wait(|_| {}, Duration::from_secs(1));
        }
        lines
    }
}
