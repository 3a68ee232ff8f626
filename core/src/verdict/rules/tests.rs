//! The verdict against a naive model, which keeps the tokens in plain text and an explicit tree.

use super::*;
use crate::label::Label;
use crate::sessions::{ReuseAction, Window};
use crate::time::Micros;
use crate::tokens::{DERIVATION_KEY_LEN, DerivationKey, SECRET_LEN, Slot, Token, descend};
use proptest::prelude::*;
use uuid::Uuid;

/// What a client learns: the verdict's name, its reason, the token.
type Answer = (&'static str, &'static str, Option<String>);

fn refusal(status: &'static str) -> Answer {
    (status, "", None)
}

// ---- the tables: digests only, and the verdict as the extension uses it --------------------------

struct Tables {
    session: Session,
    key: Option<DerivationKey>,
    rotations: i64,
    rows: Vec<Row>,
    secrets: u8,
}

struct Row {
    digest: String,
    parent: Option<String>,
    revoked_at: Option<Timestamp>,
}

impl Tables {
    fn live(&self) -> Option<usize> {
        self.rows.iter().rposition(|row| row.revoked_at.is_none())
    }

    fn insert(&mut self, token: &Token, parent: Option<usize>) -> String {
        self.rows.push(Row {
            digest: token.digest().as_str().into(),
            parent: parent.map(|at| self.rows[at].digest.clone()),
            revoked_at: None,
        });
        token.as_str().into()
    }

    fn issue(&mut self, now: Timestamp) -> Option<String> {
        if self.session.expiry(&POLICY_FREE, now).is_some() {
            return None;
        }
        self.secrets += 1;
        let token = Token::new(Slot::of(Uuid::nil()), &[self.secrets; SECRET_LEN]);
        let parent = self.live();
        self.revoke_live(now);
        self.session = self.session.refreshed(now);
        Some(self.insert(&token, parent))
    }

    fn revoke_live(&mut self, now: Timestamp) {
        for row in self.rows.iter_mut().filter(|row| row.revoked_at.is_none()) {
            row.revoked_at = Some(now);
        }
    }

    fn end(&mut self, now: Timestamp) {
        self.revoke_live(now);
        self.session.not_after = Some(self.session.not_after.map_or(now, |end| end.min(now)));
        self.session.updated_at = now;
    }

    fn present(
        &mut self,
        text: &str,
        client: Option<&str>,
        policy: &Policy,
        now: Timestamp,
    ) -> Answer {
        let token = Token::parse(text).unwrap();
        let digest = token.digest().as_str().to_owned();
        let at = self
            .rows
            .iter()
            .position(|row| row.digest == digest)
            .unwrap();
        let live = self.live().filter(|&live| live != at);
        let facts = Facts {
            session: self.session.clone(),
            presented: match self.rows[at].revoked_at {
                None => Presented::Live,
                revoked_at => Presented::Revoked(revoked_at),
            },
            live: live.map(|live| Live {
                replaced_presented: self.rows[live].parent.as_ref() == Some(&digest),
            }),
        };
        match verdict(&facts, client, policy, now) {
            Verdict::ClientMismatch => refusal("client_mismatch"),
            Verdict::Revoked => refusal("revoked"),
            Verdict::Expired(expiry) => ("expired", expiry.label(), None),
            Verdict::Rotate => {
                if !self.session.keeps_derivation_key(policy, now) {
                    self.key = None;
                }
                let fresh = [self.rotations as u8; DERIVATION_KEY_LEN];
                let key = self
                    .key
                    .get_or_insert_with(|| DerivationKey::new(fresh.into()));
                let child = key.child_of(&token);
                self.revoke_live(now);
                self.session = self.session.refreshed(now);
                self.rotations += 1;
                ("rotated", "", Some(self.insert(&child, Some(at))))
            }
            Verdict::Keep => {
                self.session = self.session.refreshed(now);
                ("unchanged", "", Some(text.into()))
            }
            Verdict::Retry(retry) => {
                let key = self.key.as_ref();
                let live = &self.rows[live.unwrap()].digest;
                match key.and_then(|key| descend(&token, key, live, self.rotations)) {
                    Some(found) => ("retried", retry.label(), Some(found.token.as_str().into())),
                    None => refusal("revoked"),
                }
            }
            Verdict::Reuse(_) => {
                if policy.reuse_action == ReuseAction::RevokeSession {
                    self.end(now);
                }
                refusal("reuse_detected")
            }
        }
    }
}

