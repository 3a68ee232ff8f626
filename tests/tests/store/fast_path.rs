//! The fast path: a live token is rotated without a statement, unless something is defined on the tables that
//! only statements heed. Either way the rows, and all that depends on them, are the same.

use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{
    Cluster, Database, Grant, Statement, assert_indexes, assert_invariants, backend_pid,
    by_statements, contents, counting_database, error_code, inner_statements, issue, rotate,
    wait_until, waits,
};
use std::fs;
use std::sync::Arc;
use std::thread;

/// What the cases define, and what shows that it was heeded by the rotation of one token.
struct Case {
    what: &'static str,
    sql: &'static str,
    /// A query for a boolean.
    heeded: &'static str,
}

/// The extension anew, and a place to note what happened, for triggers.
const ANEW: &str = "
    DROP EXTENSION refresh_tokens CASCADE;
    DROP TABLE IF EXISTS auth.others;
    DROP SCHEMA IF EXISTS app CASCADE;
    CREATE EXTENSION refresh_tokens;
    CREATE SCHEMA app;
    SET search_path = app, public;
    CREATE TABLE seen (what text);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO app.seen VALUES (concat_ws(' ', TG_WHEN, TG_LEVEL, TG_OP, TG_TABLE_NAME));
        RETURN NEW;
    END $$;";

const HEEDED: [Case; 20] = [
    Case {
        what: "a trigger before each update of a token",
        sql: "CREATE TRIGGER see BEFORE UPDATE ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION see()",
        heeded: "SELECT array_agg(what) = '{BEFORE ROW UPDATE refresh_tokens}' FROM seen",
    },
    Case {
        what: "a trigger after each new token",
        sql: "CREATE TRIGGER see AFTER INSERT ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION see()",
        heeded: "SELECT array_agg(what) = '{AFTER ROW INSERT refresh_tokens}' FROM seen",
    },
    Case {
        what: "a trigger that changes a new token",
        sql: "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  NEW.instance_id := '00000000-0000-0000-0000-000000000001';
                  RETURN NEW;
              END $$;
              CREATE TRIGGER change BEFORE INSERT ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION change()",
        heeded: "SELECT instance_id = '00000000-0000-0000-0000-000000000001' FROM auth.refresh_tokens WHERE NOT revoked",
    },
    Case {
        what: "a trigger of a column that a rotation sets",
        sql: "CREATE TRIGGER see AFTER UPDATE OF revoked ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION see()",
        heeded: "SELECT count(*) = 1 FROM seen",
    },
    Case {
        what: "a trigger after each update of a session",
        sql: "CREATE TRIGGER see AFTER UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION see()",
        heeded: "SELECT array_agg(what) = '{AFTER ROW UPDATE sessions}' FROM seen",
    },
    Case {
        what: "a trigger of a statement",
        sql: "CREATE TRIGGER see AFTER INSERT ON auth.refresh_tokens EXECUTE FUNCTION see()",
        heeded: "SELECT array_agg(what) = '{AFTER STATEMENT INSERT refresh_tokens}' FROM seen",
    },
    Case {
        what: "a trigger with a transition table",
        sql: "CREATE TRIGGER see AFTER UPDATE ON auth.refresh_tokens
                  REFERENCING NEW TABLE AS changed EXECUTE FUNCTION see()",
        heeded: "SELECT count(*) = 1 FROM seen",
    },
    Case {
        what: "a deferred trigger",
        sql: "CREATE CONSTRAINT TRIGGER see AFTER INSERT ON auth.refresh_tokens DEFERRABLE INITIALLY DEFERRED
                  FOR EACH ROW EXECUTE FUNCTION see()",
        heeded: "SELECT count(*) = 1 FROM seen",
    },
    Case {
        what: "a trigger that replicas have",
        sql: "CREATE TRIGGER see AFTER INSERT ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION see();
              ALTER TABLE auth.refresh_tokens ENABLE REPLICA TRIGGER see",
        heeded: "SELECT count(*) = 0 FROM seen",
    },
    Case {
        what: "a disabled trigger",
        sql: "CREATE TRIGGER see AFTER UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION see();
              ALTER TABLE auth.sessions DISABLE TRIGGER see",
        heeded: "SELECT count(*) = 0 FROM seen",
    },
    Case {
        what: "row level security for the owner too",
        sql: "ALTER TABLE auth.sessions FORCE ROW LEVEL SECURITY",
        heeded: "SELECT true",
    },
    Case {
        what: "a deferrable unique constraint",
        sql: "ALTER TABLE auth.refresh_tokens ADD UNIQUE (parent) DEFERRABLE",
        heeded: "SELECT true",
    },
    Case {
        what: "another column of tokens",
        sql: "ALTER TABLE auth.refresh_tokens ADD region text;
              ALTER TABLE auth.refresh_tokens ALTER region SET DEFAULT 'here'",
        heeded: "SELECT region = 'here' FROM auth.refresh_tokens WHERE NOT revoked",
    },
    Case {
        what: "ids that are made otherwise",
        sql: "CREATE FUNCTION next_id(regclass) RETURNS bigint LANGUAGE sql RETURN 4711;
              ALTER TABLE auth.refresh_tokens ALTER id SET DEFAULT next_id('auth.refresh_tokens_id_seq')",
        heeded: "SELECT id = 4711 FROM auth.refresh_tokens WHERE NOT revoked",
    },
    Case {
        what: "a computed column of sessions",
        sql: "ALTER TABLE auth.sessions ADD times bigint GENERATED ALWAYS AS (refresh_token_counter + 100) STORED",
        heeded: "SELECT times = 101 FROM auth.sessions",
    },
    Case {
        what: "a table that inherits",
        sql: "CREATE TABLE more () INHERITS (auth.refresh_tokens); DELETE FROM more",
        heeded: "SELECT true",
    },
    Case {
        what: "a column of another type",
        sql: "ALTER TABLE auth.refresh_tokens ALTER user_id TYPE text",
        heeded: "SELECT true",
    },
    Case {
        what: "no unique constraint",
        sql: "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_token_unique",
        heeded: "SELECT true",
    },
    Case {
        what: "another index of its name",
        sql: "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_token_unique;
              CREATE INDEX refresh_tokens_token_unique ON auth.refresh_tokens (parent)",
        heeded: "SELECT true",
    },
    Case {
        what: "an index of its name of another table",
        sql: "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_token_unique;
              CREATE TABLE auth.others (a int, b int, token varchar(255));
              CREATE UNIQUE INDEX refresh_tokens_token_unique ON auth.others (token)",
        heeded: "SELECT true",
    },
];

