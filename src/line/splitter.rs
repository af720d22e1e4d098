//! Finds the ends of lines in a stream of bytes that comes in pieces of any size.

use core::iter::FusedIterator;

use memchr::{memchr, memchr2};

/// Splits bytes into lines, wherever they were cut before.
///
/// A line ends with `\n` and with nothing else: `\x0b`, `\x0c` and U+2028 are ordinary bytes, and
/// so is `\r` unless [`fold_crlf`](Self::fold_crlf) or [`rewrite`](Self::rewrite) says otherwise.
/// The bytes need not be UTF-8.
///
/// Nothing is copied or assembled here: the pieces borrow from the input, and the caller that asks
/// for them keeps the unfinished line. All that is remembered between two calls is whether the
/// bytes so far ended with a `\r` whose meaning depends on what follows. So the same bytes give the
/// same lines, however they were cut.
///
/// # Examples
///
/// ```
/// use linering::{LineSplitter, Piece};
///
/// let mut splitter = LineSplitter::new();
/// let mut line = Vec::new();
/// let mut lines = Vec::new();
/// for bytes in [&b"one\ntw"[..], b"o\nthr"] {
///     for piece in splitter.split(bytes) {
///         match piece {
///             Piece::Bytes(bytes) => line.extend_from_slice(bytes),
///             Piece::End => lines.push(std::mem::take(&mut line)),
///             Piece::Rewrite => line.clear(),
///             _ => {}
///         }
///     }
/// }
/// assert_eq!(lines, [b"one", b"two"]);
/// assert_eq!(line, b"thr");
/// ```
#[derive(Clone, Debug, Default)]
pub struct LineSplitter {
    fold_crlf: bool,
    rewrite: bool,
    /// The bytes so far ended with one or more `\r`, which were consumed and of which nothing was
    /// yielded.
    held: bool,
}

/// What [`LineSplitter::split`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece<'b> {
    /// The next bytes of the unfinished line; never empty.
    Bytes(&'b [u8]),
    /// The line is finished. One without any bytes before it is an empty line.
    End,
    /// What follows replaces all bytes of the unfinished line; there may be none yet.
    Rewrite,
}

impl LineSplitter {
    /// A splitter that splits on `\n` and takes every other byte as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new();
    /// assert!(splitter.split(b"one\r\n\n").eq([Bytes(b"one\r"), End, End]));
    /// ```
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { fold_crlf: false, rewrite: false, held: false }
    }

    /// Whether `\r\n` ends a line as a whole, so that the `\r` is not part of it.
    ///
    /// A `\r` before anything else stays an ordinary byte, unless [`rewrite`](Self::rewrite) is on.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new().fold_crlf(true);
    /// assert!(splitter.split(b"one\r\na\rb").eq([Bytes(b"one"), End, Bytes(b"a\rb")]));
    /// ```
    #[inline]
    #[must_use]
    pub const fn fold_crlf(mut self, on: bool) -> Self {
        self.fold_crlf = on;
        self
    }

    /// Whether a lone `\r` lets what follows rewrite the unfinished line, as on a terminal.
    ///
    /// Lone is a `\r` with anything but `\n` after it. It takes effect when that next byte comes: a
    /// progress bar whose last word was `100%\r` still says `100%` when the input ends there.
    /// Several `\r` in a row are as one, since nothing is rewritten by nothing: `one\r\r\n` is
    /// `one`, or `one\r` if [`fold_crlf`](Self::fold_crlf) is off.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new().rewrite(true);
    /// assert!(splitter.split(b" 50%\r100%\n").eq([Bytes(b" 50%"), Rewrite, Bytes(b"100%"), End]));
    /// ```
    #[inline]
    #[must_use]
    pub const fn rewrite(mut self, on: bool) -> Self {
        self.rewrite = on;
        self
    }

    /// The pieces of the next `bytes` of the input.
    ///
    /// The splitter goes on as the iterator does. What the iterator has not looked at when it is
    /// dropped is not consumed: the next call goes on before it, so it has to be passed again
    /// ([`Pieces::rest`]) or is skipped. Never allocates, and takes time in proportion to
    /// `bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new().fold_crlf(true);
    /// assert!(splitter.split(b"one\r").eq([Bytes(b"one")]));
    /// assert!(splitter.split(b"\ntwo").eq([End, Bytes(b"two")]));
    /// ```
    #[inline]
    pub fn split<'s, 'b>(&'s mut self, bytes: &'b [u8]) -> Pieces<'s, 'b> {
        Pieces { splitter: self, rest: bytes }
    }

    /// Says that the input is over: what was held back of the unfinished line, if it belongs to it.
    ///
    /// That can only be a `\r`, and only if it does not rewrite the line. The splitter is then as
    /// new, with the same options. The unfinished line itself, if there is one, is with the
    /// caller, as always.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new().fold_crlf(true);
    /// assert!(splitter.split(b"one\r").eq([Bytes(b"one")]));
    /// assert_eq!(splitter.finish(), Some(Bytes(b"\r")));
    /// assert_eq!(splitter.finish(), None);
    /// ```
    pub fn finish(&mut self) -> Option<Piece<'static>> {
        let held = core::mem::take(&mut self.held);
        (held && !self.rewrite).then_some(Piece::Bytes(b"\r"))
    }

    /// Whether it waits for the byte after a `\r`. If not, bytes with neither `\r` nor `\n` in them
    /// are one piece.
    #[inline]
    pub(crate) const fn holds_back(&self) -> bool {
        self.held
    }

    /// Forgets what was held back: the next bytes begin a new input. The options stay.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new().rewrite(true);
    /// assert!(splitter.split(b"one\r").eq([Bytes(b"one")]));
    /// splitter.reset();
    /// assert!(splitter.split(b"two").eq([Bytes(b"two")]));
    /// ```
    #[inline]
    pub fn reset(&mut self) {
        self.held = false;
    }
}

