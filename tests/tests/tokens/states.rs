//! States that stay, whatever the clock says and whatever somebody did to a row: what has ended stays ended, what
//! can't be used gets the same answer each time, and a change of a family is a change of its session.

use postgres::{Client, GenericClient, IsolationLevel};
use refresh_tokens_tests::format::digest;
use refresh_tokens_tests::{
    Database, Grant, by_statements, call, error_code, explain, in_transaction, issue, pass_time,
    rotate, rotate_as,
};
use uuid::Uuid;

fn execute(client: &mut impl GenericClient, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.300}\n{done:?}");
}

fn ask<T: postgres::types::FromSqlOwned>(client: &mut impl GenericClient, sql: &str) -> T {
    let row = client.query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql:.300}\n{error:?}"))
        .get(0)
}

fn status(client: &mut impl GenericClient, token: &str) -> String {
    rotate(client, token).expect("a verdict").status
}

/// A session of `user` with a token, its child and its grandchild, the live one last.
fn family(client: &mut Client, user: &str) -> [Grant; 3] {
    let first = issue(client, user);
    let second = rotate(client, first.token()).expect("a verdict");
    let third = rotate(client, second.token()).expect("a verdict");
    [first, second, third]
}

/// Deletes the row of `session` as a replica does, which no foreign key heeds.
fn lose_session(client: &mut Client, session: Uuid) {
    execute(
        client,
        &format!(
            "SET session_replication_role = replica;
             DELETE FROM auth.sessions WHERE id = '{session}';
             RESET session_replication_role"
        ),
    );
}

// ---- a session that is gone ---------------------------------------------------------------------

#[test]
fn a_token_whose_session_is_gone_is_revoked_each_time() {
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, "SELECT auth.rotate_signing_key()");
    for statements in [false, true] {
        if statements {
            by_statements(&mut client);
        }
        let family = family(&mut client, "alice");
        let session = family[0].session();
        lose_session(&mut client, session);
        for grant in &family {
            let token = grant.token();
            for _ in 0..2 {
                assert_eq!(status(&mut client, token), "revoked");
                assert_eq!(
                    rotate_as(&mut client, token, Some("app"))
                        .expect("a verdict")
                        .status,
                    "revoked"
                );
                assert_eq!(explain(&mut client, token).status, "revoked");
            }
            for (sql, expected) in [
                (
                    "auth.introspect_refresh_token('TOKEN')::text",
                    r#"{"active": false}"#,
                ),
                (
                    "auth.token('refresh_token', 'TOKEN')->>'error'",
                    "invalid_grant",
                ),
                (
                    "auth.token('refresh_token', 'TOKEN', scope => 'a')->>'error'",
                    "invalid_grant",
                ),
                ("auth.revoke_refresh_token('TOKEN')::text", "0"),
                ("auth.revoke_token_family('TOKEN')::text", "0"),
                ("auth.revoke('TOKEN')::text", "{}"),
            ] {
                let sql = format!("SELECT {}", sql.replace("TOKEN", token));
                assert_eq!(ask::<String>(&mut client, &sql), expected, "{sql}");
            }
        }
        let sql = format!("SELECT auth.is_session_live('{session}')");
        assert!(!ask::<bool>(&mut client, &sql));
    }
}