/// How many of the two statements the rotation of `token` takes, and its answer.
fn counted(client: &mut Client, token: &str) -> (i64, Grant) {
    inner_statements(client);
    let grant = rotate(client, token).expect("a verdict");
    let is_ours = |(sql, ..): &&Statement| {
        sql.contains("FOR NO KEY UPDATE") || sql.contains("INSERT INTO auth.refresh_tokens")
    };
    let statements = inner_statements(client);
    let calls = statements.iter().filter(is_ours).map(|(_, calls, _)| calls);
    (calls.sum(), grant)
}

fn holds(client: &mut impl GenericClient, query: &str) -> bool {
    let row = client.query_one(query, &[]).expect("a row");
    row.get::<_, Option<bool>>(0) == Some(true)
}

/// Each of `cases` in its turn: `times` rotations, of which each takes so many of the two statements.
fn assert_cases(cases: &[Case], times: usize, statements: i64) {
    let database = counting_database();
    let client = &mut database.connect();
    for Case { what, sql, heeded } in cases {
        client.batch_execute(ANEW).expect("a superuser may");
        let mut token = issue(client, "alice").token().to_owned();
        client.batch_execute(sql).expect(what);
        for _ in 0..times {
            let (taken, grant) = counted(client, &token);
            let answer = (taken, grant.status.as_str());
            assert_eq!(answer, (statements, "rotated"), "{what}");
            grant.token().clone_into(&mut token);
        }
        assert!(holds(client, heeded), "{what}");
        assert_invariants(client);
        assert_indexes(client);
    }
}

#[test]
fn what_is_defined_on_the_tables_is_heeded() {
    assert_cases(&HEEDED, 1, 2);
}

