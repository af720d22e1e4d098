//! A stream of JetStream's: found or made, and whether a forwarder can rest on it.

use std::error::Error as _;

use async_nats::Client;
use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamErrorKind, PublishError, PublishErrorKind, RequestError,
    RequestErrorKind,
};
use async_nats::jetstream::stream::{Config, RetentionPolicy, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};

use crate::engine::Trouble;
use crate::exit::{Failure, Kind};

/// What a stream answers where there is none of this name.
const NO_STREAM: ErrorCode = ErrorCode(10059);

type Found = Result<Result<Stream, Trouble>, Failure>;

/// Asks for the stream, which is made if it is not there and `create` says how.
///
/// # Errors
///
/// In the outer result: what no waiting mends. A stream that is not there is told by `missing`.
pub async fn find(
    client: &Client,
    context: &Context,
    name: &str,
    create: Option<Config>,
    missing: impl FnOnce() -> Failure,
) -> Found {
    let error = match context.get_stream(name).await {
        Ok(stream) => return Ok(Ok(stream)),
        Err(error) => error,
    };
    let sentence = format!("cannot use the stream {name}: {error}");
    match error.kind() {
        GetStreamErrorKind::JetStream(error) if error.error_code() == NO_STREAM => {}
        GetStreamErrorKind::JetStream(error) => return answered(&error, sentence),
        GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => {
            return Err(Failure::new(Kind::Usage, sentence));
        }
        GetStreamErrorKind::Request => {
            let source = error.source().and_then(|source| source.downcast_ref::<RequestError>());
            let is_silent =
                source.is_some_and(|source| source.kind() == RequestErrorKind::NoResponders);
            let server = client.server_info();
            if is_silent && !server.jetstream && server.cluster.is_none() {
                let servers = format!("{}:{}", server.host, server.port);
                let sentence =
                    format!("the server at {servers} has no JetStream, expected nats-server -js");
                return Err(Failure::new(Kind::Usage, sentence));
            }
            return Ok(Err(Trouble::Doubt(sentence)));
        }
    }
    let Some(config) = create else { return Err(missing()) };
    let error = match context.create_stream(config).await {
        Ok(stream) => return Ok(Ok(stream)),
        Err(error) => error,
    };
    let sentence = format!("cannot make the stream {name}: {error}");
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => answered(&error, sentence),
        _ => Ok(Err(Trouble::Doubt(sentence))),
    }
}

fn answered(error: &jetstream::Error, sentence: String) -> Found {
    let is_fixed = match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => true,
        // Another forwarder has made it just now; a member of the cluster may come.
        ErrorCode::STREAM_NAME_EXIST | ErrorCode::CLUSTER_NO_PEERS => false,
        _ => error.code() != 503,
    };
    if is_fixed {
        return Err(Failure::new(Kind::Usage, sentence));
    }
    Ok(Err(Trouble::Doubt(sentence)))
}

/// Whether a forwarder can rest on a stream with this configuration.
///
/// # Errors
///
/// It cannot: what was found, and what was expected.
pub fn check(name: &str, config: &Config, subject: &str) -> Result<(), Failure> {
    let takes_ours = |pattern: &String| takes(pattern, subject);
    let sentence = if let Some(mirror) = &config.mirror {
        format!("the stream {name} is a mirror: expected {} in its place", mirror.name)
    } else if config.sealed {
        format!("the stream {name} is sealed, expected one that takes messages")
    } else if config.no_ack {
        format!("the stream {name} acknowledges nothing, expected one without no_ack")
    } else if config.retention != RetentionPolicy::Limits {
        format!(
            "the stream {name} drops messages once they are read, and with them the note of how \
             far a ring came; expected the retention \"limits\""
        )
    } else if !config.subjects.iter().any(takes_ours) {
        format!(
            "the stream {name} keeps {}, expected {subject} among them: nats stream edit {name} \
             --subjects …",
            config.subjects.join(", ")
        )
    } else if let Some(transform) = config
        .subject_transform
        .as_ref()
        .filter(|transform| transform.source.is_empty() || takes_ours(&transform.source))
    {
        format!(
            "the stream {name} keeps {subject} as {}, expected no transform of it",
            transform.destination
        )
    } else {
        return Ok(());
    };
    Err(Failure::new(Kind::Usage, sentence))
}

/// Whether a stream with this subject, which may have wildcards, keeps that one.
pub fn takes(pattern: &str, subject: &str) -> bool {
    let mut parts = subject.split('.');
    for part in pattern.split('.') {
        match (part, parts.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (part, Some(other)) if part == other => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

/// What a message was answered with.
pub fn trouble(error: &PublishError) -> Trouble {
    let sentence = format!("a message was not acknowledged: {error}");
    let source = error.source();
    let answer = source.and_then(|it| it.downcast_ref::<jetstream::Error>());
    match answer.map(|answer| (answer.error_code(), answer.code())) {
        // The second one where another message is on its way in the cluster.
        Some((
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
            _,
        )) => Trouble::Overtaken,
        // There may be room later.
        Some((ErrorCode::ACCOUNT_RESOURCES_EXCEEDED, _)) => Trouble::Doubt(sentence),
        Some((_, 400)) => Trouble::Refused(sentence),
        _ if error.kind() == PublishErrorKind::MaxPayloadExceeded => Trouble::Refused(sentence),
        _ => Trouble::Doubt(sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::takes;

    #[test]
    fn a_stream_takes_what_its_subjects_match() {
        for (pattern, subject, expected) in [
            ("linering.>", "linering.a.b", true),
            ("linering.>", "linering", false),
            ("linering.*", "linering.a", true),
            ("linering.*", "linering.a.b", false),
            ("linering.a", "linering.a", true),
            (">", "linering.a", true),
            ("other.>", "linering.a", false),
        ] {
            assert_eq!(takes(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
