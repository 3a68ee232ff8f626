//! What a call costs in statements and plans, and that a backend's kept plans are right whatever happens
//! to the tables, the extension and the session in between.

use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{
    Cluster, Database, Grant, Statement, assert_invariants, by_statements, call, counting_database,
    error_code, explain, inner_statements, issue, pass_time, rotate, rotate_as,
};
use std::sync::Arc;
use uuid::Uuid;

/// A database's connection, and a family in it.
struct Fixture<'a> {
    client: &'a mut Client,
    user: String,
    session: Uuid,
    /// The oldest first, the live one last.
    tokens: Vec<String>,
}

impl Fixture<'_> {
    fn new(client: &mut Client, rotations: usize) -> Fixture<'_> {
        let user = Uuid::new_v4().to_string();
        let first = issue(client, &user);
        let mut tokens = vec![first.token().to_owned()];
        for _ in 0..rotations {
            let grant = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
            tokens.push(grant.token().to_owned());
        }
        Fixture {
            session: first.session(),
            client,
            user,
            tokens,
        }
    }

    fn live(&self) -> &str {
        &self.tokens[self.tokens.len() - 1]
    }

    fn run(&mut self, sql: &str) {
        let sql = sql.replace("{session}", &self.session.to_string());
        self.client.batch_execute(&sql).expect("a superuser may");
    }

    fn status(&mut self, token: &str) -> String {
        rotate(self.client, token).expect("a verdict").status
    }

    /// The answer of a function that counts or tells.
    fn value<T: for<'a> postgres::types::FromSql<'a>>(&mut self, call: &str) -> T {
        let call = call
            .replace("{session}", &self.session.to_string())
            .replace("{user}", &self.user)
            .replace("{first}", &self.tokens[0]);
        let sql = format!("SELECT auth.{call}");
        self.client.query_one(&sql, &[]).expect("a value").get(0)
    }
}

