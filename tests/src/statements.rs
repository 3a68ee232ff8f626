//! How many statements a call takes, and whether a rotation takes any.

use crate::{Cluster, Database};
use postgres::Client;
use std::sync::{Mutex, Weak};

static COUNTING: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// A database in a cluster that counts the statements inside functions, and how often they are planned.
///
/// # Panics
/// There is no such cluster to be had.
pub fn counting_database() -> Database {
    let cluster = Cluster::shared_with(
        &COUNTING,
        &[
            "shared_preload_libraries = 'pg_stat_statements'",
            "pg_stat_statements.track = 'all'",
            "pg_stat_statements.track_planning = on",
            "autovacuum = off",
        ],
    );
    let database = Database::create_in(&cluster);
    let sql = format!(
        "CREATE EXTENSION pg_stat_statements;
         ALTER DATABASE {} SET refresh_tokens.reuse_interval = '1 h'",
        database.name
    );
    database
        .connect()
        .batch_execute(&sql)
        .expect("the server's own extension");
    database
}

/// A statement inside functions: its text, how often it was run, how often it was planned.
pub type Statement = (String, i64, i64);

/// The statements inside functions since the last call. Without those of foreign keys, which are PostgreSQL's own.
///
/// # Panics
/// The connection is not to a [`counting_database`], or is no superuser's.
pub fn inner_statements(client: &mut Client) -> Vec<Statement> {
    let sql = "SELECT s.query, s.calls, s.plans
                 FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
                WHERE d.datname = current_database() AND NOT s.toplevel
                  AND s.query NOT LIKE 'SELECT % FROM ONLY %FOR KEY SHARE OF x'";
    let rows = client.query(sql, &[]).expect("a superuser may look");
    let statements = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2)));
    let statements = statements.collect();
    let reset = "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()";
    client.execute(reset, &[]).expect("a superuser may reset");
    statements
}

/// Has live tokens of this database rotated by statements: in this connection until it resets its settings, and in
/// those to come.
///
/// # Panics
/// The connection is no superuser's.
pub fn by_statements(client: &mut Client) {
    let sql = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET refresh_tokens.fast_path = off', current_database()); END $$;
               SET refresh_tokens.fast_path = off";
    client.batch_execute(sql).expect("a superuser may");
}
