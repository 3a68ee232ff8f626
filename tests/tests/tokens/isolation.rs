//! The specs in `isolation/specs`, run by PostgreSQL's own isolation tester: all permutations of two
//! sessions' steps, under each isolation level, against the output in `isolation/expected`.
//!
//! With `UPDATE_EXPECTED=1` the output is written instead of compared; read the difference.

use refresh_tokens_tests::{Cluster, Database, install};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// What the isolation tester prints for `spec` under `level`.
fn run(cluster: &Cluster, spec: &Path, level: &str) -> String {
    let database = cluster.create_database();
    let mut client = cluster.connect(&database, "postgres");
    install(&mut client);
    client
        .batch_execute(&format!(
            "ALTER DATABASE {database} SET default_transaction_isolation = '{level}'"
        ))
        .expect("a superuser may");
    let tester = cluster.tester();
    let conninfo = format!(
        "host={} dbname={database} user=postgres",
        cluster.socket().display()
    );
    let output = Command::new(&tester)
        .arg(conninfo)
        .stdin(File::open(spec).expect("the spec"))
        .output()
        .expect("the server's development package has the isolation tester");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("isolation");
    let cluster = Database::create();
    for level in LEVELS {
        let printed = run(
            cluster.cluster(),
            &folder.join(format!("specs/{name}.spec")),
            level,
        );
        let expected: PathBuf =
            folder.join(format!("expected/{name}.{}.out", level.replace(' ', "_")));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &printed).expect("a writable checkout");
        }
        let wanted = fs::read_to_string(&expected).expect("the expected output");
        assert_eq!(wanted, printed, "{name} under {level}");
    }
}

macro_rules! specs {
    ($($name:ident)*) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

specs! {
    rotate_rotate
    rotate_revoke_session
    rotate_revoke_family
    rotate_revoke_user
    rotate_delete
    rotate_purge
    issue_issue_cap
    issue_issue_first
    issue_into_rotate
    explain_rotate
}
