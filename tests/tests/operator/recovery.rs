//! Restored to a point in time, or upgraded: what was true at that point is true again, to the row.
//! (Dumps are in `dump.rs`, crashes in `tokens/faults.rs`.)

use postgres::{Client, GenericClient};
use refresh_tokens_tests::{
    Cluster, Database, assert_invariants, contents, error_code, explain, issue,
    miscounted_sessions, pass_time, rotate, wait_until,
};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every row of both tables, in the version that it is in. Not the sequence: a recovery skips ids.
fn rows(client: &mut impl GenericClient) -> Vec<String> {
    let mut rows = contents(client);
    rows.retain(|row| !row.starts_with("sequence"));
    rows
}

fn ids(client: &mut Client) -> BTreeSet<i64> {
    let rows = client.query("SELECT id FROM auth.refresh_tokens", &[]);
    let rows = rows.expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Presents `token` and checks the status of the answer. Gives the answer's token, if it has one.
fn present(client: &mut impl GenericClient, token: &str, status: &str) -> Option<String> {
    let answer = rotate(client, token).expect("a verdict");
    assert_eq!(answer.status, status);
    answer.token
}

/// A server that keeps its WAL in the folder `archive` beside its data.
fn archiving() -> Arc<Cluster> {
    Arc::new(Cluster::start(&[
        "archive_mode = on",
        "archive_command = 'mkdir -p ../archive && cp \"%p\" \"../archive/%f\"'",
    ]))
}

fn create_restore_point(client: &mut Client, name: &str) {
    let row = client.query_one("SELECT pg_create_restore_point($1)::text", &[&name]);
    row.expect("a superuser may");
}

/// Waits until all that has happened by now is in the archive.
fn wait_for_the_archive(client: &mut Client) {
    let switched = client.query_one("SELECT pg_walfile_name(pg_switch_wal())", &[]);
    let file: String = switched.expect("a superuser may").get(0);
    wait_until("the last file of WAL is archived", || {
        let sql = "SELECT coalesce(last_archived_wal >= $1, false) FROM pg_stat_archiver";
        let row = client.query_one(sql, &[&file]);
        row.expect("a superuser may look").get(0)
    });
}

/// Lets `backup` become what its primary was at the restore point `name`.
fn restore(primary: &Cluster, backup: &Cluster, name: &str) {
    let archive = primary.folder().join("archive");
    backup.configure(&[
        "archive_mode = off",
        &format!("restore_command = 'cp \"{}/%f\" \"%p\"'", archive.display()),
        &format!("recovery_target_name = '{name}'"),
        "recovery_target_action = 'promote'",
    ]);
    fs::write(backup.data().join("recovery.signal"), "").expect("a writable data folder");
    backup.boot();
    let mut client = backup.connect("postgres", "postgres");
    wait_until("the recovery is complete", || {
        let row = client.query_one("SELECT NOT pg_is_in_recovery()", &[]);
        row.expect("an answer").get(0)
    });
}

#[test]
fn after_a_restore_to_before_a_rotation_the_old_token_is_live_again() {
    let primary = archiving();
    let database = Database::create_in(&primary);
    let mut client = database.connect();
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.reuse_interval = '1 h'",
        database.name
    );
    client.batch_execute(&sql).expect("a setting");
    let mut client = database.connect();

    let idle = issue(&mut client, "idle");
    let idle_1 = present(&mut client, idle.token(), "rotated").expect("a child");
    pass_time(&mut client, idle.session(), "2 h");
    let busy = issue(&mut client, "busy");
    let ended = issue(&mut client, "ended");
    let stolen = issue(&mut client, "stolen");
    let under_way = issue(&mut client, "under way");
    let backups = [primary.backup(&[], &[]), primary.backup(&[], &[])];

    // this is in the archive only, as all that follows
    let busy_1 = present(&mut client, busy.token(), "rotated").expect("a child");
    let stolen_1 = present(&mut client, stolen.token(), "rotated").expect("a child");
    pass_time(&mut client, stolen.session(), "2 h");
    let mut other = database.connect();
    let mut transaction = other.transaction().expect("a transaction");
    let under_way_1 = present(&mut transaction, under_way.token(), "rotated").expect("a child");
    let before = rows(&mut client);
    create_restore_point(&mut client, "before");

    transaction.commit().expect("a commit");
    let idle_2 = present(&mut client, &idle_1, "rotated").expect("a child");
    let busy_2 = present(&mut client, &busy_1, "rotated").expect("a child");
    let sql = "SELECT auth.revoke_session($1)";
    let revoked = client.query_one(sql, &[&ended.session()]);
    assert_eq!(revoked.expect("a count").get::<_, i64>(0), 1);
    present(&mut client, stolen.token(), "reuse_detected");
    let late = issue(&mut client, "late");
    let after = rows(&mut client);
    let ids_after = ids(&mut client);
    create_restore_point(&mut client, "after");

    // and this is lost either way
    let lost = present(&mut client, late.token(), "rotated").expect("a child");
    wait_for_the_archive(&mut client);
    drop((client, other));
    primary.stop("immediate");

    let [early, newer] = backups;
    restore(&primary, &early, "before");
    let mut client = early.connect(&database.name, "postgres");
    assert_eq!(rows(&mut client), before);
    for token in [&idle_2, &busy_2, late.token(), &under_way_1, &lost] {
        present(&mut client, token, "not_found");
    }
    let ids_before = ids(&mut client);
    // Who was idle gets another child than before; what the client got before is unknown for good.
    let other_child = present(&mut client, &idle_1, "rotated").expect("a child");
    assert_ne!(other_child, idle_2);
    present(&mut client, &idle_2, "not_found");
    // Who was busy has the same derivation key still, and gets the same child: either copy is the live one.
    let same_child = present(&mut client, &busy_1, "rotated").expect("a child");
    assert_eq!(same_child, busy_2);
    present(&mut client, &busy_2, "rotated");
    // A revocation after the point is undone like all else: this is what the operator has to do again.
    let live = client.query_one("SELECT auth.is_session_live($1)", &[&ended.session()]);
    assert!(live.expect("an answer").get::<_, bool>(0));
    present(&mut client, ended.token(), "rotated");
    present(&mut client, &stolen_1, "rotated");
    // What was not committed at the point is not there, and holds no lock.
    present(&mut client, under_way.token(), "rotated");
    assert_eq!(issue(&mut client, "late").status, "issued");
    let new = &ids(&mut client) - &ids_before;
    assert_eq!(new.len(), 7);
    assert!(new.first() > ids_before.last());
    assert_invariants(&mut client);
    assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
    drop(client);

    restore(&primary, &newer, "after");
    let mut client = newer.connect(&database.name, "postgres");
    assert_eq!(rows(&mut client), after);
    present(&mut client, &lost, "not_found");
    for (parent, child) in [
        (idle_1.as_str(), idle_2),
        (&busy_1, busy_2.clone()),
        (busy.token(), busy_2),
        (under_way.token(), under_way_1),
    ] {
        assert_eq!(present(&mut client, parent, "retried"), Some(child));
    }
    for token in [ended.token(), stolen.token(), &stolen_1] {
        present(&mut client, token, "revoked");
    }
    present(&mut client, late.token(), "rotated");
    let new = &ids(&mut client) - &ids_after;
    assert_eq!(new.len(), 1);
    assert!(new.first() > ids_after.last());
    assert_invariants(&mut client);
    assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
}

