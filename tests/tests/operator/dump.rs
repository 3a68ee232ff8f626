//! A dump, restored into a new database: nobody is logged out, nothing comes back to life, nothing
//! collides, and everybody may do what they could.

use postgres::Client;
use refresh_tokens_tests::format::{digest, mint, unknown_token};
use refresh_tokens_tests::{Database, call, error_code, explain, issue, pass_time, rotate};
use std::fs;
use std::path::PathBuf;

/// Ways from a database to a new one.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// `pg_dump | psql`
    Plain,
    /// `pg_dump -Fc` and `pg_restore`
    Custom,
    /// `pg_dump -Fd -j2` and `pg_restore -j2`. The tables of an extension have their foreign key before
    /// they have their rows, and a parallel restore knows no order between tables: so it has to be told
    /// not to look at foreign keys, which hold in the dump.
    Parallel,
    /// `pg_dump --data-only` into a database where the extension has been created
    DataOnly,
}

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Dumps `database` with `options` into a file of the cluster's folder, and gives its path.
fn dump(database: &Database, name: &str, options: &[&str]) -> PathBuf {
    let file = database.cluster().folder().join(name);
    let target = ["-d", &database.name, "-f", file.to_str().expect("UTF-8")];
    database
        .cluster()
        .run("pg_dump", &[options, &target].concat());
    file
}

/// A new database with what was dumped of `database`.
fn restore(database: &Database, way: Way) -> String {
    let cluster = database.cluster();
    let copy = cluster.create_database();
    let options: &[&str] = match way {
        Way::Plain => &[],
        Way::Custom => &["-Fc"],
        Way::Parallel => &["-Fd", "-j2"],
        Way::DataOnly => &["--data-only"],
    };
    let file = dump(database, &format!("{copy}.dump"), options);
    let file = file.to_str().expect("UTF-8");
    match way {
        Way::Plain | Way::DataOnly => {
            if matches!(way, Way::DataOnly) {
                cluster
                    .connect(&copy, "postgres")
                    .batch_execute("CREATE EXTENSION refresh_tokens")
                    .expect("an empty database");
            }
            cluster.run(
                "psql",
                &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &copy, "-f", file],
            );
        }
        Way::Custom => drop(cluster.run("pg_restore", &["-e", "-d", &copy, file])),
        Way::Parallel => {
            let target = format!("dbname={copy} options='-c session_replication_role=replica'");
            cluster.run("pg_restore", &["-e", "-j2", "-d", &target, file]);
        }
    }
    copy
}

/// A dump as text, without what differs from one dump to the next: comments, and the random keys of
/// `\restrict`.
fn text(file: PathBuf) -> Vec<String> {
    let dump = fs::read_to_string(file).expect("a plain dump");
    let is_noise = |line: &&str| {
        line.starts_with("--") || line.starts_with("\\restrict") || line.starts_with("\\unrestrict")
    };
    let lines = dump.lines().filter(|line| !is_noise(line));
    lines.map(str::to_owned).collect()
}

/// Every row of the tables, the sequences' state, what belongs to the extension, and what is dumped
/// of it.
const STATE: &str = "
    SELECT 'session ' || s::text FROM auth.sessions s
    UNION ALL SELECT 'token ' || t::text FROM auth.refresh_tokens t
    UNION ALL SELECT 'event ' || e::text FROM auth.refresh_token_events e
    UNION ALL SELECT format('sequence %s %s', last_value, is_called) FROM auth.refresh_tokens_id_seq
    UNION ALL SELECT format('sequence of events %s %s', last_value, is_called) FROM auth.refresh_token_events_id_seq
    UNION ALL SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
               WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
                 AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
    UNION ALL SELECT format('configured %s %L', relation::regclass, condition)
                FROM pg_extension, unnest(extconfig, extcondition) AS c (relation, condition)
               WHERE extname = 'refresh_tokens'
    UNION ALL SELECT format('in %s, %s', extnamespace::regnamespace, extversion) FROM pg_extension
               WHERE extname = 'refresh_tokens'
    UNION ALL SELECT format('%s %s %s', oid::regclass, relrowsecurity, reloptions) FROM pg_class
               WHERE relnamespace = 'auth'::regnamespace
    ORDER BY 1";

/// Who may do what with the extension's objects.
const GRANTS: &str = "
    SELECT oid::regprocedure || ' ' || a::text FROM pg_proc, unnest(proacl) a WHERE pronamespace = 'auth'::regnamespace
    UNION ALL SELECT oid::regclass || ' ' || a::text FROM pg_class, unnest(relacl) a WHERE relnamespace = 'auth'::regnamespace
    UNION ALL SELECT oid::regtype || ' ' || a::text FROM pg_type, unnest(typacl) a
               WHERE typnamespace = 'auth'::regnamespace AND typcategory <> 'A'
    UNION ALL SELECT 'schema ' || a::text FROM pg_namespace, unnest(nspacl) a WHERE nspname = 'auth'
    ORDER BY 1";