/// What happens to a family before its call, the call, and how many statements the call may take.
type Case = (
    &'static str,
    usize,
    fn(&mut Fixture<'_>),
    fn(&mut Fixture<'_>),
    i64,
);

fn nothing(_: &mut Fixture<'_>) {}

fn without_session(fixture: &mut Fixture<'_>) {
    fixture.run(
        "UPDATE auth.refresh_tokens SET session_id = NULL WHERE session_id = '{session}';
         DELETE FROM auth.sessions WHERE id = '{session}'",
    );
}

const CASES: [Case; 31] = [
    (
        "malformed",
        0,
        nothing,
        |f| assert_eq!(f.status("pgrt_"), "malformed"),
        0,
    ),
    (
        "not found",
        0,
        nothing,
        |f| assert_eq!(f.status(&unknown_token()), "not_found"),
        1,
    ),
    (
        "rotated",
        0,
        nothing,
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "rotated"),
        2,
    ),
    (
        "rotated again, with the same key",
        3,
        nothing,
        |f| assert_eq!(f.status(&f.tokens[3].clone()), "rotated"),
        3,
    ),
    (
        "retried",
        1,
        nothing,
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "retried"),
        3,
    ),
    (
        "retried over generations",
        40,
        nothing,
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "retried"),
        3,
    ),
    (
        "retry of what can't be derived",
        1,
        |f| f.run("UPDATE auth.sessions SET refresh_token_hmac_key = NULL WHERE id = '{session}'"),
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "revoked"),
        2,
    ),
    (
        "unchanged",
        0,
        |f| f.run("SET refresh_tokens.rotation = off"),
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "unchanged"),
        3,
    ),
    (
        "client mismatch",
        0,
        nothing,
        |f| {
            let grant =
                rotate_as(f.client, &f.tokens[0].clone(), Some("other")).expect("a verdict");
            assert_eq!(grant.status, "client_mismatch");
        },
        2,
    ),
    (
        "expired",
        0,
        |f| pass_time(f.client, f.session, "31 d"),
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "expired"),
        2,
    ),
    (
        "revoked",
        0,
        |f| assert_eq!(f.value::<i64>("revoke_session('{session}')"), 1),
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "revoked"),
        2,
    ),
    (
        "reuse",
        1,
        |f| pass_time(f.client, f.session, "2 h"),
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "reuse_detected"),
        3,
    ),
    (
        "first rotation without a session",
        3,
        without_session,
        |f| assert_eq!(f.status(&f.tokens[3].clone()), "rotated"),
        4,
    ),
    (
        "unchanged without a session",
        0,
        |f| {
            without_session(f);
            f.run("SET refresh_tokens.rotation = off");
        },
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "unchanged"),
        4,
    ),
    (
        "reuse without a session",
        1,
        |f| {
            pass_time(f.client, f.session, "2 h");
            without_session(f);
        },
        |f| assert_eq!(f.status(&f.tokens[0].clone()), "reuse_detected"),
        3,
    ),
    ("login", 0, nothing, |f| drop(issue(f.client, "alice")), 1),
    (
        "login under the cap",
        0,
        |f| f.run("SET refresh_tokens.max_sessions_per_user = 5"),
        |f| drop(issue(f.client, &f.user.clone())),
        3,
    ),
    (
        "login over the cap",
        0,
        |f| f.run("SET refresh_tokens.max_sessions_per_user = 1"),
        |f| drop(issue(f.client, &f.user.clone())),
        5,
    ),
    (
        "issue into a session",
        2,
        nothing,
        |f| {
            let into = call(
                f.client,
                "issue_refresh_token($1, $2)",
                &[&f.user.clone(), &f.session],
            );
            assert_eq!(into.expect("a live session").status, "issued");
        },
        2,
    ),
    (
        "issue into an unknown session",
        0,
        nothing,
        |f| {
            let into = call(
                f.client,
                "issue_refresh_token($1, $2)",
                &[&f.user.clone(), &Uuid::new_v4()],
            );
            assert_eq!(error_code(into), "23503");
        },
        1,
    ),
    (
        "revoke_refresh_token",
        2,
        nothing,
        |f| assert_eq!(f.value::<i64>("revoke_refresh_token('{first}')"), 1),
        3,
    ),
    (
        "revoke_refresh_token of nobody's",
        0,
        |f| f.tokens[0] = unknown_token(),
        |f| assert_eq!(f.value::<i64>("revoke_refresh_token('{first}')"), 0),
        1,
    ),
    (
        "revoke_token_family",
        2,
        |f| f.tokens[0] = digest(&f.tokens[0]),
        |f| assert_eq!(f.value::<i64>("revoke_token_family('{first}')"), 1),
        3,
    ),
    (
        "revoke_token_family without a session",
        2,
        without_session,
        |f| assert_eq!(f.value::<i64>("revoke_token_family('{first}')"), 1),
        3,
    ),
    (
        "revoke_session",
        2,
        nothing,
        |f| assert_eq!(f.value::<i64>("revoke_session('{session}')"), 1),
        2,
    ),
    (
        "revoke_user_sessions",
        2,
        |f| drop(issue(f.client, &f.user.clone())),
        |f| assert_eq!(f.value::<i64>("revoke_user_sessions('{user}')"), 2),
        2,
    ),
    (
        "explain",
        0,
        nothing,
        |f| assert_eq!(explain(f.client, &f.tokens[0].clone()).status, "rotated"),
        1,
    ),
    (
        "explain a retry",
        9,
        nothing,
        |f| assert_eq!(explain(f.client, &f.tokens[0].clone()).status, "retried"),
        2,
    ),
    (
        "explain without a session",
        1,
        without_session,
        |f| assert_eq!(explain(f.client, &f.tokens[1].clone()).status, "rotated"),
        2,
    ),
    (
        "is_session_live",
        0,
        nothing,
        |f| assert!(f.value::<bool>("is_session_live('{session}')")),
        1,
    ),
    (
        "draw_token_family",
        2,
        nothing,
        |f| {
            let sql = "SELECT count(*) FROM auth.draw_token_family($1)";
            let row = f.client.query_one(sql, &[&f.session]);
            assert_eq!(row.expect("a drawing").get::<_, i64>(0), 3);
        },
        1,
    ),
];

/// The statements that `act` of a case takes where `events` are recorded.
fn statements_of(client: &mut Client, case: &Case, events: &str) -> Vec<Statement> {
    let (_, rotations, before, act, _) = case;
    let mut fixture = Fixture::new(client, *rotations);
    before(&mut fixture);
    fixture.run(&format!("SET refresh_tokens.events = '{events}'"));
    inner_statements(fixture.client);
    act(&mut fixture);
    let statements = inner_statements(fixture.client);
    client.batch_execute("RESET ALL").expect("a reset");
    statements
}

/// The cases that take fewer statements where nothing stands in the way of the fast path: it finds
/// and locks, and swaps a live token for its child.
const FAST: [(&str, i64); 6] = [
    ("not found", 0),
    ("rotated", 0),
    ("rotated again, with the same key", 1),
    ("unchanged", 2),
    ("client mismatch", 1),
    ("expired", 1),
];

/// Runs the cases in `client`'s database, where a call takes as many statements as `expected` says.
fn count_statements(client: &mut Client, expected: impl Fn(&Case) -> i64) {
    for case in &CASES {
        let (name, expected) = (case.0, expected(case));
        assert!(expected <= 5);
        let calls = |statements: &[Statement]| -> i64 {
            statements.iter().map(|(_, calls, _)| calls).sum()
        };
        let statements = statements_of(client, case, "none");
        assert_eq!(calls(&statements), expected, "{name}: {statements:#?}");
        let statements = statements_of(client, case, "security");
        let records = |(sql, ..): &&Statement| sql.contains("refresh_token_events");
        let recorded = statements.iter().filter(records).count();
        let more = calls(&statements) - expected;
        assert_eq!(Ok(more), i64::try_from(recorded), "{name}: {statements:#?}");
        assert!(more <= 1);
        let is_usual = ["rotated", "retried", "login"].contains(&name);
        assert!(more == 0 || !is_usual, "{name}: {statements:#?}");
    }
    assert_invariants(client);
}

