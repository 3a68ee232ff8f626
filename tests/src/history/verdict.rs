//! What a call may have been answered: the verdict (docs/design.md#verdict), where facts may be in doubt.

use super::call::{Action, Answer};
use super::family::{Family, Seen, Sure};
use std::fmt;

/// An answer that the rules allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowed<'w> {
    /// A status, and the digest of the token that must come with it if it is known.
    Status(&'static str, Option<&'w str>),
    /// A number of revoked tokens.
    Count(i64),
    /// A session's being live or not.
    Live(bool),
    /// An SQLSTATE.
    Error(&'static str),
}

impl Allowed<'_> {
    /// Whether it gives a client a token to use, or a session to be in.
    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Status(status, _) => USABLE.contains(status),
            Self::Live(live) => *live,
            _ => false,
        }
    }

    /// Whether it is what `seen` was answered.
    pub(super) fn is(&self, seen: &Seen<'_>) -> bool {
        match (self, &seen.answer) {
            (Self::Status(status, token), Answer::Grant(grant)) => {
                // An explanation tells the verdict, and no token.
                let explained = matches!(seen.action, Action::Explain { .. });
                let token = token.filter(|_| !explained);
                *status == grant.status
                    && (token.is_none() || token == seen.answered.as_deref())
                    && seen.answered.is_some() == (self.is_usable() && !explained)
            }
            (Self::Count(count), Answer::Count(answered)) => count == answered,
            (Self::Live(live), Answer::Live(answered)) => live == answered,
            (Self::Error(code), Answer::Error(answered)) => code == answered,
            _ => false,
        }
    }
}

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status("retried", _) => f.write_str("retried with the live token"),
            Self::Status(status, _) => f.write_str(status),
            Self::Count(count) => write!(f, "{count}"),
            Self::Live(live) => write!(f, "{live}"),
            Self::Error(code) => write!(f, "error {code}"),
        }
    }
}

const USABLE: [&str; 4] = ["issued", "rotated", "retried", "unchanged"];

/// What a call that presents something that nobody was given may be answered.
pub(super) fn allowed_stray(seen: &Seen<'_>) -> Vec<Allowed<'static>> {
    match &seen.action {
        Action::Rotate { token, .. } | Action::Explain { token } => {
            let looks_right = token.starts_with("pgrt_");
            vec![status(if looks_right {
                "not_found"
            } else {
                "malformed"
            })]
        }
        _ => vec![Allowed::Count(0)],
    }
}

impl<'w> Family<'w> {
    /// What `seen` may be answered, but for 40001 where the transaction sees one snapshot throughout.
    /// Empty: whatever is no error.
    pub(super) fn allowed(&self, seen: &'w Seen<'w>) -> Vec<Allowed<'w>> {
        match &seen.action {
            Action::Login { .. } => vec![status("issued")],
            Action::Issue { .. } => self.allowed_issue(seen),
            Action::Rotate { token: _, client } => {
                let client = client.as_deref();
                self.allowed_verdicts(seen, client == self.client())
            }
            Action::Explain { .. } => self.allowed_verdicts(seen, true),
            Action::RevokeToken { .. } | Action::RevokeFamily { .. } => {
                self.allowed_counts(seen, self.is_known(seen))
            }
            Action::RevokeSession { .. } => self.allowed_counts(seen, self.is_born(seen)),
            Action::IsLive { .. } => {
                let over = self.is_ended(seen).max(self.is_expired(seen));
                let mut allowed = Vec::new();
                if self.is_born(seen) != Sure::No && over != Sure::Yes {
                    allowed.push(Allowed::Live(true));
                }
                if self.is_born(seen) != Sure::Yes || over != Sure::No {
                    allowed.push(Allowed::Live(false));
                }
                allowed
            }
            Action::RevokeUser { .. } | Action::Expire { .. } | Action::Age { .. } => Vec::new(),
        }
    }

    fn allowed_issue(&self, seen: &Seen<'_>) -> Vec<Allowed<'w>> {
        let over = self.is_ended(seen).max(self.is_expired(seen));
        let mut allowed = Vec::new();
        if self.is_born(seen) != Sure::Yes {
            allowed.push(Allowed::Error("23503"));
        }
        if over != Sure::No {
            allowed.push(Allowed::Error("55000"));
        }
        if over != Sure::Yes {
            allowed.push(status("issued"));
        }
        allowed
    }

    fn allowed_counts(&self, seen: &Seen<'_>, known: Sure) -> Vec<Allowed<'w>> {
        let ended = self.is_ended(seen);
        let mut allowed = Vec::new();
        if ended != Sure::No || known != Sure::Yes {
            allowed.push(Allowed::Count(0));
        }
        if ended != Sure::Yes && known != Sure::No {
            allowed.push(Allowed::Count(1));
        }
        allowed
    }

    fn allowed_verdicts(&self, seen: &'w Seen<'w>, right_client: bool) -> Vec<Allowed<'w>> {
        let token = seen.presented.as_deref().unwrap_or_default();
        let mut allowed = Vec::new();
        let known = self.is_known(seen);
        if known != Sure::Yes {
            allowed.push(status("not_found"));
        }
        if known == Sure::No {
            return allowed;
        }
        if !right_client {
            allowed.push(status("client_mismatch"));
            return allowed;
        }
        let expired = self.is_expired(seen);
        let ended = self.is_ended(seen);
        if ended != Sure::No {
            allowed.push(status("revoked"));
        }
        if ended == Sure::Yes {
            // The end of a session that has expired shows in its tokens only, and an older snapshot
            // shows the older tokens.
            if seen.snapshot.is_some() && expired != Sure::No {
                allowed.push(status("expired"));
            }
            return allowed;
        }
        let replaced = self.is_replaced(token, seen);
        if replaced != Sure::Yes {
            let used = match seen.settings.rotation {
                true => status("rotated"),
                false => Allowed::Status("unchanged", Some(token)),
            };
            allowed.extend(unless(expired, vec![used]));
        }
        if replaced != Sure::No {
            let honest = self.is_honest(token, seen);
            if honest != Sure::No {
                allowed.extend(unless(expired, self.allowed_retries(token, seen)));
            }
            if honest != Sure::Yes {
                allowed.push(status("reuse_detected"));
            }
        }
        allowed
    }

    /// The live token again, or `revoked` where the live token can't be derived.
    fn allowed_retries(&self, token: &str, seen: &Seen<'_>) -> Vec<Allowed<'w>> {
        let mut allowed = Vec::new();
        for (live, derivable) in self.live_below(token, seen) {
            if derivable != Sure::No {
                allowed.push(Allowed::Status("retried", Some(live)));
            }
            if derivable != Sure::Yes {
                allowed.push(status("revoked"));
            }
        }
        allowed
    }
}

/// `expired` or `allowed`, as the session is.
fn unless<'w>(expired: Sure, allowed: Vec<Allowed<'w>>) -> Vec<Allowed<'w>> {
    match expired {
        Sure::Yes => vec![status("expired")],
        Sure::No => allowed,
        Sure::Maybe => [allowed, vec![status("expired")]].concat(),
    }
}

fn status<'w>(status: &'static str) -> Allowed<'w> {
    Allowed::Status(status, None)
}
