//! The one random source: choices that a seed repeats.

use std::str::FromStr;

/// Random choices. The same seed and connection give the same ones.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The choices of one connection of the load with `seed`.
    pub fn new(seed: u64, connection: usize) -> Self {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let seed = (0..=connection).map(|_| seeds.u64(..)).last();
        Self(fastrand::Rng::with_seed(seed.unwrap_or_default()))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// Any bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.u8(..))
    }

    /// Once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(usize, T)]) -> T {
        let mut at = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for &(weight, choice) in choices {
            if at < weight {
                return choice;
            }
            at -= weight;
        }
        unreachable!("the number is below the sum of the weights")
    }
}

/// The seed that the environment's `variable` asks for, else one of the moment. A test that fails shows it.
///
/// # Panics
/// The variable is no number.
pub fn seed(variable: &str) -> u64 {
    // Short enough to be typed, and to be counted on from.
    let seed = number(variable).unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("{variable}={seed}");
    seed
}

/// The number that the environment's `variable` asks for.
///
/// # Panics
/// It is no number.
pub fn number<T: FromStr>(variable: &str) -> Option<T> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{variable} is no number: {value}")))
}