/// A policy under which only `not_after` ends a session.
const POLICY_FREE: Policy = Policy {
    rotation: true,
    reuse_interval: Window::Closed,
    lost_response_interval: Window::Closed,
    reuse_action: ReuseAction::RevokeSession,
    idle_timeout: None,
    session_lifetime: None,
    max_sessions_per_user: None,
};

// ---- the model: plain text, a tree, and the rules as a user would tell them ------------------------

#[derive(Default)]
struct Model {
    nodes: Vec<Node>,
    current: Option<usize>,
    login: i64,
    used: i64,
    ends: Option<i64>,
    /// Whether it was ended, which no clock undoes.
    is_ended: bool,
}

struct Node {
    text: String,
    parent: Option<usize>,
    by_rotation: bool,
    replaced: Option<i64>,
}

impl Model {
    fn add(&mut self, text: &str, by_rotation: bool, now: i64) {
        let parent = self.current;
        if let Some(parent) = parent {
            self.nodes[parent].replaced = Some(now);
        }
        self.nodes.push(Node {
            text: text.into(),
            parent,
            by_rotation,
            replaced: None,
        });
        self.current = Some(self.nodes.len() - 1);
    }

    fn end(&mut self, now: i64) {
        if let Some(current) = self.current.take() {
            self.nodes[current].replaced = Some(now);
        }
        self.ends = Some(self.ends.map_or(now, |end| end.min(now)));
        self.is_ended = true;
    }

    fn why_over(&self, policy: &Policy, now: i64) -> Option<&'static str> {
        let longer = |limit: Option<Micros>, since: i64| limit.is_some_and(|l| now - since >= l.0);
        if self.ends.is_some_and(|end| end <= now) {
            Some("not_after")
        } else if longer(policy.session_lifetime, self.login) {
            Some("session_lifetime")
        } else if longer(policy.idle_timeout, self.used) {
            Some("idle_timeout")
        } else {
            None
        }
    }

    /// Whether each token from the current one up to `ancestor` was rotated to.
    fn rotated_down_from(&self, ancestor: usize) -> bool {
        let mut at = self.current.unwrap();
        while at != ancestor {
            match self.nodes[at].parent {
                Some(parent) if self.nodes[at].by_rotation => at = parent,
                _ => return false,
            }
        }
        true
    }

    /// The answer but for a new child's text, which only the extension can know.
    fn expect(&self, at: usize, right_client: bool, policy: &Policy, now: i64) -> Answer {
        let over = self.why_over(policy, now);
        let text = |at: usize| Some(self.nodes[at].text.clone());
        if !right_client {
            return refusal("client_mismatch");
        }
        let Some(current) = self.current else {
            return refusal("revoked");
        };
        if at == current {
            return match (over, policy.rotation) {
                (Some(reason), _) => ("expired", reason, None),
                (None, true) => ("rotated", "", None),
                (None, false) => ("unchanged", "", text(at)),
            };
        }
        let age = now - self.nodes[at].replaced.unwrap();
        let inside = |window| match window {
            Window::Closed => false,
            Window::For(length) => age <= length.0,
            Window::Open => true,
        };
        let is_parent = self.nodes[current].parent == Some(at);
        let reason = if inside(policy.reuse_interval) {
            "concurrent"
        } else if is_parent && inside(policy.lost_response_interval) {
            "lost_response"
        } else {
            return refusal("reuse_detected");
        };
        match over {
            Some(reason) => ("expired", reason, None),
            None if self.rotated_down_from(at) => ("retried", reason, text(current)),
            None => refusal("revoked"),
        }
    }
}

