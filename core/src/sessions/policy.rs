//! What the settings say, as plain values that the verdict can be computed from.

use crate::time::Micros;

/// The settings of a call, read once at its start (docs/design.md#settings).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `refresh_tokens.rotation`: whether a live token is rotated when it is used.
    pub rotation: bool,
    /// `refresh_tokens.reuse_interval`: how long a rotated token may be retried concurrently.
    pub reuse_interval: Window,
    /// `refresh_tokens.lost_response_interval`: how long the live token's parent may be retried.
    pub lost_response_interval: Window,
    /// `refresh_tokens.reuse_action`: what a detected reuse does.
    pub reuse_action: ReuseAction,
    /// `refresh_tokens.idle_timeout`: how long a session lives without being refreshed; none: for ever.
    pub idle_timeout: Option<Micros>,
    /// `refresh_tokens.session_lifetime`: how long a session lives at all; none: for ever.
    pub session_lifetime: Option<Micros>,
    /// `refresh_tokens.max_sessions_per_user`: how many live sessions a user has per tag; none: any number.
    pub max_sessions_per_user: Option<i64>,
}

/// For how long after its rotation a token is taken for an honest retry. The wider one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Never.
    Closed,
    /// For this long, its end included.
    For(Micros),
    /// For ever.
    Open,
}

impl Window {
    /// The window that a setting opens for so many seconds. 0: not at all; less: for ever.
    pub const fn of(seconds: i32) -> Self {
        match seconds {
            0 => Self::Closed,
            ..0 => Self::Open,
            length => Self::For(Micros::from_seconds(length)),
        }
    }

    /// Whether something that happened `age` ago is inside the window.
    ///
    /// A negative age (the clock was set back) is inside any window that is not closed.
    pub fn covers(self, age: Micros) -> bool {
        match self {
            Self::Closed => false,
            Self::For(length) => age <= length,
            Self::Open => true,
        }
    }
}

/// What a detected reuse does, beyond being answered `reuse_detected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseAction {
    /// The family is revoked and the session ended.
    RevokeSession,
    /// Nothing is revoked.
    Reject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_includes_its_end() {
        let ten = Window::For(Micros::from_seconds(10));
        assert!(ten.covers(Micros(10_000_000)));
        assert!(!ten.covers(Micros(10_000_001)));
        assert!(ten.covers(Micros(-1)));
    }

    #[test]
    fn closed_and_open() {
        assert!(!Window::Closed.covers(Micros(0)));
        assert!(Window::Open.covers(Micros(i64::MAX)));
    }
}
