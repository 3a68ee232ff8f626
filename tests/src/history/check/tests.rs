//! Histories written by hand: right ones that must pass, and for each rule ones that break it in one way.

use super::super::{Action, Answer, Call, Outcome, Row, Settings, report};
use super::*;
use crate::Grant;
use crate::format::digest;
use std::time::Duration;

const SESSION: Uuid = Uuid::from_u128(1);
const USER: &str = "alice";

/// A history of one family, whose tokens are numbers, and the tables that it should leave. A call is a
/// transaction of its own, a second after the last one, unless a test changes it afterwards.
struct Story {
    history: History,
    tables: Tables,
}

fn token(number: i64) -> String {
    format!("pgrt_{number}")
}

fn moment(order: u64) -> Moment {
    Moment {
        order,
        at: Duration::from_secs(order),
    }
}

fn grant(status: &str, of: Option<i64>) -> Answer {
    Answer::Grant(Grant {
        status: status.into(),
        token: of.map(token),
        user_id: Some(USER.into()),
        session_id: Some(SESSION),
        token_id: of,
        reason: None,
    })
}

fn rotate(number: i64) -> Action {
    Action::Rotate {
        token: token(number),
        client: None,
    }
}

impl Story {
    /// A login that got token 1.
    fn login() -> Self {
        let mut story = Self {
            history: History {
                seed: 42,
                calls: Vec::new(),
            },
            tables: Tables::default(),
        };
        let login = Action::Login {
            user: USER.into(),
            client: None,
        };
        story.call(login, grant("issued", Some(1)));
        story.row(1, None);
        story
    }

    /// A login, and rotations up to token `newest`.
    fn rotated(newest: i64) -> Self {
        let mut story = Self::login();
        for parent in 1..newest {
            story.call(rotate(parent), grant("rotated", Some(parent + 1)));
            story.row(parent + 1, Some(parent));
        }
        story
    }

    fn call(&mut self, action: Action, answer: Answer) -> &mut Call {
        let number = self.history.calls.len() as u64;
        self.history.calls.push(Call {
            connection: 0,
            transaction: number,
            snapshot: None,
            settings: Settings::USUAL,
            begin: moment(3 * number),
            end: moment(3 * number + 1),
            action,
            answer,
            undone: None,
            outcome: Outcome::Committed,
            settled: moment(3 * number + 2),
        });
        self.history.calls.last_mut().expect("the call")
    }

    fn row(&mut self, id: i64, parent: Option<i64>) {
        self.tables
            .rows
            .iter_mut()
            .for_each(|row| row.revoked = true);
        self.tables.rows.push(Row {
            id,
            token: digest(&token(id)),
            parent: parent.map(|parent| digest(&token(parent))),
            session: SESSION,
            user: USER.into(),
            revoked: false,
        });
    }

    /// The session is revoked.
    fn revoked(mut self) -> Self {
        self.call(Action::RevokeSession { session: SESSION }, Answer::Count(1));
        self.ended();
        self
    }

    fn ended(&mut self) {
        self.tables
            .rows
            .iter_mut()
            .for_each(|row| row.revoked = true);
        self.tables.ended.insert(SESSION);
    }

    /// The family is two hours older.
    fn aged(mut self) -> Self {
        let by = Duration::from_hours(2);
        self.call(
            Action::Age {
                session: SESSION,
                by,
            },
            Answer::Done,
        );
        self
    }

    /// One more call.
    fn with(mut self, action: Action, answer: Answer) -> Self {
        self.call(action, answer);
        self
    }

    fn last(&mut self) -> &mut Call {
        self.history.calls.last_mut().expect("a call")
    }

    /// The last call overlaps with the one before it.
    fn overlapping(mut self) -> Self {
        let before = self.history.calls.len() - 2;
        let begin = self.history.calls[before].begin;
        self.last().begin = begin;
        self
    }

    #[track_caller]
    fn passes(&self) {
        assert_eq!(check(&self.history, &self.tables).violations, []);
    }

    /// `rule` and no other is broken.
    #[track_caller]
    fn breaks(&self, rule: Rule) {
        let violations = check(&self.history, &self.tables).violations;
        let mut broken: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
        broken.dedup();
        assert_eq!(broken, [rule], "{violations:?}");
    }
}

// ---- what the tables must show -----------------------------------------------------------------------

