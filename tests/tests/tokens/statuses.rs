//! What each status means in SQL: when it is answered, with which reason, and what it leaves behind.

use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::{decode, digest, mint, unknown_token, unknown_token_in};
use refresh_tokens_tests::{
    Database, Grant, call, contents, explain, issue, pass_time, rotate, rotate_as,
};
use uuid::Uuid;

/// Presents `token`, which somebody may know nothing of but the token; and checks on the way that
/// `explain_refresh_token` foretells the answer, and that what promises to change nothing doesn't.
fn present(client: &mut Client, token: &str) -> Grant {
    present_as(client, token, None)
}

fn present_as(client: &mut Client, token: &str, client_id: Option<&str>) -> Grant {
    let before = contents(client);
    let mut reading = client
        .build_transaction()
        .read_only(true)
        .start()
        .expect("a transaction");
    let foretold = explain(&mut reading, token);
    let sql = "SELECT issued_at IS NOT NULL, num_nonnulls(expires_at, session_expires_at)
                 FROM auth.explain_refresh_token($1)";
    let times = reading.query_one(sql, &[&token]).expect("one row");
    reading.commit().expect("a commit");
    assert_eq!(
        contents(client),
        before,
        "explaining changes and locks nothing"
    );
    assert_eq!(foretold.token, None, "explaining shows no token");

    let answer = rotate_as(client, token, client_id).expect("a verdict");
    // what comes into being by the rotation alone can't be foretold
    let mut told = Grant {
        token: None,
        ..answer.clone()
    };
    if answer.status == "rotated" {
        assert_ne!(foretold.token_id, told.token_id);
        told.token_id = foretold.token_id;
    }
    if answer.token.is_some() && foretold.session_id.is_none() {
        told.session_id = None;
    }
    assert_eq!(foretold, told);
    if !["rotated", "unchanged", "reuse_detected"].contains(&answer.status.as_str()) {
        assert_eq!(contents(client), before, "{} writes nothing", answer.status);
    }
    let usable = ["issued", "rotated", "retried", "unchanged"].contains(&answer.status.as_str());
    assert_eq!(answer.token.is_some(), usable);
    assert_eq!(times.get::<_, bool>(0), usable);
    assert!(
        usable || times.get::<_, i32>(1) == 0,
        "a refusal has no times"
    );
    answer
}

fn verdict(answer: &Grant) -> (&str, Option<&str>) {
    (&answer.status, answer.reason.as_deref())
}

/// A family whose tokens were rotated one after the other, the oldest first.
fn family(client: &mut Client, user: &str, rotations: usize) -> (Uuid, Vec<String>) {
    let first = issue(client, user);
    let mut tokens = vec![first.token().to_owned()];
    for _ in 0..rotations {
        let rotated = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        tokens.push(rotated.token().to_owned());
    }
    (first.session(), tokens)
}

fn set(client: &mut impl GenericClient, setting: &str) {
    client
        .batch_execute(&format!("SET refresh_tokens.{setting}"))
        .expect("a setting");
}

/// The one value of `sql`, a query with one parameter.
fn value<T: for<'a> postgres::types::FromSql<'a>>(
    client: &mut impl GenericClient,
    sql: &str,
    parameter: &(dyn postgres::types::ToSql + Sync),
) -> T {
    client.query_one(sql, &[parameter]).expect("one row").get(0)
}

fn number(client: &mut impl GenericClient, sql: &str) -> i64 {
    client.query_one(sql, &[]).expect("one row").get(0)
}

/// The row of `token`: whether it is revoked, and what its parent is.
fn row(client: &mut Client, token: &str) -> (bool, Option<String>) {
    let sql = "SELECT revoked, parent FROM auth.refresh_tokens WHERE token = $1";
    let row = client
        .query_one(sql, &[&digest(token)])
        .expect("a token's row");
    (row.get(0), row.get(1))
}

fn is_live(client: &mut Client, session: Uuid) -> bool {
    value(client, "SELECT auth.is_session_live($1)", &session)
}

fn live_tokens(client: &mut Client, session: Uuid) -> i64 {
    let sql = "SELECT count(*) FROM auth.refresh_tokens WHERE session_id = $1 AND NOT revoked";
    value(client, sql, &session)
}

fn derivation_key(client: &mut Client, session: Uuid) -> Option<String> {
    let sql = "SELECT refresh_token_hmac_key FROM auth.sessions WHERE id = $1";
    value(client, sql, &session)
}

// ---- issued --------------------------------------------------------------------------------------

#[test]
fn a_login_opens_a_session_and_is_answered_with_its_first_token() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = call(
        &mut client,
        "issue_refresh_token('alice', instance_id => '00000000-0000-4000-8000-000000000001', client_id => 'app',
                             scopes => 'read write', aal => 'aal2', tag => 'phone',
                             user_agent => 'Firefox', ip => '192.0.2.1')",
        &[],
    )
    .expect("a login");
    assert_eq!(verdict(&issued), ("issued", None));
    assert_eq!(issued.user_id.as_deref(), Some("alice"));

    let sql = "
        SELECT format('%s|%s|%s|%s|%s|%s|%s|%s|%s', user_id, oauth_client_id, scopes, aal, tag, user_agent, ip,
                      refresh_token_counter, num_nulls(factor_id, not_after, refreshed_at, refresh_token_hmac_key))
          FROM auth.sessions WHERE id = $1";
    assert_eq!(
        value::<String>(&mut client, sql, &issued.session()),
        "alice|app|read write|aal2|phone|Firefox|192.0.2.1|0|4"
    );
    let sql = "
        SELECT format('%s|%s|%s|%s|%s|%s', instance_id, token, user_id, revoked, parent, session_id)
          FROM auth.refresh_tokens WHERE id = $1";
    assert_eq!(
        value::<String>(&mut client, sql, &issued.token_id),
        format!(
            "00000000-0000-4000-8000-000000000001|{}|alice|f||{}",
            digest(issued.token()),
            issued.session()
        )
    );
    let sql = "
        SELECT count(DISTINCT at) = 1
          FROM auth.sessions s JOIN auth.refresh_tokens t ON t.session_id = s.id,
               LATERAL unnest(ARRAY[s.created_at, s.updated_at, t.created_at, t.updated_at]) AS at
         WHERE s.id = $1";
    assert!(
        value::<bool>(&mut client, sql, &issued.session()),
        "one time is taken"
    );
}

