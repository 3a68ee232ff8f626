//! Throw-away clusters: in a temporary folder, on a unix socket only, gone when dropped.

use crate::by_statements;
use postgres::{Client, NoTls};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;

/// A running server of its own. Dropping it stops the server and removes its files.
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    databases: AtomicUsize,
}

/// A database of its own in which the extension has been created.
pub struct Database {
    cluster: Arc<Cluster>,
    /// Its name.
    pub name: String,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// Held while a data folder is made.
static TEMPLATE: Mutex<()> = Mutex::new(());

impl Cluster {
    /// A new cluster, with `settings` in its postgresql.conf.
    pub fn start(settings: &[&str]) -> Self {
        let cluster = Self::without_data();
        cluster.init();
        let mut conf = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nmax_connections = 150\n",
            cluster.socket().display()
        );
        settings
            .iter()
            .for_each(|setting| conf += &format!("{setting}\n"));
        fs::write(cluster.data().join("postgresql.auto.conf"), conf)
            .expect("a writable data folder");
        cluster.boot();
        cluster
    }

    /// Makes the data folder: a copy of one that initdb has made once, which takes a tenth of the time. The clusters have
    /// one system identifier, then, which nothing here minds.
    fn init(&self) {
        let (uid, template) = self.template();
        let _one_at_a_time = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else's: a folder for temporary files is everybody's.
        if fs::metadata(&template).is_ok_and(|folder| folder.uid() == uid)
            && self.copy_folder(&template, &self.data())
        {
            return;
        }
        let data = self.data();
        let data = data.to_str().expect("a folder in UTF-8");
        let options = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"];
        let place = ["--locale=C", "-D", data];
        self.run("initdb", &[&options[..], &place].concat());
        // By a name of its own first: another process may be about to do the same. Without it, initdb runs each time.
        let new = template.with_extension(std::process::id().to_string());
        if !self.copy_folder(&self.data(), &new) || fs::rename(&new, &template).is_err() {
            let _ = fs::remove_dir_all(&new);
        }
    }

    /// Whose server it is, and where the data folder that is copied lies: a name for each initdb and user, in the folder
    /// for temporary files.
    fn template(&self) -> (u32, PathBuf) {
        let initdb = fs::metadata(self.bin.join("initdb")).expect("the program is there");
        let own = fs::metadata("/proc/self").expect("procfs").uid();
        let uid = server_user().map_or(own, |(uid, _)| uid);
        let name = format!("rt_initdb_{}_{}_{uid}", initdb.ino(), initdb.mtime());
        (uid, std::env::temp_dir().join(name))
    }