#[test]
fn every_session_is_usable_after_a_restore() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute("SET refresh_tokens.reuse_interval = '1 h'")
        .expect("a setting");
    let fresh = call(
        &mut client,
        "issue_refresh_token(E'Älice \"\\\\\\t', instance_id => '00000000-0000-4000-8000-000000000001', client_id => 'äpp',
                             scopes => E'read\\nwrite', aal => 'aal3', tag => '', not_after => 'infinity',
                             user_agent => E'\\\\N', ip => '2001:db8::/32')",
        &[],
    )
    .expect("a login");
    let old = issue(&mut client, "bob");
    pass_time(&mut client, old.session(), "10 d");
    let parent = rotate(&mut client, old.token()).expect("a verdict");
    let live = rotate(&mut client, parent.token()).expect("a verdict");
    pass_time(&mut client, old.session(), "30 min");
    let ended = issue(&mut client, "carol");
    client
        .query_one("SELECT auth.revoke_session($1)", &[&ended.session()])
        .expect("a count");
    let stolen = issue(&mut client, "dave");
    let stolen_live = rotate(&mut client, stolen.token()).expect("a verdict");
    pass_time(&mut client, stolen.session(), "2 h");
    let orphan = unknown_token();
    client
        .execute(
            "INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at) VALUES ($1, 'erin', false, now())",
            &[&digest(&orphan)],
        )
        .expect("a superuser may write");
    // the newest id is in use no more, and must not be given again
    let newest = issue(&mut client, "frank");
    client
        .execute("DELETE FROM auth.sessions WHERE user_id = 'frank'", &[])
        .expect("a superuser may write");
    let state = lines(&mut client, STATE);
    assert!(
        state
            .iter()
            .filter(|line| line.starts_with("token"))
            .count()
            >= 8
    );

    for way in [Way::Plain, Way::Custom, Way::Parallel, Way::DataOnly] {
        let copy = restore(&database, way);
        let mut client = database.cluster().connect(&copy, "postgres");
        client
            .batch_execute("SET refresh_tokens.reuse_interval = '1 h'")
            .expect("a setting");
        assert_eq!(lines(&mut client, STATE), state, "{way:?}");

        let retried = rotate(&mut client, parent.token()).expect("a verdict");
        assert_eq!(
            (retried.status.as_str(), &retried.token),
            ("retried", &live.token),
            "{way:?}"
        );
        let rotated = rotate(&mut client, live.token()).expect("a verdict");
        assert_eq!(rotated.status, "rotated", "{way:?}");
        let next = newest.token_id.map(|id| id + 1);
        assert_eq!(rotated.token_id, next, "{way:?}");
        assert_eq!(
            rotate(&mut client, parent.token())
                .expect("a verdict")
                .token,
            rotated.token,
            "the chain is derived on from before the dump: {way:?}"
        );
        let function = "rotate_refresh_token($1, 'äpp')";
        let rotated = call(&mut client, function, &[&fresh.token()]).expect("a verdict");
        assert_eq!(rotated.status, "rotated", "{way:?}");
        assert_eq!(explain(&mut client, &orphan).status, "rotated", "{way:?}");
        for (token, status) in [
            (ended.token(), "revoked"),
            (stolen.token(), "reuse_detected"),
            (stolen_live.token(), "revoked"),
            (newest.token(), "not_found"),
            (&mint(1, [0, 0], [0; 32]), "not_found"),
            (&orphan, "rotated"),
        ] {
            let answer = rotate(&mut client, token).expect("a verdict");
            assert_eq!(answer.status, status, "{way:?}");
        }
        assert_eq!(issue(&mut client, "grace").status, "issued");
    }
    // each way began with the same database, which is as it was
    assert_eq!(lines(&mut client, STATE), state);
}

#[test]
fn the_grants_of_the_tiers_survive() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = issue(&mut client, "alice");
    let role = |tier: &str| format!("{}_{tier}", database.name);
    for tier in ["client", "gateway", "server", "operator", "nobody"] {
        client
            .batch_execute(&format!("CREATE ROLE {} LOGIN", role(tier)))
            .expect("a new role");
        if tier != "nobody" {
            let grant = format!(
                "SELECT auth.grant_refresh_token_role('{}', '{tier}')",
                role(tier)
            );
            client.batch_execute(&grant).expect("a grant");
        }
    }
    // one function more for one role, and one less for another
    client
        .batch_execute(&format!(
            "GRANT EXECUTE ON FUNCTION auth.is_session_live(uuid) TO {};
             REVOKE EXECUTE ON FUNCTION auth.revoke_session(uuid) FROM {}",
            role("client"),
            role("server"),
        ))
        .expect("a superuser may");
    let grants = lines(&mut client, GRANTS);
    for way in [Way::Plain, Way::Custom] {
        let copy = restore(&database, way);
        let cluster = database.cluster();
        let mut restored = cluster.connect(&copy, "postgres");
        assert_eq!(lines(&mut restored, GRANTS), grants, "{way:?}");
        let mut client = cluster.connect(&copy, &role("client"));
        let rotated = rotate(&mut client, issued.token()).expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        let table = client.query("SELECT FROM auth.refresh_tokens", &[]);
        assert_eq!(error_code(table), "42501");
        let mut nobody = cluster.connect(&copy, &role("nobody"));
        assert_eq!(error_code(rotate(&mut nobody, issued.token())), "42501");
    }
}