#[test]
fn a_token_carries_the_slot_of_its_session_and_so_do_its_children() {
    let database = Database::create();
    let mut client = database.connect();
    for user in ["alice", "bob", "carol"] {
        let (session, tokens) = family(&mut client, user, 2);
        for token in &tokens {
            assert_eq!(token.len(), 68);
            let bytes = decode(token);
            assert_eq!((bytes.len(), bytes[0]), (39, 1));
            assert_eq!(bytes[1..3], session.as_bytes()[14..]);
        }
    }
}

#[test]
fn no_token_is_stored_anywhere() {
    let database = Database::create();
    let mut client = database.connect();
    let (_, tokens) = family(&mut client, "alice", 3);
    let rows = contents(&mut client).join("\n");
    for token in &tokens {
        assert!(rows.contains(&digest(token)));
        assert!(!rows.contains(token.as_str()));
        assert!(!rows.contains(&token["pgrt_".len()..]));
    }
}

/// Whether `condition` holds of the answer `a` to `function($1)`, of its session `s` and its token `t`.
fn holds(client: &mut Client, function: &str, parameter: &str, condition: &str) -> bool {
    client
        .batch_execute(
            "DROP TABLE IF EXISTS answer; CREATE TEMP TABLE answer OF auth.refresh_token_grant",
        )
        .expect("a temporary table");
    let sql = format!("INSERT INTO answer SELECT * FROM auth.{function}");
    client.execute(&sql, &[&parameter]).expect("an answer");
    let sql = format!(
        "SELECT coalesce({condition}, false)
           FROM answer AS a JOIN auth.sessions AS s ON s.id = a.session_id
           JOIN auth.refresh_tokens AS t ON t.id = a.token_id"
    );
    client.query_one(&sql, &[]).expect("one row").get(0)
}

#[test]
fn a_grant_says_when_its_token_and_its_session_end() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '10 min'");
    set(&mut client, "idle_timeout = '2 d'");
    set(&mut client, "session_lifetime = '5 d'");
    const ENDS: &str = "a.issued_at = t.created_at AND a.expires_at = a.issued_at + interval '2 d'
                        AND a.session_expires_at = s.created_at + interval '5 d'";

    let login = "issue_refresh_token($1)";
    let use_of = "rotate_refresh_token($1)";
    assert!(holds(&mut client, login, "alice", ENDS));

    let (session, tokens) = family(&mut client, "bob", 0);
    pass_time(&mut client, session, "1 day");
    let rotated =
        format!("{ENDS} AND a.status = 'rotated' AND a.issued_at >= s.created_at + interval '1 d'");
    assert!(holds(&mut client, use_of, &tokens[0], &rotated));
    pass_time(&mut client, session, "5 s");
    let retried = format!(
        "{ENDS} AND a.status = 'retried' AND a.issued_at <= clock_timestamp() - interval '5 s'"
    );
    assert!(holds(&mut client, use_of, &tokens[0], &retried));

    set(&mut client, "rotation = off");
    let (session, tokens) = family(&mut client, "carol", 0);
    pass_time(&mut client, session, "1 day");
    const UNCHANGED: &str = "a.status = 'unchanged' AND a.issued_at = t.created_at
                             AND a.expires_at = s.refreshed_at + interval '2 d'
                             AND a.expires_at >= a.issued_at + interval '3 d'";
    assert!(holds(&mut client, use_of, &tokens[0], UNCHANGED));
    set(&mut client, "rotation = on");

    // nothing outlives the session
    let (session, tokens) = family(&mut client, "dave", 0);
    pass_time(&mut client, session, "1 day");
    let rotated = rotate(&mut client, &tokens[0]).expect("a verdict");
    pass_time(&mut client, session, "1 day 23 h");
    let rotated = rotate(&mut client, rotated.token()).expect("a verdict");
    pass_time(&mut client, session, "1 day 23 h");
    const LAST: &str = "a.status = 'rotated' AND a.expires_at = a.session_expires_at
                        AND a.session_expires_at = s.created_at + interval '5 d'";
    assert!(holds(&mut client, use_of, rotated.token(), LAST));

    // of two ends the session has the sooner one; an end that is switched off is none
    let with_end = |at: &str| format!("issue_refresh_token($1, not_after => '{at}')");
    assert!(holds(&mut client, &with_end("2999-01-01"), "erin", ENDS));
    set(&mut client, "session_lifetime = 0");
    const AT_NOT_AFTER: &str =
        "a.session_expires_at = '2999-01-01' AND a.expires_at = a.issued_at + interval '2 d'";
    assert!(holds(
        &mut client,
        &with_end("2999-01-01"),
        "erin",
        AT_NOT_AFTER
    ));
    set(&mut client, "idle_timeout = 0");
    const ONLY_NOT_AFTER: &str =
        "a.session_expires_at = '2999-01-01' AND a.expires_at = '2999-01-01'";
    assert!(holds(
        &mut client,
        &with_end("2999-01-01"),
        "erin",
        ONLY_NOT_AFTER
    ));
    const NEVER: &str = "a.session_expires_at IS NULL AND a.expires_at IS NULL";
    assert!(holds(&mut client, login, "erin", NEVER));
    const INFINITE: &str = "a.session_expires_at = 'infinity' AND a.expires_at = 'infinity'";
    assert!(holds(&mut client, &with_end("infinity"), "erin", INFINITE));
}

// ---- rotated -------------------------------------------------------------------------------------

#[test]
fn a_live_token_is_swapped_for_its_child() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = call(
        &mut client,
        "issue_refresh_token('alice', instance_id => '00000000-0000-4000-8000-000000000001',
                             user_agent => 'old', ip => '192.0.2.1')",
        &[],
    )
    .expect("a login");
    let session = issued.session();
    pass_time(&mut client, session, "1 h");
    let rotated = present(&mut client, issued.token());
    assert_eq!(verdict(&rotated), ("rotated", None));
    assert_eq!(rotated.user_id.as_deref(), Some("alice"));
    assert_eq!(rotated.session_id, Some(session));
    assert_ne!(rotated.token, issued.token);
    assert_eq!(row(&mut client, issued.token()), (true, None));
    assert_eq!(
        row(&mut client, rotated.token()),
        (false, Some(digest(issued.token())))
    );
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM auth.refresh_tokens"),
        2
    );

    // the parent tells when it was first used; the child takes over the rest
    let sql = "
        SELECT p.updated_at = c.created_at AND c.updated_at = c.created_at AND p.created_at < c.created_at
           AND c.instance_id = p.instance_id AND c.user_id = 'alice' AND c.session_id = p.session_id
           AND s.refreshed_at = c.created_at AND s.updated_at = c.created_at AND s.created_at = p.created_at
           AND s.refresh_token_counter = 1 AND length(s.refresh_token_hmac_key) = 43
           AND s.not_after IS NULL AND s.user_agent = 'old' AND s.ip = '192.0.2.1'
          FROM auth.refresh_tokens p JOIN auth.refresh_tokens c ON c.parent = p.token
          JOIN auth.sessions s ON s.id = p.session_id
         WHERE c.id = $1";
    assert!(value::<bool>(&mut client, sql, &rotated.token_id));

    // a user agent and an address that are given are recorded
    call(
        &mut client,
        "rotate_refresh_token($1, user_agent => 'new', ip => '2001:db8::1')",
        &[&rotated.token()],
    )
    .expect("a verdict");
    let sql = "SELECT format('%s %s %s', user_agent, ip, refresh_token_counter) FROM auth.sessions WHERE id = $1";
    assert_eq!(
        value::<String>(&mut client, sql, &session),
        "new 2001:db8::1 2"
    );
}

