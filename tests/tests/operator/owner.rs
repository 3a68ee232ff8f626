//! Whose the extension is: a table in other hands than the functions is never touched, and one role, which need
//! be no superuser, can own everything.

use postgres::{Client, Error};
use refresh_tokens_tests::{
    Cluster, Database, backend_pid, contents, counting_database, error_code, inner_statements,
    issue, pass_time, rotate, wait_until, waits,
};
use std::fs;
use std::thread;

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.200}\n{done:?}");
}

/// What a call came to: `ok` or a SQLSTATE.
fn outcome(result: Result<impl std::fmt::Debug, Error>) -> String {
    if result.is_ok() {
        return "ok".into();
    }
    error_code(result)
}

/// A new role that may log in, with a schema of its own.
fn developer(database: &Database, name: &str) -> String {
    let role = format!("{}_{name}", database.name);
    let sql = format!(
        "CREATE ROLE {role} LOGIN; CREATE SCHEMA {role} AUTHORIZATION {role}; GRANT USAGE ON SCHEMA auth TO {role}"
    );
    execute(&mut database.connect(), &sql);
    role
}

/// What makes whoever writes a row of `table`, which is `role`'s, make `role` a superuser. To be run as `role`.
fn trap(role: &str, table: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {role}.trap() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN ALTER ROLE {role} SUPERUSER; RETURN COALESCE(new, old); END $$;
         CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION {role}.trap()"
    )
}

fn is_superuser(client: &mut Client, role: &str) -> bool {
    let sql = "SELECT rolsuper FROM pg_roles WHERE rolname = $1::text";
    client.query_one(sql, &[&role]).expect("a role").get(0)
}

const TABLES: [&str; 4] = [
    "auth.sessions",
    "auth.refresh_tokens",
    "auth.refresh_token_events",
    "auth.signing_keys",
];

/// A call of each function, with the tables of [`TABLES`] that it touches by the first letter after `auth.refresh_` or
/// `auth.`: `s`essions, `t`okens, `e`vents, signing `k`eys.
const CALLS: [(&str, &str); 29] = [
    ("SELECT auth.issue_refresh_token('bob')", "st"),
    ("SELECT auth.issue_refresh_token('alice', {session})", "st"),
    ("SELECT auth.rotate_refresh_token({live})", "st"),
    ("SELECT auth.rotate_refresh_token({stale})", "ste"),
    ("SELECT auth.explain_refresh_token({live})", "st"),
    ("SELECT auth.revoke_refresh_token({live})", "ste"),
    ("SELECT auth.revoke_token_family({stale})", "ste"),
    ("SELECT auth.revoke_session({session})", "ste"),
    ("SELECT auth.revoke_user_sessions('alice')", "ste"),
    ("SELECT auth.introspect_refresh_token({live})", "st"),
    ("SELECT auth.is_session_live({session})", "s"),
    ("SELECT auth.is_my_session_live()", "s"),
    ("SELECT auth.check_session()", "s"),
    ("SELECT auth.list_sessions('alice')", "s"),
    ("SELECT * FROM auth.my_sessions", "s"),
    ("SELECT auth.revoke_my_session({session})", "ste"),
    ("SELECT auth.revoke_my_other_sessions()", "s"),
    ("SELECT auth.draw_token_family({session})", "t"),
    ("SELECT auth.purge_refresh_tokens()", "ste"),
    ("CALL auth.purge_all()", "ste"),
    ("SELECT auth.read_unpurgeable_sessions()", "s"),
    ("SELECT auth.revoke_orphan_batch(NULL)", "t"),
    ("SELECT auth.revoke_session_batch(NULL)", "ste"),
    ("SELECT * FROM auth.refresh_token_stats", "st"),
    ("SELECT auth.token('refresh_token', {live})", "stk"),
    ("SELECT auth.revoke({live}::text)", "ste"),
    ("SELECT auth.jwks()", "k"),
    ("SELECT auth.rotate_signing_key()", "k"),
    ("SELECT auth.sign_in_response('bob')", "stk"),
];

