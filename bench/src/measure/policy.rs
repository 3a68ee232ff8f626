//! What a policy costs that asks for each row whether a session is live.

use super::microseconds;
use crate::load::Target;
use crate::plan::Plan;
use crate::progress;
use crate::results::Policy;
use crate::server::Backend;
use postgres::Error;

const NOTES: &str = "
    CREATE SCHEMA IF NOT EXISTS bench;
    CREATE ROLE bench_reader;
    GRANT USAGE ON SCHEMA bench, auth TO bench_reader;
    GRANT EXECUTE ON FUNCTION auth.is_session_live(uuid) TO bench_reader;
    CREATE TABLE bench.notes AS
        SELECT s.id AS session_id FROM auth.sessions AS s, generate_series(1, 100) LIMIT 100000;
    ALTER TABLE bench.notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY live ON bench.notes USING (auth.is_session_live(session_id));
    GRANT SELECT ON bench.notes TO bench_reader;
    VACUUM (ANALYZE) bench.notes;
";

/// Reads 100,000 rows with and without the policy.
///
/// # Errors
/// As the server raises them.
pub fn policy(target: &mut Target, plan: Plan) -> Result<Policy, Error> {
    for statement in NOTES.split_inclusive(';') {
        target.admin.batch_execute(statement)?;
    }
    let mut client = target.connect()?;
    client.batch_execute("SET max_parallel_workers_per_gather = 0")?;
    let backend = Backend::of(&mut client)?;
    let mut policy = Policy {
        rows: 0,
        without: Vec::new(),
        with: Vec::new(),
    };
    for round in plan.with_warm_up() {
        progress::show(format!("row level security: {round}"));
        for (role, costs) in [
            ("postgres", &mut policy.without),
            ("bench_reader", &mut policy.with),
        ] {
            client.batch_execute(&format!("SET ROLE {role}"))?;
            let start = backend.cpu();
            let row = client.query_one("SELECT count(*) FROM bench.notes", &[])?;
            let spent = backend.cpu() - start;
            policy.rows = row.get("count");
            if round.counts() {
                costs.push(microseconds(spent, policy.rows as f64));
            }
        }
    }
    Ok(policy)
}
