//! Who may do what: tiers, PUBLIC, settings, and what a hostile role can't reach.

use postgres::{Client, Error, NoTls};
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{Cluster, Database, contents, error_code, issue, pass_time, rotate};
use uuid::Uuid;

const TIERS: [&str; 5] = ["gateway", "client", "user", "server", "operator"];

/// Each function, a call of it that any role with EXECUTE may make, and the tiers that have it.
const FUNCTIONS: [(&str, &str, &[&str]); 42] = [
    (
        "rotate_refresh_token(text,text,text,inet)",
        "rotate_refresh_token('pgrt_')",
        &["client", "server"],
    ),
    (
        "revoke_refresh_token(text)",
        "revoke_refresh_token('pgrt_')",
        &["client", "server"],
    ),
    (
        "issue_refresh_token(text,uuid,uuid,text,text,auth.aal_level,text,timestamp with time zone,text,inet)",
        "issue_refresh_token('somebody', aal => 'aal1')",
        &["server"],
    ),
    (
        "revoke_token_family(text)",
        "revoke_token_family('nobody''s')",
        &["server"],
    ),
    (
        "revoke_session(uuid)",
        "revoke_session('00000000-0000-0000-0000-000000000000')",
        &["server"],
    ),
    (
        "revoke_user_sessions(text,uuid)",
        "revoke_user_sessions('nobody')",
        &["server"],
    ),
    (
        "is_session_live(uuid)",
        "is_session_live('00000000-0000-0000-0000-000000000000')",
        &["server"],
    ),
    (
        "introspect_refresh_token(text)",
        "introspect_refresh_token('pgrt_')",
        &["server"],
    ),
    (
        "list_sessions(text)",
        "list_sessions('nobody')",
        &["server"],
    ),
    ("list_my_sessions()", "list_my_sessions()", &["user"]),
    (
        "revoke_my_session(uuid)",
        "revoke_my_session('00000000-0000-0000-0000-000000000000')",
        &["user"],
    ),
    (
        "revoke_my_other_sessions()",
        "revoke_my_other_sessions()",
        &["user"],
    ),
    (
        "explain_refresh_token(text)",
        "explain_refresh_token('pgrt_')",
        &["operator"],
    ),
    (
        "draw_token_family(uuid)",
        "draw_token_family('00000000-0000-0000-0000-000000000000')",
        &["operator"],
    ),
    (
        "purge_refresh_tokens(integer)",
        "purge_refresh_tokens()",
        &["operator"],
    ),
    (
        "begin_batches(text)",
        "begin_batches('x')",
        &["server", "operator"],
    ),
    (
        "read_unpurgeable_sessions()",
        "read_unpurgeable_sessions()",
        &["operator"],
    ),
    (
        "revoke_session_batch(uuid,integer)",
        "revoke_session_batch(NULL)",
        &["server"],
    ),
    (
        "revoke_orphan_batch(bigint,integer)",
        "revoke_orphan_batch(NULL)",
        &["server"],
    ),
    (
        "read_refresh_token_stats()",
        "read_refresh_token_stats()",
        &["operator"],
    ),
    (
        "read_refresh_token_answers()",
        "read_refresh_token_answers()",
        &["operator"],
    ),
    (
        "reset_refresh_token_stats()",
        "reset_refresh_token_stats()",
        &["operator"],
    ),
    (
        "check_refresh_tokens()",
        "check_refresh_tokens()",
        &["operator"],
    ),
    (
        "token(text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text)",
        "token('refresh_token', 'pgrt_')",
        &["gateway"],
    ),
    ("token(jsonb)", "token('{}'::jsonb)", &["gateway"]),
    (
        "revoke(text,text,text,text,text,text)",
        "revoke('pgrt_'::text)",
        &["gateway"],
    ),
    ("revoke(jsonb)", "revoke('{}'::jsonb)", &["gateway"]),
    (
        "introspect(text,text,text,text,text,text)",
        "introspect('pgrt_'::text)",
        &["gateway"],
    ),
    ("introspect(jsonb)", "introspect('{}'::jsonb)", &["gateway"]),
    ("jwks()", "jwks()", &["gateway"]),
    ("check_session()", "check_session()", &["gateway", "user"]),
    (
        "sign_in_response(text,text,text,uuid,auth.aal_level,text,timestamp with time zone)",
        "sign_in_response('somebody')",
        &["server"],
    ),
    (
        "plan_is_session_live(internal)",
        // SQL can call nothing that takes internal: what nobody may call either stands for it.
        "is_my_session_live()",
        &[],
    ),
    ("is_my_session_live()", "is_my_session_live()", &[]),
    (
        "rotate_signing_key(text,timestamp with time zone,text)",
        "rotate_signing_key()",
        &[],
    ),
    (
        "check_refresh_token_setting(text,text)",
        "check_refresh_token_setting('nonsense', '1')",
        &[],
    ),
    ("refresh_token_members()", "refresh_token_members()", &[]),
    ("refresh_token_tiers()", "refresh_token_tiers()", &[]),
    (
        "begin_refresh_token_grant(name,text)",
        "begin_refresh_token_grant(current_user, 'client')",
        &[],
    ),
    (
        "set_refresh_token_owner(name)",
        "set_refresh_token_owner(current_user)",
        &[],
    ),
    (
        "revoke_refresh_token_role(name,text)",
        "revoke_refresh_token_role(current_user, 'client')",
        &[],
    ),
    (
        "grant_refresh_token_role(name,text)",
        "grant_refresh_token_role(current_user, 'client')",
        &[],
    ),
];

/// How many of them, at the end, name no statement of the library's.
const OF_ROLES: usize = 5;

/// A condition on `pg_depend`: it describes an object of the extension.
const IS_MEMBER: &str = "deptype = 'e' AND refclassid = 'pg_extension'::regclass
    AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')";

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.200}\n{done:?}");
}

/// A new role that may log in; roles are known in all databases, so its name has the database's.
fn role(database: &Database, name: &str) -> String {
    let role = format!("{}_{name}", database.name);
    let create = format!("CREATE ROLE {role} LOGIN");
    execute(&mut database.connect(), &create);
    role
}

/// A new role with a tier.
fn role_of_tier(database: &Database, tier: &str) -> String {
    let role = role(database, tier);
    let grant = format!("SELECT auth.grant_refresh_token_role('{role}', '{tier}')");
    execute(&mut database.connect(), &grant);
    role
}

/// What a call comes to for who may call it: one is for procedures alone.
fn allowed(call: &str) -> &'static str {
    match call.starts_with("begin_batches") {
        true => "2D000",
        false => "ok",
    }
}

/// What `sql` came to: `ok` or a SQLSTATE.
fn outcome(result: Result<impl std::fmt::Debug, Error>) -> String {
    if result.is_ok() {
        return "ok".into();
    }
    error_code(result)
}

// ---- grants --------------------------------------------------------------------------------------