#[test]
fn a_call_is_at_most_five_statements_and_one_for_what_somebody_should_look_at() {
    let database = counting_database();
    let client = &mut database.connect();
    count_statements(client, |case| {
        let fast = FAST.iter().find(|(name, _)| *name == case.0);
        fast.map_or(case.4, |(_, statements)| *statements)
    });
    by_statements(client);
    count_statements(&mut database.connect(), |case| case.4);
}

/// The backend's kept statements, by number.
fn kept_statements(client: &mut Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_catalog.pg_backend_memory_contexts WHERE name = 'CachedPlanSource'";
    client
        .query_one(sql, &[])
        .expect("a superuser may look")
        .get(0)
}

#[test]
fn plans_are_kept() {
    const TIMES: usize = 20;
    let database = counting_database();
    by_statements(&mut database.connect());
    let client = &mut database.connect();
    grow(client);
    let mut kept = 0;
    inner_statements(client);
    for time in 0..TIMES {
        for (_, rotations, before, act, _) in CASES {
            let mut fixture = Fixture::new(client, rotations.min(3));
            fixture
                .tokens
                .resize(rotations + 1, fixture.live().to_owned());
            // The cases with more rotations are told apart by what they count, not by what they plan.
            if rotations <= 3 {
                before(&mut fixture);
                act(&mut fixture);
            }
            client.batch_execute("RESET ALL").expect("a reset");
        }
        if time == 0 {
            kept = kept_statements(client);
        }
    }
    // PostgreSQL plans five times before it trusts a generic plan, and read.sql is two statements.
    let again: Vec<_> = (inner_statements(client).iter())
        .filter(|(_, calls, plans)| *calls >= TIMES as i64 && *plans > 12)
        .map(|(sql, calls, plans)| {
            format!(
                "{plans} plans for {calls} calls: {}",
                sql.lines().next().unwrap_or(sql)
            )
        })
        .collect();
    assert_eq!(again, Vec::<String>::new());
    assert_eq!(kept_statements(client), kept);
}

/// Whoever is answered that a token is none of ours, or nobody's, has not cost a transaction id; nor has
/// anybody who only asks.
#[test]
fn a_refused_token_takes_no_transaction_id() {
    let database = Database::create();
    let client = &mut database.connect();
    let first = issue(client, "alice");
    let (token, session) = (first.token().to_owned(), first.session());
    let unknown = unknown_token();
    let nobody = Uuid::new_v4();
    let free = [
        format!("auth.rotate_refresh_token('{unknown}')"),
        "auth.rotate_refresh_token('pgrt_')".to_owned(),
        "auth.rotate_refresh_token(NULL)".to_owned(),
        format!("auth.revoke_refresh_token('{unknown}')"),
        format!("auth.revoke_token_family('{unknown}')"),
        "auth.revoke_token_family('something')".to_owned(),
        format!("auth.revoke_session('{nobody}')"),
        "auth.revoke_user_sessions('nobody')".to_owned(),
        format!("auth.explain_refresh_token('{token}')"),
        format!("auth.is_session_live('{session}')"),
        format!("auth.draw_token_family('{session}')"),
    ];
    let id = |client: &mut Client, call: &str| -> Option<String> {
        let mut transaction = client.transaction().expect("a transaction");
        transaction
            .query(&format!("SELECT {call}"), &[])
            .expect("a verdict");
        let sql = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text";
        transaction.query_one(sql, &[]).expect("a value").get(0)
    };
    for fresh in [true, false] {
        for call in &free {
            let mut fresh_client;
            let client = if fresh {
                fresh_client = database.connect();
                &mut fresh_client
            } else {
                &mut *client
            };
            assert_eq!(id(client, call), None, "{call}");
        }
    }
    let rotation = format!("auth.rotate_refresh_token('{token}')");
    assert!(
        id(client, &rotation).is_some(),
        "the query tells the difference"
    );
}

