//! A session, and when it ends.

use super::policy::Policy;
use crate::time::Timestamp;
use strum::IntoStaticStr;
use uuid::Uuid;

/// What a row of `auth.sessions` says about the life of its family.
///
/// Rows without a session (`session_id` is nullable) have the one that they would be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The row's id; none for rows without a session.
    pub id: Option<Uuid>,
    /// Whose session it is. Only rows without a session can be without a user.
    pub user_id: Option<String>,
    /// The OAuth client that the tokens are bound to, if any.
    pub client_id: Option<String>,
    /// When the user logged in.
    pub created_at: Timestamp,
    /// When the row was last written.
    pub updated_at: Timestamp,
    /// When the session was last refreshed; none: not since the login.
    pub refreshed_at: Option<Timestamp>,
    /// When the session ends, or was ended, whatever the policy says. Which of both it is, `updated_at` tells: see
    /// [`Session::is_ended`].
    pub not_after: Option<Timestamp>,
}

/// Why a session is past its end. The label is what `reason` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Expiry {
    /// The session's own `not_after` has come.
    NotAfter,
    /// The session is older than `refresh_tokens.session_lifetime`.
    SessionLifetime,
    /// The session was not refreshed for `refresh_tokens.idle_timeout`.
    IdleTimeout,
}

impl Session {
    /// Why the session is past its end at `now`, or none while it is live.
    ///
    /// An end belongs to the time after it: at `not_after` itself the session has ended.
    pub fn expiry(&self, policy: &Policy, now: Timestamp) -> Option<Expiry> {
        let past = |end: Option<Timestamp>| end.is_some_and(|end| now >= end);
        if self.is_ended() || past(self.not_after) {
            Some(Expiry::NotAfter)
        } else if past(self.lifetime_end(policy)) {
            Some(Expiry::SessionLifetime)
        } else if past(self.idle_end(policy)) {
            Some(Expiry::IdleTimeout)
        } else {
            None
        }
    }

    /// Whether the session was ended: a state that no clock undoes.
    ///
    /// Whatever ends a session writes its row and lets it end at that time or before, so that `not_after` is not
    /// later than `updated_at`. Whatever uses it finds that its end is to come, and writes its row before that.
    pub fn is_ended(&self) -> bool {
        self.not_after.is_some_and(|end| end <= self.updated_at)
    }

    /// When the session ends however often it is refreshed: the answer's `session_expires_at`.
    pub fn session_expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        earliest(self.not_after, self.lifetime_end(policy))
    }

    /// When the live token dies if it is not used: the answer's `expires_at`.
    pub fn expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        earliest(self.session_expires_at(policy), self.idle_end(policy))
    }

    /// What stands for the session of a token whose session's row is gone.
    pub fn nobodys() -> Self {
        Self {
            id: None,
            user_id: None,
            client_id: None,
            created_at: Timestamp::BEGINNING,
            updated_at: Timestamp::BEGINNING,
            refreshed_at: None,
            not_after: None,
        }
    }

    /// The session as it is once it has been refreshed at `now`.
    pub fn refreshed(&self, now: Timestamp) -> Self {
        Self {
            updated_at: now,
            refreshed_at: Some(now),
            ..self.clone()
        }
    }

    /// Whether a rotation at `now` keeps the session's derivation key.
    ///
    /// It does while an honest retry of an older parent may still need it: as long as the last refresh is inside
    /// `reuse_interval`, its end included, as it is for the retry.
    pub fn keeps_derivation_key(&self, policy: &Policy, now: Timestamp) -> bool {
        self.refreshed_at
            .is_some_and(|last| policy.reuse_interval.covers(now.since(last)))
    }

    fn lifetime_end(&self, policy: &Policy) -> Option<Timestamp> {
        policy.session_lifetime.map(|l| self.created_at.plus(l))
    }

    fn idle_end(&self, policy: &Policy) -> Option<Timestamp> {
        let last = self.refreshed_at.unwrap_or(self.created_at);
        policy.idle_timeout.map(|idle| last.plus(idle))
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}
