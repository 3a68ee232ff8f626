//! `ALTER EXTENSION refresh_tokens UPDATE` from every released version: the new library works with the
//! old schema until then, nobody notices the moment, and afterwards nothing tells the database from
//! one where the new version was installed afresh.
//!
//! `tests/upgrade/` holds the install scripts of the released versions, as they were.

use postgres::Client;
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{
    Cluster, Database, Grant, assert_invariants, call, contents, error_code, explain, issue,
    pass_time, revoke, rotate,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const RELEASED: [&str; 3] = ["0.1.0", "0.2.0", "0.3.0"];
const UPDATE: &str = "ALTER EXTENSION refresh_tokens UPDATE";

/// A database where `version` of the extension is installed, with the library of today.
fn old_database(cluster: &Cluster, version: &str) -> String {
    let name = cluster.create_database();
    cluster
        .connect(&name, "postgres")
        .batch_execute(&format!(
            "CREATE EXTENSION refresh_tokens VERSION '{version}'"
        ))
        .unwrap_or_else(|error| panic!("{version} is not installed: run `make test`: {error:?}"));
    name
}

/// All that `database` has of the extension, as DDL: `--binary-upgrade` makes `pg_dump` show an
/// extension's members one by one, with their privileges and comments. Without what differs between
/// any two databases: names, object ids, and the random keys of `\restrict`.
fn schema(cluster: &Cluster, database: &str) -> Vec<String> {
    let dump = cluster.run(
        "pg_dump",
        &["--schema-only", "--binary-upgrade", "-d", database],
    );
    let is_noise = |line: &&str| {
        ["--", "\\restrict", "\\unrestrict"]
            .iter()
            .any(|noise| line.starts_with(noise))
            || line.contains("binary_upgrade_set_next_")
            || line.contains("relfrozenxid")
            || line.contains(database)
    };
    dump.lines()
        .filter(|line| !is_noise(line))
        .map(without_object_ids)
        .collect()
}

/// The line with each number of four digits and more, which is an object id, as `#`.
fn without_object_ids(line: &str) -> String {
    let mut shown = String::new();
    let mut digits = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        shown += if digits.len() < 4 { &digits } else { "#" };
        digits.clear();
        shown.push(c);
    }
    shown.trim_end().to_owned()
}

