//! What calls other than a rotation cost, and what they cost for users with many sessions.

use crate::contender::{Contender, Held};
use crate::fill::Size;
use crate::load::Target;
use crate::measure::Rounds;
use crate::report::Report;
use crate::server;
use postgres::types::ToSql;
use postgres::{Client, Error, Statement};
use refresh_tokens_tests::Cluster;
use refresh_tokens_tests::format::unknown_token;
use std::time::Duration;
use uuid::Uuid;

/// Server CPU in microseconds of calls of one kind, round by round.
pub struct Call {
    /// What is called.
    pub name: &'static str,
    /// A call, or what it gives: a purge is counted by the row.
    pub cpu: Vec<f64>,
}

/// What a call is about.
#[derive(Clone, Copy)]
enum About {
    Token,
    Unknown,
    Session,
    User,
    NewUser,
    Batch,
}

/// A kind of call: its name, the SQL, what it is about, and whether it is rolled back.
type Kind = (&'static str, &'static str, About, bool);

const KINDS: [Kind; 12] = [
    (
        "issue_refresh_token, a login",
        "SELECT (auth.issue_refresh_token($1)).token_id",
        About::NewUser,
        false,
    ),
    (
        "issue_refresh_token, into a session",
        "SELECT (auth.issue_refresh_token(user_id, id)).token_id FROM auth.sessions WHERE id = $1",
        About::Session,
        true,
    ),
    (
        "rotate_refresh_token, rolled back",
        "SELECT (auth.rotate_refresh_token($1)).token_id",
        About::Token,
        true,
    ),
    (
        "rotate_refresh_token, not found",
        "SELECT (auth.rotate_refresh_token($1)).token_id",
        About::Unknown,
        false,
    ),
    (
        "introspect_refresh_token",
        "SELECT auth.introspect_refresh_token($1)",
        About::Token,
        false,
    ),
    (
        "explain_refresh_token",
        "SELECT (auth.explain_refresh_token($1)).token_id",
        About::Token,
        false,
    ),
    (
        "is_session_live",
        "SELECT auth.is_session_live($1)",
        About::Session,
        false,
    ),
    (
        "list_sessions, one session",
        "SELECT count(*) FROM auth.list_sessions($1)",
        About::User,
        false,
    ),
    (
        "revoke_refresh_token",
        "SELECT auth.revoke_refresh_token($1)",
        About::Token,
        true,
    ),
    (
        "revoke_session",
        "SELECT auth.revoke_session($1)",
        About::Session,
        true,
    ),
    (
        "revoke_user_sessions, one session",
        "SELECT auth.revoke_user_sessions($1)",
        About::User,
        true,
    ),
    (
        "purge_refresh_tokens, per row of 1,000",
        "SELECT auth.purge_refresh_tokens($1)",
        About::Batch,
        true,
    ),
];

/// Calls of each kind in a round.
const CALLS: usize = 100;
/// Rows of a purge.
const BATCH: i32 = 1_000;

/// A connection whose calls are weighed one by one.
struct Scale {
    client: Client,
    pid: i32,
}

impl Scale {
    fn connect(target: &Target) -> Result<Self, Error> {
        let mut client = target.connect()?;
        client.batch_execute("SET synchronous_commit = off; SET refresh_tokens.retention = 1")?;
        let pid = server::backend(&mut client)?;
        Ok(Self { client, pid })
    }

    /// The CPU of one call; what `undone` calls do is rolled back, and their end is not weighed.
    fn weigh(
        &mut self,
        statement: &Statement,
        argument: &(dyn ToSql + Sync),
        undone: bool,
    ) -> Result<Duration, Error> {
        if undone {
            self.client.batch_execute("BEGIN")?;
        }
        let start = server::cpu_time(self.pid);
        self.client.query_one(statement, &[argument])?;
        let spent = server::cpu_time(self.pid) - start;
        if undone {
            self.client.batch_execute("ROLLBACK")?;
        }
        Ok(spent)
    }
}