/// Everything that PUBLIC may do with an object of the extension.
const OF_PUBLIC: &str = "
    SELECT pg_describe_object(classid, objid, 0) || ': ' || privilege_type
      FROM pg_depend
      LEFT JOIN pg_proc ON classid = 'pg_proc'::regclass AND pg_proc.oid = objid
      LEFT JOIN pg_class ON classid = 'pg_class'::regclass AND pg_class.oid = objid
      LEFT JOIN pg_type ON classid = 'pg_type'::regclass AND pg_type.oid = objid,
           aclexplode(CASE WHEN pg_proc.oid IS NOT NULL THEN coalesce(proacl, acldefault('f', proowner))
                           WHEN relkind = 'S' THEN coalesce(relacl, acldefault('s', relowner))
                           WHEN pg_class.oid IS NOT NULL THEN coalesce(relacl, acldefault('r', relowner))
                           WHEN typcategory <> 'A' THEN coalesce(typacl, acldefault('T', typowner)) END)
     WHERE grantee = 0 AND IS_MEMBER
     UNION ALL
    SELECT attrelid::regclass || '.' || attname
      FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
     WHERE relnamespace = 'auth'::regnamespace AND attacl IS NOT NULL
     UNION ALL
    SELECT 'schema auth: ' || privilege_type
      FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
     WHERE nspname = 'auth' AND grantee = 0";

#[test]
fn nothing_is_granted_to_public() {
    let database = Database::create();
    let mut client = database.connect();
    let of_public = OF_PUBLIC.replace("IS_MEMBER", IS_MEMBER);
    assert_eq!(lines(&mut client, &of_public), Vec::<String>::new());
    // what is granted is found
    execute(
        &mut client,
        "GRANT EXECUTE ON FUNCTION auth.is_session_live(uuid) TO PUBLIC; GRANT SELECT ON auth.sessions TO PUBLIC;
         GRANT USAGE ON SEQUENCE auth.refresh_tokens_id_seq TO PUBLIC; GRANT USAGE ON TYPE auth.aal_level TO PUBLIC;
         GRANT USAGE ON TYPE auth.refresh_token_grant TO PUBLIC; GRANT USAGE ON SCHEMA auth TO PUBLIC;
         GRANT SELECT (id) ON auth.refresh_tokens TO PUBLIC",
    );
    assert_eq!(lines(&mut client, &of_public).len(), 7);
}

