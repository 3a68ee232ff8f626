//! What the tables hold, and how time passes in them.

use postgres::GenericClient;
use uuid::Uuid;

/// Every row of both tables with the version that it is in, and the state of the sequence. Two equal
/// answers: no row was written in between, not even with the values that it had.
pub fn contents(client: &mut impl GenericClient) -> Vec<String> {
    const SQL: &str = "
        SELECT format('session %s %s %s', s.ctid, s.xmin, s) FROM auth.sessions s
        UNION ALL SELECT format('token %s %s %s', t.ctid, t.xmin, t) FROM auth.refresh_tokens t
        UNION ALL SELECT format('sequence %s %s', last_value, is_called) FROM auth.refresh_tokens_id_seq
        ORDER BY 1";
    let rows = client.query(SQL, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Lets `interval` pass for the family of `session`: all its times lie so much further back.
pub fn pass_time(client: &mut impl GenericClient, session: Uuid, interval: &str) {
    const SESSIONS: &str = "
        UPDATE auth.sessions
           SET created_at = created_at - $2::text::interval,
               updated_at = updated_at - $2::text::interval,
               refreshed_at = refreshed_at - $2::text::interval,
               not_after = not_after - $2::text::interval
         WHERE id = $1";
    const TOKENS: &str = "
        UPDATE auth.refresh_tokens
           SET created_at = created_at - $2::text::interval,
               updated_at = updated_at - $2::text::interval
         WHERE session_id = $1";
    for sql in [SESSIONS, TOKENS] {
        let rows = client
            .execute(sql, &[&session, &interval])
            .expect("a superuser may write");
        assert!(rows > 0, "the session is there");
    }
}