/// A session with a live token, and one before it that is stale by now.
struct Family {
    session: String,
    live: String,
    stale: String,
}

impl Family {
    fn new(superuser: &mut Client) -> Self {
        execute(superuser, "SELECT auth.rotate_signing_key()");
        let issued = issue(superuser, "alice");
        let second = rotate(superuser, issued.token()).expect("a verdict");
        let live = rotate(superuser, second.token()).expect("a verdict");
        pass_time(superuser, issued.session(), "1 h");
        Self {
            session: issued.session().to_string(),
            live: live.token().to_owned(),
            stale: issued.token().to_owned(),
        }
    }

    fn words(&self, call: &str) -> String {
        [
            ("{session}", &self.session),
            ("{live}", &self.live),
            ("{stale}", &self.stale),
        ]
        .iter()
        .fold(call.to_owned(), |call, (word, value)| {
            call.replace(word, &format!("'{value}'"))
        })
    }

    /// The claims of the family's access token.
    fn claims(&self) -> String {
        format!(
            r#"SET request.jwt.claims = '{{"sub": "alice", "session_id": "{}"}}'"#,
            self.session
        )
    }
}

fn touches(tables: &str, table: &str) -> bool {
    let letter = match table {
        "auth.sessions" => 's',
        "auth.refresh_tokens" => 't',
        "auth.refresh_token_events" => 'e',
        _ => 'k',
    };
    tables.contains(letter)
}

/// Lets what is tried out be undone, a detected reuse too, in the connections to come.
fn undone(database: &Database) {
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.durable_reuse = off",
        database.name
    );
    execute(&mut database.connect(), &sql);
}

/// Calls what touches no table of somebody else's, and undoes it.
fn try_out(client: &mut Client, call: &str) -> String {
    if call.starts_with("CALL") {
        return outcome(client.simple_query(call));
    }
    execute(client, "BEGIN");
    let outcome = outcome(client.simple_query(call));
    execute(client, "ROLLBACK");
    outcome
}

#[test]
fn a_table_in_other_hands_is_refused_by_every_function_that_touches_it() {
    for table in TABLES {
        let database = Database::create();
        undone(&database);
        let mut superuser = database.connect();
        let family = Family::new(&mut superuser);
        // with plans from before, and without
        let mut early = database.connect();
        execute(&mut early, &family.claims());
        for (call, _) in CALLS {
            assert_eq!(try_out(&mut early, &family.words(call)), "ok", "{call}");
        }
        let role = developer(&database, "dev");
        execute(
            &mut superuser,
            &format!("ALTER TABLE {table} OWNER TO {role}"),
        );
        execute(&mut database.connect_as(&role), &trap(&role, table));
        // but for the sequence, which counts what is undone
        let before = contents(&mut superuser).split_off(1);
        let mut late = database.connect();
        execute(&mut late, &family.claims());
        for client in [&mut early, &mut late] {
            for (call, tables) in CALLS {
                let words = family.words(call);
                if !touches(tables, table) {
                    assert_eq!(try_out(client, &words), "ok", "{table}: {call}");
                    continue;
                }
                let refused = client.simple_query(&words).expect_err(call);
                let error = refused.as_db_error().expect("an error of the server");
                assert_eq!(error.code().code(), "55000", "{table}: {call}: {error:?}");
                assert!(error.message().contains(table), "{call}: {error:?}");
                let hint = error.hint().unwrap_or_default();
                assert!(hint.contains("auth.set_refresh_token_owner"), "{error:?}");
            }
        }
        assert_eq!(contents(&mut superuser).split_off(1), before, "{table}");
        assert!(!is_superuser(&mut superuser, &role), "{table}");
    }
}

