//! What the arguments must be.

use crate::error::Error;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::{enum_helper, pg_sys};
use refresh_tokens_core::time::Timestamp;
use std::ffi::CStr;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What a `varchar(255)` holds, in characters.
const MAX_CHARS: usize = 255;

/// How much of a user agent is stored, in characters. Clients choose it, so it needs a bound; and
/// nobody should lose a session over a long one, so the rest is cut off.
const MAX_USER_AGENT_CHARS: usize = 1024;

/// A `user_id`: not NULL, not empty, at most 255 characters.
pub(super) fn user_id(value: Option<&str>) -> Result<&str, Error> {
    match value {
        None => Err(Error::Null("user_id")),
        Some("") => Err(Error::Empty("user_id")),
        Some(user_id) => fitting("user_id", user_id),
    }
}

/// A `client_id`: NULL, or at most 255 characters.
pub(super) fn client_id(value: Option<&str>) -> Result<Option<&str>, Error> {
    value
        .map(|client_id| fitting("client_id", client_id))
        .transpose()
}

/// A `batch_size`: not NULL, and at least 1.
pub(super) fn batch_size(value: Option<i32>) -> Result<i64, Error> {
    match value {
        None => Err(Error::Null("batch_size")),
        Some(..1) => Err(Error::BatchSize),
        Some(rows) => Ok(rows.into()),
    }
}

fn fitting<'a>(name: &'static str, value: &'a str) -> Result<&'a str, Error> {
    if value.chars().nth(MAX_CHARS).is_some() {
        return Err(Error::TooLong(name));
    }
    Ok(value)
}

/// A user agent, cut to what is stored of it.
pub(super) fn user_agent(value: Option<&str>) -> Option<&str> {
    value.map(|text| cut(text, MAX_USER_AGENT_CHARS))
}

/// A name that need not be one, cut to what a name can have.
pub(super) fn beginning(name: &str) -> &str {
    cut(name, MAX_CHARS)
}

/// The first `chars` characters of `text`.
fn cut(text: &str, chars: usize) -> &str {
    match text.char_indices().nth(chars) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A UUID as the pure modules know it.
pub(super) fn uuid(value: Option<pgrx::Uuid>) -> Option<Uuid> {
    value.map(|id| Uuid::from_bytes(*id.as_bytes()))
}

/// A time as the pure modules know it.
pub(super) fn timestamp(value: Option<TimestampWithTimeZone>) -> Option<Timestamp> {
    value.map(|at| Timestamp(at.into()))
}

/// A `not_after`: NULL, or later than `now`.
pub(super) fn not_after(
    value: Option<TimestampWithTimeZone>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let value = timestamp(value);
    if value.is_some_and(|at| at <= now) {
        return Err(Error::NotAfterPast);
    }
    Ok(value)
}

/// A `jsonb` as text. A value of pgrx's own type would be read on the way in, and what can't be read, as
/// a number that is too large, would be an internal error.
pub struct JsonText(Zeroizing<String>);

impl JsonText {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

pgrx::impl_sql_translatable!(JsonText, "pg_catalog.jsonb");

// SAFETY: the argument is declared as `jsonb` above, so its datum is one's.
unsafe impl<'fcx> ArgAbi<'fcx> for JsonText {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the output function of the datum's type reads it, and its answer is copied.
        unsafe {
            let datum = arg.unbox_arg_using_from_datum::<pg_sys::Datum>();
            let datum = datum.expect("an argument that is NULL is not read");
            let text = pg_sys::OidOutputFunctionCall(pg_sys::F_JSONB_OUT.into(), datum);
            let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
            Self(Zeroizing::new(copy))
        }
    }
}

/// A value of the enum `auth.aal_level`, as its label.
pub struct AalLevel(pub(super) String);

pgrx::impl_sql_translatable!(AalLevel, "auth.aal_level");

// SAFETY: the argument is declared as `auth.aal_level` above, so its datum is an enum's.
unsafe impl<'fcx> ArgAbi<'fcx> for AalLevel {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: an enum's datum is the OID of its label's row.
        let oid = unsafe { arg.unbox_arg_using_from_datum::<pg_sys::Oid>() };
        let (label, ..) = enum_helper::lookup_enum_by_oid(oid.unwrap_or(pg_sys::InvalidOid));
        Self(label)
    }
}
