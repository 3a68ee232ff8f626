//! What is measured, as data: measure fills it in, report writes it down.

use crate::contender::Contender;
use clap::ValueEnum;
use hdrhistogram::Histogram;

/// What was measured, and on what.
pub struct About {
    /// The server's version.
    pub postgresql: String,
    /// Processors.
    pub processors: usize,
    /// What the system calls them.
    pub processor: Option<String>,
    /// Tokens in each table.
    pub rows: usize,
    /// Tokens of a session.
    pub family: usize,
    /// Rounds.
    pub rounds: usize,
    /// Seconds of load in each.
    pub seconds: f64,
    /// What repeats the choices.
    pub seed: u64,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Commit {
    /// synchronous_commit off: for nothing, which shows what the CPU does
    Off,
    /// synchronous_commit on: for the disk, which is what users get
    On,
    /// fsync off: for the operating system alone
    FsyncOff,
}

impl Commit {
    /// What it sets.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "synchronous_commit off",
            Self::On => "synchronous_commit on",
            Self::FsyncOff => "fsync off",
        }
    }

    /// Its name in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::FsyncOff => "fsync_off",
        }
    }
}

/// What one run of the load measured.
pub struct Sample {
    /// Refreshes per second.
    pub rate: f64,
    /// Server CPU per refresh, in microseconds: of the backends, not of the server's other processes.
    pub cpu: f64,
    /// Refreshes.
    pub count: u64,
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Sample {
    /// The latency that `share` of the refreshes didn't exceed, in microseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1e3
    }
}

/// The samples of one contender at one number of connections, round by round.
pub struct Run {
    /// Who.
    pub contender: Contender,
    /// Connections.
    pub connections: usize,
    /// A sample a round.
    pub samples: Vec<Sample>,
}

/// What a refresh of one contender costs besides time.
pub struct Cost {
    /// Who.
    pub contender: Contender,
    /// WAL bytes a refresh without full-page images: the steady state, long after a checkpoint.
    pub wal: Vec<f64>,
    /// WAL bytes a refresh with them, right after a checkpoint: the dearest moment.
    pub wal_full_pages: Vec<f64>,
    /// Buffers asked for, a refresh.
    pub buffers: Vec<f64>,
    /// Bytes by which tables and indexes grow, a refresh.
    pub growth: Vec<f64>,
    /// The share of HOT updates of `auth.sessions` in the whole run.
    pub hot: f64,
}

/// Calls of one function with a string that is no token.
pub struct Refusal {
    /// What is called.
    pub name: &'static str,
    /// Calls a second, round by round.
    pub rate: Vec<f64>,
    /// Server CPU a call in microseconds, round by round.
    pub cpu: Vec<f64>,
}

/// The cost of reading a table through a policy that asks `auth.is_session_live` for each row.
pub struct Policy {
    /// Rows of the table.
    pub rows: i64,
    /// Server CPU a row in microseconds without a policy, round by round.
    pub without: Vec<f64>,
    /// And with it.
    pub with: Vec<f64>,
}

/// A backend's memory after some calls.
pub struct Memory {
    /// Rotations so far.
    pub calls: usize,
    /// The process's own memory, in bytes.
    pub private: i64,
    /// What PostgreSQL's memory contexts hold of it.
    pub contexts: i64,
}

/// Server CPU in microseconds of calls of one kind, round by round.
pub struct Call {
    /// What is called.
    pub name: &'static str,
    /// A call, or what it gives: a purge is counted by the row.
    pub cpu: Vec<f64>,
}

/// Server CPU in microseconds of calls for users with some number of sessions, round by round.
pub struct User {
    /// Sessions of a user.
    pub sessions: usize,
    /// A rotation, rolled back.
    pub rotate: Vec<f64>,
    /// `list_sessions`, a session.
    pub list: Vec<f64>,
    /// `revoke_user_sessions`, a session; rolled back.
    pub revoke: Vec<f64>,
}

/// Server CPU in microseconds of calls to families of one length, round by round.
pub struct Family {
    /// Tokens of a family when the table was filled.
    pub length: usize,
    /// Rotations.
    pub rotate: Vec<f64>,
    /// Retries: a parent once more, right after its rotation.
    pub retry: Vec<f64>,
    /// Revocations of the family, rolled back.
    pub revoke: Vec<f64>,
}

/// Rotations in a table of some size, one connection.
pub struct Scale {
    /// How they are done.
    pub contender: Contender,
    /// Tokens in the table when it was filled.
    pub rows: usize,
    /// Bytes of tables and indexes.
    pub bytes: i64,
    /// Refreshes a second, round by round.
    pub rate: Vec<f64>,
    /// Server CPU a refresh in microseconds, round by round.
    pub cpu: Vec<f64>,
}

/// Refreshes of one connection with synchronous_commit off: this extension's, or a library's.
pub struct Peer {
    /// Who.
    pub name: &'static str,
    /// Milliseconds of a refresh, client and server, round by round.
    pub time: Vec<f64>,
    /// Server CPU in microseconds, round by round.
    pub cpu: Vec<f64>,
}