/// Every statement of the extension, run in this backend; every answer checked.
fn whole_life(client: &mut Client) {
    let user = Uuid::new_v4().to_string();
    let first = issue(client, &user);
    let (session, tokens) = (first.session(), rotate_thrice(client, first.token()));
    for token in &tokens[..3] {
        let retry = rotate(client, token).expect("a verdict");
        assert_eq!(
            (retry.status.as_str(), retry.token()),
            ("retried", tokens[3].as_str())
        );
        assert_eq!(explain(client, token).status, "retried");
    }
    let into =
        call(client, "issue_refresh_token($1, $2)", &[&user, &session]).expect("a live session");
    assert_eq!(into.status, "issued");
    assert_eq!(
        rotate(client, &tokens[3]).expect("a verdict").status,
        "revoked"
    );
    let live = rotate(client, into.token()).expect("a verdict");
    assert_eq!(live.status, "rotated");
    assert_eq!(
        rotate(client, &unknown_token()).expect("a verdict").status,
        "not_found"
    );

    let count = |client: &mut Client, sql: &str| -> i64 {
        client.query_one(sql, &[]).expect("a value").get(0)
    };
    let sql = format!("SELECT count(*) FROM auth.draw_token_family('{session}')");
    assert_eq!(count(client, &sql), 6);
    let is_live = "SELECT auth.is_session_live($1)";
    assert!(
        client
            .query_one(is_live, &[&session])
            .expect("a value")
            .get::<_, bool>(0)
    );
    let sql = format!("SELECT auth.revoke_refresh_token('{}')", tokens[0]);
    assert_eq!(count(client, &sql), 1);
    assert!(
        !client
            .query_one(is_live, &[&session])
            .expect("a value")
            .get::<_, bool>(0)
    );
    assert_eq!(
        rotate(client, live.token()).expect("a verdict").status,
        "revoked"
    );

    let other = issue(client, &user);
    let sql = format!("SELECT auth.revoke_session('{}')", other.session());
    assert_eq!(count(client, &sql), 1);
    issue(client, &user);
    issue(client, &user);
    assert_eq!(
        count(
            client,
            &format!("SELECT auth.revoke_user_sessions('{user}')")
        ),
        2
    );
}

/// [`whole_life`], and what only a superuser can set up.
fn whole_life_as_superuser(client: &mut Client) {
    whole_life(client);
    let user = Uuid::new_v4().to_string();
    let mut transaction = client.transaction().expect("a transaction");
    transaction
        .batch_execute(
            "SET LOCAL refresh_tokens.max_sessions_per_user = 1; SET LOCAL refresh_tokens.reuse_interval = 0",
        )
        .expect("a superuser may set");
    let login = |transaction: &mut postgres::Transaction<'_>| -> Grant {
        call(transaction, "issue_refresh_token($1)", &[&user]).expect("a login")
    };
    let evicted = login(&mut transaction);
    let first = login(&mut transaction);
    let status = |transaction: &mut postgres::Transaction<'_>, token: &str| -> Grant {
        rotate(transaction, token).expect("a verdict")
    };
    assert_eq!(status(&mut transaction, evicted.token()).status, "revoked");
    let second = status(&mut transaction, first.token());
    assert_eq!(second.status, "rotated");
    assert_eq!(
        status(&mut transaction, first.token()).status,
        "reuse_detected"
    );
    assert_eq!(status(&mut transaction, second.token()).status, "revoked");

    let third = login(&mut transaction);
    let without_session = format!(
        "UPDATE auth.refresh_tokens SET session_id = NULL WHERE session_id = '{0}';
         DELETE FROM auth.sessions WHERE id = '{0}'",
        third.session()
    );
    transaction
        .batch_execute(&without_session)
        .expect("a superuser may write");
    let adopted = status(&mut transaction, third.token());
    assert_eq!(adopted.status, "rotated");
    assert_ne!(adopted.session(), third.session());
    transaction
        .batch_execute("SET LOCAL refresh_tokens.rotation = off")
        .expect("a superuser may set");
    assert_eq!(
        status(&mut transaction, adopted.token()).status,
        "unchanged"
    );
    transaction.commit().expect("a commit");
}

/// `first` and the three that it is rotated to.
fn rotate_thrice(client: &mut impl GenericClient, first: &str) -> Vec<String> {
    let mut tokens = vec![first.to_owned()];
    for _ in 0..3 {
        let grant = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
        assert_eq!(grant.status, "rotated");
        tokens.push(grant.token().to_owned());
    }
    tokens
}

/// Makes a backend keep all its plans, generic ones where PostgreSQL wants them.
fn warm_up(client: &mut Client) {
    (0..8).for_each(|_| whole_life_as_superuser(client));
}

