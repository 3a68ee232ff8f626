//! The rotation once more, in PL/pgSQL, with the order of its locks right or wrong: what the checker
//! must let pass, or catch.

use crate::Database;

/// When an imitation locks what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOrder {
    /// The session's row, and then it reads: as the extension does.
    SessionFirst,
    /// The token's row instead of the session's: revocation waits for it, and misses the child.
    TokenInstead,
    /// The session's row, but what it read before is what it goes by.
    ReadFirst,
}

/// An imitation of `auth.rotate_refresh_token`.
pub struct Imitation;

impl Imitation {
    /// Installs it in a schema of its own, and gives the function's name. It works on the
    /// extension's tables, knows no settings and no expiry, and derives children without a key.
    pub fn install(database: &Database, order: LockOrder) -> &'static str {
        const TOKEN: &str =
            "PERFORM FROM auth.refresh_tokens t WHERE t.token = imitation.digest($1) FOR UPDATE;";
        const SESSION: &str = "
            PERFORM FROM auth.sessions s
              WHERE s.id = (SELECT t.session_id FROM auth.refresh_tokens t WHERE t.token = imitation.digest($1))
                FOR NO KEY UPDATE;";
        let (before, after) = match order {
            LockOrder::SessionFirst => (SESSION, ""),
            LockOrder::TokenInstead => (TOKEN, ""),
            LockOrder::ReadFirst => ("", SESSION),
        };
        let sql = include_str!("imitation.sql")
            .replace("/* lock before reading */", before)
            .replace("/* lock after reading */", after);
        let mut client = database.connect();
        client.batch_execute(&sql).expect("the imitation");
        // In a wrong order transactions wait for each other, which should not take the load's time.
        let sql = format!(
            "ALTER DATABASE {} SET deadlock_timeout = '10 ms'",
            database.name
        );
        client.batch_execute(&sql).expect("a setting");
        "imitation.rotate"
    }
}