#[test]
fn a_right_history_passes() {
    let story = Story::rotated(4)
        .with(rotate(3), grant("retried", Some(4)))
        .with(rotate(1), grant("retried", Some(4)))
        .with(Action::Explain { token: token(4) }, grant("rotated", None))
        .with(Action::IsLive { session: SESSION }, Answer::Live(true))
        .revoked()
        .with(rotate(4), grant("revoked", None))
        .with(Action::IsLive { session: SESSION }, Answer::Live(false));
    story.passes();
    let checked = check(&story.history, &story.tables).checked;
    for rule in [
        Rule::OneChild,
        Rule::Served,
        Rule::SameChild,
        Rule::NoEscape,
        Rule::Ended,
    ] {
        assert!(checked.contains_key(&rule), "{rule}");
    }
}

#[test]
fn a_committed_child_that_is_no_row_is_found() {
    let mut story = Story::rotated(2);
    story.tables.rows.pop();
    story.tables.rows[0].revoked = false;
    story.breaks(Rule::OneChild);
}

#[test]
fn a_child_whose_row_holds_another_token_is_found() {
    let mut story = Story::rotated(2);
    story.tables.rows[1].token = digest("another");
    story.breaks(Rule::OneChild);
}

#[test]
fn two_children_of_one_parent_are_found() {
    let mut story = Story::rotated(2)
        .with(rotate(1), grant("rotated", Some(3)))
        .overlapping();
    story.row(3, Some(1));
    story.breaks(Rule::OneChild);
}

#[test]
fn a_row_of_a_call_that_was_rolled_back_is_found() {
    let mut story = Story::rotated(2);
    story.last().outcome = Outcome::RolledBack;
    story.breaks(Rule::NoTrace);
    let mut story = Story::rotated(2);
    story.last().undone = Some(story.last().end);
    story.breaks(Rule::NoTrace);
}

#[test]
fn a_row_that_no_call_minted_is_found() {
    let mut story = Story::rotated(2);
    story.row(3, Some(2));
    story.breaks(Rule::Explained);
}

#[test]
fn a_row_of_a_lost_answer_is_explained() {
    let mut story = Story::rotated(2).with(rotate(2), Answer::Lost);
    story.last().outcome = Outcome::Unknown;
    story.passes();
    story.row(3, Some(2));
    story.passes();
}

#[test]
fn a_token_that_lives_on_after_its_family_was_revoked_is_found() {
    let mut story = Story::rotated(2).revoked();
    story.tables.rows[1].revoked = false;
    story.breaks(Rule::Ended);
}

#[test]
fn a_session_that_does_not_end_with_its_family_is_found() {
    let mut story = Story::rotated(2).revoked();
    story.tables.ended.clear();
    story.breaks(Rule::Ended);
}

#[test]
fn a_family_that_lives_on_after_reuse_was_detected_is_found() {
    let reuse = |action| {
        let mut story = Story::rotated(3)
            .aged()
            .with(rotate(1), grant("reuse_detected", None));
        story.last().settings.revokes = action;
        story
    };
    reuse(true).breaks(Rule::Ended);
    reuse(false).passes();
}

#[test]
fn a_family_that_ended_by_itself_is_found() {
    let mut story = Story::rotated(2);
    story.ended();
    story.breaks(Rule::Ended);
}

#[test]
fn a_revocation_that_was_rolled_back_and_stayed_is_found() {
    let mut story = Story::rotated(2).revoked();
    story.last().outcome = Outcome::RolledBack;
    story.breaks(Rule::Ended);
    story.last().outcome = Outcome::Unknown;
    story.passes();
}

#[test]
fn a_broken_invariant_is_found() {
    let mut story = Story::rotated(2);
    story
        .tables
        .broken
        .push(("it holds".into(), SESSION.to_string()));
    story.breaks(Rule::Invariant);
}

// ---- what a call may be answered ---------------------------------------------------------------------

#[test]
fn a_rotation_after_a_revocation_is_found() {
    let escape = |answer| Story::rotated(2).revoked().with(rotate(2), answer);
    let mut story = escape(grant("rotated", Some(3)));
    story.row(3, Some(2));
    story.ended();
    story.breaks(Rule::NoEscape);
    escape(grant("unchanged", Some(2))).breaks(Rule::NoEscape);
    escape(grant("reuse_detected", None)).breaks(Rule::NoEscape);
    escape(grant("revoked", None)).passes();
}

