//! Sessions as an application and their users see them: looked at without being used, listed, ended by
//! those whose they are.

use postgres::Client;
use refresh_tokens_tests::format::unknown_token;
use refresh_tokens_tests::{Database, Grant, call, error_code, issue, pass_time, revoke, rotate};
use uuid::Uuid;

fn introspect(client: &mut Client, token: Option<&str>) -> String {
    client
        .query_one("SELECT auth.introspect_refresh_token($1)::text", &[&token])
        .expect("an answer")
        .get(0)
}

const INACTIVE: &str = r#"{"active": false}"#;

#[test]
fn introspection_tells_what_a_live_token_is_good_for() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "issue_refresh_token('alice', client_id => 'app', scopes => 'read write')";
    let token = call(&mut client, sql, &[]).expect("a login");
    let answer = introspect(&mut client, Some(token.token()));
    let same = client
        .query_one(
            "SELECT $1::text::jsonb = jsonb_build_object(
                        'active', true, 'token_type', 'refresh_token', 'sub', 'alice', 'client_id', 'app',
                        'scope', 'read write', 'session_id', $2::uuid,
                        'iat', floor(extract(epoch FROM t.created_at)),
                        'exp', floor(extract(epoch FROM t.created_at + interval '15 d')))
               FROM auth.refresh_tokens AS t",
            &[&answer, &token.session()],
        )
        .expect("JSON");
    assert!(same.get::<_, bool>(0), "{answer}");
    client
        .batch_execute(
            "SET refresh_tokens.idle_timeout = 0; SET refresh_tokens.session_lifetime = 0",
        )
        .expect("settings");
    let plain = issue(&mut client, "bob");
    let answer = introspect(&mut client, Some(plain.token()));
    let keys: Vec<String> = client
        .query(
            "SELECT jsonb_object_keys($1::text::jsonb) ORDER BY 1",
            &[&answer],
        )
        .expect("JSON")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(keys, ["active", "iat", "session_id", "sub", "token_type"]);
}

#[test]
fn introspection_tells_nothing_of_what_is_not_live() {
    let database = Database::create();
    let mut client = database.connect();
    assert_eq!(introspect(&mut client, None), INACTIVE);
    assert_eq!(introspect(&mut client, Some("pgrt_")), INACTIVE);
    assert_eq!(introspect(&mut client, Some(&unknown_token())), INACTIVE);
    let replaced = issue(&mut client, "alice");
    let live = rotate(&mut client, replaced.token()).expect("a verdict");
    // It would still be retried: but it is not the live token.
    assert_eq!(introspect(&mut client, Some(replaced.token())), INACTIVE);
    assert_ne!(introspect(&mut client, Some(live.token())), INACTIVE);
    pass_time(&mut client, live.session(), "1 year");
    assert_eq!(introspect(&mut client, Some(live.token())), INACTIVE);
    let ended = issue(&mut client, "alice");
    revoke(&mut client, &ended);
    assert_eq!(introspect(&mut client, Some(ended.token())), INACTIVE);
}

#[test]
fn looking_changes_nothing_and_works_in_a_read_only_transaction() {
    let database = Database::create();
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    let before = refresh_tokens_tests::contents(&mut client);
    client
        .batch_execute("SET default_transaction_read_only = on")
        .expect("a setting");
    assert_ne!(introspect(&mut client, Some(token.token())), INACTIVE);
    assert_eq!(
        client
            .query("SELECT * FROM auth.list_sessions('alice')", &[])
            .expect("rows")
            .len(),
        1
    );
    assert_eq!(refresh_tokens_tests::contents(&mut client), before);
}

