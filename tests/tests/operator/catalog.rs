//! What CREATE EXTENSION makes, name by name and definition by definition; what DROP EXTENSION takes
//! away; and when CREATE EXTENSION refuses.

use postgres::Client;
use refresh_tokens_tests::{Cluster, Database, issue, rotate};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// The rows of `sql`, which have one column of type text.
fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

// ---- tables --------------------------------------------------------------------------------------

/// Name, type, nullability and default of each column, in order.
fn columns(client: &mut Client, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' | ', attname, format_type(atttypid, atttypmod),
                          CASE WHEN attnotnull THEN 'not null' ELSE 'null' END,
                          pg_get_expr(adbin, adrelid))
           FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
          WHERE attrelid = '{table}'::regclass AND attnum > 0
          ORDER BY attnum"
    );
    lines(client, &sql)
}

/// Name and definition of each constraint.
fn constraints(client: &mut Client, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' | ', conname, pg_get_constraintdef(oid)) FROM pg_constraint
          WHERE conrelid = '{table}'::regclass AND contype <> 'n' ORDER BY conname"
    );
    lines(client, &sql)
}

/// The definition of each index, which begins with its name.
fn indexes(client: &mut Client, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT indexdef FROM pg_indexes
          WHERE format('%I.%I', schemaname, tablename)::regclass = '{table}'::regclass
          ORDER BY indexname"
    );
    lines(client, &sql)
}

#[test]
fn refresh_tokens_is_the_reference_to_the_letter() {
    let database = Database::create();
    let mut client = database.connect();
    assert_eq!(
        columns(&mut client, "auth.refresh_tokens"),
        [
            "instance_id | uuid | null",
            "id | bigint | not null | nextval('auth.refresh_tokens_id_seq'::regclass)",
            "token | character varying(255) | null",
            "user_id | character varying(255) | null",
            "revoked | boolean | null",
            "created_at | timestamp with time zone | null",
            "updated_at | timestamp with time zone | null",
            "parent | character varying(255) | null",
            "session_id | uuid | null",
        ]
    );
    assert_eq!(
        constraints(&mut client, "auth.refresh_tokens"),
        [
            "refresh_tokens_pkey | PRIMARY KEY (id)",
            "refresh_tokens_session_id_fkey | FOREIGN KEY (session_id) REFERENCES auth.sessions(id) ON DELETE CASCADE",
            "refresh_tokens_token_unique | UNIQUE (token)",
        ]
    );
    assert_eq!(
        indexes(&mut client, "auth.refresh_tokens"),
        [
            "CREATE INDEX refresh_tokens_instance_id_idx ON auth.refresh_tokens USING btree (instance_id)",
            "CREATE INDEX refresh_tokens_instance_id_user_id_idx ON auth.refresh_tokens USING btree (instance_id, user_id)",
            "CREATE INDEX refresh_tokens_parent_idx ON auth.refresh_tokens USING btree (parent)",
            "CREATE UNIQUE INDEX refresh_tokens_pkey ON auth.refresh_tokens USING btree (id)",
            "CREATE INDEX refresh_tokens_session_id_revoked_idx ON auth.refresh_tokens USING btree (session_id, revoked)",
            "CREATE UNIQUE INDEX refresh_tokens_token_unique ON auth.refresh_tokens USING btree (token)",
            "CREATE INDEX refresh_tokens_updated_at_idx ON auth.refresh_tokens USING btree (updated_at DESC)",
        ]
    );
    let comments = "SELECT concat_ws(' | ', attname, description)
                      FROM pg_description LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND attnum > 0
                     WHERE classoid = 'pg_class'::regclass AND objoid = 'auth.refresh_tokens'::regclass";
    assert_eq!(
        lines(&mut client, comments),
        ["Auth: Store of tokens used to refresh JWT tokens once they expire."],
        "the table has its comment, and no column has one"
    );
}

#[test]
fn sessions_has_the_columns_of_the_design() {
    let database = Database::create();
    let mut client = database.connect();
    assert_eq!(
        columns(&mut client, "auth.sessions"),
        [
            "id | uuid | not null | gen_random_uuid()",
            "user_id | character varying(255) | not null",
            "created_at | timestamp with time zone | not null | now()",
            "updated_at | timestamp with time zone | not null | now()",
            "factor_id | uuid | null",
            "aal | auth.aal_level | null",
            "not_after | timestamp with time zone | null",
            "refreshed_at | timestamp with time zone | null",
            "user_agent | text | null",
            "ip | inet | null",
            "tag | text | null",
            "oauth_client_id | character varying(255) | null",
            "scopes | text | null",
            "refresh_token_hmac_key | text | null",
            "refresh_token_counter | bigint | null",
        ]
    );
    assert_eq!(
        constraints(&mut client, "auth.sessions"),
        ["sessions_pkey | PRIMARY KEY (id)"]
    );
}

