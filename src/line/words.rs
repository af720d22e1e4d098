//! Levels, streams, kinds, ends and causes as words.

use super::item::{End, Kind, Level, LossCause, Stream};
use crate::error::parse::in_words;

in_words!(Level, "level",
    None "none", Trace "trace", Debug "debug", Info "info", Warn "warn", Error "error",
);
in_words!(Stream, "stream", Stdout "stdout", Stderr "stderr", Log "log",);
in_words!(Kind, "kind",
    Line "line", Text "group", Warning "warning", Error "error", Packed "packed",
);
in_words!(End, "end",
    Eof "eof", Error "error", Died "died", Cancelled "cancelled", NeverOpened "never opened",
);
in_words!(LossCause, "cause of a loss", Dropped "dropped", Overwritten "overwritten",);

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::str::FromStr;

    use super::*;
    use crate::error::ParseError;
    use crate::segment::options::Policy;

    fn check<T>(all: &[T])
    where
        T: Copy + Debug + ToString + PartialEq + FromStr<Err = ParseError>,
        T: TryFrom<u8, Error = ParseError>,
    {
        for (it, number) in all.iter().zip(0..) {
            assert_eq!(it.to_string().parse(), Ok(*it));
            assert_eq!(it.to_string().to_uppercase().parse(), Ok(*it));
            assert_eq!(T::try_from(number), Ok(*it), "{it:?}");
        }
        let over = T::try_from(all.len() as u8).expect_err("one more");
        assert!(over.to_string().contains("expected one of "), "{over}");
        assert!(" eof".parse::<T>().is_err());
    }

    #[test]
    fn each_word_and_each_number_leads_back() {
        check(Level::ALL);
        check(Stream::ALL);
        check(Kind::ALL);
        check(End::ALL);
        check(LossCause::ALL);
        check(&[Policy::Block, Policy::DropNewest, Policy::OverwriteOldest]);
    }

    #[test]
    fn a_word_is_padded_as_it_is_asked_for() {
        assert_eq!(format!("{:<5}|{:>6}", Level::Info, Stream::Log), "info |   log");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let refused = "\u{1b}[31m".parse::<Level>().expect_err("no level");
        assert!(refused.to_string().starts_with("\"\u{fffd}[31m\" is no level"), "{refused}");
    }
}
