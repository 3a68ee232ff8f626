//! Bad input to every function, and bad rows in the tables: each gets a considered answer or a clear
//! error, changes nothing, and shows no token, digest or key to anybody.

use postgres::types::ToSql;
use postgres::{Client, NoTls};
use refresh_tokens_tests::format::{decode, digest, encode, mint, unknown_token};
use refresh_tokens_tests::{
    Cluster, Database, Grant, call, contents, error_code, issue, pass_time, rotate, rotate_as,
    wait_until,
};
use std::fs;
use std::sync::{Arc, Mutex, Weak};
use uuid::Uuid;

/// A database in a server that logs all that it can but statements, a connection to it, and what that
/// connection was told besides answers.
struct Observed {
    client: Client,
    told: Arc<Mutex<String>>,
    tokens: Vec<String>,
    database: Database,
}

static TALKATIVE: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

fn talkative_cluster() -> Arc<Cluster> {
    Cluster::shared_with(
        &TALKATIVE,
        &[
            "log_min_messages = debug2",
            "log_error_verbosity = verbose",
            "log_lock_waits = on",
            "deadlock_timeout = 10ms",
        ],
    )
}

impl Observed {
    fn new() -> Self {
        let database = Database::create_in(&talkative_cluster());
        let told = Arc::new(Mutex::new(String::new()));
        let mut config = database.cluster().config(&database.name, "postgres");
        let notices = Arc::clone(&told);
        config.notice_callback(move |notice| {
            let mut told = notices.lock().expect("no test panics here");
            *told += &format!("{notice:?}\n");
        });
        let mut client = config.connect(NoTls).expect("a connection");
        client
            .batch_execute(
                "SET client_min_messages = debug2; SET refresh_tokens.reuse_interval = '1 h'",
            )
            .expect("settings");
        Self {
            client,
            told,
            tokens: Vec::new(),
            database,
        }
    }

    /// A login of `user`.
    fn issue(&mut self, user: &str) -> Grant {
        let issued = issue(&mut self.client, user);
        self.tokens.push(issued.token().to_owned());
        issued
    }

    /// Presents `token`.
    fn rotate(&mut self, token: &str) -> Grant {
        let answer = rotate(&mut self.client, token).expect("a verdict");
        self.tokens.extend(answer.token.clone());
        answer
    }

    /// A login of `user` that was rotated once: session, first token, live token.
    fn family(&mut self, user: &str) -> (Uuid, String, String) {
        let issued = self.issue(user);
        let rotated = self.rotate(issued.token());
        assert_eq!(rotated.status, "rotated");
        (
            issued.session(),
            issued.token().to_owned(),
            rotated.token().to_owned(),
        )
    }

    /// That `function` raises an error with `code`, and changes nothing.
    fn raises(&mut self, code: &str, function: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let before = contents(&mut self.client);
        let sql = format!("SELECT * FROM auth.{function}");
        let error = self
            .client
            .query(&sql, parameters)
            .expect_err(&format!("{function}: {code}"));
        let told = format!("{error:?}");
        assert_eq!(error_code(Err::<(), _>(error)), code, "{function}: {told}");
        *self.told.lock().expect("no test panics here") += &told;
        assert_eq!(contents(&mut self.client), before, "{function}");
    }

    /// That `function` answers with `status`, and changes nothing.
    fn refuses(&mut self, status: &str, function: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let before = contents(&mut self.client);
        let answer = call(&mut self.client, function, parameters).expect("a verdict");
        assert_eq!(answer.status, status, "{function}");
        assert_eq!(answer.token, None, "{function}");
        assert_eq!(contents(&mut self.client), before, "{function}");
    }

    /// That `function` counts nothing, and changes nothing.
    fn counts_none(&mut self, function: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let before = contents(&mut self.client);
        let sql = format!("SELECT auth.{function}");
        let row = self.client.query_one(&sql, parameters).expect("a count");
        assert_eq!(row.get::<_, Option<i64>>(0), Some(0), "{function}");
        assert_eq!(contents(&mut self.client), before, "{function}");
    }

    /// All that must not be shown: the tokens issued so far, and what the tables hold of them.
    fn secrets(&mut self) -> Vec<String> {
        let sql =
            "SELECT token FROM auth.refresh_tokens UNION SELECT parent FROM auth.refresh_tokens
                   UNION SELECT refresh_token_hmac_key FROM auth.sessions";
        let rows = self.client.query(sql, &[]).expect("a superuser may look");
        let stored = rows
            .iter()
            .filter_map(|row| row.get::<_, Option<String>>(0));
        let tokens = self.tokens.iter();
        let digests = tokens.clone().map(|token| digest(token));
        let bodies = tokens.map(|token| token["pgrt_".len()..].to_owned());
        let long = |secret: &String| secret.len() >= 20;
        stored.chain(digests).chain(bodies).filter(long).collect()
    }