#[test]
fn events_have_the_columns_of_the_design_and_outlive_what_they_tell_of() {
    let database = Database::create();
    let mut client = database.connect();
    assert_eq!(
        columns(&mut client, "auth.refresh_token_events"),
        [
            "id | bigint | not null | nextval('auth.refresh_token_events_id_seq'::regclass)",
            "occurred_at | timestamp with time zone | not null | now()",
            "event | text | not null",
            "user_id | character varying(255) | null",
            "session_id | uuid | null",
            "token_id | bigint | null",
            "reason | text | null",
            "user_agent | text | null",
            "ip | inet | null",
        ]
    );
    assert_eq!(
        constraints(&mut client, "auth.refresh_token_events"),
        ["refresh_token_events_pkey | PRIMARY KEY (id)"]
    );
    assert_eq!(
        indexes(&mut client, "auth.refresh_token_events"),
        [
            "CREATE INDEX refresh_token_events_no_token_idx ON auth.refresh_token_events USING btree (occurred_at) WHERE (token_id IS NULL)",
            "CREATE INDEX refresh_token_events_occurred_at_idx ON auth.refresh_token_events USING btree (occurred_at)",
            "CREATE UNIQUE INDEX refresh_token_events_pkey ON auth.refresh_token_events USING btree (id)",
            "CREATE INDEX refresh_token_events_token_id_idx ON auth.refresh_token_events USING btree (token_id)",
        ]
    );
}

#[test]
fn the_tables_have_no_trigger_of_ours_and_no_rule() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "SELECT tgrelid::regclass || ' ' || (SELECT conname FROM pg_constraint c WHERE c.oid = tgconstraint)
                 FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'auth'::regnamespace)
                ORDER BY 1";
    let foreign_key = "refresh_tokens_session_id_fkey";
    assert_eq!(
        lines(&mut client, sql),
        [
            format!("auth.refresh_tokens {foreign_key}"),
            format!("auth.refresh_tokens {foreign_key}"),
            format!("auth.sessions {foreign_key}"),
            format!("auth.sessions {foreign_key}"),
        ]
    );
    let sql = "SELECT rulename::text FROM pg_rewrite
                WHERE ev_class IN ('auth.sessions'::regclass, 'auth.refresh_tokens'::regclass)";
    assert!(lines(&mut client, sql).is_empty());
}

#[test]
fn the_sequence_is_owned_by_the_ids_it_gives() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "SELECT concat_ws(' ', pg_get_serial_sequence('auth.refresh_tokens', 'id'), seqtypid::regtype,
                                seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
                 FROM pg_sequence WHERE seqrelid = 'auth.refresh_tokens_id_seq'::regclass";
    assert_eq!(
        lines(&mut client, sql),
        ["auth.refresh_tokens_id_seq bigint 1 1 1 9223372036854775807 1 f"]
    );
}

#[test]
fn what_a_rotation_updates_carries_no_index() {
    let database = Database::create();
    let mut client = database.connect();
    // columns in keys, in expressions and in predicates alike
    let sql = "SELECT DISTINCT attname::text
                 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum > 0
                WHERE indrelid = 'auth.sessions'::regclass
                  AND (attnum = ANY (indkey)
                       OR EXISTS (SELECT FROM pg_depend
                                   WHERE classid = 'pg_class'::regclass AND objid = indexrelid
                                     AND refclassid = 'pg_class'::regclass AND refobjid = indrelid
                                     AND refobjsubid = attnum))";
    let indexed = lines(&mut client, sql);
    assert!(indexed.contains(&"id".to_owned()), "{indexed:?}");
    for column in [
        "updated_at",
        "refreshed_at",
        "user_agent",
        "ip",
        "refresh_token_hmac_key",
        "refresh_token_counter",
    ] {
        assert!(!indexed.contains(&column.to_owned()), "{column} is indexed");
    }
}

