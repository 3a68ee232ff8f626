//! How fast a malformed token is refused.

use super::microseconds;
use crate::load::Target;
use crate::plan::Plan;
use crate::progress;
use crate::results::Refusal;
use crate::server::Backend;
use postgres::{Client, Error, Statement};
use std::time::{Duration, Instant};

/// Functions that do nothing: the same signature, called the same way. One has the attributes that a
/// function with its owner's rights needs.
const NOTHING: &str = "
    CREATE SCHEMA IF NOT EXISTS bench;
    CREATE FUNCTION bench.nothing(token text, client_id text DEFAULT NULL, user_agent text DEFAULT NULL, ip inet DEFAULT NULL)
    RETURNS auth.refresh_token_grant LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE FUNCTION bench.nothing_definer(token text, client_id text DEFAULT NULL, user_agent text DEFAULT NULL, ip inet DEFAULT NULL)
    RETURNS auth.refresh_token_grant LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'BEGIN RETURN NULL; END';
";

/// What a function is called in the report, and its name.
const CALLED: [(&str, &str); 3] = [
    (
        "rotate_refresh_token, malformed",
        "auth.rotate_refresh_token",
    ),
    ("does nothing", "bench.nothing"),
    (
        "does nothing, SECURITY DEFINER, search_path set",
        "bench.nothing_definer",
    ),
];

/// Calls of one function in a row.
const TURN: u32 = 50;

/// How fast a malformed token is refused, beside functions that do nothing.
///
/// # Errors
/// As the server raises them.
pub fn refusals(target: &mut Target, plan: Plan) -> Result<Vec<Refusal>, Error> {
    target.admin.batch_execute(NOTHING)?;
    let mut client = target.connect()?;
    let backend = Backend::of(&mut client)?;
    let mut statements = Vec::new();
    let mut refusals = Vec::new();
    for (name, function) in CALLED {
        statements.push(client.prepare(&format!("SELECT status::text FROM {function}($1)"))?);
        refusals.push(Refusal {
            name,
            rate: Vec::new(),
            cpu: Vec::new(),
        });
    }
    for round in plan.with_warm_up() {
        progress::show(format!("refusals: {round}"));
        let spent = take_turns(&mut client, backend, &statements, plan)?;
        if round.counts() {
            for (refusal, spent) in refusals.iter_mut().zip(spent) {
                refusal.rate.push(spent.calls / spent.time.as_secs_f64());
                refusal.cpu.push(microseconds(spent.cpu, spent.calls));
            }
        }
    }
    Ok(refusals)
}

/// What the calls of one function took.
#[derive(Clone, Default)]
struct Spent {
    time: Duration,
    cpu: Duration,
    calls: f64,
}

/// Turns so short that what disturbs the machine disturbs all of them.
fn take_turns(
    client: &mut Client,
    backend: Backend,
    statements: &[Statement],
    plan: Plan,
) -> Result<Vec<Spent>, Error> {
    // As long as a token, so that it isn't the length that gives it away.
    let garbage = format!("pgrt_{}", "a".repeat(63));
    let mut spent = vec![Spent::default(); statements.len()];
    let start = Instant::now();
    while start.elapsed() < plan.duration() {
        for (statement, spent) in statements.iter().zip(&mut spent) {
            let (begin, cpu) = (Instant::now(), backend.cpu());
            for _ in 0..TURN {
                client.query_one(statement, &[&garbage])?;
            }
            spent.time += begin.elapsed();
            spent.cpu += backend.cpu() - cpu;
            spent.calls += f64::from(TURN);
        }
    }
    Ok(spent)
}
