//! How long what is over is kept as evidence, and what is due for purge.

use super::policy::{Policy, Window};
use crate::time::{Micros, Timestamp};

/// The settings that purge adds to those of the [`Policy`]. None: for ever, so purge takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `refresh_tokens.retention`: how long revoked tokens and ended sessions are kept.
    pub evidence: Option<Micros>,
    /// `refresh_tokens.event_retention`: how long events are kept.
    pub events: Option<Micros>,
}

/// The times that tell what is due for purge: what lies before them. `-infinity`, before which nothing
/// lies, where a limit is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// A token revoked, or a session ended, before this time.
    pub over: Timestamp,
    /// A session created before this time: it passed `session_lifetime` before `over`.
    pub created: Timestamp,
    /// A session last refreshed before this time: it passed `idle_timeout` before `over`.
    pub refreshed: Timestamp,
    /// An event that occurred before this time.
    pub events: Timestamp,
}

impl Horizon {
    /// What is due at `now`.
    ///
    /// Evidence is kept for `reuse_interval` at the least: a retry that is still honest finds its token.
    pub fn at(now: Timestamp, policy: &Policy, retention: &Retention) -> Self {
        let kept = match policy.reuse_interval {
            Window::Closed => retention.evidence,
            Window::For(length) => retention.evidence.map(|kept| kept.max(length)),
            Window::Open => None,
        };
        let over = now.minus(kept);
        Self {
            over,
            created: over.minus(policy.session_lifetime),
            refreshed: over.minus(policy.idle_timeout),
            events: now.minus(retention.events),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::ReuseAction;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);
    const NEVER: Timestamp = Timestamp(i64::MIN);

    fn seconds(seconds: i32) -> Option<Micros> {
        Some(Micros::from_seconds(seconds))
    }

    fn ago(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 - seconds * 1_000_000)
    }

    fn policy() -> Policy {
        Policy {
            rotation: true,
            reuse_interval: Window::For(Micros::from_seconds(10)),
            lost_response_interval: Window::Closed,
            reuse_action: ReuseAction::RevokeSession,
            idle_timeout: seconds(50),
            session_lifetime: seconds(700),
            max_sessions_per_user: None,
        }
    }

    fn horizon(policy: &Policy, evidence: Option<Micros>) -> Horizon {
        let events = seconds(9_000);
        Horizon::at(NOW, policy, &Retention { evidence, events })
    }

    #[test]
    fn a_session_is_kept_from_its_end_on() {
        let expected = Horizon {
            over: ago(100),
            created: ago(800),
            refreshed: ago(150),
            events: ago(9_000),
        };
        assert_eq!(horizon(&policy(), seconds(100)), expected);
    }

    #[test]
    fn sessions_without_an_end_are_never_due() {
        let endless = Policy {
            idle_timeout: None,
            session_lifetime: None,
            ..policy()
        };
        let horizon = horizon(&endless, seconds(100));
        assert_eq!(horizon.over, ago(100));
        assert_eq!((horizon.created, horizon.refreshed), (NEVER, NEVER));
    }

    #[test]
    fn without_a_limit_nothing_is_due() {
        let expected = Horizon {
            over: NEVER,
            created: NEVER,
            refreshed: NEVER,
            events: ago(9_000),
        };
        assert_eq!(horizon(&policy(), None), expected);
        let retention = Retention {
            evidence: None,
            events: None,
        };
        assert_eq!(Horizon::at(NOW, &policy(), &retention).events, NEVER);
    }

    #[test]
    fn an_honest_retry_finds_its_token() {
        assert_eq!(horizon(&policy(), seconds(1)).over, ago(10));
        let closed = Policy {
            reuse_interval: Window::Closed,
            ..policy()
        };
        assert_eq!(horizon(&closed, seconds(1)).over, ago(1));
    }
}
