//! What is left in the tables when a load is over.

use super::call::{Action, History, Outcome};
use crate::broken_invariants;
use postgres::Client;
use std::collections::HashSet;
use uuid::Uuid;

/// The tables after a load.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The tokens.
    pub rows: Vec<Row>,
    /// The sessions that are past their `not_after`.
    pub ended: HashSet<Uuid>,
    /// The invariants that don't hold, each with a row that breaks it.
    pub broken: Vec<(String, String)>,
}

/// A row of `auth.refresh_tokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its `id`.
    pub id: i64,
    /// Its `token`, a digest.
    pub token: String,
    /// Its `parent`, a digest.
    pub parent: Option<String>,
    /// Its `session_id`.
    pub session: Uuid,
    /// Its `user_id`.
    pub user: String,
    /// Its `revoked`.
    pub revoked: bool,
}

impl Tables {
    /// Reads them, in a database where nothing happened but `history`.
    pub fn read(client: &mut Client, history: &History) -> Self {
        let mut transaction = client.transaction().expect("a transaction");
        let rows = transaction.query(
            "SELECT id, token, parent, session_id, user_id, revoked FROM auth.refresh_tokens ORDER BY id",
            &[],
        );
        let ended = transaction.query(
            "SELECT id FROM auth.sessions WHERE not_after <= pg_catalog.clock_timestamp()",
            &[],
        );
        // A session that a hand let expire keeps its live token, which looks like a broken invariant.
        // So that is undone before these are looked at, and this transaction is rolled back.
        let by_hand: Vec<_> = (history.calls.iter())
            .filter(|call| call.outcome != Outcome::RolledBack)
            .filter_map(|call| match call.action {
                Action::Expire { session } => Some(session),
                _ => None,
            })
            .collect();
        let undone = transaction.execute(
            "UPDATE auth.sessions s SET not_after = NULL
              WHERE s.id = ANY ($1)
                AND EXISTS (SELECT FROM auth.refresh_tokens t WHERE t.session_id = s.id AND NOT t.revoked)",
            &[&by_hand],
        );
        undone.expect("a superuser may write");
        let broken = broken_invariants(&mut transaction);
        Self {
            rows: (rows.expect("a superuser may look").iter())
                .map(|row| Row {
                    id: row.get(0),
                    token: row.get(1),
                    parent: row.get(2),
                    session: row.get(3),
                    user: row.get(4),
                    revoked: row.get(5),
                })
                .collect(),
            ended: (ended.expect("a superuser may look").iter())
                .map(|row| row.get(0))
                .collect(),
            broken: (broken.into_iter())
                .map(|(invariant, row)| (invariant.to_owned(), row))
                .collect(),
        }
    }
}
