//! How lines are shown, and where: shared by the commands that print a ring's lines.

mod format;
mod page;
mod sink;
mod template;

pub use format::{Clock, Format, stream_name};
pub use page::{Look, Page};
pub use sink::Sink;
pub use template::Template;

/// Whether to colour what goes to `stream`: on a terminal, unless `NO_COLOR` is set, or as the option says.
pub fn is_colored(when: clap::ColorChoice, stream: &impl anstream::stream::RawStream) -> bool {
    match when {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => {
            stream.is_terminal() && anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
        }
    }
}