/// What costs nobody the fast path, though it is no part of the extension.
const HARMLESS: [Case; 20] = [
    Case {
        what: "nothing",
        sql: "",
        heeded: "SELECT count(*) = 3 FROM auth.refresh_tokens",
    },
    Case {
        what: "more indexes of tokens",
        sql: "CREATE INDEX ON auth.refresh_tokens (user_id, created_at DESC) INCLUDE (updated_at);
              CREATE UNIQUE INDEX ON auth.refresh_tokens (parent, token)",
        heeded: "SELECT true",
    },
    Case {
        what: "an index of sessions that a rotation changes",
        sql: "CREATE INDEX later ON auth.sessions (refreshed_at)",
        heeded: "SELECT count(*) = 1 FROM auth.sessions WHERE refreshed_at > now() - interval '1 h'",
    },
    Case {
        what: "more columns of sessions",
        sql: "ALTER TABLE auth.sessions ADD device text DEFAULT 'old' NOT NULL, ADD color text;
              ALTER TABLE auth.sessions ALTER device SET DEFAULT 'new'",
        heeded: "SELECT device = 'old' AND color IS NULL FROM auth.sessions",
    },
    Case {
        what: "a foreign key of sessions",
        sql: "CREATE TABLE users (id varchar(255) PRIMARY KEY); INSERT INTO users VALUES ('alice');
              ALTER TABLE auth.sessions ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE",
        heeded: "SELECT true",
    },
    Case {
        what: "foreign keys to sessions and tokens",
        sql: "CREATE TABLE factors (session_id uuid REFERENCES auth.sessions ON DELETE CASCADE,
                                    token_id bigint REFERENCES auth.refresh_tokens ON DELETE CASCADE);
              INSERT INTO factors SELECT session_id, id FROM auth.refresh_tokens",
        heeded: "SELECT true",
    },
    Case {
        what: "a check of tokens",
        sql: "ALTER TABLE auth.refresh_tokens ADD CHECK (length(token) = 43)",
        heeded: "SELECT true",
    },
    Case {
        what: "a check of sessions",
        sql: "ALTER TABLE auth.sessions ADD CHECK (user_id <> '')",
        heeded: "SELECT true",
    },
    Case {
        what: "an index of an expression",
        sql: "CREATE INDEX ON auth.refresh_tokens (lower(user_id))",
        heeded: "SELECT true",
    },
    Case {
        what: "an index of some rows",
        sql: "CREATE UNIQUE INDEX ON auth.refresh_tokens (session_id) WHERE NOT revoked",
        heeded: "SELECT true",
    },
    Case {
        what: "an index that is no B-tree",
        sql: "CREATE INDEX ON auth.sessions USING brin (refreshed_at)",
        heeded: "SELECT true",
    },
    Case {
        what: "a constraint of exclusion",
        sql: "ALTER TABLE auth.refresh_tokens ADD EXCLUDE USING btree (token WITH =)",
        heeded: "SELECT true",
    },
    Case {
        what: "a unique index of what a rotation changes",
        sql: "CREATE UNIQUE INDEX ON auth.sessions (refresh_token_hmac_key)",
        heeded: "SELECT true",
    },
    Case {
        what: "a foreign key of tokens",
        sql: "CREATE TABLE users (id varchar(255) PRIMARY KEY); INSERT INTO users VALUES ('alice');
              ALTER TABLE auth.refresh_tokens ADD FOREIGN KEY (user_id) REFERENCES users",
        heeded: "SELECT true",
    },
    Case {
        what: "a foreign key to something else than the session",
        sql: "CREATE TABLE families (id uuid PRIMARY KEY); INSERT INTO families SELECT id FROM auth.sessions;
              ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_session_id_fkey,
                  ADD FOREIGN KEY (session_id) REFERENCES families",
        heeded: "SELECT true",
    },
    Case {
        what: "a foreign key of sessions to what a rotation sets",
        sql: "CREATE TABLE agents (name text PRIMARY KEY);
              ALTER TABLE auth.sessions ADD FOREIGN KEY (user_agent) REFERENCES agents",
        heeded: "SELECT true",
    },
    Case {
        what: "a column of sessions of a domain with a check",
        sql: "CREATE DOMAIN positive AS int CHECK (VALUE > 0);
              ALTER TABLE auth.sessions ADD device positive DEFAULT 1",
        heeded: "SELECT device = 1 FROM auth.sessions",
    },
    Case {
        what: "a publication",
        sql: "CREATE PUBLICATION all_of_auth FOR TABLE auth.refresh_tokens, auth.sessions",
        heeded: "SELECT true",
    },
    Case {
        what: "a default of a column that had none",
        sql: "ALTER TABLE auth.refresh_tokens ALTER instance_id SET DEFAULT gen_random_uuid()",
        heeded: "SELECT bool_and(instance_id IS NULL) FROM auth.refresh_tokens",
    },
    Case {
        what: "no foreign key",
        sql: "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_session_id_fkey",
        heeded: "SELECT true",
    },
];

#[test]
fn what_asks_for_nothing_more_costs_no_statement() {
    assert_cases(&HARMLESS, 2, 0);
}