#[test]
fn the_derivation_key_changes_unless_a_retry_may_still_need_it() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '1 h'");
    let (session, mut tokens) = family(&mut client, "alice", 1);
    let first = derivation_key(&mut client, session);
    assert!(first.is_some());
    let mut next = |client: &mut Client| {
        let rotated = rotate(client, &tokens[tokens.len() - 1]).expect("a verdict");
        tokens.push(rotated.token().to_owned());
        derivation_key(client, session)
    };
    pass_time(&mut client, session, "59 min");
    assert_eq!(next(&mut client), first);
    pass_time(&mut client, session, "61 min");
    let second = next(&mut client);
    assert_ne!(second, first);
    set(&mut client, "reuse_interval = 0");
    assert_ne!(next(&mut client), second);
}

// ---- retried ------------------------------------------------------------------------------------

#[test]
fn a_concurrent_retry_is_answered_with_the_same_child() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '10 min'");
    let (session, tokens) = family(&mut client, "alice", 1);
    for _ in 0..3 {
        let retried = present(&mut client, &tokens[0]);
        assert_eq!(verdict(&retried), ("retried", Some("concurrent")));
        assert_eq!(retried.token(), tokens[1]);
        assert_eq!(retried.session_id, Some(session));
    }
    assert_eq!(live_tokens(&mut client, session), 1);
}

#[test]
fn a_slow_retry_is_led_down_the_chain_to_the_live_token() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '10 min'");
    let (_, tokens) = family(&mut client, "alice", 5);
    for token in &tokens[..5] {
        let retried = present(&mut client, token);
        assert_eq!(verdict(&retried), ("retried", Some("concurrent")));
        assert_eq!(retried.token(), tokens[5]);
    }
}

#[test]
fn a_retry_counts_from_the_first_use_which_no_later_retry_moves() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '1 h'");
    let (session, tokens) = family(&mut client, "alice", 1);
    for _ in 0..2 {
        pass_time(&mut client, session, "29 min");
        assert_eq!(present(&mut client, &tokens[0]).status, "retried");
    }
    pass_time(&mut client, session, "3 min");
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
}

#[test]
fn a_descent_whose_rows_are_gone_is_no_retry() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '10 min'");
    let (session, tokens) = family(&mut client, "alice", 3);
    client
        .execute(
            "DELETE FROM auth.refresh_tokens WHERE token = $1",
            &[&digest(&tokens[1])],
        )
        .expect("a superuser may write");
    assert_eq!(
        verdict(&present(&mut client, &tokens[0])),
        ("revoked", None)
    );
    assert_eq!(present(&mut client, &tokens[2]).token(), tokens[3]);
    assert_eq!(live_tokens(&mut client, session), 1);
}

#[test]
fn a_lost_response_is_retried_to_the_parent_of_the_live_token_alone() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "lost_response_interval = '1 d'");
    let (session, tokens) = family(&mut client, "alice", 2);
    pass_time(&mut client, session, "23 h");
    let retried = present(&mut client, &tokens[1]);
    assert_eq!(verdict(&retried), ("retried", Some("lost_response")));
    assert_eq!(retried.token(), tokens[2]);
    pass_time(&mut client, session, "2 h");
    set(&mut client, "lost_response_interval = -1");
    assert_eq!(
        verdict(&present(&mut client, &tokens[1])),
        ("retried", Some("lost_response"))
    );
    // within the shorter interval both reasons hold, and the former is told
    set(&mut client, "reuse_interval = '2 d'");
    assert_eq!(
        verdict(&present(&mut client, &tokens[1])),
        ("retried", Some("concurrent"))
    );
    set(&mut client, "reuse_interval = '10 s'");

    set(&mut client, "lost_response_interval = '1 d'");
    assert_eq!(present(&mut client, &tokens[1]).status, "reuse_detected");
    assert!(!is_live(&mut client, session));

    set(&mut client, "lost_response_interval = -1");
    let (session, tokens) = family(&mut client, "bob", 2);
    pass_time(&mut client, session, "1 min");
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
}

// ---- unchanged -----------------------------------------------------------------------------------

#[test]
fn with_rotation_off_a_token_stays_and_its_use_is_recorded() {
    let database = Database::create();
    let mut client = database.connect();
    let (session, tokens) = family(&mut client, "alice", 1);
    pass_time(&mut client, session, "1 h");
    set(&mut client, "rotation = off");
    let rows = number(&mut client, "SELECT count(*) FROM auth.refresh_tokens");
    for _ in 0..2 {
        let unchanged = present(&mut client, &tokens[1]);
        assert_eq!(verdict(&unchanged), ("unchanged", None));
        assert_eq!(unchanged.token(), tokens[1]);
    }
    call(
        &mut client,
        "rotate_refresh_token($1, user_agent => 'new', ip => '192.0.2.7')",
        &[&tokens[1]],
    )
    .expect("a verdict");
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM auth.refresh_tokens"),
        rows
    );
    let sql = "
        SELECT s.refreshed_at > t.created_at + interval '59 min' AND s.refreshed_at = s.updated_at
           AND t.updated_at = t.created_at AND NOT t.revoked
           AND s.user_agent = 'new' AND s.ip = '192.0.2.7' AND s.refresh_token_counter = 1
          FROM auth.sessions s JOIN auth.refresh_tokens t ON t.session_id = s.id
         WHERE t.token = $1";
    assert!(value::<bool>(&mut client, sql, &digest(&tokens[1])));
    // reuse of what was rotated before is detected all the same
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
    assert_eq!(present(&mut client, &tokens[1]).status, "revoked");
}

// ---- malformed, not_found, client_mismatch -------------------------------------------------------

