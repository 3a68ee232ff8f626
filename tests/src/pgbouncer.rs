//! PgBouncer in front of a cluster, in transaction mode.

use crate::cluster::Cluster;
use crate::race::wait_until;
use postgres::{Client, NoTls};
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;

/// A running PgBouncer. Dropping it stops it.
pub struct PgBouncer {
    cluster: Arc<Cluster>,
    process: Child,
}

const PORT: u16 = 6432;

impl PgBouncer {
    /// A pooler that keeps `pool_size` connections to `cluster` for each of `users` and each database.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(cluster: &Arc<Cluster>, pool_size: usize, users: &[&str]) -> Self {
        let program = std::env::var_os("REFRESH_TOKENS_PGBOUNCER")
            .map(PathBuf::from)
            .expect("REFRESH_TOKENS_PGBOUNCER names the program: run `make test`");
        let socket = cluster.socket().display();
        let conf = cluster.folder().join("pgbouncer.ini");
        let list: String = users
            .iter()
            .map(|user| format!("\"{user}\" \"\"\n"))
            .collect();
        fs::write(cluster.folder().join("users.txt"), list).expect("a writable folder");
        fs::write(
            &conf,
            format!(
                "[databases]\n* = host={socket}\n[pgbouncer]\nunix_socket_dir = {socket}\nlisten_port = {PORT}\n\
                 auth_type = trust\nauth_file = {socket}/users.txt\npool_mode = transaction\ndefault_pool_size = {pool_size}\n\
                 max_client_conn = 100\nlogfile = {socket}/pgbouncer.log\n"
            ),
        )
        .expect("a writable folder");
        let process = cluster.command(program).arg("-q").arg(conf).spawn();
        let process = process.expect("the program is there");
        let pooler = Self {
            cluster: Arc::clone(cluster),
            process,
        };
        wait_until("PgBouncer takes a connection", || {
            pooler.config("postgres", users[0]).connect(NoTls).is_ok()
        });
        pooler
    }

    /// A connection to `database` as `user`.
    pub fn connect(&self, database: &str, user: &str) -> Client {
        self.config(database, user)
            .connect(NoTls)
            .expect("the pooler takes a connection")
    }

    fn config(&self, database: &str, user: &str) -> postgres::Config {
        let mut config = self.cluster.config(database, user);
        config.port(PORT);
        config
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
