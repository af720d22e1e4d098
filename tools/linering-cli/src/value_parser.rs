//! Parsers for the numbers and times on the command line.

use std::time::Duration;

/// A parser for a number within bounds.
pub fn within(
    low: usize,
    high: usize,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| format!("expected a number from {low} to {high}"))
    }
}

/// Parses a number of bytes, at least 1; K, M and G are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'k', 'M', 'm', 'G', 'g']) {
        Some(digits) => (digits, text.as_bytes()[digits.len()].to_ascii_uppercase()),
        None => (text, b' '),
    };
    let factor = match unit {
        b'K' => 1 << 10,
        b'M' => 1 << 20,
        b'G' => 1 << 30,
        _ => 1,
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let expected = "expected a number of bytes, at least 1, or one with K, M or G: 10M";
    number.filter(|number| *number > 0).ok_or_else(|| expected.to_owned())
}

/// Parses a time: 10s, 500ms, 1m 30s, or a number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    let expected = "expected a time, such as 10s, 500ms or 1m 30s";
    seconds().or_else(|| humantime::parse_duration(text).ok()).ok_or_else(|| expected.to_owned())
}

/// A time after which something is done, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl Limit {
    /// Parses a time, or "never".
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            _ => duration(text)
                .map(|time| Self(Some(time)))
                .map_err(|expected| format!("{expected}, or never")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m 30s", 90_000),
            ("2", 2000),
            ("0.5", 500),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "soon", "never", "10 parsecs", "1e300", "nan"] {
            assert!(duration(text).is_err_and(|error| error.contains("expected a time")), "{text}");
        }
        assert_eq!(Limit::parse("never"), Ok(Limit(None)));
        assert!(Limit::parse("soon").is_err_and(|error| error.ends_with(", or never")));
    }
}
