//! What the server says about itself.

use postgres::{Client, Error};
use std::fs;
use std::time::Duration;

/// The process that serves a connection.
#[derive(Clone, Copy)]
pub struct Backend {
    pid: i32,
}

impl Backend {
    /// That of `client`.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn of(client: &mut Client) -> Result<Self, Error> {
        let row = client.query_one("SELECT pg_backend_pid() AS pid", &[])?;
        Ok(Self {
            pid: row.get("pid"),
        })
    }

    /// CPU time that it has used: user and system.
    ///
    /// From /proc/PID/schedstat, which counts nanoseconds; where the kernel keeps none, from
    /// /proc/PID/stat, which counts ticks of 10 ms.
    ///
    /// # Panics
    /// The process is gone, or there is no procfs.
    pub fn cpu(self) -> Duration {
        let precise = fs::read_to_string(format!("/proc/{}/schedstat", self.pid))
            .ok()
            .and_then(|line| line.split(' ').next()?.parse().ok())
            .filter(|&nanoseconds: &u64| nanoseconds > 0);
        precise.map_or_else(|| self.ticks(), Duration::from_nanos)
    }

    fn ticks(self) -> Duration {
        let line =
            fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("a running backend");
        // The name of the process, in parentheses, may hold anything.
        let (_, fields) = line.rsplit_once(") ").expect("a process's name");
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Memory that is its own, in bytes.
    ///
    /// # Panics
    /// The process is gone, or there is no procfs.
    pub fn private_memory(self) -> i64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("a running backend");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .expect("a size");
        let kilobytes: i64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        kilobytes * 1024
    }
}

/// Bytes that the memory contexts of `client`'s backend have taken.
///
/// # Errors
/// As the server raises them.
pub fn memory_contexts(client: &mut Client) -> Result<i64, Error> {
    number(
        client,
        "SELECT sum(total_bytes)::bigint AS number FROM pg_backend_memory_contexts",
    )
}

/// Where the server's WAL ends.
///
/// # Errors
/// As the server raises them.
pub fn wal(client: &mut Client) -> Result<i64, Error> {
    number(
        client,
        "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS number",
    )
}

/// Bytes of the tables and indexes of the schema `auth`.
///
/// # Errors
/// As the server raises them.
pub fn size(client: &mut Client) -> Result<i64, Error> {
    number(
        client,
        "SELECT sum(pg_total_relation_size(oid))::bigint AS number FROM pg_class
          WHERE relnamespace = 'auth'::regnamespace AND relkind = 'r'",
    )
}

/// Buffers that the database's backends have asked for.
///
/// # Errors
/// As the server raises them.
pub fn buffers(client: &mut Client) -> Result<i64, Error> {
    number(
        client,
        "SELECT blks_hit + blks_read AS number FROM pg_stat_database WHERE datname = current_database()",
    )
}

/// The share of updates of `auth.sessions` that were HOT.
///
/// # Errors
/// As the server raises them.
pub fn hot_ratio(client: &mut Client) -> Result<f64, Error> {
    let sql =
        "SELECT n_tup_hot_upd::float8 / nullif(n_tup_upd, 0) AS ratio FROM pg_stat_user_tables
                WHERE relid = 'auth.sessions'::regclass";
    let ratio: Option<f64> = client.query_one(sql, &[])?.get("ratio");
    Ok(ratio.unwrap_or(f64::NAN))
}

/// Changes settings of the server that need no restart.
///
/// # Errors
/// As the server raises them.
pub fn configure(client: &mut Client, settings: &[(&str, &str)]) -> Result<(), Error> {
    for (name, value) in settings {
        client.batch_execute(&format!("ALTER SYSTEM SET {name} = {value}"))?;
    }
    client.batch_execute("SELECT pg_reload_conf(); SELECT pg_sleep(0.2)")
}

/// The column `number` of a query's one row.
fn number(client: &mut Client, sql: &str) -> Result<i64, Error> {
    Ok(client.query_one(sql, &[])?.get("number"))
}