    /// That nothing of what must not be shown was told or logged.
    fn nothing_leaked(mut self) {
        let secrets = self.secrets();
        assert!(!secrets.is_empty());
        let log = fs::read(self.database.cluster().log()).expect("a log");
        let log = String::from_utf8_lossy(&log);
        assert!(log.contains("DEBUG:  "), "the log is talkative");
        let told = self.told.lock().expect("no test panics here");
        for secret in &secrets {
            assert!(!told.contains(secret), "{secret} was told: {told}");
            assert!(!log.contains(secret), "{secret} was logged");
        }
    }
}

const MEGABYTE: usize = 1 << 20;

// ---- tokens --------------------------------------------------------------------------------------

/// Strings that are no token, though some are much like `token`.
fn malformed(token: &str) -> Vec<String> {
    let bytes = decode(token);
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        encode(&bytes)
    };
    let secret: [u8; 32] = bytes[3..35].try_into().expect("32 bytes");
    let slot = [bytes[1], bytes[2]];
    let mut strings: Vec<String> = [
        "",
        " ",
        "null",
        "pgrt_",
        "pgrt",
        "{}",
        "'; DROP TABLE auth.refresh_tokens; --",
        "ein Schlüssel",
        "🔑",
    ]
    .map(String::from)
    .into();
    strings.extend([
        "a".repeat(MEGABYTE),
        "é".repeat(MEGABYTE / 2),
        token.repeat(MEGABYTE / 68),
        format!("pgrt_{}", "a".repeat(MEGABYTE)),
        // the right length in bytes or in characters, and not ASCII
        "é".repeat(34),
        "é".repeat(68),
        format!("{}é", &token[..66]),
        token.replace("pgrt_", "ｐｇｒｔ＿"),
        // the token, but for its spelling
        token.to_uppercase(),
        token.replace("pgrt_", "PGRT_"),
        token["pgrt_".len()..].to_owned(),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("\u{feff}{token}"),
        token[..67].to_owned(),
        format!("{token}a"),
        token.replace('_', "-"),
        format!("\"{token}\""),
        format!("Bearer {token}"),
        format!("pgrt_0{}", &token[6..]),
        format!("pgrt_1{}", &token[6..]),
        format!("pgrt_={}", &token[6..]),
        // the right checksum of a version that is none
        mint(0, slot, secret),
        mint(2, slot, secret),
        mint(255, slot, secret),
        // the wrong checksum
        with(0, 2),
        with(1, !bytes[1]),
        with(20, !bytes[20]),
        with(38, !bytes[38]),
        {
            let mut bytes = bytes.clone();
            bytes[35..].reverse();
            encode(&bytes)
        },
        {
            let mut bytes = bytes[..35].to_vec();
            bytes.extend(crc32fast_without_prefix(&bytes));
            encode(&bytes)
        },
        encode(&bytes[..38]),
        encode(&[&bytes[..], &[0]].concat()),
        // what the tables hold
        digest(token),
    ]);
    // the last character holds two bits of the checksum and three that must be nought
    let last = token.chars().next_back();
    let alphabet = "abcdefghijklmnopqrstuvwxyz234567";
    strings.extend(
        alphabet
            .chars()
            .filter(|&other| Some(other) != last)
            .map(|other| format!("{}{other}", &token[..67])),
    );
    strings
}

fn crc32fast_without_prefix(bytes: &[u8]) -> [u8; 4] {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    (!crc).to_be_bytes()
}

#[test]
fn what_is_no_token_is_malformed_to_every_function_that_takes_one() {
    let mut observed = Observed::new();
    let (_, _, live) = observed.family("alice");
    for string in malformed(&live) {
        observed.refuses("malformed", "rotate_refresh_token($1)", &[&string]);
        observed.refuses("malformed", "explain_refresh_token($1)", &[&string]);
        observed.counts_none("revoke_refresh_token($1)", &[&string]);
        if string != digest(&live) {
            observed.counts_none("revoke_token_family($1)", &[&string]);
        }
    }
    for stored in observed.secrets() {
        observed.refuses("malformed", "rotate_refresh_token($1)", &[&stored]);
        observed.refuses("malformed", "explain_refresh_token($1)", &[&stored]);
        observed.counts_none("revoke_refresh_token($1)", &[&stored]);
    }
    assert_eq!(observed.rotate(&live).status, "rotated");
    observed.nothing_leaked();
}

