//! [`AccessArgs`]: the options that say who connects, and over what, which both programs have; and
//! what no waiting mends of a connection.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use async_nats::ConnectError;
use async_nats::rustls::pki_types::pem::{self, PemObject};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{self, AlertDescription};

use crate::exit::{Failure, Kind};

/// Who connects, and over what.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A file with a JWT and a seed, as `nsc` makes it.
    pub creds: Option<PathBuf>,
    /// A file with the seed of a nkey.
    pub nkey: Option<PathBuf>,
    /// A user's name, and the file with the password.
    pub user: Option<(String, PathBuf)>,
    /// How that is shown to Kafka: `PLAIN` if it is not said.
    pub sasl: Option<String>,
    /// Certificates that are trusted, in place of the system's.
    pub tls_ca: Option<PathBuf>,
    /// This program's certificate and its key.
    pub tls_cert: Option<(PathBuf, PathBuf)>,
}

/// [`Access`], by a command's options.
#[derive(Clone, Debug, clap::Args)]
pub struct AccessArgs {
    /// A file with the credentials that nsc made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nkey", "user"])]
    creds: Option<PathBuf>,

    /// A file with the seed of a nkey
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    nkey: Option<PathBuf>,

    /// A user's name
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,

    /// A file whose first line is the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// How the password is shown to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (PLAIN without it)
    #[arg(long, value_name = "MECHANISM", requires = "user")]
    #[arg(value_parser = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])]
    sasl: Option<String>,

    /// Trust the certificates of this file, and not the system's
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// This program's certificate
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl From<AccessArgs> for Access {
    fn from(args: AccessArgs) -> Self {
        let AccessArgs { creds, nkey, user, password_file, sasl, tls_ca, tls_cert, tls_key } = args;
        let (user, tls_cert) = (user.zip(password_file), tls_cert.zip(tls_key));
        Self { creds, nkey, user, sasl, tls_ca, tls_cert }
    }
}

impl Access {
    /// Whether the files have what their options say: the client would tell it as a server that is
    /// away.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or has something else.
    pub fn look_at_certificates(&self) -> Result<(), Failure> {
        let certificates =
            |path: &Path| CertificateDer::pem_file_iter(path)?.try_for_each(|one| one.map(drop));
        let any = |path: &Path| CertificateDer::from_pem_file(path).map(drop);
        let key = |path: &Path| PrivateKeyDer::from_pem_file(path).map(drop);
        let of_files = self.tls_ca.iter().chain(self.tls_cert.iter().map(|(path, _)| path));
        for path in of_files {
            look_at(path, "certificate", any(path).and_then(|()| certificates(path)))?;
        }
        self.tls_cert.iter().try_for_each(|(_, path)| look_at(path, "key", key(path)))
    }
}

fn look_at(path: &Path, what: &str, found: Result<(), pem::Error>) -> Result<(), Failure> {
    let path = path.display();
    let sentence = match found {
        Ok(()) => return Ok(()),
        Err(pem::Error::NoItemsFound) => {
            format!("there is no {what} in {path}, expected one in PEM")
        }
        Err(pem::Error::Io(error)) => format!("cannot read the {what} in {path}: {error}"),
        Err(error) => format!("cannot read the {what} in {path}: {error}, expected PEM"),
    };
    Err(Failure::new(Kind::Usage, sentence))
}

/// Why the same server will refuse it again, or is none; `None` if a later try may get through.
pub fn hopeless(error: &ConnectError) -> Option<(Kind, String)> {
    let error = error.source()?.downcast_ref::<io::Error>()?;
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Some((Kind::Failed, of_tls(tls)));
    }
    // What the client cannot parse.
    let is_other = error.kind() == io::ErrorKind::InvalidInput;
    is_other.then(|| (Kind::Usage, format!("expected a NATS server there: {error}")))
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a certificate, expected --tls-cert and --tls-key".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the server does not take the certificate of --tls-cert: TLS alert {alert:?}")
        }
        rustls::Error::InvalidMessage(message) => {
            format!("the server does not speak TLS, which tls:// and --tls-… ask for: {message:?}")
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            format!("TLS: {error}, expected one that the authority in --tls-ca has signed")
        }
        _ => format!("TLS: {error}"),
    }
}
