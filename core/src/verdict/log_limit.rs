//! How often what a caller can provoke at will is written to the log.
//!
//! The record of events bounds what all backends together write. These bound one backend, also where nothing is recorded
//! or what was recorded is rolled back.

use crate::time::{Micros, Timestamp};

const MINUTE: Micros = Micros::from_seconds(60);

/// How many lines of one kind a backend writes in a minute.
const LINES_PER_MINUTE: u32 = 10;

/// How many tokens are remembered.
const REMEMBERED: usize = 256;

/// Whether a minute has passed between `last` and `now`. A clock that was set back must not silence the log till it is
/// there again.
fn is_over(last: Timestamp, now: Timestamp) -> bool {
    now < last || now.since(last) >= MINUTE
}

/// Allows ten lines in a minute, which begins with its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinesPerMinute {
    since: Timestamp,
    lines: u32,
}

impl LinesPerMinute {
    /// Nothing has been logged yet.
    pub const fn new() -> Self {
        Self {
            since: Timestamp::BEGINNING,
            lines: 0,
        }
    }

    /// Whether there may be another line at `now`, which is counted then.
    pub fn allows(&mut self, now: Timestamp) -> bool {
        if is_over(self.since, now) {
            *self = Self {
                since: now,
                lines: 0,
            };
        }
        let allowed = self.lines < LINES_PER_MINUTE;
        self.lines += u32::from(allowed);
        allowed
    }
}

impl Default for LinesPerMinute {
    fn default() -> Self {
        Self::new()
    }
}

/// Allows one line a minute for each token, as long as no more tokens than it remembers are shown.
#[derive(Clone, Debug)]
pub struct RecentTokens {
    /// Tokens by their ids, each with the time of its line.
    lines: Vec<(i64, Timestamp)>,
    /// Where the oldest one stands, once there is no room left.
    oldest: usize,
}

impl RecentTokens {
    /// Nothing has been logged yet.
    pub const fn new() -> Self {
        Self {
            lines: Vec::new(),
            oldest: 0,
        }
    }

    /// Whether there may be a line about `token` at `now`, which is remembered then.
    pub fn allows(&mut self, token: i64, now: Timestamp) -> bool {
        if let Some((_, last)) = self.lines.iter_mut().find(|(id, _)| *id == token) {
            let allowed = is_over(*last, now);
            if allowed {
                *last = now;
            }
            return allowed;
        }
        if self.lines.len() < REMEMBERED {
            self.lines.push((token, now));
        } else {
            self.lines[self.oldest] = (token, now);
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
        true
    }
}

impl Default for RecentTokens {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn ten_lines_a_minute() {
        let mut limit = LinesPerMinute::new();
        let mut lines = |seconds: i64, tries: usize| {
            let allowed = (0..tries).filter(|_| limit.allows(at(seconds)));
            allowed.count()
        };
        assert_eq!(lines(0, 4), 4);
        assert_eq!(lines(59, 100), 6);
        assert_eq!(lines(60, 100), 10);
        assert_eq!(lines(119, 100), 0);
        assert_eq!(lines(7, 100), 10, "the clock was set back");
    }

    #[test]
    fn a_token_has_a_line_a_minute() {
        let mut recent = RecentTokens::new();
        assert!(recent.allows(7, at(0)));
        assert!(!recent.allows(7, at(59)));
        assert!(recent.allows(8, at(59)));
        assert!(recent.allows(7, at(60)));
        assert!(!recent.allows(7, at(61)));
        assert!(recent.allows(7, at(30)), "the clock was set back");
        assert!(!recent.allows(7, at(31)));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = RecentTokens::new();
        for token in 0..=REMEMBERED as i64 {
            assert!(recent.allows(token, at(0)));
        }
        assert_eq!(recent.lines.len(), REMEMBERED);
        assert!(recent.allows(0, at(1)), "it made room");
        assert!(!recent.allows(REMEMBERED as i64, at(1)));
    }
}
