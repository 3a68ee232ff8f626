//! Purge takes what is over for longer than it is kept, and nothing else; a batch at a time; and nobody
//! waits for it, nor it for anybody.

use postgres::{Client, GenericClient, IsolationLevel};
use refresh_tokens_tests::{
    Database, Grant, assert_invariants, call, contents, error_code, in_transaction, issue,
    pass_time, revoke, rotate,
};

fn purge(client: &mut impl GenericClient, batch_size: i32) -> i64 {
    client
        .query_one("SELECT auth.purge_refresh_tokens($1)", &[&batch_size])
        .expect("a batch")
        .get(0)
}

fn count(client: &mut impl GenericClient, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM auth.{table}");
    client.query_one(&sql, &[]).expect("a count").get(0)
}

/// A session of `user` whose first token was swapped `rotations` times, and all its tokens.
fn family(client: &mut Client, user: &str, rotations: usize) -> Vec<Grant> {
    let mut family = vec![issue(client, user)];
    for _ in 0..rotations {
        let grant = rotate(client, family[family.len() - 1].token()).expect("a verdict");
        family.push(grant);
    }
    family
}

/// Nothing but a revocation ends a session.
const ENDLESS: &str =
    "SET refresh_tokens.session_lifetime = 0; SET refresh_tokens.idle_timeout = 0";

#[test]
fn what_is_over_goes_once_it_is_kept_no_longer() {
    let database = Database::create();
    let mut client = database.connect();
    let ended = family(&mut client, "ended", 1);
    revoke(&mut client, &ended[0]);
    let expired = family(&mut client, "expired", 1);
    let idle = family(&mut client, "idle", 1);
    client
        .batch_execute("UPDATE auth.sessions SET refreshed_at = NULL WHERE user_id = 'expired'")
        .expect("a superuser may write");
    // 30 days of a lifetime, 15 of idleness, 30 as evidence
    for (grants, kept, over) in [(ended, 29, 2), (expired, 44, 2), (idle, 44, 2)] {
        pass_time(&mut client, grants[0].session(), &format!("{kept} days"));
        let before = contents(&mut client);
        assert_eq!(purge(&mut client, 1000), 0, "{grants:?}");
        assert_eq!(contents(&mut client), before);
        pass_time(&mut client, grants[0].session(), &format!("{over} days"));
        assert_eq!(purge(&mut client, 1000), 3, "{grants:?}");
    }
    assert_eq!(
        (
            count(&mut client, "sessions"),
            count(&mut client, "refresh_tokens")
        ),
        (0, 0)
    );
}

#[test]
fn a_session_that_lives_long_is_over_by_its_age_alone() {
    let database = Database::create();
    let mut client = database.connect();
    let live = family(&mut client, "alice", 1);
    client
        .batch_execute(
            "UPDATE auth.sessions SET created_at = now() - interval '61 days', refreshed_at = now() - interval '31 days';
             UPDATE auth.refresh_tokens SET created_at = now() - interval '32 days', updated_at = now() - interval '31 days';
             SET refresh_tokens.idle_timeout = 0",
        )
        .expect("a superuser may write");
    assert_eq!(live.len(), 2);
    assert_eq!(purge(&mut client, 1000), 3);
}

#[test]
fn a_session_that_goes_on_keeps_its_live_token_and_the_parent() {
    let database = Database::create();
    let mut client = database.connect();
    client.batch_execute(ENDLESS).expect("settings");
    let grants = family(&mut client, "alice", 5);
    pass_time(&mut client, grants[0].session(), "1 year");
    assert_eq!(purge(&mut client, 1000), 4);
    assert_eq!(purge(&mut client, 1000), 0);
    assert_invariants(&mut client);
    // What is gone is no evidence any more.
    assert_eq!(
        rotate(&mut client, grants[3].token())
            .expect("a verdict")
            .status,
        "not_found"
    );
    client
        .batch_execute("SET refresh_tokens.lost_response_interval = -1")
        .expect("a setting");
    let retried = rotate(&mut client, grants[4].token()).expect("a verdict");
    assert_eq!(
        (retried.status.as_str(), &retried.token),
        ("retried", &grants[5].token)
    );
    client
        .batch_execute("SET refresh_tokens.lost_response_interval = 0")
        .expect("a setting");
    let reuse = rotate(&mut client, grants[4].token()).expect("a verdict");
    assert_eq!(reuse.status, "reuse_detected");
    assert_invariants(&mut client);
}