#[test]
fn tokens_whose_session_is_gone_are_purged_once_they_are_old_enough() {
    let database = Database::create();
    let mut client = database.connect();
    // Nothing but a revocation ends a session.
    execute(
        &mut client,
        "SET refresh_tokens.session_lifetime = 0; SET refresh_tokens.idle_timeout = 0",
    );
    let sessions: Vec<_> = (0..3)
        .map(|_| family(&mut client, "alice")[0].session())
        .collect();
    let [lost, undated, kept] = sessions[..] else {
        panic!("three sessions")
    };
    for session in [lost, undated] {
        lose_session(&mut client, session);
    }
    let purge = "SELECT auth.purge_refresh_tokens()";
    assert_eq!(ask::<i64>(&mut client, purge), 0, "evidence is kept");
    for session in [lost, undated, kept] {
        let sql = format!(
            "UPDATE auth.refresh_tokens SET created_at = created_at - interval '31 d', updated_at = updated_at - interval '31 d'
              WHERE session_id = '{session}'"
        );
        execute(&mut client, &sql);
    }
    // What does not say when it was changed is as old as it is.
    execute(
        &mut client,
        &format!("UPDATE auth.refresh_tokens SET updated_at = NULL WHERE session_id = '{undated}'"),
    );
    // A row without a session and without a user can never be used.
    execute(
        &mut client,
        "INSERT INTO auth.refresh_tokens (token, revoked, created_at, updated_at)
         VALUES ('nobody''s', false, now() - interval '31 d', now() - interval '31 d')",
    );
    // The live token and its parent of the session that goes on stay.
    assert_eq!(ask::<i64>(&mut client, purge), 3 + 3 + 1 + 1);
    assert_eq!(ask::<i64>(&mut client, purge), 0);
    let left = format!("SELECT count(*) FROM auth.refresh_tokens WHERE session_id = '{kept}'");
    assert_eq!(ask::<i64>(&mut client, &left), 2);
    assert_eq!(
        ask::<i64>(&mut client, "SELECT count(*) FROM auth.refresh_tokens"),
        2
    );
}

// ---- damage of every kind -----------------------------------------------------------------------

/// What somebody may have done to a family: TOKEN is its live token's digest, PARENT that one's parent's.
const DAMAGE: [&str; 34] = [
    "SELECT",
    "DELETE FROM auth.sessions",
    "UPDATE auth.refresh_tokens SET session_id = NULL",
    "UPDATE auth.refresh_tokens SET session_id = NULL WHERE token = 'TOKEN'",
    "UPDATE auth.refresh_tokens SET session_id = NULL WHERE token = 'PARENT'",
    "UPDATE auth.refresh_tokens SET session_id = gen_random_uuid()",
    "UPDATE auth.refresh_tokens SET session_id = gen_random_uuid() WHERE token = 'TOKEN'",
    "UPDATE auth.refresh_tokens SET session_id = gen_random_uuid() WHERE token = 'PARENT'",
    "UPDATE auth.refresh_tokens SET revoked = false",
    "UPDATE auth.refresh_tokens SET revoked = NULL",
    "UPDATE auth.refresh_tokens SET revoked = true",
    "UPDATE auth.refresh_tokens SET parent = NULL",
    "UPDATE auth.refresh_tokens SET parent = token",
    "UPDATE auth.refresh_tokens SET parent = 'TOKEN'",
    "UPDATE auth.refresh_tokens SET parent = 'TOKEN', session_id = NULL",
    "UPDATE auth.refresh_tokens SET user_id = NULL",
    "UPDATE auth.refresh_tokens SET user_id = NULL, session_id = NULL",
    "UPDATE auth.refresh_tokens SET created_at = NULL, updated_at = NULL",
    "UPDATE auth.refresh_tokens SET created_at = NULL, updated_at = NULL, user_id = NULL, revoked = NULL, session_id = NULL",
    "UPDATE auth.refresh_tokens SET updated_at = 'infinity', created_at = '-infinity'",
    "DELETE FROM auth.refresh_tokens WHERE token = 'PARENT'",
    "DELETE FROM auth.refresh_tokens WHERE token = 'TOKEN'",
    "DELETE FROM auth.refresh_tokens WHERE token <> 'TOKEN'",
    "INSERT INTO auth.refresh_tokens (token, user_id, revoked, session_id) SELECT 'other', 'alice', false, id FROM auth.sessions",
    "INSERT INTO auth.refresh_tokens (token, parent, user_id, revoked, session_id) SELECT 'other', 'PARENT', 'alice', true, id FROM auth.sessions",
    "UPDATE auth.sessions SET created_at = NULL",
    "UPDATE auth.sessions SET updated_at = NULL",
    "UPDATE auth.sessions SET user_id = NULL",
    "UPDATE auth.sessions SET created_at = NULL, updated_at = NULL, user_id = NULL, refreshed_at = NULL, refresh_token_counter = NULL, refresh_token_hmac_key = NULL",
    "UPDATE auth.sessions SET not_after = updated_at",
    "UPDATE auth.sessions SET refresh_token_hmac_key = repeat('é', 43)",
    "UPDATE auth.sessions SET refresh_token_counter = -9223372036854775808",
    "UPDATE auth.sessions SET refresh_token_counter = 9223372036854775807, refreshed_at = 'infinity'",
    "UPDATE auth.signing_keys SET alg = NULL, active_at = NULL, private_key = NULL",
];