#[test]
fn the_update_of_a_session_by_a_rotation_is_hot() {
    // Any transaction in the server, in another database too, keeps the old versions of a row from
    // being cleared away, and so the page from having room: the measure needs a server of its own.
    let cluster = Arc::new(Cluster::start(&["autovacuum = off"]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    let mut tokens: Vec<_> = (0..20)
        .map(|user| {
            issue(&mut client, &format!("user {user}"))
                .token()
                .to_owned()
        })
        .collect();
    for _ in 0..20 {
        for token in &mut tokens {
            let rotated = rotate(&mut client, token).expect("a verdict");
            assert_eq!(rotated.status, "rotated");
            *token = rotated.token().to_owned();
        }
    }
    // one user who never stops
    for _ in 0..200 {
        let rotated = rotate(&mut client, &tokens[0]).expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        tokens[0] = rotated.token().to_owned();
    }
    client
        .query_one("SELECT pg_stat_force_next_flush()", &[])
        .expect("statistics are written");
    let row = client
        .query_one(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
              WHERE relid = 'auth.sessions'::regclass",
            &[],
        )
        .expect("statistics");
    let (updated, hot): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(updated, 600);
    assert!(hot * 100 >= updated * 95, "{hot} of {updated} were HOT");
}

// ---- types, functions, and all else --------------------------------------------------------------

#[test]
fn the_types_have_the_labels_and_attributes_of_the_design_in_order() {
    let database = Database::create();
    let mut client = database.connect();
    let labels = |name: &str| {
        format!(
            "SELECT enumlabel::text FROM pg_enum WHERE enumtypid = 'auth.{name}'::regtype ORDER BY enumsortorder"
        )
    };
    assert_eq!(
        lines(&mut client, &labels("aal_level")),
        ["aal1", "aal2", "aal3"]
    );
    assert_eq!(
        lines(&mut client, &labels("refresh_token_status")),
        [
            "issued",
            "rotated",
            "retried",
            "unchanged",
            "malformed",
            "not_found",
            "client_mismatch",
            "expired",
            "revoked",
            "reuse_detected",
        ]
    );
    let sql = "SELECT attname || ' ' || format_type(atttypid, atttypmod)
                 FROM pg_type JOIN pg_attribute ON attrelid = typrelid AND attnum > 0
                WHERE pg_type.oid = 'auth.refresh_token_grant'::regtype AND typtype = 'c' ORDER BY attnum";
    assert_eq!(
        lines(&mut client, sql),
        [
            "status auth.refresh_token_status",
            "refresh_token text",
            "user_id text",
            "session_id uuid",
            "instance_id uuid",
            "token_id bigint",
            "issued_at timestamp with time zone",
            "expires_at timestamp with time zone",
            "session_expires_at timestamp with time zone",
            "reason text",
        ]
    );
}

/// The result of the functions that list sessions.
const SESSIONS: &str = "TABLE(session_id uuid, created_at timestamp with time zone, refreshed_at timestamp with time zone, \
         ip inet, user_agent text, tag text, client_id text, aal text, expires_at timestamp with time zone, \
         session_expires_at timestamp with time zone, rotations bigint)";

/// The result of the function behind `auth.refresh_token_stats`.
const STATS: &str = "TABLE(live_sessions bigint, live_tokens bigint, purgeable_tokens bigint, \
         oldest_purgeable_seconds double precision, sessions_table_bytes bigint, sessions_index_bytes bigint, \
         tokens_table_bytes bigint, tokens_index_bytes bigint, sessions_dead_rows bigint, tokens_dead_rows bigint, \
         sessions_hot_update_ratio double precision)";

/// The parameters of `auth.token`: those that it uses, and those that a client may send and it ignores.
const TOKEN_PARAMETERS: &str = "grant_type text DEFAULT NULL::text, refresh_token text DEFAULT NULL::text, client_id text DEFAULT NULL::text, \
     scope text DEFAULT NULL::text, client_secret text DEFAULT NULL::text, \
     client_assertion text DEFAULT NULL::text, client_assertion_type text DEFAULT NULL::text, \
     resource text DEFAULT NULL::text, audience text DEFAULT NULL::text, redirect_uri text DEFAULT NULL::text, \
     code text DEFAULT NULL::text, code_verifier text DEFAULT NULL::text, username text DEFAULT NULL::text, \
     password text DEFAULT NULL::text, assertion text DEFAULT NULL::text, device_code text DEFAULT NULL::text, \
     subject_token text DEFAULT NULL::text, subject_token_type text DEFAULT NULL::text, \
     actor_token text DEFAULT NULL::text, actor_token_type text DEFAULT NULL::text, \
     requested_token_type text DEFAULT NULL::text, authorization_details text DEFAULT NULL::text, vtr text DEFAULT NULL::text, \
     claim_token text DEFAULT NULL::text, claim_token_format text DEFAULT NULL::text, pct text DEFAULT NULL::text, \
     rpt text DEFAULT NULL::text, ticket text DEFAULT NULL::text, req_cnf text DEFAULT NULL::text, \
     auth_req_id text DEFAULT NULL::text, \"pre-authorized_code\" text DEFAULT NULL::text, \
     tx_code text DEFAULT NULL::text";

/// The parameters of `auth.revoke` and `auth.introspect`.
const REVOKE_PARAMETERS: &str = "token text DEFAULT NULL::text, token_type_hint text DEFAULT NULL::text, client_id text DEFAULT NULL::text, \
     client_secret text DEFAULT NULL::text, client_assertion text DEFAULT NULL::text, \
     client_assertion_type text DEFAULT NULL::text";

/// Name, arguments, result and volatility of each function.
const FUNCTIONS: [[&str; 4]; 39] = [
    ["begin_batches", "procedure text", "void", "volatile"],
    [
        "begin_refresh_token_grant",
        "role name, tier text",
        "oid",
        "volatile",
    ],
    ["check_session", "", "void", "stable"],
    [
        "draw_token_family",
        "session_id uuid",
        "SETOF text",
        "stable",
    ],
    [
        "explain_refresh_token",
        "token text",
        "auth.refresh_token_grant",
        "stable",
    ],
    [
        "grant_refresh_token_role",
        "role name, tier text",
        "void",
        "volatile",
    ],
    ["introspect", REVOKE_PARAMETERS, "jsonb", "volatile"],
    ["introspect", "jsonb", "jsonb", "volatile"],
    ["introspect_refresh_token", "token text", "jsonb", "stable"],
    ["is_my_session_live", "", "boolean", "stable"],
    ["is_session_live", "session_id uuid", "boolean", "stable"],
    [
        "issue_refresh_token",
        "user_id text, session_id uuid DEFAULT NULL::uuid, instance_id uuid DEFAULT NULL::uuid, \
         client_id text DEFAULT NULL::text, scopes text DEFAULT NULL::text, \
         aal auth.aal_level DEFAULT NULL::auth.aal_level, tag text DEFAULT NULL::text, \
         not_after timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         user_agent text DEFAULT NULL::text, ip inet DEFAULT NULL::inet",
        "auth.refresh_token_grant",
        "volatile",
    ],
    ["jwks", "", "jsonb", "stable"],
    ["list_my_sessions", "", SESSIONS, "stable"],
    ["list_sessions", "user_id text", SESSIONS, "stable"],
    [
        "plan_is_session_live",
        "request internal",
        "internal",
        "volatile",
    ],
    [
        "purge_refresh_tokens",
        "batch_size integer DEFAULT 1000",
        "bigint",
        "volatile",
    ],
    [
        "read_refresh_token_answers",
        "",
        "TABLE(status text, answers bigint, stats_reset timestamp with time zone)",
        "volatile",
    ],
    ["read_refresh_token_stats", "", STATS, "stable"],
    [
        "read_unpurgeable_sessions",
        "",
        "TABLE(referring_table text, referring_constraint text, sessions bigint)",
        "volatile",
    ],
    [
        "refresh_token_tiers",
        "",
        "TABLE(kind text, object text, tiers text[])",
        "stable",
    ],
    ["reset_refresh_token_stats", "", "void", "volatile"],
    ["revoke", REVOKE_PARAMETERS, "jsonb", "volatile"],
    ["revoke", "jsonb", "jsonb", "volatile"],
    ["revoke_my_other_sessions", "", "bigint", "volatile"],
    ["revoke_my_session", "session_id uuid", "bigint", "volatile"],
    [
        "revoke_orphan_batch",
        "after bigint, batch_size integer DEFAULT 1000",
        "TABLE(last_token bigint, tokens bigint)",
        "volatile",
    ],
    ["revoke_refresh_token", "token text", "bigint", "volatile"],
    [
        "revoke_refresh_token_role",
        "role name, tier text",
        "void",
        "volatile",
    ],
    ["revoke_session", "session_id uuid", "bigint", "volatile"],
    [
        "revoke_session_batch",
        "after uuid, batch_size integer DEFAULT 1000",
        "TABLE(last_session uuid, sessions bigint)",
        "volatile",
    ],
    ["revoke_token_family", "parent text", "bigint", "volatile"],
    [
        "revoke_user_sessions",
        "user_id text, except_session uuid DEFAULT NULL::uuid",
        "bigint",
        "volatile",
    ],
    [
        "rotate_refresh_token",
        "token text, client_id text DEFAULT NULL::text, user_agent text DEFAULT NULL::text, \
         ip inet DEFAULT NULL::inet",
        "auth.refresh_token_grant",
        "volatile",
    ],
    [
        "rotate_signing_key",
        "alg text DEFAULT 'ES256'::text, active_at timestamp with time zone DEFAULT NULL::timestamp with time zone, secret text DEFAULT NULL::text",
        "uuid",
        "volatile",
    ],
    ["set_refresh_token_owner", "role name", "void", "volatile"],
    [
        "sign_in_response",
        "user_id text, client_id text DEFAULT NULL::text, scope text DEFAULT NULL::text, instance_id uuid DEFAULT NULL::uuid, aal auth.aal_level DEFAULT NULL::auth.aal_level, tag text DEFAULT NULL::text, not_after timestamp with time zone DEFAULT NULL::timestamp with time zone",
        "jsonb",
        "volatile",
    ],
    ["token", TOKEN_PARAMETERS, "jsonb", "volatile"],
    ["token", "jsonb", "jsonb", "volatile"],
];

/// A condition on `pg_proc`: a function of the extension.
const IS_MEMBER: &str = "EXISTS (
    SELECT FROM pg_depend
     WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens'))";

#[test]
fn the_functions_have_the_signatures_of_the_design() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = format!(
        "SELECT concat_ws(' | ', pronamespace::regnamespace, proname, pg_get_function_arguments(oid),
                          pg_get_function_result(oid),
                          CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END)
           FROM pg_proc WHERE {IS_MEMBER} AND prokind = 'f' ORDER BY proname, oid"
    );
    let expected = FUNCTIONS.map(|function| format!("auth | {}", function.join(" | ")));
    assert_eq!(lines(&mut client, &sql), expected);
}