/// An answer that tells nothing but its status.
fn mute(status: &str) -> Grant {
    Grant {
        status: status.into(),
        token: None,
        user_id: None,
        session_id: None,
        token_id: None,
        reason: None,
    }
}

#[test]
fn what_is_no_token_is_malformed_and_what_nobody_issued_is_not_found() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = issue(&mut client, "alice");
    assert_eq!(present(&mut client, "pgrt_"), mute("malformed"));
    assert_eq!(
        present(&mut client, &digest(issued.token())),
        mute("malformed")
    );
    assert_eq!(present(&mut client, &unknown_token()), mute("not_found"));
    let answer = call(&mut client, "rotate_refresh_token(NULL)", &[]).expect("a verdict");
    assert_eq!(answer, mute("malformed"));
    let answer = call(&mut client, "explain_refresh_token(NULL)", &[]).expect("a verdict");
    assert_eq!(answer, mute("malformed"));

    // a token is gone with its session
    client
        .execute("DELETE FROM auth.sessions", &[])
        .expect("a superuser may write");
    assert_eq!(present(&mut client, issued.token()), mute("not_found"));
}

#[test]
fn a_malformed_token_is_refused_without_touching_a_table() {
    let database = Database::create();
    let mut client = database.connect();
    let mut locker = database.connect();
    let mut locked = locker.transaction().expect("a transaction");
    locked
        .batch_execute("LOCK TABLE auth.refresh_tokens, auth.sessions")
        .expect("an exclusive lock");
    client
        .batch_execute("SET lock_timeout = '1 s'")
        .expect("a setting");
    for function in [
        "rotate_refresh_token('pgrt_x')",
        "explain_refresh_token('pgrt_x')",
    ] {
        let answer = call(&mut client, function, &[]).expect("a verdict");
        assert_eq!(answer, mute("malformed"));
    }
    let sql = "SELECT auth.revoke_refresh_token('pgrt_x')";
    assert_eq!(number(&mut client, sql), 0);
}

#[test]
fn only_the_client_that_a_session_is_bound_to_can_use_its_token() {
    let database = Database::create();
    let mut client = database.connect();
    let bound = call(
        &mut client,
        "issue_refresh_token('alice', client_id => 'app')",
        &[],
    )
    .expect("a login");
    let unbound = issue(&mut client, "bob");
    for (token, client_id) in [
        (bound.token(), Some("other")),
        (bound.token(), Some("APP")),
        (bound.token(), Some("")),
        (bound.token(), None),
        (unbound.token(), Some("app")),
        (unbound.token(), Some("")),
    ] {
        let before = contents(&mut client);
        let answer = rotate_as(&mut client, token, client_id).expect("a verdict");
        assert_eq!(answer, mute("client_mismatch"), "{client_id:?}");
        assert_eq!(contents(&mut client), before);
    }
    // the right one is not harmed, and a stolen old token in the wrong hands harms nobody
    let rotated = present_as(&mut client, bound.token(), Some("app"));
    assert_eq!(rotated.status, "rotated");
    pass_time(&mut client, bound.session(), "1 h");
    let answer = rotate_as(&mut client, bound.token(), Some("other")).expect("a verdict");
    assert_eq!(answer, mute("client_mismatch"));
    let rotated = present_as(&mut client, rotated.token(), Some("app"));
    assert_eq!(rotated.status, "rotated");
    // nor does it tell that a session has ended
    client
        .query_one("SELECT auth.revoke_session($1)", &[&bound.session()])
        .expect("a count");
    let answer = rotate_as(&mut client, rotated.token(), Some("other")).expect("a verdict");
    assert_eq!(answer, mute("client_mismatch"));
}

// ---- expired -------------------------------------------------------------------------------------

#[test]
fn a_session_past_its_end_is_expired_and_says_which_end() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "idle_timeout = '2 d'");
    set(&mut client, "session_lifetime = '5 d'");
    set(&mut client, "lost_response_interval = -1");

    let (session, tokens) = family(&mut client, "alice", 1);
    pass_time(&mut client, session, "47 h");
    assert!(is_live(&mut client, session));
    pass_time(&mut client, session, "2 h");
    // the live token, and a retry of its parent
    for token in &tokens {
        assert_eq!(
            verdict(&present(&mut client, token)),
            ("expired", Some("idle_timeout"))
        );
    }
    assert!(!is_live(&mut client, session));
    pass_time(&mut client, session, "3 d");
    for token in &tokens {
        let expired = present(&mut client, token);
        assert_eq!(verdict(&expired), ("expired", Some("session_lifetime")));
        assert_eq!(expired.user_id.as_deref(), Some("alice"));
        assert_eq!(expired.session_id, Some(session));
    }
    // every limit can be switched off
    set(&mut client, "session_lifetime = 0");
    assert_eq!(
        verdict(&present(&mut client, &tokens[1])),
        ("expired", Some("idle_timeout"))
    );
    set(&mut client, "idle_timeout = 0");
    assert!(is_live(&mut client, session));
    let sql = "UPDATE auth.sessions SET not_after = now() - interval '1 s' WHERE id = $1";
    client
        .execute(sql, &[&session])
        .expect("a superuser may write");
    assert_eq!(
        verdict(&present(&mut client, &tokens[1])),
        ("expired", Some("not_after"))
    );
    assert!(!is_live(&mut client, session));
    // of several reasons the session's own end is told
    set(&mut client, "session_lifetime = '1 d'");
    assert_eq!(
        verdict(&present(&mut client, &tokens[1])),
        ("expired", Some("not_after"))
    );
}

#[test]
fn a_session_without_a_refresh_is_idle_since_the_login() {
    let database = Database::create();
    let mut client = database.connect();
    let (session, tokens) = family(&mut client, "alice", 0);
    pass_time(&mut client, session, "14 d 23 h");
    assert!(is_live(&mut client, session));
    pass_time(&mut client, session, "2 h");
    assert_eq!(
        verdict(&present(&mut client, &tokens[0])),
        ("expired", Some("idle_timeout"))
    );
}

#[test]
fn the_reuse_of_an_old_token_is_detected_in_an_expired_session_too() {
    let database = Database::create();
    let mut client = database.connect();
    let (session, tokens) = family(&mut client, "alice", 2);
    pass_time(&mut client, session, "31 d");
    assert_eq!(present(&mut client, &tokens[2]).status, "expired");
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
    assert_eq!(present(&mut client, &tokens[2]).status, "revoked");
}

// ---- revoked, reuse_detected ---------------------------------------------------------------------

