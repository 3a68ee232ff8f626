//! What broke a rule, for people who look for the reason.

use super::call::{Action, Call, History, Outcome, Settings};
use super::check::Violation;
use super::family::{Seen, World};
use super::tables::Tables;
use crate::format::digest;
use std::collections::HashMap;
use std::fmt::Write as _;

/// The violation, the seed, and the calls to the family up to the violation, a line each. No token:
/// they are named by the ids of their rows.
pub fn report(history: &History, tables: &Tables, violation: &Violation) -> String {
    let mut text = format!(
        "broken: {}\n        {}\nseed    {}\n",
        violation.rule, violation.what, history.seed
    );
    let world = World::new(history, tables);
    let families = world.families();
    let family = families
        .iter()
        .find(|family| Some(family.session) == violation.session);
    let calls: Vec<_> = match family {
        Some(family) => family.calls.clone(),
        None => world.strays().collect(),
    };
    let names = names(history, tables);
    let _ = writeln!(
        text,
        "begin..end, connection/transaction and its end: call, settings if not {:?} -> answer",
        Settings::USUAL
    );
    for seen in calls
        .into_iter()
        .filter(|seen| seen.begin <= violation.until)
    {
        let _ = writeln!(text, "{}", line(seen, &names));
    }
    text
}

fn line(seen: &Seen<'_>, names: &HashMap<String, i64>) -> String {
    let end = match (seen.undone, seen.outcome) {
        (Some(_), _) => "rolled back to savepoint".to_owned(),
        (None, Outcome::RolledBack) => "rolled back".to_owned(),
        (None, Outcome::Committed) => format!("committed by {}", seen.settled.order),
        (None, Outcome::Unknown) => format!("unknown, gone by {}", seen.settled.order),
    };
    let snapshot = seen
        .snapshot
        .map_or_else(String::new, |at| format!(", snapshot from {} on", at.order));
    let grant = seen.answer.grant();
    let token = seen
        .answered
        .as_ref()
        .map_or_else(String::new, |token| format!(" {}", name(token, names)));
    let reason = (grant.and_then(|grant| grant.reason.as_ref()))
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    format!(
        "{:>6}..{:<6} {:>2}/{:<6} {end}{snapshot}: {} -> {}{token}{reason}",
        seen.begin.order,
        seen.end.order,
        seen.connection,
        seen.transaction,
        call(seen, names),
        seen.answer.word(),
    )
}

fn call(call: &Call, names: &HashMap<String, i64>) -> String {
    let token = call
        .action
        .token()
        .map(|token| name(&digest(token), names))
        .unwrap_or_default();
    match &call.action {
        Action::Login { user, client } => format!("log in {user} {client:?}"),
        Action::Issue { .. } => "issue into the session".into(),
        Action::Rotate { client, .. } => {
            format!("rotate {token} as {client:?}{}", settings(call))
        }
        Action::Explain { .. } => format!("explain {token}{}", settings(call)),
        Action::RevokeToken { .. } => format!("revoke token {token}"),
        Action::RevokeFamily { .. } => format!("revoke family of {token}"),
        Action::RevokeSession { .. } => "revoke session".into(),
        Action::RevokeUser { user, .. } => format!("revoke {user}"),
        Action::IsLive { .. } => "is live?".into(),
        Action::Expire { .. } => "expire by hand".into(),
        Action::Age { by, .. } => format!("age by {} s", by.as_secs()),
    }
}

/// What is not as usual.
fn settings(call: &Call) -> String {
    let is = call.settings;
    let usual = Settings::USUAL;
    let mut text = String::new();
    if is.rotation != usual.rotation {
        text += " rotation=off";
    }
    if is.reuse_interval != usual.reuse_interval {
        let _ = write!(text, " reuse_interval={}", is.reuse_interval);
    }
    if is.lost_response_interval != usual.lost_response_interval {
        let _ = write!(
            text,
            " lost_response_interval={}",
            is.lost_response_interval
        );
    }
    if is.revokes != usual.revokes {
        text += " reuse_action=reject";
    }
    text
}

fn name(token: &str, names: &HashMap<String, i64>) -> String {
    names
        .get(token)
        .map_or_else(|| "nobody's".into(), |id| format!("#{id}"))
}

/// The ids of all tokens, by digest.
fn names(history: &History, tables: &Tables) -> HashMap<String, i64> {
    let answered = history.calls.iter().filter_map(|call| {
        let grant = call.answer.minted()?;
        Some((digest(grant.token.as_deref()?), grant.token_id?))
    });
    let rows = tables.rows.iter().map(|row| (row.token.clone(), row.id));
    answered.chain(rows).collect()
}
