//! The public surface as a DBA sees it in psql: the scripts in `tests/sql`, and in `tests/sql/expected` what they print.
//! pg_regress runs the same files.
//!
//! With `UPDATE_EXPECTED=1` the output is written instead of compared; read the difference.

use refresh_tokens_tests::Cluster;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")
}

fn check(name: &str) {
    let cluster = Cluster::shared();
    let script = folder().join(format!("{name}.sql"));
    let expected = folder().join(format!("expected/{name}.out"));
    let printed = cluster.psql(&cluster.create_database(), &script);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected, printed).expect("a writable checkout");
        return;
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    if wanted != printed {
        panic!("{}", difference(&cluster, &expected, &printed));
    }
}

/// What differs, as `diff` shows it; all that was printed, where there is no `diff`.
fn difference(cluster: &Cluster, expected: &Path, printed: &str) -> String {
    let file = cluster.folder().join("printed.out");
    fs::write(&file, printed).expect("a writable folder");
    let output = Command::new("diff")
        .arg("-U3")
        .args([expected, &file])
        .output();
    let difference = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    difference.unwrap_or_else(|_| printed.to_owned())
}

macro_rules! scripts {
    ($($name:ident)*) => {
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

scripts! {
    tokens
    sessions
    oauth
    operator
    roles
}

/// The scripts that have no test of their own.
#[test]
fn every_other_script() {
    let files = fs::read_dir(folder()).expect("a folder");
    let files = files.map(|entry| entry.expect("an entry").path());
    let scripts: BTreeSet<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    for name in SCRIPTS {
        assert!(scripts.contains(*name), "there is no {name}.sql");
    }
    for name in scripts
        .iter()
        .filter(|name| !SCRIPTS.contains(&name.as_str()))
    {
        check(name);
    }
}