#[test]
fn a_rotation_that_overlaps_with_a_revocation_may_come_first_or_second() {
    let mut first = Story::rotated(2)
        .revoked()
        .with(rotate(2), grant("rotated", Some(3)))
        .overlapping();
    first.row(3, Some(2));
    first.ended();
    first.passes();
    let second = Story::rotated(2)
        .revoked()
        .with(rotate(2), grant("revoked", None))
        .overlapping();
    second.passes();
}

#[test]
fn a_retry_that_brings_a_revoked_family_back_is_found() {
    let retry = |answer| Story::rotated(3).revoked().with(rotate(2), answer);
    retry(grant("retried", Some(3))).breaks(Rule::NoEscape);
    retry(grant("revoked", None)).passes();
}

#[test]
fn a_revoked_session_that_is_said_to_be_live_is_found() {
    let story = Story::rotated(2).revoked();
    story
        .with(Action::IsLive { session: SESSION }, Answer::Live(true))
        .breaks(Rule::NoEscape);
}

#[test]
fn a_token_issued_into_a_revoked_session_is_found() {
    let issue = Action::Issue {
        user: USER.into(),
        session: SESSION,
    };
    let mut story = Story::rotated(2)
        .revoked()
        .with(issue.clone(), grant("issued", Some(3)));
    story.row(3, None);
    story.ended();
    story.breaks(Rule::NoEscape);
    let refused = Story::rotated(2)
        .revoked()
        .with(issue, Answer::Error("55000".into()));
    refused.passes();
}

#[test]
fn a_retry_that_gets_another_token_than_the_live_one_is_found() {
    let retry = |answer| Story::rotated(4).with(rotate(2), answer);
    retry(grant("retried", Some(4))).passes();
    retry(grant("retried", Some(3))).breaks(Rule::SameChild);
    retry(grant("retried", None)).breaks(Rule::SameChild);
}

#[test]
fn a_retry_that_is_taken_for_a_theft_is_found() {
    let mut story = Story::rotated(2).with(rotate(1), grant("reuse_detected", None));
    story.ended();
    story.breaks(Rule::SameChild);
}

#[test]
fn a_retry_after_a_lost_answer_is_served_one_way_or_the_other() {
    let lost = |answer| {
        let mut story = Story::login()
            .with(rotate(1), Answer::Lost)
            .with(rotate(1), answer);
        story.history.calls[1].outcome = Outcome::Unknown;
        story.row(2, Some(1));
        story
    };
    lost(grant("rotated", Some(2))).passes();
    lost(grant("retried", Some(2))).passes();
    lost(grant("revoked", None)).breaks(Rule::SameChild);
}

#[test]
fn of_two_lost_answers_either_may_have_been_the_one_that_detected_a_reuse() {
    let mut story = Story::login();
    for _ in 0..2 {
        story.call(rotate(1), Answer::Lost).outcome = Outcome::Unknown;
        story.last().settings.reuse_interval = 0;
    }
    story.row(2, Some(1));
    story.ended();
    story.with(rotate(1), grant("revoked", None)).passes();
}

#[test]
fn a_retry_that_no_window_covers_is_found() {
    let thief = |answer| Story::rotated(3).aged().with(rotate(1), answer);
    thief(grant("retried", Some(3))).breaks(Rule::Theft);
    thief(grant("revoked", None)).breaks(Rule::Theft);
    let mut detected = thief(grant("reuse_detected", None));
    detected.ended();
    detected.passes();
}

#[test]
fn only_the_parent_of_the_live_token_has_a_lost_response() {
    let retry = |of, answer| {
        let mut story = Story::rotated(3).aged().with(rotate(of), answer);
        story.last().settings.lost_response_interval = -1;
        story
    };
    retry(2, grant("retried", Some(3))).passes();
    retry(1, grant("retried", Some(3))).breaks(Rule::Theft);
}

#[test]
fn only_what_kept_the_key_can_be_derived() {
    let retry = |answer| {
        let mut story = Story::rotated(3).with(rotate(1), answer);
        story.history.calls[2].settings.reuse_interval = 0;
        story
    };
    retry(grant("revoked", None)).passes();
    retry(grant("retried", Some(3))).breaks(Rule::Allowed);
}

#[test]
fn a_live_token_that_is_refused_is_found() {
    for status in ["revoked", "not_found", "expired"] {
        Story::rotated(2)
            .with(rotate(2), grant(status, None))
            .breaks(Rule::Served);
    }
    let mut story = Story::rotated(2).with(rotate(2), grant("reuse_detected", None));
    story.ended();
    story.breaks(Rule::Served);
}