/// A procedure that commits can neither be SECURITY DEFINER nor pin the search_path.
#[test]
fn the_procedures_have_the_rights_of_their_callers() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = format!(
        "SELECT concat_ws(' | ', oid::regprocedure, prosecdef, proconfig) FROM pg_proc WHERE {IS_MEMBER} AND prokind = 'p'"
    );
    let mut procedures = lines(&mut client, &sql);
    procedures.sort();
    let expected = [
        "auth.purge_all(integer) | f",
        "auth.revoke_all_sessions(integer) | f",
    ];
    assert_eq!(procedures, expected);
}

/// The functions that have the rights of their callers.
const BY_CALLER: [&str; 5] = [
    "begin_refresh_token_grant",
    "grant_refresh_token_role",
    "refresh_token_tiers",
    "revoke_refresh_token_role",
    "set_refresh_token_owner",
];

#[test]
fn every_function_answers_null_and_is_safe_to_call_from_any_search_path() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = format!(
        "SELECT concat_ws(' | ', proname, prosecdef, array_to_string(proconfig, ';'), proisstrict, proleakproof, prokind)
           FROM pg_proc WHERE {IS_MEMBER} AND prokind = 'f' ORDER BY proname, oid"
    );
    let expected = FUNCTIONS.map(|[name, arguments, ..]| {
        // who grants, or gives away, does it with rights of his own; it touches no row
        let by_caller = BY_CALLER.contains(&name);
        let definer = if by_caller { "f" } else { "t" };
        // a function without an argument has no NULL to answer
        let strict = if arguments.is_empty() && !by_caller {
            "t"
        } else {
            "f"
        };
        format!("{name} | {definer} | search_path=pg_catalog, pg_temp | {strict} | f | f")
    });
    assert_eq!(lines(&mut client, &sql), expected);
    // a worker of a parallel query can't write, nor has it the settings' placeholders of its leader
    let sql = format!(
        "SELECT DISTINCT proparallel::text FROM pg_proc WHERE {IS_MEMBER} AND provolatile = 'v' AND prokind = 'f'"
    );
    assert_eq!(lines(&mut client, &sql), ["u"]);
}

