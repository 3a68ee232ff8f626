//! What no error shows, to the client and in the server's log: where in the library it came up, and what is in a row.

use postgres::{Client, Error};
use refresh_tokens_tests::format::digest;
use refresh_tokens_tests::{Cluster, Database, Grant, by_statements, issue, pass_time, rotate};
use std::fs;
use std::sync::Arc;

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.300}\n{done:?}");
}

/// All that a client sees of an error, and its SQLSTATE.
fn told(error: &Error) -> (String, String) {
    let error = error.as_db_error().expect("an answer of the server");
    let parts = [
        Some(error.message()),
        error.detail(),
        error.hint(),
        error.where_(),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    (error.code().code().to_owned(), text)
}

/// However the server's environment asks for backtraces.
#[test]
fn no_error_shows_a_backtrace() {
    let cluster = Arc::new(Cluster::start(&["log_min_messages = log"]));
    cluster.stop("fast");
    cluster.boot_with(&[("RUST_BACKTRACE", "full"), ("RUST_LIB_BACKTRACE", "1")]);
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    execute(
        &mut client,
        "SELECT auth.rotate_signing_key();
         CREATE FUNCTION hook(jsonb) RETURNS jsonb LANGUAGE plpgsql AS
             $$BEGIN RAISE EXCEPTION 'not today' USING DETAIL = 'because', HINT = 'tomorrow'; END$$;
         SET refresh_tokens.access_token_hook = 'public.hook'; SET lock_timeout = '10ms'",
    );
    let grant = issue(&mut client, "alice");
    let mut other = database.connect();
    execute(
        &mut other,
        &format!(
            "BEGIN; SELECT FROM auth.sessions WHERE id = '{}' FOR UPDATE",
            grant.session()
        ),
    );
    let token = grant.token();
    let calls = [
        (
            format!("SELECT auth.rotate_refresh_token('{token}')"),
            "55P03",
            "canceling statement due to lock timeout",
        ),
        (
            "SELECT auth.issue_refresh_token(NULL)".into(),
            "22004",
            "user_id must not be NULL",
        ),
        (
            "SELECT auth.sign_in_response('alice')".into(),
            "P0001",
            "not today\nbecause\ntomorrow",
        ),
        (
            "SELECT auth.rotate_signing_key('none')".into(),
            "22023",
            "alg must be HS256, ES256 or EdDSA",
        ),
    ];
    for (sql, code, says) in calls {
        let error = client.query(&sql, &[]).expect_err("the call must fail");
        let (state, text) = told(&error);
        assert_eq!(state, code, "{text}");
        assert!(text.starts_with(says), "{sql}: {text}");
        for word in ["std::", ".rs", "pgrx", "   0: "] {
            assert!(!text.contains(word), "{sql} shows {word}: {text}");
        }
    }
    let log = fs::read_to_string(cluster.log()).expect("a log");
    for word in ["std::", "rust_begin_unwind", "   0: "] {
        assert!(!log.contains(word), "the log has {word}");
    }
}

/// The secrets of a family: tokens, digests, the derivation keys that the session had.
fn secrets(client: &mut Client, family: &[Grant]) -> Vec<String> {
    let mut secrets: Vec<_> = family
        .iter()
        .flat_map(|grant| [grant.token().to_owned(), digest(grant.token())])
        .collect();
    let rows = client.query("SELECT refresh_token_hmac_key FROM auth.sessions", &[]);
    let keys = rows.expect("a superuser may look");
    secrets.extend(
        keys.iter()
            .filter_map(|row| row.get::<_, Option<String>>(0)),
    );
    secrets
}

/// Constraints that somebody else has added, and the SQLSTATE of breaking them.
const CONSTRAINTS: [(&str, &str); 5] = [
    (
        "ALTER TABLE auth.sessions ADD CONSTRAINT theirs CHECK (refresh_token_counter < 1)",
        "23514",
    ),
    (
        "ALTER TABLE auth.refresh_tokens ADD CONSTRAINT theirs CHECK (parent IS NULL) NOT VALID",
        "23514",
    ),
    (
        "ALTER TABLE auth.refresh_tokens ADD COLUMN theirs text; UPDATE auth.refresh_tokens SET theirs = ''; ALTER TABLE auth.refresh_tokens ALTER theirs SET NOT NULL",
        "23502",
    ),
    (
        "CREATE TABLE known (digest varchar(255) PRIMARY KEY); ALTER TABLE auth.refresh_tokens ADD CONSTRAINT theirs FOREIGN KEY (parent) REFERENCES known NOT VALID",
        "23503",
    ),
    (
        "CREATE UNIQUE INDEX theirs ON auth.refresh_tokens ((left(parent, 0)))",
        "23505",
    ),
];

#[test]
fn no_error_shows_a_row() {
    let cluster = Arc::new(Cluster::start(&["log_error_verbosity = verbose"]));
    for statements in [false, true] {
        for (constraint, code) in CONSTRAINTS {
            let database = Database::create_in(&cluster);
            let mut client = database.connect();
            if statements {
                by_statements(&mut client);
            }
            let mut family = vec![issue(&mut client, "alice")];
            let rotates = !constraint.contains("counter");
            if rotates {
                family.push(rotate(&mut client, family[0].token()).expect("a verdict"));
            }
            execute(
                &mut client,
                "UPDATE auth.sessions SET refresh_token_hmac_key = repeat('k', 43) WHERE refresh_token_hmac_key IS NULL",
            );
            execute(&mut client, constraint);
            let secrets = secrets(&mut client, &family);
            let live = family[family.len() - 1].token();
            let sql = "SELECT status FROM auth.rotate_refresh_token($1)";
            let error = client.query(sql, &[&live]).expect_err("a constraint fails");
            let (state, text) = told(&error);
            assert_eq!(state, code, "{constraint}: {text}");
            assert!(text.contains("theirs"), "which one it was: {text}");
            let log = fs::read_to_string(cluster.log()).expect("a log");
            for secret in &secrets {
                assert!(!text.contains(secret), "{constraint}: {text}");
                assert!(!log.contains(secret), "{constraint}: the log");
            }
            // The minted child's digest is nowhere either: no word is as long as one.
            let is_in_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            let longest = text.split(|c| !is_in_word(c)).map(str::len).max();
            assert!(longest < Some(40), "{constraint}: {text}");
        }
    }
}

/// An error of a function of the application's is its own to word, as far as it names no row of ours.
#[test]
fn an_error_of_a_hook_keeps_what_it_says() {
    let database = Database::create();
    let mut client = database.connect();
    execute(
        &mut client,
        "SELECT auth.rotate_signing_key();
         CREATE FUNCTION hook(jsonb) RETURNS jsonb LANGUAGE plpgsql AS
             $$BEGIN RAISE EXCEPTION 'blocked' USING ERRCODE = '42501', DETAIL = 'since May', HINT = 'pay'; END$$;
         SET refresh_tokens.access_token_hook = 'public.hook'",
    );
    let error = client
        .query("SELECT auth.sign_in_response('alice')", &[])
        .expect_err("the hook raises");
    let (code, text) = told(&error);
    assert_eq!(code, "42501");
    assert!(text.starts_with("blocked\nsince May\npay"), "{text}");
    let grant = issue(&mut client, "alice");
    pass_time(&mut client, grant.session(), "1 s");
}

/// What pgaudit would do is told by its setting while a statement of ours runs; after the call it is what it was.
#[test]
fn no_parameters_are_audited_where_they_hold_a_secret() {
    let database = Database::create();
    let mut client = database.connect();
    execute(
        &mut client,
        "CREATE TABLE seen (setting text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN INSERT INTO public.seen VALUES (current_setting('pgaudit.log_parameter', true)); RETURN NEW; END$$;
         CREATE TRIGGER see BEFORE INSERT ON auth.refresh_tokens FOR EACH ROW WHEN (NEW.parent IS NOT NULL) EXECUTE FUNCTION see();
         CREATE TRIGGER see BEFORE INSERT ON auth.signing_keys FOR EACH ROW EXECUTE FUNCTION see();
         CREATE FUNCTION authenticate(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$BEGIN INSERT INTO public.seen VALUES (current_setting('pgaudit.log_parameter', true)); RETURN true; END$$;
         SET refresh_tokens.client_authentication_hook = 'public.authenticate'",
    );
    let grant = issue(&mut client, "alice");
    for setting in ["on", "off"] {
        execute(
            &mut client,
            &format!("SET pgaudit.log_parameter = {setting}; TRUNCATE seen"),
        );
        let other = issue(&mut client, "bob");
        execute(
            &mut client,
            &format!(
                "SELECT auth.rotate_signing_key(); SELECT auth.rotate_refresh_token('{}');
                 SELECT auth.token('refresh_token', '{}', 'app', client_secret => 'secret')",
                other.token(),
                grant.token()
            ),
        );
        let rows = client
            .query("SELECT setting FROM seen", &[])
            .expect("what was seen");
        let seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(seen, ["off"; 3]);
        assert_setting(&mut client, setting);
        // An error on the way leaves it as it was.
        execute(
            &mut client,
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
             CREATE TRIGGER z BEFORE INSERT ON auth.signing_keys FOR EACH ROW EXECUTE FUNCTION fail();
             DO $$BEGIN PERFORM auth.rotate_signing_key(); EXCEPTION WHEN OTHERS THEN NULL; END$$;
             DROP FUNCTION fail CASCADE",
        );
        assert_setting(&mut client, setting);
    }
}

fn assert_setting(client: &mut Client, expected: &str) {
    let row = client.query_one("SHOW pgaudit.log_parameter", &[]);
    assert_eq!(row.expect("a setting").get::<_, String>(0), expected);
}
