//! What happened: each call, when it began and ended, what it was answered and what became of it.

use crate::Grant;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Everything that a load did, in the order in which the calls began.
#[derive(Clone, Debug)]
pub struct History {
    /// What the load's choices followed from.
    pub seed: u64,
    /// The calls.
    pub calls: Vec<Call>,
}

/// One call of a function of the extension, or of a superuser's hand on the tables.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which of the load's connections made it.
    pub connection: usize,
    /// The transaction that it was part of, by a number of the load's own.
    pub transaction: u64,
    /// When that transaction began, if it sees one snapshot throughout.
    pub snapshot: Option<Moment>,
    /// The settings in force.
    pub settings: Settings,
    /// Before the request was sent.
    pub begin: Moment,
    /// After the answer was there; of a lost answer, after the backend was gone.
    pub end: Moment,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub answer: Answer,
    /// When a savepoint before it was rolled back to.
    pub undone: Option<Moment>,
    /// What became of the transaction.
    pub outcome: Outcome,
    /// When that was known to stand: after COMMIT was answered, or after the backend was gone.
    pub settled: Moment,
}

/// A moment of a history: its place among all others, and the time since the load began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Its place among all moments.
    pub order: u64,
    /// The clock.
    pub at: Duration,
}

/// What gives moments to the threads of a load.
pub struct Clock {
    order: AtomicU64,
    began: Instant,
}

/// The settings `refresh_tokens.*` that a load varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `rotation`.
    pub rotation: bool,
    /// `reuse_interval`, in seconds.
    pub reuse_interval: i32,
    /// `lost_response_interval`, in seconds.
    pub lost_response_interval: i32,
    /// Whether `reuse_action` is `revoke_session`.
    pub revokes: bool,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `issue_refresh_token`: a new session.
    Login {
        /// The user.
        user: String,
        /// The OAuth client that the session is bound to.
        client: Option<String>,
    },
    /// `issue_refresh_token` into a session. No call may follow it in its transaction: what it
    /// replaced shows in the tables alone.
    Issue {
        /// The user.
        user: String,
        /// The session.
        session: Uuid,
    },
    /// `rotate_refresh_token`.
    Rotate {
        /// The token presented.
        token: String,
        /// The OAuth client that presents it.
        client: Option<String>,
    },
    /// `explain_refresh_token`.
    Explain {
        /// The token.
        token: String,
    },
    /// `revoke_refresh_token`.
    RevokeToken {
        /// The token.
        token: String,
    },
    /// `revoke_token_family`.
    RevokeFamily {
        /// The token.
        token: String,
    },
    /// `revoke_session`.
    RevokeSession {
        /// The session.
        session: Uuid,
    },
    /// `revoke_user_sessions`.
    RevokeUser {
        /// The user.
        user: String,
        /// The session spared.
        except: Option<Uuid>,
    },
    /// `is_session_live`.
    IsLive {
        /// The session.
        session: Uuid,
    },
    /// By hand: `not_after` becomes now.
    Expire {
        /// The session.
        session: Uuid,
    },
    /// By hand: all times of the family lie so much further back.
    Age {
        /// The session.
        session: Uuid,
        /// How much.
        by: Duration,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A row of `auth.refresh_token_grant`.
    Grant(Grant),
    /// How many tokens were revoked.
    Count(i64),
    /// Whether the session is live.
    Live(bool),
    /// That it is done.
    Done,
    /// An error, by its SQLSTATE.
    Error(String),
    /// Nothing: the connection was gone first.
    Lost,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client was told that it is committed.
    Committed,
    /// It was rolled back, or its end was never asked for.
    RolledBack,
    /// The connection was gone before the answer to COMMIT was there.
    Unknown,
}

impl Clock {
    /// A clock that starts now.
    #[allow(
        clippy::new_without_default,
        reason = "a clock that runs is no default"
    )]
    pub fn new() -> Self {
        Self {
            order: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        Moment {
            order: self.order.fetch_add(1, Ordering::SeqCst),
            at: self.began.elapsed(),
        }
    }
}

impl Settings {
    /// What a load keeps to that does not vary the settings. The window is long enough for the slowest machine.
    pub const USUAL: Self = Self {
        rotation: true,
        reuse_interval: 3600,
        lost_response_interval: 0,
        revokes: true,
    };

    /// The statements that put them in force: `set` is SET or SET LOCAL.
    pub fn sql(&self, set: &str) -> String {
        let action = if self.revokes {
            "revoke_session"
        } else {
            "reject"
        };
        let mut sql = String::new();
        for (name, value) in [
            ("rotation", self.rotation.to_string()),
            ("reuse_interval", self.reuse_interval.to_string()),
            (
                "lost_response_interval",
                self.lost_response_interval.to_string(),
            ),
            ("reuse_action", action.to_owned()),
        ] {
            let _ = write!(sql, "{set} refresh_tokens.{name} = '{value}';");
        }
        sql
    }
}

impl Action {
    /// The token that it presents.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Rotate { token, .. }
            | Self::Explain { token }
            | Self::RevokeToken { token }
            | Self::RevokeFamily { token } => Some(token),
            _ => None,
        }
    }

    /// Whether it is one of the functions that revoke.
    pub fn is_revocation(&self) -> bool {
        matches!(
            self,
            Self::RevokeToken { .. }
                | Self::RevokeFamily { .. }
                | Self::RevokeSession { .. }
                | Self::RevokeUser { .. }
        )
    }

    /// The session that it names.
    pub fn session(&self) -> Option<Uuid> {
        match *self {
            Self::Issue { session, .. }
            | Self::RevokeSession { session }
            | Self::IsLive { session }
            | Self::Expire { session }
            | Self::Age { session, .. } => Some(session),
            _ => None,
        }
    }
}

impl Answer {
    /// The grant, if it is one.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Grant(grant) => Some(grant),
            _ => None,
        }
    }

    /// The grant that comes with a new token. An explanation comes with none.
    pub fn minted(&self) -> Option<&Grant> {
        let is_new = |grant: &&Grant| matches!(grant.status.as_str(), "issued" | "rotated");
        let grant = self.grant().filter(is_new)?;
        grant.token.is_some().then_some(grant)
    }

    /// The answer in a word: a status, an SQLSTATE, or what else it is.
    pub fn word(&self) -> String {
        match self {
            Self::Grant(grant) => grant.status.clone(),
            Self::Count(count) => count.to_string(),
            Self::Live(live) => live.to_string(),
            Self::Done => "done".into(),
            Self::Error(code) => format!("error {code}"),
            Self::Lost => "lost".into(),
        }
    }
}

impl Call {
    /// Whether what it did never became, or stayed, anything.
    pub fn is_void(&self) -> bool {
        self.undone.is_some() || self.outcome == Outcome::RolledBack
    }
}
