//! How far the processors are apart that a measurement has run on: what a cache line takes from
//! one to the other and back.
//!
//! A virtual machine's processors change that within seconds, threefold, and some transports move
//! more cache lines for a line of text than others: figures of two distances are not comparable.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

// The benches of the library say it too.
#[path = "../../../benches/common/round_trip.rs"]
mod round_trip;

pub use round_trip::round_trip_ns;

/// Round trips before and after one repetition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTrips {
    pub before_ns: f64,
    pub after_ns: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    Near,
    Far,
    /// One before the measurement, another after it: it is compared with none.
    Changed,
}

impl RoundTrips {
    /// `far_ns`: from how many nanoseconds on processors are far.
    pub fn distance(self, far_ns: f64) -> Distance {
        match (self.before_ns < far_ns, self.after_ns < far_ns) {
            (true, true) => Distance::Near,
            (false, false) => Distance::Far,
            _ => Distance::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_that_changed_is_neither_near_nor_far() {
        let distance = |before_ns, after_ns| RoundTrips { before_ns, after_ns }.distance(100.0);
        assert_eq!(distance(50.0, 99.9), Distance::Near);
        assert_eq!(distance(100.0, 160.0), Distance::Far);
        assert_eq!(distance(50.0, 160.0), Distance::Changed);
        assert_eq!(distance(160.0, 50.0), Distance::Changed);
    }

    #[test]
    fn a_round_trip_takes_some_nanoseconds() {
        if let Some(time) = round_trip_ns() {
            assert!(time > 1.0, "{time}");
        }
    }
}
