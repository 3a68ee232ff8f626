//! How often and how long each thing is measured.

use std::fmt;
use std::time::Duration;

/// How often and how long.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Rounds.
    pub rounds: usize,
    /// Seconds of load in each.
    pub seconds: f64,
    /// An open loop's rate.
    pub rate: Option<f64>,
}

/// One round of a plan.
#[derive(Clone, Copy)]
pub struct Round {
    number: usize,
    of: usize,
}

impl Plan {
    /// The rounds.
    pub fn rounds(self) -> impl Iterator<Item = Round> {
        self.with_warm_up().skip(1)
    }

    /// The rounds, after one that warms up and doesn't count.
    pub fn with_warm_up(self) -> impl Iterator<Item = Round> {
        let of = self.rounds;
        (0..=of).map(move |number| Round { number, of })
    }

    /// How long the load of a round lasts.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl Round {
    /// Whether what it measures counts.
    pub fn counts(self) -> bool {
        self.number > 0
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => f.write_str("warming up"),
            number => write!(f, "round {number} of {}", self.of),
        }
    }
}
