//! What happened is recorded, sent and logged, in the transaction that did it, without a secret.

use postgres::fallible_iterator::FallibleIterator as _;
use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::digest;
use refresh_tokens_tests::{
    Cluster, Database, Grant, call, explain, issue, pass_time, revoke, rotate, rotate_as,
    wait_until,
};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// The events: `event`, `reason` and `token_id`.
fn events(client: &mut impl GenericClient) -> Vec<(String, Option<String>, i64)> {
    const SQL: &str = "SELECT event, reason, token_id FROM auth.refresh_token_events ORDER BY id";
    let rows = client.query(SQL, &[]).expect("a superuser may look");
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

fn event(name: &str, reason: Option<&str>, token: &Grant) -> (String, Option<String>, i64) {
    let id = token.token_id.expect("a token");
    (name.to_owned(), reason.map(str::to_owned), id)
}

/// A token, its child and its grandchild, an hour old.
fn family(client: &mut Client) -> [Grant; 3] {
    let first = issue(client, "alice");
    let second = rotate(client, first.token()).expect("a verdict");
    let third = rotate(client, second.token()).expect("a verdict");
    pass_time(client, first.session(), "1 hour");
    [first, second, third]
}

#[test]
fn a_reuse_is_recorded_with_what_was_reused_and_by_whom() {
    let database = Database::create();
    let mut client = database.connect();
    for (presented, reason) in [(0, "stale"), (1, "parent")] {
        let family = family(&mut client);
        let began = client.query_one("SELECT clock_timestamp()::text", &[]);
        let began: String = began.expect("a time").get(0);
        let sql = "rotate_refresh_token($1, user_agent => 'thief', ip => '192.0.2.7')";
        let answer = call(&mut client, sql, &[&family[presented].token()]).expect("a verdict");
        assert_eq!(answer.status, "reuse_detected");
        let row = client
            .query_one(
                "SELECT event, reason, token_id, user_id, session_id, user_agent, host(ip),
                        occurred_at BETWEEN $1::text::timestamptz AND clock_timestamp()
                   FROM auth.refresh_token_events ORDER BY id DESC LIMIT 1",
                &[&began],
            )
            .expect("one event");
        assert_eq!(row.get::<_, &str>(0), "reuse_detected");
        assert_eq!(row.get::<_, &str>(1), reason);
        assert_eq!(Some(row.get(2)), family[presented].token_id);
        assert_eq!(row.get::<_, &str>(3), "alice");
        assert_eq!(Some(row.get(4)), family[presented].session_id);
        assert_eq!(
            (row.get::<_, &str>(5), row.get::<_, &str>(6)),
            ("thief", "192.0.2.7")
        );
        assert!(row.get::<_, bool>(7));
    }
    assert_eq!(
        events(&mut client).len(),
        2,
        "the family that it revoked is told by the reuse"
    );
}

/// A thief whose copy was used before is told from an owner who does not know that the session ended.
#[test]
fn after_a_revocation_only_what_had_been_rotated_is_a_reuse() {
    let database = Database::create();
    let mut client = database.connect();
    let family = family(&mut client);
    revoke(&mut client, &family[0]);
    let revoked = event("family_revoked", None, &family[2]);
    for grant in &family {
        assert_eq!(
            rotate(&mut client, grant.token())
                .expect("a verdict")
                .status,
            "revoked"
        );
    }
    let reuse = |token| event("reuse_detected", Some("after_revocation"), token);
    assert_eq!(
        events(&mut client),
        [revoked, reuse(&family[0]), reuse(&family[1])]
    );
}

#[test]
fn a_retry_in_its_window_is_no_reuse_after_the_revocation_either() {
    let database = Database::create();
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    let child = rotate(&mut client, token.token()).expect("a verdict");
    revoke(&mut client, &token);
    assert_eq!(
        rotate(&mut client, token.token())
            .expect("a verdict")
            .status,
        "revoked"
    );
    assert_eq!(events(&mut client), [event("family_revoked", None, &child)]);
}

#[test]
fn every_end_of_a_family_is_recorded_once() {
    let database = Database::create();
    let mut client = database.connect();
    let ends = ["revoke_refresh_token($1)", "revoke_token_family($1)"];
    let mut expected = Vec::new();
    for function in ends {
        let token = issue(&mut client, "alice");
        for _ in 0..2 {
            let sql = format!("SELECT auth.{function}");
            client
                .execute(&sql, &[&token.token()])
                .expect("a revocation");
        }
        expected.push(event("family_revoked", None, &token));
    }
    let (one, other) = (issue(&mut client, "bob"), issue(&mut client, "bob"));
    client
        .execute("SELECT auth.revoke_user_sessions('bob')", &[])
        .expect("a logout");
    let mut found = events(&mut client);
    let both = found.split_off(2);
    assert_eq!(found, expected);
    for token in [&one, &other] {
        assert!(both.contains(&event("family_revoked", None, token)));
    }
    assert_eq!(both.len(), 2);
}

#[test]
fn an_eviction_and_a_foreign_client_are_recorded() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute("SET refresh_tokens.max_sessions_per_user = 1")
        .expect("a setting");
    let evicted = issue(&mut client, "alice");
    let token = issue(&mut client, "alice");
    let answer = rotate_as(&mut client, token.token(), Some("another")).expect("a verdict");
    assert_eq!(answer.status, "client_mismatch");
    assert_eq!(
        events(&mut client),
        [
            event("session_evicted", None, &evicted),
            event("client_mismatch", None, &token)
        ]
    );
}

