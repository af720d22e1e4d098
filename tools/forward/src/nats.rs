//! [`Nats`]: NATS JetStream as an [`Engine`].

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};

use crate::access::{self, Access};
use crate::engine::{Engine, Last, Trouble};
use crate::exit::{Failure, Kind, note};
use crate::message::Message;
use crate::stream as streams;
use crate::target::Target;

/// How long the server may take to acknowledge.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked, meanwhile, whether the connection was cut.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a server of several may take itself for the one that leads: NATS' leaders resign after
/// ten seconds without the others.
const STALENESS: Duration = Duration::from_secs(15);
/// Bytes of a message beside its records: the subject, and headers.
const HEADERS: usize = 4096;

/// A stream that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Create {
    /// Servers that keep a copy each.
    pub replicas: usize,
    /// How long messages are kept; zero for ever.
    pub max_age: Duration,
    /// How many bytes of them; -1 without a limit.
    pub max_bytes: i64,
}

/// One subject of a stream.
#[derive(Debug)]
pub struct Nats {
    client: Client,
    context: Context,
    stream: stream::Stream,
    subject: String,
}

async fn first_line(path: &PathBuf, what: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read {what} in {}: {error}", path.display()))
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Which of the two programs this is.
fn program() -> String {
    let path = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Connects; a server that is away is one to be [waited for](Trouble::Doubt).
///
/// # Errors
///
/// In the outer result: what no waiting mends, such as wrong credentials.
pub async fn connect(target: &Target, access: &Access) -> Result<Result<Client, Trouble>, Failure> {
    let mut options = ConnectOptions::new()
        .name(program())
        .request_timeout(Some(PATIENCE))
        .connection_timeout(PATIENCE)
        .event_callback(|event| async move {
            if let Event::ServerError(error) = event {
                note(&program(), format_args!("the server says: {error}"));
            }
        });
    if let Some(path) = &access.creds {
        options = options.credentials_file(path).await.map_err(|error| {
            let path = path.display();
            Failure::new(Kind::Usage, format!("cannot read the credentials in {path}: {error}"))
        })?;
    }
    if let Some(path) = &access.nkey {
        options = options.nkey(first_line(path, "the seed").await?);
    }
    if let Some((user, path)) = &access.user {
        options = options.user_and_password(user.clone(), first_line(path, "the password").await?);
    }
    access.look_at_certificates()?;
    if let Some(path) = &access.tls_ca {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some((cert, key)) = &access.tls_cert {
        options = options.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    let error = match options.connect(&target.servers[..]).await {
        Ok(client) => return Ok(Ok(client)),
        Err(error) => error,
    };
    let servers = target.servers.join(",");
    let sentence = |what: &dyn Display| format!("cannot connect to {servers}: {what}");
    if let Some((kind, what)) = access::hopeless(&error) {
        return Err(Failure::new(kind, sentence(&what)));
    }
    match (error.kind(), &access.nkey) {
        (
            ConnectErrorKind::Io | ConnectErrorKind::TimedOut | ConnectErrorKind::MaxReconnects,
            _,
        ) => Ok(Err(Trouble::Doubt(sentence(&error)))),
        (ConnectErrorKind::Authentication, Some(path)) => {
            let sentence = format!("{} has no seed of a nkey", path.display());
            Err(Failure::new(Kind::Usage, sentence))
        }
        (ConnectErrorKind::ServerParse | ConnectErrorKind::Dns, _) => {
            Err(Failure::new(Kind::Usage, sentence(&error)))
        }
        _ => Err(Failure::failed(sentence(&error))),
    }
}

impl Nats {
    /// The subject of the target's stream, which is made if it is not there and `create` says how.
    ///
    /// # Errors
    ///
    /// In the outer result: what no waiting mends, such as a stream that is not there.
    pub async fn open(
        client: Client,
        target: &Target,
        subject: String,
        create: Option<Create>,
    ) -> Result<Result<Self, Trouble>, Failure> {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(PATIENCE);
        let name = &target.stream;
        let missing = || {
            let line = format!("nats stream add {name} --subjects '{subject}' --defaults");
            let sentence = format!(
                "there is no stream {name}, expected one that keeps {subject}: --create makes it, \
                 or: {line}"
            );
            Failure::new(Kind::Usage, sentence)
        };
        let config = create.map(|create| stream::Config {
            name: name.clone(),
            subjects: vec!["linering.>".to_owned()],
            num_replicas: create.replicas,
            max_age: create.max_age,
            max_bytes: create.max_bytes,
            ..stream::Config::default()
        });
        let stream = match streams::find(&client, &context, name, config, missing).await? {
            Ok(stream) => stream,
            Err(trouble) => return Ok(Err(trouble)),
        };
        streams::check(name, &stream.cached_info().config, &subject)?;
        Ok(Ok(Self { client, context, stream, subject }))
    }

    /// The longest body that the server and the stream take.
    pub fn most_bytes(&self) -> usize {
        let server = self.client.server_info().max_payload;
        let stream = self.stream.cached_info().config.max_message_size;
        let most = if stream > 0 { server.min(stream as usize) } else { server };
        most.saturating_sub(HEADERS)
    }

    /// Which connection to a server it is, since the client began.
    fn connection(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Comes back once this connection is no more: no acknowledgement comes over it, and to wait
    /// for one would be a pause.
    async fn cut(&self, connection: u64) {
        while self.client.connection_state() == State::Connected && self.connection() == connection
        {
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Engine for Nats {
    fn staleness(&self) -> Duration {
        let replicas = self.stream.cached_info().config.num_replicas;
        if replicas > 1 { STALENESS } else { Duration::ZERO }
    }

    fn fences(&self) -> bool {
        false
    }

    async fn last(&self) -> Result<Option<Last>, Trouble> {
        match self.stream.get_last_raw_message_by_subject(&self.subject).await {
            Ok(found) => {
                let header = |name| found.headers.get(name).map(|value| value.as_str());
                let message = Message::of(header, found.payload);
                let message = message.map_err(|error| error.to_string());
                Ok(Some(Last { sequence: found.sequence, message }))
            }
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error) if error.code() == 404 => {
                    let name = &self.stream.cached_info().config.name;
                    Err(Trouble::Refused(format!("the stream {name} is gone: {error}")))
                }
                _ => Err(Trouble::Doubt(format!("cannot ask for the last message: {error}"))),
            },
        }
    }

    async fn append(&self, after: u64, message: &Message) -> Result<u64, Trouble> {
        let mut publish = PublishMessage::build()
            .expected_last_subject_sequence(after)
            .payload(message.body.clone());
        for (name, value) in message.headers() {
            publish = publish.header(name, value);
        }
        let connection = self.connection();
        let sent = match self.context.send_publish(self.subject.clone(), publish).await {
            Ok(sent) => sent,
            Err(error) => return Err(streams::trouble(&error)),
        };
        tokio::select! {
            biased;
            kept = sent => kept.map(|kept| kept.sequence).map_err(|error| streams::trouble(&error)),
            () = self.cut(connection) => {
                let sentence = "the connection was cut before a message was acknowledged";
                Err(Trouble::Doubt(sentence.to_owned()))
            }
        }
    }
}
