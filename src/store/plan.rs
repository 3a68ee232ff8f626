//! Statements that are planned once per backend and kept.

use super::ownership;
use crate::error::Error;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::{BuiltinOid, PgOid};
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiTupleTable};
use std::cell::OnceCell;
use std::ffi::CString;
use std::thread::LocalKey;

/// The kept form of a plan. A leaked reference and no owned value: an ERROR may leave any frame by a
/// jump, and a backend's exit must not free a plan whose memory is gone already.
pub(super) type Kept = OnceCell<&'static Prepared>;

/// A statement that has been planned.
pub(super) struct Prepared {
    statement: OwnedPreparedStatement,
    /// The relations of ours that its text names.
    relations: Vec<CString>,
}

/// A statement of `store/*.sql` and the types of its parameters.
///
/// An array is written `ANY ((SELECT $1)::type[])`: of a bare parameter the planner would look at the
/// length, find a short array worth a plan of its own, and so plan at every call.
///
/// The types are built-in ones only: a kept plan outlives a DROP and CREATE EXTENSION in the same
/// backend (PostgreSQL analyses its text anew), but the OIDs of the extension's own types don't.
pub(super) struct Plan {
    pub(super) sql: &'static str,
    pub(super) parameters: &'static [BuiltinOid],
    /// Whether it sees what was committed before it began (under READ COMMITTED). What writes or locks
    /// must, and what reads under a lock: that is what makes the lock worth anything. If not, it sees
    /// what the calling statement sees, as a STABLE function should.
    pub(super) fresh: bool,
    pub(super) kept: &'static LocalKey<Kept>,
}

impl Plan {
    /// Runs the statement, if what it names belongs to the current user.
    ///
    /// It takes no transaction id before it has something to write, which is why this is `select`
    /// even for what writes: `SpiClient::update` would spend one on each refused token.
    ///
    /// # Errors
    /// 55000 for a relation of somebody else's, before the statement is looked at.
    pub(super) fn run<'c>(
        &self,
        client: &SpiClient<'c>,
        arguments: &[DatumWithOid<'_>],
    ) -> Result<SpiTupleTable<'c>, Error> {
        let prepared = match self.kept.with(|kept| kept.get().copied()) {
            Some(kept) => {
                ownership::check(&kept.relations)?;
                kept
            }
            None => self.prepare(client)?,
        };
        Ok(client.select(&prepared.statement, None, arguments)?)
    }

    fn prepare(&self, client: &SpiClient<'_>) -> Result<&'static Prepared, Error> {
        let relations = ownership::relations(self.sql);
        ownership::check(&relations)?;
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|&oid| PgOid::from(oid.value()))
            .collect();
        let statement = if self.fresh {
            client.prepare_mut(self.sql, &parameters)?
        } else {
            client.prepare(self.sql, &parameters)?
        };
        let prepared: &'static _ = Box::leak(Box::new(Prepared {
            statement: statement.keep(),
            relations,
        }));
        Ok(self.kept.with(|kept| *kept.get_or_init(|| prepared)))
    }
}

/// Declares a [`Plan`]: `plan!(NAME, fresh|stable, "file.sql" [+ "more text"], [parameter types])`.
macro_rules! plan {
    (@fresh stable) => { false };
    (@fresh fresh) => { true };
    ($name:ident, $mode:ident, $file:literal $(+ $more:literal)?, [$($parameter:ident),*]) => {
        const $name: $crate::store::plan::Plan = {
            ::std::thread_local! {
                static KEPT: $crate::store::plan::Kept = const { ::std::cell::OnceCell::new() };
            }
            $crate::store::plan::Plan {
                sql: concat!(include_str!($file) $(, $more)?),
                parameters: &[$(::pgrx::pg_sys::BuiltinOid::$parameter),*],
                fresh: $crate::store::plan::plan!(@fresh $mode),
                kept: &KEPT,
            }
        };
    };
}
pub(super) use plan;
