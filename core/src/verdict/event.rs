//! Events: what the record in `auth.refresh_token_events` tells of (docs/design.md#events).

use super::rules::{Retry, Reuse};
use crate::label::Label;
use strum::IntoStaticStr;

/// Something that happened to a token. The label is the value of the column `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// A token was presented of which somebody else has a copy.
    ReuseDetected(Reuse),
    /// The token was live when its family was revoked.
    FamilyRevoked,
    /// Many sessions, of any users, were ended in one batch. One event tells of all of them.
    SessionsRevoked,
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
    Retried(Retry),
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
    /// The value of the column `reason`.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::ReuseDetected(reuse) => Some(reuse.label()),
            Self::Retried(retry) => Some(retry.label()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_no_matter_of_security() {
        for event in [
            Event::Issued,
            Event::Rotated,
            Event::Retried(Retry::Concurrent),
        ] {
            assert!(!Recorded::Security.includes(event));
            assert!(Recorded::All.includes(event));
        }
        for event in [
            Event::ReuseDetected(Reuse::Stale),
            Event::FamilyRevoked,
            Event::SessionsRevoked,
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
