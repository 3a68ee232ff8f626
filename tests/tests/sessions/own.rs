//! A user's own sessions, by the claims of an access token: seen, and ended, by those whose they are.

use postgres::Client;
use refresh_tokens_tests::{Database, Grant, error_code, issue};
use uuid::Uuid;

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
