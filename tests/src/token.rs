//! What an application does with a token: calls a function with bind parameters, reads one row.

use postgres::types::ToSql;
use postgres::{Client, Error, GenericClient, Row};
use uuid::Uuid;

/// A row of `auth.refresh_token_grant`, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The status.
    pub status: String,
    /// The token to use from now on.
    pub token: Option<String>,
    /// Whose session it is.
    pub user_id: Option<String>,
    /// The session.
    pub session_id: Option<Uuid>,
    /// The token's id.
    pub token_id: Option<i64>,
    /// The reason.
    pub reason: Option<String>,
}

const COLUMNS: &str = "status::text, refresh_token, user_id, session_id, token_id, reason";

impl From<Row> for Grant {
    fn from(row: Row) -> Self {
        Self {
            status: row.get(0),
            token: row.get(1),
            user_id: row.get(2),
            session_id: row.get(3),
            token_id: row.get(4),
            reason: row.get(5),
        }
    }
}

impl Grant {
    /// The token of an answer that has one.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("an answer with a token")
    }

    /// The session of an answer that has one.
    pub fn session(&self) -> Uuid {
        self.session_id.expect("an answer with a session")
    }
}

/// A login of `user`.
///
/// # Panics
/// The call failed.
pub fn issue(client: &mut Client, user: &str) -> Grant {
    let sql = format!("SELECT {COLUMNS} FROM auth.issue_refresh_token($1)");
    client.query_one(&sql, &[&user]).expect("a login").into()
}

/// Ends the session of `grant`, and gives how many tokens were live till then.
///
/// # Panics
/// The call failed.
pub fn revoke(client: &mut Client, grant: &Grant) -> i64 {
    let sql = "SELECT auth.revoke_session($1)";
    let row = client.query_one(sql, &[&grant.session()]);
    row.expect("a logout").get(0)
}

/// Presents `token`.
///
/// # Errors
/// As the function raises them.
pub fn rotate(client: &mut impl GenericClient, token: &str) -> Result<Grant, Error> {
    rotate_as(client, token, None)
}

/// Presents `token` as the OAuth client `client_id`.
///
/// # Errors
/// As the function raises them.
pub fn rotate_as(
    client: &mut impl GenericClient,
    token: &str,
    client_id: Option<&str>,
) -> Result<Grant, Error> {
    let sql = format!("SELECT {COLUMNS} FROM auth.rotate_refresh_token($1, $2)");
    client
        .query_one(&sql, &[&token, &client_id])
        .map(Grant::from)
}

/// What a rotation of `token` would answer.
///
/// # Panics
/// The call failed.
pub fn explain(client: &mut impl GenericClient, token: &str) -> Grant {
    call(client, "explain_refresh_token($1)", &[&token]).expect("a verdict")
}

/// Calls a function of the schema `auth` that answers with a grant: `name(arguments)`.
///
/// # Errors
/// As the function raises them.
pub fn call(
    client: &mut impl GenericClient,
    function: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Grant, Error> {
    let sql = format!("SELECT {COLUMNS} FROM auth.{function}");
    client.query_one(&sql, parameters).map(Grant::from)
}

/// The SQLSTATE of a failed call.
pub fn error_code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.expect_err("the call must fail");
    error
        .code()
        .map_or_else(|| error.to_string(), |code| code.code().to_owned())
}
