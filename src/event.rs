//! Events: what the record in `auth.refresh_token_events` tells of (the design's section 7).

use crate::time::{Micros, Timestamp};
use crate::verdict::Reuse;

/// Something that happened to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A token was presented of which somebody else has a copy.
    ReuseDetected(Reuse),
    /// The token was live when its family was revoked.
    FamilyRevoked,
    /// The token was live when its session was ended to make room for another one.
    SessionEvicted,
    /// The token was presented by another client than its session's.
    ClientMismatch,
    /// More scope was asked for with the token than its session has: whoever did learned that it is live.
    ScopeExceeded,
    /// Somebody who said to be a client could not show it. No token has to do with it.
    ClientAuthenticationFailed,
    /// The token was issued.
    Issued,
    /// The token was minted by a rotation.
    Rotated,
    /// The token was the answer to a retry.
    Retried(&'static str),
}

/// `refresh_tokens.events`: which events are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// None.
    Nothing,
    /// Those that somebody should look at.
    Security,
    /// Every one.
    All,
}

impl Event {
    /// The value of the column `event`.
    pub fn label(self) -> &'static str {
        match self {
            Self::ReuseDetected(_) => "reuse_detected",
            Self::FamilyRevoked => "family_revoked",
            Self::SessionEvicted => "session_evicted",
            Self::ClientMismatch => "client_mismatch",
            Self::ScopeExceeded => "scope_exceeded",
            Self::ClientAuthenticationFailed => "client_authentication_failed",
            Self::Issued => "issued",
            Self::Rotated => "rotated",
            Self::Retried(_) => "retried",
        }
    }

    /// The value of the column `reason`.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::ReuseDetected(reuse) => Some(reuse.label()),
            Self::Retried(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether it belongs to the `security` set, and is sent with NOTIFY.
    pub fn is_security(self) -> bool {
        !matches!(self, Self::Issued | Self::Rotated | Self::Retried(_))
    }
}

impl Recorded {
    /// Whether `event` is recorded.
    pub fn includes(self, event: Event) -> bool {
        match self {
            Self::Nothing => false,
            Self::Security => event.is_security(),
            Self::All => true,
        }
    }
}

/// How many lines of one kind a process writes to the log in a minute.
const LINES_PER_MINUTE: u32 = 10;

/// Bounds how often what a caller can provoke at will is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    since: Timestamp,
    lines: u32,
}

impl Throttle {
    /// Nothing has been logged yet.
    pub const fn new() -> Self {
        Self {
            since: Timestamp(0),
            lines: LINES_PER_MINUTE,
        }
    }

    /// This throttle after another line at `now`; none if there have been enough. A minute begins with the
    /// first line after the one before it, and anew where the clock was set back.
    pub fn after_line(self, now: Timestamp) -> Option<Self> {
        let age = now.since(self.since);
        if age < Micros(0) || age >= Micros::from_seconds(60) {
            return Some(Self {
                since: now,
                lines: 1,
            });
        }
        let lines = self.lines + 1;
        (lines <= LINES_PER_MINUTE).then_some(Self { lines, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute() {
        let at = |seconds: i64| Timestamp(1_000_000_000_000 + seconds * 1_000_000);
        let mut throttle = Throttle::new();
        let mut lines = |seconds: i64, tries: usize| {
            let tries = (0..tries).filter(|_| match throttle.after_line(at(seconds)) {
                Some(next) => {
                    throttle = next;
                    true
                }
                None => false,
            });
            tries.count()
        };
        assert_eq!(lines(0, 4), 4);
        assert_eq!(lines(59, 100), 6);
        assert_eq!(lines(60, 100), 10);
        assert_eq!(lines(119, 100), 0);
        assert_eq!(lines(7, 100), 10, "the clock was set back");
    }

    #[test]
    fn a_rotation_is_no_matter_of_security() {
        for event in [Event::Issued, Event::Rotated, Event::Retried("concurrent")] {
            assert!(!Recorded::Security.includes(event));
            assert!(Recorded::All.includes(event));
        }
        for event in [
            Event::ReuseDetected(Reuse::Stale),
            Event::FamilyRevoked,
            Event::SessionEvicted,
            Event::ClientMismatch,
            Event::ScopeExceeded,
            Event::ClientAuthenticationFailed,
        ] {
            assert!(Recorded::Security.includes(event));
            assert!(!Recorded::Nothing.includes(event));
        }
    }
}