#[test]
fn a_table_that_changes_hands_while_a_call_waits_is_refused() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = developer(&database, "dev");
    for (call, tables) in CALLS {
        for table in TABLES {
            if !touches(tables, table) {
                continue;
            }
            let family = Family::new(&mut superuser);
            let mut waiting = database.connect();
            execute(&mut waiting, &family.claims());
            let pid = backend_pid(&mut waiting);
            execute(
                &mut superuser,
                &format!(
                    "BEGIN; ALTER TABLE {table} OWNER TO {role}; SET LOCAL ROLE {role}; {}; RESET ROLE",
                    trap(&role, table)
                ),
            );
            let words = family.words(call);
            let waiting = thread::spawn(move || outcome(waiting.simple_query(&words)));
            let mut other = database.connect();
            wait_until("it waits for the table", || waits(&mut other, pid));
            execute(&mut superuser, "COMMIT");
            let outcome = waiting.join().expect("an outcome");
            assert_eq!(outcome, "55000", "{table}: {call}");
            assert!(!is_superuser(&mut superuser, &role), "{table}: {call}");
            execute(
                &mut superuser,
                &format!("ALTER TABLE {table} OWNER TO postgres; DROP TRIGGER trap ON {table}"),
            );
        }
    }
}

#[test]
fn the_worker_touches_no_table_in_other_hands() {
    for table in &TABLES[..3] {
        let cluster = std::sync::Arc::new(Cluster::start(&[
            "shared_preload_libraries = 'refresh_tokens'",
            "refresh_tokens.purge_interval = '1 s'",
        ]));
        let database = Database::create_in(&cluster);
        let mut superuser = database.connect();
        let issued = issue(&mut superuser, "alice");
        execute(
            &mut superuser,
            &format!("SELECT auth.revoke_session('{}')", issued.session()),
        );
        pass_time(&mut superuser, issued.session(), "1 year");
        execute(
            &mut superuser,
            "UPDATE auth.refresh_token_events SET occurred_at = '2000-01-01'",
        );
        let role = developer(&database, "dev");
        execute(
            &mut superuser,
            &format!("ALTER TABLE {table} OWNER TO {role}"),
        );
        execute(&mut database.connect_as(&role), &trap(&role, table));
        cluster.configure(&[&format!(
            "refresh_tokens.purge_databases = '{}'",
            database.name
        )]);
        execute(&mut superuser, "SELECT pg_reload_conf()");
        wait_until("the worker says why it does nothing", || {
            let log = fs::read_to_string(cluster.log()).expect("a log");
            log.contains(table) || is_superuser(&mut superuser, &role)
        });
        assert!(!is_superuser(&mut superuser, &role), "{table}");
        let count = format!("SELECT count(*)::text FROM {table}");
        assert_eq!(lines(&mut superuser, &count), ["1"], "{table}");
    }
}

/// Functions are refused the tables of another role as well: a function's new owner gains nothing.
#[test]
fn a_function_in_other_hands_touches_no_table() {
    let database = Database::create();
    let mut superuser = database.connect();
    let family = Family::new(&mut superuser);
    let role = developer(&database, "dev");
    let sql = "SELECT oid::regprocedure::text FROM pg_proc
                WHERE pronamespace = 'auth'::regnamespace AND prokind = 'f' AND prosecdef";
    for function in lines(&mut superuser, sql) {
        let alter = format!("ALTER FUNCTION {function} OWNER TO {role}");
        execute(&mut superuser, &alter);
    }
    // what a table's grants would let him do is refused as well
    execute(
        &mut superuser,
        &format!(
            "GRANT ALL ON ALL TABLES IN SCHEMA auth TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA auth TO {role}"
        ),
    );
    let before = contents(&mut superuser);
    let mut client = database.connect();
    execute(&mut client, &family.claims());
    for (call, _) in CALLS {
        let called = outcome(client.simple_query(&family.words(call)));
        assert_eq!(called, "55000", "{call}");
    }
    assert_eq!(contents(&mut superuser), before);
}