fn members(client: &mut Client) -> Vec<String> {
    let mut members = lines(client, MEMBERS);
    members.sort_unstable();
    members
}

/// What belongs to the extension; types that come with another object are not told apart from it.
const MEMBERS: &str = "
    SELECT pg_describe_object(classid, objid, 0)
      FROM pg_depend LEFT JOIN pg_type ON classid = 'pg_type'::regclass AND pg_type.oid = objid
     WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
       AND typcategory IS DISTINCT FROM 'A'
       AND coalesce((SELECT relkind = 'c' FROM pg_class WHERE pg_class.oid = typrelid), true)";

#[test]
fn the_extension_owns_these_objects_and_no_other() {
    let database = Database::create();
    let mut client = database.connect();
    let mut expected: Vec<_> = [
        "sequence auth.refresh_token_events_id_seq",
        "sequence auth.refresh_tokens_id_seq",
        "table auth.refresh_token_events",
        "table auth.refresh_tokens",
        "table auth.sessions",
        "view auth.my_sessions",
        "view auth.refresh_token_answers",
        "view auth.refresh_token_stats",
        "function auth.purge_all(integer)",
        "function auth.begin_batches(text)",
        "function auth.plan_is_session_live(internal)",
        "function auth.read_unpurgeable_sessions()",
        "function auth.revoke_all_sessions(integer)",
        "function auth.revoke_orphan_batch(bigint,integer)",
        "function auth.revoke_session_batch(uuid,integer)",
        "function auth.read_refresh_token_answers()",
        "function auth.read_refresh_token_stats()",
        "function auth.reset_refresh_token_stats()",
        "type auth.aal_level",
        "type auth.refresh_token_grant",
        "type auth.refresh_token_status",
        "function auth.issue_refresh_token(text,uuid,uuid,text,text,auth.aal_level,text,timestamp with time zone,text,inet)",
        "function auth.rotate_refresh_token(text,text,text,inet)",
        "function auth.revoke_refresh_token(text)",
        "function auth.revoke_token_family(text)",
        "function auth.revoke_session(uuid)",
        "function auth.revoke_user_sessions(text,uuid)",
        "function auth.explain_refresh_token(text)",
        "function auth.introspect_refresh_token(text)",
        "function auth.is_session_live(uuid)",
        "function auth.list_my_sessions()",
        "function auth.list_sessions(text)",
        "function auth.purge_refresh_tokens(integer)",
        "function auth.revoke_my_other_sessions()",
        "function auth.revoke_my_session(uuid)",
        "function auth.draw_token_family(uuid)",
        "function auth.begin_refresh_token_grant(name,text)",
        "function auth.grant_refresh_token_role(name,text)",
        "function auth.refresh_token_tiers()",
        "function auth.revoke_refresh_token_role(name,text)",
        "function auth.set_refresh_token_owner(name)",
        "table auth.signing_keys",
        "function auth.check_session()",
        "function auth.introspect(jsonb)",
        "function auth.introspect(text,text,text,text,text,text)",
        "function auth.is_my_session_live()",
        "function auth.jwks()",
        "function auth.revoke(jsonb)",
        "function auth.revoke(text,text,text,text,text,text)",
        "function auth.rotate_signing_key(text,timestamp with time zone,text)",
        "function auth.sign_in_response(text,text,text,uuid,auth.aal_level,text,timestamp with time zone)",
        "function auth.token(jsonb)",
        "function auth.token(text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text,text)",
    ]
    .into();
    expected.sort_unstable();
    assert_eq!(members(&mut client), expected);
    // and nothing lies in the schema that doesn't belong to one of them
    let sql = "SELECT pg_describe_object('pg_class'::regclass, oid, 0) FROM pg_class
                WHERE relnamespace = 'auth'::regnamespace
                  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                                     AND deptype IN ('e', 'a', 'i'))
                UNION ALL
               SELECT pg_describe_object('pg_proc'::regclass, oid, 0) FROM pg_proc
                WHERE pronamespace = 'auth'::regnamespace
                  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid
                                     AND deptype = 'e')";
    assert_eq!(lines(&mut client, sql), Vec::<String>::new());
}