#[test]
fn a_use_that_rotates_although_rotation_is_off_is_found() {
    let mut story = Story::rotated(2);
    story.last().settings.rotation = false;
    story.breaks(Rule::Served);
}

#[test]
fn an_expired_token_that_is_used_is_found() {
    let expired = || Story::rotated(2).with(Action::Expire { session: SESSION }, Answer::Done);
    expired().with(rotate(2), grant("expired", None)).passes();
    let mut story = expired().with(rotate(2), grant("rotated", Some(3)));
    story.row(3, Some(2));
    story.breaks(Rule::Allowed);
}

#[test]
fn a_token_used_by_another_client_is_found() {
    let impostor = Action::Rotate {
        token: token(2),
        client: Some("impostor".into()),
    };
    Story::rotated(2)
        .with(impostor.clone(), grant("client_mismatch", None))
        .passes();
    Story::rotated(2)
        .with(impostor, grant("unchanged", Some(2)))
        .breaks(Rule::Allowed);
}

#[test]
fn a_token_of_nobody_that_is_known_is_found() {
    let nobody = Action::Rotate {
        token: "pgrt_x".into(),
        client: None,
    };
    let garbage = Action::Rotate {
        token: "garbage".into(),
        client: None,
    };
    let refused = |status: &str| {
        let Answer::Grant(mut grant) = grant(status, None) else {
            unreachable!("it is a grant")
        };
        grant.session_id = None;
        Answer::Grant(grant)
    };
    let right = Story::login()
        .with(nobody.clone(), refused("not_found"))
        .with(garbage.clone(), refused("malformed"));
    right.passes();
    Story::login()
        .with(nobody, refused("revoked"))
        .breaks(Rule::Allowed);
    Story::login()
        .with(garbage, refused("not_found"))
        .breaks(Rule::Allowed);
}

#[test]
fn a_wrong_count_is_found() {
    let revoke = || Action::RevokeToken { token: token(1) };
    Story::rotated(2)
        .revoked()
        .with(revoke(), Answer::Count(0))
        .passes();
    Story::rotated(2)
        .revoked()
        .with(revoke(), Answer::Count(1))
        .breaks(Rule::Allowed);
    let mut story = Story::rotated(2).with(revoke(), Answer::Count(0));
    story.ended();
    story.breaks(Rule::Allowed);
}

#[test]
fn an_error_that_the_design_does_not_know_is_found() {
    let mut story = Story::rotated(2).with(rotate(2), Answer::Error("40001".into()));
    story.last().outcome = Outcome::RolledBack;
    story.breaks(Rule::Errors);
    let snapshot = story.last().begin;
    story.last().snapshot = Some(snapshot);
    story.passes();
    story.last().answer = Answer::Error("40P01".into());
    story.breaks(Rule::Errors);
}

#[test]
fn what_only_reads_sees_its_snapshot() {
    let explain = Action::Explain { token: token(2) };
    let mut story = Story::rotated(2)
        .revoked()
        .with(explain, grant("rotated", None));
    story.breaks(Rule::NoEscape);
    let before = story.history.calls[2].begin;
    story.last().snapshot = Some(before);
    story.passes();
}

#[test]
fn a_transaction_sees_what_it_did_itself() {
    let mut story = Story::rotated(2)
        .revoked()
        .with(rotate(2), grant("rotated", Some(3)));
    story.row(3, Some(2));
    story.ended();
    for call in &mut story.history.calls[2..] {
        call.transaction = 99;
    }
    story.breaks(Rule::NoEscape);
    story.history.calls[2].undone = Some(story.history.calls[2].settled);
    story.tables.rows[2].revoked = false;
    story.tables.ended.clear();
    story.passes();
}

// ---- the report --------------------------------------------------------------------------------------

#[test]
fn the_report_has_the_seed_and_the_familys_calls_up_to_the_wrong_one() {
    let mut story = Story::rotated(3)
        .with(rotate(2), grant("retried", Some(2)))
        .with(rotate(3), grant("rotated", Some(4)));
    story.row(4, Some(3));
    let findings = check(&story.history, &story.tables);
    let text = report(&story.history, &story.tables, &findings.violations[0]);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].ends_with("an honest retry gets the same child"),
        "{text}"
    );
    assert!(text.contains("seed    42"), "{text}");
    assert!(text.contains("rotate #1 as None -> rotated #2"), "{text}");
    assert!(
        lines[lines.len() - 1].ends_with("rotate #2 as None -> retried #2"),
        "{text}"
    );
    assert!(!text.contains("pgrt_"), "{text}");
}