#[test]
fn every_token_of_an_ended_family_is_revoked_however_it_was_ended() {
    let database = Database::create();
    let mut client = database.connect();
    let endings = [
        "SELECT auth.revoke_session($1)",
        "SELECT auth.revoke_refresh_token($2)",
        "SELECT auth.revoke_token_family($2)",
        "SELECT auth.revoke_user_sessions('alice')",
        "SELECT count(*) FROM auth.rotate_refresh_token($3) WHERE status = 'reuse_detected'",
    ];
    for ending in endings {
        let (session, tokens) = family(&mut client, "alice", 2);
        pass_time(&mut client, session, "20 s");
        let rotated = rotate(&mut client, &tokens[2]).expect("a verdict");
        let sql = format!("WITH p AS (SELECT $1::uuid, $2::text, $3::text) {ending}");
        let ended: i64 = client
            .query_one(&sql, &[&session, &rotated.token(), &tokens[0]])
            .expect("a count")
            .get(0);
        assert_eq!(ended, 1, "{ending}");
        assert!(!is_live(&mut client, session), "{ending}");
        assert_eq!(live_tokens(&mut client, session), 0, "{ending}");
        let sql = "SELECT not_after = updated_at AND not_after > now() - interval '1 min'
                     FROM auth.sessions WHERE id = $1";
        assert!(value::<bool>(&mut client, sql, &session), "{ending}");
        // the live one, its parent within its window, and the old ones; all rows stay as evidence
        for token in tokens.iter().map(String::as_str).chain([rotated.token()]) {
            let revoked = present(&mut client, token);
            assert_eq!(verdict(&revoked), ("revoked", None), "{ending}");
            assert_eq!(revoked.user_id.as_deref(), Some("alice"));
            assert_eq!(revoked.session_id, Some(session));
        }
        let again: i64 = client
            .query_one("SELECT auth.revoke_session($1)", &[&session])
            .expect("a count")
            .get(0);
        assert_eq!(again, 0);
    }
}

#[test]
fn an_old_token_ends_its_family_and_no_other() {
    let database = Database::create();
    let mut client = database.connect();
    let (other, _) = family(&mut client, "alice", 1);
    let (session, tokens) = family(&mut client, "alice", 3);
    pass_time(&mut client, session, "11 s");
    let rows = number(&mut client, "SELECT count(*) FROM auth.refresh_tokens");
    let detected = present(&mut client, &tokens[1]);
    assert_eq!(verdict(&detected), ("reuse_detected", None));
    assert_eq!(detected.user_id.as_deref(), Some("alice"));
    assert_eq!(detected.session_id, Some(session));
    assert_eq!(live_tokens(&mut client, session), 0);
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM auth.refresh_tokens"),
        rows
    );
    assert!(is_live(&mut client, other));
    // the first use of the tokens rotated before is still told by their rows
    let sql = "SELECT count(*) FROM auth.refresh_tokens
                WHERE session_id = $1 AND updated_at < now() - interval '10 s'";
    assert_eq!(value::<i64>(&mut client, sql, &session), 3);
}

#[test]
fn with_reuse_action_reject_reuse_is_told_and_nothing_is_revoked() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_action = reject");
    let (session, tokens) = family(&mut client, "alice", 2);
    pass_time(&mut client, session, "11 s");
    let before = contents(&mut client);
    for _ in 0..2 {
        let detected = present(&mut client, &tokens[0]);
        assert_eq!(verdict(&detected), ("reuse_detected", None));
    }
    assert_eq!(contents(&mut client), before);
    assert_eq!(present(&mut client, &tokens[2]).status, "rotated");
}

#[test]
fn a_window_of_nothing_makes_every_retry_a_reuse() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = 0");
    let (_, tokens) = family(&mut client, "alice", 1);
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
}

// ---- sessions ------------------------------------------------------------------------------------

#[test]
fn is_session_live_knows_no_session_that_is_not_there() {
    let database = Database::create();
    let mut client = database.connect();
    let issued = issue(&mut client, "alice");
    assert!(is_live(&mut client, issued.session()));
    assert!(!is_live(&mut client, Uuid::new_v4()));
    let sql = "SELECT auth.is_session_live(NULL)";
    let live: Option<bool> = client.query_one(sql, &[]).expect("an answer").get(0);
    assert_eq!(live, Some(false));
}

#[test]
fn revocations_count_the_tokens_that_were_live() {
    let database = Database::create();
    let mut client = database.connect();
    let alices: Vec<_> = (0..4).map(|_| family(&mut client, "alice", 1)).collect();
    let (bobs, _) = family(&mut client, "bob", 0);
    let (session, tokens) = &alices[0];
    // by any token of the family, live or not
    let by_token = "SELECT auth.revoke_refresh_token($1)";
    assert_eq!(value::<i64>(&mut client, by_token, &tokens[0]), 1);
    assert_eq!(value::<i64>(&mut client, by_token, &tokens[1]), 0);
    assert_eq!(value::<i64>(&mut client, by_token, &unknown_token()), 0);
    assert!(!is_live(&mut client, *session));

    let by_session = "SELECT auth.revoke_session($1)";
    assert_eq!(value::<i64>(&mut client, by_session, &alices[1].0), 1);
    assert_eq!(value::<i64>(&mut client, by_session, &alices[1].0), 0);
    assert_eq!(value::<i64>(&mut client, by_session, &Uuid::new_v4()), 0);

    let others = "SELECT auth.revoke_user_sessions('alice', $1)";
    assert_eq!(value::<i64>(&mut client, others, &alices[2].0), 1);
    assert!(is_live(&mut client, alices[2].0));
    assert!(!is_live(&mut client, alices[3].0));
    let all = "SELECT auth.revoke_user_sessions($1)";
    assert_eq!(value::<i64>(&mut client, all, &"alice"), 1);
    assert_eq!(value::<i64>(&mut client, all, &"alice"), 0);
    assert_eq!(value::<i64>(&mut client, all, &"nobody"), 0);
    assert!(is_live(&mut client, bobs), "other users stay");
    // somebody else's session to spare spares none
    let spare = "SELECT auth.revoke_user_sessions('bob', $1)";
    assert_eq!(value::<i64>(&mut client, spare, &alices[2].0), 1);
}

