//! The lines that are sent, and the check that each of them arrives whole, once and in its writer's
//! order.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// More writers than this is a torn line.
const WRITERS: u64 = 1024;

/// The most words of a line.
const WORDS: usize = 4000 / 8;

/// What distinguishes the words of a line from each other.
const STEPS: [u64; WORDS] = {
    let mut steps = [0; WORDS];
    let mut index = 0;
    while index < WORDS {
        steps[index] = (index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
        index += 1;
    }
    steps
};

/// What distinguishes the words of one line from those of all others.
#[inline]
fn seed(writer: u64, number: u64) -> u64 {
    (number.rotate_left(10) ^ writer).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Line `number` of `writer`: both numbers, and a filling in which no word is another line's.
///
/// Each word of the filling by itself, an addition to one of a table: so the compiler makes
/// several at a time. This is part of every figure.
#[inline]
pub fn line<const N: usize>(writer: u64, number: u64) -> [u8; N] {
    const { assert!(N >= 24 && N <= 8 * WORDS) };
    let mut line = [0; N];
    let seed = seed(writer, number);
    let (words, tail) = line.as_chunks_mut::<8>();
    for (to, step) in words.iter_mut().zip(&STEPS) {
        *to = seed.wrapping_add(*step).to_le_bytes();
    }
    tail.copy_from_slice(&seed.wrapping_add(STEPS[N / 8 % WORDS]).to_le_bytes()[..N % 8]);
    line[..8].copy_from_slice(&writer.to_le_bytes());
    line[8..16].copy_from_slice(&number.to_le_bytes());
    line
}

/// Whether the bytes are line `number` of `writer`: every byte is compared, in words that are made
/// here and nowhere stored.
#[inline]
fn is_line<const N: usize>(bytes: &[u8], writer: u64, number: u64) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else { return false };
    let seed = seed(writer, number);
    let (words, tail) = bytes.as_chunks::<8>();
    let word = |index: usize| u64::from_le_bytes(words[index]);
    let mut differs = (word(0) ^ writer) | (word(1) ^ number);
    for (found, step) in words.iter().zip(&STEPS).skip(2) {
        differs |= u64::from_le_bytes(*found) ^ seed.wrapping_add(*step);
    }
    let last = seed.wrapping_add(STEPS[N / 8 % WORDS]).to_le_bytes();
    differs == 0 && *tail == last[..N % 8]
}

/// The writer and the number that a line names.
fn named(bytes: &[u8]) -> Option<(u64, u64)> {
    let (words, _) = bytes.as_chunks::<8>();
    match words {
        [writer, number, ..] => Some((u64::from_le_bytes(*writer), u64::from_le_bytes(*number))),
        _ => None,
    }
}

/// What a reader got: every byte of every line is compared.
#[derive(Debug, Default)]
pub struct Check<const N: usize> {
    /// Each writer's next number.
    next: Vec<u64>,
    lines: u64,
    torn: u64,
    doubled: u64,
    disordered: u64,
    /// Lines that were passed over and may come yet.
    missing: BTreeSet<(u64, u64)>,
}

impl<const N: usize> Check<N> {
    pub fn new(writers: usize) -> Self {
        Self { next: vec![0; writers], ..Self::default() }
    }

    pub fn writers(&self) -> u64 {
        self.next.len() as u64
    }

    /// Lines that came, whatever became of them.
    #[inline]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes the next line.
    #[inline]
    pub fn line(&mut self, bytes: &[u8]) {
        self.lines += 1;
        let writer = bytes.first_chunk().map_or(u64::MAX, |word| u64::from_le_bytes(*word));
        if let Some(next) = self.next.get_mut(writer as usize)
            && is_line::<N>(bytes, writer, *next)
        {
            *next += 1;
            return;
        }
        self.fault(bytes);
    }

    /// What is wrong with a line that is not its writer's next.
    #[cold]
    fn fault(&mut self, bytes: &[u8]) {
        let whole = named(bytes).filter(|(writer, number)| {
            *writer < WRITERS
                && *writer < self.next.len() as u64
                && is_line::<N>(bytes, *writer, *number)
        });
        let Some((writer, number)) = whole else {
            self.torn += 1;
            return;
        };
        let next = &mut self.next[writer as usize];
        if number >= *next {
            // Bounded, so that a number out of all bounds costs no memory.
            self.missing.extend((*next..number).take(1 << 16).map(|number| (writer, number)));
            *next = number + 1;
        } else if self.missing.remove(&(writer, number)) {
            self.disordered += 1;
        } else {
            self.doubled += 1;
        }
    }

    /// Whether each writer's `each` lines came whole, once and in their order; what went wrong, if
    /// not.
    pub fn verdict(&self, each: u64) -> Result<(), String> {
        let total = each * self.next.len() as u64;
        let behind: u64 = self.next.iter().map(|next| each.saturating_sub(*next)).sum();
        let lost = (self.missing.len() as u64 + behind).saturating_sub(self.torn);
        let more: u64 = self.next.iter().map(|next| next.saturating_sub(each)).sum();
        let mut words = String::new();
        let found = [
            ("torn", self.torn),
            ("lost", lost),
            ("doubled", self.doubled),
            ("out of order", self.disordered),
            ("never sent", more),
        ];
        for (what, count) in found {
            if count > 0 {
                let comma = if words.is_empty() { "" } else { ", " };
                let _ = write!(words, "{comma}{what} {count}");
            }
        }
        if words.is_empty() { Ok(()) } else { Err(format!("{words} of {total}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 100;

    /// The verdict on these lines (writer, number) of two writers with three each.
    fn verdict(lines: &[(u64, u64)]) -> Result<(), String> {
        let mut check = Check::<BYTES>::new(2);
        lines.iter().for_each(|(writer, number)| check.line(&line::<BYTES>(*writer, *number)));
        check.verdict(3)
    }

    #[test]
    fn every_interleaving_of_ordered_writers_is_right() {
        assert_eq!(verdict(&[(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]), Ok(()));
    }

    #[test]
    fn a_lost_line_is_found_in_the_middle_and_at_the_end() {
        assert_eq!(verdict(&[(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]), Err("lost 1 of 6".into()));
        assert_eq!(verdict(&[(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]), Err("lost 1 of 6".into()));
        assert_eq!(verdict(&[]), Err("lost 6 of 6".into()));
    }

    #[test]
    fn a_doubled_line_is_found() {
        let lines = [(0, 0), (0, 1), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
        assert_eq!(verdict(&lines), Err("doubled 1 of 6".into()));
    }

    #[test]
    fn a_reordered_line_is_found() {
        let lines = [(0, 0), (0, 2), (0, 1), (1, 0), (1, 1), (1, 2)];
        assert_eq!(verdict(&lines), Err("out of order 1 of 6".into()));
    }

    #[test]
    fn a_line_that_nobody_sent_is_found() {
        let lines = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)];
        assert_eq!(verdict(&lines), Err("never sent 1 of 6".into()));
    }

    #[test]
    fn one_wrong_byte_anywhere_is_a_torn_line() {
        for byte in 0..BYTES {
            let mut check = Check::<BYTES>::new(1);
            let mut bytes = line::<BYTES>(0, 0);
            bytes[byte] ^= 1;
            check.line(&bytes);
            assert!(
                check.verdict(1).is_err_and(|words| words.starts_with("torn 1")),
                "byte {byte}"
            );
        }
    }

    #[test]
    fn halves_of_two_lines_a_short_and_a_long_line_are_torn() {
        let mut halves = line::<BYTES>(0, 0);
        halves[BYTES / 2..].copy_from_slice(&line::<BYTES>(0, 1)[BYTES / 2..]);
        let long = line::<{ BYTES + 1 }>(0, 0);
        for bytes in [&halves[..], &line::<BYTES>(0, 0)[..BYTES - 1], &long[..], &[]] {
            let mut check = Check::<BYTES>::new(1);
            check.line(bytes);
            assert_eq!(check.verdict(1), Err("torn 1 of 1".into()), "{} bytes", bytes.len());
        }
    }
}
