//! Parsers for the numbers on the command line.

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
