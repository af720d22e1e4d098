//! [`Topic`]: the messages of a topic's partitions, to be merged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::access::Access;
use crate::exit::{Failure, Kind};
use crate::kafka_client::{Told, client, config, message_of, partitions};
use crate::message::{Message, Unreadable};
use crate::target::Target;

/// How long one look at a partition waits for more: before it was at its end, and later, when each
/// is looked at in its turn.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(5));
/// How long nothing comes until that is an end too.
const IDLE: Duration = Duration::from_secs(1);

/// A topic that is read from its beginning, what is committed of it.
///
/// One partition is not read far ahead of another: the next message comes from the one whose last
/// message is the oldest by the brokers' clocks.
pub struct Topic {
    consumer: Arc<BaseConsumer<Told>>,
    partitions: Vec<Partition>,
    /// It was at the end of each partition once.
    has_come: bool,
    /// When a message came last.
    heard: Instant,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("partitions", &self.partitions.len()).finish_non_exhaustive()
    }
}

struct Partition {
    queue: PartitionQueue<Told>,
    /// Of its last message, in milliseconds; the oldest there is before the first one.
    time: i64,
    is_at_end: bool,
}

/// What came.
#[derive(Debug)]
pub enum Next {
    /// A message of this subject.
    Message(String, Result<Message, Unreadable>),
    /// Nothing, and it is at no end.
    Nothing,
    /// Each partition is at its end; or, later, nothing came for a second.
    End,
}

impl Topic {
    /// From its beginning.
    ///
    /// # Errors
    ///
    /// There is no such topic, or the brokers do not answer.
    pub fn open(target: &Target, access: &Access) -> Result<Self, Failure> {
        let mut config = config(target, access)?;
        config
            .set("group.id", "linering.merge")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.wait.max.ms", "100");
        let consumer: Arc<BaseConsumer<Told>> = Arc::new(client(&config)?);
        let topic = &target.stream;
        let found = partitions(&consumer, topic)?.map_err(Failure::failed)?;
        let Some(count) = found else {
            return Err(Failure::new(Kind::Usage, format!("there is no topic {topic}")));
        };
        let cannot = |error: KafkaError| cannot(topic, &error);
        let mut from = TopicPartitionList::new();
        let mut all = Vec::new();
        for partition in 0..count as i32 {
            from.add_partition_offset(topic, partition, Offset::Beginning).map_err(cannot)?;
        }
        consumer.assign(&from).map_err(cannot)?;
        for partition in 0..count as i32 {
            let queue = consumer.split_partition_queue(topic, partition);
            let queue = queue.ok_or_else(|| {
                Failure::failed(format!("there is no partition {partition} of {topic}"))
            })?;
            all.push(Partition { queue, time: i64::MIN, is_at_end: false });
        }
        Ok(Self { consumer, partitions: all, has_come: false, heard: Instant::now() })
    }

    /// The next message. Waits for a moment.
    ///
    /// # Errors
    ///
    /// The brokers' refusal.
    pub fn next_message(&mut self) -> Result<Next, Failure> {
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO)
            && !is_passing(&error)
        {
            return Err(Failure::failed(format!("cannot read the topic: {error}")));
        }
        // The oldest first; those at their ends may have more by now.
        let order: BTreeSet<(bool, i64, usize)> = self
            .partitions
            .iter()
            .enumerate()
            .map(|(number, partition)| (partition.is_at_end, partition.time, number))
            .collect();
        let Some((was_at_end, _, number)) = order.first().copied() else { return Ok(Next::End) };
        if was_at_end {
            // All are.
            let is_end = !self.has_come || self.heard.elapsed() >= IDLE;
            self.has_come = true;
            for partition in &mut self.partitions {
                partition.is_at_end = false;
            }
            return Ok(if is_end { Next::End } else { Next::Nothing });
        }
        let partition = &mut self.partitions[number];
        match partition.queue.poll(if self.has_come { LOOKS.1 } else { LOOKS.0 }) {
            None => {
                partition.is_at_end = self.has_come;
                Ok(Next::Nothing)
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                partition.is_at_end = true;
                Ok(Next::Nothing)
            }
            Some(Err(error)) if is_passing(&error) => Ok(Next::Nothing),
            Some(Err(error)) => Err(Failure::failed(format!("cannot read the topic: {error}"))),
            Some(Ok(message)) => {
                self.heard = Instant::now();
                partition.time = message.timestamp().to_millis().unwrap_or(partition.time);
                let key = String::from_utf8_lossy(message.key().unwrap_or(b"-")).into_owned();
                Ok(Next::Message(key, message_of(&message)))
            }
        }
    }
}

fn cannot(topic: &str, error: &KafkaError) -> Failure {
    Failure::failed(format!("cannot read the topic {topic}: {error}"))
}

/// A broker that is away comes back.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut)
    )
}