    /// Copies a folder as the user that owns the server, and gives whether it could.
    fn copy_folder(&self, from: &Path, to: &Path) -> bool {
        let mut command = self.command("cp");
        let output = command.arg("-a").args([from, to]).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// A hot standby of this cluster, which follows it.
    pub fn standby(&self) -> Self {
        let standby = self.backup(&["-R"], &[]);
        standby.boot();
        standby
    }

    /// A base backup of this cluster, taken with more `options` of `pg_basebackup`: a cluster of its own
    /// with this one's settings and `settings`, which has not been started.
    pub fn backup(&self, options: &[&str], settings: &[&str]) -> Self {
        let backup = Self::without_data();
        let data = backup.data();
        let data = data.to_str().expect("a folder in UTF-8");
        let usual = ["-D", data, "-X", "stream", "-c", "fast", "--no-sync"];
        self.run("pg_basebackup", &[&usual, options].concat());
        backup.configure(&[&format!(
            "unix_socket_directories = '{}'",
            backup.socket().display()
        )]);
        backup.configure(settings);
        backup
    }

    /// Adds `settings` to those of the server: of the same settings the last one counts. A running
    /// server has to be told.
    pub fn configure(&self, settings: &[&str]) {
        let path = self.data().join("postgresql.auto.conf");
        let mut conf = fs::read_to_string(&path).expect("the server's settings");
        settings
            .iter()
            .for_each(|setting| conf += &format!("{setting}\n"));
        fs::write(path, conf).expect("a writable data folder");
    }

    fn without_data() -> Self {
        let bin = std::env::var_os("REFRESH_TOKENS_PG_BIN")
            .map(PathBuf::from)
            .expect(
                "REFRESH_TOKENS_PG_BIN names the folder of the server's programs: run `make test`",
            );
        let folder = tempfile::Builder::new()
            .prefix("rt")
            .tempdir()
            .expect("a temporary folder");
        if let Some((uid, gid)) = server_user() {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may give a folder away");
        }
        Self {
            folder,
            bin,
            databases: AtomicUsize::new(0),
        }
    }

    /// The cluster that tests share which do nothing to a server as a whole.
    pub fn shared() -> Arc<Self> {
        Self::shared_with(&SHARED, &[])
    }

    /// The cluster with `settings` that the tests share which take it from `place`: it stops with the last of them.
    pub fn shared_with(place: &Mutex<Weak<Self>>, settings: &[&str]) -> Arc<Self> {
        let mut shared = place
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(settings));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Starts the server, which must not be running, with `variables` in its environment.
    pub fn boot_with(&self, variables: &[(&str, &str)]) {
        let status = self
            .command(self.bin.join("pg_ctl"))
            .args(["start", "-s", "-w", "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(self.log())
            .envs(variables.iter().copied())
            .status();
        assert!(status.expect("the program is there").success());
    }

    /// Starts the server, which must not be running.
    pub fn boot(&self) {
        self.pg_ctl(&[
            "start",
            "-w",
            "-l",
            self.log().to_str().expect("a folder in UTF-8"),
        ]);
    }

    /// Stops the server: `smart`, `fast` or `immediate`.
    pub fn stop(&self, mode: &str) {
        self.pg_ctl(&["stop", "-w", "-m", mode]);
    }

    /// Promotes a standby.
    pub fn promote(&self) {
        self.pg_ctl(&["promote", "-w"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let data = self.data();
        let data = ["-s", "-D", data.to_str().expect("a folder in UTF-8")];
        self.run("pg_ctl", &[arguments, &data].concat());
    }

    /// Runs one of the server's programs and gives what it printed.
    ///
    /// # Panics
    /// It failed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_run(program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs one of the server's programs, as the user that owns the server, with the cluster's socket
    /// and superuser as defaults.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.folder.path().join(format!("{program}.out"));
        let mut command = self.command(self.bin.join(program));
        command
            .args(arguments)
            .env("PGHOST", self.socket())
            .env("PGUSER", "postgres");
        if program != "pg_ctl" {
            return command.output().expect("the program is there");
        }
        // The server inherits pg_ctl's output; a pipe would stay open as long as it runs.
        let file = File::create(&output).expect("a writable folder");
        let status = command
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .status();
        Output {
            status: status.expect("the program is there"),
            stdout: fs::read(&output).expect("its output"),
            stderr: Vec::new(),
        }
    }

    /// What psql prints of `script` in `database`, as pg_regress runs it: each line, and what it answers, errors too.
    pub fn psql(&self, database: &str, script: &Path) -> String {
        let output = self.folder.path().join(format!("{database}.out"));
        let file = File::create(&output).expect("a writable folder");
        self.command(self.bin.join("psql"))
            .args(["-X", "-a", "-q", "-d", database])
            .env("PGHOST", self.socket())
            .env("PGUSER", "postgres")
            .env("PGTZ", "PST8PDT")
            .env("PGDATESTYLE", "Postgres, MDY")
            .env("PGOPTIONS", "-c intervalstyle=postgres_verbose")
            .env("LC_ALL", "C")
            .stdin(File::open(script).expect("the script"))
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .status()
            .expect("the program is there");
        fs::read_to_string(&output).expect("UTF-8")
    }

    /// `program`, to be run as the user that owns the server, in the cluster's folder.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = server_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// A connection to `database` as `user`.
    pub fn connect(&self, database: &str, user: &str) -> Client {
        self.config(database, user)
            .connect(NoTls)
            .expect("the server takes a connection")
    }

    /// How to connect to `database` as `user`.
    pub fn config(&self, database: &str, user: &str) -> postgres::Config {
        let mut config = Client::configure();
        config.host_path(self.socket()).dbname(database).user(user);
        config
    }

    /// An empty database of its own.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut client = self.connect("postgres", "postgres");
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("a new database");
        name
    }

    /// The folder that may be used for files of a test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of the socket.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// PostgreSQL's isolation tester, which comes with the server's development package.
    pub fn tester(&self) -> PathBuf {
        self.bin
            .join("../lib/pgxs/src/test/isolation/isolationtester")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            let data = self.data();
            let _ = self.try_run(
                "pg_ctl",
                &[
                    "stop",
                    "-s",
                    "-m",
                    "immediate",
                    "-D",
                    data.to_str().unwrap_or_default(),
                ],
            );
        }
    }
}

impl Database {
    /// A database of its own in the shared cluster, with the extension in it.
    pub fn create() -> Self {
        Self::create_in(&Cluster::shared())
    }

    /// A database in a cluster of its own, with the extension in it: for a test of what all databases of a cluster share,
    /// such as the workers that end families.
    pub fn create_alone() -> Self {
        Self::create_in(&Arc::new(Cluster::start(&[])))
    }

    /// A database of its own in `cluster`, with the extension in it.
    pub fn create_in(cluster: &Arc<Cluster>) -> Self {
        let database = Self {
            cluster: Arc::clone(cluster),
            name: cluster.create_database(),
        };
        install(&mut database.connect());
        database
    }

    /// A connection as the superuser.
    pub fn connect(&self) -> Client {
        self.connect_as("postgres")
    }

    /// A connection as `user`.
    pub fn connect_as(&self, user: &str) -> Client {
        self.cluster.connect(&self.name, user)
    }

    /// The cluster that the database is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// Creates the extension in the database of a superuser's connection. Where `REFRESH_TOKENS_BY_STATEMENTS` is set, live
/// tokens are rotated there by statements, so that a test shows the same of them.
///
/// # Panics
/// The extension is not installed.
pub fn install(client: &mut Client) {
    client
        .batch_execute("CREATE EXTENSION refresh_tokens")
        .expect("the extension is installed");
    if std::env::var_os("REFRESH_TOKENS_BY_STATEMENTS").is_some() {
        by_statements(client);
    }
}

/// Whom the server runs as: PostgreSQL refuses to run as root, so root lends it the user `postgres`.
fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").expect("procfs").uid() != 0 {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("a list of users");
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line
        .expect("Debian's packages create the user postgres")
        .split(':')
        .skip(2);
    let mut id = || {
        fields
            .next()
            .and_then(|id| id.parse().ok())
            .expect("a number")
    };
    Some((id(), id()))
}
