//! The design's invariants, each as a query that returns the rows that break it.
//!
//! A purge takes old tokens away, so a parent may be gone: of a token that is revoked, and was minted longer ago
//! than `refresh_tokens.retention` as the connection has it. A live token's parent never is.

use postgres::GenericClient;

/// What must hold at any moment, and the query for what breaks it.
pub const INVARIANTS: [(&str, &str); 8] = [
    (
        "a session has at most one live token",
        "SELECT t.session_id::text FROM auth.refresh_tokens t
          WHERE t.session_id IS NOT NULL AND t.revoked IS FALSE
          GROUP BY t.session_id HAVING count(*) > 1",
    ),
    (
        "a child's parent is a row, revoked, of the same session",
        "SELECT c.id::text FROM auth.refresh_tokens c
           LEFT JOIN auth.refresh_tokens p ON p.token = c.parent
          WHERE c.parent IS NOT NULL
            AND CASE WHEN p.id IS NOT NULL
                     THEN p.revoked IS NOT TRUE OR p.session_id IS DISTINCT FROM c.session_id
                     ELSE c.revoked IS FALSE
                          OR c.created_at > clock_timestamp()
                             - coalesce(current_setting('refresh_tokens.retention', true), '30 d')::interval
                END",
    ),
    (
        "a token has one child",
        "SELECT t.parent FROM auth.refresh_tokens t
          WHERE t.parent IS NOT NULL
          GROUP BY t.parent HAVING count(*) > 1",
    ),
    (
        "the tokens of a session are one path",
        "WITH RECURSIVE path AS (
             SELECT s.id AS session, r.token FROM auth.sessions s
               JOIN auth.refresh_tokens r ON r.session_id = s.id
                    AND NOT EXISTS (SELECT FROM auth.refresh_tokens p WHERE p.token = r.parent)
              UNION ALL
             SELECT p.session, c.token FROM path p
               JOIN auth.refresh_tokens c ON c.parent = p.token AND c.session_id = p.session)
         SELECT s.id::text FROM auth.sessions s
          WHERE (SELECT count(*) FROM auth.refresh_tokens r WHERE r.session_id = s.id AND r.parent IS NULL) > 1
             OR (SELECT count(*) FROM path p WHERE p.session = s.id)
                <> (SELECT count(*) FROM auth.refresh_tokens t WHERE t.session_id = s.id)",
    ),
    (
        "a parent was revoked when its child was minted, and not touched since",
        "SELECT c.id::text FROM auth.refresh_tokens c
           JOIN auth.refresh_tokens p ON p.token = c.parent
          WHERE p.updated_at IS DISTINCT FROM c.created_at",
    ),
    (
        "an ended session has no live token",
        "SELECT t.id::text FROM auth.refresh_tokens t
           JOIN auth.sessions s ON s.id = t.session_id
          WHERE t.revoked IS FALSE AND s.not_after <= clock_timestamp()",
    ),
    (
        "an ended session gains no token",
        "SELECT t.id::text FROM auth.refresh_tokens t
           JOIN auth.sessions s ON s.id = t.session_id
          WHERE s.not_after <= clock_timestamp() AND t.created_at > s.not_after",
    ),
    (
        "a session without a live token has ended",
        "SELECT s.id::text FROM auth.sessions s
          WHERE (s.not_after IS NULL OR s.not_after > clock_timestamp())
            AND NOT EXISTS (SELECT FROM auth.refresh_tokens t
                             WHERE t.session_id = s.id AND t.revoked IS FALSE)",
    ),
];

/// The sessions whose counter is not the number of their rotations, where no token was issued into an
/// existing session and nothing purged: every child is the work of a rotation then.
const MISCOUNTED: &str = "
    SELECT s.id::text FROM auth.sessions s
     WHERE s.refresh_token_counter IS DISTINCT FROM
           (SELECT count(t.parent) FROM auth.refresh_tokens t WHERE t.session_id = s.id)";

/// The invariants that don't hold, each with a row that breaks it.
///
/// Sessions whose `not_after` was chosen at the login and has come are no break of these, but look like one.
pub fn broken_invariants(client: &mut impl GenericClient) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    for (invariant, sql) in INVARIANTS {
        let rows = client.query(sql, &[]).expect("a superuser may look");
        broken.extend(rows.iter().map(|row| (invariant, row.get(0))));
    }
    broken
}

/// Asserts that every invariant holds.
///
/// # Panics
/// One doesn't.
pub fn assert_invariants(client: &mut impl GenericClient) {
    assert_eq!(broken_invariants(client), []);
}

/// The sessions that count their rotations wrong, in a database where nothing was issued into an
/// existing session, and no family had more than one token when it was given its session.
pub fn miscounted_sessions(client: &mut impl GenericClient) -> Vec<String> {
    let rows = client.query(MISCOUNTED, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Asserts that each index of the schema `auth` has an entry for each row, and each page of its tables is sound.
///
/// # Panics
/// They have not, or are not.
pub fn assert_indexes(client: &mut impl GenericClient) {
    let install = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS amcheck; RESET client_min_messages";
    client
        .batch_execute(install)
        .expect("the server's own extension");
    let indexes =
        "SELECT count(bt_index_parent_check(c.oid, true, true)::text) FROM pg_catalog.pg_class AS c
                    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'btree'
                    WHERE c.relkind = 'i' AND c.relnamespace = 'auth'::regnamespace";
    let row = client.query_one(indexes, &[]).expect("sound indexes");
    assert!(row.get::<_, i64>(0) > 5);
    let corrupt =
        "SELECT v.msg FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL verify_heapam(c.oid) AS v
                    WHERE c.relkind = 'r' AND c.relnamespace = 'auth'::regnamespace";
    let corrupt = client.query(corrupt, &[]).expect("a superuser may look");
    let corrupt: Vec<String> = corrupt.iter().map(|row| row.get(0)).collect();
    assert_eq!(corrupt, Vec::<String>::new());
}