#[test]
fn the_devices_of_a_user_are_listed_the_last_used_first() {
    let database = Database::create();
    let mut client = database.connect();
    const LOGIN: &str = "issue_refresh_token('alice', client_id => 'app', tag => 'phone', aal => 'aal2',
                                             user_agent => 'old', ip => '192.0.2.1', not_after => now() + interval '1 d')";
    let phone = call(&mut client, LOGIN, &[]).expect("a login");
    let idle = issue(&mut client, "alice");
    issue(&mut client, "bob");
    let (ended, expired) = (issue(&mut client, "alice"), issue(&mut client, "alice"));
    revoke(&mut client, &ended);
    pass_time(&mut client, expired.session(), "16 days");
    for _ in 0..2 {
        let sql = "rotate_refresh_token((SELECT token FROM held), 'app', 'new', '192.0.2.2')";
        client
            .batch_execute("DROP TABLE IF EXISTS held; CREATE TEMP TABLE held (token text)")
            .expect("a table");
        client
            .execute("INSERT INTO held VALUES ($1)", &[&phone.token()])
            .expect("a row");
        call(&mut client, sql, &[]).expect("a verdict");
    }
    let rows = client
        .query(
            "SELECT l.session_id, l.user_agent, host(l.ip), l.tag, l.client_id, l.aal::text, l.rotations,
                    l.created_at = s.created_at AND l.refreshed_at IS NOT DISTINCT FROM s.refreshed_at,
                    l.expires_at = least(s.not_after, coalesce(s.refreshed_at, s.created_at) + interval '15 d'),
                    l.session_expires_at = least(s.not_after, s.created_at + interval '30 d')
               FROM auth.list_sessions('alice') AS l JOIN auth.sessions AS s ON s.id = l.session_id",
            &[],
        )
        .expect("rows");
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [phone.session(), idle.session()]);
    let texts: Vec<Option<&str>> = (1..6).map(|at| rows[0].get(at)).collect();
    assert_eq!(
        texts,
        [
            Some("new"),
            Some("192.0.2.2"),
            Some("phone"),
            Some("app"),
            Some("aal2")
        ]
    );
    assert_eq!((rows[0].get::<_, i64>(6), rows[1].get::<_, i64>(6)), (1, 0));
    for row in &rows {
        for at in 7..10 {
            assert!(row.get::<_, bool>(at), "column {at} of {row:?}");
        }
    }
    for (call, code) in [
        ("list_sessions(NULL)", "22004"),
        ("list_sessions('')", "22023"),
    ] {
        let sql = format!("SELECT * FROM auth.{call}");
        assert_eq!(error_code(client.query(&sql, &[])), code);
    }
}

/// Two users with two sessions each, and a role that a gateway acts as for either of them.
struct Users {
    database: Database,
    role: String,
    alice: [Grant; 2],
    bob: [Grant; 2],
}

impl Users {
    fn new() -> Self {
        let database = Database::create();
        let mut client = database.connect();
        let role = format!("{}_user", database.name);
        client
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; SELECT auth.grant_refresh_token_role('{role}', 'user')"
            ))
            .expect("a grant");
        let mut two = |user| [issue(&mut client, user), issue(&mut client, user)];
        Self {
            alice: two("alice"),
            bob: two("bob"),
            database,
            role,
        }
    }

    /// A connection on which the gateway has said who calls.
    fn call_as(&self, user: &str, session: &Grant) -> Client {
        let mut client = self.database.connect_as(&self.role);
        let claims = format!(
            r#"{{"sub": "{user}", "session_id": "{}"}}"#,
            session.session()
        );
        claim(&mut client, &claims);
        client
    }
}

fn claim(client: &mut Client, claims: &str) {
    client
        .execute(
            "SELECT set_config('request.jwt.claims', $1, false)",
            &[&claims],
        )
        .expect("a setting");
}

fn mine(client: &mut Client) -> Vec<Uuid> {
    let rows = client.query(
        "SELECT session_id FROM auth.my_sessions ORDER BY created_at",
        &[],
    );
    rows.expect("rows").iter().map(|row| row.get(0)).collect()
}

fn number(client: &mut Client, call: &str) -> i64 {
    client
        .query_one(&format!("SELECT auth.{call}"), &[])
        .expect(call)
        .get(0)
}

fn end(client: &mut Client, session: &Grant) -> i64 {
    number(
        client,
        &format!("revoke_my_session('{}')", session.session()),
    )
}