/// The pieces of some bytes; made by [`LineSplitter::split`].
#[derive(Debug)]
#[must_use = "what the iterator has not looked at is not consumed"]
pub struct Pieces<'s, 'b> {
    splitter: &'s mut LineSplitter,
    rest: &'b [u8],
}

impl<'b> Pieces<'_, 'b> {
    /// What was not consumed yet: passed to the next [`LineSplitter::split`], it gives the pieces
    /// that are left.
    ///
    /// # Examples
    ///
    /// ```
    /// use linering::{LineSplitter, Piece::*};
    ///
    /// let mut splitter = LineSplitter::new();
    /// let mut pieces = splitter.split(b"one\ntwo\n");
    /// assert_eq!(pieces.next(), Some(Bytes(b"one")));
    /// let rest = pieces.rest();
    /// assert!(splitter.split(rest).eq([End, Bytes(b"two"), End]));
    /// ```
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// How many bytes of `rest`, which is not empty, belong to the line. A `\r` at its start does.
    #[inline]
    fn ordinary(&self) -> usize {
        if self.splitter.rewrite {
            return memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
        }
        let end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        end - usize::from(self.splitter.fold_crlf && self.rest[..end].ends_with(b"\r"))
    }

    /// Decides about the `\r` that was held or is the next byte. `None`: it is held on to, and
    /// `rest` is empty, or what comes next is ordinary.
    #[inline(never)]
    fn carriage_return(&mut self) -> Option<Piece<'b>> {
        let LineSplitter { fold_crlf, rewrite, .. } = *self.splitter;
        // Without rewriting each `\r` is for itself; else a run of them is one.
        let run = match rewrite {
            true => self.rest.iter().take_while(|&&byte| byte == b'\r').count(),
            false => usize::from(!self.splitter.held),
        };
        let Some(&next) = self.rest.get(run) else {
            self.rest = &[];
            self.splitter.held = true;
            return None;
        };
        let held = core::mem::take(&mut self.splitter.held);
        let piece = match next {
            b'\n' if fold_crlf => {
                self.rest = &self.rest[run + 1..];
                return Some(Piece::End);
            }
            b'\n' => Piece::Bytes(b"\r"),
            _ if rewrite => Piece::Rewrite,
            _ if held => Piece::Bytes(b"\r"),
            // The `\r` can go out together with what follows.
            _ => return None,
        };
        self.rest = &self.rest[run..];
        Some(piece)
    }
}

impl<'b> Iterator for Pieces<'_, 'b> {
    type Item = Piece<'b>;

    #[inline]
    fn next(&mut self) -> Option<Piece<'b>> {
        let first = *self.rest.first()?;
        let LineSplitter { fold_crlf, rewrite, held } = *self.splitter;
        if held || first == b'\r' && (fold_crlf || rewrite) {
            let piece = self.carriage_return();
            if piece.is_some() || self.rest.is_empty() {
                return piece;
            }
        } else if first == b'\n' {
            self.rest = &self.rest[1..];
            return Some(Piece::End);
        }
        let (bytes, rest) = self.rest.split_at(self.ordinary());
        self.rest = rest;
        Some(Piece::Bytes(bytes))
    }
}

