//! What happened is recorded, sent and logged, in the transaction that did it, without a secret.

use postgres::fallible_iterator::FallibleIterator as _;
use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::digest;
use refresh_tokens_tests::{
    Cluster, Database, Grant, call, issue, pass_time, revoke, rotate, rotate_as,
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
        let sql = "rotate_refresh_token($1, user_agent => 'thief', ip => '192.0.2.7')";
        let answer = call(&mut client, sql, &[&family[presented].token()]).expect("a verdict");
        assert_eq!(answer.status, "reuse_detected");
        let row = client
            .query_one(
                "SELECT event, reason, token_id, user_id, session_id, user_agent, host(ip),
                        occurred_at BETWEEN clock_timestamp() - interval '1 min' AND clock_timestamp()
                   FROM auth.refresh_token_events ORDER BY id DESC LIMIT 1",
                &[],
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

/// What has come to a listening connection, when nothing more comes.
fn heard(listener: &mut Client) -> Vec<String> {
    let mut notifications = listener.notifications();
    let mut heard = Vec::new();
    let mut more = notifications.timeout_iter(Duration::from_millis(500));
    while let Some(notification) = more.next().expect("a connection") {
        assert_eq!(notification.channel(), "refresh_tokens");
        heard.push(notification.payload().to_owned());
    }
    heard
}

#[test]
fn a_listener_hears_exactly_what_committed() {
    let database = Database::create();
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
        heard(&mut listener),
        Vec::<String>::new(),
        "a rotation notifies nobody"
    );

    let mut transaction = client.transaction().expect("a transaction");
    let answer = rotate(&mut transaction, undone[0].token()).expect("a verdict");
    assert_eq!(answer.status, "reuse_detected");
    transaction.rollback().expect("a rollback");
    let outlived = heard(&mut listener);
    let mut transaction = client.transaction().expect("a transaction");
    rotate(&mut transaction, kept[0].token()).expect("a verdict");
    assert_eq!(
        heard(&mut listener),
        Vec::<String>::new(),
        "not before the commit"
    );
    transaction.commit().expect("a commit");
    for (payloads, family) in [(outlived, &undone), (heard(&mut listener), &kept)] {
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
    assert_eq!(heard(&mut listener), Vec::<String>::new());
    let ask = "SET refresh_tokens.notify = on";
    client.batch_execute(ask).expect("a setting");
    let token = issue(&mut client, "alice");
    revoke(&mut client, &token);
    assert_eq!(heard(&mut listener).len(), 1);
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
    assert_eq!(heard(&mut listener), Vec::<String>::new());
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
