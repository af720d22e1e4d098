//! The number of a line.

/// Line numbers have 48 bits: the upper ones of a word, as slots and cells have them, so that what
/// comes after the greatest is what the word makes of it.
const SHIFT: u32 = 16;

/// The number of a line among those of its cell, 48 bits of it: after the greatest come 0 and the
/// others again.
///
/// So there is no order of all of them, and no `<`: of two, one is ahead of the other if it is so
/// by less than half of all numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct LineNumber(u64);

impl LineNumber {
    /// The number that the low 48 bits of `number` are.
    #[inline]
    pub(crate) const fn new(number: u64) -> Self {
        Self(number << SHIFT)
    }

    /// The one that stands in the upper 48 bits of a word.
    #[inline]
    pub(crate) const fn of_word(word: u64) -> Self {
        Self::new(word >> SHIFT)
    }

    /// A word with it in its upper 48 bits, and zeros.
    #[inline]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Its 48 bits.
    #[inline]
    pub(crate) const fn get(self) -> u64 {
        self.0 >> SHIFT
    }

    #[inline]
    pub(crate) const fn next(self) -> Self {
        self.plus(1)
    }

    #[inline]
    pub(crate) const fn previous(self) -> Self {
        Self(self.0.wrapping_sub(1 << SHIFT))
    }

    /// The number `lines` lines on.
    #[inline]
    pub(crate) const fn plus(self, lines: u64) -> Self {
        Self(self.0.wrapping_add(lines << SHIFT))
    }

    /// The number `lines` lines back.
    #[inline]
    pub(crate) const fn minus(self, lines: u64) -> Self {
        Self(self.0.wrapping_sub(lines << SHIFT))
    }

    /// How many lines `later` is ahead of this one; 0 if it is behind.
    #[inline]
    pub(crate) const fn lines_to(self, later: Self) -> u64 {
        if later.is_from(self) { later.0.wrapping_sub(self.0) >> SHIFT } else { 0 }
    }

    /// Whether it is line `first` or comes after it.
    #[inline]
    pub(crate) const fn is_from(self, first: Self) -> bool {
        self.0.wrapping_sub(first.0) as i64 >= 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MASK: u64 = (1 << 48) - 1;
    const FIRST: LineNumber = LineNumber::new(0);
    const LAST: LineNumber = LineNumber::new(MASK);

    #[test]
    fn numbers_begin_again_after_the_greatest() {
        assert_eq!((LAST.get(), LAST.next(), FIRST.previous()), ((1 << 48) - 1, FIRST, LAST));
        assert_eq!(LAST.plus(7).get(), 6);
        assert_eq!(FIRST.plus(u64::MAX), LAST, "bits beyond the 48 do not count");
        assert_eq!(LineNumber::new(u64::MAX), LAST);
        assert_eq!(LineNumber::new(5).next().previous(), LineNumber::new(5));
    }

    #[test]
    fn a_line_number_is_ahead_by_less_than_half_of_all_numbers_or_else_behind() {
        let half = MASK / 2;
        for from in [0, 1, half, MASK].map(LineNumber::new) {
            for ahead in [0, 1, half] {
                assert_eq!(from.lines_to(from.plus(ahead)), ahead);
                assert!(from.plus(ahead).is_from(from));
            }
            for behind in [half + 1, MASK] {
                assert_eq!(from.lines_to(from.plus(behind)), 0);
                assert!(!from.plus(behind).is_from(from));
            }
        }
    }
}