/// Members of the extension, each with its privileges, and what of it `pg_dump` takes along.
fn members(client: &mut Client) -> Vec<String> {
    const MEMBERS: &str = "
        SELECT format('%s %s %s %s', i.type, i.identity,
                      (SELECT array_agg(a::text ORDER BY a::text)
                         FROM unnest(coalesce(p.proacl, c.relacl, t.typacl)) AS a),
                      (SELECT array_agg(a::text ORDER BY a::text)
                         FROM pg_init_privs AS ip, unnest(ip.initprivs) AS a
                        WHERE ip.classoid = d.classid AND ip.objoid = d.objid AND ip.objsubid = 0))
          FROM pg_depend AS d
         CROSS JOIN pg_identify_object(d.classid, d.objid, d.objsubid) AS i
          LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
          LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
          LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
         WHERE d.refclassid = 'pg_extension'::regclass
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
           AND d.deptype = 'e'
        UNION ALL
        SELECT format('dumped: %s %s', config::regclass, condition)
          FROM pg_extension, unnest(extconfig, extcondition) AS dumped (config, condition)
         WHERE extname = 'refresh_tokens'
        UNION ALL
        SELECT 'version ' || extversion FROM pg_extension WHERE extname = 'refresh_tokens'
         ORDER BY 1";
    let rows = client.query(MEMBERS, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What `left` has that `right` lacks.
fn difference(left: &[String], right: &[String]) -> Vec<String> {
    let right: BTreeSet<_> = right.iter().collect();
    left.iter()
        .filter(|line| !right.contains(line))
        .cloned()
        .collect()
}

#[test]
fn an_upgraded_database_is_as_a_fresh_one() {
    let cluster = Cluster::shared();
    let fresh = Database::create_in(&cluster);
    let expected = (members(&mut fresh.connect()), schema(&cluster, &fresh.name));
    assert!(
        expected.0.len() > 10 && expected.1.len() > 100,
        "{expected:?}"
    );
    for version in RELEASED {
        let old = old_database(&cluster, version);
        let mut client = cluster.connect(&old, "postgres");
        assert_ne!(
            members(&mut client),
            expected.0,
            "{version} differs from today"
        );
        client.batch_execute(UPDATE).expect("an upgrade");
        let found = (members(&mut client), schema(&cluster, &old));
        for (found, expected) in [(&found.0, &expected.0), (&found.1, &expected.1)] {
            assert_eq!(
                (difference(found, expected), difference(expected, found)),
                (vec![], vec![]),
                "{version}: what the upgrade alone has, what the fresh install alone has"
            );
        }
        assert_eq!(found, expected, "{version}: in another order");
    }
}

/// One family in each state that a client can meet, made by the calls that lead there.
struct Families {
    live: Grant,
    replaced: Grant,
    stolen: Grant,
    ended: Grant,
    expired: Grant,
    bound: Grant,
    orphan: String,
}

fn fill(client: &mut Client) -> Families {
    let orphan = unknown_token();
    let live = issue(client, "alice");
    let replaced = issue(client, "bob");
    rotate(client, replaced.token()).expect("a verdict");
    let stolen = issue(client, "carol");
    rotate(client, stolen.token()).expect("a verdict");
    pass_time(client, stolen.session(), "1 hour");
    let ended = issue(client, "dave");
    revoke(client, &ended);
    let expired = issue(client, "erin");
    pass_time(client, expired.session(), "1 year");
    let bound = call(
        client,
        "issue_refresh_token('frank', client_id => 'app')",
        &[],
    );
    client
        .execute(
            "INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, updated_at)
             VALUES ($1, 'grace', false, now(), now())",
            &[&digest(&orphan)],
        )
        .expect("a row from elsewhere");
    Families {
        live,
        replaced,
        stolen,
        ended,
        expired,
        bound: bound.expect("a login"),
        orphan,
    }
}

impl Families {
    /// Every token with the verdict about it, in the words of the schema that `client` finds.
    fn expected(&self, client: &mut Client) -> [(&str, String); 7] {
        let retried = "SELECT (enum_range(NULL::auth.refresh_token_status))[3]::text";
        let retried: String = client.query_one(retried, &[]).expect("an enum").get(0);
        [
            (self.live.token(), "rotated".into()),
            (self.replaced.token(), retried),
            (self.stolen.token(), "reuse_detected".into()),
            (self.ended.token(), "revoked".into()),
            (self.expired.token(), "expired".into()),
            (self.bound.token(), "client_mismatch".into()),
            (&self.orphan, "rotated".into()),
        ]
    }

    fn assert_explained(&self, client: &mut Client) {
        for (token, status) in self.expected(client) {
            // `explain_refresh_token` answers as to the right client.
            let status = match status.as_str() {
                "client_mismatch" => "rotated",
                status => status,
            };
            assert_eq!(explain(client, token).status, status);
        }
    }

    fn assert_answered(&self, client: &mut Client) {
        for (token, status) in self.expected(client) {
            assert_eq!(rotate(client, token).expect("a verdict").status, status);
        }
        assert_eq!(revoke(client, &self.bound), 1);
        let user = "SELECT auth.revoke_user_sessions('alice')";
        assert_eq!(client.query_one(user, &[]).expect(user).get::<_, i64>(0), 1);
        let drawn = client.query(
            "SELECT auth.draw_token_family($1)",
            &[&self.stolen.session()],
        );
        assert_eq!(drawn.expect("a drawing").len(), 2);
        assert_invariants(client);
    }
}

#[test]
fn the_new_library_works_with_the_old_schema() {
    let cluster = Cluster::shared();
    for version in RELEASED {
        let old = old_database(&cluster, version);
        let mut client = cluster.connect(&old, "postgres");
        let families = fill(&mut client);
        families.assert_explained(&mut client);
        families.assert_answered(&mut client);
    }
}

#[test]
fn an_upgrade_touches_no_row_and_every_token_goes_on() {
    let cluster = Cluster::shared();
    for version in RELEASED {
        let old = old_database(&cluster, version);
        // With plans that it made under the old version.
        let mut client = cluster.connect(&old, "postgres");
        let families = fill(&mut client);
        families.assert_explained(&mut client);
        let before = contents(&mut client);
        client.batch_execute(UPDATE).expect("an upgrade");
        assert_eq!(contents(&mut client), before);
        families.assert_explained(&mut client);
        families.assert_answered(&mut client);
    }
}

#[test]
fn what_was_granted_before_an_upgrade_still_is() {
    let cluster = Cluster::shared();
    for version in RELEASED {
        let old = old_database(&cluster, version);
        let mut owner = cluster.connect(&old, "postgres");
        let role = format!("upgraded_{}", version.replace('.', "_"));
        owner
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; SELECT auth.grant_refresh_token_role('{role}', 'server'); {UPDATE}"
            ))
            .expect("an upgrade");
        let mut client = cluster.connect(&old, &role);
        let token = issue(&mut client, "alice");
        assert_eq!(
            rotate(&mut client, token.token())
                .expect("a verdict")
                .status,
            "rotated"
        );
        // What is new takes one more call; 0.3.0 had the endpoints in this tier.
        let revoke = "SELECT auth.revoke(token => $1)";
        if version < "0.3.0" {
            assert_eq!(
                error_code(client.query_one(revoke, &[&token.token()])),
                "42501"
            );
        }
        let grant = "SELECT auth.grant_refresh_token_role($1::text::name, 'gateway')";
        owner.execute(grant, &[&role]).expect("a grant");
        client
            .query_one(revoke, &[&token.token()])
            .expect("a tier has what is new");
        owner
            .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
            .expect("nothing hangs on it");
    }
}

