//! [`Target`]: `nats://HOST[:PORT][,HOST…]/STREAM[/SUBJECT]`, or `kafka://…/TOPIC[/SUBJECT]`.

use std::str::FromStr;

/// Where messages go, or come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Each with its scheme.
    pub servers: Vec<String>,
    /// The stream's name, or the topic's.
    pub stream: String,
    /// The subject, if it was named.
    pub subject: Option<String>,
}

impl Target {
    /// Whether it is of Kafka.
    pub fn is_kafka(&self) -> bool {
        self.servers.iter().any(|server| server.starts_with("kafka"))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no target, expected nats://HOST[,HOST]/STREAM");
        let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
        if matches!(scheme, "kafka" | "kafka+tls") && !cfg!(feature = "kafka") {
            return Err(format!(
                "{scheme}:// is not in this build, expected one with it: cargo install --path \
                 tools/forward --features kafka-tls"
            ));
        }
        if !matches!(scheme, "nats" | "tls" | "kafka" | "kafka+tls") {
            return Err(format!(
                "{scheme}:// is no engine of this program, expected nats:// or tls://"
            ));
        }
        if rest.contains('@') {
            return Err("a target has no password, since others see it: expected --creds, --nkey \
                        or --password-file"
                .to_owned());
        }
        let mut parts = rest.splitn(3, '/');
        let hosts = parts.next().filter(|hosts| !hosts.is_empty()).ok_or_else(expected)?;
        let stream = parts.next().filter(|stream| !stream.is_empty()).ok_or_else(expected)?;
        let servers = hosts.split(',').map(|host| format!("{scheme}://{host}")).collect();
        let subject = parts.next().filter(|subject| !subject.is_empty()).map(str::to_owned);
        Ok(Self { servers, stream: stream.to_owned(), subject })
    }
}

/// What `text` is as one part of a subject: points, wildcards and spaces are lines.
pub fn token(text: &str) -> String {
    let is_plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
    let token: String = text
        .chars()
        .map(|letter| if is_plain(letter) && !".*>".contains(letter) { letter } else { '-' })
        .collect();
    if token.is_empty() { "-".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_servers_a_stream_and_perhaps_a_subject() {
        let target: Target = "nats://a,b:4223/LINES/linering.x".parse().expect("a target");
        assert_eq!(target.servers, ["nats://a", "nats://b:4223"]);
        assert_eq!(
            (target.stream.as_str(), target.subject.as_deref()),
            ("LINES", Some("linering.x"))
        );
        for (text, error) in [
            ("a/LINES", "is no target"),
            ("nats://", "is no target"),
            ("nats://a", "is no target"),
            ("redis://a/LINES", "redis:// is no engine"),
            ("nats://me:secret@a/LINES", "has no password"),
        ] {
            let found = text.parse::<Target>().expect_err(text);
            assert!(found.contains(error), "{found}");
        }
        let kafka = "kafka://a,b:9093/LINES".parse::<Target>();
        if cfg!(feature = "kafka") {
            assert!(kafka.expect("a target").is_kafka() && !target.is_kafka());
        } else {
            let found = kafka.expect_err("it is not built in");
            assert!(found.contains("is not in this build, expected one with it:"), "{found}");
        }
        assert_eq!([token("a.b c*"), token("")], ["a-b-c-", "-"]);
    }
}