#[test]
fn every_object_has_a_comment_but_the_columns_of_refresh_tokens() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "
        WITH member AS (
            SELECT classid, objid FROM pg_depend LEFT JOIN pg_type ON classid = 'pg_type'::regclass AND pg_type.oid = objid
             WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
               AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
               AND typcategory IS DISTINCT FROM 'A'
               AND coalesce((SELECT relkind = 'c' FROM pg_class WHERE pg_class.oid = typrelid), true)
        ), object (classid, objid, objsubid) AS (
            SELECT classid, objid, 0 FROM member
            UNION ALL
            SELECT 'pg_class'::regclass, indexrelid, 0 FROM pg_index
             WHERE indrelid IN (SELECT objid FROM member)
               -- what an index of a constraint is for, its constraint says
               AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
            UNION ALL
            SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
             WHERE conrelid IN (SELECT objid FROM member) AND contype <> 'n'
            UNION ALL
            SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'c') AND attnum > 0
               AND relname <> 'refresh_tokens'
        )
        SELECT pg_describe_object(classid, objid, object.objsubid)
          FROM object LEFT JOIN pg_description ON classoid = classid AND objoid = objid
                                              AND pg_description.objsubid = object.objsubid
         WHERE description IS NULL OR length(description) < 10
         UNION ALL
        SELECT 'the extension' WHERE obj_description(
                   (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens'), 'pg_extension') IS NULL";
    assert_eq!(lines(&mut client, sql), Vec::<String>::new());
    // a comment that is missing is found
    client
        .batch_execute(
            "COMMENT ON FUNCTION auth.revoke_session(uuid) IS NULL; COMMENT ON TYPE auth.aal_level IS NULL;
             COMMENT ON INDEX auth.sessions_user_id_idx IS NULL; COMMENT ON COLUMN auth.sessions.ip IS NULL;
             COMMENT ON SEQUENCE auth.refresh_tokens_id_seq IS NULL; COMMENT ON TABLE auth.refresh_tokens IS NULL;
             COMMENT ON CONSTRAINT sessions_pkey ON auth.sessions IS NULL;
             COMMENT ON COLUMN auth.refresh_token_grant.reason IS NULL",
        )
        .expect("a superuser may");
    assert_eq!(lines(&mut client, sql).len(), 8);
}

#[test]
fn the_tables_have_row_level_security_and_no_policy_shows_a_token() {
    let database = Database::create();
    let mut client = database.connect();
    let sql =
        "SELECT concat_ws(' ', relname, relrowsecurity, relforcerowsecurity, count(pg_policy.oid))
                 FROM pg_class LEFT JOIN pg_policy ON polrelid = pg_class.oid
                WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'p')
                GROUP BY relname, relrowsecurity, relforcerowsecurity ORDER BY 1";
    assert_eq!(
        lines(&mut client, sql),
        [
            // whoever is granted the events may read them
            "refresh_token_events f f 0",
            "refresh_tokens t f 0",
            "sessions t f 0",
            "signing_keys t f 0",
        ]
    );
}

#[test]
fn a_dump_takes_the_rows_of_the_tables_and_the_sequences() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "SELECT format('%s \"%s\"', relation::regclass, condition)
                 FROM pg_extension, unnest(extconfig, extcondition) AS configured (relation, condition)
                WHERE extname = 'refresh_tokens' ORDER BY 1";
    assert_eq!(
        lines(&mut client, sql),
        [
            "auth.refresh_token_events \"\"",
            "auth.refresh_token_events_id_seq \"\"",
            "auth.refresh_tokens \"\"",
            "auth.refresh_tokens_id_seq \"\"",
            "auth.sessions \"\"",
        ]
    );
}

// ---- DROP, and CREATE again ----------------------------------------------------------------------

/// What lies in the schema `auth`.
const LEFT: &str = "
    SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'auth'::regnamespace
    UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'auth'::regnamespace
    UNION ALL SELECT oid::regtype::text FROM pg_type WHERE typnamespace = 'auth'::regnamespace";

#[test]
fn drop_extension_leaves_nothing_and_create_extension_works_again() {
    let database = Database::create();
    let mut client = database.connect();
    let owned = members(&mut client);
    let token = issue(&mut client, "alice").token().to_owned();
    for _ in 0..2 {
        client
            .batch_execute("DROP EXTENSION refresh_tokens")
            .expect("nothing depends on it");
        assert_eq!(lines(&mut client, LEFT), Vec::<String>::new());
        client
            .batch_execute("CREATE EXTENSION refresh_tokens")
            .expect("the schema is empty");
        assert_eq!(members(&mut client), owned);
        // in the backend that knew the former tables and types
        let answer = rotate(&mut client, &token).expect("a verdict");
        assert_eq!(answer.status, "not_found");
        let issued = issue(&mut client, "alice");
        assert_eq!(issued.token_id, Some(1));
        let rotated = rotate(&mut client, issued.token()).expect("a verdict");
        assert_eq!(
            (rotated.status.as_str(), rotated.token_id),
            ("rotated", Some(2))
        );
    }
}

// ---- the guard -----------------------------------------------------------------------------------

/// Every catalog row that an installation could have written, with the version it is in.
fn snapshot(client: &mut Client) -> BTreeMap<&'static str, Vec<String>> {
    [
        "pg_class",
        "pg_type",
        "pg_proc",
        "pg_enum",
        "pg_namespace",
        "pg_extension",
        "pg_constraint",
    ]
    .into_iter()
    .map(|catalog| {
        let sql = format!(
            "SELECT c.xmin || ' ' || c::text FROM {catalog} AS c WHERE oid >= 16384 ORDER BY oid"
        );
        (catalog, lines(client, &sql))
    })
    .collect()
}

/// That CREATE EXTENSION, run after `obstacle`, is refused with `code` and a message that says
/// `culprit`; that it changes nothing; and that it works once `cure` has been run.
fn is_refused(obstacle: &str, code: &str, culprit: &str, cure: &str) {
    let cluster = Cluster::shared();
    let mut client = cluster.connect(&cluster.create_database(), "postgres");
    client.batch_execute(obstacle).expect(obstacle);
    let before = snapshot(&mut client);
    let refused = client
        .batch_execute("CREATE EXTENSION refresh_tokens")
        .expect_err(obstacle);
    let error = refused.as_db_error().expect("an error of the server");
    assert_eq!(error.code().code(), code, "{obstacle}: {error:?}");
    assert!(error.message().contains(culprit), "{obstacle}: {error:?}");
    assert_eq!(snapshot(&mut client), before, "{obstacle}");
    client.batch_execute(cure).expect(cure);
    client
        .batch_execute("CREATE EXTENSION refresh_tokens")
        .expect(cure);
    let issued = issue(&mut client, "alice");
    assert_eq!(
        rotate(&mut client, issued.token())
            .expect("a verdict")
            .status,
        "rotated"
    );
}

