//! The live sessions of a user, as an application lists them.

use refresh_tokens_tests::{Database, call, error_code, issue, pass_time, revoke};
use uuid::Uuid;

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