#[test]
fn the_setting_chooses_what_is_recorded() {
    let database = Database::create();
    let mut client = database.connect();
    let mut life = |setting: &str| {
        client
            .batch_execute(&format!(
                "TRUNCATE auth.refresh_token_events; SET refresh_tokens.events = '{setting}'"
            ))
            .expect("a setting");
        let token = issue(&mut client, "alice");
        let child = rotate(&mut client, token.token()).expect("a verdict");
        rotate(&mut client, token.token()).expect("a verdict");
        revoke(&mut client, &token);
        (events(&mut client), token, child)
    };
    assert_eq!(life("none").0, []);
    let (security, _, child) = life("security");
    assert_eq!(security, [event("family_revoked", None, &child)]);
    let (all, token, child) = life("all");
    assert_eq!(
        all,
        [
            event("issued", None, &token),
            event("rotated", None, &child),
            event("retried", Some("concurrent"), &child),
            event("family_revoked", None, &child),
        ]
    );
}

#[test]
fn who_presents_a_token_again_and_again_fills_no_table() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute("SET refresh_tokens.reuse_action = 'reject'")
        .expect("a setting");
    let family = family(&mut client);
    for _ in 0..5 {
        for grant in &family[..2] {
            let answer = rotate(&mut client, grant.token()).expect("a verdict");
            assert_eq!(answer.status, "reuse_detected");
        }
    }
    assert_eq!(events(&mut client).len(), 2, "one for each token");
    client
        .batch_execute(
            "UPDATE auth.refresh_token_events SET occurred_at = occurred_at - interval '61 s'",
        )
        .expect("a minute later");
    rotate(&mut client, family[0].token()).expect("a verdict");
    assert_eq!(events(&mut client).len(), 3);
}

/// What has come to a listening connection: all that was committed by now. Notifications come in the order of the
/// commits, so whatever is sent last tells that there is nothing before it any more.
fn heard(database: &Database, listener: &mut Client) -> Vec<String> {
    const LAST: &str = "the last one";
    let notify = format!("NOTIFY refresh_tokens, '{LAST}'");
    database
        .connect()
        .batch_execute(&notify)
        .expect("anybody may");
    let mut notifications = listener.notifications();
    let mut heard = Vec::new();
    loop {
        let next = notifications.timeout_iter(Duration::from_secs(60)).next();
        let next = next.expect("a connection").expect("the last one comes");
        assert_eq!(next.channel(), "refresh_tokens");
        if next.payload() == LAST {
            return heard;
        }
        heard.push(next.payload().to_owned());
    }
}

