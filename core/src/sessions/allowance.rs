//! Whose limits: what somebody else's settings allow, beside the settings in force (docs/design.md#whose-limits).

use super::policy::{Policy, Window};
use super::retention::Retention;
use crate::time::Micros;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// A setting that decides how long something is live or kept. The label is its name, without the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs, reason = "docs/reference.md says what each setting is")]
pub enum Limit {
    ReuseInterval,
    IdleTimeout,
    SessionLifetime,
    Retention,
    EventRetention,
}

/// How long something lasts at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Span {
    For(Micros),
    Ever,
}

impl From<Option<Micros>> for Span {
    fn from(limit: Option<Micros>) -> Self {
        limit.map_or(Self::Ever, Self::For)
    }
}

/// The most that the settings of any role allow. By default nothing is set anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    reuse_interval: Option<Window>,
    idle_timeout: Option<Span>,
    session_lifetime: Option<Span>,
    evidence: Option<Span>,
    events: Option<Span>,
}

impl Allowance {
    /// Adds that somebody's `limit` is set to `seconds`.
    pub fn add(&mut self, limit: Limit, seconds: i32) {
        let span = Some(Span::from(Micros::limit(seconds)));
        let place = match limit {
            Limit::ReuseInterval => {
                self.reuse_interval = self.reuse_interval.max(Some(Window::of(seconds)));
                return;
            }
            Limit::IdleTimeout => &mut self.idle_timeout,
            Limit::SessionLifetime => &mut self.session_lifetime,
            Limit::Retention => &mut self.evidence,
            Limit::EventRetention => &mut self.events,
        };
        *place = span.max(*place);
    }
}

/// The more lenient of a limit in force and what is allowed elsewhere.
fn longer(limit: Option<Micros>, allowed: Option<Span>) -> Option<Micros> {
    match allowed.max(Some(limit.into())) {
        Some(Span::For(longest)) => Some(longest),
        Some(Span::Ever) | None => None,
    }
}

impl Policy {
    /// This policy, where its limits are those of whoever has the most lenient ones.
    #[must_use]
    pub fn most_lenient(&self, allowance: &Allowance) -> Self {
        Self {
            reuse_interval: allowance
                .reuse_interval
                .map_or(self.reuse_interval, |other| self.reuse_interval.max(other)),
            idle_timeout: longer(self.idle_timeout, allowance.idle_timeout),
            session_lifetime: longer(self.session_lifetime, allowance.session_lifetime),
            ..*self
        }
    }
}

impl Retention {
    /// What is kept where anybody keeps it.
    #[must_use]
    pub fn most_lenient(&self, allowance: &Allowance) -> Self {
        Self {
            evidence: longer(self.evidence, allowance.evidence),
            events: longer(self.events, allowance.events),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::ReuseAction;

    const POLICY: Policy = Policy {
        rotation: true,
        reuse_interval: Window::For(Micros::from_seconds(10)),
        lost_response_interval: Window::Closed,
        reuse_action: ReuseAction::RevokeSession,
        idle_timeout: Some(Micros::from_seconds(50)),
        session_lifetime: Some(Micros::from_seconds(700)),
        max_sessions_per_user: Some(3),
    };
    const RETENTION: Retention = Retention {
        evidence: Some(Micros::from_seconds(100)),
        events: None,
    };

    fn allowance(limits: &[(Limit, i32)]) -> Allowance {
        let mut allowance = Allowance::default();
        for &(limit, seconds) in limits {
            allowance.add(limit, seconds);
        }
        allowance
    }

    #[test]
    fn where_nothing_is_set_the_settings_in_force_hold() {
        assert_eq!(POLICY.most_lenient(&allowance(&[])), POLICY);
        assert_eq!(RETENTION.most_lenient(&allowance(&[])), RETENTION);
    }

    #[test]
    fn the_longest_limit_counts() {
        let allowed = allowance(&[
            (Limit::IdleTimeout, 40),
            (Limit::IdleTimeout, 90),
            (Limit::IdleTimeout, 60),
            (Limit::SessionLifetime, 1),
            (Limit::ReuseInterval, 11),
            (Limit::Retention, 101),
            (Limit::EventRetention, 5),
        ]);
        let lenient = Policy {
            idle_timeout: Some(Micros::from_seconds(90)),
            reuse_interval: Window::For(Micros::from_seconds(11)),
            ..POLICY
        };
        assert_eq!(POLICY.most_lenient(&allowed), lenient);
        let kept = Retention {
            evidence: Some(Micros::from_seconds(101)),
            events: None,
        };
        assert_eq!(RETENTION.most_lenient(&allowed), kept);
    }

    #[test]
    fn nothing_is_longer_than_for_ever() {
        let allowed = allowance(&[
            (Limit::SessionLifetime, 0),
            (Limit::SessionLifetime, i32::MAX),
            (Limit::Retention, i32::MAX),
            (Limit::Retention, 0),
        ]);
        assert_eq!(POLICY.most_lenient(&allowed).session_lifetime, None);
        assert_eq!(RETENTION.most_lenient(&allowed).evidence, None);
    }

    #[test]
    fn a_closed_window_is_the_narrowest() {
        let allowed = allowance(&[(Limit::ReuseInterval, 0)]);
        assert_eq!(POLICY.most_lenient(&allowed), POLICY);
        let closed = Policy {
            reuse_interval: Window::Closed,
            ..POLICY
        };
        assert_eq!(closed.most_lenient(&allowed), closed);
        let opened = closed.most_lenient(&allowance(&[(Limit::ReuseInterval, 2)]));
        assert_eq!(opened.reuse_interval, Window::For(Micros::from_seconds(2)));
    }

    #[test]
    fn a_limit_is_found_by_its_name() {
        assert_eq!("idle_timeout".parse(), Ok(Limit::IdleTimeout));
        assert_eq!("event_retention".parse(), Ok(Limit::EventRetention));
        assert!("rotation".parse::<Limit>().is_err());
    }
}