/// What belongs to the extension, what is dumped of it, and who may do what with it.
const OBJECTS: &str = "
    SELECT 'member ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend
     WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
    UNION ALL SELECT format('configured %s %L', relation::regclass, condition)
                FROM pg_extension, unnest(extconfig, extcondition) AS c (relation, condition)
               WHERE extname = 'refresh_tokens'
    UNION ALL SELECT format('in %s, %s', extnamespace::regnamespace, extversion) FROM pg_extension
               WHERE extname = 'refresh_tokens'
    UNION ALL SELECT format('%s %s %s', oid::regclass, relrowsecurity, reloptions) FROM pg_class
               WHERE relnamespace = 'auth'::regnamespace
    UNION ALL SELECT format('%s %s', oid::regclass, coalesce(relacl, acldefault('r', relowner))) FROM pg_class
               WHERE relnamespace = 'auth'::regnamespace AND relkind = 'r'
    UNION ALL SELECT format('%s %s', oid::regclass, coalesce(relacl, acldefault('s', relowner))) FROM pg_class
               WHERE relnamespace = 'auth'::regnamespace AND relkind = 'S'
    UNION ALL SELECT format('%s %s %s %s', oid::regprocedure, proconfig, prosecdef, proacl) FROM pg_proc
               WHERE pronamespace = 'auth'::regnamespace
    UNION ALL SELECT format('%s %s', oid::regtype, typacl) FROM pg_type
               WHERE typnamespace = 'auth'::regnamespace AND typcategory <> 'A'
                 -- those of a table's row type are lost in an upgrade of a 17: whoever uses it gets at no row
                 AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind <> 'c')
    UNION ALL SELECT format('at first %s %s', objoid::regprocedure, initprivs) FROM pg_init_privs
               WHERE classoid = 'pg_proc'::regclass AND privtype = 'e'
    UNION ALL SELECT format('schema %s', nspacl) FROM pg_namespace WHERE nspname = 'auth'
    ORDER BY 1";