#[test]
fn a_token_that_nobody_issued_is_not_found() {
    let mut observed = Observed::new();
    let (_, _, live) = observed.family("alice");
    let bytes = decode(&live);
    let secret: [u8; 32] = bytes[3..35].try_into().expect("32 bytes");
    let other_slot = mint(1, [!bytes[1], bytes[2]], secret);
    assert_eq!(mint(1, [bytes[1], bytes[2]], secret), live);
    for token in [other_slot, unknown_token(), mint(1, [0, 0], [0; 32])] {
        observed.tokens.push(token.clone());
        observed.refuses("not_found", "rotate_refresh_token($1)", &[&token]);
        observed.refuses("not_found", "explain_refresh_token($1)", &[&token]);
        observed.counts_none("revoke_refresh_token($1)", &[&token]);
        observed.counts_none("revoke_token_family($1)", &[&token]);
    }
    observed.nothing_leaked();
}

// ---- NULL ----------------------------------------------------------------------------------------

#[test]
fn every_function_answers_null_in_every_argument() {
    let mut observed = Observed::new();
    let (session, _, live) = observed.family("alice");
    observed.refuses("malformed", "rotate_refresh_token(NULL)", &[]);
    observed.refuses(
        "malformed",
        "rotate_refresh_token(NULL, NULL, NULL, NULL)",
        &[],
    );
    observed.refuses(
        "malformed",
        "rotate_refresh_token(NULL, 'app', 'agent', '192.0.2.1')",
        &[],
    );
    observed.refuses("malformed", "explain_refresh_token(NULL)", &[]);
    for function in [
        "revoke_refresh_token(NULL)",
        "revoke_token_family(NULL)",
        "revoke_session(NULL)",
    ] {
        observed.counts_none(function, &[]);
    }
    for (function, code) in [
        ("revoke_user_sessions(NULL)", "22004"),
        ("revoke_user_sessions(NULL, NULL)", "22004"),
        ("revoke_user_sessions(NULL, $1)", "22004"),
        ("issue_refresh_token(NULL, $1)", "22004"),
    ] {
        let parameters: &[&(dyn ToSql + Sync)] = if function.contains("$1") {
            &[&session]
        } else {
            &[]
        };
        observed.raises(code, function, parameters);
    }
    observed.raises("22004", "issue_refresh_token(NULL)", &[]);
    let row = observed
        .client
        .query_one("SELECT auth.is_session_live(NULL)", &[]);
    assert_eq!(
        row.expect("an answer").get::<_, Option<bool>>(0),
        Some(false)
    );
    let rows = observed
        .client
        .query("SELECT auth.draw_token_family(NULL)", &[]);
    assert!(rows.expect("no line").is_empty());

    // the rest is optional
    let function =
        "issue_refresh_token('bob', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
    let issued = call(&mut observed.client, function, &[]).expect("a login");
    observed.tokens.push(issued.token().to_owned());
    let sql = "SELECT num_nulls(aal, not_after, user_agent, ip, tag, oauth_client_id, scopes) FROM auth.sessions WHERE id = $1";
    let row = observed.client.query_one(sql, &[&issued.session()]);
    assert_eq!(row.expect("a session").get::<_, i32>(0), 7);
    let function = "issue_refresh_token('bob', $1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
    let again = call(&mut observed.client, function, &[&issued.session()]).expect("a new token");
    observed.tokens.push(again.token().to_owned());
    assert_eq!(again.session_id, issued.session_id);
    let function = "rotate_refresh_token($1, NULL, NULL, NULL)";
    let rotated = call(&mut observed.client, function, &[&live]).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    observed.nothing_leaked();
}

// ---- users, clients, sessions --------------------------------------------------------------------

