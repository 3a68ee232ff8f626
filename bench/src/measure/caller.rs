//! Calls whose CPU is weighed one by one.

use super::microseconds;
use crate::contender::Held;
use crate::load::Target;
use crate::server::Backend;
use postgres::types::ToSql;
use postgres::{Client, Error, Statement};
use refresh_tokens_tests::format::unknown_token;
use std::time::Duration;
use uuid::Uuid;

/// A connection whose calls are weighed.
pub struct Caller {
    client: Client,
    backend: Backend,
}

/// A kind of call.
pub struct Kind {
    /// What the report calls it.
    pub name: &'static str,
    /// What is executed.
    pub sql: &'static str,
    /// Its argument.
    pub about: About,
    /// Whether it is rolled back.
    pub undone: bool,
}

/// What a call is about.
#[derive(Clone, Copy)]
pub enum About {
    /// A live token.
    Token,
    /// A token that is not in the table.
    Unknown,
    /// A session.
    Session,
    /// A user with sessions.
    User,
    /// A user without any.
    NewUser,
    /// So many rows.
    Batch,
}

/// Rows of a purge.
pub const BATCH: i32 = 1_000;

/// A rotation that leaves the table as it was.
pub const ROTATE: Kind = Kind {
    name: "rotate_refresh_token, rolled back",
    sql: "SELECT (auth.rotate_refresh_token($1)).token_id",
    about: About::Token,
    undone: true,
};

/// A user's sessions.
pub const LIST: Kind = Kind {
    name: "list_sessions, one session",
    sql: "SELECT count(*) FROM auth.list_sessions($1)",
    about: About::User,
    undone: false,
};

/// The end of a user's sessions.
pub const REVOKE_USER: Kind = Kind {
    name: "revoke_user_sessions, one session",
    sql: "SELECT auth.revoke_user_sessions($1)",
    about: About::User,
    undone: true,
};

impl Caller {
    /// One more connection to the database of `target`.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn connect(target: &Target) -> Result<Self, Error> {
        let mut client = target.connect()?;
        client.batch_execute("SET synchronous_commit = off; SET refresh_tokens.retention = 1")?;
        let backend = Backend::of(&mut client)?;
        Ok(Self { client, backend })
    }

    /// Prepares the statement of `kind`.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn prepare(&mut self, kind: &Kind) -> Result<Statement, Error> {
        self.client.prepare(kind.sql)
    }

    /// The CPU of a call in microseconds, the mean of `count`, each about something of `target`'s.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn weigh(
        &mut self,
        kind: &Kind,
        statement: &Statement,
        target: &mut Target,
        count: usize,
    ) -> Result<f64, Error> {
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            let argument = kind.about.argument(target.any_held());
            spent += self.weigh_one(statement, &*argument, kind.undone)?;
        }
        Ok(microseconds(spent, count as f64))
    }

    /// What `undone` calls do is rolled back, and their end is not weighed.
    fn weigh_one(
        &mut self,
        statement: &Statement,
        argument: &(dyn ToSql + Sync),
        undone: bool,
    ) -> Result<Duration, Error> {
        if undone {
            self.client.batch_execute("BEGIN")?;
        }
        let start = self.backend.cpu();
        self.client.query_one(statement, &[argument])?;
        let spent = self.backend.cpu() - start;
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
}