#[test]
fn kept_plans_are_right_after_the_tables_were_altered() {
    const CHANGES: [&str; 17] = [
        "ALTER TABLE auth.sessions ADD COLUMN extra int NOT NULL DEFAULT 7",
        "ALTER TABLE auth.refresh_tokens ADD COLUMN extra text DEFAULT 'seven'",
        "ALTER TABLE auth.sessions DROP COLUMN extra; ALTER TABLE auth.refresh_tokens DROP COLUMN extra",
        "ALTER TABLE auth.sessions SET (fillfactor = 70)",
        "ALTER TABLE auth.refresh_tokens SET (fillfactor = 90, autovacuum_enabled = off)",
        "ALTER INDEX auth.refresh_tokens_parent_idx RENAME TO other_name",
        "DROP INDEX auth.other_name; DROP INDEX auth.refresh_tokens_session_id_revoked_idx",
        "CREATE INDEX refresh_tokens_parent_idx ON auth.refresh_tokens (parent);
         CREATE INDEX refresh_tokens_session_id_revoked_idx ON auth.refresh_tokens (session_id, revoked)",
        "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_token_unique",
        "ALTER TABLE auth.refresh_tokens ADD CONSTRAINT refresh_tokens_token_unique UNIQUE (token)",
        "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_session_id_fkey",
        "ALTER TABLE auth.refresh_tokens ADD CONSTRAINT refresh_tokens_session_id_fkey
             FOREIGN KEY (session_id) REFERENCES auth.sessions (id) ON DELETE CASCADE",
        "ALTER TABLE auth.sessions ALTER COLUMN user_id TYPE text",
        "ALTER TABLE auth.sessions ALTER COLUMN user_id TYPE varchar(255)",
        "ALTER TYPE auth.aal_level ADD VALUE 'aal4'",
        "REINDEX TABLE auth.refresh_tokens",
        "VACUUM FULL",
    ];
    let database = Database::create();
    let client = &mut database.connect();
    let other = &mut database.connect();
    warm_up(client);
    let mut token = issue(client, "alice").token().to_owned();
    for (number, change) in CHANGES.iter().enumerate() {
        // By the backend itself and by another one.
        let by = if number % 2 == 0 {
            &mut *client
        } else {
            &mut *other
        };
        by.batch_execute(change)
            .unwrap_or_else(|error| panic!("{change}: {error}"));
        let grant = rotate(client, &token).unwrap_or_else(|error| panic!("{change}: {error}"));
        assert_eq!(grant.status, "rotated", "{change}");
        grant.token().clone_into(&mut token);
        whole_life_as_superuser(client);
    }
    assert_invariants(client);
}

#[test]
fn kept_plans_are_right_after_a_discard() {
    let database = Database::create();
    let client = &mut database.connect();
    warm_up(client);
    let mut token = issue(client, "alice").token().to_owned();
    for sql in [
        "DISCARD PLANS",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "DISCARD SEQUENCES",
        "RESET ALL",
    ] {
        for _ in 0..3 {
            client.batch_execute(sql).expect("a discard");
            let grant = rotate(client, &token).expect("a verdict");
            assert_eq!(grant.status, "rotated", "{sql}");
            grant.token().clone_into(&mut token);
            whole_life_as_superuser(client);
        }
    }
    assert_invariants(client);
}

#[test]
fn kept_plans_are_right_after_the_extension_was_created_anew() {
    const ANEW: &str = "DROP EXTENSION refresh_tokens; CREATE EXTENSION refresh_tokens";
    let database = Database::create();
    let client = &mut database.connect();
    let other = &mut database.connect();
    warm_up(client);
    for round in 0..4 {
        let old = issue(client, "alice").token().to_owned();
        let by = if round % 2 == 0 {
            &mut *client
        } else {
            &mut *other
        };
        by.batch_execute(ANEW).expect("a new extension");
        assert_eq!(rotate(client, &old).expect("a verdict").status, "not_found");
        whole_life_as_superuser(client);
    }

    // Undone, in a transaction that used what it created.
    let old = issue(client, "alice").token().to_owned();
    let mut transaction = client.transaction().expect("a transaction");
    transaction.batch_execute(ANEW).expect("a new extension");
    let grant = call(&mut transaction, "issue_refresh_token($1)", &[&"alice"]).expect("a login");
    rotate_thrice(&mut transaction, grant.token());
    assert_eq!(
        rotate(&mut transaction, &old).expect("a verdict").status,
        "not_found"
    );
    transaction.rollback().expect("a rollback");
    assert_eq!(
        rotate(client, grant.token()).expect("a verdict").status,
        "not_found"
    );
    assert_eq!(rotate(client, &old).expect("a verdict").status, "rotated");
    whole_life_as_superuser(client);

    // Gone, and back as somebody else's.
    client
        .batch_execute("DROP EXTENSION refresh_tokens")
        .expect("no dependents");
    assert_eq!(error_code(rotate(client, &old)), "42883");
    let role = format!("owner_of_{}", database.name);
    client
        .batch_execute(&format!(
            "CREATE ROLE {role} SUPERUSER; SET ROLE {role}; DROP SCHEMA IF EXISTS auth;
             CREATE EXTENSION refresh_tokens; RESET ROLE"
        ))
        .expect("a new extension");
    whole_life_as_superuser(client);
    assert_invariants(client);
    assert_invariants(&mut database.connect());
}