#[test]
fn a_login_over_the_cap_ends_the_sessions_refreshed_longest_ago_of_its_tag() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "max_sessions_per_user = 2");
    let mut login = |user: &str, tag: Option<&str>, age: &str| -> Grant {
        let function = "issue_refresh_token($1, tag => $2)";
        let issued = call(&mut client, function, &[&user, &tag]).expect("a login");
        pass_time(&mut client, issued.session(), age);
        issued
    };
    let spared = [
        login("alice", Some("laptop"), "9 h"),
        login("alice", None, "9 h"),
        login("bob", Some("phone"), "9 h"),
    ];
    let oldest = login("alice", Some("phone"), "8 h");
    let older = login("alice", Some("phone"), "7 h");
    // the older login becomes the one refreshed last
    let refreshed = rotate(&mut client, oldest.token()).expect("a verdict");
    assert_eq!(refreshed.status, "rotated");
    let function = "issue_refresh_token('alice', tag => 'phone')";
    let third = call(&mut client, function, &[]).expect("a login");

    let live = |client: &mut Client| -> Vec<Uuid> {
        let sql = "SELECT id FROM auth.sessions WHERE auth.is_session_live(id) ORDER BY id";
        let rows = client.query(sql, &[]).expect("sessions");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let sorted = |sessions: &[&Grant]| {
        let mut ids: Vec<_> = sessions.iter().map(|grant| grant.session()).collect();
        ids.sort();
        ids
    };
    let [a, b, c] = &spared;
    assert_eq!(live(&mut client), sorted(&[a, b, c, &oldest, &third]));
    assert_eq!(
        verdict(&present(&mut client, older.token())),
        ("revoked", None)
    );

    // what has ended doesn't count; a cap that was lowered is kept at the next login
    let end = "SELECT auth.revoke_session($1)";
    assert_eq!(value::<i64>(&mut client, end, &third.session()), 1);
    let fourth = call(&mut client, function, &[]).expect("a login");
    assert_eq!(live(&mut client), sorted(&[a, b, c, &oldest, &fourth]));
    set(&mut client, "max_sessions_per_user = 1");
    let fifth = call(&mut client, function, &[]).expect("a login");
    assert_eq!(live(&mut client), sorted(&[a, b, c, &fifth]));
    // a new token in a session is no new session
    let into = "issue_refresh_token('alice', $1)";
    call(&mut client, into, &[&a.session()]).expect("a new token");
    assert_eq!(live(&mut client), sorted(&[a, b, c, &fifth]));
    set(&mut client, "max_sessions_per_user = 0");
    let sixth = call(&mut client, function, &[]).expect("a login");
    assert_eq!(live(&mut client), sorted(&[a, b, c, &fifth, &sixth]));
}

#[test]
fn a_token_issued_into_a_session_replaces_its_live_one() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '10 min'");
    let first = call(
        &mut client,
        "issue_refresh_token('alice', client_id => 'app', instance_id => '00000000-0000-4000-8000-000000000001',
                             scopes => 'read', aal => 'aal1', tag => 'phone', user_agent => 'old', ip => '192.0.2.1')",
        &[],
    )
    .expect("a login");
    let session = first.session();
    pass_time(&mut client, session, "1 h");
    let rotated = rotate_as(&mut client, first.token(), Some("app")).expect("a verdict");
    let issued = call(
        &mut client,
        "issue_refresh_token('alice', $1, client_id => 'app', aal => 'aal2')",
        &[&session],
    )
    .expect("a new token");
    assert_eq!(verdict(&issued), ("issued", None));
    assert_eq!(issued.session_id, Some(session));
    assert_eq!(decode(issued.token())[1..3], session.as_bytes()[14..]);
    assert_eq!(live_tokens(&mut client, session), 1);
    assert_eq!(
        row(&mut client, issued.token()),
        (false, Some(digest(rotated.token())))
    );
    // what was not given stays
    let described = "
        SELECT format('%s|%s|%s|%s|%s|%s|%s|%s', s.oauth_client_id, t.instance_id, scopes, aal, tag, user_agent, ip,
                      refreshed_at = t.created_at)
          FROM auth.sessions s JOIN auth.refresh_tokens t ON t.session_id = s.id AND NOT t.revoked
         WHERE s.id = $1";
    assert_eq!(
        value::<String>(&mut client, described, &session),
        "app|00000000-0000-4000-8000-000000000001|read|aal2|phone|old|192.0.2.1|t"
    );

    // it descends from the old ones by its row, but it can't be derived from them
    for old in [&first, &rotated] {
        assert_eq!(
            verdict(&present_as(&mut client, old.token(), Some("app"))),
            ("revoked", None)
        );
    }
    let next = present_as(&mut client, issued.token(), Some("app"));
    assert_eq!(next.status, "rotated");
    let retry = present_as(&mut client, issued.token(), Some("app"));
    assert_eq!(retry.token, next.token);
    assert_eq!(
        verdict(&present_as(&mut client, rotated.token(), Some("app"))),
        ("revoked", None)
    );

    let last = call(
        &mut client,
        "issue_refresh_token('alice', $1, instance_id => '00000000-0000-4000-8000-000000000002', scopes => 'write',
                             tag => 'desk', user_agent => 'new', ip => '192.0.2.2', not_after => 'infinity')",
        &[&session],
    )
    .expect("a new token, also without naming the client");
    assert_eq!(
        value::<String>(&mut client, described, &session),
        "app|00000000-0000-4000-8000-000000000002|write|aal2|desk|new|192.0.2.2|t"
    );
    // long after, an old token is what it always is
    pass_time(&mut client, session, "1 h");
    assert_eq!(
        present_as(&mut client, rotated.token(), Some("app")).status,
        "reuse_detected"
    );
    assert_eq!(
        present_as(&mut client, last.token(), Some("app")).status,
        "revoked"
    );
}

#[test]
fn a_token_is_issued_into_a_session_that_has_no_live_one_too() {
    let database = Database::create();
    let mut client = database.connect();
    let first = issue(&mut client, "alice");
    client
        .execute("DELETE FROM auth.refresh_tokens", &[])
        .expect("a superuser may write");
    let issued = call(
        &mut client,
        "issue_refresh_token('alice', $1)",
        &[&first.session()],
    )
    .expect("a new token");
    assert_eq!(row(&mut client, issued.token()), (false, None));
    assert_eq!(present(&mut client, issued.token()).status, "rotated");
}