/// Both tables and what rotates given to a role that is no superuser.
const OWNED: &str = "
    CREATE ROLE {owner};
    GRANT USAGE, CREATE ON SCHEMA auth TO {owner};
    ALTER TABLE auth.refresh_tokens OWNER TO {owner};
    ALTER TABLE auth.sessions OWNER TO {owner};
    ALTER FUNCTION auth.rotate_refresh_token OWNER TO {owner};";

/// Runs `sql`, in which `{owned}` stands for [`OWNED`] and `{owner}` for a role of this database alone.
fn define(client: &mut Client, database: &Database, sql: &str) {
    let owner = format!("owner_{}", database.name);
    let sql = sql.replace("{owned}", OWNED).replace("{owner}", &owner);
    client.batch_execute(&sql).expect("a superuser may");
}

/// What refuses a rotation, and by which SQLSTATE.
const REFUSED: [(&str, &str, &str); 11] = [
    (
        "a check",
        "ALTER TABLE auth.refresh_tokens ADD CHECK (parent IS NULL)",
        "23514",
    ),
    (
        "a trigger",
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no'; END $$;
         CREATE TRIGGER stop AFTER UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION stop()",
        "P0001",
    ),
    (
        "a check of what a rotation sets",
        "ALTER TABLE auth.sessions ADD CHECK (refresh_token_counter = 0)",
        "23514",
    ),
    (
        "a foreign key of what a rotation sets",
        "CREATE TABLE counts (n bigint PRIMARY KEY); INSERT INTO counts VALUES (0);
         ALTER TABLE auth.sessions ADD FOREIGN KEY (refresh_token_counter) REFERENCES counts",
        "23503",
    ),
    (
        "a unique index of what a child has from its parent",
        "CREATE UNIQUE INDEX ON auth.refresh_tokens (user_id)",
        "23505",
    ),
    (
        "a rule",
        "CREATE TABLE seen (what text);
         CREATE RULE see AS ON INSERT TO auth.refresh_tokens DO ALSO INSERT INTO seen VALUES (NEW.user_id)",
        "0A000",
    ),
    (
        "rows without an identity that are published",
        "CREATE PUBLICATION everything FOR TABLE auth.refresh_tokens;
         ALTER TABLE auth.refresh_tokens REPLICA IDENTITY NOTHING",
        "55000",
    ),
    (
        "a column of another name",
        "ALTER TABLE auth.refresh_tokens RENAME instance_id TO tenant",
        "42703",
    ),
    (
        "a sequence without a next value",
        "ALTER SEQUENCE auth.refresh_tokens_id_seq MAXVALUE 2; SELECT nextval('auth.refresh_tokens_id_seq')",
        "2200H",
    ),
    (
        "an id that is taken",
        "SELECT setval('auth.refresh_tokens_id_seq', 1, false)",
        "23505",
    ),
    (
        "an owner who has no right to write",
        "{owned} REVOKE UPDATE ON auth.sessions FROM {owner}",
        "42501",
    ),
];

/// The rows of both tables, in their versions. The sequence goes on whatever becomes of a rotation.
fn rows(client: &mut Client) -> Vec<String> {
    let mut rows = contents(client);
    rows.retain(|row| !row.starts_with("sequence"));
    rows
}

#[test]
fn what_refuses_a_statement_refuses_a_rotation() {
    for (what, sql, code) in REFUSED {
        let database = Database::create();
        let client = &mut database.connect();
        let token = issue(client, "alice").token().to_owned();
        define(client, &database, sql);
        let before = rows(client);
        assert_eq!(error_code(rotate(client, &token)), code, "{what}");
        assert_eq!(rows(client), before, "{what}");
    }
}

/// What PostgreSQL has since version 18: what refuses a rotation.
const REFUSED_SINCE_18: [(&str, &str, &str); 2] = [
    (
        "a virtual column that must not be NULL",
        "ALTER TABLE auth.sessions ADD few int
             GENERATED ALWAYS AS (CASE WHEN coalesce(refresh_token_counter, 0) < 1 THEN 1 END) VIRTUAL NOT NULL",
        "23502",
    ),
    (
        "a column that must not be NULL from now on",
        "ALTER TABLE auth.sessions ADD device text; ALTER TABLE auth.sessions ADD CONSTRAINT device NOT NULL device NOT VALID",
        "23502",
    ),
];