/// The calls of all functions that look at a family: $T is the presented token, $S the session.
const CALLS: [&str; 24] = [
    "auth.rotate_refresh_token('$T')",
    "auth.rotate_refresh_token('$T', 'app')",
    "auth.explain_refresh_token('$T')",
    "auth.introspect_refresh_token('$T')",
    "auth.revoke_refresh_token('$T')",
    "auth.revoke_token_family('$T')",
    "auth.token('refresh_token', '$T')",
    "auth.token('refresh_token', '$T', scope => 'read')",
    "auth.introspect('$T')",
    "auth.revoke('$T')",
    "auth.issue_refresh_token('alice')",
    "auth.issue_refresh_token('alice', '$S')",
    "auth.sign_in_response('alice')",
    "auth.is_session_live('$S')",
    "auth.list_sessions('alice')",
    "auth.draw_token_family('$S')",
    "auth.revoke_session('$S')",
    "auth.revoke_user_sessions('alice')",
    "auth.revoke_user_sessions('alice', '$S')",
    "auth.purge_refresh_tokens()",
    "auth.read_refresh_token_stats()",
    "auth.jwks()",
    "auth.rotate_signing_key()",
    "auth.check_session()",
];

/// Tables as somebody may have them who thought that constraints are for others.
const WITHOUT_CONSTRAINTS: &str = "
    ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_session_id_fkey;
    ALTER TABLE auth.sessions ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL, ALTER user_id DROP NOT NULL;
    ALTER TABLE auth.signing_keys ALTER alg DROP NOT NULL, ALTER active_at DROP NOT NULL, ALTER private_key DROP NOT NULL";

