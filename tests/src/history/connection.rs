//! A connection that can vanish between a request and its answer.

use super::call::{Action, Answer};
use crate::format::digest;
use crate::{Database, Grant, wait_until};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls};
use uuid::Uuid;

/// A connection as the superuser. Nothing reads from it or writes to it but the thread that calls it,
/// so dropping it is what a crash of the client is: the socket closes, whatever is under way.
pub(super) struct Connection {
    client: Client,
    runtime: Runtime,
    /// Its backend's process id.
    pub(super) pid: i32,
}

impl Connection {
    /// A new connection, once the server takes one.
    pub(super) fn open(database: &Database) -> Self {
        let mut config = Config::new();
        config
            .host_path(database.cluster().socket())
            .dbname(&database.name)
            .user("postgres");
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut connected = None;
        wait_until("the server takes a connection", || {
            connected = runtime.block_on(connect(&config)).ok();
            connected.is_some()
        });
        let (client, pid) = connected.expect("a connection");
        Self {
            client,
            runtime,
            pid,
        }
    }

    /// Runs `sql`, which has no answer.
    pub(super) fn execute(&self, sql: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.batch_execute(sql))
    }

    /// Makes a call; `rotate` is the function that rotates.
    pub(super) fn call(&self, rotate: &str, action: &Action) -> Result<Answer, Error> {
        self.runtime.block_on(ask(&self.client, rotate, action))
    }

    /// Whether the backend `pid` of this database is gone.
    pub(super) fn is_gone(&self, pid: i32) -> Result<bool, Error> {
        const SQL: &str =
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1)";
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&pid, Type::INT4)];
        let row = self.client.query_typed_one(SQL, &parameters);
        Ok(self.runtime.block_on(row)?.get(0))
    }

    /// Ends the backend `pid` of this database, if there is one.
    pub(super) fn terminate(&self, pid: i32) -> Result<(), Error> {
        const SQL: &str =
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                            WHERE pid = $1 AND datname = pg_catalog.current_database()";
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&pid, Type::INT4)];
        let rows = self.client.query_typed(SQL, &parameters);
        self.runtime.block_on(rows).map(drop)
    }

    /// Makes a call and is gone after so long, whether or not the answer is there.
    pub(super) fn vanish_in_call(self, rotate: &str, action: &Action, after: Duration) {
        let asked = async { timeout(after, ask(&self.client, rotate, action)).await };
        let _ = self.runtime.block_on(asked);
    }

    /// Sends COMMIT and is gone after so long, whether or not the answer is there.
    pub(super) fn vanish_in_commit(self, after: Duration) {
        let asked = async { timeout(after, self.client.batch_execute("COMMIT")).await };
        let _ = self.runtime.block_on(asked);
    }
}

async fn connect(config: &Config) -> Result<(Client, i32), Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    let row = client.query_typed_one("SELECT pg_catalog.pg_backend_pid()", &[]);
    let pid = row.await?.get(0);
    Ok((client, pid))
}

/// One call, in one round trip.
async fn ask(client: &Client, rotate: &str, action: &Action) -> Result<Answer, Error> {
    if let Action::Age { session, by } = *action {
        client.batch_execute(&age(session, by)).await?;
        return Ok(Answer::Done);
    }
    // As `From<Row> for Grant` reads them.
    const GRANT: &str = "status::text, refresh_token, user_id, session_id, token_id, reason";
    const TEXT: Type = Type::TEXT;
    const UUID: Type = Type::UUID;
    let stored = action.token().map(digest);
    let (sql, parameters): (String, Vec<(&(dyn ToSql + Sync), Type)>) = match action {
        Action::Login { user, client } => (
            format!("SELECT {GRANT} FROM auth.issue_refresh_token($1, client_id => $2)"),
            vec![(user, TEXT), (client, TEXT)],
        ),
        Action::Issue { user, session } => (
            format!("SELECT {GRANT} FROM auth.issue_refresh_token($1, $2)"),
            vec![(user, TEXT), (session, UUID)],
        ),
        Action::Rotate { token, client } => (
            format!("SELECT {GRANT} FROM {rotate}($1, $2)"),
            vec![(token, TEXT), (client, TEXT)],
        ),
        Action::Explain { token } => (
            format!("SELECT {GRANT} FROM auth.explain_refresh_token($1)"),
            vec![(token, TEXT)],
        ),
        Action::RevokeToken { token } => (
            "SELECT auth.revoke_refresh_token($1)".into(),
            vec![(token, TEXT)],
        ),
        Action::RevokeFamily { .. } => (
            "SELECT auth.revoke_token_family($1)".into(),
            vec![(&stored, TEXT)],
        ),
        Action::RevokeSession { session } => (
            "SELECT auth.revoke_session($1)".into(),
            vec![(session, UUID)],
        ),
        Action::RevokeUser { user, except } => (
            "SELECT auth.revoke_user_sessions($1, $2)".into(),
            vec![(user, TEXT), (except, UUID)],
        ),
        Action::IsLive { session } => (
            "SELECT auth.is_session_live($1)".into(),
            vec![(session, UUID)],
        ),
        Action::Expire { session } | Action::Age { session, .. } => (
            "UPDATE auth.sessions SET not_after = pg_catalog.clock_timestamp() WHERE id = $1 RETURNING id".into(),
            vec![(session, UUID)],
        ),
    };
    let row = client.query_typed_one(&sql, &parameters).await?;
    Ok(match action {
        Action::IsLive { .. } => Answer::Live(row.get(0)),
        Action::Expire { .. } | Action::Age { .. } => Answer::Done,
        _ if sql.contains(GRANT) => Answer::Grant(Grant::from(row)),
        _ => Answer::Count(row.get(0)),
    })
}

/// Statements of one transaction, each with a snapshot of its own: the tokens are read after the
/// session is locked.
fn age(session: Uuid, by: Duration) -> String {
    let by = by.as_secs();
    format!(
        "UPDATE auth.sessions
            SET created_at = created_at - '{by} s'::interval,
                updated_at = updated_at - '{by} s'::interval,
                refreshed_at = refreshed_at - '{by} s'::interval,
                not_after = not_after - '{by} s'::interval
          WHERE id = '{session}';
         UPDATE auth.refresh_tokens
            SET created_at = created_at - '{by} s'::interval,
                updated_at = updated_at - '{by} s'::interval
          WHERE session_id = '{session}'"
    )
}