#[test]
fn a_user_id_is_some_text_of_at_most_255_characters() {
    let mut observed = Observed::new();
    observed.issue("alice");
    for (user, code) in [
        (String::new(), "22023"),
        ("a".repeat(256), "22001"),
        ("é".repeat(256), "22001"),
        ("a".repeat(MEGABYTE), "22001"),
        ("🔑".repeat(MEGABYTE / 4), "22001"),
        // what would fit a varchar if it was cut
        (format!("{} ", "a".repeat(255)), "22001"),
    ] {
        observed.raises(code, "issue_refresh_token($1)", &[&user]);
        observed.raises(code, "revoke_user_sessions($1)", &[&user]);
    }
    for user in [
        "a".repeat(255),
        "é".repeat(255),
        "🔑".repeat(255),
        " ".to_owned(),
        "a".to_owned(),
        "Ünï \"cödé\" '; --\n\t\u{200b}".to_owned(),
        "e\u{301}".to_owned(),
        "\u{e9}".to_owned(),
    ] {
        observed.counts_none("revoke_user_sessions($1)", &[&user]);
        let issued = observed.issue(&user);
        assert_eq!(issued.user_id.as_deref(), Some(&*user));
        let rotated = observed.rotate(issued.token());
        assert_eq!(rotated.user_id.as_deref(), Some(&*user));
        let sql =
            "SELECT s.user_id = $1 AND t.user_id = $1 FROM auth.sessions s, auth.refresh_tokens t
                    WHERE s.id = $2 AND t.id = $3";
        let row = observed
            .client
            .query_one(sql, &[&user, &rotated.session(), &rotated.token_id]);
        assert!(row.expect("a row").get::<_, bool>(0));
        let sql = "SELECT auth.revoke_user_sessions($1)";
        let row = observed.client.query_one(sql, &[&user]);
        assert_eq!(row.expect("a count").get::<_, i64>(0), 1, "{user}");
    }
    observed.nothing_leaked();
}

#[test]
fn a_client_id_is_at_most_255_characters_and_matches_to_the_letter() {
    let mut observed = Observed::new();
    for client_id in ["a".repeat(256), "é".repeat(256), "a".repeat(MEGABYTE)] {
        observed.raises(
            "22001",
            "issue_refresh_token('alice', client_id => $1)",
            &[&client_id],
        );
    }
    let (_, _, live) = observed.family("alice");
    for client_id in [
        "a".repeat(256),
        "é".repeat(MEGABYTE / 2),
        String::new(),
        "NULL".into(),
    ] {
        observed.refuses(
            "client_mismatch",
            "rotate_refresh_token($1, $2)",
            &[&live, &client_id],
        );
    }
    for client_id in [
        "a".repeat(255),
        "é".repeat(255),
        String::new(),
        "Ä pp".into(),
    ] {
        let function = "issue_refresh_token('alice', client_id => $1)";
        let issued = call(&mut observed.client, function, &[&client_id]).expect("a login");
        observed.tokens.push(issued.token().to_owned());
        for other in [
            format!("{client_id} "),
            format!("{client_id}a"),
            client_id.chars().skip(1).collect(),
            client_id.to_uppercase(),
        ] {
            if other != client_id {
                observed.refuses(
                    "client_mismatch",
                    "rotate_refresh_token($1, $2)",
                    &[&issued.token(), &other],
                );
            }
        }
        let rotated = rotate_as(&mut observed.client, issued.token(), Some(&client_id));
        let rotated = rotated.expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        observed.tokens.extend(rotated.token);
    }
    observed.nothing_leaked();
}

#[test]
fn a_token_is_issued_only_into_a_session_that_can_take_it() {
    let mut observed = Observed::new();
    let function = "issue_refresh_token($1, $2, client_id => $3)";
    let bound = call(
        &mut observed.client,
        "issue_refresh_token('alice', client_id => 'app')",
        &[],
    )
    .expect("a login");
    let none = None::<&str>;
    let alice = "alice";
    let sessions: Vec<Uuid> = (0..4).map(|_| observed.issue("alice").session()).collect();
    let bobs = observed.issue("bob").session();

    // who guesses a session's id can't tell whether it exists
    let mut messages = Vec::new();
    for session in [Uuid::new_v4(), Uuid::nil(), bobs] {
        observed.raises("23503", function, &[&alice, &session, &none]);
        let sql = "SELECT auth.issue_refresh_token('alice', $1)";
        let error = observed
            .client
            .query(sql, &[&session])
            .expect_err("not hers");
        let error = error.as_db_error().expect("an error of the server").clone();
        messages.push((
            error.message().to_owned(),
            error.detail().map(str::to_owned),
            error.hint().map(str::to_owned),
        ));
    }
    assert_eq!(messages[0], messages[1]);
    assert_eq!(messages[0], messages[2]);

    observed.raises(
        "55000",
        function,
        &[&alice, &bound.session(), &Some("other")],
    );
    observed.raises("55000", function, &[&alice, &sessions[0], &Some("app")]);
    observed.raises("55000", function, &[&alice, &sessions[0], &Some("")]);

    let end = "SELECT auth.revoke_session($1)";
    observed
        .client
        .query_one(end, &[&sessions[1]])
        .expect("a count");
    observed.raises("55000", function, &[&alice, &sessions[1], &none]);
    pass_time(&mut observed.client, sessions[2], "16 d");
    observed.raises("55000", function, &[&alice, &sessions[2], &none]);
    let sql = "UPDATE auth.sessions SET not_after = now() - interval '1 s' WHERE id = $1";
    observed
        .client
        .execute(sql, &[&sessions[3]])
        .expect("a superuser may write");
    observed.raises("55000", function, &[&alice, &sessions[3], &none]);
    // an end that lies ahead doesn't bring back what has ended
    observed.raises(
        "55000",
        "issue_refresh_token('alice', $1, not_after => 'infinity')",
        &[&sessions[3]],
    );
    // another user can't even tell that
    observed.raises("23503", function, &[&"bob", &sessions[1], &none]);
    observed.raises(
        "23503",
        function,
        &[&"bob", &bound.session(), &Some("other")],
    );
    observed.nothing_leaked();
}

