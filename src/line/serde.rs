//! Items for the crate `serde`.

use std::process::ExitStatus;

use serde::Serializer;

/// A string, where the bytes are one.
pub(super) fn bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => to.serialize_str(text),
        Err(_) => to.serialize_bytes(bytes),
    }
}

/// As it is shown: `exit status: 7`.
pub(super) fn exit<S: Serializer>(exit: &Option<ExitStatus>, to: S) -> Result<S::Ok, S::Error> {
    match exit {
        Some(exit) => to.serialize_some(&exit.to_string()),
        None => to.serialize_none(),
    }
}
