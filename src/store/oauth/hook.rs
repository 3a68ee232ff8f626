//! Functions of the application that a setting names.
//!
//! A hook runs as its owner, never as this extension's owner: whoever may replace the function could otherwise do anything.
//! And it runs restricted, as PostgreSQL runs a role's code for a superuser (an index's functions, say): it can become nobody
//! else, leave nothing to be done at the commit, when the caller is the current user, and change no setting of the caller's.
//! Which function it is, is looked up at each call.

use crate::error::Error;
use crate::store::Store;
use crate::store::acting_as::ActingAs;
use crate::store::plan::plan;
use crate::store::row::{first, required};
use crate::store::unlogged::Unlogged;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::pg_sys::BuiltinOid;

plan!(
    FIND_HOOK,
    fresh,
    "find_hook.sql",
    [TEXTOID, TEXTOID, TEXTOID, OIDOID]
);

impl Store<'_> {
    /// What the hook `name` makes of `claims`: both are JSON.
    ///
    /// # Errors
    /// 42883: there is no such function; what the function raises.
    pub fn call_access_token_hook(
        &self,
        name: &str,
        claims: &str,
    ) -> Result<Option<String>, Error> {
        let hook = self.hook(name, &[BuiltinOid::JSONBOID], BuiltinOid::JSONBOID)?;
        let hook = hook.ok_or(Error::AccessTokenHook)?;
        hook.call(
            self,
            "($1::pg_catalog.jsonb)::pg_catalog.text",
            &[claims.into()],
        )
    }

    /// Whether the hook `name` accepts a client.
    ///
    /// # Errors
    /// As [`Store::call_access_token_hook`].
    pub fn call_client_authentication_hook(
        &self,
        name: &str,
        client_id: &str,
        client_secret: Option<&str>,
    ) -> Result<bool, Error> {
        let hook = self.hook(name, &[BuiltinOid::TEXTOID; 2], BuiltinOid::BOOLOID)?;
        let hook = hook.ok_or(Error::ClientAuthenticationHook)?;
        let arguments = [client_id.into(), client_secret.into()];
        let _unlogged = Unlogged::new();
        let answer = hook.call(self, "($1, $2)::pg_catalog.text", &arguments)?;
        Ok(answer.as_deref() == Some("true"))
    }

    /// The function `name`: its schema's name, a dot, and its own.
    fn hook(
        &self,
        name: &str,
        arguments: &[BuiltinOid],
        result: BuiltinOid,
    ) -> Result<Option<Hook>, Error> {
        let Some((schema, name)) = name.split_once('.') else {
            return Ok(None);
        };
        let types = arguments.iter().map(|oid| oid.value().to_u32().to_string());
        let types = types.collect::<Vec<_>>().join(" ");
        let arguments = [
            schema.into(),
            name.into(),
            types.as_str().into(),
            result.value().into(),
        ];
        let row = FIND_HOOK.run(self.client, &arguments)?;
        first(row, |row| {
            Ok(Hook {
                name: required(row, "name")?,
                owner: required(row, "owner")?,
            })
        })
    }
}

/// A function, by its qualified name, and its owner.
struct Hook {
    name: String,
    owner: pg_sys::Oid,
}

impl Hook {
    /// Calls it; `call` is what follows its name.
    fn call(
        &self,
        store: &Store<'_>,
        call: &str,
        arguments: &[DatumWithOid<'_>],
    ) -> Result<Option<String>, Error> {
        let _owner = ActingAs::switch(self.owner, 0);
        let sql = format!("SELECT {}{call}", self.name);
        let answer = store.client.select(&sql, Some(1), arguments)?;
        Ok(answer.first().get_one()?)
    }
}
