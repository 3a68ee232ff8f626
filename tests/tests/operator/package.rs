//! What the packages say of the extension agrees with what it is. The Debian package itself is tried by
//! `make test-package`.

use postgres::Client;
use refresh_tokens_tests::Cluster;
use std::fs;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The value of the first line `name = value` of `text`, without its quotes.
fn setting(text: &str, name: &str) -> String {
    let prefix = format!("{name} = ");
    let mut values = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let value = values.next().expect("a setting");
    value.trim_matches(['\'', '"']).to_owned()
}

/// The major versions that the crate has a feature for, as PGXN writes a range.
fn supported_postgresql() -> String {
    let cargo = text("Cargo.toml");
    let majors = cargo.lines().filter_map(|line| {
        let (feature, _) = line.split_once(" = ")?;
        feature.strip_prefix("pg")?.parse::<u32>().ok()
    });
    let (first, last) = majors.fold((u32::MAX, 0), |(first, last), major| {
        (first.min(major), last.max(major))
    });
    format!(">= {first}.0.0, < {}.0.0", last + 1)
}

/// What `META.json` has at `path`, as PostgreSQL reads JSON.
fn meta(client: &mut Client, path: &str) -> Option<String> {
    let sql = "SELECT $1::text::json #>> $2::text::text[]";
    let row = client.query_one(sql, &[&text("META.json"), &path]);
    row.expect("META.json is JSON").get(0)
}

#[test]
fn what_pgxn_is_told_agrees_with_the_crate_and_the_control_file() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect("postgres", "postgres");
    let control = text("refresh_tokens.control");
    let comment = setting(&control, "comment");
    // The workspace's tables before the package's have no version.
    let version = setting(&text("Cargo.toml"), "version");
    let postgresql = supported_postgresql();
    for (path, value) in [
        ("{name}", "refresh_tokens"),
        ("{abstract}", &comment),
        ("{version}", &version),
        ("{license}", "postgresql"),
        ("{provides,refresh_tokens,abstract}", &comment),
        ("{provides,refresh_tokens,version}", &version),
        ("{prereqs,build,requires,PostgreSQL}", &postgresql),
        ("{prereqs,runtime,requires,PostgreSQL}", &postgresql),
        ("{meta-spec,version}", "1.0.0"),
    ] {
        assert_eq!(meta(&mut client, path).as_deref(), Some(value), "{path}");
    }
    for path in ["{maintainer}", "{meta-spec,url}"] {
        assert!(meta(&mut client, path).is_some(), "PGXN wants {path}");
    }
    // PGXN's client takes an extension whose file isn't SQL for none, and doesn't load it.
    for (path, ending) in [("file", ".sql"), ("docfile", ".md")] {
        let name = meta(&mut client, &format!("{{provides,refresh_tokens,{path}}}"));
        let name = name.expect("a path");
        assert!(name.ends_with(ending) && file(&name).is_file(), "{path}");
    }
    // The Debian package names the same maintainer.
    let maintainer = meta(&mut client, "{maintainer}").expect("checked above");
    assert!(text("scripts/package").contains(&format!("MAINTAINER=\"{maintainer}\"")));
}
