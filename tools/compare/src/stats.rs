//! Medians, their spread, and percentiles.

use serde::{Deserialize, Serialize};

/// The median of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of no figures.
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Some(Self { median, min, max })
    }
}

/// What one call costs, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The average of the lowest 99 %.
    pub mean99: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Cost {
    /// `None` of no samples.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let last = samples.len().checked_sub(1)?;
        // The smallest sample that this part of all is at or below.
        let at = |part: f64| {
            samples[((samples.len() as f64 * part).ceil() as usize).saturating_sub(1).min(last)]
        };
        let low = &samples[..(samples.len() * 99 / 100).max(1)];
        let mean99 = low.iter().sum::<f64>() / low.len() as f64;
        Some(Self { mean99, p50: at(0.5), p99: at(0.99), p999: at(0.999) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one_or_between_two() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(
            Spread::of(vec![9.0, 1.0, 2.0]),
            Some(Spread { median: 2.0, min: 1.0, max: 9.0 })
        );
        assert_eq!(
            Spread::of(vec![9.0, 1.0, 2.0, 4.0]),
            Some(Spread { median: 3.0, min: 1.0, max: 9.0 })
        );
    }

    #[test]
    fn percentiles_of_a_thousand_numbers_are_what_they_say() {
        let cost = Cost::of((1..=1000).rev().map(f64::from).collect());
        assert_eq!(cost, Some(Cost { mean99: 495.5, p50: 500.0, p99: 990.0, p999: 999.0 }));
    }

    #[test]
    fn the_highest_hundredth_is_not_in_the_average() {
        let mut samples = vec![10.0; 99];
        samples.push(1e9);
        let cost = Cost::of(samples);
        assert_eq!(cost, Some(Cost { mean99: 10.0, p50: 10.0, p99: 10.0, p999: 1e9 }));
    }

    #[test]
    fn few_samples_and_none_are_no_trouble() {
        assert_eq!(Cost::of(vec![]), None);
        assert_eq!(Cost::of(vec![3.0]), Some(Cost { mean99: 3.0, p50: 3.0, p99: 3.0, p999: 3.0 }));
    }
}
