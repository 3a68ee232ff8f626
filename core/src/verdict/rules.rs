//! The verdict about a presented token: a total function of what the tables say, the policy and the time
//! (docs/design.md#verdict). It decides; the extension's store reads and writes.

use crate::sessions::{Expiry, Policy, Session};
use crate::time::Timestamp;
use strum::IntoStaticStr;

/// What the tables say about a presented token, read while its session was locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The token's session.
    pub session: Session,
    /// The token itself.
    pub presented: Presented,
    /// The family's live token, where the presented token is not it.
    pub live: Option<Live>,
}

/// The state of the presented token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is not revoked.
    Live,
    /// It was revoked, at this time if the row tells.
    Revoked(Option<Timestamp>),
    /// The row of its session is gone: whose it was, and who may use it, nobody can say.
    WithoutSession,
}

/// The family's live token, as seen from the presented one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Whether its `parent` is the presented token.
    pub replaced_presented: bool,
}

/// What is to be done with a presented token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The session belongs to another client; nothing changes.
    ClientMismatch,
    /// The session is past its end; nothing changes.
    Expired(Expiry),
    /// Revoke the token and mint its child.
    Rotate,
    /// Rotation is off: record the use, keep the token.
    Keep,
    /// An honest retry: answer with the live token, if it can be derived from the presented one;
    /// if not, answer as [`Verdict::Revoked`].
    Retry(Retry),
    /// Somebody else has a copy: revoke the family, unless the policy is to reject only.
    Reuse(Reuse),
    /// The family was already ended; nothing changes.
    Revoked,
}

/// Why a retry is taken for honest. The label is what `reason` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Retry {
    /// The token was rotated at most `refresh_tokens.reuse_interval` ago.
    Concurrent,
    /// The token is the live one's parent, rotated at most `refresh_tokens.lost_response_interval` ago.
    LostResponse,
}

/// Which token was presented that can't be an honest retry. The label is what an event's `reason` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reuse {
    /// An older ancestor of the live token.
    Stale,
    /// The predecessor of the live token, outside its windows.
    Parent,
    /// One that had been rotated before its family was revoked.
    AfterRevocation,
}

/// True if the family is already revoked and the token arrived too late to be a retry. It is a reuse if it had been
/// rotated; the token that was live at the end may be presented by its owner, who does not know of the end.
pub fn late_for_retry(facts: &Facts, policy: &Policy, now: Timestamp) -> bool {
    match (facts.presented, facts.live) {
        (Presented::Revoked(Some(at)), None) => !policy.reuse_interval.covers(now.since(at)),
        _ => false,
    }
}

/// The verdict about a token that `client` presents at `now`.
pub fn verdict(facts: &Facts, client: Option<&str>, policy: &Policy, now: Timestamp) -> Verdict {
    let Facts {
        session,
        presented,
        live,
    } = facts;
    if *presented == Presented::WithoutSession {
        return Verdict::Revoked;
    }
    if client != session.client_id.as_deref() {
        return Verdict::ClientMismatch;
    }
    if session.user_id.is_none() {
        return Verdict::Revoked;
    }
    match (*presented, *live) {
        (Presented::Live, _) => unless_expired(session, policy, now, use_live(policy)),
        (Presented::Revoked(_), None) | (Presented::WithoutSession, _) => Verdict::Revoked,
        (Presented::Revoked(at), Some(live)) => match honest_retry(at, live, policy, now) {
            Some(retry) => unless_expired(session, policy, now, Verdict::Retry(retry)),
            None if live.replaced_presented => Verdict::Reuse(Reuse::Parent),
            None => Verdict::Reuse(Reuse::Stale),
        },
    }
}

/// `verdict`, unless the session is past its end: a token of such a session is given to nobody.
fn unless_expired(session: &Session, policy: &Policy, now: Timestamp, verdict: Verdict) -> Verdict {
    session
        .expiry(policy, now)
        .map_or(verdict, Verdict::Expired)
}

fn use_live(policy: &Policy) -> Verdict {
    if policy.rotation {
        Verdict::Rotate
    } else {
        Verdict::Keep
    }
}

/// Whether a token revoked `at` can be an honest retry. A row that doesn't say when can't.
fn honest_retry(
    at: Option<Timestamp>,
    live: Live,
    policy: &Policy,
    now: Timestamp,
) -> Option<Retry> {
    let age = now.since(at?);
    if policy.reuse_interval.covers(age) {
        Some(Retry::Concurrent)
    } else if live.replaced_presented && policy.lost_response_interval.covers(age) {
        Some(Retry::LostResponse)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
