//! [`Kafka`]: one key of a topic as an [`Engine`]; docs/forward.md says what it rests on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::access::Access;
use crate::engine::{Engine, Last, Trouble};
use crate::exit::{Failure, Kind};
use crate::kafka_client::{
    PATIENCE, Told, client, config, message_of, partitions, refused, trouble,
};
use crate::message::Message;
use crate::nats::Create;
use crate::target::Target;

/// After what time they abort a transaction by themselves: a start of another ring's forwarder may
/// wait for it.
const TRANSACTION: Duration = Duration::from_secs(10);
/// Bytes of a message beside its records: key, headers, and the batch that it is.
const HEADERS: usize = 4096;
/// What brokers take if they do not say it.
const MOST_BYTES: usize = 1_000_000;
/// Partitions of a topic that is made.
const PARTITIONS: i32 = 16;
/// Offsets that are read back at first, and at most at once.
const BACK: (i64, i64) = (8, 32_768);

/// One key of a topic.
#[derive(Clone)]
pub struct Kafka {
    connection: Arc<Mutex<Connection>>,
    most_bytes: usize,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("most_bytes", &self.most_bytes).finish_non_exhaustive()
    }
}

/// What is behind it; each call waits for the brokers.
struct Connection {
    producers: ClientConfig,
    /// One for each time that it asks for the last message: it fences the one before.
    producer: Option<BaseProducer<Told>>,
    /// Asks where the partition ends.
    asker: BaseConsumer<Told>,
    /// Reads what is committed.
    reader: BaseConsumer<Told>,
    topic: String,
    partition: i32,
    key: String,
}

impl Kafka {
    /// The subject's key in the target's topic, which is made if it is not there and `create` says
    /// how.
    ///
    /// # Errors
    ///
    /// In the outer result: what no waiting mends, such as a topic that is not there.
    pub async fn open(
        target: &Target,
        access: &Access,
        subject: &str,
        create: Option<Create>,
    ) -> Result<Result<Self, Trouble>, Failure> {
        let config = config(target, access)?;
        let topic = target.stream.clone();
        let asking = config.clone().set("isolation.level", "read_uncommitted").clone();
        let asker: BaseConsumer<Told> = client(&asking)?;
        let name = topic.clone();
        let asked = blocking(move || (partitions(&asker, &name), asker)).await;
        let (found, asker) = asked.map_err(Failure::failed)?;
        let count = match found? {
            Ok(Some(count)) => count,
            Err(trouble) => return Ok(Err(trouble)),
            Ok(None) => match create {
                Some(create) => return make(&config, &topic, create).await.map(Err),
                None => {
                    let line =
                        format!("kafka-topics --create --topic {topic} --partitions {PARTITIONS}");
                    let sentence = format!(
                        "there is no topic {topic}, expected one: --create makes it, or: {line}"
                    );
                    return Err(Failure::new(Kind::Usage, sentence));
                }
            },
        };
        let most_bytes = most_bytes(&config, &topic).await?;
        let mut producers = config.clone();
        producers
            .set("transactional.id", format!("{subject}/{topic}"))
            .set("transaction.timeout.ms", TRANSACTION.as_millis().to_string())
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .set("socket.timeout.ms", PATIENCE.as_millis().to_string())
            .set("message.max.bytes", (most_bytes + HEADERS).to_string())
            .set("linger.ms", "0");
        let mut reading = config;
        reading
            .set("group.id", subject)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "20");
        let partition = crc32c::crc32c(subject.as_bytes()) as usize % count;
        let connection = Connection {
            producers,
            producer: None,
            asker,
            reader: client(&reading)?,
            topic,
            partition: partition as i32,
            key: subject.to_owned(),
        };
        Ok(Ok(Self { connection: Arc::new(Mutex::new(connection)), most_bytes }))
    }

    /// The longest body that the brokers take.
    pub fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let connection = Arc::clone(&self.connection);
        let call = move || call(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        blocking(call).await.map_err(Trouble::Doubt)?
    }
}

/// In a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let called = tokio::task::spawn_blocking(call).await;
    called.map_err(|error| format!("a thread of the client has ended: {error}"))
}

async fn make(config: &ClientConfig, topic: &str, create: Create) -> Result<Trouble, Failure> {
    let Create { replicas, max_age, max_bytes } = create;
    let age = if max_age.is_zero() { "-1".to_owned() } else { max_age.as_millis().to_string() };
    let (bytes, in_sync) = (max_bytes.to_string(), (replicas / 2 + 1).to_string());
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(replicas as i32))
        .set("cleanup.policy", "delete")
        .set("retention.ms", &age)
        .set("retention.bytes", &bytes)
        .set("min.insync.replicas", &in_sync);
    let admin: AdminClient<Told> = client(config)?;
    let options =
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let made = admin.create_topics(&[new], &options).await;
    let made = made.map_err(|error| (error.to_string(), error));
    let error = match made.map(|results| results.into_iter().next()) {
        Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)) | Ok(_)) | None) => None,
        Ok(Some(Err((_, code)))) => Some((code.to_string(), KafkaError::AdminOp(code))),
        Err(error) => Some(error),
    };
    match error {
        None => Ok(Trouble::Doubt(format!("the topic {topic} is being made"))),
        Some((why, error)) => refused(&error, format!("cannot make the topic {topic}: {why}")),
    }
}

