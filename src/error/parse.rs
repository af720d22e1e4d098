//! What is written as a word, or as a number of one byte: levels, streams, kinds, ends, causes,
//! policies.

use thiserror::Error;

use super::shown;

/// A text or a number that is none of those expected.
///
/// ```
/// use linering::{Level, Policy};
///
/// assert_eq!("Warn".parse::<Level>()?, Level::Warn);
/// assert_eq!(Level::Warn.to_string(), "warn");
/// let refused = "loud".parse::<Level>().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "\"loud\" is no level, expected one of none, trace, debug, info, warn, error"
/// );
/// assert!(Policy::try_from(7).is_err());
/// # Ok::<(), linering::ParseError>(())
/// ```
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("\"{}\" is no {what}, expected one of {}", shown(.found), .expected.join(", "))]
#[non_exhaustive]
pub struct ParseError {
    /// What it was to be.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What is possible.
    pub expected: &'static [&'static str],
}

/// Gives an enum without fields its words: `as_str`, `Display`, `FromStr` (in upper or lower case),
/// and `TryFrom<u8>` for the numbers that `as u8` gives.
macro_rules! in_words {
    ($type:ident, $what:literal, $($variant:ident $word:literal,)*) => {
        impl $type {
            const ALL: &[Self] = &[$(Self::$variant),*];
            const WORDS: &[&str] = &[$($word),*];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        /// As its word.
        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl core::str::FromStr for $type {
            type Err = crate::error::ParseError;

            /// By its word, in upper or lower case.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|it| it.as_str().eq_ignore_ascii_case(text));
                found.copied().ok_or_else(|| Self::Err {
                    what: $what,
                    found: text.to_owned(),
                    expected: Self::WORDS,
                })
            }
        }

        impl TryFrom<u8> for $type {
            type Error = crate::error::ParseError;

            /// By the number that `as u8` gives.
            fn try_from(number: u8) -> Result<Self, crate::error::ParseError> {
                let found = Self::ALL.iter().find(|it| **it as u8 == number);
                found.copied().ok_or_else(|| crate::error::ParseError {
                    what: $what,
                    found: number.to_string(),
                    expected: Self::WORDS,
                })
            }
        }
    };
}

pub(crate) use in_words;