#[test]
fn in_a_quiet_database_no_call_is_asked_to_try_again() {
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, WITHOUT_CONSTRAINTS);
    // All is undone, and nobody else is there: no worker either.
    execute(&mut client, "SET refresh_tokens.durable_reuse = off");
    execute(&mut client, "SELECT auth.rotate_signing_key()");
    let family = family(&mut client, "alice");
    let session = family[0].session();
    let mut faults = Vec::new();
    for settings in [
        "SET refresh_tokens.max_sessions_per_user = 1; SET refresh_tokens.retention = 1",
        "SET refresh_tokens.rotation = off; SET refresh_tokens.reuse_interval = 0; SET refresh_tokens.idle_timeout = 0; SET refresh_tokens.session_lifetime = 0",
    ] {
        execute(&mut client, settings);
        for damage in DAMAGE {
            let damage = damage
                .replace("TOKEN", &digest(family[2].token()))
                .replace("PARENT", &digest(family[1].token()));
            for level in ["READ COMMITTED", "SERIALIZABLE"] {
                execute(
                    &mut client,
                    &format!("BEGIN ISOLATION LEVEL {level}; {damage}"),
                );
                execute(
                    &mut client,
                    &format!(
                        "SET LOCAL request.jwt.claims = '{{\"sub\": \"alice\", \"session_id\": \"{session}\"}}'"
                    ),
                );
                for sql in CALLS {
                    for grant in &family {
                        let call = sql
                            .replace("$T", grant.token())
                            .replace("$S", &session.to_string());
                        // What stays gets an answer that stays: also after what the call itself has changed.
                        execute(&mut client, "SAVEPOINT before");
                        for _ in 0..2 {
                            execute(&mut client, "SAVEPOINT once");
                            if let Err(error) = client.query(&format!("SELECT ({call})::text"), &[])
                            {
                                let code = error_code::<()>(Err(error));
                                if code.starts_with("40") || code.starts_with("XX") {
                                    faults.push(format!("{code}: {sql} after {damage} ({level})"));
                                }
                                execute(&mut client, "ROLLBACK TO once");
                            }
                        }
                        execute(&mut client, "ROLLBACK TO before");
                        if !sql.contains("$T") {
                            break;
                        }
                    }
                }
                execute(&mut client, "ROLLBACK");
            }
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{}\n{}", faults.len(), faults.join("\n"));
}

/// A trigger of somebody else's that swallows the write: to try again is no help.
#[test]
fn a_write_that_is_swallowed_is_no_conflict() {
    let database = Database::create();
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    execute(
        &mut client,
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER swallow BEFORE UPDATE ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION swallow()",
    );
    assert_eq!(error_code(rotate(&mut client, token.token())), "55000");
    execute(&mut client, "DROP TRIGGER swallow ON auth.refresh_tokens");
    assert_eq!(status(&mut client, token.token()), "rotated");
}

// ---- ended is a state ---------------------------------------------------------------------------

/// The ways in which a session ends; in SQL, of the family whose tokens are $0, $1, $2 and whose session is $S.
const ENDS: [(&str, &str); 7] = [
    ("reuse", "SELECT auth.rotate_refresh_token('$0')"),
    ("its token", "SELECT auth.revoke_refresh_token('$1')"),
    ("its family", "SELECT auth.revoke_token_family('$2')"),
    ("its session", "SELECT auth.revoke_session('$S')"),
    ("its user", "SELECT auth.revoke_user_sessions('alice')"),
    (
        "itself",
        "SELECT set_config('request.jwt.claims', '{\"sub\": \"alice\"}', false); SELECT auth.revoke_my_session('$S')",
    ),
    (
        "eviction",
        "SET refresh_tokens.max_sessions_per_user = 1; SELECT auth.issue_refresh_token('alice'); RESET refresh_tokens.max_sessions_per_user",
    ),
];

fn filled_in(sql: &str, family: &[Grant; 3]) -> String {
    let mut sql = sql.replace("$S", &family[0].session().to_string());
    for (at, grant) in family.iter().enumerate() {
        sql = sql.replace(&format!("${at}"), grant.token());
    }
    sql
}

/// That no function takes the session for a live one.
fn assert_ended(client: &mut Client, family: &[Grant; 3], context: &str) {
    let session = family[0].session();
    let live = format!("SELECT auth.is_session_live('{session}')");
    assert!(!ask::<bool>(client, &live), "{context}");
    let listed =
        format!("SELECT count(*) FROM auth.list_sessions('alice') WHERE session_id = '{session}'");
    assert_eq!(ask::<i64>(client, &listed), 0, "{context}");
    let into = call(client, "issue_refresh_token('alice', $1)", &[&session]);
    assert_eq!(error_code(into), "55000", "{context}");
    let claims = format!("{{\"sub\": \"alice\", \"session_id\": \"{session}\"}}");
    let check = in_transaction(client, IsolationLevel::ReadCommitted, |client| {
        client.execute(
            "SELECT set_config('request.jwt.claims', $1, true)",
            &[&claims],
        )?;
        client.query("SELECT auth.check_session()", &[])
    });
    assert!(check.is_err(), "{context}");
    for grant in family {
        let text = format!(
            "SELECT auth.introspect_refresh_token('{}')::text",
            grant.token()
        );
        assert_eq!(
            ask::<String>(client, &text),
            r#"{"active": false}"#,
            "{context}"
        );
        let explained = explain(client, grant.token()).status;
        assert_eq!(explained, "revoked", "{context}");
        assert_eq!(status(client, grant.token()), "revoked", "{context}");
    }
}

#[test]
fn what_was_ended_stays_ended_whatever_the_clock_says() {
    let database = Database::create();
    for (way, sql) in ENDS {
        for own_end in ["NULL", "now() + interval '1 h'", "now() - interval '1 us'"] {
            let mut client = database.connect();
            execute(&mut client, "SET refresh_tokens.reuse_interval = 0");
            let family = family(&mut client, "alice");
            let session = family[0].session();
            execute(
                &mut client,
                &format!(
                    "UPDATE auth.sessions SET not_after = {own_end}, updated_at = updated_at - interval '1 min'
                      WHERE id = '{session}'"
                ),
            );
            execute(&mut client, &filled_in(sql, &family));
            let context = format!("ended by {way}, own end {own_end}");
            if way == "eviction" && own_end.contains('-') {
                // What is over takes no place: nobody has ended it.
                continue;
            }
            // Later the clock goes by a day less than it did then.
            pass_time(&mut client, session, "-1 day");
            assert_ended(&mut client, &family, &context);
            let live: i64 = ask(
                &mut client,
                "SELECT live_sessions FROM auth.refresh_token_stats",
            );
            assert_eq!(live, i64::from(way == "eviction"), "{context}");
            execute(&mut client, "SELECT auth.revoke_user_sessions('alice')");
            assert_ended(&mut client, &family, &context);
        }
    }
}

/// A clock that was set back already when the session is ended: its times are all to come.
#[test]
fn what_is_ended_before_its_time_is_ended() {
    let database = Database::create();
    for (way, sql) in ENDS {
        let mut client = database.connect();
        let family = family(&mut client, "alice");
        execute(&mut client, "SET refresh_tokens.reuse_interval = 0");
        let session = family[0].session();
        execute(
            &mut client,
            &format!(
                "UPDATE auth.sessions SET not_after = now() + interval '1 h' WHERE id = '{session}'"
            ),
        );
        pass_time(&mut client, session, "-1 day");
        if way == "reuse" {
            // The token was revoked tomorrow: an honest retry, in any window that is open.
            execute(
                &mut client,
                "SELECT auth.revoke_session('$S')"
                    .replace("$S", &session.to_string())
                    .as_str(),
            );
        } else {
            execute(&mut client, &filled_in(sql, &family));
        }
        assert_ended(&mut client, &family, way);
        pass_time(&mut client, session, "-1 day");
        assert_ended(&mut client, &family, way);
        execute(&mut client, "SELECT auth.revoke_user_sessions('alice')");
    }
}

/// An end that is to come is none, however often the session is used till then.
#[test]
fn a_session_is_live_till_its_end_however_it_is_used() {
    let database = Database::create();
    let mut client = database.connect();
    let grant = call(
        &mut client,
        "issue_refresh_token('alice', not_after => now() + interval '1 h')",
        &[],
    );
    let mut grant = grant.expect("a login");
    let session = grant.session();
    let live = format!("SELECT auth.is_session_live('{session}')");
    for _ in 0..2 {
        assert_eq!(status(&mut client, grant.token()), "rotated");
        assert!(ask::<bool>(&mut client, &live));
        grant =
            call(&mut client, "issue_refresh_token('alice', $1)", &[&session]).expect("a login");
        assert!(ask::<bool>(&mut client, &live));
    }
    execute(&mut client, "SET refresh_tokens.rotation = off");
    assert_eq!(status(&mut client, grant.token()), "unchanged");
    assert!(ask::<bool>(&mut client, &live));
}

// ---- a change of a family is a change of its session --------------------------------------------

const SNAPSHOT: [IsolationLevel; 2] =
    [IsolationLevel::RepeatableRead, IsolationLevel::Serializable];

/// While a transaction holds an older snapshot, the family ends in some way; then the transaction presents one of
/// its tokens. It must not decide on a family that is no more.
#[test]
fn nobody_decides_on_a_family_that_is_no_more() {
    let database = Database::create();
    let mut other = database.connect();
    for level in SNAPSHOT {
        for (way, sql) in ENDS {
            for own_end in ["NULL", "now() - interval '1 s'", "now() + interval '1 h'"] {
                for action in ["reject", "revoke_session"] {
                    let mut client = database.connect();
                    let family = family(&mut client, "alice");
                    let session = family[0].session();
                    let settings = format!(
                        "SET refresh_tokens.reuse_interval = 0; SET refresh_tokens.reuse_action = '{action}';
                         UPDATE auth.sessions SET not_after = {own_end}, updated_at = updated_at - interval '1 min'
                          WHERE id = '{session}'"
                    );
                    execute(&mut client, &settings);
                    execute(&mut other, "SET refresh_tokens.reuse_interval = 0");
                    for grant in &family {
                        execute(
                            &mut client,
                            &format!(
                                "BEGIN ISOLATION LEVEL {}; SELECT count(*) FROM auth.sessions",
                                if matches!(level, IsolationLevel::Serializable) {
                                    "SERIALIZABLE"
                                } else {
                                    "REPEATABLE READ"
                                }
                            ),
                        );
                        execute(&mut other, "BEGIN");
                        execute(&mut other, &filled_in(sql, &family));
                        execute(&mut other, "COMMIT");
                        let answer = rotate(&mut client, grant.token());
                        let context =
                            format!("{way}, own end {own_end}, {action}, {:?}", grant.token_id);
                        let may_stay = way == "eviction" && own_end.contains('-');
                        match answer {
                            Err(error) => {
                                assert_eq!(error_code::<()>(Err(error)), "40001", "{context}")
                            }
                            Ok(answer) if may_stay => drop(answer),
                            Ok(answer) => assert_eq!(answer.status, "revoked", "{context}"),
                        }
                        execute(&mut client, "ROLLBACK");
                    }
                    execute(&mut other, "SELECT auth.revoke_user_sessions('alice')");
                }
            }
        }
    }
}

// ---- what a user id is, and a call ------------------------------------------------------------------

#[test]
fn a_user_id_names_one_person_in_a_database() {
    let database = Database::create();
    let mut client = database.connect();
    execute(
        &mut client,
        "SELECT auth.issue_refresh_token('1', instance_id => gen_random_uuid()) FROM generate_series(1, 2)",
    );
    assert_eq!(
        ask::<i64>(&mut client, "SELECT count(*) FROM auth.list_sessions('1')"),
        2
    );
    assert_eq!(
        ask::<i64>(&mut client, "SELECT auth.revoke_user_sessions('1')"),
        2
    );
}

#[test]
fn a_user_id_is_a_key_and_not_a_name() {
    let database = Database::create();
    let mut client = database.connect();
    issue(&mut client, "j\u{fc}rgen");
    let revoked: i64 = client
        .query_one("SELECT auth.revoke_user_sessions($1)", &[&"ju\u{308}rgen"])
        .expect("a logout")
        .get(0);
    assert_eq!(revoked, 0);
}

#[test]
fn a_function_is_called_once_in_from() {
    let database = Database::create();
    let mut client = database.connect();
    let sessions = "SELECT count(*) FROM auth.sessions";
    client
        .query("SELECT * FROM auth.issue_refresh_token('alice')", &[])
        .expect("a login");
    assert_eq!(ask::<i64>(&mut client, sessions), 1);
    client
        .query("SELECT (auth.issue_refresh_token('alice')).*", &[])
        .expect("logins");
    assert_eq!(ask::<i64>(&mut client, sessions), 11);
}
