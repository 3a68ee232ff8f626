//! Whole stories, as an application and its users live them: from the login to what came of it.

use postgres::{Client, GenericClient};
use refresh_tokens_tests::{
    Database, Grant, assert_invariants, call, error_code, issue, miscounted_sessions, pass_time,
    rotate, rotate_as,
};
use std::collections::HashSet;
use uuid::Uuid;

/// The tokens of a login that was rotated `times` times, the oldest first.
fn chain(client: &mut Client, login: &Grant, times: usize) -> Vec<String> {
    let mut tokens = vec![login.token().to_owned()];
    for _ in 0..times {
        let rotated = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        tokens.push(rotated.token().to_owned());
    }
    tokens
}

fn status(client: &mut impl GenericClient, token: &str) -> String {
    rotate(client, token).expect("a verdict").status
}

/// How many tokens of `session` are revoked, and how many are live.
fn counts(client: &mut Client, session: Uuid) -> (i64, i64) {
    let sql = "SELECT count(*) FILTER (WHERE revoked), count(*) FILTER (WHERE NOT revoked)
                 FROM auth.refresh_tokens WHERE session_id = $1";
    let row = client.query_one(sql, &[&session]);
    let row = row.expect("a superuser may look");
    (row.get(0), row.get(1))
}

/// A column of the row of `session`, as text.
fn column(client: &mut Client, column: &str, session: Uuid) -> Option<String> {
    let sql = format!("SELECT {column}::text FROM auth.sessions WHERE id = $1");
    let row = client.query_one(&sql, &[&session]);
    row.expect("a session").get(0)
}

#[test]
fn the_revocation_that_reuse_brings_is_there_for_everybody() {
    let database = Database::create();
    let (mut thief, mut user) = (database.connect(), database.connect());
    let set = "SET refresh_tokens.reuse_interval = 0";
    thief.batch_execute(set).expect("a setting");
    user.batch_execute(set).expect("a setting");
    let login = issue(&mut user, "alice");
    let tokens = chain(&mut user, &login, 3);
    assert_eq!(counts(&mut user, login.session()), (3, 1));

    assert_eq!(status(&mut thief, &tokens[0]), "reuse_detected");
    // the refusal has not taken the revocation back: another connection sees it
    assert_eq!(counts(&mut user, login.session()), (4, 0));
    for token in &tokens {
        assert_eq!(status(&mut user, token), "revoked");
        assert_eq!(status(&mut thief, token), "revoked");
    }
    assert_eq!(counts(&mut user, login.session()), (4, 0));
}