// ---- the two side by side --------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Issue,
    End,
    EndLater(i64),
    Present {
        from_newest: usize,
        right_client: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let second = 1_000_000i64;
    prop_oneof![
        3 => prop_oneof![
            0..4 * second,
            (0..40i64).prop_map(move |s| s * second),
            (0..60i64).prop_map(move |s| s * second - 1),
        ].prop_map(Step::Wait),
        1 => Just(Step::Issue),
        1 => prop_oneof![Just(Step::End), (1..60 * second).prop_map(Step::EndLater)],
        20 => (prop_oneof![4 => 0..2usize, 2 => 0..5usize, 1 => 0..50usize], prop::bool::weighted(0.95))
            .prop_map(|(from_newest, right_client)| Step::Present { from_newest, right_client }),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        Just(Window::Closed),
        Just(Window::Open),
        (1..30i32).prop_map(|s| Window::For(Micros::from_seconds(s))),
    ]
}

fn limit() -> impl Strategy<Value = Option<Micros>> {
    prop::option::of((20..200i32).prop_map(Micros::from_seconds))
}

fn policy() -> impl Strategy<Value = Policy> {
    (
        prop::bool::weighted(0.9),
        window(),
        window(),
        prop::bool::weighted(0.8),
        limit(),
        limit(),
    )
        .prop_map(
            |(rotation, reuse, lost, revokes, idle_timeout, session_lifetime)| Policy {
                rotation,
                // An open reuse interval can't be set; a closed one can.
                reuse_interval: if reuse == Window::Open {
                    Window::Closed
                } else {
                    reuse
                },
                lost_response_interval: lost,
                reuse_action: if revokes {
                    ReuseAction::RevokeSession
                } else {
                    ReuseAction::Reject
                },
                idle_timeout,
                session_lifetime,
                max_sessions_per_user: None,
            },
        )
}

fn check_invariants(tables: &Tables) {
    let live = tables
        .rows
        .iter()
        .filter(|row| row.revoked_at.is_none())
        .count();
    assert!(live <= 1);
    for row in &tables.rows {
        let children = tables
            .rows
            .iter()
            .filter(|r| r.parent.as_deref() == Some(&row.digest));
        assert!(children.count() <= 1, "a path, not a tree");
        if let Some(parent) = &row.parent {
            let parent = tables.rows.iter().find(|r| r.digest == *parent).unwrap();
            assert!(parent.revoked_at.is_some());
        }
    }
}