/// What docs/operations.md says to do for `anon`, who had to have the tier `client` for the endpoints.
#[test]
fn a_client_of_an_old_version_becomes_a_gateway() {
    let cluster = Cluster::shared();
    let of_role = |client: &mut Client, role: &str| -> Vec<String> {
        let sql = format!(
            "SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend
              WHERE refobjid = '{role}'::regrole
                AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
        );
        let rows = client.query(&sql, &[]).expect("a superuser may look");
        rows.iter().map(|row| row.get(0)).collect()
    };
    for version in RELEASED {
        let old = old_database(&cluster, version);
        let mut owner = cluster.connect(&old, "postgres");
        let (anon, other) = (format!("{old}_anon"), format!("{old}_other"));
        owner
            .batch_execute(&format!(
                "CREATE ROLE {anon}; CREATE ROLE {other}; SELECT auth.grant_refresh_token_role('{anon}', 'client'); {UPDATE};
                 SELECT auth.revoke_refresh_token_role('{anon}', 'client');
                 SELECT auth.grant_refresh_token_role('{anon}', 'gateway');
                 SELECT auth.grant_refresh_token_role('{other}', 'gateway')"
            ))
            .expect("an upgrade");
        assert_eq!(
            of_role(&mut owner, &anon),
            of_role(&mut owner, &other),
            "{version}"
        );
    }
}

/// Connections rotate while the schema changes under their plans: nobody gets an error.
#[test]
fn an_upgrade_beside_rotations_is_noticed_by_nobody() {
    let cluster = Cluster::shared();
    for version in RELEASED {
        let old = old_database(&cluster, version);
        let done = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|user| {
                let mut client = cluster.connect(&old, "postgres");
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    let mut token = issue(&mut client, &format!("user {user}"))
                        .token()
                        .to_owned();
                    let mut rotations = 0;
                    while !done.load(Ordering::Relaxed) || rotations < 20 {
                        let grant = rotate(&mut client, &token).expect("a verdict");
                        assert_eq!(grant.status, "rotated");
                        token = grant.token().to_owned();
                        rotations += 1;
                    }
                })
            })
            .collect();
        let mut owner = cluster.connect(&old, "postgres");
        owner.batch_execute(UPDATE).expect("an upgrade");
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client without an error");
        }
        assert_invariants(&mut owner);
    }
}
