//! How lines are shown, and where: shared by the commands that print a ring's lines.

mod format;
mod line_form;
mod page;
mod sink;
mod template;

use std::fs::File;
use std::os::fd::AsFd;

use crate::failure::Failure;

pub use format::{Clock, EndRecord, Format, Times, json_end, stream_name};
pub use line_form::LineForm;
pub use page::{Look, Page};
pub use sink::Sink;
pub use template::Template;

/// Whether to colour what goes to `stream`: on a terminal, unless `NO_COLOR` is set, or as the
/// option says.
pub fn is_colored(when: clap::ColorChoice, stream: &impl anstream::stream::RawStream) -> bool {
    match when {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => {
            stream.is_terminal()
                && anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
        }
    }
}

/// A file of our own for what this descriptor is open for.
pub fn own(descriptor: &impl AsFd) -> Result<File, Failure> {
    let own = descriptor.as_fd().try_clone_to_owned();
    let refused =
        |error| Failure::Failed(format!("cannot use standard output or standard error: {error}"));
    Ok(File::from(own.map_err(refused)?))
}