fn run(policy: Policy, client: Option<&str>, steps: Vec<Step>) {
    let mut now = 1_000_000_000i64;
    let session = Session {
        id: Some(Uuid::nil()),
        user_id: Some("alice".into()),
        client_id: client.map(Into::into),
        created_at: Timestamp(now),
        updated_at: Timestamp(now),
        refreshed_at: None,
        not_after: None,
    };
    let mut tables = Tables {
        session,
        key: None,
        rotations: 0,
        rows: vec![],
        secrets: 0,
    };
    let mut model = Model {
        login: now,
        used: now,
        ..Model::default()
    };
    let first = tables.issue(Timestamp(now)).unwrap();
    tables.session.refreshed_at = None;
    model.add(&first, false, now);

    for step in steps {
        match step {
            Step::Wait(length) => now += length,
            Step::Issue => {
                let issued = tables.issue(Timestamp(now));
                let is_over = model.is_ended || model.ends.is_some_and(|end| end <= now);
                assert_eq!(issued.is_some(), !is_over);
                if let Some(text) = issued {
                    model.add(&text, false, now);
                    model.used = now;
                }
            }
            Step::End => {
                tables.end(Timestamp(now));
                model.end(now);
            }
            Step::EndLater(after) => {
                let end = model.ends.unwrap_or(now + after);
                tables.session.not_after = Some(Timestamp(end));
                model.ends = Some(end);
            }
            Step::Present {
                from_newest,
                right_client,
            } => {
                let at = model.nodes.len() - 1 - from_newest.min(model.nodes.len() - 1);
                let text = model.nodes[at].text.clone();
                let presented_by = if right_client {
                    client
                } else {
                    Some("somebody")
                };
                let expected = model.expect(at, right_client, &policy, now);
                let got = tables.present(&text, presented_by, &policy, Timestamp(now));
                assert_eq!((expected.0, expected.1), (got.0, got.1));
                match got.0 {
                    "rotated" => {
                        model.add(&got.2.unwrap(), true, now);
                        model.used = now;
                    }
                    "unchanged" => model.used = now,
                    "reuse_detected" if policy.reuse_action == ReuseAction::RevokeSession => {
                        model.end(now)
                    }
                    _ => assert_eq!(expected.2, got.2),
                }
            }
        }
        check_invariants(&tables);
        assert_eq!(
            model.current.map(|at| Token::parse(&model.nodes[at].text)
                .unwrap()
                .digest()
                .as_str()
                .to_owned()),
            tables.live().map(|at| tables.rows[at].digest.clone()),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_the_model(
        policy in policy(),
        client in prop::option::of(Just("app")),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(policy, client, steps);
    }
}

// ---- single rules that the model can't see -----------------------------------------------------------

fn facts(presented: Presented, live: Option<Live>) -> Facts {
    Facts {
        session: Session {
            id: None,
            user_id: Some("alice".into()),
            client_id: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            refreshed_at: None,
            not_after: None,
        },
        presented,
        live,
    }
}

const OPEN: Policy = Policy {
    lost_response_interval: Window::Open,
    ..POLICY_FREE
};

#[test]
fn a_row_without_a_user_is_revoked() {
    let mut facts = facts(Presented::Live, None);
    facts.session.user_id = None;
    assert_eq!(verdict(&facts, None, &OPEN, Timestamp(1)), Verdict::Revoked);
}

#[test]
fn a_token_without_its_session_is_revoked_whoever_presents_it() {
    let facts = facts(Presented::WithoutSession, None);
    for client in [None, Some("app")] {
        assert_eq!(
            verdict(&facts, client, &OPEN, Timestamp(1)),
            Verdict::Revoked
        );
    }
}

#[test]
fn what_was_ended_has_ended_at_any_time() {
    let ended = |not_after, updated_at| {
        let mut session = facts(Presented::Live, None).session;
        session.not_after = Some(Timestamp(not_after));
        session.updated_at = Timestamp(updated_at);
        session.expiry(&POLICY_FREE, Timestamp(50))
    };
    // Ended at 100, and at 100 with an end of its own before; the clock says 50.
    assert_eq!(ended(100, 100), Some(Expiry::NotAfter));
    assert_eq!(ended(90, 100), Some(Expiry::NotAfter));
    // Its end is to come.
    assert_eq!(ended(101, 100), None);
    // Nobody has ended it; its end has come.
    assert_eq!(ended(50, 40), Some(Expiry::NotAfter));
}

#[test]
fn a_row_that_does_not_say_when_is_no_retry() {
    let live = Some(Live {
        replaced_presented: true,
    });
    let facts = facts(Presented::Revoked(None), live);
    assert_eq!(
        verdict(&facts, None, &OPEN, Timestamp(1)),
        Verdict::Reuse(Reuse::Parent)
    );
}

#[test]
fn a_clock_that_was_set_back_makes_no_thief() {
    let live = Some(Live {
        replaced_presented: true,
    });
    let facts = facts(Presented::Revoked(Some(Timestamp(100))), live);
    let policy = Policy {
        reuse_interval: Window::For(Micros(5)),
        ..POLICY_FREE
    };
    let retry = Verdict::Retry(Retry::Concurrent);
    assert_eq!(verdict(&facts, None, &policy, Timestamp(1)), retry);
}

#[test]
fn the_first_end_that_applies_is_the_reason() {
    let mut facts = facts(Presented::Live, None);
    let policy = Policy {
        idle_timeout: Some(Micros(10)),
        session_lifetime: Some(Micros(20)),
        ..POLICY_FREE
    };
    let at = |facts: &Facts, now| verdict(facts, None, &policy, Timestamp(now));
    assert_eq!(at(&facts, 9), Verdict::Rotate);
    assert_eq!(at(&facts, 10), Verdict::Expired(Expiry::IdleTimeout));
    assert_eq!(at(&facts, 20), Verdict::Expired(Expiry::SessionLifetime));
    facts.session.not_after = Some(Timestamp(20));
    assert_eq!(at(&facts, 20), Verdict::Expired(Expiry::NotAfter));
}