#[test]
fn a_user_sees_and_ends_its_own_sessions_and_no_others() {
    let users = Users::new();
    let mut client = users.call_as("alice", &users.alice[0]);
    assert_eq!(
        mine(&mut client),
        users.alice.each_ref().map(Grant::session)
    );
    for session in &users.bob {
        assert_eq!(end(&mut client, session), 0);
    }
    assert_eq!(end(&mut client, &users.alice[1]), 1);
    assert_eq!(end(&mut client, &users.alice[1]), 0);
    assert_eq!(mine(&mut client), [users.alice[0].session()]);
    let mut other = users.call_as("bob", &users.bob[0]);
    assert_eq!(mine(&mut other), users.bob.each_ref().map(Grant::session));
}

#[test]
fn a_user_ends_all_its_other_sessions_and_no_others() {
    let users = Users::new();
    let mut client = users.call_as("alice", &users.alice[0]);
    assert_eq!(number(&mut client, "revoke_my_other_sessions()"), 1);
    assert_eq!(mine(&mut client), [users.alice[0].session()]);
    assert_eq!(mine(&mut users.call_as("bob", &users.bob[0])).len(), 2);
    // With another user's session as its own, nothing is spared, and nothing of that user is ended.
    let mut client = users.call_as("alice", &users.bob[0]);
    assert_eq!(number(&mut client, "revoke_my_other_sessions()"), 1);
    assert_eq!(mine(&mut users.call_as("bob", &users.bob[0])).len(), 2);
}

#[test]
fn claims_that_name_nobody_see_and_end_nothing() {
    let users = Users::new();
    let mut client = users.database.connect_as(&users.role);
    let deep = "[".repeat(100_000);
    let nobody = [
        "",
        "null",
        "{}",
        "alice",
        r#"{"sub": null}"#,
        r#"{"sub": 7}"#,
        r#"{"sub": ["alice"]}"#,
        &deep,
    ];
    assert_eq!(mine(&mut client), Vec::<Uuid>::new());
    for claims in nobody {
        claim(&mut client, claims);
        assert_eq!(mine(&mut client), Vec::<Uuid>::new(), "{claims}");
        assert_eq!(end(&mut client, &users.alice[0]), 0);
        assert_eq!(number(&mut client, "revoke_my_other_sessions()"), 0);
    }
    claim(&mut client, r#"{"sub": "alice"}"#);
    let call = client.query_one("SELECT auth.revoke_my_other_sessions()", &[]);
    assert_eq!(error_code(call), "22023");
    assert_eq!(mine(&mut client).len(), 2);
}

#[test]
fn the_claims_may_come_from_another_setting_that_a_superuser_names() {
    let users = Users::new();
    users
        .database
        .connect()
        .batch_execute(&format!(
            "ALTER ROLE {} SET refresh_tokens.claims_setting = 'app.claims'",
            users.role
        ))
        .expect("a setting");
    let mut client = users.call_as("alice", &users.alice[0]);
    assert_eq!(mine(&mut client), Vec::<Uuid>::new());
    client
        .execute(
            "SELECT set_config('app.claims', '{\"sub\": \"bob\"}', false)",
            &[],
        )
        .expect("a setting");
    assert_eq!(mine(&mut client).len(), 2);
    // The library is loaded by now: only a superuser may name it.
    let set = client.batch_execute("SET refresh_tokens.claims_setting = 'application_name'");
    assert_eq!(error_code(set), "42501");
}

#[test]
fn the_tier_of_users_has_nothing_else() {
    let users = Users::new();
    let mut client = users.call_as("alice", &users.alice[0]);
    for sql in [
        "SELECT * FROM auth.sessions",
        "SELECT * FROM auth.list_sessions('alice')",
        "SELECT auth.revoke_user_sessions('alice')",
        "SELECT auth.revoke_session(gen_random_uuid())",
    ] {
        assert_eq!(error_code(client.query(sql, &[])), "42501", "{sql}");
    }
}