#[test]
fn what_refuses_a_statement_since_18_refuses_a_rotation() {
    for (what, sql, code) in REFUSED_SINCE_18 {
        let database = Database::create();
        let client = &mut database.connect();
        let query = "SELECT current_setting('server_version_num')::int >= 180000";
        if !holds(client, query) {
            return;
        }
        let token = issue(client, "alice").token().to_owned();
        client.batch_execute(sql).expect("a superuser may");
        assert_eq!(error_code(rotate(client, &token)), code, "{what}");
    }
}

/// A foreign key of the application's that a rotation may violate, with a value that it has and one that it lacks.
#[test]
fn a_foreign_key_of_what_the_caller_gives_is_checked() {
    let database = counting_database();
    let client = &mut database.connect();
    let token = issue(client, "alice").token().to_owned();
    client
        .batch_execute(
            "CREATE TABLE agents (name text PRIMARY KEY); INSERT INTO agents VALUES ('known');
             ALTER TABLE auth.sessions ADD FOREIGN KEY (user_agent) REFERENCES agents",
        )
        .expect("a superuser may");
    let call = "rotate_refresh_token($1, NULL, $2)";
    let unknown = refresh_tokens_tests::call(client, call, &[&token, &"unknown"]);
    assert_eq!(error_code(unknown), "23503");
    let known = refresh_tokens_tests::call(client, call, &[&token, &"known"]);
    assert_eq!(known.expect("a verdict").status, "rotated");
}

/// What a dropped column held is somebody's secret, perhaps.
#[test]
fn a_dropped_column_is_empty_in_new_versions() {
    let database = Database::create();
    let client = &mut database.connect();
    let token = issue(client, "alice").token().to_owned();
    client
        .batch_execute(
            "CREATE EXTENSION pageinspect;
             ALTER TABLE auth.sessions ADD device text, ADD color text;
             UPDATE auth.sessions SET device = 'pear', color = 'green';
             ALTER TABLE auth.sessions DROP device",
        )
        .expect("a superuser may");
    rotate(client, &token).expect("a verdict");
    let newest = "SELECT count(*) = 1
                         AND bool_and(t_attrs[16] IS NULL AND convert_from(substr(t_attrs[17], 2), 'UTF8') = 'green')
                    FROM heap_page_item_attrs(get_raw_page('auth.sessions', 0), 'auth.sessions')
                   WHERE t_ctid = (SELECT ctid FROM auth.sessions)
                     AND t_xmin = (SELECT xmin FROM auth.sessions)";
    assert!(holds(client, newest));
}

/// What PostgreSQL warns of while a token is rotated after `setup`, in a connection with these `options`.
fn warnings(options: &str, setup: &str) -> Vec<String> {
    let database = Database::create();
    let (sender, notices) = std::sync::mpsc::channel();
    let mut config = database.cluster().config(&database.name, "postgres");
    config.notice_callback(move |notice| drop(sender.send(notice.message().to_owned())));
    config.options(options);
    let client = &mut config.connect(postgres::NoTls).expect("a connection");
    let token = issue(client, "alice").token().to_owned();
    client.batch_execute(setup).expect("a superuser may");
    assert_eq!(rotate(client, &token).expect("a verdict").status, "rotated");
    notices.try_iter().collect()
}

#[test]
fn without_indexes_of_the_catalog_nobody_is_warned() {
    let warnings = warnings("-c ignore_system_indexes=on", "");
    assert_eq!(warnings, Vec::<String>::new());
}

