//! The columns of the two tables, as they were created.

use pgrx::pg_sys;
use std::ffi::CStr;

/// The number of a column, counted from 1.
pub(super) type ColumnNumber = pg_sys::AttrNumber;

/// A column as it was created.
pub(super) struct Column {
    name: &'static CStr,
    /// InvalidOid: of whatever type.
    type_oid: pg_sys::Oid,
    typmod: i32,
}

/// A column of a type without a length.
const fn column(name: &'static CStr, type_oid: pg_sys::Oid) -> Column {
    Column {
        name,
        type_oid,
        typmod: -1,
    }
}

/// A column of type varchar(255).
const fn varchar_255(name: &'static CStr) -> Column {
    Column {
        typmod: 255 + pg_sys::VARHDRSZ as i32,
        ..column(name, pg_sys::VARCHAROID)
    }
}

impl Column {
    /// Whether `attribute` is that column.
    pub(super) fn is(&self, attribute: &pg_sys::FormData_pg_attribute) -> bool {
        // SAFETY: the name of an attribute ends with NUL.
        let name = unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) };
        name == self.name
            && !attribute.attisdropped
            && (self.type_oid == pg_sys::InvalidOid || attribute.atttypid == self.type_oid)
            && attribute.atttypmod == self.typmod
    }
}

/// The columns of `auth.refresh_tokens`.
pub(super) mod token {
    use super::{Column, ColumnNumber, column, varchar_255};
    use pgrx::pg_sys;

    pub(in super::super) const INSTANCE_ID: ColumnNumber = 1;
    pub(in super::super) const ID: ColumnNumber = 2;
    pub(in super::super) const TOKEN: ColumnNumber = 3;
    pub(in super::super) const USER_ID: ColumnNumber = 4;
    pub(in super::super) const REVOKED: ColumnNumber = 5;
    pub(in super::super) const CREATED_AT: ColumnNumber = 6;
    pub(in super::super) const UPDATED_AT: ColumnNumber = 7;
    pub(in super::super) const PARENT: ColumnNumber = 8;
    pub(in super::super) const SESSION_ID: ColumnNumber = 9;

    pub(in super::super) const COLUMNS: [Column; 9] = [
        column(c"instance_id", pg_sys::UUIDOID),
        column(c"id", pg_sys::INT8OID),
        varchar_255(c"token"),
        varchar_255(c"user_id"),
        column(c"revoked", pg_sys::BOOLOID),
        column(c"created_at", pg_sys::TIMESTAMPTZOID),
        column(c"updated_at", pg_sys::TIMESTAMPTZOID),
        varchar_255(c"parent"),
        column(c"session_id", pg_sys::UUIDOID),
    ];

    /// Those that are set when it is rotated.
    pub(in super::super) const CHANGING: [ColumnNumber; 2] = [REVOKED, UPDATED_AT];
}

/// The columns of `auth.sessions`.
pub(super) mod session {
    use super::{Column, ColumnNumber, column, varchar_255};
    use pgrx::pg_sys;

    pub(in super::super) const ID: ColumnNumber = 1;
    pub(in super::super) const USER_ID: ColumnNumber = 2;
    pub(in super::super) const CREATED_AT: ColumnNumber = 3;
    pub(in super::super) const UPDATED_AT: ColumnNumber = 4;
    pub(in super::super) const NOT_AFTER: ColumnNumber = 7;
    pub(in super::super) const REFRESHED_AT: ColumnNumber = 8;
    pub(in super::super) const USER_AGENT: ColumnNumber = 9;
    pub(in super::super) const IP: ColumnNumber = 10;
    pub(in super::super) const CLIENT_ID: ColumnNumber = 12;
    pub(in super::super) const DERIVATION_KEY: ColumnNumber = 14;
    pub(in super::super) const COUNTER: ColumnNumber = 15;

    pub(in super::super) const COLUMNS: [Column; 15] = [
        column(c"id", pg_sys::UUIDOID),
        varchar_255(c"user_id"),
        column(c"created_at", pg_sys::TIMESTAMPTZOID),
        column(c"updated_at", pg_sys::TIMESTAMPTZOID),
        column(c"factor_id", pg_sys::UUIDOID),
        column(c"aal", pg_sys::InvalidOid),
        column(c"not_after", pg_sys::TIMESTAMPTZOID),
        column(c"refreshed_at", pg_sys::TIMESTAMPTZOID),
        column(c"user_agent", pg_sys::TEXTOID),
        column(c"ip", pg_sys::INETOID),
        column(c"tag", pg_sys::TEXTOID),
        varchar_255(c"oauth_client_id"),
        column(c"scopes", pg_sys::TEXTOID),
        column(c"refresh_token_hmac_key", pg_sys::TEXTOID),
        column(c"refresh_token_counter", pg_sys::INT8OID),
    ];

    /// Those that a rotation sets.
    pub(in super::super) const CHANGING: [ColumnNumber; 6] = [
        UPDATED_AT,
        REFRESHED_AT,
        USER_AGENT,
        IP,
        DERIVATION_KEY,
        COUNTER,
    ];
}
