//! Which tokens this backend has written a line about of late.
//!
//! The record of events bounds the lines of all backends together. This bounds them where nothing is recorded, or
//! what was recorded is rolled back: to one a minute for each token and backend, as long as a backend is not shown more
//! tokens than it remembers.

use crate::time::{Micros, Timestamp};
use std::cell::RefCell;

/// How many tokens are remembered.
const REMEMBERED: usize = 256;

const MINUTE: Micros = Micros::from_seconds(60);

/// Tokens by their ids, each with the time of its line.
struct Recent {
    lines: Vec<(i64, Timestamp)>,
    /// Where the oldest one stands, once there is no room left.
    oldest: usize,
}

impl Recent {
    const fn new() -> Self {
        Self {
            lines: Vec::new(),
            oldest: 0,
        }
    }

    /// Whether `token` has had no line in the minute before `now`; it has one from then on.
    fn is_first(&mut self, token: i64, now: Timestamp) -> bool {
        if let Some((_, last)) = self.lines.iter_mut().find(|(id, _)| *id == token) {
            // A clock that was set back must not silence the log till it is there again.
            let is_first = now.since(*last) >= MINUTE || now < *last;
            if is_first {
                *last = now;
            }
            return is_first;
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

thread_local! {
    static RECENT: RefCell<Recent> = const { RefCell::new(Recent::new()) };
}

/// Whether this backend has written no line about `token` in the minute before `now`; it has from then on.
pub fn is_first(token: i64, now: Timestamp) -> bool {
    RECENT.with_borrow_mut(|recent| recent.is_first(token, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i32) -> Timestamp {
        Timestamp(Micros::from_seconds(seconds).0)
    }

    #[test]
    fn a_token_has_a_line_a_minute() {
        let mut recent = Recent::new();
        assert!(recent.is_first(7, at(0)));
        assert!(!recent.is_first(7, at(59)));
        assert!(recent.is_first(8, at(59)));
        assert!(recent.is_first(7, at(60)));
        assert!(!recent.is_first(7, at(61)));
        // The clock was set back.
        assert!(recent.is_first(7, at(30)));
        assert!(!recent.is_first(7, at(31)));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = Recent::new();
        for token in 0..=REMEMBERED as i64 {
            assert!(recent.is_first(token, at(0)));
        }
        assert_eq!(recent.lines.len(), REMEMBERED);
        assert!(recent.is_first(0, at(1)), "it made room");
        assert!(!recent.is_first(REMEMBERED as i64, at(1)));
    }
}
