//! What the tests outside the server share: throw-away clusters of the PostgreSQL in
//! `REFRESH_TOKENS_PG_BIN`, and what an application does with a token.

mod cluster;
pub mod format;
pub mod history;
mod invariants;
mod pgbouncer;
pub mod postgrest;
mod race;
pub mod random;
mod state;
mod statements;
mod token;

pub use cluster::{Cluster, Database, install};
pub use invariants::{
    INVARIANTS, assert_indexes, assert_invariants, broken_invariants, miscounted_sessions,
};
pub use pgbouncer::PgBouncer;
pub use race::{
    Racer, Racers, backend_pid, in_transaction, signal, until_serialized, wait_for_connection,
    wait_for_replay, wait_until, waits,
};
pub use state::{contents, pass_time};
pub use statements::{Statement, by_statements, counting_database, inner_statements};
pub use token::{Grant, call, error_code, explain, issue, revoke, rotate, rotate_as};
