//! disruptor: events that are filled in place, its single producer for one writer, and an event
//! poller, which takes all that is there at once.
//!
//! A full ring: `publish` spins. Nothing in it sleeps until it is woken, so its reader polls.

use disruptor::{
    BusySpin, EventPoller, MultiProducer, MultiProducerBarrier, Producer, SingleConsumerBarrier,
    SingleProducer, SingleProducerBarrier, build_multi_producer, build_single_producer,
};

use crate::transport::{Reader, Reading, Setup, Shelf, Transport, Writer};

type Event<const N: usize> = [u8; N];

pub struct Disruptor<const N: usize> {
    writers: Shelf<DisruptorWriter<N>>,
    reader: Shelf<DisruptorReader<N>>,
    room: usize,
}

impl<const N: usize> Transport<N> for Disruptor<N> {
    const READING: &'static [Reading] = &[Reading::Polling];
    type Writer = DisruptorWriter<N>;
    type Reader = DisruptorReader<N>;

    fn make(setup: &Setup) -> Result<Self, String> {
        let room = setup.room.next_power_of_two();
        let event = || [0; N];
        let (writers, reader) = if setup.writers == 1 {
            let (poller, builder) = build_single_producer(room, event, BusySpin).new_event_poller();
            (vec![DisruptorWriter::One(builder.build())], DisruptorReader::One(poller))
        } else {
            let (poller, builder) = build_multi_producer(room, event, BusySpin).new_event_poller();
            let producer = builder.build();
            let writers =
                (0..setup.writers).map(|_| DisruptorWriter::Many(producer.clone())).collect();
            (writers, DisruptorReader::Many(poller))
        };
        Ok(Self { writers: Shelf::new(writers), reader: Shelf::new([reader]), room })
    }

    fn writer(&self, index: usize) -> DisruptorWriter<N> {
        self.writers.take(index)
    }

    fn reader(&self) -> DisruptorReader<N> {
        self.reader.take(0)
    }

    fn room(&self) -> Option<usize> {
        Some(self.room)
    }
}

pub enum DisruptorWriter<const N: usize> {
    One(SingleProducer<Event<N>, SingleConsumerBarrier>),
    Many(MultiProducer<Event<N>, SingleConsumerBarrier>),
}

impl<const N: usize> Writer<N> for DisruptorWriter<N> {
    #[inline]
    fn send(&mut self, line: &[u8; N]) {
        match self {
            Self::One(producer) => producer.publish(|event| *event = *line),
            Self::Many(producer) => producer.publish(|event| *event = *line),
        }
    }
}

pub enum DisruptorReader<const N: usize> {
    One(EventPoller<Event<N>, SingleProducerBarrier>),
    Many(EventPoller<Event<N>, MultiProducerBarrier>),
}

impl<const N: usize> Reader<N> for DisruptorReader<N> {
    fn receive(&mut self, sink: &mut impl FnMut(&[u8])) -> usize {
        macro_rules! receive {
            ($poller:expr) => {{
                let Ok(mut events) = $poller.poll() else { return 0 };
                let lines = (&mut events).len();
                (&mut events).for_each(|event| sink(event));
                lines
            }};
        }
        match self {
            Self::One(poller) => receive!(poller),
            Self::Many(poller) => receive!(poller),
        }
    }
}