#[test]
fn a_session_cannot_be_born_dead() {
    let mut observed = Observed::new();
    let session = observed.issue("alice").session();
    for past in [
        "-infinity",
        "2000-01-01",
        "4713-01-01 BC",
        "now",
        "today",
        "epoch",
    ] {
        for function in [
            format!("issue_refresh_token('alice', not_after => '{past}')"),
            format!("issue_refresh_token('alice', $1, not_after => '{past}')"),
        ] {
            let parameters: &[&(dyn ToSql + Sync)] = if function.contains("$1") {
                &[&session]
            } else {
                &[]
            };
            observed.raises("22023", &function, parameters);
        }
    }
    for future in ["infinity", "294276-12-31", "tomorrow"] {
        let function = format!("issue_refresh_token('alice', not_after => '{future}')");
        let issued = call(&mut observed.client, &function, &[]).expect("a login");
        observed.tokens.push(issued.token().to_owned());
        let sql = format!(
            "SELECT not_after = '{future}' AND auth.is_session_live(id) FROM auth.sessions WHERE id = $1"
        );
        let row = observed.client.query_one(&sql, &[&issued.session()]);
        assert!(row.expect("a session").get::<_, bool>(0), "{future}");
        assert_eq!(observed.rotate(issued.token()).status, "rotated");
    }
    observed.nothing_leaked();
}

#[test]
fn what_the_types_refuse_never_reaches_a_function() {
    let mut observed = Observed::new();
    let (_, _, live) = observed.family("alice");
    for (function, value, code) in [
        (
            "issue_refresh_token('alice', aal => $1::text::auth.aal_level)",
            "aal4",
            "22P02",
        ),
        (
            "issue_refresh_token('alice', aal => $1::text::auth.aal_level)",
            "",
            "22P02",
        ),
        (
            "issue_refresh_token('alice', aal => $1::text::auth.aal_level)",
            "AAL1",
            "22P02",
        ),
        (
            "issue_refresh_token('alice', $1::text::uuid)",
            "nobody",
            "22P02",
        ),
        (
            "issue_refresh_token('alice', ip => $1::text::inet)",
            "300.0.0.1",
            "22P02",
        ),
        (
            "issue_refresh_token('alice', ip => $1::text::inet)",
            "",
            "22P02",
        ),
        (
            "issue_refresh_token('alice', not_after => $1::text::timestamptz)",
            "soon",
            "22007",
        ),
        ("revoke_session($1::text::uuid)", "", "22P02"),
        ("is_session_live($1::text::uuid)", "1", "22P02"),
        ("draw_token_family($1::text::uuid)", "1", "22P02"),
    ] {
        observed.raises(code, function, &[&value]);
    }
    observed.raises(
        "22P02",
        "rotate_refresh_token($1, ip => $2::text::inet)",
        &[&live, &"2001:db8::1::"],
    );
    // a NUL, and what is no UTF-8
    let error = observed.client.query(
        "SELECT auth.rotate_refresh_token(convert_from($1, 'UTF8'))",
        &[&b"pgrt_\xff".as_slice()],
    );
    assert_eq!(error_code(error), "22021");
    let error = observed.client.query(
        "SELECT auth.rotate_refresh_token(convert_from($1, 'UTF8'))",
        &[&b"pgrt_\0".as_slice()],
    );
    assert_eq!(error_code(error), "22021");
    observed.nothing_leaked();
}

