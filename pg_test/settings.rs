//! The settings as the verdict sees them.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::settings::policy;
    use pgrx::prelude::*;
    use refresh_tokens_core::sessions::{Policy, ReuseAction, Window};
    use refresh_tokens_core::time::Micros;

    fn set(name: &str, value: &str) {
        Spi::run(&format!("SET LOCAL refresh_tokens.{name} = {value}")).unwrap();
    }

    #[pg_test]
    fn the_defaults_are_the_designs() {
        let seconds = Micros::from_seconds;
        let expected = Policy {
            rotation: true,
            reuse_interval: Window::For(seconds(10)),
            lost_response_interval: Window::Closed,
            reuse_action: ReuseAction::RevokeSession,
            idle_timeout: Some(seconds(15 * 86_400)),
            session_lifetime: Some(seconds(30 * 86_400)),
            max_sessions_per_user: None,
        };
        assert_eq!(policy(), expected);
    }

    #[pg_test]
    fn values_come_with_units() {
        set("reuse_interval", "'2 min'");
        set("lost_response_interval", "'1 d'");
        set("idle_timeout", "'1 h'");
        set("session_lifetime", "90");
        set("max_sessions_per_user", "3");
        set("reuse_action", "reject");
        set("rotation", "off");
        let expected = Policy {
            rotation: false,
            reuse_interval: Window::For(Micros(120_000_000)),
            lost_response_interval: Window::For(Micros(86_400_000_000)),
            reuse_action: ReuseAction::Reject,
            idle_timeout: Some(Micros(3_600_000_000)),
            session_lifetime: Some(Micros(90_000_000)),
            max_sessions_per_user: Some(3),
        };
        assert_eq!(policy(), expected);
    }

    #[pg_test]
    fn nought_switches_a_limit_off() {
        for name in [
            "reuse_interval",
            "idle_timeout",
            "session_lifetime",
            "max_sessions_per_user",
        ] {
            set(name, "0");
        }
        set("lost_response_interval", "-1");
        let policy = policy();
        assert_eq!(policy.reuse_interval, Window::Closed);
        assert_eq!(policy.lost_response_interval, Window::Open);
        assert_eq!(policy.idle_timeout, None);
        assert_eq!(policy.session_lifetime, None);
        assert_eq!(policy.max_sessions_per_user, None);
    }
}
