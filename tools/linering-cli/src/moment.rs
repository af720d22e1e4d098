//! Moments and expressions on the command line.

use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use regex::bytes::{Regex, RegexBuilder};

use crate::value_parser::duration;

/// Parses a moment: a time ago (5m), or a date with a time, of this machine's zone unless it has
/// one.
pub fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = duration(text)
        && let Some(moment) = SystemTime::now().checked_sub(ago)
    {
        return Ok(moment);
    }
    let zoned = text.parse::<jiff::Timestamp>();
    let local = || text.parse::<DateTime>()?.to_zoned(TimeZone::system()).map(|it| it.timestamp());
    zoned.or_else(|_| local()).map(Into::into).map_err(|_| {
        "expected a time ago, such as 5m, or a date and time, such as 2026-11-26T18:00:00"
            .to_owned()
    })
}

/// Parses an expression: its case counts if it has a capital letter.
pub fn expression(text: &str) -> Result<Regex, String> {
    let has_capital = text.chars().any(char::is_uppercase);
    let made = RegexBuilder::new(text).case_insensitive(!has_capital).build();
    made.map_err(|error| error.to_string())
}
