//! The rules, and whether a history and the tables that it left keep them.

use super::call::{Action, Answer, History, Moment, Outcome};
use super::family::{Family, Seen, Sure, World};
use super::tables::{Row, Tables};
use super::verdict::{Allowed, allowed_stray};
use crate::INVARIANTS;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A committed answer with a new token: that token is a row, and the one child of its parent.
    OneChild,
    /// What was rolled back left no row.
    NoTrace,
    /// Every row was minted by a call.
    Explained,
    /// A committed end leaves nothing live, and nothing ends by itself.
    Ended,
    /// A call that began after the commit of a revocation returned got no usable token.
    NoEscape,
    /// An honest retry gets the same child, however often and from wherever.
    SameChild,
    /// An old token outside of its windows is taken for stolen.
    Theft,
    /// The holder of the live token is served.
    Served,
    /// Any other answer is one that the design allows.
    Allowed,
    /// A call fails only where the design says so.
    Errors,
    /// The invariants that are queries.
    Invariant,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What broke a rule, in the order in which it happened.
    pub violations: Vec<Violation>,
    /// How often each rule had something to say.
    pub checked: BTreeMap<Rule, usize>,
    /// How many answers were the only one allowed.
    pub decided: usize,
}

/// Something that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The family that it happened to, if it is known.
    pub session: Option<Uuid>,
    /// When it had happened.
    pub until: Moment,
    /// What is wrong.
    pub what: String,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 11] = [
        Self::OneChild,
        Self::NoTrace,
        Self::Explained,
        Self::Ended,
        Self::NoEscape,
        Self::SameChild,
        Self::Theft,
        Self::Served,
        Self::Allowed,
        Self::Errors,
        Self::Invariant,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneChild => {
                "a committed rotation has exactly one child row, the one it answered with"
            }
            Self::NoTrace => "what was rolled back left no row",
            Self::Explained => "every row was minted by a call",
            Self::Ended => "a committed end leaves nothing live, and nothing ends by itself",
            Self::NoEscape => {
                "no call that began after a revocation was committed got a usable token"
            }
            Self::SameChild => "an honest retry gets the same child",
            Self::Theft => "a stolen token is detected",
            Self::Served => "the holder of the live token is served",
            Self::Allowed => "an answer is one that the design allows",
            Self::Errors => "a call fails only where the design says so",
            Self::Invariant => "the invariants hold",
        })
    }
}

impl Findings {
    /// Notes that `rule` was looked at, and a violation unless it is kept.
    fn note(
        &mut self,
        rule: Rule,
        kept: bool,
        violation: impl FnOnce() -> (Option<Uuid>, Moment, String),
    ) {
        *self.checked.entry(rule).or_default() += 1;
        if !kept {
            let (session, until, what) = violation();
            self.violation(rule, session, until, what);
        }
    }

    fn violation(&mut self, rule: Rule, session: Option<Uuid>, until: Moment, what: String) {
        self.violations.push(Violation {
            rule,
            session,
            until,
            what,
        });
    }
}

/// Compares a history and the tables that it left with the rules.
pub fn check(history: &History, tables: &Tables) -> Findings {
    let world = World::new(history, tables);
    let mut findings = Findings::default();
    let families = world.families();
    for family in &families {
        for seen in &family.calls {
            let allowed = family.allowed(seen);
            let rule = rule(family, seen, &allowed);
            check_answer(Some(family.session), seen, &allowed, rule, &mut findings);
            check_rows(family, seen, &mut findings);
        }
        check_end(family, tables, &mut findings);
    }
    for seen in world.strays() {
        check_answer(
            None,
            seen,
            &allowed_stray(seen),
            Rule::Allowed,
            &mut findings,
        );
    }
    findings.checked.insert(Rule::Explained, tables.rows.len());
    for row in world.unexplained() {
        let what = format!("token {} is a row, and no call minted it", row.id);
        findings.violation(
            Rule::Explained,
            Some(row.session),
            last(&families, row.session),
            what,
        );
    }
    findings.checked.insert(Rule::Invariant, INVARIANTS.len());
    for (invariant, broken) in &tables.broken {
        let session = tables
            .rows
            .iter()
            .find(|row| names(broken, row))
            .map(|row| row.session);
        let until = session.map_or_else(Moment::default, |session| last(&families, session));
        findings.violation(
            Rule::Invariant,
            session,
            until,
            format!("not so: {invariant}"),
        );
    }
    findings.violations.sort_by_key(|violation| violation.until);
    findings
}