/// The trigger of a foreign key looks for the table that was written, and opens it anew where it is not found.
#[test]
fn a_foreign_keys_trigger_leaves_no_table_open() {
    let warnings = warnings(
        "",
        "CREATE TABLE users (id varchar(255) PRIMARY KEY);
         INSERT INTO users VALUES ('alice');
         ALTER TABLE auth.refresh_tokens ADD FOREIGN KEY (user_id) REFERENCES users",
    );
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn a_setting_has_it_done_by_statements() {
    let database = counting_database();
    let client = &mut database.connect();
    let token = issue(client, "alice").token().to_owned();
    client
        .batch_execute("SET refresh_tokens.fast_path = off")
        .expect("a superuser may");
    let (statements, grant) = counted(client, &token);
    assert_eq!((statements, grant.status.as_str()), (2, "rotated"));
    client
        .batch_execute("SET refresh_tokens.fast_path = on")
        .expect("a superuser may");
    let (statements, grant) = counted(client, grant.token());
    assert_eq!((statements, grant.status.as_str()), (0, "rotated"));
    client
        .batch_execute("CREATE ROLE anybody_of_fast_path; SET ROLE anybody_of_fast_path")
        .expect("a superuser may");
    let set = client.batch_execute("SET refresh_tokens.fast_path = off");
    assert_eq!(error_code(set), "42501");
}

/// An owner who is no superuser and has all his rights takes the fast path.
#[test]
fn any_owner_takes_the_fast_path() {
    let database = counting_database();
    let client = &mut database.connect();
    let token = issue(client, "alice").token().to_owned();
    define(client, &database, "{owned}");
    let (statements, grant) = counted(client, &token);
    assert_eq!((statements, grant.status.as_str()), (0, "rotated"));
}

/// The rows of both tables, without what differs from one life to the next: digests are named by their order,
/// times by how they relate to the row's others.
const ROWS: &str = "
    WITH named AS (SELECT token, row_number() OVER (ORDER BY id) AS n FROM auth.refresh_tokens)
    SELECT format('token %s: instance %s, user %s, revoked %s, parent %s, length %s, created at the parent''s end %s, '
                  'updated at %s, of the session %s', n.n, t.instance_id, t.user_id, t.revoked,
                  (SELECT p.n FROM named p WHERE p.token = t.parent), length(t.token),
                  (SELECT p.updated_at = t.created_at FROM auth.refresh_tokens p WHERE p.token = t.parent),
                  (SELECT c.created_at = t.updated_at FROM auth.refresh_tokens c WHERE c.parent = t.token),
                  t.session_id = s.id)
      FROM auth.refresh_tokens t JOIN named n USING (token) JOIN auth.sessions s ON true
     UNION ALL
    SELECT format('session: %s, key %s, refreshed %s %s', to_jsonb(s)
                      - '{id,created_at,updated_at,refreshed_at,refresh_token_hmac_key,not_after}'::text[],
                  length(s.refresh_token_hmac_key), s.refreshed_at = s.updated_at,
                  s.refreshed_at = (SELECT max(t.created_at) FROM auth.refresh_tokens t))
      FROM auth.sessions s
     ORDER BY 1";

/// Logins of many kinds, by their arguments, and what is done to their rows by hand.
const LOGINS: [(&str, &str); 7] = [
    ("'alice'", ""),
    (
        "repeat('ü', 255), instance_id => '00000000-0000-0000-0000-00000000000a', tag => 'phone'",
        "",
    ),
    (
        "'bob', client_id => 'app', scopes => 'a b', aal => 'aal2', user_agent => 'x', ip => '10.0.0.1'",
        "",
    ),
    (
        "'carol', not_after => now() + interval '1 d', user_agent => repeat('é', 30)",
        "UPDATE auth.sessions SET factor_id = '00000000-0000-0000-0000-00000000000f', refresh_token_hmac_key = 'no key'",
    ),
    (
        "'dave'",
        "UPDATE auth.sessions SET refresh_token_counter = 9223372036854775807, user_agent = 'old', ip = '::1/64'",
    ),
    (
        "'erin'",
        "UPDATE auth.sessions SET scopes = (SELECT string_agg(md5(n::text), ' ') FROM generate_series(1, 3000) AS n)",
    ),
    (
        "'frank'",
        "UPDATE auth.refresh_tokens SET created_at = NULL, updated_at = NULL, parent = 'nobody'",
    ),
];

/// Arguments of a rotation, beside the token.
const CALLERS: [&str; 4] = [
    "",
    ", user_agent => 'Mozilla', ip => '192.0.2.1'",
    ", ip => '2001:db8::/32'",
    ", user_agent => repeat('ß', 2000)",
];

/// The rows after a life of `login`, and how it was answered.
fn life(client: &mut Client, login: (&str, &str)) -> Vec<String> {
    client
        .batch_execute("TRUNCATE auth.sessions CASCADE")
        .expect("a superuser may");
    let sql = format!(
        "SELECT refresh_token FROM auth.issue_refresh_token({})",
        login.0
    );
    let mut token: String = client.query_one(&sql, &[]).expect("a login").get(0);
    client.batch_execute(login.1).expect("a superuser may");
    let mut answers = Vec::new();
    for caller in CALLERS {
        let sql = format!(
            "SELECT refresh_token, format('%s %s %s %s %s', status, user_id, instance_id,
                        token_id = (SELECT max(id) FROM auth.refresh_tokens),
                        session_id = (SELECT id FROM auth.sessions))
               FROM auth.rotate_refresh_token($1, (SELECT oauth_client_id FROM auth.sessions){caller})"
        );
        let row = client.query_one(&sql, &[&token]).expect("a verdict");
        token = row.get(0);
        answers.push(row.get(1));
        let rows = client.query(ROWS, &[]).expect("a superuser may look");
        answers.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    answers
}

#[test]
fn the_rows_are_those_that_statements_leave() {
    let (fast, by) = (counting_database(), counting_database());
    let (fast, by) = (&mut fast.connect(), &mut by.connect());
    by_statements(by);
    inner_statements(fast);
    for login in LOGINS {
        let (fast, by) = (life(fast, login), life(by, login));
        for (fast, by) in fast.iter().zip(&by) {
            assert_eq!(fast, by, "{}", login.0);
        }
        assert_eq!(fast.len(), by.len());
    }
    assert_indexes(fast);
    let claims = |(sql, ..): &Statement| sql.contains("FOR NO KEY UPDATE");
    assert!(!inner_statements(fast).iter().any(claims));
}

/// Fills pages, so that updates move to other pages and indexes are split, in transactions that commit or not.
#[test]
fn the_indexes_have_each_row_after_thousands_of_rotations() {
    let database = Database::create();
    let client = &mut database.connect();
    client
        .batch_execute("ALTER TABLE auth.sessions SET (fillfactor = 100)")
        .expect("a superuser may");
    let mut tokens: Vec<_> = (0..200)
        .map(|n| issue(client, &format!("user {n}")).token().to_owned())
        .collect();
    for round in 0..15 {
        let is_kept = round % 5 != 4;
        let mut transaction = client.transaction().expect("a transaction");
        let next: Vec<_> = (tokens.iter())
            .map(|token| rotate(&mut transaction, token).expect("a verdict"))
            .inspect(|grant| assert_eq!(grant.status, "rotated"))
            .map(|grant| grant.token().to_owned())
            .collect();
        if is_kept {
            transaction.commit().expect("a commit");
            tokens = next;
        }
    }
    let moved = "SELECT n_tup_upd > n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'auth.sessions'::regclass";
    client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .expect("a flush");
    assert!(
        holds(client, moved),
        "some updates of sessions were not HOT"
    );
    assert_invariants(client);
    assert_indexes(client);
}

/// What somebody does by hand, without the session's lock, while a rotation comes; how the rotation is answered
/// if that commits. If it doesn't, the token is rotated.
const BY_HAND: [(&str, &str); 6] = [
    ("UPDATE auth.refresh_tokens SET revoked = true", "revoked"),
    ("UPDATE auth.refresh_tokens SET user_id = 'bob'", "rotated"),
    ("DELETE FROM auth.refresh_tokens", "not_found"),
    ("UPDATE auth.sessions SET not_after = now()", "expired"),
    ("UPDATE auth.sessions SET tag = 'new'", "rotated"),
    ("DELETE FROM auth.sessions", "not_found"),
];

#[test]
fn what_is_done_by_hand_meanwhile_is_waited_for_and_seen() {
    for (sql, status) in BY_HAND {
        for commits in [true, false] {
            let database = Database::create();
            let client = &mut database.connect();
            let token = issue(client, "alice").token().to_owned();
            let mut other = database.connect();
            let mut hand = other.transaction().expect("a transaction");
            hand.batch_execute(sql).expect("a superuser may");
            let mut rotating = database.connect();
            let pid = backend_pid(&mut rotating);
            let rotation = thread::spawn(move || rotate(&mut rotating, &token).expect("a verdict"));
            wait_until("the rotation waits", || waits(client, pid));
            match commits {
                true => hand.commit(),
                false => hand.rollback(),
            }
            .expect("an end");
            let grant = rotation.join().expect("an answer");
            let expected = if commits { status } else { "rotated" };
            assert_eq!(grant.status, expected, "{sql}, committed: {commits}");
            assert_indexes(client);
        }
    }
}

#[test]
fn no_isolation_level_needs_a_statement() {
    let database = counting_database();
    let client = &mut database.connect();
    for level in [
        "read uncommitted",
        "read committed",
        "repeatable read",
        "serializable",
    ] {
        let token = issue(client, "alice").token().to_owned();
        let sql = format!("SET default_transaction_isolation = '{level}'");
        client.batch_execute(&sql).expect("a setting");
        let (statements, grant) = counted(client, &token);
        assert_eq!((statements, grant.status.as_str()), (0, "rotated"));
        client.batch_execute("RESET ALL").expect("a reset");
    }
}

/// Two serializable transactions of which each reads what the other writes: a note, and what `call` is about, which
/// `by_hand` does. One of them is refused.
fn assert_one_is_refused(database: &Database, call: &str, by_hand: &str) {
    let (client, other) = (&mut database.connect(), &mut database.connect());
    for client in [&mut *client, &mut *other] {
        let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM notes";
        client.batch_execute(begin).expect("a transaction");
    }
    let results = [
        client.batch_execute(call),
        other.batch_execute(by_hand),
        client.batch_execute("COMMIT"),
        other.batch_execute("COMMIT"),
    ];
    let refused = results.into_iter().filter(Result::is_err);
    let refused: Vec<_> = refused.map(error_code).collect();
    assert_eq!(refused, ["40001"], "{call}, {by_hand}");
}

#[test]
fn serializable_transactions_know_what_a_rotation_reads_and_writes() {
    let database = Database::create();
    let client = &mut database.connect();
    let live = issue(client, "alice").token().to_owned();
    let unknown = unknown_token();
    client
        .batch_execute("CREATE TABLE notes (note text); INSERT INTO notes VALUES ('a note')")
        .expect("a superuser may");
    // the rotation finds nothing, and a note says so; the other sees no such note and adds the token
    assert_one_is_refused(
        &database,
        &format!(
            "SELECT auth.rotate_refresh_token('{unknown}'); INSERT INTO notes VALUES ('unknown')"
        ),
        &format!(
            "INSERT INTO auth.refresh_tokens (token) VALUES ('{}')",
            digest(&unknown)
        ),
    );
    // the rotation writes the token, and the other notes that it is live
    assert_one_is_refused(
        &database,
        &format!("SELECT auth.rotate_refresh_token('{live}')"),
        "INSERT INTO notes SELECT 'live' FROM auth.refresh_tokens WHERE NOT revoked",
    );
}

/// A volatile function sees what the statement that calls it has done so far.
#[test]
fn what_the_same_statement_has_written_is_seen() {
    let database = counting_database();
    let client = &mut database.connect();
    issue(client, "alice");
    let token = unknown_token();
    client
        .batch_execute("UPDATE auth.refresh_tokens SET revoked = true")
        .expect("a superuser may");
    inner_statements(client);
    let sql = "WITH new AS (
                   INSERT INTO auth.refresh_tokens (token, parent, user_id, revoked, created_at, updated_at, session_id)
                   SELECT $1, token, user_id, false, updated_at, updated_at, session_id FROM auth.refresh_tokens
                   RETURNING 1)
               SELECT (auth.rotate_refresh_token($2)).status::text FROM new";
    let row = client.query_one(sql, &[&digest(&token), &token]);
    assert_eq!(row.expect("a verdict").get::<_, String>(0), "rotated");
    assert!(inner_statements(client).is_empty());
    assert_invariants(client);
}