impl About {
    fn argument(self, held: &Held) -> Box<dyn ToSql + Sync> {
        match self {
            Self::Token => Box::new(held.token.clone()),
            Self::Unknown => Box::new(unknown_token()),
            Self::Session => Box::new(held.session),
            Self::User => Box::new(held.user.to_string()),
            Self::NewUser => Box::new(Uuid::new_v4().to_string()),
            Self::Batch => Box::new(BATCH),
        }
    }

    /// Calls in a round, and what the cost is divided by.
    fn count(self) -> (usize, f64) {
        match self {
            Self::Batch => (1, f64::from(BATCH)),
            _ => (CALLS, CALLS as f64),
        }
    }
}

/// The costs of calls to `target`, the extension's, with one session a user.
///
/// # Errors
/// As the server raises them.
pub fn calls(target: &mut Target, plan: Rounds, report: &mut Report) -> Result<Vec<Call>, Error> {
    let mut scale = Scale::connect(target)?;
    let mut statements = Vec::new();
    let mut calls = Vec::new();
    for (name, sql, ..) in KINDS {
        statements.push(scale.client.prepare(sql)?);
        let cpu = Vec::new();
        calls.push(Call { name, cpu });
    }
    // The first round warms up.
    for round in 0..=plan.rounds {
        report.progress(&format!("other calls: round {round}"));
        for (((.., about, undone), statement), call) in
            KINDS.iter().zip(&statements).zip(&mut calls)
        {
            let (count, divisor) = about.count();
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                let held = fastrand::choice(&*target.held()).expect("a session");
                spent += scale.weigh(statement, &*about.argument(held), *undone)?;
            }
            if round > 0 {
                call.cpu.push(spent.as_secs_f64() * 1e6 / divisor);
            }
        }
    }
    Ok(calls)
}

/// Server CPU in microseconds of calls for users with some number of sessions, round by round.
pub struct User {
    /// Sessions of a user.
    pub sessions: usize,
    /// A rotation, rolled back.
    pub rotate: Vec<f64>,
    /// `list_sessions`, a session.
    pub list: Vec<f64>,
    /// `revoke_user_sessions`, a session; rolled back.
    pub revoke: Vec<f64>,
}

/// Calls for users with `numbers` of sessions, in tables of equally many sessions of one token each.
///
/// # Errors
/// As the server raises them.
pub fn users(
    cluster: &Cluster,
    numbers: &[usize],
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<User>, Error> {
    const SQL: [(&str, About, bool); 3] = [
        (KINDS[2].1, About::Token, true),
        (KINDS[7].1, About::User, false),
        (KINDS[10].1, About::User, true),
    ];
    let rows = numbers.iter().copied().max().unwrap_or(1);
    let mut targets = Vec::new();
    let mut users = Vec::new();
    for &sessions in numbers {
        report.progress(&format!("filling users of {sessions} sessions"));
        let size = Size::of(rows, 1).per_user(sessions);
        let target = Target::create(cluster, Contender::Extension, size)?;
        let mut scale = Scale::connect(&target)?;
        let statements = SQL.map(|(sql, ..)| scale.client.prepare(sql));
        targets.push((target, scale, statements));
        users.push(User {
            sessions,
            rotate: Vec::new(),
            list: Vec::new(),
            revoke: Vec::new(),
        });
    }
    for round in 0..=plan.rounds {
        for ((target, scale, statements), user) in targets.iter_mut().zip(&mut users) {
            report.progress(&format!(
                "users of {} sessions: round {round}",
                user.sessions
            ));
            let mut costs = [0.0; 3];
            for (((_, about, undone), statement), cost) in
                SQL.iter().zip(&*statements).zip(&mut costs)
            {
                let Ok(statement) = statement else { continue };
                // Equally many sessions for each number, and a user at the least.
                let (count, each) = match about {
                    About::User => (CALLS.div_ceil(user.sessions), user.sessions),
                    _ => (CALLS, 1),
                };
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    let held = fastrand::choice(&*target.held()).expect("a session");
                    spent += scale.weigh(statement, &*about.argument(held), *undone)?;
                }
                *cost = spent.as_secs_f64() * 1e6 / (count * each) as f64;
            }
            if round > 0 {
                user.rotate.push(costs[0]);
                user.list.push(costs[1]);
                user.revoke.push(costs[2]);
            }
        }
    }
    Ok(users)
}