#[test]
fn an_empty_schema_auth_is_adopted() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect(&cluster.create_database(), "postgres");
    client
        .batch_execute(
            "CREATE SCHEMA auth; COMMENT ON SCHEMA auth IS 'older';
             CREATE TABLE auth.users (id int); CREATE FUNCTION auth.uid() RETURNS int RETURN 1;
             CREATE EXTENSION refresh_tokens",
        )
        .expect("what else is in the schema is not in the way");
    let issued = issue(&mut client, "alice");
    assert_eq!(issued.status, "issued");
    client
        .batch_execute("DROP EXTENSION refresh_tokens")
        .expect("nothing depends on it");
    assert_eq!(
        lines(&mut client, LEFT).len(),
        4,
        "table, its two types, function"
    );
    let sql = "SELECT obj_description('auth'::regnamespace)";
    assert_eq!(lines(&mut client, sql), ["older"]);
}

#[test]
fn a_schema_that_public_may_create_in_is_refused() {
    is_refused(
        "CREATE SCHEMA auth; GRANT USAGE, CREATE ON SCHEMA auth TO PUBLIC",
        "55000",
        "schema \"auth\"",
        "REVOKE CREATE ON SCHEMA auth FROM PUBLIC",
    );
    // also one that CREATE EXTENSION itself makes
    is_refused(
        "ALTER DEFAULT PRIVILEGES GRANT CREATE ON SCHEMAS TO PUBLIC",
        "55000",
        "schema \"auth\"",
        "ALTER DEFAULT PRIVILEGES REVOKE CREATE ON SCHEMAS FROM PUBLIC",
    );
}

/// Roles are known in all databases: each of these tests has names of its own.
#[test]
fn a_schema_in_which_a_named_role_may_create_is_refused() {
    is_refused(
        "CREATE ROLE guard_creator; CREATE SCHEMA auth; GRANT USAGE, CREATE ON SCHEMA auth TO guard_creator",
        "55000",
        "role \"guard_creator\" may create",
        "REVOKE CREATE ON SCHEMA auth FROM guard_creator",
    );
    is_refused(
        "CREATE ROLE guard_default; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO guard_default",
        "55000",
        "role \"guard_default\" may create",
        "ALTER DEFAULT PRIVILEGES REVOKE CREATE ON SCHEMAS FROM guard_default",
    );
    // superusers may do everything anyway
    let cluster = Cluster::shared();
    let mut client = cluster.connect(&cluster.create_database(), "postgres");
    client
        .batch_execute(
            "CREATE ROLE guard_super SUPERUSER; CREATE SCHEMA auth AUTHORIZATION guard_super;
             CREATE EXTENSION refresh_tokens",
        )
        .expect("a superuser's schema");
}

#[test]
fn a_schema_of_somebody_who_is_no_superuser_is_refused() {
    is_refused(
        "CREATE ROLE guard_owner; CREATE SCHEMA auth AUTHORIZATION guard_owner",
        "55000",
        "belongs to role \"guard_owner\"",
        "ALTER SCHEMA auth OWNER TO CURRENT_USER",
    );
    is_refused(
        "CREATE SCHEMA auth AUTHORIZATION pg_database_owner",
        "55000",
        "belongs to role \"pg_database_owner\"",
        "ALTER SCHEMA auth OWNER TO CURRENT_USER",
    );
}

/// A call goes to whatever function of the name fits best, and to a type of the name before it goes to a function that
/// needs a conversion.
#[test]
fn whatever_has_the_name_of_a_function_is_refused() {
    for (create, what) in [
        (
            "FUNCTION auth.rotate_refresh_token(varchar) RETURNS text RETURN $1",
            "function auth.rotate_refresh_token(character varying)",
        ),
        (
            "FUNCTION auth.token(VARIADIC text[]) RETURNS text RETURN 'mine'",
            "function auth.token(pg_catalog.text[])",
        ),
        (
            "PROCEDURE auth.revoke_session(text) LANGUAGE sql AS ''",
            "procedure auth.revoke_session(pg_catalog.text)",
        ),
        (
            "FUNCTION auth.purge_all() RETURNS int RETURN 1",
            "function auth.purge_all()",
        ),
        (
            "AGGREGATE auth.is_session_live(text) (SFUNC = textcat, STYPE = text)",
            "aggregate auth.is_session_live(pg_catalog.text)",
        ),
        (
            "FUNCTION auth.grant_refresh_token_role(text, text) RETURNS int RETURN 1",
            "function auth.grant_refresh_token_role(pg_catalog.text,pg_catalog.text)",
        ),
        (
            "FUNCTION auth.sessions(int) RETURNS int RETURN 1",
            "function auth.sessions(integer)",
        ),
        (
            "DOMAIN auth.rotate_refresh_token AS text",
            "type auth.rotate_refresh_token",
        ),
        ("TYPE auth.revoke AS ENUM ('x')", "type auth.revoke"),
        ("TYPE auth.jwks AS (x int)", "type auth.jwks"),
        (
            "TABLE auth.list_sessions (x int)",
            "table auth.list_sessions",
        ),
        (
            "VIEW auth.introspect AS SELECT 1 AS x",
            "view auth.introspect",
        ),
        ("SEQUENCE auth.check_session", "sequence auth.check_session"),
    ] {
        let drop = match create.split_once(' ') {
            Some(("FUNCTION" | "PROCEDURE" | "AGGREGATE", _)) => {
                format!("DROP ROUTINE {}", what.split_once(' ').expect("a name").1)
            }
            _ => format!("DROP {what}").replace("type auth.rotate", "domain auth.rotate"),
        };
        is_refused(
            &format!("CREATE SCHEMA auth; CREATE {create}"),
            "42710",
            what,
            &drop,
        );
    }
}

