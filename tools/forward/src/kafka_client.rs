//! What all of librdkafka's clients are told, and what they tell.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::access::Access;
use crate::engine::Trouble;
use crate::exit::{Failure, Kind};
use crate::message::{Message, Unreadable};
use crate::target::Target;

/// How long the brokers may take for one thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// In what time a client hands out what it was told before.
const TOLD: Duration = Duration::from_millis(50);

/// What librdkafka tells by callbacks. Nothing is logged: its threads may log into the ring that is
/// forwarded.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What became of the last message.
    pub(crate) delivered: Mutex<Option<Result<i64, KafkaError>>>,
    /// Why a connection has failed last.
    failed: Mutex<Option<String>>,
}

impl ClientContext for Told {
    fn log(&self, _: RDKafkaLogLevel, what: &str, sentence: &str) {
        if what == "FAIL" {
            // Behind the name of the thread.
            let sentence = sentence.split_once("]: ").map_or(sentence, |(_, rest)| rest);
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(sentence.into());
        }
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

/// What all clients of a target are told.
pub(crate) fn config(target: &Target, access: &Access) -> Result<ClientConfig, Failure> {
    let usage = |sentence: &str| Failure::new(Kind::Usage, sentence);
    if access.creds.is_some() || access.nkey.is_some() {
        return Err(usage(
            "--creds and --nkey are of NATS, expected --user and --password-file, or --tls-cert",
        ));
    }
    let has_tls = access.tls_ca.is_some()
        || access.tls_cert.is_some()
        || target.servers.iter().any(|server| server.starts_with("kafka+tls"));
    if has_tls && !cfg!(feature = "kafka-tls") {
        return Err(usage(
            "TLS to Kafka is not in this build, expected one with it: cargo install --path \
             tools/forward --features kafka-tls",
        ));
    }
    let servers = target.servers.iter().filter_map(|server| Some(server.split_once("://")?.1));
    let servers: Vec<&str> = servers.collect();
    let mut config = ClientConfig::new();
    config
        .set_log_level(RDKafkaLogLevel::Info)
        .set("bootstrap.servers", servers.join(","))
        .set("client.id", "linering-forward")
        .set("socket.connection.setup.timeout.ms", PATIENCE.as_millis().to_string())
        .set("reconnect.backoff.max.ms", "1000");
    let protocol = match (access.user.is_some(), has_tls) {
        (false, false) => "plaintext",
        (false, true) => "ssl",
        (true, false) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some((user, path)) = &access.user {
        let password = std::fs::read_to_string(path).map_err(|error| {
            usage(&format!("cannot read the password in {}: {error}", path.display()))
        })?;
        config
            .set("sasl.mechanism", access.sasl.as_deref().unwrap_or("PLAIN"))
            .set("sasl.username", user)
            .set("sasl.password", password.lines().next().unwrap_or_default());
    }
    if let Some(path) = &access.tls_ca {
        config.set("ssl.ca.location", path.to_string_lossy());
    }
    if let Some((cert, key)) = &access.tls_cert {
        config
            .set("ssl.certificate.location", cert.to_string_lossy())
            .set("ssl.key.location", key.to_string_lossy());
    }
    Ok(config)
}

pub(crate) fn client<T>(config: &ClientConfig) -> Result<T, Failure>
where
    T: FromClientConfigAndContext<Told>,
{
    config.create_with_context(Told::default()).map_err(|error| {
        Failure::new(Kind::Usage, format!("librdkafka takes no such options: {error}"))
    })
}

/// How many partitions a topic has; `None` if there is no such topic.
pub(crate) fn partitions(
    consumer: &BaseConsumer<Told>,
    topic: &str,
) -> Result<Result<Option<usize>, Trouble>, Failure> {
    let cannot =
        |error: &dyn std::fmt::Display| format!("cannot ask for the topic {topic}: {error}");
    let metadata = match consumer.fetch_metadata(Some(topic), PATIENCE) {
        Ok(metadata) => metadata,
        Err(error) => {
            // Why the connection has failed, which that error does not say.
            let (mut worst, began) = (error.clone(), Instant::now());
            while began.elapsed() < TOLD {
                if let Some(Err(error)) = consumer.poll(TOLD / 10)
                    && matches!(trouble(&error, String::new()), Trouble::Refused(_))
                {
                    worst = error;
                }
            }
            let mut why = consumer.context().failed.lock().unwrap_or_else(PoisonError::into_inner);
            let why = why.take().unwrap_or_else(|| error.to_string());
            return refused(&worst, cannot(&why)).map(Err);
        }
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(Ok(None));
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Ok(Some(found.partitions().len()).filter(|count| *count > 0))),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(Ok(None))
        }
        Some(RDKafkaErrorCode::InvalidTopic) => {
            Err(Failure::new(Kind::Usage, format!("{topic:?} is no name for a topic")))
        }
        Some(code) => refused(&KafkaError::Global(code), cannot(&code)).map(Err),
    }
}

/// A failure, if no waiting mends it.
pub(crate) fn refused(error: &KafkaError, sentence: String) -> Result<Trouble, Failure> {
    match trouble(error, sentence) {
        Trouble::Refused(sentence) => Err(Failure::failed(sentence)),
        trouble => Ok(trouble),
    }
}

pub(crate) fn trouble(error: &KafkaError, sentence: String) -> Trouble {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
            Trouble::Overtaken
        }
        Some(
            Code::MessageSizeTooLarge
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SSL
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature,
        ) => Trouble::Refused(sentence),
        _ => Trouble::Doubt(sentence),
    }
}

/// A message of a ring, as a topic has it.
pub(crate) fn message_of(found: &BorrowedMessage<'_>) -> Result<Message, Unreadable> {
    let header = |name| {
        let headers = found.headers()?;
        let header = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    };
    Message::of(header, found.payload().unwrap_or_default().to_vec())
}