impl FusedIterator for Pieces<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::{LineSplitter, Piece};
    use proptest::prelude::*;

    const OPTIONS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

    fn splitter((fold_crlf, rewrite): (bool, bool)) -> LineSplitter {
        LineSplitter::new().fold_crlf(fold_crlf).rewrite(rewrite)
    }

    /// Finished lines, then the unfinished one.
    #[derive(Debug, Default, PartialEq)]
    struct Lines(Vec<Vec<u8>>, Vec<u8>);

    impl Lines {
        fn add(&mut self, piece: Piece<'_>) {
            match piece {
                Piece::Bytes(bytes) => {
                    assert!(!bytes.is_empty(), "empty bytes were yielded");
                    self.1.extend_from_slice(bytes);
                }
                Piece::End => self.0.push(std::mem::take(&mut self.1)),
                Piece::Rewrite => self.1.clear(),
            }
        }
    }

    fn lines<'b>(options: (bool, bool), pieces: impl IntoIterator<Item = &'b [u8]>) -> Lines {
        let mut splitter = splitter(options);
        let mut lines = Lines::default();
        for bytes in pieces {
            splitter.split(bytes).for_each(|piece| lines.add(piece));
        }
        splitter.finish().into_iter().for_each(|piece| lines.add(piece));
        lines
    }

    /// What the lines are, told from the whole input line by line.
    fn model((fold_crlf, rewrite): (bool, bool), input: &[u8]) -> Lines {
        let mut lines: Vec<Vec<u8>> =
            input.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        let last = lines.len() - 1;
        for (i, line) in lines.iter_mut().enumerate() {
            let returns = line.iter().rev().take_while(|&&byte| byte == b'\r').count();
            let text = line.len() - returns;
            if rewrite {
                // Only the last rewriting counts; those at the end rewrite nothing.
                let shown =
                    line[..text].iter().rposition(|&byte| byte == b'\r').map_or(0, |at| at + 1);
                let kept = usize::from(returns > 0 && i < last && !fold_crlf);
                *line = line[shown..text + kept].to_vec();
            } else if fold_crlf && i < last && returns > 0 {
                line.pop();
            }
        }
        let unfinished = lines.pop().unwrap_or_default();
        Lines(lines, unfinished)
    }

    fn all(options: (bool, bool), input: &'static [u8]) -> Vec<Piece<'static>> {
        splitter(options).split(input).collect()
    }

    use Piece::{Bytes, End, Rewrite};

    #[test]
    fn one_whole_line_is_its_bytes_and_its_end() {
        for options in OPTIONS {
            assert_eq!(all(options, b"line\n"), [Bytes(b"line"), End], "{options:?}");
            assert_eq!(all(options, b"\n\n"), [End, End], "{options:?}");
            assert_eq!(all(options, b"line"), [Bytes(b"line")], "{options:?}");
            assert_eq!(all(options, b""), [], "{options:?}");
        }
    }

    #[test]
    fn only_a_line_feed_ends_a_line() {
        let text = "a\x0b\x0c\x1c\u{85}\u{2028}\u{2029}\0b\n".as_bytes();
        for options in OPTIONS {
            assert_eq!(all(options, text), [Bytes(&text[..text.len() - 1]), End], "{options:?}");
        }
        assert_eq!(all((false, false), b"a\rb\r\n"), [Bytes(b"a\rb\r"), End]);
    }

    #[test]
    fn a_folded_line_end_leaves_no_carriage_return() {
        for rewrite in [false, true] {
            assert_eq!(all((true, rewrite), b"a\r\n\r\n"), [Bytes(b"a"), End, End]);
        }
        assert_eq!(all((true, false), b"a\r\r\n"), [Bytes(b"a\r"), End]);
    }

    #[test]
    fn a_lone_carriage_return_is_ordinary_unless_it_rewrites() {
        assert_eq!(all((true, false), b"\ra\rb\n"), [Bytes(b"\ra\rb"), End]);
        for fold_crlf in [false, true] {
            assert_eq!(all((fold_crlf, true), b"a\rb\n"), [Bytes(b"a"), Rewrite, Bytes(b"b"), End]);
        }
    }

    #[test]
    fn a_carriage_return_before_a_line_feed_does_not_rewrite() {
        assert_eq!(all((false, true), b"a\r\n"), [Bytes(b"a"), Bytes(b"\r"), End]);
    }

    #[test]
    fn a_run_of_carriage_returns_is_as_one_when_rewriting() {
        assert_eq!(all((true, true), b"a\r\r\n"), [Bytes(b"a"), End]);
        assert_eq!(all((false, true), b"a\r\r\n"), [Bytes(b"a"), Bytes(b"\r"), End]);
        assert_eq!(all((true, true), b"a\r\r\rb"), [Bytes(b"a"), Rewrite, Bytes(b"b")]);
    }

    #[test]
    fn a_rewrite_at_the_end_of_the_input_leaves_the_line_as_it_is() {
        for fold_crlf in [false, true] {
            let mut splitter = splitter((fold_crlf, true));
            assert!(splitter.split(b"100%\r\r").eq([Bytes(b"100%")]));
            assert_eq!(splitter.finish(), None);
            assert!(splitter.split(b"next").eq([Bytes(b"next")]), "finish left something behind");
        }
    }

    #[test]
    fn the_end_of_the_input_gives_back_a_held_carriage_return_that_is_ordinary() {
        let mut splitter = splitter((true, false));
        assert!(splitter.split(b"a\r\r").eq([Bytes(b"a\r")]));
        assert_eq!(splitter.finish(), Some(Bytes(b"\r")));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_reset_forgets_a_held_carriage_return_and_keeps_the_options() {
        for options in [(true, false), (false, true), (true, true)] {
            let mut splitter = splitter(options);
            assert_eq!(splitter.split(b"a\r").count(), 1);
            splitter.reset();
            assert_eq!(splitter.finish(), None, "{options:?}");
            assert!(splitter.split(b"a\nb").eq([Bytes(b"a"), End, Bytes(b"b")]), "{options:?}");
            assert_eq!(splitter.split(b"\r").count(), 0, "{options:?}: the options are gone");
        }
    }

    #[test]
    fn an_option_that_is_switched_off_midway_loses_no_carriage_return() {
        for next in [&b"\n"[..], b"a", b"\r"] {
            let mut splitter = splitter((true, true));
            assert_eq!(splitter.split(b"\r").count(), 0);
            let mut splitter = splitter.fold_crlf(false).rewrite(false);
            assert_eq!(splitter.split(next).next(), Some(Bytes(b"\r")), "{next:?}");
        }
    }

    #[test]
    fn nothing_is_consumed_before_the_first_piece_is_asked_for() {
        let mut splitter = splitter((true, true));
        assert_eq!(splitter.split(b"a\nb").rest(), b"a\nb");
        assert!(splitter.split(b"c\n").eq([Bytes(b"c"), End]));
    }

    #[test]
    fn every_short_input_gives_the_lines_of_the_model() {
        for length in 0..=8 {
            for number in 0..3_usize.pow(length) {
                let input: Vec<u8> = (0..length)
                    .map(|at| b"\r\nx"[number / 3_usize.pow(at) % 3])
                    .collect::<Vec<_>>();
                for options in OPTIONS {
                    let expected = model(options, &input);
                    assert_eq!(lines(options, [&input[..]]), expected, "{options:?} {input:?}");
                    assert_eq!(
                        lines(options, input.chunks(1)),
                        expected,
                        "{options:?} {input:?}, bytewise"
                    );
                    assert_eq!(
                        lines(options, input.chunks(2)),
                        expected,
                        "{options:?} {input:?}, by twos"
                    );
                }
            }
        }
    }

    /// Bytes among which line ends are frequent, and places to cut them.
    fn input_and_cuts() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
        let byte = prop_oneof![3 => Just(b'\r'), 3 => Just(b'\n'), 4 => any::<u8>()];
        let run = prop_oneof![
            byte.prop_map(|byte| vec![byte]),
            (0..80_usize).prop_map(|n| vec![b'x'; n])
        ];
        prop::collection::vec(run, 0..40).prop_flat_map(|runs| {
            let input = runs.concat();
            let cuts = prop::collection::vec(0..=input.len(), 0..12);
            (Just(input), cuts)
        })
    }

    proptest! {
        #[test]
        fn any_cutting_of_the_input_gives_the_same_lines((input, mut cuts) in input_and_cuts()) {
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            for options in OPTIONS {
                let expected = model(options, &input);
                prop_assert_eq!(&lines(options, [&input[..]]), &expected, "{:?}, whole", options);
                let pieces = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
                prop_assert_eq!(&lines(options, pieces), &expected, "{:?}, cut at {:?}", options, cuts);
            }
        }

        #[test]
        fn the_rest_of_a_dropped_iterator_gives_the_same_lines((input, _) in input_and_cuts(), each in 1..4_usize) {
            for options in OPTIONS {
                let mut splitter = splitter(options);
                let mut found = Lines::default();
                let mut rest = &input[..];
                while !rest.is_empty() {
                    let mut pieces = splitter.split(rest);
                    pieces.by_ref().take(each).for_each(|piece| found.add(piece));
                    rest = pieces.rest();
                }
                splitter.finish().into_iter().for_each(|piece| found.add(piece));
                prop_assert_eq!(&found, &model(options, &input), "{:?}", options);
            }
        }
    }
}