/// Whether a call was answered as it may be, which `rule` says, and nothing if it is empty.
fn check_answer(
    session: Option<Uuid>,
    seen: &Seen<'_>,
    allowed: &[Allowed<'_>],
    rule: Rule,
    findings: &mut Findings,
) {
    let (rule, excused) = match &seen.answer {
        Answer::Lost => return,
        Answer::Error(code) => (Rule::Errors, seen.snapshot.is_some() && code == "40001"),
        _ if allowed.is_empty() => return,
        _ => (rule, false),
    };
    findings.decided += usize::from(allowed.len() == 1);
    let kept = excused || allowed.iter().any(|allowed| allowed.is(seen));
    findings.note(rule, kept, || (session, seen.end, wrong(seen, allowed)));
}

/// The rule that makes it so.
fn rule(family: &Family<'_>, seen: &Seen<'_>, allowed: &[Allowed<'_>]) -> Rule {
    let is = |one: &Allowed<'_>, of: &[&str]| matches!(one, Allowed::Status(status, _) if of.contains(status));
    let some = |of: &[&str]| allowed.iter().any(|one| is(one, of));
    let only = |of: &[&str]| allowed.iter().all(|one| is(one, of));
    let presents = matches!(seen.action, Action::Rotate { .. } | Action::Explain { .. });
    let uses = presents || matches!(seen.action, Action::Issue { .. } | Action::IsLive { .. });
    if uses && family.is_ended(seen) == Sure::Yes {
        Rule::NoEscape
    } else if !presents {
        Rule::Allowed
    } else if only(&["rotated", "unchanged", "retried"]) {
        if some(&["retried"]) {
            Rule::SameChild
        } else {
            Rule::Served
        }
    } else if some(&["reuse_detected"]) && only(&["reuse_detected", "revoked"]) {
        Rule::Theft
    } else {
        Rule::Allowed
    }
}

/// Whether the rows show a token that a call minted, or not if it was rolled back.
fn check_rows(family: &Family<'_>, seen: &Seen<'_>, findings: &mut Findings) {
    let Some(grant) = seen.answer.minted() else {
        return;
    };
    let row = family
        .rows
        .iter()
        .find(|row| Some(row.id) == grant.token_id);
    let here = |what: String| (Some(family.session), seen.settled, what);
    let id = grant.token_id.unwrap_or_default();
    if seen.is_void() {
        findings.note(Rule::NoTrace, row.is_none(), || {
            here(format!("token {id} was rolled back, and is a row"))
        });
    } else if seen.outcome == Outcome::Committed {
        let token = row.is_some_and(|row| Some(&row.token) == seen.answered.as_ref());
        findings.note(Rule::OneChild, token, || {
            here(format!("token {id} was answered, and is no row"))
        });
        if let Some(parent) = &seen.presented {
            let children: Vec<_> = (family.rows.iter())
                .filter(|row| row.parent.as_ref() == Some(parent))
                .map(|row| row.id)
                .collect();
            findings.note(Rule::OneChild, children == [id], || {
                here(format!(
                    "token {id} was answered, and the children of its parent are {children:?}"
                ))
            });
        }
    }
}

/// Whether the family lives if and only if nothing ended it.
fn check_end(family: &Family<'_>, tables: &Tables, findings: &mut Findings) {
    if family.rows.is_empty() {
        return;
    }
    let live: Vec<_> = (family.rows.iter())
        .filter(|row| !row.revoked)
        .map(|row| row.id)
        .collect();
    let ends: Vec<_> = (family.ends.iter())
        .filter(|(end, _)| !end.is_void() || end.may_outlive())
        .collect();
    let certain =
        (ends.iter()).find(|(end, sure)| *sure == Sure::Yes && end.outcome == Outcome::Committed);
    if let Some((end, _)) = certain {
        let minted = |seen: &&&Seen<'_>| {
            let grant = seen.answer.minted();
            grant.is_some_and(|grant| grant.token_id == live.last().copied())
        };
        let until = family
            .calls
            .iter()
            .find(minted)
            .map_or(end.settled, |seen| seen.settled.max(end.settled));
        let kept = live.is_empty() && tables.ended.contains(&family.session);
        findings.note(Rule::Ended, kept, || {
            let by = format!(
                "the call that began at {} ended the family",
                end.begin.order
            );
            (
                Some(family.session),
                until,
                format!("{by}, and live are the tokens {live:?}"),
            )
        });
    } else if ends.is_empty() {
        let until = family
            .calls
            .last()
            .map_or_else(Moment::default, |seen| seen.settled);
        findings.note(Rule::Ended, live.len() == 1, || {
            let what = format!("no call ended the family, and live are the tokens {live:?}");
            (Some(family.session), until, what)
        });
    }
}

/// Whether `broken`, which an invariant's query gave, is `row` or its session.
fn names(broken: &str, row: &Row) -> bool {
    broken == row.session.to_string()
        || broken == row.id.to_string()
        || Some(broken) == row.parent.as_deref()
}

/// When the last call to a family had ended.
fn last(families: &[Family<'_>], session: Uuid) -> Moment {
    let family = families.iter().find(|family| family.session == session);
    let calls = family.into_iter().flat_map(|family| &family.calls);
    calls.map(|seen| seen.settled).max().unwrap_or_default()
}

fn wrong(seen: &Seen<'_>, allowed: &[Allowed<'_>]) -> String {
    let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    format!(
        "answered {}, allowed is {}",
        seen.answer.word(),
        allowed.join(" or ")
    )
}

#[cfg(test)]
mod tests;