/// Every object of the extension with its owner and its privileges, and those of the schema.
const OWNERS: &str = "
    SELECT concat_ws(' ', i.identity, coalesce(proowner, relowner, typowner)::regrole,
                     (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(coalesce(proacl, relacl, typacl)) AS a))
      FROM pg_depend AS d
     CROSS JOIN pg_identify_object(d.classid, d.objid, 0) AS i
      LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
      LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
      LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
     WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
       AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
     UNION ALL
    SELECT concat_ws(' ', 'schema', nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname = 'auth'
     ORDER BY 1";

/// A dump knows no owner of an extension's objects: docs/operations.md says what to call after a restore.
#[test]
fn the_owner_is_set_again_after_a_restore_and_all_is_as_it_was() {
    let database = Database::create();
    let mut client = database.connect();
    let (owner, app) = (
        format!("{}_owner", database.name),
        format!("{}_app", database.name),
    );
    client
        .batch_execute(&format!(
            "CREATE ROLE {owner} NOLOGIN; CREATE ROLE {app} LOGIN;
             SELECT auth.set_refresh_token_owner('{owner}');
             SELECT auth.grant_refresh_token_role('{app}', tier) FROM unnest('{{gateway,server,operator}}'::text[]) AS tier"
        ))
        .expect("an owner and a tier");
    let issued = issue(&mut client, "alice");
    let (owners, state) = (lines(&mut client, OWNERS), lines(&mut client, STATE));
    assert!(owners.iter().all(|line| line.contains(&owner)));
    for way in [Way::Plain, Way::Custom, Way::Parallel] {
        let copy = restore(&database, way);
        let cluster = database.cluster();
        let mut restored = cluster.connect(&copy, "postgres");
        assert_eq!(lines(&mut restored, STATE), state, "{way:?}");
        // till then it works with the superuser as owner, who restored it
        let mut client = cluster.connect(&copy, &app);
        assert_eq!(explain(&mut client, issued.token()).status, "rotated");
        restored
            .batch_execute(&format!("SELECT auth.set_refresh_token_owner('{owner}')"))
            .expect("what the docs say");
        assert_eq!(lines(&mut restored, OWNERS), owners, "{way:?}");
        let rotated = rotate(&mut client, issued.token()).expect("a verdict");
        assert_eq!(rotated.status, "rotated", "{way:?}");
    }
}

#[test]
fn a_dump_of_the_restored_database_is_the_same_dump() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = issue(&mut client, "alice");
    rotate(&mut client, issued.token()).expect("a verdict");
    client
        .batch_execute(&format!(
            "CREATE ROLE {0} LOGIN; SELECT auth.grant_refresh_token_role('{0}', 'server')",
            format_args!("{}_app", database.name)
        ))
        .expect("a role with a tier");
    let copy = restore(&database, Way::Plain);
    let first = dump(&database, "first.sql", &[]);
    let second = database.cluster().folder().join("second.sql");
    let target = ["-d", &copy, "-f", second.to_str().expect("UTF-8")];
    database.cluster().run("pg_dump", &target);
    let first = text(first);
    assert!(
        first
            .iter()
            .any(|line| line.starts_with("COPY auth.refresh_tokens "))
    );
    assert!(first.iter().any(|line| line.starts_with("GRANT ")));
    assert_eq!(first, text(second));
}

/// `pg_dump --schema-only` leaves out the rows of configuration tables and the sequence's state as well:
/// what is restored from it is an extension as CREATE EXTENSION makes it, and everybody is logged out.
#[test]
fn a_dump_of_the_schema_alone_has_no_session_and_no_secret() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = issue(&mut client, "alice");
    let rotated = rotate(&mut client, issued.token()).expect("a verdict");
    let sql = "SELECT token FROM auth.refresh_tokens UNION ALL SELECT refresh_token_hmac_key FROM auth.sessions";
    let secrets = lines(&mut client, sql);
    assert_eq!(secrets.len(), 3);
    let shows = |file: &PathBuf| {
        let dump = fs::read_to_string(file).expect("a plain dump");
        secrets
            .iter()
            .filter(|&secret| dump.contains(secret))
            .count()
    };
    assert_eq!(shows(&dump(&database, "all.sql", &[])), 3);
    let without = ["--exclude-table-data=auth.*"];
    assert_eq!(shows(&dump(&database, "without.sql", &without)), 0);
    let schema = dump(&database, "schema.sql", &["--schema-only"]);
    assert_eq!(shows(&schema), 0);

    let copy = database.cluster().create_database();
    let file = schema.to_str().expect("UTF-8");
    let target = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &copy, "-f", file];
    database.cluster().run("psql", &target);
    let mut client = database.cluster().connect(&copy, "postgres");
    let answer = rotate(&mut client, rotated.token()).expect("a verdict");
    assert_eq!(answer.status, "not_found");
    assert_eq!(issue(&mut client, "alice").token_id, Some(1));
}