/// A sequence runs nobody's code, but whoever owns it chooses the ids.
#[test]
fn a_sequence_in_other_hands_is_refused_by_what_inserts() {
    let database = Database::create();
    let mut superuser = database.connect();
    let family = Family::new(&mut superuser);
    let role = developer(&database, "dev");
    for (sequence, owned_by, calls) in [
        (
            "auth.refresh_tokens_id_seq",
            "auth.refresh_tokens.id",
            "SELECT auth.issue_refresh_token('bob')",
        ),
        (
            "auth.refresh_token_events_id_seq",
            "auth.refresh_token_events.id",
            "SELECT auth.revoke_session({session})",
        ),
    ] {
        execute(
            &mut superuser,
            &format!(
                "ALTER SEQUENCE {sequence} OWNED BY NONE; ALTER SEQUENCE {sequence} OWNER TO {role}"
            ),
        );
        let called = outcome(superuser.simple_query(&family.words(calls)));
        assert_eq!(called, "55000", "{sequence}");
        let is_live = format!("SELECT auth.is_session_live('{}')::text", family.session);
        assert_eq!(lines(&mut superuser, &is_live), ["true"]);
        // one call mends it
        execute(
            &mut superuser,
            "SELECT auth.set_refresh_token_owner('postgres')",
        );
        let called = try_out(&mut superuser, &family.words(calls));
        assert_eq!(called, "ok", "{sequence}");
        execute(
            &mut superuser,
            &format!("ALTER SEQUENCE {sequence} OWNED BY {owned_by}"),
        );
    }
}

// ---- set_refresh_token_owner ---------------------------------------------------------------------------------------

/// Every object of the extension with its privileges, of those that belong to {owner}, who is shown as OWNER; without
/// the types of arrays.
const MEMBERS: &str = "
    SELECT concat_ws(' ', i.type, i.identity, replace(coalesce(proowner, relowner, typowner)::regrole::text, '{owner}', 'OWNER'),
                     (SELECT string_agg(shown, ',' ORDER BY shown)
                        FROM unnest(coalesce(proacl, relacl, typacl)) AS a, replace(a::text, '{owner}', 'OWNER') AS shown))
      FROM pg_depend AS d
     CROSS JOIN pg_identify_object(d.classid, d.objid, 0) AS i
      LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
      LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
      LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
     WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
       AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
       AND typcategory IS DISTINCT FROM 'A'
     ORDER BY 1";

fn members(client: &mut Client, owner: &str) -> Vec<String> {
    lines(client, &MEMBERS.replace("{owner}", owner))
}

/// A new role that owns everything: it can't log in, and is nothing else.
fn owner(database: &Database) -> String {
    let role = format!("{}_owner", database.name);
    let sql = format!("CREATE ROLE {role} NOLOGIN; SELECT auth.set_refresh_token_owner('{role}')");
    execute(&mut database.connect(), &sql);
    role
}

#[test]
fn everything_is_given_to_the_new_owner_and_all_grants_stay() {
    let database = Database::create();
    let mut superuser = database.connect();
    let app = format!("{}_app", database.name);
    execute(
        &mut superuser,
        &format!(
            "CREATE ROLE {app} LOGIN;
             SELECT auth.grant_refresh_token_role('{app}', tier) FROM unnest('{{gateway,server,user,operator}}'::text[]) AS tier"
        ),
    );
    let before = members(&mut superuser, "postgres");
    assert!(before.len() > 40, "{before:?}");
    assert!(before.iter().all(|member| member.contains(" OWNER ")));
    let owner = owner(&database);
    assert_eq!(members(&mut superuser, &owner), before);
    // indexes too, and whatever else lies in the schema
    let sql = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'auth'::regnamespace";
    assert_eq!(lines(&mut superuser, sql), [owner.as_str()]);
    // the schema is its owner's, and the new owner of the rest can only use it
    let sql = format!(
        "SELECT concat_ws(' ', nspowner::regrole, has_schema_privilege('{owner}', oid, 'USAGE'),
                          has_schema_privilege('{owner}', oid, 'CREATE')) FROM pg_namespace WHERE nspname = 'auth'"
    );
    assert_eq!(lines(&mut superuser, &sql), ["postgres t f"]);
    // once more changes nothing, and there is a way back
    let set = |owner: &str| format!("SELECT auth.set_refresh_token_owner('{owner}')");
    execute(&mut superuser, &set(&owner));
    assert_eq!(members(&mut superuser, &owner), before);
    execute(&mut superuser, &set("postgres"));
    assert_eq!(members(&mut superuser, "postgres"), before);
    // a former owner has the schema left, till that is taken as well
    execute(
        &mut superuser,
        &format!("SELECT auth.revoke_refresh_token_role('{owner}', 'gateway'); DROP ROLE {owner}"),
    );
}