#[test]
fn a_family_without_a_session_ends_with_its_last_token() {
    let database = Database::create();
    let mut client = database.connect();
    const OLD: &str = "
        INSERT INTO auth.refresh_tokens (token, parent, user_id, revoked, created_at, updated_at)
        VALUES ('a', NULL, 'alice', true, now() - interval '99 d', now() - interval '98 d'),
               ('b', 'a', 'alice', true, now() - interval '98 d', now() - interval '97 d'),
               ('c', 'b', 'alice', $1, now() - interval '97 d', now() - interval '97 d')";
    client
        .batch_execute(&OLD.replace("$1", "true"))
        .expect("rows from elsewhere");
    assert_eq!(purge(&mut client, 1000), 3);
    client.batch_execute(ENDLESS).expect("settings");
    client
        .batch_execute(&OLD.replace("$1", "false"))
        .expect("rows from elsewhere");
    assert_eq!(
        purge(&mut client, 1000),
        1,
        "the live token and its parent stay"
    );
    client
        .batch_execute("RESET refresh_tokens.session_lifetime")
        .expect("a setting");
    assert_eq!(purge(&mut client, 1000), 2, "what would be expired goes");
}

#[test]
fn for_ever_is_for_ever() {
    let database = Database::create();
    let mut client = database.connect();
    let grants = family(&mut client, "alice", 3);
    pass_time(&mut client, grants[0].session(), "100 years");
    client
        .batch_execute("SET refresh_tokens.retention = 0")
        .expect("a setting");
    assert_eq!(purge(&mut client, 1000), 0);
    client
        .batch_execute("RESET refresh_tokens.retention")
        .expect("a setting");
    assert_eq!(purge(&mut client, 1000), 5);
}

#[test]
fn evidence_outlives_the_window_of_honest_retries() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute("SET refresh_tokens.retention = 1; SET refresh_tokens.reuse_interval = 3600")
        .expect("settings");
    let grants = family(&mut client, "alice", 3);
    pass_time(&mut client, grants[0].session(), "59 minutes");
    assert_eq!(purge(&mut client, 1000), 0);
    let retried = rotate(&mut client, grants[0].token()).expect("a verdict");
    assert_eq!(retried.status, "retried");
}

#[test]
fn a_batch_has_no_row_more_than_asked_for_and_the_last_one_is_short() {
    let database = Database::create();
    let mut client = database.connect();
    for user in 0..20 {
        let grants = family(&mut client, &format!("user {user}"), user % 7);
        if user % 3 == 0 {
            revoke(&mut client, &grants[0]);
        }
        pass_time(&mut client, grants[0].session(), "1 year");
    }
    let mut all = count(&mut client, "sessions") + count(&mut client, "refresh_tokens");
    assert!(all > 60);
    let mut sizes = [1, 2, 7, 3].iter().cycle();
    loop {
        let batch_size = *sizes.next().expect("a cycle");
        let gone = purge(&mut client, batch_size);
        assert!(gone <= i64::from(batch_size), "{gone} of {batch_size}");
        let left = count(&mut client, "sessions") + count(&mut client, "refresh_tokens");
        assert_eq!(all - left, gone, "it counts what is gone");
        all = left;
        if gone < i64::from(batch_size) {
            break;
        }
    }
    assert_eq!(all, 0);
}

#[test]
fn what_others_hold_is_passed_over() {
    let database = Database::create();
    let (mut holder, mut client) = (database.connect(), database.connect());
    let held = family(&mut client, "held", 1);
    let free = family(&mut client, "free", 1);
    for grants in [&held, &free] {
        pass_time(&mut client, grants[0].session(), "1 year");
    }
    client
        .batch_execute("SET lock_timeout = '1 s'")
        .expect("a setting");
    let mut transaction = holder.transaction().expect("a transaction");
    let expired = rotate(&mut transaction, held[1].token()).expect("a verdict");
    assert_eq!(expired.status, "expired");
    assert_eq!(purge(&mut client, 1000), 3);
    transaction.commit().expect("a commit");
    assert_eq!(purge(&mut client, 1000), 3);
}

/// The row lock of a session that has ended, as a foreign key of the application's takes it, too.
#[test]
fn a_session_that_is_referred_to_is_passed_over() {
    let database = Database::create();
    let (mut holder, mut client) = (database.connect(), database.connect());
    let held = family(&mut client, "held", 1);
    pass_time(&mut client, held[0].session(), "1 year");
    client
        .batch_execute("SET lock_timeout = '1 s'")
        .expect("a setting");
    let mut transaction = holder.transaction().expect("a transaction");
    transaction
        .batch_execute("SELECT FROM auth.sessions FOR KEY SHARE")
        .expect("the lock is free");
    assert_eq!(purge(&mut client, 1000), 0);
    transaction.commit().expect("a commit");
    assert_eq!(purge(&mut client, 1000), 3);
}