#[test]
fn a_listener_hears_exactly_what_committed() {
    let database = Database::create_alone();
    let (mut client, mut listener) = (database.connect(), database.connect());
    listener
        .batch_execute("LISTEN refresh_tokens")
        .expect("a listener");
    client
        .batch_execute("SET refresh_tokens.events = 'all'")
        .expect("a setting");
    let kept = family(&mut client);
    let undone = family(&mut client);
    assert_eq!(
        heard(&database, &mut listener),
        Vec::<String>::new(),
        "a rotation notifies nobody"
    );

    let mut transaction = client.transaction().expect("a transaction");
    let answer = rotate(&mut transaction, undone[0].token()).expect("a verdict");
    assert_eq!(answer.status, "reuse_detected");
    transaction.rollback().expect("a rollback");
    wait_until("the worker has ended the family", || {
        let answer = explain(&mut client, undone[2].token());
        answer.status == "revoked"
    });
    let outlived = heard(&database, &mut listener);
    let mut transaction = client.transaction().expect("a transaction");
    rotate(&mut transaction, kept[0].token()).expect("a verdict");
    assert_eq!(
        heard(&database, &mut listener),
        Vec::<String>::new(),
        "not before the commit"
    );
    transaction.commit().expect("a commit");
    for (payloads, family) in [
        (outlived, &undone),
        (heard(&database, &mut listener), &kept),
    ] {
        let [payload] = payloads.as_slice() else {
            panic!("{payloads:?}")
        };
        let id: i64 = payload.parse().expect("the payload is an event's id");
        let sql = "SELECT token_id FROM auth.refresh_token_events
                    WHERE id = $1 AND event = 'reuse_detected'";
        let token: Option<i64> = client.query_one(sql, &[&id]).expect("an event").get(0);
        assert_eq!(token, family[0].token_id);
    }
}

/// A transaction that has sent something can't be prepared. So nothing is sent by default where transactions may be.
#[test]
fn what_ends_a_family_can_be_prepared_where_the_server_lets_transactions_be() {
    let cluster = Arc::new(Cluster::start(&["max_prepared_transactions = 5"]));
    let database = Database::create_in(&cluster);
    let (mut client, mut listener) = (database.connect(), database.connect());
    let listen = "LISTEN refresh_tokens";
    listener.batch_execute(listen).expect("a listener");
    let calls = [
        "rotate_refresh_token($1)",
        "revoke_refresh_token($1)",
        "revoke_token_family($1)",
    ];
    for sql in calls {
        let family = family(&mut client);
        let mut transaction = client.transaction().expect("a transaction");
        let sql = format!("SELECT auth.{sql}");
        transaction
            .execute(&sql, &[&family[0].token()])
            .expect("a call");
        let prepare = "PREPARE TRANSACTION 'x'";
        transaction.batch_execute(prepare).expect("it is prepared");
        transaction.commit().expect("there is none any more");
        let commit = "COMMIT PREPARED 'x'";
        client.batch_execute(commit).expect("a commit");
        let answer = rotate(&mut client, family[2].token()).expect("a verdict");
        assert_eq!(answer.status, "revoked", "{sql}");
    }
    assert_eq!(heard(&database, &mut listener), Vec::<String>::new());
    let ask = "SET refresh_tokens.notify = on";
    client.batch_execute(ask).expect("a setting");
    let token = issue(&mut client, "alice");
    revoke(&mut client, &token);
    assert_eq!(heard(&database, &mut listener).len(), 1);
}

#[test]
fn nothing_is_sent_where_the_settings_say_so() {
    let database = Database::create();
    let (mut client, mut listener) = (database.connect(), database.connect());
    let listen = "LISTEN refresh_tokens";
    listener.batch_execute(listen).expect("a listener");
    let off = "SET refresh_tokens.notify = off";
    client.batch_execute(off).expect("a setting");
    let token = issue(&mut client, "alice");
    revoke(&mut client, &token);
    assert_eq!(events(&mut client).len(), 1);
    assert_eq!(heard(&database, &mut listener), Vec::<String>::new());
}

#[test]
fn whatever_a_client_calls_itself_the_revocation_commits() {
    let database = Database::create();
    let mut client = database.connect();
    for user_agent in ["\u{1}", "\"", "\\", "\u{10ffff}"].map(|c| c.repeat(5000)) {
        let user = "\u{1}".repeat(255);
        let token = issue(&mut client, &user);
        let child = rotate(&mut client, token.token()).expect("a verdict");
        pass_time(&mut client, token.session(), "1 hour");
        let sql = "rotate_refresh_token($1, user_agent => $2)";
        let answer = call(&mut client, sql, &[&token.token(), &user_agent]).expect("a verdict");
        assert_eq!(answer.status, "reuse_detected");
        let answer = rotate(&mut client, child.token()).expect("a verdict");
        assert_eq!(answer.status, "revoked");
    }
}

