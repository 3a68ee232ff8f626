//! What calls other than a rotation cost.

use super::caller::{About, BATCH, Caller, Kind, LIST, REVOKE_USER, ROTATE};
use crate::load::Target;
use crate::plan::Plan;
use crate::progress;
use crate::results::Call;
use postgres::Error;

const KINDS: [Kind; 12] = [
    Kind {
        name: "issue_refresh_token, a login",
        sql: "SELECT (auth.issue_refresh_token($1)).token_id",
        about: About::NewUser,
        undone: false,
    },
    Kind {
        name: "issue_refresh_token, into a session",
        sql: "SELECT (auth.issue_refresh_token(user_id, id)).token_id FROM auth.sessions WHERE id = $1",
        about: About::Session,
        undone: true,
    },
    ROTATE,
    Kind {
        name: "rotate_refresh_token, not found",
        sql: "SELECT (auth.rotate_refresh_token($1)).token_id",
        about: About::Unknown,
        undone: false,
    },
    Kind {
        name: "introspect_refresh_token",
        sql: "SELECT auth.introspect_refresh_token($1)",
        about: About::Token,
        undone: false,
    },
    Kind {
        name: "explain_refresh_token",
        sql: "SELECT (auth.explain_refresh_token($1)).token_id",
        about: About::Token,
        undone: false,
    },
    Kind {
        name: "is_session_live",
        sql: "SELECT auth.is_session_live($1)",
        about: About::Session,
        undone: false,
    },
    LIST,
    Kind {
        name: "revoke_refresh_token",
        sql: "SELECT auth.revoke_refresh_token($1)",
        about: About::Token,
        undone: true,
    },
    Kind {
        name: "revoke_session",
        sql: "SELECT auth.revoke_session($1)",
        about: About::Session,
        undone: true,
    },
    REVOKE_USER,
    Kind {
        name: "purge_refresh_tokens, per row of 1,000",
        sql: "SELECT auth.purge_refresh_tokens($1)",
        about: About::Batch,
        undone: true,
    },
];

/// Calls of each kind in a round.
const CALLS: usize = 100;

/// The costs of calls to `target`, the extension's, with one session a user.
///
/// # Errors
/// As the server raises them.
pub fn calls(target: &mut Target, plan: Plan) -> Result<Vec<Call>, Error> {
    let mut caller = Caller::connect(target)?;
    let mut statements = Vec::new();
    let mut calls = Vec::new();
    for kind in &KINDS {
        statements.push(caller.prepare(kind)?);
        calls.push(Call {
            name: kind.name,
            cpu: Vec::new(),
        });
    }
    for round in plan.with_warm_up() {
        progress::show(format!("other calls: {round}"));
        for ((kind, statement), call) in KINDS.iter().zip(&statements).zip(&mut calls) {
            let cost = match kind.about {
                // By the row
                About::Batch => caller.weigh(kind, statement, target, 1)? / f64::from(BATCH),
                _ => caller.weigh(kind, statement, target, CALLS)?,
            };
            if round.counts() {
                call.cpu.push(cost);
            }
        }
    }
    Ok(calls)
}