#[test]
fn user_agents_are_cut_and_addresses_kept_as_they_are() {
    let mut observed = Observed::new();
    let (session, _, mut live) = observed.family("alice");
    let sql = "SELECT user_agent, ip::text FROM auth.sessions WHERE id = $1";
    for (given, stored) in [
        ("a".repeat(MEGABYTE), "a".repeat(1024)),
        ("é".repeat(MEGABYTE), "é".repeat(1024)),
        (
            format!("{}🔑x", "a".repeat(1023)),
            format!("{}🔑", "a".repeat(1023)),
        ),
        ("🔑".repeat(1024), "🔑".repeat(1024)),
        (String::new(), String::new()),
        ("Ünï\r\ncödé\u{202e}".into(), "Ünï\r\ncödé\u{202e}".into()),
    ] {
        let function = "rotate_refresh_token($1, user_agent => $2)";
        let rotated = call(&mut observed.client, function, &[&live, &given]).expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        live = rotated.token().to_owned();
        observed.tokens.push(live.clone());
        let row = observed
            .client
            .query_one(sql, &[&session])
            .expect("a session");
        assert!(
            row.get::<_, &str>(0) == stored,
            "{:.80}",
            row.get::<_, &str>(0)
        );

        for function in [
            "issue_refresh_token('bob', user_agent => $1)".to_owned(),
            format!("issue_refresh_token('alice', '{session}', user_agent => $1)"),
        ] {
            let issued = call(&mut observed.client, &function, &[&given]).expect("a token");
            observed.tokens.push(issued.token().to_owned());
            let row = observed
                .client
                .query_one(sql, &[&issued.session()])
                .expect("a session");
            assert!(row.get::<_, &str>(0) == stored);
            if issued.session() == session {
                live = issued.token().to_owned();
            }
        }
    }
    for (given, stored) in [
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.1/24", "192.0.2.1/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("255.255.255.255", "255.255.255.255/32"),
        ("::", "::/128"),
        ("2001:DB8:0:0::1", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1/128"),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/1",
        ),
    ] {
        let function = "rotate_refresh_token($1, ip => $2::text::inet)";
        let rotated = call(&mut observed.client, function, &[&live, &given]).expect("a verdict");
        assert_eq!(rotated.status, "rotated", "{given}");
        live = rotated.token().to_owned();
        observed.tokens.push(live.clone());
        let row = observed
            .client
            .query_one(sql, &[&session])
            .expect("a session");
        assert_eq!(row.get::<_, &str>(1), stored);
        let function = "issue_refresh_token('bob', ip => $1::text::inet)";
        let issued = call(&mut observed.client, function, &[&given]).expect("a login");
        observed.tokens.push(issued.token().to_owned());
        let row = observed
            .client
            .query_one(sql, &[&issued.session()])
            .expect("a session");
        assert_eq!(row.get::<_, &str>(1), stored);
    }
    observed.nothing_leaked();
}

#[test]
fn scopes_and_tags_are_kept_as_they_are() {
    let mut observed = Observed::new();
    for text in [
        "Ünï cödé 🔑".to_owned(),
        String::new(),
        "a".repeat(MEGABYTE),
    ] {
        observed
            .client
            .batch_execute("SET refresh_tokens.max_sessions_per_user = 1")
            .expect("a setting");
        let function = "issue_refresh_token('alice', scopes => $1, tag => $1)";
        let first = call(&mut observed.client, function, &[&text]).expect("a login");
        let second = call(&mut observed.client, function, &[&text]).expect("a login");
        let sql = "SELECT scopes = $1 AND tag = $1 FROM auth.sessions WHERE id = $2";
        let row = observed.client.query_one(sql, &[&text, &second.session()]);
        assert!(row.expect("a session").get::<_, bool>(0));
        assert_eq!(
            observed.rotate(first.token()).status,
            "revoked",
            "the cap is counted by it"
        );
        observed.tokens.push(second.token().to_owned());
    }
    observed.nothing_leaked();
}

// ---- where nothing can be written ----------------------------------------------------------------

#[test]
fn a_read_only_transaction_reads_and_refuses_to_write() {
    let mut observed = Observed::new();
    let (session, _, live) = observed.family("alice");
    observed
        .client
        .batch_execute("SET default_transaction_read_only = on")
        .expect("a setting");
    for function in [
        "rotate_refresh_token($1)",
        "revoke_refresh_token($1)",
        "revoke_token_family($1)",
        "issue_refresh_token($1)",
        "revoke_user_sessions($1)",
    ] {
        observed.raises("25006", function, &[&live]);
    }
    observed.raises("25006", "issue_refresh_token('alice', $1)", &[&session]);
    observed.raises("25006", "revoke_session($1)", &[&session]);
    // what needs no table, and what only reads
    observed.refuses("malformed", "rotate_refresh_token('pgrt_')", &[]);
    observed.counts_none("revoke_refresh_token('pgrt_')", &[]);
    observed.refuses("rotated", "explain_refresh_token($1)", &[&live]);
    let row = observed
        .client
        .query_one("SELECT auth.is_session_live($1)", &[&session]);
    assert!(row.expect("an answer").get::<_, bool>(0));
    let rows = observed
        .client
        .query("SELECT auth.draw_token_family($1)", &[&session]);
    assert_eq!(rows.expect("lines").len(), 2);
    observed.nothing_leaked();
}