#[test]
fn every_function_works_for_an_owner_that_is_no_superuser_and_cannot_log_in() {
    let database = Database::create();
    undone(&database);
    let mut superuser = database.connect();
    // from plans that the old owner has made, too
    let mut early = database.connect();
    let family = Family::new(&mut superuser);
    for (call, _) in CALLS {
        assert_eq!(try_out(&mut early, &family.words(call)), "ok", "{call}");
    }
    owner(&database);
    let app = format!("{}_app", database.name);
    execute(
        &mut superuser,
        &format!(
            "CREATE ROLE {app} LOGIN;
             SELECT auth.grant_refresh_token_role('{app}', tier) FROM unnest('{{gateway,server,user,operator}}'::text[]) AS tier;
             GRANT EXECUTE ON FUNCTION auth.rotate_signing_key, auth.is_my_session_live TO {app}"
        ),
    );
    for client in [&mut early, &mut database.connect_as(&app)] {
        let family = Family::new(&mut superuser);
        execute(client, &family.claims());
        for (call, _) in CALLS {
            assert_eq!(try_out(client, &family.words(call)), "ok", "{call}");
        }
        // what ends it leaves its event
        let stale = rotate(client, &family.stale).expect("a verdict");
        assert_eq!(stale.status, "reuse_detected");
        let sql = format!(
            "SELECT event FROM auth.refresh_token_events WHERE session_id = '{}'",
            family.session
        );
        assert_eq!(lines(&mut superuser, &sql), ["reuse_detected"]);
    }
    // rows beyond their time are purged
    execute(
        &mut superuser,
        "UPDATE auth.sessions SET created_at = '2000-01-01', refreshed_at = '2000-01-01', not_after = '2000-01-02';
         UPDATE auth.refresh_tokens SET created_at = '2000-01-01', updated_at = '2000-01-01'",
    );
    execute(&mut database.connect_as(&app), "CALL auth.purge_all()");
    let sql = "SELECT count(*)::text FROM auth.sessions";
    assert_eq!(lines(&mut superuser, sql), ["0"]);
}

#[test]
fn a_rotation_takes_no_statement_for_an_owner_that_is_no_superuser() {
    let database = counting_database();
    let mut superuser = database.connect();
    owner(&database);
    let issued = issue(&mut superuser, "alice");
    let next = rotate(&mut superuser, issued.token()).expect("a verdict");
    inner_statements(&mut superuser);
    let rotated = rotate(&mut superuser, next.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    let ours = inner_statements(&mut superuser)
        .into_iter()
        .filter(|(sql, ..)| sql.contains("INSERT INTO auth.refresh_tokens"));
    let by_statements = std::env::var_os("REFRESH_TOKENS_BY_STATEMENTS").is_some();
    assert_eq!(ours.count() > 0, by_statements);
}

#[test]
fn an_owner_that_makes_no_sense_is_refused_and_nothing_moves() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = developer(&database, "dev");
    let before = members(&mut superuser, "postgres");
    for (argument, code) in [
        ("NULL", "22004"),
        ("''", "42704"),
        ("'no such role'", "42704"),
        ("'public'", "42704"),
        ("'current_user'", "42704"),
    ] {
        let call = format!("SELECT auth.set_refresh_token_owner({argument})");
        assert_eq!(error_code(superuser.simple_query(&call)), code, "{call}");
    }
    // nobody is granted it; and who is, by mistake, has no more rights than his own
    let call = format!("SELECT auth.set_refresh_token_owner('{role}')");
    let mut client = database.connect_as(&role);
    assert_eq!(error_code(client.simple_query(&call)), "42501");
    execute(
        &mut superuser,
        &format!("GRANT EXECUTE ON FUNCTION auth.set_refresh_token_owner TO {role}"),
    );
    assert_eq!(error_code(client.simple_query(&call)), "42501");
    execute(
        &mut superuser,
        &format!("REVOKE EXECUTE ON FUNCTION auth.set_refresh_token_owner FROM {role}"),
    );
    assert_eq!(members(&mut superuser, "postgres"), before);
}