#[test]
fn two_purges_share_the_work() {
    let database = Database::create();
    let (mut first, mut second) = (database.connect(), database.connect());
    for _ in 0..20 {
        let over = family(&mut first, "over", 1);
        pass_time(&mut first, over[0].session(), "1 year");
    }
    second
        .batch_execute("SET lock_timeout = '1 s'")
        .expect("a setting");
    let mut transaction = first.transaction().expect("a transaction");
    assert_eq!(purge(&mut transaction, 30), 30);
    let other = purge(&mut second, 1000);
    assert!(other > 0, "there is more than the first has locked");
    transaction.commit().expect("a commit");
    assert_eq!(30 + other + purge(&mut second, 1000), 60);
}

/// The backend goes on where a batch stopped, that never happened.
#[test]
fn a_batch_that_was_rolled_back_is_purged_by_a_later_one() {
    let database = Database::create();
    let mut client = database.connect();
    for _ in 0..10 {
        let over = family(&mut client, "over", 0);
        pass_time(&mut client, over[0].session(), "1 year");
    }
    let mut transaction = client.transaction().expect("a transaction");
    assert_eq!(purge(&mut transaction, 10), 10);
    transaction.rollback().expect("a rollback");
    assert_eq!(count(&mut client, "sessions"), 10);
    assert_eq!(purge(&mut client, 1000), 20);
}

#[test]
fn nobody_waits_for_an_open_purge() {
    let database = Database::create();
    let (mut purger, mut client) = (database.connect(), database.connect());
    for connection in [&mut purger, &mut client] {
        connection.batch_execute(ENDLESS).expect("settings");
    }
    client
        .batch_execute("SET lock_timeout = '1 s'")
        .expect("a setting");
    let grants = family(&mut client, "alice", 4);
    pass_time(&mut client, grants[0].session(), "1 year");
    in_transaction(&mut purger, IsolationLevel::ReadCommitted, |open| {
        assert_eq!(purge(open, 1000), 3);
        let rotated = rotate(&mut client, grants[4].token())?;
        assert_eq!(rotated.status, "rotated");
        let retried = rotate(&mut client, grants[4].token())?;
        assert_eq!(retried.status, "retried");
        revoke(&mut client, &grants[0]);
        Ok(())
    })
    .expect("a purge");
    assert_invariants(&mut client);
}

#[test]
fn a_batch_is_some_rows_and_a_writing_transaction() {
    let database = Database::create();
    let mut client = database.connect();
    let mut code = |call: &str| error_code(client.batch_execute(&format!("SELECT auth.{call}")));
    assert_eq!(code("purge_refresh_tokens(NULL)"), "22004");
    assert_eq!(code("purge_refresh_tokens(0)"), "22023");
    assert_eq!(code("purge_refresh_tokens(-1)"), "22023");
    client
        .batch_execute("SET default_transaction_read_only = on")
        .expect("a setting");
    let call = client.batch_execute("SELECT auth.purge_refresh_tokens()");
    assert_eq!(error_code(call), "25006");
}

/// In steady state most rows stay: whatever is due is found by an index.
#[test]
fn no_table_is_read_as_a_whole() {
    const SCANS: &str =
        "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE schemaname = 'auth'";
    const FILL: &str = "
        INSERT INTO auth.sessions (id, user_id, created_at, refreshed_at, not_after)
        SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user ' || n,
               now() - interval '1 d', now() - interval '1 d', CASE WHEN n % 100 = 0 THEN now() - interval '60 d' END
          FROM generate_series(1, 20000) AS n;
        INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, session_id)
        SELECT format('%s of %s', generation, n), 'user ' || n, generation < 3 OR n % 100 = 0,
               now() - interval '1 d', now() - CASE WHEN n % 100 = 0 THEN interval '60 d' ELSE interval '1 d' END,
               ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
          FROM generate_series(1, 20000) AS n, generate_series(1, 3) AS generation;
        INSERT INTO auth.refresh_token_events (occurred_at, event)
        SELECT now() - n * interval '10 min', 'reuse_detected' FROM generate_series(1, 20000) AS n;
        ANALYZE auth.sessions, auth.refresh_tokens, auth.refresh_token_events";
    let database = Database::create();
    let mut client = database.connect();
    client.batch_execute(FILL).expect("rows");
    let scans = |client: &mut Client| -> i64 {
        // A backend hands over what it has counted at the end of this statement, not when it likes.
        client
            .batch_execute("SELECT pg_stat_force_next_flush()")
            .expect("a superuser may");
        client.query_one(SCANS, &[]).expect("statistics").get(0)
    };
    let before = scans(&mut client);
    while purge(&mut client, 100) == 100 {}
    assert_eq!(
        call(&mut client, "explain_refresh_token('')", &[])
            .expect("a verdict")
            .status,
        "malformed"
    );
    assert_eq!(scans(&mut client), before);
    assert_eq!(count(&mut client, "sessions"), 19_800);
    assert_eq!(count(&mut client, "refresh_token_events"), 90 * 24 * 6 - 1);
}

