//! Contenders of one statement.

use super::{Held, Refresher, random_digest};
use postgres::{Client, Error, Statement};

/// One CTE without a check.
pub struct Floor(Statement);

impl Floor {
    /// Prepares it.
    pub fn prepare(client: &mut Client) -> Result<Self, Error> {
        client.prepare(include_str!("floor.sql")).map(Self)
    }
}

impl Refresher for Floor {
    fn refresh(&mut self, client: &mut Client, held: &mut Held) -> Result<(), Error> {
        let child = random_digest();
        client.query_one(&self.0, &[&held.token, &child])?;
        held.token = child;
        Ok(())
    }
}

/// A function that answers with a grant.
pub struct Function(Statement);

impl Function {
    /// Prepares `call`, of which the token is `$1`.
    pub fn prepare(client: &mut Client, call: &str) -> Result<Self, Error> {
        let sql = format!("SELECT status::text AS status, refresh_token FROM {call}");
        client.prepare(&sql).map(Self)
    }
}

impl Refresher for Function {
    fn refresh(&mut self, client: &mut Client, held: &mut Held) -> Result<(), Error> {
        let row = client.query_one(&self.0, &[&held.token])?;
        let status: &str = row.get("status");
        assert_eq!(status, "rotated", "a live token is rotated");
        held.token = row.get("refresh_token");
        Ok(())
    }
}