/// What a table's owner has defined on it would run with the functions' rights once they have the table again.
#[test]
fn what_a_former_owner_has_left_on_a_table_is_refused() {
    let tables = ["auth.sessions", "auth.refresh_token_events"];
    for (at, (left, drop)) in [
        (
            "CREATE TRIGGER trap AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {role}.trap()",
            "DROP TRIGGER trap ON {table}",
        ),
        (
            "ALTER TABLE {table} ALTER user_agent SET DEFAULT {role}.text()",
            "ALTER TABLE {table} ALTER user_agent DROP DEFAULT",
        ),
        (
            "ALTER TABLE {table} ADD CONSTRAINT trap CHECK ({role}.text() <> '')",
            "ALTER TABLE {table} DROP CONSTRAINT trap",
        ),
        (
            "CREATE INDEX trap ON {table} (({role}.text(user_agent)))",
            "DROP INDEX auth.trap",
        ),
        (
            "CREATE POLICY trap ON {table} USING ({role}.text() <> ''); ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            "DROP POLICY trap ON {table}",
        ),
        (
            "CREATE RULE trap AS ON INSERT TO {table} DO ALSO SELECT {role}.text()",
            "DROP RULE trap ON {table}",
        ),
    ]
    .into_iter()
    .enumerate()
    {
            let table = tables[at % 2];
            let database = Database::create();
            let mut superuser = database.connect();
            let role = developer(&database, "dev");
            execute(
                &mut superuser,
                &format!("GRANT CREATE ON SCHEMA auth TO {role}; ALTER TABLE {table} OWNER TO {role}"),
            );
            execute(
                &mut database.connect_as(&role),
                &format!(
                    "CREATE FUNCTION {role}.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
                     CREATE FUNCTION {role}.text(text DEFAULT '') RETURNS text IMMUTABLE RETURN 'x';
                     {}",
                    left.replace("{table}", table).replace("{role}", &role)
                ),
            );
            let remedy = "SELECT auth.set_refresh_token_owner('postgres')";
            let refused = superuser.simple_query(remedy).expect_err(left);
            let error = refused.as_db_error().expect("an error of the server");
            assert_eq!(error.code().code(), "55000", "{left}: {error:?}");
            assert!(error.message().contains(&role), "{left}: {error:?}");
            execute(&mut superuser, &drop.replace("{table}", table));
            execute(&mut superuser, remedy);
            assert_eq!(issue(&mut superuser, "alice").status, "issued", "{left}");
    }
}

#[test]
fn a_trigger_of_a_superusers_is_no_obstacle() {
    let database = Database::create();
    let mut superuser = database.connect();
    execute(
        &mut superuser,
        "CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
         CREATE TRIGGER watch BEFORE INSERT ON auth.sessions FOR EACH ROW EXECUTE FUNCTION public.watch()",
    );
    owner(&database);
    assert_eq!(issue(&mut superuser, "alice").status, "issued");
}