#[test]
fn a_session_lives_till_its_own_end() {
    let database = Database::create();
    let mut client = database.connect();
    let function = "issue_refresh_token('alice', not_after => now() + interval '1 h')";
    let login = call(&mut client, function, &[]).expect("a login");
    let session = login.session();
    pass_time(&mut client, session, "59 min");
    let rotated = rotate(&mut client, login.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    // a rotation doesn't move the end
    pass_time(&mut client, session, "59 s");
    let rotated = rotate(&mut client, rotated.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    pass_time(&mut client, session, "2 s");
    let expired = rotate(&mut client, rotated.token()).expect("a verdict");
    let verdict = (expired.status.as_str(), expired.reason.as_deref());
    assert_eq!(verdict, ("expired", Some("not_after")));
}

#[test]
fn a_long_chain_counts_each_rotation() {
    let database = Database::create();
    let mut client = database.connect();
    let login = issue(&mut client, "alice");
    let session = login.session();
    let mut tokens = vec![login.token().to_owned()];
    for number in 1..=300 {
        let rotated = rotate(&mut client, &tokens[tokens.len() - 1]).expect("a verdict");
        tokens.push(rotated.token().to_owned());
        let counter = column(&mut client, "refresh_token_counter", session);
        assert_eq!(counter, Some(number.to_string()));
    }
    let distinct: HashSet<_> = tokens.iter().collect();
    assert_eq!((tokens.len(), distinct.len()), (301, 301));
    assert_eq!(counts(&mut client, session), (300, 1));
    assert_invariants(&mut client);
    assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
}

#[test]
fn a_rotation_keeps_user_client_and_scope() {
    let database = Database::create();
    let mut client = database.connect();
    let function = "issue_refresh_token('alice', client_id => 'app', scopes => 'read write')";
    let login = call(&mut client, function, &[]).expect("a login");
    let mut token = login.token().to_owned();
    for _ in 0..3 {
        let rotated = rotate_as(&mut client, &token, Some("app")).expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        assert_eq!(rotated.user_id.as_deref(), Some("alice"));
        assert_eq!(rotated.session_id, login.session_id);
        for (name, value) in [
            ("user_id", "alice"),
            ("oauth_client_id", "app"),
            ("scopes", "read write"),
        ] {
            let kept = column(&mut client, name, login.session());
            assert_eq!(kept.as_deref(), Some(value), "{name}");
        }
        token = rotated.token().to_owned();
    }
}

#[test]
fn an_assurance_level_outlives_refreshes_and_other_logins_till_a_token_is_issued_with_another() {
    let database = Database::create();
    let mut client = database.connect();
    let mut login = |aal: &str| {
        let function = format!("issue_refresh_token('alice', aal => '{aal}')");
        call(&mut client, &function, &[]).expect("a login")
    };
    let (strong, plain) = (login("aal2"), login("aal1"));
    let tokens = chain(&mut client, &strong, 2);
    let level = |client: &mut Client, grant: &Grant| column(client, "aal", grant.session());
    assert_eq!(level(&mut client, &strong).as_deref(), Some("aal2"));
    assert_eq!(level(&mut client, &plain).as_deref(), Some("aal1"));

    // a factor was removed
    let function = "issue_refresh_token('alice', $1, aal => 'aal1')";
    let lowered = call(&mut client, function, &[&strong.session()]).expect("a token");
    assert_eq!(level(&mut client, &strong).as_deref(), Some("aal1"));
    assert_eq!(status(&mut client, &tokens[2]), "revoked");
    assert_eq!(status(&mut client, lowered.token()), "rotated");
    // a factor was verified
    let function = "issue_refresh_token('alice', $1, aal => 'aal2')";
    let raised = call(&mut client, function, &[&plain.session()]).expect("a token");
    assert_eq!(level(&mut client, &plain).as_deref(), Some("aal2"));
    assert_eq!(level(&mut client, &strong).as_deref(), Some("aal1"));
    assert_eq!(status(&mut client, plain.token()), "revoked");
    assert_eq!(status(&mut client, raised.token()), "rotated");
}

#[test]
fn a_change_of_password_ends_the_other_sessions_with_it_or_not_at_all() {
    let database = Database::create();
    let (mut client, mut other) = (database.connect(), database.connect());
    client
        .batch_execute(
            "CREATE TABLE users (id text PRIMARY KEY, password text);
             INSERT INTO users VALUES ('alice', 'old')",
        )
        .expect("the application's table");
    let [here, there, bobs] = ["alice", "alice", "bob"].map(|user| issue(&mut client, user));
    let change = |client: &mut Client, commit: bool| {
        let mut transaction = client.transaction().expect("a transaction");
        transaction
            .batch_execute("UPDATE users SET password = 'new' WHERE id = 'alice'")
            .expect("a change");
        let sql = "SELECT auth.revoke_user_sessions('alice', $1)";
        let row = transaction.query_one(sql, &[&here.session()]);
        assert_eq!(row.expect("a count").get::<_, i64>(0), 1);
        if commit {
            transaction.commit().expect("a commit");
        } else {
            transaction.rollback().expect("a rollback");
        }
    };
    change(&mut client, false);
    let still = rotate(&mut other, there.token()).expect("a verdict");
    assert_eq!(still.status, "rotated");

    change(&mut client, true);
    assert_eq!(status(&mut other, still.token()), "revoked");
    assert_eq!(status(&mut other, here.token()), "rotated");
    assert_eq!(status(&mut other, bobs.token()), "rotated");
}

/// A family of any length is ended by two writes: its live token's and its session's.
#[test]
fn ending_a_family_writes_one_token_however_long_it_is() {
    let database = Database::create();
    let mut client = database.connect();
    let endings = [
        "SELECT auth.revoke_session($1)",
        "SELECT auth.revoke_refresh_token($2)",
        "SELECT auth.revoke_token_family($2)",
        "SELECT auth.revoke_user_sessions('alice')",
        "SELECT count(*) FROM auth.rotate_refresh_token($2) WHERE status = 'reuse_detected'",
    ];
    for ending in endings {
        let login = issue(&mut client, "alice");
        let tokens = chain(&mut client, &login, 60);
        pass_time(&mut client, login.session(), "1 h");
        let mut transaction = client.transaction().expect("a transaction");
        let sql = format!("WITH p AS (SELECT $1::uuid, $2::text) {ending}");
        let row = transaction.query_one(&sql, &[&login.session(), &tokens[0]]);
        assert_eq!(row.expect("a count").get::<_, i64>(0), 1, "{ending}");
        let written = "
            SELECT (SELECT count(*) FROM auth.refresh_tokens WHERE xmin = pg_current_xact_id()::xid),
                   (SELECT count(*) FROM auth.sessions WHERE xmin = pg_current_xact_id()::xid)";
        let row = transaction.query_one(written, &[]).expect("counts");
        assert_eq!((row.get(0), row.get(1)), (1_i64, 1_i64), "{ending}");
        transaction.commit().expect("a commit");
        assert_eq!(counts(&mut client, login.session()), (61, 0), "{ending}");
    }
}

/// A rotation holds its own session alone: the user's other devices go on while it is open.
#[test]
fn sessions_of_one_user_do_not_wait_for_each_other() {
    let database = Database::create();
    let (mut phone, mut laptop) = (database.connect(), database.connect());
    let [first, second] = ["alice"; 2].map(|user| issue(&mut phone, user));
    let mut open = phone.transaction().expect("a transaction");
    assert_eq!(status(&mut open, first.token()), "rotated");
    laptop
        .batch_execute("SET lock_timeout = '1 s'")
        .expect("a setting");
    assert_eq!(status(&mut laptop, second.token()), "rotated");
    let own = rotate(&mut laptop, first.token());
    assert_eq!(error_code(own), "55P03", "the open one is locked");
    open.commit().expect("a commit");
    assert_invariants(&mut laptop);
}