/// `pg_upgrade` from one cluster to another of the same version does all that it does between two:
/// dumps the schema object by object, in the form for binary upgrades, and takes the tables' files over.
#[test]
fn every_session_and_every_grant_survives_pg_upgrade() {
    let bin = std::env::var("REFRESH_TOKENS_PG_BIN").expect("set: the harness needs it too");
    let old = Arc::new(Cluster::start(&[]));
    let database = Database::create_in(&old);
    let mut client = database.connect();
    client
        .batch_execute(&format!(
            "ALTER DATABASE {} SET refresh_tokens.reuse_interval = '1 h';
             CREATE ROLE app LOGIN;
             SELECT auth.grant_refresh_token_role('app', 'client');
             CREATE ROLE backoffice LOGIN;
             SELECT auth.grant_refresh_token_role('backoffice', 'operator');
             GRANT EXECUTE ON FUNCTION auth.is_session_live(uuid) TO backoffice;
             CREATE ROLE nobody LOGIN",
            database.name
        ))
        .expect("roles with tiers");
    let mut client = database.connect();
    let first = issue(&mut client, "alice");
    let second = present(&mut client, first.token(), "rotated").expect("a child");
    let live = present(&mut client, &second, "rotated").expect("a child");
    client
        .batch_execute("SELECT auth.issue_refresh_token('bob', aal => 'aal3', ip => '2001:db8::/32', not_after => 'infinity')")
        .expect("a login");
    let ended = issue(&mut client, "carol");
    let revoke = client.query_one("SELECT auth.revoke_session($1)", &[&ended.session()]);
    assert_eq!(revoke.expect("a count").get::<_, i64>(0), 1);
    // the newest id is in use no more, and must not be given again
    let newest = issue(&mut client, "dave");
    client
        .batch_execute("DELETE FROM auth.sessions WHERE user_id = 'dave'")
        .expect("a superuser may write");
    let state = contents(&mut client);
    let objects = lines(&mut client, OBJECTS);
    assert!(
        objects
            .iter()
            .filter(|line| line.starts_with("member"))
            .count()
            > 15
    );
    let kept = "SELECT aal::text || ' ' || not_after FROM auth.sessions WHERE user_id = 'bob'";
    drop(client);
    old.stop("fast");

    // A linked upgrade shares the old cluster's files, which can't be used any more then: it comes last.
    for mode in ["copied", "linked"] {
        let new = Cluster::start(&[]);
        new.stop("fast");
        let (old_data, new_data) = (old.data(), new.data());
        let arguments = [
            ["-b", &bin],
            ["-B", &bin],
            ["-d", old_data.to_str().expect("UTF-8")],
            ["-D", new_data.to_str().expect("UTF-8")],
            ["-s", new.socket().to_str().expect("UTF-8")],
            ["-U", "postgres"],
        ];
        let link: &[&str] = if mode == "linked" { &["--link"] } else { &[] };
        new.run(
            "pg_upgrade",
            &[&arguments.concat(), link, &["--no-sync"]].concat(),
        );
        new.boot();

        let mut client = new.connect(&database.name, "postgres");
        assert_eq!(contents(&mut client), state, "{mode}");
        assert_eq!(lines(&mut client, OBJECTS), objects, "{mode}");
        assert_eq!(lines(&mut client, kept), ["aal3 infinity"], "{mode}");
        for parent in [first.token(), &second] {
            let child = present(&mut client, parent, "retried");
            assert_eq!(child.as_ref(), Some(&live), "{mode}");
        }
        present(&mut client, ended.token(), "revoked");
        present(&mut client, newest.token(), "not_found");
        let mut app = new.connect(&database.name, "app");
        let rotated = rotate(&mut app, &live).expect("a verdict");
        assert_eq!(rotated.status, "rotated", "{mode}");
        assert_eq!(rotated.token_id, newest.token_id.map(|id| id + 1), "{mode}");
        let retry = present(&mut app, &second, "retried");
        assert_eq!(retry, rotated.token, "{mode}");
        let table = app.query("SELECT FROM auth.refresh_tokens", &[]);
        assert_eq!(error_code(table), "42501");
        let mut backoffice = new.connect(&database.name, "backoffice");
        assert_eq!(explain(&mut backoffice, &live).status, "retried");
        assert_eq!(error_code(rotate(&mut backoffice, &live)), "42501");
        let mut nobody = new.connect(&database.name, "nobody");
        assert_eq!(error_code(rotate(&mut nobody, &live)), "42501");
        assert_eq!(issue(&mut client, "erin").status, "issued", "{mode}");
        assert_invariants(&mut client);

        // it is the extension's own still: a member can't be dropped, and all go with the extension
        let dropped = client.batch_execute("DROP TABLE auth.refresh_tokens");
        assert_eq!(error_code(dropped), "2BP01", "{mode}");
        let anew = "DROP EXTENSION refresh_tokens; CREATE EXTENSION refresh_tokens";
        client.batch_execute(anew).expect("nothing is left behind");
        assert_eq!(issue(&mut client, "erin").token_id, Some(1), "{mode}");
    }
}