/// By the topic's configuration; 1 MB if that is not told.
async fn most_bytes(config: &ClientConfig, topic: &str) -> Result<usize, Failure> {
    let admin: AdminClient<Told> = client(config)?;
    // A broker that does not know the question may not answer it.
    let options = AdminOptions::new().request_timeout(Some(PATIENCE / 2));
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
    let described = described.ok().and_then(|mut all| all.pop()).and_then(Result::ok);
    let value = |name| described.as_ref()?.get(name)?.value.clone();
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        let sentence = format!(
            "the topic {topic} is compacted, so that of each ring only its last message stays; \
             expected cleanup.policy=delete"
        );
        return Err(Failure::new(Kind::Usage, sentence));
    }
    let most = value("max.message.bytes").and_then(|bytes| bytes.parse().ok());
    Ok(most.unwrap_or(MOST_BYTES).saturating_sub(HEADERS))
}

impl Engine for Kafka {
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn fences(&self) -> bool {
        true
    }

    async fn last(&self) -> Result<Option<Last>, Trouble> {
        self.call(Connection::last).await
    }

    /// What was asked for last is the last one still: the producer's epoch says it, not `after`.
    async fn append(&self, _: u64, message: &Message) -> Result<u64, Trouble> {
        let message = message.clone();
        self.call(move |connection| connection.append(&message)).await
    }
}

impl Connection {
    fn last(&mut self) -> Result<Option<Last>, Trouble> {
        self.end_producer();
        let producer: BaseProducer<Told> =
            client(&self.producers).map_err(|failure| Trouble::Refused(failure.to_string()))?;
        producer
            .init_transactions(PATIENCE)
            .map_err(|error| trouble(&error, format!("cannot begin as {}: {error}", self.key)))?;
        self.producer = Some(producer);
        self.read_back()
    }

    /// Nothing of it is sent any more.
    fn end_producer(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.purge(PurgeConfig::default().queue().inflight());
            let _ = producer.flush(PATIENCE);
        }
    }

    /// The key's last message before the partition's end.
    fn read_back(&self) -> Result<Option<Last>, Trouble> {
        let cannot = |error: KafkaError| {
            let sentence = format!("cannot ask for the last message: {error}");
            trouble(&error, sentence)
        };
        let (topic, partition) = (&*self.topic, self.partition);
        let (low, high) =
            self.asker.fetch_watermarks(topic, partition, PATIENCE).map_err(cannot)?;
        let began = Instant::now();
        loop {
            let (_, stable) =
                self.reader.fetch_watermarks(topic, partition, PATIENCE).map_err(cannot)?;
            if stable >= high {
                break;
            }
            if began.elapsed() >= PATIENCE {
                return Err(Trouble::Doubt(format!(
                    "a transaction of another forwarder is open in partition {partition} of {topic}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let (mut end, mut back) = (high, BACK.0);
        while end > low {
            let begin = low.max(end - back);
            if let Some(last) = self.read(begin, end)? {
                return Ok(Some(last));
            }
            (end, back) = (begin, (back * 8).min(BACK.1));
        }
        Ok(None)
    }

    /// The key's last message from offset `begin` to the one before `end`.
    fn read(&self, begin: i64, end: i64) -> Result<Option<Last>, Trouble> {
        let cannot =
            |error: KafkaError| trouble(&error, format!("cannot read the last message: {error}"));
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.topic, self.partition, Offset::Offset(begin))
            .and_then(|()| self.reader.assign(&from))
            .map_err(cannot)?;
        let mut last = None;
        let mut heard = Instant::now();
        while heard.elapsed() < PATIENCE {
            let message = match self.reader.poll(Duration::from_millis(100)) {
                None => continue,
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
                // A broker that is away is asked again.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ))) => continue,
                Some(Err(error)) => return Err(cannot(error)),
                Some(Ok(message)) => message,
            };
            heard = Instant::now();
            // Of an assignment before.
            if message.offset() < begin {
                continue;
            }
            if message.offset() >= end {
                return Ok(last);
            }
            if message.key() == Some(self.key.as_bytes()) {
                let message_of = message_of(&message).map_err(|error| error.to_string());
                last = Some(Last { sequence: message.offset() as u64 + 1, message: message_of });
            }
            if message.offset() == end - 1 {
                return Ok(last);
            }
        }
        let partition = self.partition;
        Err(Trouble::Doubt(format!("partition {partition} of {} is not told", self.topic)))
    }

    fn append(&mut self, message: &Message) -> Result<u64, Trouble> {
        let appended = self.try_append(message);
        if appended.is_err() {
            // In doubt: a new one is to come before anything else does.
            self.end_producer();
        }
        appended
    }

    fn try_append(&mut self, message: &Message) -> Result<u64, Trouble> {
        let Some(producer) = &self.producer else {
            return Err(Trouble::Doubt("the producer has ended".to_owned()));
        };
        let context = producer.client().context();
        let delivered = || context.delivered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let cannot = |error: KafkaError| {
            // What was said of the message, and of the producer, is more than that it failed.
            let of_message = delivered().and_then(Result::err);
            let fatal = producer.client().fatal_error().map(|(code, _)| KafkaError::Global(code));
            let sentence = format!("a message was not acknowledged: {error}");
            [fatal, of_message]
                .into_iter()
                .flatten()
                .map(|error| trouble(&error, format!("{sentence}: {error}")))
                .find(|trouble| !matches!(trouble, Trouble::Doubt(_)))
                .unwrap_or_else(|| trouble(&error, sentence.clone()))
        };
        let mut headers = OwnedHeaders::new();
        for (key, value) in &message.headers() {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::to(&self.topic)
            .partition(self.partition)
            .key(&self.key)
            .headers(headers)
            .payload(&message.body[..]);
        delivered();
        producer.begin_transaction().map_err(cannot)?;
        producer.send(record).map_err(|(error, _)| cannot(error))?;
        producer.commit_transaction(PATIENCE).map_err(cannot)?;
        match delivered() {
            Some(Ok(offset)) => Ok(offset as u64 + 1),
            other => Err(Trouble::Doubt(format!("a message was committed, and told as {other:?}"))),
        }
    }
}