#[test]
fn a_family_is_drawn_a_line_a_token_without_a_secret() {
    let database = Database::create();
    let mut client = database.connect();
    let (session, tokens) = family(&mut client, "alice", 1);
    let (_, _) = family(&mut client, "alice", 1);
    pass_time(&mut client, session, "2 h");
    let third = rotate(&mut client, &tokens[1]).expect("a verdict");
    pass_time(&mut client, session, "3 min 30 s");
    let drawn = |client: &mut Client| -> Vec<String> {
        let rows = client.query("SELECT auth.draw_token_family($1)", &[&session]);
        let rows = rows.expect("lines");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let last = third.token_id.expect("an id");
    assert_eq!(
        drawn(&mut client),
        [
            "1  revoked 2 h ago, issued 2 h ago".to_owned(),
            "└─ 2  revoked 3 min ago, issued 2 h ago".to_owned(),
            format!("   └─ {last}  live, issued 3 min ago"),
        ]
    );
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
    assert!(
        drawn(&mut client)
            .iter()
            .all(|line| line.contains("revoked"))
    );
    for nobodys in [Some(Uuid::new_v4()), None] {
        let rows = client.query("SELECT auth.draw_token_family($1)", &[&nobodys]);
        assert!(rows.expect("no line").is_empty());
    }
}

// ---- families without a session ------------------------------------------------------------------

/// Puts a row without a session into the table, minted `minutes` ago and, if it is revoked, revoked
/// a minute after that.
fn plant(
    client: &mut Client,
    token: &str,
    parent: Option<&str>,
    user: Option<&str>,
    revoked: bool,
    minutes: i32,
) {
    let sql = "
        INSERT INTO auth.refresh_tokens (token, parent, user_id, revoked, created_at, updated_at)
        VALUES ($1, $2, $3, $4, now() - make_interval(mins => $5),
                now() - make_interval(mins => $5 - CASE WHEN $4 THEN 1 ELSE 0 END))";
    client
        .execute(
            sql,
            &[
                &digest(token),
                &parent.map(digest),
                &user,
                &revoked,
                &minutes,
            ],
        )
        .expect("a superuser may write");
}

/// A chain without a session: `length` tokens, a minute each, all revoked but the last.
fn chain(client: &mut Client, user: Option<&str>, slot: [u8; 2], length: u8) -> Vec<String> {
    let mut tokens = Vec::<String>::new();
    for at in 0..length {
        let token = unknown_token_in(slot);
        let parent = tokens.last().map(String::as_str);
        plant(
            client,
            &token,
            parent,
            user,
            at + 1 < length,
            i32::from(length - at),
        );
        tokens.push(token);
    }
    tokens
}

#[test]
fn a_chain_without_a_session_is_given_one_as_a_whole_when_its_live_token_is_used() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "reuse_interval = '1 min'");
    let stranger = chain(&mut client, Some("alice"), [9, 9], 2);
    let tokens = chain(&mut client, Some("alice"), [0xab, 0xcd], 3);
    let rotated = present(&mut client, &tokens[2]);
    assert_eq!(verdict(&rotated), ("rotated", None));
    let session = rotated.session();
    assert_eq!(session.as_bytes()[14..], [0xab, 0xcd]);
    assert_eq!(decode(rotated.token())[1..3], session.as_bytes()[14..]);
    assert_eq!(session.get_version_num(), 4);
    let sql = "SELECT count(*) FROM auth.refresh_tokens WHERE session_id = $1";
    assert_eq!(value::<i64>(&mut client, sql, &session), 4);
    let sql = "
        SELECT s.user_id = 'alice' AND refresh_token_counter = 1 AND s.refreshed_at = s.updated_at
           AND s.created_at = (SELECT min(t.created_at) FROM auth.refresh_tokens t WHERE t.session_id = s.id)
           AND num_nulls(not_after, aal, oauth_client_id, scopes, tag, ip, user_agent) = 7
          FROM auth.sessions s WHERE s.id = $1";
    assert!(value::<bool>(&mut client, sql, &session));
    assert!(!row(&mut client, &stranger[1]).0);
    let sql = "SELECT count(*) FROM auth.refresh_tokens WHERE session_id IS NULL";
    assert_eq!(
        number(&mut client, sql),
        2,
        "another chain of the user stays as it is"
    );

    // from here on it is a family like any other
    assert_eq!(present(&mut client, &tokens[2]).token, rotated.token);
    assert_eq!(present(&mut client, &tokens[0]).status, "reuse_detected");
    assert_eq!(present(&mut client, rotated.token()).status, "revoked");
}

#[test]
fn a_chain_without_a_session_is_given_one_with_rotation_off_too() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "rotation = off");
    let tokens = chain(&mut client, Some("alice"), [1, 2], 3);
    let unchanged = present(&mut client, &tokens[2]);
    assert_eq!(verdict(&unchanged), ("unchanged", None));
    assert_eq!(unchanged.token(), tokens[2]);
    let sql = "SELECT count(*) FROM auth.refresh_tokens WHERE session_id = $1";
    assert_eq!(value::<i64>(&mut client, sql, &unchanged.session()), 3);
    assert_eq!(
        present(&mut client, &tokens[2]).session_id,
        unchanged.session_id
    );
}

#[test]
fn an_adopted_chain_has_one_live_token_though_it_had_two() {
    let database = Database::create();
    let mut client = database.connect();
    let tokens = chain(&mut client, Some("alice"), [1, 2], 2);
    let branch = mint(1, [1, 2], [77; 32]);
    plant(
        &mut client,
        &branch,
        Some(&tokens[0]),
        Some("alice"),
        false,
        1,
    );
    let rotated = present(&mut client, &tokens[1]);
    assert_eq!(rotated.status, "rotated");
    assert_eq!(live_tokens(&mut client, rotated.session()), 1);
    assert!(row(&mut client, &branch).0, "the other branch has ended");
    assert!(["revoked", "reuse_detected"].contains(&present(&mut client, &branch).status.as_str()));
}