/// The one list that the guard has.
#[test]
fn the_guard_knows_every_table_view_sequence_and_type() {
    let database = Database::create();
    let mut client = database.connect();
    // Whichever of the scripts has it; an upgrade script has a guard of its own.
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql");
    let scripts = fs::read_dir(scripts).expect("the scripts");
    let guards: Vec<_> = scripts
        .map(|file| file.expect("an entry").path())
        .filter(|path| !path.to_string_lossy().contains("refresh_tokens--"))
        .map(|path| fs::read_to_string(path).expect("a script"))
        .filter(|script| script.contains("DO $guard$"))
        .collect();
    let [script] = guards.as_slice() else {
        panic!("{} guards", guards.len())
    };
    let (_, list) = script
        .split_once("ANY (\n               '{")
        .expect("a list");
    let (list, _) = list.split_once('}').expect("its end");
    let mut known: Vec<_> = list.split(',').map(str::to_owned).collect();
    known.sort_unstable();
    let sql = "
        SELECT coalesce(c.relname, t.typname)::text
          FROM pg_depend LEFT JOIN pg_class AS c ON classid = 'pg_class'::regclass AND c.oid = objid
          LEFT JOIN pg_type AS t ON classid = 'pg_type'::regclass AND t.oid = objid AND typcategory <> 'A'
           AND coalesce((SELECT relkind = 'c' FROM pg_class AS r WHERE r.oid = typrelid), true)
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
           AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
           AND coalesce(c.relname, t.typname) IS NOT NULL";
    let mut found = lines(&mut client, sql);
    found.sort_unstable();
    assert_eq!(known, found);
}

#[test]
fn an_object_in_the_way_is_named() {
    for (create, name, drop) in [
        (
            "TABLE auth.sessions (id int)",
            "sessions",
            "TABLE auth.sessions",
        ),
        (
            "TABLE auth.refresh_tokens ()",
            "refresh_tokens",
            "TABLE auth.refresh_tokens",
        ),
        (
            "VIEW auth.sessions AS SELECT 1 AS id",
            "sessions",
            "VIEW auth.sessions",
        ),
        (
            "SEQUENCE auth.refresh_tokens_id_seq",
            "refresh_tokens_id_seq",
            "SEQUENCE auth.refresh_tokens_id_seq",
        ),
        (
            "TYPE auth.aal_level AS ENUM ('aal1')",
            "aal_level",
            "TYPE auth.aal_level",
        ),
        (
            "TYPE auth.refresh_token_status AS ENUM ('issued')",
            "refresh_token_status",
            "TYPE auth.refresh_token_status",
        ),
        (
            "DOMAIN auth.refresh_token_grant AS text",
            "refresh_token_grant",
            "DOMAIN auth.refresh_token_grant",
        ),
    ] {
        is_refused(
            &format!("CREATE SCHEMA auth; CREATE {create}"),
            "42710",
            &format!("\"auth.{name}\""),
            &format!("DROP {drop}"),
        );
    }
    // PostgreSQL itself names a function
    is_refused(
        "CREATE SCHEMA auth; CREATE FUNCTION auth.is_session_live(uuid) RETURNS boolean RETURN true",
        "42723",
        "\"is_session_live\"",
        "DROP FUNCTION auth.is_session_live(uuid)",
    );
    is_refused(
        "CREATE SCHEMA auth; CREATE FUNCTION auth.grant_refresh_token_role(name, text) RETURNS void RETURN NULL",
        "42723",
        "\"grant_refresh_token_role\"",
        "DROP FUNCTION auth.grant_refresh_token_role(name, text)",
    );
}

#[test]
fn objects_of_these_names_in_another_schema_are_not_in_the_way() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect(&cluster.create_database(), "postgres");
    client
        .batch_execute(
            "CREATE TABLE sessions (id int); CREATE TABLE refresh_tokens (id int); CREATE TYPE aal_level AS ENUM ();
             CREATE EXTENSION refresh_tokens",
        )
        .expect("a schema of its own");
    assert_eq!(issue(&mut client, "alice").status, "issued");
    let sql = "SELECT count(*)::text FROM public.sessions, public.refresh_tokens";
    assert_eq!(lines(&mut client, sql), ["0"]);
}

#[test]
fn the_schema_can_only_be_auth() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect(&cluster.create_database(), "postgres");
    let before = snapshot(&mut client);
    let refused = client
        .batch_execute("CREATE EXTENSION refresh_tokens SCHEMA public")
        .expect_err("another schema");
    assert_eq!(refused.code().map(|code| code.code()), Some("0A000"));
    assert_eq!(snapshot(&mut client), before);
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect("postgres", "postgres");
    client
        .batch_execute("CREATE DATABASE latin1 ENCODING 'LATIN1' TEMPLATE template0")
        .expect("a new database");
    let mut client = cluster.connect("latin1", "postgres");
    let before = snapshot(&mut client);
    let refused = client
        .batch_execute("CREATE EXTENSION refresh_tokens")
        .expect_err("another encoding");
    assert_eq!(refused.code().map(|code| code.code()), Some("0A000"));
    let error = refused.as_db_error().expect("an error of the server");
    assert!(error.message().contains("UTF8"), "{error:?}");
    assert_eq!(snapshot(&mut client), before);
}