// ---- who looks on --------------------------------------------------------------------------------

#[test]
fn nobody_who_looks_on_sees_a_token() {
    let mut observed = Observed::new();
    let (session, first, live) = observed.family("alice");
    let mut locker = observed.database.connect();
    let mut locked = locker.transaction().expect("a transaction");
    locked
        .execute(
            "SELECT FROM auth.sessions WHERE id = $1 FOR UPDATE",
            &[&session],
        )
        .expect("a lock");
    let mut waiters = Vec::new();
    for (function, value) in [
        ("rotate_refresh_token($1)", live.clone()),
        ("rotate_refresh_token($1)", first),
        ("revoke_refresh_token($1)", live.clone()),
        ("revoke_token_family($1)", digest(&live)),
    ] {
        let mut client = observed.database.connect();
        client
            .batch_execute("SET application_name = 'waiter'")
            .expect("a setting");
        waiters.push(std::thread::spawn(move || {
            let sql = format!("SELECT auth.{function}");
            let error = client.query(&sql, &[&value]).expect_err("it is cancelled");
            (format!("{error:?}"), error_code(Err::<(), _>(error)))
        }));
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waiter' AND wait_event_type = 'Lock'";
    wait_until("all wait for the session's lock", || {
        let row = observed.client.query_one(waiting, &[]).expect("a count");
        row.get::<_, i64>(0) == 4
    });
    let seen: Vec<String> = observed
        .client
        .query(
            "SELECT a::text FROM pg_stat_activity a UNION ALL SELECT l::text FROM pg_locks l",
            &[],
        )
        .expect("a superuser may look")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(
        seen.iter()
            .any(|row| row.contains("rotate_refresh_token($1)"))
    );
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name = 'waiter'";
    observed
        .client
        .query_one(cancel, &[])
        .expect("a superuser may");
    let mut told = seen.join("\n");
    for waiter in waiters {
        let (error, code) = waiter.join().expect("no panic");
        assert_eq!(code, "57014");
        told += &error;
    }
    // a time-out of the wait itself
    observed
        .client
        .batch_execute("SET lock_timeout = '50 ms'")
        .expect("a setting");
    for function in ["rotate_refresh_token($1)", "revoke_refresh_token($1)"] {
        observed.raises("55P03", function, &[&live]);
    }
    locked.rollback().expect("an end");
    *observed.told.lock().expect("no test panics here") += &told;
    assert_eq!(observed.rotate(&live).status, "rotated");
    observed.nothing_leaked();
}

// ---- rows that the extension never writes --------------------------------------------------------

/// What a family answers after `damage` was done to it ($1 is its session, $2 and $3 the digests of
/// its first and its live token): to its live token, to its first in time, and to its first too late.
struct Damage {
    damage: &'static str,
    live: &'static str,
    retry: &'static str,
    late: &'static str,
}

const DAMAGES: [Damage; 27] = [
    Damage {
        damage: "UPDATE auth.refresh_tokens SET revoked = NULL WHERE token = $3",
        live: "revoked",
        retry: "revoked",
        late: "revoked",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET revoked = NULL WHERE token = $2",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET updated_at = NULL WHERE session_id = $1",
        live: "rotated",
        retry: "reuse_detected",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET updated_at = 'infinity' WHERE session_id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET updated_at = '-infinity' WHERE session_id = $1",
        live: "rotated",
        retry: "reuse_detected",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET created_at = NULL WHERE session_id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET user_id = NULL WHERE session_id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET user_id = 'somebody else' WHERE session_id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET session_id = NULL WHERE token = $3",
        live: "rotated",
        retry: "revoked",
        late: "revoked",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET session_id = NULL WHERE token = $2",
        live: "rotated",
        retry: "revoked",
        late: "revoked",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET session_id = NULL, user_id = NULL WHERE session_id = $1",
        live: "revoked",
        retry: "revoked",
        late: "revoked",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET parent = NULL WHERE token = $3",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET token = NULL WHERE token = $3",
        live: "not_found",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.refresh_tokens SET token = 'no digest ' || id WHERE token = $3",
        live: "not_found",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_hmac_key = NULL WHERE id = $1",
        live: "rotated",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_hmac_key = 'gärbage' WHERE id = $1",
        live: "rotated",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_hmac_key = repeat('A', 43) WHERE id = $1",
        live: "rotated",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_hmac_key = repeat('é', 1000000) WHERE id = $1",
        live: "rotated",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_counter = NULL WHERE id = $1",
        live: "rotated",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_counter = -9223372036854775808 WHERE id = $1",
        live: "rotated",
        retry: "revoked",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refresh_token_counter = 9223372036854775807 WHERE id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refreshed_at = NULL WHERE id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refreshed_at = 'infinity', created_at = 'infinity' WHERE id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET refreshed_at = '-infinity' WHERE id = $1",
        live: "expired",
        retry: "expired",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET created_at = '4713-01-01 BC' WHERE id = $1",
        live: "expired",
        retry: "expired",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET created_at = '294276-12-31', refreshed_at = '294276-12-31' WHERE id = $1",
        live: "rotated",
        retry: "retried",
        late: "reuse_detected",
    },
    Damage {
        damage: "UPDATE auth.sessions SET not_after = '-infinity' WHERE id = $1",
        live: "expired",
        retry: "expired",
        late: "reuse_detected",
    },
];

#[test]
fn damaged_rows_get_considered_answers() {
    let mut observed = Observed::new();
    let mut wrong = Vec::new();
    for case in &DAMAGES {
        for (which, interval, expected) in [
            (1, "1 h", case.live),
            (0, "1 h", case.retry),
            (0, "0", case.late),
        ] {
            let (session, first, current) = observed.family("alice");
            let digests = [digest(&first), digest(&current)];
            let sql = format!(
                "WITH family AS (SELECT $1::uuid, $2::text, $3::text) {}",
                case.damage
            );
            let parameters: [&(dyn ToSql + Sync); 3] = [&session, &digests[0], &digests[1]];
            let damaged = observed.client.execute(&sql, &parameters);
            assert!(damaged.expect("a superuser may write") > 0);
            let set = format!("SET refresh_tokens.reuse_interval = '{interval}'");
            observed.client.batch_execute(&set).expect("a setting");

            let presented = [&first, &current][which];
            let mut status = |function: &str| {
                let answer = call(&mut observed.client, function, &[presented]);
                answer.map_or_else(
                    |error| error_code(Err::<(), _>(error)),
                    |grant| {
                        observed.tokens.extend(grant.token);
                        grant.status
                    },
                )
            };
            let foretold = status("explain_refresh_token($1)");
            let answered = status("rotate_refresh_token($1)");
            let set = "SET refresh_tokens.reuse_interval = '1 h'";
            observed.client.batch_execute(set).expect("a setting");
            if (foretold.as_str(), answered.as_str()) != (expected, expected) {
                wrong.push(format!(
                    "{} (token {which} within {interval}): {answered}, foretold {foretold}, expected {expected}",
                    case.damage
                ));
            }

            // nothing else stumbles over the rows
            for function in [
                "is_session_live($1)",
                "draw_token_family($1)",
                "issue_refresh_token('alice', $1)",
                "revoke_session($1)",
            ] {
                let sql = format!("SELECT auth.{function}");
                if let Err(error) = observed.client.query(&sql, &[&session]) {
                    let code = error_code(Err::<(), _>(error));
                    if !(function.starts_with("issue") && code == "55000") {
                        wrong.push(format!("{}: {function} {code}", case.damage));
                    }
                }
            }
            for value in [&first, &digests[1]] {
                let sql = "SELECT auth.revoke_token_family($1)";
                if let Err(error) = observed.client.query(sql, &[value]) {
                    let code = error_code(Err::<(), _>(error));
                    wrong.push(format!("{}: revoke_token_family {code}", case.damage));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    observed.nothing_leaked();
}

#[test]
fn a_parent_that_somebody_brought_back_to_life_shows_nothing_of_its_child() {
    for also in [
        "",
        ", updated_at = created_at",
        ", updated_at = NULL, created_at = NULL",
    ] {
        let mut observed = Observed::new();
        let (_, first, _) = observed.family("alice");
        let sql = format!("UPDATE auth.refresh_tokens SET revoked = false{also} WHERE token = $1");
        observed
            .client
            .execute(&sql, &[&digest(&first)])
            .expect("a superuser may write");
        // two live tokens, the one the child of the other: its child is there already
        let answer = rotate(&mut observed.client, &first);
        let status = match answer {
            Ok(grant) => {
                observed.tokens.extend(grant.token);
                grant.status
            }
            Err(error) => {
                let told = format!("{error:?}");
                *observed.told.lock().expect("no test panics here") += &told;
                error_code(Err::<(), _>(error))
            }
        };
        observed.nothing_leaked();
        assert!(
            ["rotated", "retried"].contains(&status.as_str()),
            "{status}{also}"
        );
    }
}