/// A session that this very transaction has written: what is yet to check of it is for PostgreSQL to know.
#[test]
fn deferred_foreign_keys_are_checked() {
    let database = Database::create();
    let client = &mut database.connect();
    client
        .batch_execute(
            "CREATE TABLE users (id varchar(255) PRIMARY KEY);
             ALTER TABLE auth.sessions ADD FOREIGN KEY (user_id) REFERENCES users DEFERRABLE INITIALLY DEFERRED",
        )
        .expect("a superuser may");
    let mut transaction = client.transaction().expect("a transaction");
    let sql = "SELECT (auth.rotate_refresh_token(g.refresh_token)).status::text
                 FROM auth.issue_refresh_token('nobody') AS g";
    let status: String = transaction.query_one(sql, &[]).expect("a verdict").get(0);
    assert_eq!(status, "rotated");
    assert_eq!(error_code(transaction.commit()), "23503");
    assert_eq!(rows(client), Vec::<String>::new());
}

/// pgaudit, as Debian packages it, asks to be told of each table that is written.
#[test]
fn an_audit_sees_what_a_rotation_writes() {
    let cluster = Arc::new(Cluster::start(&[
        "shared_preload_libraries = 'pgaudit'",
        "pgaudit.log = 'write'",
        "pgaudit.log_relation = on",
    ]));
    let database = Database::create_in(&cluster);
    let client = &mut database.connect();
    let token = issue(client, "alice").token().to_owned();
    let logged = |client: &mut Client| {
        assert!(client.simple_query("SELECT 1").is_ok());
        let log = fs::read_to_string(cluster.log()).expect("the server's log");
        log.matches(",WRITE,INSERT,TABLE,auth.refresh_tokens,")
            .count()
    };
    let before = logged(client);
    assert_eq!(rotate(client, &token).expect("a verdict").status, "rotated");
    assert_eq!(logged(client), before + 1);
}