/// Fills the tables with the sessions of many users, and lets PostgreSQL know.
fn grow(client: &mut Client) {
    client
        .batch_execute(
            "INSERT INTO auth.sessions (id, user_id)
             SELECT gen_random_uuid(), 'user ' || n / 3 FROM generate_series(1, 20000) AS n;
             INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, parent, session_id)
             SELECT 'token ' || n || ' of ' || s.id, s.user_id, n < 3, now(), now(),
                    CASE WHEN n > 1 THEN 'token ' || n - 1 || ' of ' || s.id END, s.id
               FROM auth.sessions AS s, generate_series(1, 3) AS n
              WHERE s.user_id LIKE 'user %';
             INSERT INTO auth.refresh_token_events (event, token_id)
             SELECT 'family_revoked', -n FROM generate_series(1, 20000) AS n;
             ANALYZE",
        )
        .expect("a superuser may write");
}

/// Tables are empty when a backend makes its first plans, and may be large before it ends.
#[test]
fn plans_made_on_empty_tables_use_the_indexes_once_there_are_statistics() {
    let cluster = Arc::new(Cluster::start(&["autovacuum = off"]));
    let database = Database::create_in(&cluster);
    let client = &mut database.connect();
    let other = &mut database.connect();
    warm_up(client);
    grow(other);
    let scans = |client: &mut Client| -> (i64, i64) {
        client
            .batch_execute("SELECT pg_stat_force_next_flush()")
            .expect("a flush");
        let sql = "SELECT sum(seq_scan)::bigint, sum(idx_scan)::bigint FROM pg_stat_user_tables
                    WHERE schemaname = 'auth'";
        let row = client.query_one(sql, &[]).expect("a superuser may look");
        (row.get(0), row.get(1))
    };
    whole_life(client);
    let (sequential, by_index) = scans(client);
    for _ in 0..10 {
        whole_life(client);
    }
    let (sequential_after, by_index_after) = scans(client);
    assert!(by_index_after > by_index + 100, "the scans are counted");
    assert_eq!(sequential_after, sequential);
}

/// Autovacuum may be late, and a restore leaves tables without statistics: events are found by an index all the same, by a
/// backend that made its plans while the table was empty, and by a new one.
#[test]
fn events_are_found_by_an_index_without_statistics() {
    let cluster = Arc::new(Cluster::start(&[
        "autovacuum = off",
        "refresh_tokens.client_authentication_hook = 'public.hook'",
    ]));
    let database = Database::create_in(&cluster);
    let client = &mut database.connect();
    let scans = |client: &mut Client| -> i64 {
        client
            .batch_execute("SELECT pg_stat_force_next_flush()")
            .expect("a flush");
        let sql = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'refresh_token_events'";
        client.query_one(sql, &[]).expect("statistics").get(0)
    };
    let record = |client: &mut Client| {
        for n in 0..10 {
            let token = issue(client, &format!("user {n}"));
            let revoke = "SELECT auth.revoke_session($1)";
            client
                .execute(revoke, &[&token.session()])
                .expect("a logout");
            let failed = format!(
                "SELECT auth.token('refresh_token', 'nonsense', client_id => 'client {n}', client_secret => 'wrong')"
            );
            client.execute(&failed, &[]).expect("a refusal");
        }
        let purge = "SELECT auth.purge_refresh_tokens(100000)";
        client.execute(purge, &[]).expect("a purge");
    };
    client
        .batch_execute(
            "CREATE FUNCTION public.hook(client_id text, client_secret text) RETURNS boolean RETURN client_secret = 'right';
             INSERT INTO auth.refresh_token_events (event, token_id, occurred_at)
             SELECT 'issued', -n, now() - interval '1 year' FROM generate_series(1, 300) AS n",
        )
        .expect("a superuser may");
    let old = &mut database.connect();
    record(old);
    client
        .batch_execute(
            "INSERT INTO auth.refresh_token_events (event, token_id, occurred_at)
             SELECT 'issued', -n, now() - interval '1 hour' FROM generate_series(1, 50000) AS n;
             INSERT INTO auth.refresh_token_events (event, occurred_at)
             SELECT 'client_authentication_failed', now() - interval '1 hour' FROM generate_series(1, 20000) AS n",
        )
        .expect("a superuser may");
    let before = scans(old);
    record(old);
    assert_eq!(scans(old), before, "with the plans that it has");
    let new = &mut database.connect();
    record(new);
    assert_eq!(scans(new), before, "with new plans");
    let failures = "SELECT count(*) FROM auth.refresh_token_events WHERE reason LIKE 'client %'";
    let failures: i64 = client.query_one(failures, &[]).expect("a count").get(0);
    assert!(failures >= 10, "failed authentications were recorded");
}

