//! Events: what the record in `auth.refresh_token_events` tells of (the design's section 7).

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

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(Recorded::Security.includes(event));
            assert!(!Recorded::Nothing.includes(event));
        }
    }
}
