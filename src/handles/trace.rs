//! What the message of a mirror's error says: an error with its sources, or a panic.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt::Write as _;

/// An error's text and those of its sources, a line each, then the backtrace if there is one.
pub(super) fn of_error(error: &(dyn Error + 'static), trace: &Backtrace) -> String {
    let mut text = format!("error: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = writeln!(text, "caused by: {cause}");
        source = cause.source();
    }
    with_trace(text, trace)
}

/// A panic's message, then the backtrace if there is one.
pub(super) fn of_panic(payload: &(dyn Any + Send), trace: &Backtrace) -> String {
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    with_trace(format!("panic: {}\n", message.unwrap_or("(no message)")), trace)
}

fn with_trace(mut text: String, trace: &Backtrace) -> String {
    if trace.status() == BacktraceStatus::Captured {
        let _ = writeln!(text, "stack backtrace:\n{}", trace.to_string().trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_ends_with_its_last_line() {
        let error = std::io::Error::other("out of luck");
        for trace in [Backtrace::disabled(), Backtrace::force_capture()] {
            for text in [of_error(&error, &trace), of_panic(&"out of luck", &trace)] {
                assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
            }
        }
    }
}