#[test]
fn one_backend_serves_roles_in_turn() {
    let database = Database::create();
    let client = &mut database.connect();
    let [server, clerk, nobody] =
        ["server", "clerk", "nobody"].map(|role| format!("{role}_{}", database.name));
    client
        .batch_execute(&format!(
            "CREATE ROLE {server}; CREATE ROLE {clerk}; CREATE ROLE {nobody};
             SELECT auth.grant_refresh_token_role('{server}', 'server');
             SELECT auth.grant_refresh_token_role('{server}', 'operator');
             SELECT auth.grant_refresh_token_role('{clerk}', 'client');
             GRANT USAGE ON SCHEMA auth TO {nobody}"
        ))
        .expect("roles");
    let become_ = |client: &mut Client, role: &str| {
        client
            .batch_execute(&format!("SET ROLE {role}"))
            .expect("a role");
    };
    // The first plans of the backend are made on behalf of the least privileged one.
    become_(client, &server);
    whole_life(client);
    let mut token = issue(client, "alice").token().to_owned();
    for _ in 0..10 {
        for role in [clerk.as_str(), "postgres", server.as_str(), clerk.as_str()] {
            become_(client, role);
            let grant = rotate(client, &token).expect("a verdict");
            assert_eq!(grant.status, "rotated", "as {role}");
            grant.token().clone_into(&mut token);
            let read = client.batch_execute("SELECT FROM auth.refresh_tokens");
            if role != "postgres" {
                assert_eq!(error_code(read), "42501", "as {role}");
                whole_life_or_denied(client, role == clerk);
            }
            become_(client, &nobody);
            assert_eq!(error_code(rotate(client, &token)), "42501");
        }
    }
    client.batch_execute("RESET ROLE").expect("a reset");
    whole_life_as_superuser(client);
    assert_invariants(client);
}

fn whole_life_or_denied(client: &mut Client, denied: bool) {
    if denied {
        let login = call(client, "issue_refresh_token($1)", &[&"alice"]);
        assert_eq!(error_code(login), "42501");
    } else {
        whole_life(client);
    }
}

#[test]
fn no_setting_of_a_session_changes_an_answer() {
    const SETTINGS: [&str; 20] = [
        "search_path = ''",
        "search_path = decoy, auth, pg_catalog",
        "search_path = pg_temp, decoy",
        "plan_cache_mode = force_custom_plan",
        "plan_cache_mode = force_generic_plan",
        "row_security = off",
        "default_transaction_isolation = serializable",
        "default_transaction_isolation = 'repeatable read'",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = sql_standard",
        "TimeZone = 'Pacific/Kiritimati'",
        "transform_null_equals = on",
        "array_nulls = off",
        "standard_conforming_strings = off",
        "quote_all_identifiers = on",
        "client_encoding = LATIN1",
        "enable_indexscan = off; SET enable_bitmapscan = off",
        "enable_seqscan = off; SET enable_sort = off",
        "max_stack_depth = '100kB'",
        "work_mem = '64kB'",
    ];
    let database = Database::create();
    let client = &mut database.connect();
    client
        .batch_execute(
            "CREATE SCHEMA decoy;
             CREATE TABLE decoy.sessions (id uuid); CREATE TABLE decoy.refresh_tokens (token text);
             CREATE FUNCTION decoy.count(uuid) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
        )
        .expect("a schema");
    warm_up(client);
    let mut token = issue(client, "alice").token().to_owned();
    for setting in SETTINGS {
        client
            .batch_execute(&format!("SET {setting}"))
            .expect("a setting");
        let grant = rotate(client, &token).unwrap_or_else(|error| panic!("{setting}: {error}"));
        assert_eq!(grant.status, "rotated", "{setting}");
        grant.token().clone_into(&mut token);
        let utf8 = !setting.starts_with("client_encoding");
        if utf8 {
            whole_life_as_superuser(client);
        }
        client.batch_execute("RESET ALL").expect("a reset");
    }
    assert_invariants(client);
}

/// What a pooler in transaction mode does: each transaction of each user goes to whichever backend is
/// free, and nothing of a session is left from one to the next.
#[test]
fn users_share_backends_transaction_by_transaction() {
    const USERS: usize = 24;
    let database = Database::create();
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.reuse_interval = '1 h'",
        database.name
    );
    database.connect().batch_execute(&sql).expect("a setting");
    let mut backends: Vec<_> = (0..3).map(|_| database.connect()).collect();
    let mut families: Vec<Vec<Grant>> = vec![Vec::new(); USERS];
    for turn in 0..USERS * 8 {
        // Neighbours in time are other users; each user meets each backend.
        let user = turn * 7 % USERS;
        let backend = &mut backends[(user + turn / USERS) % 3];
        let family = &mut families[user];
        let mut transaction = backend.transaction().expect("a transaction");
        let grant = match family.as_slice() {
            [] => call(
                &mut transaction,
                "issue_refresh_token($1)",
                &[&format!("user {user}")],
            ),
            [.., live] => {
                if let [.., before, _, _] = family.as_slice() {
                    let retry = rotate(&mut transaction, before.token()).expect("a verdict");
                    assert_eq!(
                        (retry.status.as_str(), &retry.token),
                        ("retried", &live.token)
                    );
                }
                rotate(&mut transaction, live.token())
            }
        };
        let grant = grant.expect("an answer");
        transaction.commit().expect("a commit");
        backend.batch_execute("DISCARD ALL").expect("a discard");
        assert_eq!(
            grant.user_id.as_deref(),
            Some(format!("user {user}").as_str())
        );
        assert_eq!(
            grant.status,
            if family.is_empty() {
                "issued"
            } else {
                "rotated"
            }
        );
        if let Some(first) = family.first() {
            assert_eq!(grant.session_id, first.session_id);
        }
        family.push(grant);
    }
    assert!(families.iter().all(|family| family.len() == 8));
    assert_invariants(&mut backends[0]);
}