#[test]
fn an_old_token_of_a_chain_without_a_session_revokes_the_chain() {
    let database = Database::create();
    let mut client = database.connect();
    let tokens = chain(&mut client, Some("alice"), [1, 2], 3);
    let detected = present(&mut client, &tokens[0]);
    assert_eq!(verdict(&detected), ("reuse_detected", None));
    assert_eq!(detected.user_id.as_deref(), Some("alice"));
    assert_eq!(detected.session_id, None);
    for token in &tokens {
        assert_eq!(verdict(&present(&mut client, token)), ("revoked", None));
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM auth.sessions"), 0);
    // a fresh one can't be led down to a live token that is not derived from it
    set(&mut client, "reuse_interval = '1 h'");
    let tokens = chain(&mut client, Some("alice"), [1, 2], 3);
    assert_eq!(
        verdict(&present(&mut client, &tokens[1])),
        ("revoked", None)
    );
    assert_eq!(present(&mut client, &tokens[2]).status, "rotated");
}

#[test]
fn a_chain_without_a_session_ends_as_its_session_would() {
    let database = Database::create();
    let mut client = database.connect();
    set(&mut client, "idle_timeout = '1 h'");
    let live = mint(1, [1, 2], [1; 32]);
    plant(&mut client, &live, None, Some("alice"), false, 61);
    assert_eq!(
        verdict(&present(&mut client, &live)),
        ("expired", Some("idle_timeout"))
    );
    set(&mut client, "session_lifetime = '1 h'");
    let child = mint(1, [1, 2], [2; 32]);
    plant(&mut client, &child, Some(&live), Some("alice"), false, 1);
    assert_eq!(
        verdict(&present(&mut client, &child)),
        ("expired", Some("session_lifetime"))
    );
}

#[test]
fn a_row_without_a_user_cannot_be_given_a_session() {
    let database = Database::create();
    let mut client = database.connect();
    let tokens = chain(&mut client, None, [1, 2], 3);
    for token in &tokens {
        assert_eq!(verdict(&present(&mut client, token)), ("revoked", None));
    }
    let sql = "SELECT auth.revoke_token_family($1)";
    assert_eq!(value::<i64>(&mut client, sql, &tokens[0]), 1);
    assert_eq!(value::<i64>(&mut client, sql, &tokens[0]), 0);
}

#[test]
fn a_family_is_revoked_by_whatever_value_the_table_shows_of_it() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "SELECT auth.revoke_token_family($1)";
    for at in 0..3 {
        let (session, tokens) = family(&mut client, "alice", 2);
        assert_eq!(value::<i64>(&mut client, sql, &tokens[at]), 1);
        assert!(!is_live(&mut client, session));
        let (session, tokens) = family(&mut client, "alice", 2);
        assert_eq!(value::<i64>(&mut client, sql, &digest(&tokens[at])), 1);
        assert_eq!(value::<i64>(&mut client, sql, &digest(&tokens[at])), 0);
        assert!(!is_live(&mut client, session));
        assert_eq!(present(&mut client, &tokens[2]).status, "revoked");
    }
    // what revoke_refresh_token takes is a token alone
    let (session, tokens) = family(&mut client, "alice", 2);
    let by_token = "SELECT auth.revoke_refresh_token($1)";
    assert_eq!(value::<i64>(&mut client, by_token, &digest(&tokens[2])), 0);
    assert!(is_live(&mut client, session));

    // a parent whose own row was purged
    let forget = "DELETE FROM auth.refresh_tokens WHERE token = $1";
    for as_token in [true, false] {
        let (session, tokens) = family(&mut client, "alice", 2);
        let shown = match as_token {
            true => tokens[0].clone(),
            false => digest(&tokens[0]),
        };
        client
            .execute(forget, &[&digest(&tokens[0])])
            .expect("a superuser may write");
        assert_eq!(value::<i64>(&mut client, sql, &shown), 1);
        assert!(!is_live(&mut client, session));
    }
    assert!(is_live(&mut client, session), "no other family is touched");
    assert_eq!(value::<i64>(&mut client, sql, &"nobody's"), 0);

    // a value of an older kind, which is no digest
    let insert =
        "INSERT INTO auth.refresh_tokens (token, user_id, revoked) VALUES ($1, 'bob', false)";
    client
        .execute(insert, &[&"an old plain token"])
        .expect("a superuser may write");
    assert_eq!(value::<i64>(&mut client, sql, &"an old plain token"), 1);
}

#[test]
fn a_chain_without_a_session_is_revoked_both_ways_from_any_of_its_values() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "SELECT auth.revoke_token_family($1)";
    let other = chain(&mut client, Some("alice"), [3, 3], 3);
    for at in 0..4 {
        let tokens = chain(&mut client, Some("alice"), [1, 2], 4);
        // a branch below the first token, so that a walk down alone from `at` would miss it
        let branch = unknown_token();
        plant(
            &mut client,
            &branch,
            Some(&tokens[0]),
            Some("alice"),
            false,
            1,
        );
        let shown = if at % 2 == 0 {
            tokens[at].clone()
        } else {
            digest(&tokens[at])
        };
        assert_eq!(value::<i64>(&mut client, sql, &shown), 2);
        assert!(row(&mut client, &tokens[3]).0 && row(&mut client, &branch).0);
        assert_eq!(value::<i64>(&mut client, sql, &shown), 0);
    }
    // the root's own row is gone, and what is left of the chain hangs together by its digest
    let tokens = chain(&mut client, Some("alice"), [1, 2], 3);
    client
        .execute(
            "DELETE FROM auth.refresh_tokens WHERE token = $1",
            &[&digest(&tokens[0])],
        )
        .expect("a superuser may write");
    assert_eq!(value::<i64>(&mut client, sql, &tokens[0]), 1);
    // so does revoke_refresh_token
    let tokens = chain(&mut client, Some("alice"), [1, 2], 3);
    assert_eq!(
        value::<i64>(
            &mut client,
            "SELECT auth.revoke_refresh_token($1)",
            &tokens[1]
        ),
        1
    );
    assert!(!row(&mut client, &other[2]).0, "no other chain is touched");
}

#[test]
fn a_cycle_of_parents_is_revoked_and_used_without_end_of_the_walk() {
    let database = Database::create();
    let mut client = database.connect();
    let cycle = |client: &mut Client| {
        let tokens = chain(client, Some("alice"), [1, 2], 4);
        let sql = "UPDATE auth.refresh_tokens SET parent = $1 WHERE token = $2";
        client
            .execute(sql, &[&digest(&tokens[3]), &digest(&tokens[0])])
            .expect("a superuser may write");
        tokens
    };
    let sql = "SELECT auth.revoke_token_family($1)";
    let tokens = cycle(&mut client);
    assert_eq!(value::<i64>(&mut client, sql, &tokens[1]), 1);
    assert_eq!(value::<i64>(&mut client, sql, &tokens[1]), 0);
    let tokens = cycle(&mut client);
    let rotated = present(&mut client, &tokens[3]);
    assert_eq!(rotated.status, "rotated");
    let count = "SELECT count(*) FROM auth.draw_token_family($1)";
    assert_eq!(value::<i64>(&mut client, count, &rotated.session()), 5);
    // a token that is its own parent
    let tokens = chain(&mut client, Some("alice"), [1, 2], 1);
    client
        .execute(
            "UPDATE auth.refresh_tokens SET parent = token WHERE token = $1",
            &[&digest(&tokens[0])],
        )
        .expect("a superuser may write");
    assert_eq!(value::<i64>(&mut client, sql, &digest(&tokens[0])), 1);
}
