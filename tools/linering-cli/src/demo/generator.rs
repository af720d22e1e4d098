//! Lines that are generated on the spot, so cheaply that the demo measures the ring and not their
//! making.
//!
//! ```text
//!   "worker 0003 line 000000000042 " | a window on the filler, which moves with every line
//! ```
//!
//! So every byte of a line depends on its worker and its number, and a line put together from two
//! others is noticed wherever the seam is; yet making one costs a counter's step and two short
//! copies.

/// The head of a line that is long enough for it; a shorter line is the counter's last digits.
const HEAD: usize = 30;
/// Where the counter stands in the head.
const DIGITS: std::ops::Range<usize> = 17..29;
/// Windows on the filler: a prime, so that no ring's size is a multiple of it.
const WINDOWS: usize = 251;
/// Lines of one worker that the counter can tell apart.
pub const MAX_LINES: u64 = 1_000_000_000_000;

/// Text without a period, long enough for every window of `length` bytes.
pub fn filler(length: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789. ";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS[(state >> 58) as usize]
    };
    std::iter::repeat_with(next).take(length + WINDOWS).collect()
}

/// What changes from line to line.
#[derive(Debug)]
struct Changing {
    head: [u8; HEAD],
    /// The part of the head that lines of this length have.
    used: std::ops::Range<usize>,
    window: usize,
}

impl Changing {
    fn new(worker: usize, length: usize) -> Self {
        let mut head = [b' '; HEAD];
        head.copy_from_slice(format!("worker {worker:04} line {:012} ", 0).as_bytes());
        let used =
            if length < HEAD { DIGITS.end - length.min(DIGITS.len())..DIGITS.end } else { 0..HEAD };
        Self { head, used, window: worker * 37 % WINDOWS }
    }

    fn head(&self) -> &[u8] {
        &self.head[self.used.clone()]
    }

    fn advance(&mut self) {
        for digit in self.head[DIGITS].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
        self.window = if self.window + 1 == WINDOWS { 0 } else { self.window + 1 };
    }

    fn skip(&mut self, lines: u64) {
        let digits =
            self.head[DIGITS].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        let number = (digits + lines) % MAX_LINES;
        self.head[DIGITS].copy_from_slice(format!("{number:012}").as_bytes());
        self.window = (self.window + (lines % WINDOWS as u64) as usize) % WINDOWS;
    }
}

/// A worker's lines, one after another.
#[derive(Debug)]
pub struct Generator {
    changing: Changing,
    length: usize,
    /// The filler, with the head written over the beginning of the current window,
    text: Vec<u8>,
    /// and what the head hides.
    hidden: [u8; HEAD],
}

impl Generator {
    pub fn new(worker: usize, length: usize, filler: &[u8]) -> Self {
        let changing = Changing::new(worker, length);
        let mut generator = Self { changing, length, text: filler.to_vec(), hidden: [0; HEAD] };
        generator.write_head();
        generator
    }

    pub fn line(&self) -> &[u8] {
        &self.text[self.changing.window..][..self.length]
    }

    pub fn advance(&mut self) {
        let head = self.changing.head().len();
        self.text[self.changing.window..][..head].copy_from_slice(&self.hidden[..head]);
        self.changing.advance();
        self.write_head();
    }

    fn write_head(&mut self) {
        let head = self.changing.head();
        let place = &mut self.text[self.changing.window..][..head.len()];
        self.hidden[..head.len()].copy_from_slice(place);
        place.copy_from_slice(head);
    }
}

/// The same lines as the reader expects them: without a copy of the filler for each worker.
#[derive(Debug)]
pub struct Expected<'f> {
    changing: Changing,
    length: usize,
    filler: &'f [u8],
}

impl<'f> Expected<'f> {
    pub fn new(worker: usize, length: usize, filler: &'f [u8]) -> Self {
        Self { changing: Changing::new(worker, length), length, filler }
    }

    /// The next line, in its two pieces.
    pub fn pieces(&self) -> [&[u8]; 2] {
        let head = self.changing.head();
        [head, &self.filler[self.changing.window..][head.len()..self.length]]
    }

    pub fn advance(&mut self) {
        self.changing.advance();
    }

    pub fn skip(&mut self, lines: u64) {
        self.changing.skip(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_make_the_same_lines_at_every_length() {
        for length in (0..40).chain([250, 251, 252, 1000]) {
            let filler = filler(length);
            let mut generator = Generator::new(3, length, &filler);
            let mut expected = Expected::new(3, length, &filler);
            for _ in 0..1100 {
                assert_eq!(generator.line(), expected.pieces().concat());
                assert_eq!(generator.line().len(), length);
                generator.advance();
                expected.advance();
            }
        }
    }

    #[test]
    fn skipping_is_advancing_as_often() {
        let filler = filler(100);
        let (mut one, mut other) = (Expected::new(7, 100, &filler), Expected::new(7, 100, &filler));
        for lines in [0, 1, 9, 250, 251, 1000] {
            (0..lines).for_each(|_| one.advance());
            other.skip(lines);
            assert_eq!(one.pieces(), other.pieces());
        }
    }

    #[test]
    fn a_long_line_names_its_worker_and_number() {
        let filler = filler(40);
        let mut generator = Generator::new(12, 40, &filler);
        (0..1234).for_each(|_| generator.advance());
        assert!(generator.line().starts_with(b"worker 0012 line 000000001234 "));
    }

    #[test]
    fn neighbours_and_workers_differ_in_most_bytes_of_the_rest() {
        let filler = filler(200);
        let mut generator = Generator::new(0, 200, &filler);
        let first = generator.line().to_vec();
        generator.advance();
        let second = generator.line().to_vec();
        let other = Generator::new(1, 200, &filler).line().to_vec();
        let same =
            |a: &[u8], b: &[u8]| a[HEAD..].iter().zip(&b[HEAD..]).filter(|(a, b)| a == b).count();
        assert!(same(&first, &second) < 40 && same(&first, &other) < 40);
    }
}
