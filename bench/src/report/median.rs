//! Medians with their spread.

use serde_json::{Value, json};
use std::fmt;

/// The median of some measurements, the lowest and the highest.
#[derive(Clone, Copy, Debug)]
pub struct Median {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Median {
    /// Of `values`; without any, nothing is a number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&low), Some(&high)) = (values.first(), values.last()) else {
            return Self {
                median: f64::NAN,
                low: f64::NAN,
                high: f64::NAN,
            };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, low, high }
    }

    /// Of the ratios round by round: what disturbed a round disturbed both sides of it.
    pub fn of_ratios(
        ours: impl IntoIterator<Item = f64>,
        theirs: impl IntoIterator<Item = f64>,
    ) -> Self {
        Self::of(
            ours.into_iter()
                .zip(theirs)
                .map(|(ours, theirs)| ours / theirs),
        )
    }

    /// As JSON.
    pub fn json(self) -> Value {
        json!({"median": self.median, "low": self.low, "high": self.high})
    }
}

impl fmt::Display for Median {
    /// `median (low to high)`, with as many digits as the median bears.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 2 } else { 0 };
        let Self { median, low, high } = self;
        let text = format!("{median:.digits$} ({low:.digits$} to {high:.digits$})");
        f.pad(&text)
    }
}