#[test]
fn each_reuse_is_a_line_of_the_log_without_the_token() {
    let cluster = Arc::new(Cluster::start(&["log_line_prefix = '<%e> '"]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    client
        .batch_execute("SET refresh_tokens.events = 'none'")
        .expect("a setting");
    let families = [
        family(&mut client),
        family(&mut client),
        family(&mut client),
    ];
    for (family, presented) in families.iter().zip([0, 1, 0]).take(2) {
        rotate(&mut client, family[presented].token()).expect("a verdict");
    }
    revoke(&mut client, &families[2][0]);
    rotate(&mut client, families[2][0].token()).expect("a verdict");
    let log = fs::read_to_string(cluster.log()).expect("a log");
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("reuse detected"))
        .collect();
    let expected = ["stale", "parent", "after_revocation"]
        .iter()
        .zip([0, 1, 0])
        .zip(&families);
    let expected: Vec<_> = expected
        .map(|((reason, presented), family)| {
            format!(
                "<28000> LOG:  refresh token reuse detected: {reason}, session {}, token id {}",
                family[0].session(),
                family[presented].token_id.expect("a token")
            )
        })
        .collect();
    assert_eq!(lines, expected);
    for grant in families.iter().flatten() {
        assert!(!log.contains(grant.token()) && !log.contains(&digest(grant.token())));
    }

    // nor where it is no bind parameter: the line comes without the statement
    let family = family(&mut client);
    client
        .simple_query(&format!(
            "SELECT auth.rotate_refresh_token('{}')",
            family[0].token()
        ))
        .expect("a verdict");
    let log = fs::read_to_string(cluster.log()).expect("a log");
    assert_eq!(log.matches("reuse detected").count(), 4);
    assert!(!log.contains("STATEMENT") && !log.contains(family[0].token()));
}

/// A database whose clients need a secret, on a cluster whose log is looked at.
fn clients(settings: &[&str]) -> Database {
    let cluster = Arc::new(Cluster::start(settings));
    let database = Database::create_in(&cluster);
    let name = &database.name;
    let sql = format!(
        "CREATE SCHEMA app;
         CREATE FUNCTION app.authenticate(client_id text, client_secret text) RETURNS boolean
         LANGUAGE sql RETURN client_secret = 'right';
         ALTER DATABASE {name} SET refresh_tokens.client_authentication_hook = 'app.authenticate';
         ALTER DATABASE {name} SET refresh_tokens.trusted_proxies = 1"
    );
    database.connect().batch_execute(&sql).expect("a hook");
    database
}

/// Tries a secret, as one committed transaction; with what error.
fn authenticate(client: &mut Client, id: &str, secret: &str, address: &str) -> Option<String> {
    let headers = format!(r#"{{"user-agent": "guesser", "x-forwarded-for": "{address}"}}"#);
    let sql =
        "SELECT auth.token(grant_type => 'refresh_token', refresh_token => 'x', client_id => $1,
                                 client_secret => $2) ->> 'error'
                 FROM set_config('request.headers', $3, false)";
    let row = client.query_one(sql, &[&id, &secret, &headers]);
    row.expect("an answer").get(0)
}

fn lines(database: &Database, what: &str) -> Vec<String> {
    let log = fs::read_to_string(database.cluster().log()).expect("a log");
    let lines = log.lines().filter(|line| line.contains(what));
    lines.map(str::to_owned).collect()
}

const FAILED: &str = "client authentication failed";

#[test]
fn a_failed_authentication_of_a_client_is_recorded_counted_and_logged() {
    let database = clients(&[
        "log_line_prefix = '<%e> '",
        "shared_preload_libraries = 'refresh_tokens'",
    ]);
    let (mut client, mut listener) = (database.connect(), database.connect());
    listener
        .batch_execute("LISTEN refresh_tokens")
        .expect("a listener");
    let answer = authenticate(&mut client, "web", "right", "192.0.2.7");
    assert_eq!(
        answer.as_deref(),
        Some("invalid_grant"),
        "it has authenticated"
    );
    for _ in 0..500 {
        let answer = authenticate(&mut client, "web", "wrong", "192.0.2.7");
        assert_eq!(answer.as_deref(), Some("invalid_client"));
    }
    let sql =
        "SELECT id, event, reason, user_agent, host(ip), num_nulls(user_id, session_id, token_id)
                 FROM auth.refresh_token_events";
    let rows = client.query(sql, &[]).expect("events");
    assert_eq!(rows.len(), 1, "once a minute");
    let row = &rows[0];
    let texts: Vec<&str> = (1..5).map(|at| row.get(at)).collect();
    assert_eq!(
        texts,
        [
            "client_authentication_failed",
            "web",
            "guesser",
            "192.0.2.7"
        ]
    );
    assert_eq!(row.get::<_, i32>(5), 3);
    assert_eq!(
        heard(&database, &mut listener),
        [row.get::<_, i64>(0).to_string()]
    );
    assert_eq!(
        lines(&database, FAILED),
        ["<28P01> LOG:  client authentication failed: client \"web\""]
    );
    let sql = "SELECT answers FROM auth.refresh_token_answers WHERE status = 'client_authentication_failed'";
    let row = client.query_one(sql, &[]).expect("a count");
    assert_eq!(row.get::<_, i64>(0), 500);

    // another address is another guesser, and a minute later it is news
    authenticate(&mut client, "web", "wrong", "192.0.2.8");
    client
        .batch_execute(
            "UPDATE auth.refresh_token_events SET occurred_at = occurred_at - interval '61 s'",
        )
        .expect("a minute later");
    authenticate(&mut client, "web", "wrong", "192.0.2.7");
    let sql = "SELECT count(*) FROM auth.refresh_token_events";
    assert_eq!(
        client
            .query_one(sql, &[])
            .expect("a number")
            .get::<_, i64>(0),
        3
    );
}

/// Names, addresses and how often are the guesser's to choose: what they make of the table and the log is not.
#[test]
fn guesses_fill_neither_the_table_nor_the_log() {
    let database = clients(&[]);
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    for n in 0..300 {
        authenticate(
            &mut client,
            &format!("client {n}"),
            "wrong",
            &format!("192.0.2.{}", n % 250),
        );
    }
    let sql = "SELECT count(*) FROM auth.refresh_token_events";
    let count = |client: &mut Client| {
        client
            .query_one(sql, &[])
            .expect("a number")
            .get::<_, i64>(0)
    };
    assert_eq!(count(&mut client), 60);
    assert!(lines(&database, FAILED).len() <= 60);

    // a long name is cut, a line is one line, and a token in the wrong place is not written down
    client
        .batch_execute("TRUNCATE auth.refresh_token_events")
        .expect("no events");
    let mut fresh = database.connect();
    for name in [
        "é".repeat(5000),
        "a\n<28P01> LOG:  all is well".into(),
        token.token().into(),
    ] {
        authenticate(&mut fresh, &name, "wrong", "192.0.2.7");
    }
    let sql = "SELECT reason FROM auth.refresh_token_events ORDER BY id";
    let rows = fresh.query(sql, &[]).expect("events");
    let reasons: Vec<Option<String>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(reasons[0], Some("é".repeat(255)));
    assert_eq!(reasons[1].as_deref(), Some("a\n<28P01> LOG:  all is well"));
    assert_eq!(reasons[2], None);
    let log = fs::read_to_string(database.cluster().log()).expect("a log");
    assert!(
        log.contains("client \"a\\n<28P01> LOG:  all is well\""),
        "{log}"
    );
    assert!(!log.contains(token.token()) && !log.lines().any(|line| line.contains("\n<")));

    // without events the log still has a line, and not one for each guess
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.events = 'none'",
        database.name
    );
    client.batch_execute(&sql).expect("a setting");
    let (before, events) = (lines(&database, FAILED).len(), count(&mut client));
    let mut fresh = database.connect();
    for _ in 0..300 {
        authenticate(&mut fresh, "web", "wrong", "192.0.2.7");
        // nor by taking back what is written
        let mut transaction = fresh.transaction().expect("a transaction");
        let sql = "SELECT auth.token(grant_type => 'refresh_token', refresh_token => 'x', client_id => 'web')";
        transaction.execute(sql, &[]).expect("an answer");
        transaction.rollback().expect("a rollback");
    }
    assert_eq!(count(&mut client), events);
    let more = lines(&database, FAILED).len() - before;
    assert!((1..=10).contains(&more), "{more}");
}
