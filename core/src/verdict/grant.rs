//! The answer to the client: one row of the composite type `auth.refresh_token_grant`.

use super::rules::Retry;
use crate::label::Label;
use crate::sessions::{Expiry, Policy, Session};
use crate::time::Timestamp;
use crate::tokens::Token;
use strum::{IntoStaticStr, VariantArray};
use uuid::Uuid;

/// The statuses of the enum `auth.refresh_token_status`, in its order and by its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// A new token.
    Issued,
    /// A child was minted, its parent revoked.
    Rotated,
    /// An honest retry: the same child as before.
    Retried,
    /// Rotation is off: the token stays as it is, its use is recorded.
    Unchanged,
    /// Not a token of ours, or NULL: no table was read.
    Malformed,
    /// Well-formed, not in the table.
    NotFound,
    /// The session belongs to another client; nothing changed.
    ClientMismatch,
    /// The session is past its end.
    Expired,
    /// The family was already ended.
    Revoked,
    /// The family has been revoked by this very call, and that must commit.
    ReuseDetected,
}

/// One answer. What is none is NULL in the row.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The verdict.
    pub status: Status,
    /// The token to use from now on; none unless the status is one of the first four.
    pub refresh_token: Option<Token>,
    /// Whose session it is.
    pub user_id: Option<String>,
    /// The session.
    pub session_id: Option<Uuid>,
    /// What the application said when it issued the first token.
    pub instance_id: Option<Uuid>,
    /// The `id` of the token to use from now on, or of the refused one.
    pub token_id: Option<i64>,
    /// When the token to use from now on was minted.
    pub issued_at: Option<Timestamp>,
    /// When it dies if it is not used.
    pub expires_at: Option<Timestamp>,
    /// When its session ends however often it is used.
    pub session_expires_at: Option<Timestamp>,
    /// What lies behind the status, where there is more to say.
    pub reason: Option<&'static str>,
}

/// A row of `auth.refresh_tokens`, as far as an answer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its `id`.
    pub id: i64,
    /// Its `instance_id`.
    pub instance_id: Option<Uuid>,
    /// Its `created_at`.
    pub created_at: Option<Timestamp>,
}

impl Grant {
    /// A refusal that tells nothing: the caller has shown no right to know more.
    pub fn refused(status: Status) -> Self {
        Self {
            status,
            refresh_token: None,
            user_id: None,
            session_id: None,
            instance_id: None,
            token_id: None,
            issued_at: None,
            expires_at: None,
            session_expires_at: None,
            reason: None,
        }
    }

    /// A refusal of a token that the caller did hold: it says whose it was, so that the application
    /// can tell that user.
    pub fn refused_token(status: Status, session: &Session, row: TokenRow) -> Self {
        Self {
            user_id: session.user_id.clone(),
            session_id: session.id,
            instance_id: row.instance_id,
            token_id: Some(row.id),
            ..Self::refused(status)
        }
    }

    /// As [`Grant::refused_token`], with status `expired` and its reason.
    pub fn expired(session: &Session, row: TokenRow, expiry: Expiry) -> Self {
        Self {
            reason: Some(expiry.label()),
            ..Self::refused_token(Status::Expired, session, row)
        }
    }

    /// A token to use from now on, with the times at which it and its session end.
    ///
    /// `token` is none where only the verdict was asked for.
    pub fn granted(
        status: Status,
        token: Option<Token>,
        session: &Session,
        row: TokenRow,
        policy: &Policy,
    ) -> Self {
        Self {
            refresh_token: token,
            issued_at: row.created_at,
            expires_at: session.expires_at(policy),
            session_expires_at: session.session_expires_at(policy),
            ..Self::refused_token(status, session, row)
        }
    }

    /// This answer, given to a retry.
    pub fn because(self, retry: Retry) -> Self {
        Self {
            reason: Some(retry.label()),
            ..self
        }
    }
}