// ---- purge_all -----------------------------------------------------------------------------------

/// `number` sessions that are over, of two rows each.
fn over(client: &mut Client, number: usize) {
    for _ in 0..number {
        let over = family(client, "over", 0);
        pass_time(client, over[0].session(), "1 year");
    }
}

#[test]
fn purge_all_commits_each_batch_and_says_how_far_it_is() {
    let database = Database::create();
    let mut client = database.connect();
    over(&mut client, 20);
    // Each batch leaves a trace of its transaction and of what pg_stat_activity shows meanwhile.
    client
        .batch_execute(
            "CREATE TABLE trace (id bigint, name text);
             CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO public.trace VALUES (txid_current(), current_setting('application_name')); RETURN NULL;
             END $$;
             CREATE TRIGGER trace AFTER DELETE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION trace();
             SET application_name = 'mine'",
        )
        .expect("a superuser may");
    let call = client.batch_execute("CALL auth.purge_all(10)");
    call.expect("a purge");
    let sql = "SELECT count(DISTINCT id), min(name), max(name), current_setting('application_name') FROM trace";
    let row = client.query_one(sql, &[]).expect("a trace");
    assert_eq!(row.get::<_, i64>(0), 4);
    assert_eq!(row.get::<_, &str>(1), "purge_all: 0 rows");
    assert_eq!(row.get::<_, &str>(2), "purge_all: 30 rows");
    assert_eq!(row.get::<_, &str>(3), "mine");
    assert_eq!(count(&mut client, "sessions"), 0);
}

/// Batches that were committed stay purged when a later one fails.
#[test]
fn what_purge_all_purged_before_an_error_stays_purged() {
    let database = Database::create();
    let mut client = database.connect();
    over(&mut client, 20);
    client
        .batch_execute(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF current_setting(''application_name'') = ''purge_all: 20 rows'' THEN RAISE ''stop''; END IF; RETURN OLD; END';
             CREATE TRIGGER stop BEFORE DELETE ON auth.refresh_tokens FOR EACH ROW EXECUTE FUNCTION stop()",
        )
        .expect("a trigger");
    let call = client.batch_execute("CALL auth.purge_all(10)");
    assert_eq!(
        error_code(call),
        "P0001",
        "the progress is in application_name"
    );
    assert_eq!(count(&mut client, "sessions"), 20 - 10);
}

#[test]
fn purge_all_needs_to_commit_and_a_role_that_may_purge() {
    let database = Database::create();
    let mut client = database.connect();
    over(&mut client, 5);
    let call = client.batch_execute("BEGIN; CALL auth.purge_all()");
    assert_eq!(error_code(call), "2D000");
    client.batch_execute("ROLLBACK").expect("a rollback");
    assert_eq!(count(&mut client, "sessions"), 5);
    assert_eq!(
        error_code(client.batch_execute("CALL auth.purge_all(0)")),
        "22023"
    );
    let bystander = format!("{}_bystander", database.name);
    client
        .batch_execute(&format!(
            "CREATE ROLE {bystander} LOGIN; GRANT USAGE ON SCHEMA auth TO {bystander}"
        ))
        .expect("a superuser may");
    let mut bystander = database.connect_as(&bystander);
    let call = bystander.batch_execute("CALL auth.purge_all()");
    assert_eq!(error_code(call), "42501");
    let role = format!("{}_operator", database.name);
    client
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; SELECT auth.grant_refresh_token_role('{role}', 'operator')"
        ))
        .expect("a grant");
    let mut operator = database.connect_as(&role);
    operator
        .batch_execute("CALL auth.purge_all()")
        .expect("a purge");
    assert_eq!(count(&mut client, "sessions"), 0);
}

/// It has the rights and the path of its caller.
#[test]
fn purge_all_calls_nothing_that_its_caller_planted() {
    let database = Database::create();
    let mut superuser = database.connect();
    over(&mut superuser, 3);
    let role = format!("{}_operator", database.name);
    superuser
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; SELECT auth.grant_refresh_token_role('{role}', 'operator');
             CREATE SCHEMA planted;
             CREATE FUNCTION planted.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT 1/0::text::int';
             CREATE FUNCTION planted.plus(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1/(($1 - $1)::int)';
             CREATE OPERATOR planted.+ (FUNCTION = planted.plus, LEFTARG = bigint, RIGHTARG = bigint);
             GRANT USAGE ON SCHEMA planted TO {role}"
        ))
        .expect("a superuser may");
    let mut client = database.connect_as(&role);
    client
        .batch_execute("SET search_path = planted, pg_catalog")
        .expect("a setting");
    let call = client.batch_execute("CALL auth.purge_all(4)");
    call.expect("a purge");
    assert_eq!(count(&mut superuser, "sessions"), 0);
}