/// How many events are read to record one for each of many tokens: as many as there are of these tokens, and not all that
/// the same statement has recorded before.
#[test]
fn what_is_recorded_for_many_tokens_at_once_is_not_read_again_for_each() {
    const SESSIONS: i64 = 500;
    const READ: &str = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_xact_user_tables
                         WHERE relid = 'auth.refresh_token_events'::regclass";
    let database = Database::create();
    let client = &mut database.connect();
    client
        .batch_execute(&format!(
            "SELECT count(auth.issue_refresh_token('user ' || n)) FROM generate_series(1, {SESSIONS}) AS n"
        ))
        .expect("logins");
    for sql in [
        "SELECT count(auth.revoke_session(id)) FROM auth.sessions",
        "SELECT sum(sessions)::bigint FROM auth.revoke_session_batch(NULL, 1000)",
    ] {
        let mut transaction = client.transaction().expect("a transaction");
        let ended: i64 = transaction.query_one(sql, &[]).expect("a count").get(0);
        assert_eq!(ended, SESSIONS);
        let read: i64 = transaction.query_one(READ, &[]).expect("a count").get(0);
        assert!(read <= SESSIONS, "{sql}: {read}");
        transaction.rollback().expect("a rollback");
    }
}

/// However many sessions there are, a batch reads its own and no others.
#[test]
fn a_batch_of_sessions_is_found_by_the_index() {
    let cluster = Arc::new(Cluster::start(&["autovacuum = off"]));
    let database = Database::create_in(&cluster);
    let client = &mut database.connect();
    let batch = |client: &mut Client, after: Option<Uuid>| -> (Option<Uuid>, i64) {
        let sql = "SELECT last_session, sessions FROM auth.revoke_session_batch($1, 100)";
        let row = client.query_one(sql, &[&after]).expect("one row");
        (row.get(0), row.get(1))
    };
    // Plans are made while the tables are empty.
    for _ in 0..8 {
        assert_eq!(batch(client, None), (None, 0));
    }
    grow(&mut database.connect());
    let scans = "SELECT pg_stat_force_next_flush(), sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE schemaname = 'auth'";
    let count =
        |client: &mut Client| -> i64 { client.query_one(scans, &[]).expect("statistics").get(1) };
    let mut place = batch(client, None).0;
    count(client);
    let before = count(client);
    for _ in 0..20 {
        let (last, sessions) = batch(client, place);
        assert_eq!(sessions, 100);
        place = last;
    }
    count(client);
    assert_eq!(count(client), before, "no table is read as a whole");
}

/// A parallel query decides by its session's settings, also where the library was not loaded before: once a query is
/// parallel, who loads it has the defaults.
#[test]
fn a_parallel_query_knows_whether_a_session_is_live() {
    let database = Database::create();
    let client = &mut database.connect();
    grow(client);
    client
        .batch_execute(
            "UPDATE auth.sessions SET created_at = now() - interval '2 d', refreshed_at = now() - interval '1 d';
             CREATE TABLE notes AS SELECT id, user_id FROM auth.sessions;
             ALTER TABLE notes SET (parallel_workers = 2);
             ANALYZE notes",
        )
        .expect("a superuser may");
    let session: Uuid = client
        .query_one("SELECT id FROM auth.sessions LIMIT 1", &[])
        .expect("a session")
        .get(0);
    let each = "SELECT count(*) FROM notes WHERE auth.is_session_live(id)".to_owned();
    let once =
        format!("SELECT count(*) FROM notes WHERE (SELECT auth.is_session_live('{session}'))");
    for sql in [&each, &once] {
        // In a backend that has not loaded the library.
        let client = &mut database.connect();
        client
            .batch_execute(
                "SET refresh_tokens.idle_timeout = '12 h';
                 SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
                 SET parallel_leader_participation = off",
            )
            .expect("settings");
        let plan = client
            .query(&format!("EXPLAIN (ANALYZE, COSTS off) {sql}"), &[])
            .expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let has = |word: &str| plan.iter().any(|line| line.contains(word));
        assert!(has("Workers Launched: 2"), "{plan:#?}");
        let count =
            |client: &mut Client| -> i64 { client.query_one(sql, &[]).expect("a count").get(0) };
        assert_eq!(count(client), 0);
        client
            .batch_execute("RESET refresh_tokens.idle_timeout")
            .expect("a setting");
        assert_eq!(count(client), 20_000);
    }
}