/// Each object of the extension that has other privileges than all of its owner's, and the schema if it has them.
const OPEN: &str = "
    SELECT format('%s %s %s', i.type, i.identity, acl)
      FROM pg_depend AS d
     CROSS JOIN pg_identify_object(d.classid, d.objid, 0) AS i
      LEFT JOIN pg_proc ON d.classid = 'pg_proc'::regclass AND pg_proc.oid = d.objid
      LEFT JOIN pg_class ON d.classid = 'pg_class'::regclass AND pg_class.oid = d.objid
      LEFT JOIN pg_type ON d.classid = 'pg_type'::regclass AND pg_type.oid = d.objid AND typcategory <> 'A',
           LATERAL (SELECT coalesce(proacl, relacl, typacl) AS acl,
                           coalesce(proowner, relowner, typowner) AS owner,
                           CASE WHEN pg_proc.oid IS NOT NULL THEN 'f' WHEN relkind = 'S' THEN 's'
                                WHEN pg_class.oid IS NOT NULL THEN 'r' ELSE 'T' END AS kind) AS a
     WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
       AND owner IS NOT NULL
       AND (SELECT array_agg(e ORDER BY e) FROM aclexplode(coalesce(acl, acldefault(kind::\"char\", owner))) AS e)
           IS DISTINCT FROM
           (SELECT array_agg(e ORDER BY e) FROM aclexplode(acldefault(kind::\"char\", owner)) AS e WHERE grantee = owner)
     UNION ALL
    SELECT 'schema ' || nspacl::text FROM pg_namespace
     WHERE nspname = 'auth' AND EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee <> nspowner)";

/// Default privileges for everybody and for a role, for each kind of object.
fn open_by_default(client: &mut Client, scope: &str, role: &str) {
    for (privileges, kind) in [
        ("ALL", "TABLES"),
        ("ALL", "SEQUENCES"),
        ("EXECUTE", "FUNCTIONS"),
        ("USAGE", "TYPES"),
        ("USAGE", "SCHEMAS"),
    ] {
        if kind == "SCHEMAS" && !scope.is_empty() {
            continue;
        }
        for (grantee, option) in [("PUBLIC", ""), (role, "WITH GRANT OPTION")] {
            let sql = format!(
                "ALTER DEFAULT PRIVILEGES {scope} GRANT {privileges} ON {kind} TO {grantee} {option}"
            );
            execute(client, &sql);
        }
    }
}

#[test]
fn every_object_has_its_owners_privileges_alone_though_default_privileges_say_otherwise() {
    let cluster = Cluster::shared();
    for scope in ["", "IN SCHEMA auth"] {
        let name = cluster.create_database();
        let mut client = cluster.connect(&name, "postgres");
        let role = format!("{name}_web_anon");
        execute(&mut client, &format!("CREATE ROLE {role} LOGIN"));
        if !scope.is_empty() {
            execute(&mut client, "CREATE SCHEMA auth");
        }
        open_by_default(&mut client, scope, &role);
        // what the owner is denied by default it has as well
        execute(
            &mut client,
            &format!(
                "ALTER DEFAULT PRIVILEGES {scope} REVOKE ALL ON TABLES FROM postgres; CREATE EXTENSION refresh_tokens"
            ),
        );
        assert_eq!(lines(&mut client, OPEN), Vec::<String>::new(), "{scope}");
        // a dump's idea of it: what CREATE EXTENSION makes anyway
        let sql = "SELECT count(*)::text FROM pg_init_privs
                    WHERE privtype = 'e' AND EXISTS (SELECT FROM aclexplode(initprivs) WHERE grantee <> 10)";
        assert_eq!(lines(&mut client, sql), ["0"], "{scope}");
        let mut anon = cluster.connect(&name, &role);
        for call in [
            "SELECT auth.issue_refresh_token('alice')",
            "SELECT auth.rotate_signing_key('HS256', secret => repeat('x', 64))",
            "SELECT FROM auth.sessions",
            "TRUNCATE auth.refresh_token_events",
            "SELECT nextval('auth.refresh_tokens_id_seq')",
            "CREATE TEMPORARY TABLE mine (s auth.sessions)",
            "CREATE TEMPORARY TABLE mine (l auth.aal_level)",
        ] {
            assert_eq!(error_code(anon.batch_execute(call)), "42501", "{call}");
        }
        // the defaults were in force
        execute(&mut client, "CREATE TABLE auth.other ()");
        let sql = format!("SELECT has_table_privilege('{role}', 'auth.other', 'SELECT')::text");
        assert_eq!(lines(&mut client, &sql), ["true"]);
    }
}

#[test]
fn a_schema_that_is_older_keeps_its_grants() {
    let cluster = Cluster::shared();
    let name = cluster.create_database();
    let mut client = cluster.connect(&name, "postgres");
    for begin in ["", "BEGIN;"] {
        execute(
            &mut client,
            &format!(
                "{begin} CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO PUBLIC; CREATE EXTENSION refresh_tokens"
            ),
        );
        let sql = "SELECT has_schema_privilege('pg_monitor', 'auth', 'USAGE')::text";
        assert_eq!(lines(&mut client, sql), ["true"]);
        execute(
            &mut client,
            "COMMIT; DROP EXTENSION refresh_tokens; DROP SCHEMA auth",
        );
    }
}

/// What an upgrade adds is closed as well; what was open before is not its business.
#[test]
fn an_upgrade_opens_nothing_though_default_privileges_say_so() {
    let cluster = Cluster::shared();
    for version in ["0.1.0", "0.2.0", "0.3.0"] {
        let name = cluster.create_database();
        let mut client = cluster.connect(&name, "postgres");
        let (role, app) = (format!("{name}_web_anon"), format!("{name}_app"));
        execute(
            &mut client,
            &format!(
                "CREATE ROLE {role}; CREATE ROLE {app}; CREATE EXTENSION refresh_tokens VERSION '{version}'"
            ),
        );
        execute(
            &mut client,
            &format!("SELECT auth.grant_refresh_token_role('{app}', 'server')"),
        );
        let before = grants(&mut client);
        open_by_default(&mut client, "", &role);
        open_by_default(&mut client, "IN SCHEMA auth", &role);
        // also where the commands of a savepoint are a transaction of their own
        for sql in [
            "BEGIN",
            "SAVEPOINT a",
            "ALTER EXTENSION refresh_tokens UPDATE",
            "RELEASE a",
            "COMMIT",
        ] {
            execute(&mut client, sql);
        }
        let of_role = |lines: Vec<String>, role: &str| -> Vec<String> {
            let of_role = lines.into_iter().filter(|line| line.contains(role));
            of_role.collect()
        };
        let after = grants(&mut client);
        assert_eq!(
            of_role(after.clone(), &role),
            Vec::<String>::new(),
            "{version}"
        );
        assert_eq!(of_role(after, &app), of_role(before, &app), "{version}");
        let of_public = OF_PUBLIC.replace("IS_MEMBER", IS_MEMBER);
        assert_eq!(
            lines(&mut client, &of_public),
            Vec::<String>::new(),
            "{version}"
        );
        execute(
            &mut client,
            &format!("DROP OWNED BY {app}; DROP OWNED BY {role}"),
        );
        assert_eq!(lines(&mut client, OPEN), Vec::<String>::new(), "{version}");
    }
}

#[test]
fn an_upgrade_is_refused_where_an_installation_would_be() {
    let cluster = Cluster::shared();
    for (obstacle, culprit, cure) in [
        (
            "ALTER SCHEMA auth OWNER TO {role}",
            "belongs to role",
            "ALTER SCHEMA auth OWNER TO CURRENT_USER",
        ),
        (
            "GRANT CREATE ON SCHEMA auth TO {role}",
            "may create objects",
            "REVOKE CREATE ON SCHEMA auth FROM {role}",
        ),
        (
            "CREATE FUNCTION auth.rotate_refresh_token(varchar) RETURNS text RETURN $1",
            "function auth.rotate_refresh_token(",
            "DROP FUNCTION auth.rotate_refresh_token(varchar)",
        ),
        (
            "CREATE FUNCTION auth.set_refresh_token_owner(text) RETURNS text RETURN $1",
            "function auth.set_refresh_token_owner(",
            "DROP FUNCTION auth.set_refresh_token_owner(text)",
        ),
    ] {
        let name = cluster.create_database();
        let mut client = cluster.connect(&name, "postgres");
        let role = format!("{name}_dev");
        execute(
            &mut client,
            &format!("CREATE ROLE {role}; CREATE EXTENSION refresh_tokens VERSION '0.3.0'"),
        );
        execute(&mut client, &obstacle.replace("{role}", &role));
        let refused = client
            .batch_execute("ALTER EXTENSION refresh_tokens UPDATE")
            .expect_err(obstacle);
        let error = refused.as_db_error().expect("an error of the server");
        assert!(error.message().contains(culprit), "{obstacle}: {error:?}");
        assert!(error.hint().is_some(), "{obstacle}: {error:?}");
        let sql = "SELECT extversion FROM pg_extension WHERE extname = 'refresh_tokens'";
        assert_eq!(lines(&mut client, sql), ["0.3.0"]);
        execute(&mut client, &cure.replace("{role}", &role));
        execute(&mut client, "ALTER EXTENSION refresh_tokens UPDATE");
    }
}

/// A function that the upgrade adds has to have the owner of the tables.
#[test]
fn what_an_upgrade_adds_belongs_to_the_owner_of_the_rest() {
    let cluster = Cluster::shared();
    let name = cluster.create_database();
    let mut client = cluster.connect(&name, "postgres");
    let owner = format!("{name}_owner");
    execute(
        &mut client,
        &format!("CREATE ROLE {owner}; CREATE EXTENSION refresh_tokens VERSION '0.1.0'"),
    );
    let sql = "SELECT format('ALTER ROUTINE %s OWNER TO OWNER', oid::regprocedure) FROM pg_proc WHERE pronamespace = 'auth'::regnamespace
                UNION ALL SELECT format('ALTER TABLE %s OWNER TO OWNER', oid::regclass) FROM pg_class
                           WHERE relnamespace = 'auth'::regnamespace AND relkind = 'r'";
    for alter in lines(&mut client, sql) {
        let alter = alter.replace("TO OWNER", &format!("TO {owner}"));
        execute(&mut client, &alter);
    }
    execute(&mut client, "ALTER EXTENSION refresh_tokens UPDATE");
    let sql = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'auth'::regnamespace
                UNION SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'auth'::regnamespace";
    assert_eq!(lines(&mut client, sql), [owner]);
    issue(&mut client, "alice");
}

#[test]
fn every_function_is_in_the_matrix() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = format!(
        "SELECT objid::regprocedure::text FROM pg_depend JOIN pg_proc ON pg_proc.oid = objid
          WHERE classid = 'pg_proc'::regclass AND prokind = 'f' AND {IS_MEMBER}"
    );
    let mut found = lines(&mut client, &sql);
    found.sort_unstable();
    let mut known = FUNCTIONS.map(|(function, ..)| format!("auth.{function}"));
    known.sort_unstable();
    assert_eq!(found, known);
}

/// Monitoring has the tier `operator`: whoever gets its password can log nobody out.
#[test]
fn only_a_server_ends_every_session() {
    let database = Database::create();
    let mut superuser = database.connect();
    issue(&mut superuser, "alice");
    let live = "SELECT count(*)::text FROM auth.refresh_tokens WHERE NOT revoked";
    for tier in TIERS.into_iter().filter(|tier| *tier != "server") {
        let mut client = database.connect_as(&role_of_tier(&database, tier));
        let called = client.batch_execute("CALL auth.revoke_all_sessions()");
        assert_eq!(error_code(called), "42501", "{tier}");
    }
    assert_eq!(lines(&mut superuser, live), ["1"]);
    let mut server = database.connect_as(&role_of_tier(&database, "server"));
    let called = server.batch_execute("CALL auth.revoke_all_sessions()");
    called.expect("a server may");
    assert_eq!(lines(&mut superuser, live), ["0"]);
}

#[test]
fn a_tier_has_its_functions_and_no_other() {
    let database = Database::create();
    let mut superuser = database.connect();
    execute(&mut superuser, "SELECT auth.rotate_signing_key()");
    for tier in TIERS {
        let role = role_of_tier(&database, tier);
        let mut client = database.connect_as(&role);
        for (function, call, tiers) in FUNCTIONS {
            let may = tiers.contains(&tier);
            let sql = "SELECT has_function_privilege($1, $2, 'EXECUTE')";
            let row = superuser
                .query_one(sql, &[&role, &format!("auth.{function}")])
                .expect("a superuser may look");
            assert_eq!(row.get::<_, bool>(0), may, "{tier} {function}");
            let called = outcome(client.simple_query(&format!("SELECT auth.{call}")));
            assert_eq!(
                called,
                if may { allowed(call) } else { "42501" },
                "{tier} {function}"
            );
        }
    }
}

#[test]
fn tiers_add_up_and_may_be_granted_twice() {
    let database = Database::create();
    let role = role_of_tier(&database, "client");
    let mut superuser = database.connect();
    for tier in ["operator", "client", "operator"] {
        execute(
            &mut superuser,
            &format!("SELECT auth.grant_refresh_token_role('{role}', '{tier}')"),
        );
    }
    let mut client = database.connect_as(&role);
    for (function, call, tiers) in FUNCTIONS {
        let may = tiers.contains(&"client") || tiers.contains(&"operator");
        let called = outcome(client.simple_query(&format!("SELECT auth.{call}")));
        assert_eq!(
            called,
            if may { allowed(call) } else { "42501" },
            "{function}"
        );
    }
}

#[test]
fn a_role_without_a_tier_can_call_nothing() {
    let database = Database::create();
    let role = role(&database, "nobody");
    for with_schema in [false, true] {
        if with_schema {
            execute(
                &mut database.connect(),
                &format!("GRANT USAGE ON SCHEMA auth TO {role}"),
            );
        }
        let mut client = database.connect_as(&role);
        for (function, call, _) in FUNCTIONS {
            let called = outcome(client.simple_query(&format!("SELECT auth.{call}")));
            assert_eq!(called, "42501", "{function}");
        }
    }
}

#[test]
fn no_tier_reads_or_writes_a_table_or_the_sequence() {
    let database = Database::create();
    let mut superuser = database.connect();
    issue(&mut superuser, "alice");
    let before = contents(&mut superuser);
    for tier in TIERS {
        let role = role_of_tier(&database, tier);
        let mut client = database.connect_as(&role);
        let mut statements: Vec<String> = [
            ("refresh_tokens", "id"),
            ("sessions", "id"),
            ("signing_keys", "kid"),
        ]
        .iter()
        .flat_map(|(table, key)| {
            [
                format!("SELECT FROM auth.{table}"),
                format!("SELECT count(*) FROM auth.{table}"),
                format!("SELECT {key} FROM auth.{table} LIMIT 0"),
                format!("SELECT FROM auth.{table} FOR UPDATE"),
                format!("INSERT INTO auth.{table} ({key}) VALUES (NULL)"),
                format!("UPDATE auth.{table} SET {key} = NULL"),
                format!("DELETE FROM auth.{table}"),
                format!("TRUNCATE auth.{table} CASCADE"),
                format!("COPY auth.{table} TO STDOUT"),
                format!("DO $$ BEGIN LOCK TABLE auth.{table} IN ACCESS SHARE MODE; END $$"),
                format!("ALTER TABLE auth.{table} DISABLE ROW LEVEL SECURITY"),
                format!("CREATE TABLE mine (id uuid REFERENCES auth.{table} ({key}))"),
                format!("CREATE POLICY mine ON auth.{table} USING (true)"),
            ]
        })
        .collect();
        statements.extend(
            [
                "SELECT nextval('auth.refresh_tokens_id_seq')",
                "SELECT currval('auth.refresh_tokens_id_seq')",
                "SELECT setval('auth.refresh_tokens_id_seq', 1)",
                "SELECT last_value FROM auth.refresh_tokens_id_seq",
                "CREATE TABLE auth.mine ()",
                "CREATE FUNCTION auth.mine() RETURNS int RETURN 1",
                "DROP FUNCTION auth.is_session_live(uuid)",
                "ALTER EXTENSION refresh_tokens ADD SCHEMA public",
                "DROP EXTENSION refresh_tokens",
            ]
            .map(String::from),
        );
        execute(
            &mut superuser,
            &format!("GRANT CREATE ON SCHEMA public TO {role}"),
        );
        for statement in statements {
            let refused = error_code(client.batch_execute(&statement));
            assert_eq!(refused, "42501", "{tier}: {statement}");
        }
        let sql = format!(
            "SELECT privilege FROM unnest('{{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}}'::text[]) AS privilege,
                    unnest('{{auth.sessions,auth.refresh_tokens}}'::regclass[]) AS relation
              WHERE has_table_privilege('{role}', relation, privilege)
                 OR CASE WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                         THEN has_any_column_privilege('{role}', relation, privilege) END
              UNION ALL
             SELECT privilege FROM unnest('{{SELECT,UPDATE,USAGE}}'::text[]) AS privilege
              WHERE has_sequence_privilege('{role}', 'auth.refresh_tokens_id_seq', privilege)
              UNION ALL
             SELECT 'CREATE' WHERE has_schema_privilege('{role}', 'auth', 'CREATE')"
        );
        assert_eq!(lines(&mut superuser, &sql), Vec::<String>::new(), "{tier}");
        execute(
            &mut superuser,
            &format!("REVOKE CREATE ON SCHEMA public FROM {role}"),
        );
    }
    assert_eq!(contents(&mut superuser), before);
}

#[test]
fn operators_read_events_and_nobody_else_does_anything_with_them() {
    let database = Database::create();
    let mut superuser = database.connect();
    let issued = issue(&mut superuser, "alice");
    superuser
        .query_one("SELECT auth.revoke_session($1)", &[&issued.session()])
        .expect("a count");
    for tier in TIERS {
        let mut client = database.connect_as(&role_of_tier(&database, tier));
        let read = client.query("SELECT event FROM auth.refresh_token_events", &[]);
        if tier == "operator" {
            assert_eq!(read.expect("an operator may read").len(), 1);
        } else {
            assert_eq!(error_code(read), "42501", "{tier}");
        }
        for statement in [
            "INSERT INTO auth.refresh_token_events (event) VALUES ('reuse_detected')",
            "UPDATE auth.refresh_token_events SET event = 'issued'",
            "DELETE FROM auth.refresh_token_events",
            "TRUNCATE auth.refresh_token_events",
            "SELECT nextval('auth.refresh_token_events_id_seq')",
        ] {
            let refused = error_code(client.batch_execute(statement));
            assert_eq!(refused, "42501", "{tier}: {statement}");
        }
    }
}

#[test]
fn row_level_security_hides_every_row_from_who_was_given_a_table_by_mistake() {
    let database = Database::create();
    let mut superuser = database.connect();
    let issued = issue(&mut superuser, "alice");
    let role = role_of_tier(&database, "server");
    execute(
        &mut superuser,
        &format!(
            "GRANT ALL ON auth.sessions, auth.refresh_tokens TO {role}; GRANT ALL ON SEQUENCE auth.refresh_tokens_id_seq TO {role}"
        ),
    );
    let before = contents(&mut superuser);
    let mut client = database.connect_as(&role);
    for table in ["sessions", "refresh_tokens"] {
        assert!(
            client
                .query(&format!("SELECT FROM auth.{table}"), &[])
                .expect("no row is seen")
                .is_empty()
        );
        for change in [
            format!("UPDATE auth.{table} SET user_id = 'mallory'"),
            format!("DELETE FROM auth.{table}"),
        ] {
            assert_eq!(client.execute(&change, &[]).expect("no row is seen"), 0);
        }
        let insert = format!("INSERT INTO auth.{table} (user_id) VALUES ('mallory')");
        assert_eq!(error_code(client.execute(&insert, &[])), "42501");
    }
    // but the functions do
    let rotated = rotate(&mut client, issued.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    assert_ne!(contents(&mut superuser), before);
}

#[test]
fn a_client_lives_a_whole_session_with_the_client_tier_alone() {
    let database = Database::create();
    let mut superuser = database.connect();
    let issued = issue(&mut superuser, "alice");
    let role = role_of_tier(&database, "client");
    let mut client = database.connect_as(&role);
    let rotated = rotate(&mut client, issued.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    let retried = rotate(&mut client, issued.token()).expect("a verdict");
    assert_eq!(
        (retried.status.as_str(), retried.token),
        ("retried", rotated.token.clone())
    );
    let revoked: i64 = client
        .query_one("SELECT auth.revoke_refresh_token($1)", &[&rotated.token()])
        .expect("a count")
        .get(0);
    assert_eq!(revoked, 1);
    let after = rotate(&mut client, rotated.token()).expect("a verdict");
    assert_eq!(after.status, "revoked");
}

// ---- grant_refresh_token_role --------------------------------------------------------------------

/// Every grant that there is in the database on what the extension made, and on its schema.
fn grants(client: &mut Client) -> Vec<String> {
    lines(
        client,
        "SELECT 'function ' || oid::regprocedure || proacl::text FROM pg_proc WHERE pronamespace = 'auth'::regnamespace
         UNION ALL SELECT 'relation ' || oid::regclass || coalesce(relacl::text, '') FROM pg_class WHERE relnamespace = 'auth'::regnamespace
         UNION ALL SELECT 'type ' || oid::regtype || coalesce(typacl::text, '') FROM pg_type WHERE typnamespace = 'auth'::regnamespace
         UNION ALL SELECT 'schema ' || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname = 'auth'
         ORDER BY 1",
    )
}

#[test]
fn a_grant_of_a_tier_that_makes_no_sense_is_refused_and_grants_nothing() {
    let database = Database::create();
    let mut client = database.connect();
    let role = role(&database, "app");
    let before = grants(&mut client);
    for (arguments, code) in [
        ("NULL, 'client'".to_owned(), "22004"),
        (format!("'{role}', NULL"), "22004"),
        ("NULL, NULL".to_owned(), "22004"),
        (format!("'{role}', 'admin'"), "22023"),
        (format!("'{role}', ''"), "22023"),
        (format!("'{role}', 'Client'"), "22023"),
        (format!("'{role}', 'client, server'"), "22023"),
        ("'no such role', 'client'".to_owned(), "42704"),
        ("'', 'client'".to_owned(), "42704"),
        ("'public', 'client'".to_owned(), "42704"),
        ("'PUBLIC', 'client'".to_owned(), "42704"),
        ("'current_user', 'client'".to_owned(), "42704"),
        (format!("'{}', 'client'", role.to_uppercase()), "42704"),
        (format!("'{role}, public', 'client'"), "42704"),
    ] {
        for function in ["grant", "revoke"] {
            let call = format!("SELECT auth.{function}_refresh_token_role({arguments})");
            assert_eq!(error_code(client.simple_query(&call)), code, "{call}");
            assert_eq!(grants(&mut client), before, "{call}");
        }
    }
}

#[test]
fn a_role_may_have_any_name() {
    let database = Database::create();
    let mut superuser = database.connect();
    for name in [
        format!("Weird \"Role\" {}", database.name),
        format!("semi; DROP TABLE auth.sessions; -- {}", database.name),
        format!("Jürgen's %I $1 {}", database.name),
    ] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        execute(&mut superuser, &format!("CREATE ROLE {quoted} LOGIN"));
        superuser
            .query_one(
                "SELECT auth.grant_refresh_token_role($1::text::name, 'client')",
                &[&name],
            )
            .expect("a grant");
        let mut client = database.connect_as(&name);
        for (function, call, tiers) in FUNCTIONS {
            let called = outcome(client.simple_query(&format!("SELECT auth.{call}")));
            let may = tiers.contains(&"client");
            assert_eq!(
                called,
                if may { allowed(call) } else { "42501" },
                "{name} {function}"
            );
        }
    }
}

#[test]
fn only_the_owner_can_grant_a_tier() {
    let database = Database::create();
    let mut superuser = database.connect();
    let (role, friend) = (role_of_tier(&database, "server"), role(&database, "friend"));
    execute(
        &mut superuser,
        &format!("GRANT EXECUTE ON FUNCTION auth.grant_refresh_token_role, auth.revoke_refresh_token_role,
                                       auth.begin_refresh_token_grant, auth.refresh_token_tiers TO {role}"),
    );
    let before = grants(&mut superuser);
    let mut client = database.connect_as(&role);
    for (to, tier) in [
        (&friend, "client"),
        (&friend, "operator"),
        (&role, "operator"),
        (&role, "server"),
    ] {
        for function in ["grant", "revoke"] {
            let call = format!("SELECT auth.{function}_refresh_token_role('{to}', '{tier}')");
            assert_eq!(error_code(client.simple_query(&call)), "42501", "{call}");
        }
    }
    assert_eq!(grants(&mut superuser), before);
}

/// Everything that a role has been granted in the database: the schema, functions, tables, types.
fn privileges_of(client: &mut Client, role: &str) -> Vec<String> {
    let sql = format!(
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend
          WHERE refclassid = 'pg_authid'::regclass AND refobjid = '{role}'::regrole
            AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
    );
    lines(client, &sql)
}

/// What PostgREST's `anon` has: nothing that goes past the authentication of clients.
#[test]
fn the_gateway_has_the_endpoints_and_nothing_past_them() {
    let database = Database::create();
    let mut superuser = database.connect();
    let issued = issue(&mut superuser, "alice");
    let role = role_of_tier(&database, "gateway");
    assert_eq!(
        privileges_of(&mut superuser, &role).len(),
        9,
        "schema, jwks, check_session, three endpoints for a form and for a document"
    );
    let mut anon = database.connect_as(&role);
    for call in [
        format!(
            "SELECT auth.rotate_refresh_token('{}', 'webapp', ip => '10.0.0.5')",
            issued.token()
        ),
        format!("SELECT auth.revoke_refresh_token('{}')", issued.token()),
        format!("SELECT auth.introspect_refresh_token('{}')", issued.token()),
        format!("SELECT auth.is_session_live('{}')", issued.session()),
    ] {
        assert_eq!(error_code(anon.batch_execute(&call)), "42501", "{call}");
    }
    let rotated = rotate(&mut superuser, issued.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
}

#[test]
fn revoking_a_tier_leaves_nothing_of_it() {
    let database = Database::create();
    let mut superuser = database.connect();
    for tier in TIERS {
        let role = role_of_tier(&database, tier);
        assert!(privileges_of(&mut superuser, &role).len() > 2);
        let revoke = format!("SELECT auth.revoke_refresh_token_role('{role}', '{tier}')");
        // once more does nothing
        for _ in 0..2 {
            execute(&mut superuser, &revoke);
            assert_eq!(
                privileges_of(&mut superuser, &role),
                Vec::<String>::new(),
                "{tier}"
            );
        }
        let mut client = database.connect_as(&role);
        for (function, call, _) in FUNCTIONS {
            let called = outcome(client.simple_query(&format!("SELECT auth.{call}")));
            assert_eq!(called, "42501", "{tier}: {function}");
        }
        drop(client);
        execute(&mut superuser, &format!("DROP ROLE {role}"));
    }
}

#[test]
fn revoking_a_tier_leaves_what_another_one_needs() {
    let database = Database::create();
    let mut superuser = database.connect();
    let one = role(&database, "one");
    for tier in TIERS {
        for revoked in TIERS {
            let call = |function: &str, tier: &str| {
                format!("SELECT auth.{function}_refresh_token_role('{one}', '{tier}')")
            };
            execute(&mut superuser, &call("grant", tier));
            let before = privileges_of(&mut superuser, &one);
            execute(&mut superuser, &call("grant", revoked));
            execute(&mut superuser, &call("revoke", revoked));
            let is_part = revoked == tier || (tier, revoked) == ("client", "server");
            let expected = if is_part { vec![] } else { before };
            let left = privileges_of(&mut superuser, &one);
            assert_eq!(left, expected, "{tier}, then without {revoked}");
            execute(&mut superuser, &call("revoke", tier));
            assert_eq!(privileges_of(&mut superuser, &one), Vec::<String>::new());
        }
    }
}

#[test]
fn revoking_a_tier_leaves_what_was_granted_by_hand() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = role_of_tier(&database, "gateway");
    execute(
        &mut superuser,
        &format!("GRANT EXECUTE ON FUNCTION auth.is_session_live(uuid) TO {role}"),
    );
    let revoke = format!("SELECT auth.revoke_refresh_token_role('{role}', 'gateway')");
    execute(&mut superuser, &revoke);
    let mut client = database.connect_as(&role);
    execute(&mut client, "SELECT auth.is_session_live(NULL)");
    assert_eq!(
        error_code(client.batch_execute("SELECT auth.jwks()")),
        "42501"
    );
    // and of the owner of it all, everything
    let error =
        superuser.batch_execute("SELECT auth.revoke_refresh_token_role('postgres', 'client')");
    assert_eq!(error_code(error), "22023");
}

/// PostgreSQL refuses two at once that change the privileges of one object.
#[test]
fn tiers_are_granted_and_revoked_by_many_at_once() {
    let database = Database::create();
    let roles: Vec<_> = (0..20)
        .map(|n| role(&database, &format!("app{n}")))
        .collect();
    let threads: Vec<_> = (roles.iter().cloned())
        .map(|role| {
            let mut client = database.connect();
            std::thread::spawn(move || {
                for function in ["grant", "revoke", "grant"] {
                    let sql =
                        format!("SELECT auth.{function}_refresh_token_role('{role}', 'server')");
                    client.batch_execute(&sql)?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for thread in threads {
        let done = thread.join().expect("a thread");
        assert!(done.is_ok(), "{done:?}");
    }
    // nobody else can hold them up: not whoever may read the view that they lock
    let mut superuser = database.connect();
    let user = role_of_tier(&database, "user");
    let mut reader = database.connect_as(&user);
    let lock = "LOCK TABLE auth.my_sessions IN SHARE MODE";
    execute(&mut reader, "BEGIN");
    execute(&mut reader, "SELECT FROM auth.my_sessions");
    assert_eq!(error_code(reader.batch_execute(lock)), "42501");
    execute(&mut reader, "ROLLBACK; BEGIN; SELECT FROM auth.my_sessions");
    let first = &roles[0];
    execute(
        &mut superuser,
        &format!(
            "SET lock_timeout = '10 s'; SELECT auth.grant_refresh_token_role('{first}', 'operator')"
        ),
    );
    // nor they a reader
    execute(
        &mut superuser,
        &format!("BEGIN; SELECT auth.revoke_refresh_token_role('{first}', 'operator')"),
    );
    execute(
        &mut reader,
        "SET lock_timeout = '10 s'; SELECT FROM auth.my_sessions",
    );
}

// ---- settings ------------------------------------------------------------------------------------

/// What presenting a token that was rotated a minute ago comes to: whether `reuse_interval` is still
/// the 10 s of the default (`reuse_detected`), or somebody has widened it (`retried`).
fn present_late(superuser: &mut Client, present: impl FnOnce(&str) -> String) -> String {
    let issued = issue(superuser, "alice");
    let rotated = rotate(superuser, issued.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    pass_time(superuser, issued.session(), "1 min");
    present(issued.token())
}

fn present_by(superuser: &mut Client, client: &mut Client) -> String {
    present_late(superuser, |token| {
        rotate(client, token).expect("a verdict").status
    })
}

#[test]
fn a_caller_cannot_change_a_setting() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = role_of_tier(&database, "server");
    let mut client = database.connect_as(&role);
    // the library is loaded
    assert_eq!(present_by(&mut superuser, &mut client), "reuse_detected");
    for (name, value) in [
        ("rotation", "off"),
        ("reuse_interval", "'1 d'"),
        ("lost_response_interval", "-1"),
        ("reuse_action", "reject"),
        ("idle_timeout", "0"),
        ("session_lifetime", "0"),
        ("max_sessions_per_user", "0"),
        ("events", "none"),
        ("claims_setting", "'mine.claims'"),
        ("retention", "1"),
        ("event_retention", "1"),
    ] {
        for statement in [
            format!("SET refresh_tokens.{name} = {value}"),
            format!("BEGIN; SET LOCAL refresh_tokens.{name} = {value}"),
            format!("SELECT set_config('refresh_tokens.{name}', '1', false)"),
            format!("RESET refresh_tokens.{name}"),
            format!("ALTER ROLE {role} SET refresh_tokens.{name} = {value}"),
            format!(
                "CREATE FUNCTION pg_temp.f() RETURNS int SET refresh_tokens.{name} = {value} RETURN 1"
            ),
        ] {
            assert_eq!(
                error_code(client.batch_execute(&statement)),
                "42501",
                "{statement}"
            );
            execute(&mut client, "ROLLBACK");
        }
    }
    assert_eq!(present_by(&mut superuser, &mut client), "reuse_detected");
}

#[test]
fn a_caller_cannot_change_a_setting_before_the_library_is_loaded_either() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = role_of_tier(&database, "server");
    const SHOW: &str = "SELECT current_setting('refresh_tokens.reuse_interval')";

    for set in [
        "SET refresh_tokens.reuse_interval = '1 d'",
        "SELECT set_config('refresh_tokens.reuse_interval', '1 d', false)",
        "BEGIN; SET LOCAL refresh_tokens.reuse_interval = '1 d'",
        "BEGIN; SAVEPOINT a; SET LOCAL refresh_tokens.reuse_interval = '1 d'; SET refresh_tokens.reuse_interval = '2 d'",
    ] {
        let mut client = database.connect_as(&role);
        execute(&mut client, set);
        assert_ne!(
            lines(&mut client, SHOW),
            ["10s"],
            "a name that nobody knows yet"
        );
        assert_eq!(
            present_by(&mut superuser, &mut client),
            "reuse_detected",
            "{set}"
        );
        assert_eq!(lines(&mut client, SHOW), ["10s"], "{set}");
        execute(&mut client, "COMMIT");
        assert_eq!(lines(&mut client, SHOW), ["10s"], "{set}");
        assert_eq!(
            present_by(&mut superuser, &mut client),
            "reuse_detected",
            "{set}"
        );
    }

    // as an option of the connection
    let mut client = database
        .cluster()
        .config(&database.name, &role)
        .options("-c refresh_tokens.reuse_interval=1d")
        .connect(NoTls)
        .expect("a connection");
    assert_eq!(present_by(&mut superuser, &mut client), "reuse_detected");
    assert_eq!(lines(&mut client, SHOW), ["10s"]);

    // as a setting of the own role, and of an own function
    for set in [
        format!("ALTER ROLE {role} SET refresh_tokens.reuse_interval = '1 d'"),
        "CREATE FUNCTION pg_temp.f() RETURNS int SET refresh_tokens.reuse_interval = '1 d' RETURN 1".to_owned(),
    ] {
        let mut client = database.connect_as(&role);
        assert_eq!(error_code(client.batch_execute(&set)), "42501", "{set}");
    }
}

#[test]
fn a_superuser_sets_per_role_and_per_database_and_it_holds_from_the_next_login_on() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = role_of_tier(&database, "client");
    let name = &database.name;
    for place in [
        format!("ROLE {role}"),
        format!("DATABASE {name}"),
        format!("ROLE {role} IN DATABASE {name}"),
    ] {
        let mut early = database.connect_as(&role);
        execute(
            &mut superuser,
            &format!("ALTER {place} SET refresh_tokens.reuse_interval = '1 h'"),
        );
        let mut late = database.connect_as(&role);
        assert_eq!(
            present_by(&mut superuser, &mut early),
            "reuse_detected",
            "{place}"
        );
        assert_eq!(present_by(&mut superuser, &mut late), "retried", "{place}");
        // the role can't get rid of it, whatever it resets
        execute(&mut late, "RESET ALL");
        execute(&mut late, "DISCARD ALL");
        assert_eq!(present_by(&mut superuser, &mut late), "retried", "{place}");
        execute(
            &mut superuser,
            &format!("ALTER {place} RESET refresh_tokens.reuse_interval"),
        );
        let mut later = database.connect_as(&role);
        assert_eq!(
            present_by(&mut superuser, &mut later),
            "reuse_detected",
            "{place}"
        );
    }
    // within a session, and only as long as it is said
    let mut other = database.connect();
    execute(&mut other, "SET refresh_tokens.reuse_interval = '1 h'");
    assert_eq!(present_by(&mut superuser, &mut other), "retried");
    execute(&mut other, "RESET refresh_tokens.reuse_interval");
    assert_eq!(present_by(&mut superuser, &mut other), "reuse_detected");
}

#[test]
fn settings_that_do_not_exist_and_values_that_make_no_sense_are_refused() {
    let database = Database::create();
    let mut client = database.connect();
    issue(&mut client, "alice");
    for (setting, code) in [
        ("nonsense = 1", "42602"),
        ("reuse_interva = '1 h'", "42602"),
        ("rotation = 'sometimes'", "22023"),
        ("reuse_interval = -1", "22023"),
        ("reuse_interval = 'soon'", "22023"),
        ("reuse_interval = '100 y'", "22023"),
        ("reuse_interval = '2147483648 s'", "22023"),
        ("lost_response_interval = -2", "22023"),
        ("reuse_action = 'nothing'", "22023"),
        ("reuse_action = ''", "22023"),
        ("idle_timeout = -1", "22023"),
        ("session_lifetime = -1", "22023"),
        ("max_sessions_per_user = -1", "22023"),
        ("max_sessions_per_user = '1 h'", "22023"),
    ] {
        let set = format!("SET refresh_tokens.{setting}");
        assert_eq!(error_code(client.batch_execute(&set)), code, "{setting}");
    }

    // what was set before anybody knew the names is dropped when they are known
    let mut client = database.connect();
    execute(
        &mut client,
        "SET refresh_tokens.nonsense = 1; SET refresh_tokens.reuse_interval = 'soon';
         SET refresh_tokens.reuse_action = 'nothing'; SET refresh_tokens.session_lifetime = '2 h'",
    );
    issue(&mut client, "alice");
    let sql = "SELECT concat_ws(' ', current_setting('refresh_tokens.nonsense', true),
                                current_setting('refresh_tokens.reuse_interval'),
                                current_setting('refresh_tokens.reuse_action'),
                                current_setting('refresh_tokens.session_lifetime'))";
    assert_eq!(lines(&mut client, sql), ["10s revoke_session 2h"]);
}

#[test]
fn the_settings_are_those_of_the_design() {
    let database = Database::create();
    let mut client = database.connect();
    issue(&mut client, "alice");
    let sql = "SELECT concat_ws(' ', substr(name, 16), boot_val, unit, vartype, context, min_val, enumvals::text)
                 FROM pg_settings WHERE name LIKE 'refresh\\_tokens.%' ORDER BY name";
    assert_eq!(
        lines(&mut client, sql),
        [
            "access_token_audience string superuser",
            "access_token_hook string superuser",
            "access_token_issuer string superuser",
            "access_token_lifetime 3600 s integer superuser 1",
            "access_token_role authenticated string superuser",
            "claims_setting request.jwt.claims string superuser",
            "client_authentication_hook string superuser",
            "durable_reuse on bool superuser",
            "event_retention 7776000 s integer superuser 0",
            "events security enum superuser {none,security,all}",
            "fast_path on bool superuser",
            "idle_timeout 1296000 s integer superuser 0",
            "lost_response_interval 0 s integer superuser -1",
            "max_sessions_per_user 0 integer superuser 0",
            "notify on bool superuser",
            "purge_databases string sighup",
            "purge_interval 0 s integer sighup 0",
            "retention 2592000 s integer superuser 0",
            "reuse_action revoke_session enum superuser {revoke_session,reject}",
            "reuse_interval 10 s integer superuser 0",
            "rotation on bool superuser",
            "session_lifetime 2592000 s integer superuser 0",
            "trusted_proxies 0 integer superuser 0",
        ]
    );
    let sql = "SELECT name FROM pg_settings WHERE name LIKE 'refresh\\_tokens.%' AND length(short_desc) < 20";
    assert_eq!(lines(&mut client, sql), Vec::<String>::new());
}

// ---- a hostile role ------------------------------------------------------------------------------

const SEARCH_PATHS: [&str; 5] = [
    "evil, pg_catalog",
    "evil, auth, public, pg_temp, pg_catalog",
    "pg_temp, evil, auth, pg_catalog",
    "evil",
    "public",
];

/// Whether a trap of `hostile.sql` was sprung.
fn is_sprung(superuser: &mut Client) -> bool {
    let sql = "SELECT is_called FROM evil.sprung";
    superuser.query_one(sql, &[]).expect("a sequence").get(0)
}

/// Calls `function`, in words that mean the same in every search_path, and gives status, token and
/// session of the answer.
fn answer(
    client: &mut Client,
    function: &str,
    argument: &str,
) -> (String, Option<String>, Option<Uuid>) {
    let sql =
        format!("SELECT status::pg_catalog.text, refresh_token, session_id FROM auth.{function}");
    let row = client.query_one(&sql, &[&argument]).expect("an answer");
    (row.get(0), row.get(1), row.get(2))
}

fn count(client: &mut Client, function: &str, argument: &str) -> i64 {
    let sql = format!("SELECT auth.{function}");
    client
        .query_one(&sql, &[&argument])
        .expect("a count")
        .get(0)
}

/// Sessions and tokens of a user from the first login on, with every statement that the extension
/// has: all in the words of `client`, whose search_path may be hostile.
fn live_a_life(superuser: &mut Client, client: &mut Client) {
    const LOGIN: &str = "issue_refresh_token($1, NULL, '00000000-0000-4000-8000-000000000001', NULL, 'read', 'aal1',
                                             'tag', 'infinity', 'agent', '192.0.2.1')";
    const USE: &str = "rotate_refresh_token($1, NULL, 'agent', '192.0.2.1')";
    let user = &Uuid::new_v4().to_string();

    let (status, token, session) = answer(client, LOGIN, user);
    assert_eq!(status, "issued");
    let (first, session) = (token.expect("a token"), session.expect("a session"));
    let (status, second, _) = answer(client, USE, &first);
    assert_eq!(status, "rotated");
    let second = second.expect("a token");
    let (status, again, _) = answer(client, USE, &first);
    assert_eq!(
        (status.as_str(), again.as_ref()),
        ("retried", Some(&second))
    );
    assert_eq!(
        answer(client, "explain_refresh_token($1)", &first).0,
        "retried"
    );
    let is_live = |client: &mut Client| -> bool {
        let sql = "SELECT auth.is_session_live($1)";
        client
            .query_one(sql, &[&session])
            .expect("an answer")
            .get(0)
    };
    assert!(is_live(client));
    let introspect = "SELECT auth.introspect_refresh_token($1)::pg_catalog.text";
    let introspected = |client: &mut Client, token: &str| -> String {
        (client.query_one(introspect, &[&token]).expect("an answer")).get(0)
    };
    assert!(introspected(client, &second).contains(r#""active": true"#));
    assert_eq!(introspected(client, &first), r#"{"active": false}"#);
    let listed = client.query("SELECT session_id FROM auth.list_sessions($1)", &[user]);
    assert_eq!(listed.expect("a session").len(), 1);
    let drawn = client.query("SELECT auth.draw_token_family($1)", &[&session]);
    assert_eq!(drawn.expect("lines").len(), 2);
    let into = format!("issue_refresh_token($1, '{session}')");
    assert_eq!(answer(client, &into, user).0, "issued");
    pass_time(superuser, session, "1 h");
    assert_eq!(answer(client, USE, &first).0, "reuse_detected");
    assert_eq!(answer(client, USE, &second).0, "revoked");
    assert!(!is_live(client));
    assert_eq!(answer(client, USE, "pgrt_").0, "malformed");
    assert_eq!(answer(client, USE, &unknown_token()).0, "not_found");

    // a cap of two is kept, also from within an older snapshot
    let logins: Vec<_> = (0..3)
        .map(|_| answer(client, LOGIN, user).1.expect("a token"))
        .collect();
    assert_eq!(answer(client, USE, &logins[0]).0, "revoked");
    execute(client, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(answer(client, LOGIN, user).0, "issued");
    execute(client, "COMMIT");
    assert_eq!(answer(client, USE, &logins[1]).0, "revoked");

    assert_eq!(count(client, "revoke_refresh_token($1)", &logins[2]), 1);
    assert_eq!(count(client, "revoke_user_sessions($1)", user), 1);
    let (_, token, session) = answer(client, LOGIN, user);
    let session = session.expect("a session");
    assert_eq!(
        count(
            client,
            &format!("revoke_user_sessions($1, '{session}')"),
            user
        ),
        0
    );
    let shown = digest(&token.expect("a token"));
    assert_eq!(count(client, "revoke_token_family($1)", &shown), 1);
    let revoked = client
        .query_one("SELECT auth.revoke_session($1)", &[&session])
        .expect("a count");
    assert_eq!(revoked.get::<_, i64>(0), 0);

    // rows without a session: one is used, the other revoked
    let (used, revoked) = (unknown_token(), unknown_token());
    let plant = "INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at) VALUES ($1, $2, false, now())";
    for token in [&used, &revoked] {
        superuser
            .execute(plant, &[&digest(token), user])
            .expect("a superuser may write");
    }
    assert_eq!(answer(client, USE, &used).0, "rotated");
    assert_eq!(count(client, "revoke_token_family($1)", &revoked), 1);
}

#[test]
fn what_a_hostile_role_creates_is_never_called() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = role_of_tier(&database, "server");
    execute(
        &mut superuser,
        &format!(
            "SELECT auth.grant_refresh_token_role('{role}', 'operator');
             GRANT CREATE ON DATABASE {} TO {role};
             ALTER ROLE {role} SET refresh_tokens.max_sessions_per_user = 2",
            database.name
        ),
    );
    let mut client = database.connect_as(&role);
    execute(&mut client, include_str!("hostile.sql"));
    for path in SEARCH_PATHS {
        execute(&mut client, &format!("SET search_path = {path}"));
        live_a_life(&mut superuser, &mut client);
        assert!(!is_sprung(&mut superuser), "{path}");

        // from the login on, with no plan made yet
        let mut later = database.connect_as(&role);
        execute(
            &mut later,
            &format!("ALTER ROLE {role} SET search_path = {path}"),
        );
        let mut later = database.connect_as(&role);
        live_a_life(&mut superuser, &mut later);
        assert!(!is_sprung(&mut superuser), "{path}");
    }

    // every statement names what it means, so that the pinned search_path is the second lock
    for (function, ..) in &FUNCTIONS[..FUNCTIONS.len() - OF_ROLES] {
        let unpin = format!("ALTER FUNCTION auth.{function} RESET search_path");
        execute(&mut superuser, &unpin);
    }
    execute(&mut client, "SET search_path = evil, pg_catalog");
    live_a_life(&mut superuser, &mut client);
    assert!(!is_sprung(&mut superuser));

    // a superuser who has the schema in his path
    execute(
        &mut superuser,
        "SET refresh_tokens.max_sessions_per_user = 2; SET search_path = evil, pg_catalog",
    );
    let mut helper = database.connect();
    live_a_life(&mut helper, &mut superuser);
    let friend = self::role(&database, "friend");
    for tier in TIERS {
        let sql = "SELECT auth.grant_refresh_token_role($1, $2)";
        let call = sql
            .replace("$1", &format!("'{friend}'"))
            .replace("$2", &format!("'{tier}'"));
        execute(&mut superuser, &call);
    }
    execute(
        &mut superuser,
        "DROP EXTENSION refresh_tokens; CREATE EXTENSION refresh_tokens",
    );
    assert!(!is_sprung(&mut helper));

    // the traps do work
    for bait in [
        "SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text",
        "SELECT now()",
        "SELECT count(*) FROM pg_catalog.pg_class",
        "SELECT 'a'::text",
        "SELECT FROM pg_roles",
        "INSERT INTO sessions VALUES (NULL)",
    ] {
        execute(&mut helper, "ALTER SEQUENCE evil.sprung RESTART");
        let reset = "SELECT pg_catalog.setval('evil.sprung', 1, false)";
        execute(&mut helper, reset);
        execute(&mut superuser, bait);
        assert!(is_sprung(&mut helper), "{bait}");
    }
}

#[test]
fn what_a_role_may_set_for_itself_changes_no_answer() {
    let database = Database::create();
    let mut superuser = database.connect();
    let role = role_of_tier(&database, "server");
    execute(
        &mut superuser,
        &format!(
            "SELECT auth.grant_refresh_token_role('{role}', 'operator');
             ALTER ROLE {role} SET refresh_tokens.max_sessions_per_user = 2"
        ),
    );
    let mut client = database.connect_as(&role);
    for settings in [
        "SET timezone = 'Pacific/Kiritimati'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'iso_8601'",
        "SET bytea_output = 'escape'; SET array_nulls = off; SET transform_null_equals = on; SET extra_float_digits = -15",
        "SET row_security = off; SET standard_conforming_strings = off; SET quote_all_identifiers = on",
        "SET jit = off; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_nestloop = off; SET enable_material = off",
        "SET enable_seqscan = off; SET plan_cache_mode = force_custom_plan; SET jit = off",
        "SET plan_cache_mode = force_generic_plan; SET work_mem = '64kB'; SET cursor_tuple_fraction = 0.0001",
        "SET check_function_bodies = off; SET client_min_messages = debug5; SET escape_string_warning = off",
        "SET default_transaction_isolation = 'serializable'; SET default_transaction_deferrable = on",
        "SET synchronous_commit = off; SET constraint_exclusion = on; SET xmloption = document",
    ] {
        execute(&mut client, settings);
        live_a_life(&mut superuser, &mut client);
    }
}
