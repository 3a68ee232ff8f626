//! Random arguments to every function, under random settings, isolation levels and roles, on sound
//! tables and on corrupt ones: an answer or a clear error, and never a crash, a panic or an internal error.
//!
//! Functions, settings, tables and columns are read from the catalog, so new ones take part by
//! themselves. A failure prints its seed and the last statements; FUZZ_SEED=n repeats it (but for
//! what the server itself draws at random: tokens, ids), and FUZZ_SECONDS=n goes on for so long.

use postgres::types::{FromSqlOwned, ToSql, Type};
use postgres::{Client, Error, Row};
use refresh_tokens_tests::format::{decode, digest, mint};
use refresh_tokens_tests::random::{self, Random};
use refresh_tokens_tests::{Cluster, Database, assert_invariants, backend_pid, issue, rotate};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many calls a test makes that no time is given for.
const CALLS: usize = 3_000;

/// How often it makes so many, till it has met everything.
const PATIENCE: usize = 30;

/// How many of the last statements a failure shows.
const SHOWN: usize = 40;

/// The SQLSTATEs that the functions may answer with, whatever they are called with.
const ALLOWED: [(&str, &str); 10] = [
    ("22001", "a string that does not fit its column"),
    ("22004", "a NULL where a value is needed"),
    (
        "22023",
        "an empty name, an end in the past, an unknown tier",
    ),
    ("23503", "a session that is not there, or another user's"),
    ("25006", "a read-only transaction, and only there"),
    (
        "42501",
        "a role that may not call the function, and only there",
    ),
    ("2D000", "a procedure that could not commit"),
    ("42704", "a role that does not exist"),
    ("42883", "a hook that does not exist"),
    (
        "55000",
        "a session that has ended, or is bound to another client",
    ),
];

/// What no message shows.
const UNSPEAKABLE: [&str; 8] = [
    "panicked",
    "unwrap",
    "index out of",
    "overflow",
    "unreachable",
    "assertion",
    "src/",
    ".rs",
];

/// What the log of a healthy server doesn't have.
const ALARMING: [&str; 6] = [
    "WARNING:",
    "FATAL:",
    "PANIC:",
    "TRAP:",
    "terminated by signal",
    "ERROR:  XX",
];

const EXTREME_TIMES: [&str; 16] = [
    "-infinity",
    "infinity",
    "4714-11-24 00:00:00+00 BC",
    "4713-01-01 00:00:00+00 BC",
    "0001-01-01 00:00:00+00",
    "1970-01-01 00:00:00+00",
    "2000-01-01 00:00:00+00",
    "2038-01-19 03:14:08+00",
    "2100-01-01 12:00:00+00",
    "9999-12-31 23:59:59+00",
    "294276-12-01 00:00:00+00",
    "294276-12-05 00:00:00+00",
    "294276-12-20 00:00:00+00",
    "294276-12-27 00:00:00+00",
    "294276-12-31 23:59:59+00",
    "294276-12-31 23:59:59.999999+00",
];

/// Roles, some with names that have to be quoted.
const ROLES: [&str; 6] = [
    "fuzz_client",
    "fuzz_server",
    "fuzz_operator",
    "fuzz_nobody",
    "we\"ird; DROP TABLE auth.sessions --",
    "Ünïcode '%s' \\",
];

/// What the endpoints need: a key to sign with, and functions for the settings to name.
const HOOKS: &str = "
    SELECT auth.rotate_signing_key();
    CREATE SCHEMA hooks;
    CREATE FUNCTION hooks.claims(jsonb) RETURNS jsonb LANGUAGE sql RETURN $1 || '{\"exp\": \"never\"}';
    CREATE FUNCTION hooks.clients(text, text) RETURNS boolean LANGUAGE sql RETURN length($2) > 3";

/// Tables in which somebody has made room for NULL.
const WITHOUT_NOT_NULL: &str = "
    ALTER TABLE auth.sessions ALTER user_id DROP NOT NULL, ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL;
    ALTER TABLE auth.signing_keys ALTER alg DROP NOT NULL, ALTER private_key DROP NOT NULL, ALTER active_at DROP NOT NULL";

/// Functions that a row of `auth.signing_keys` with no key in it silences till somebody deletes the row.
const SIGNERS: [&str; 3] = ["jwks", "rotate_signing_key", "sign_in_response"];

struct Function {
    name: String,
    arguments: Vec<Argument>,
    defaults: usize,
    grants: bool,
}

/// An argument of a function, or a column of a table.
struct Argument {
    name: String,
    sql_type: String,
    labels: Vec<String>,
}

struct Setting {
    name: String,
    values: Vec<String>,
}

struct Table {
    name: String,
    columns: Vec<Argument>,
}

struct Fuzz {
    database: Database,
    client: Client,
    random: Random,
    seed: u64,
    functions: Vec<Function>,
    settings: Vec<Setting>,
    /// How many of the settings, from the first on, are the extension's.
    own_settings: usize,
    tables: Vec<Table>,
    statuses: Vec<String>,
    tokens: Vec<String>,
    sessions: Vec<Uuid>,
    shown: VecDeque<String>,
    calls: usize,
    /// How often each function gave an answer.
    answered: BTreeMap<String, usize>,
    /// How often each status was answered, and each SQLSTATE.
    met: BTreeMap<String, usize>,
}

impl Fuzz {
    fn new() -> Self {
        let cluster = Arc::new(Cluster::start(&["log_error_verbosity = verbose"]));
        let database = Database::create_in(&cluster);
        let seed = random::seed("FUZZ_SEED");
        let mut client = database.connect();
        // A walk without end is an error too. And a backend knows the settings once it has the library.
        client
            .batch_execute("SET statement_timeout = '60s'; SELECT auth.is_session_live(NULL)")
            .expect("a setting");
        client.batch_execute(HOOKS).expect("hooks and a key");
        for role in ROLES {
            let create = format!("CREATE ROLE \"{}\"", role.replace('"', "\"\""));
            client.batch_execute(&create).expect("a new role");
        }
        for (role, tier) in ROLES.iter().zip(["client", "server", "operator"]) {
            let grant = "SELECT auth.grant_refresh_token_role($1::text::name, $2)";
            client.execute(grant, &[role, &tier]).expect("a grant");
        }
        let settings = settings(&mut client);
        let own_settings = (settings.iter())
            .filter(|setting| setting.name.starts_with("refresh_tokens."))
            .count();
        assert!(own_settings > 0, "there are settings to set");
        Self {
            functions: functions(&mut client),
            settings,
            own_settings,
            tables: tables(&mut client),
            statuses: labels(&mut client, "auth.refresh_token_status"),
            database,
            client,
            random: Random::new(seed, 0),
            seed,
            tokens: Vec::new(),
            sessions: Vec::new(),
            shown: VecDeque::new(),
            calls: 0,
            answered: BTreeMap::new(),
            met: BTreeMap::new(),
        }
    }

    /// Fails with what has led here.
    fn fail(&self, what: &str) -> ! {
        let shown: Vec<_> = self.shown.iter().map(String::as_str).collect();
        panic!(
            "{}\n\n{what}\nFUZZ_SEED={} after {} calls",
            shown.join("\n"),
            self.seed,
            self.calls
        );
    }

    fn execute(&mut self, sql: &str, values: &[Option<String>]) -> Result<Vec<Row>, Error> {
        let values_shown: Vec<_> = (values.iter())
            .map(|value| {
                value
                    .as_ref()
                    .map(|value| value.chars().take(80).collect::<String>())
            })
            .collect();
        self.show(format!("{sql}  {values_shown:?}"));
        let parameters: Vec<_> = (values.iter())
            .map(|value| (value as &(dyn ToSql + Sync), Type::TEXT))
            .collect();
        let result = self.client.query_typed(sql, &parameters);
        if let Err(error) = &result {
            let code = error.code().map_or("no answer", |code| code.code());
            self.show(format!("  -> {code}"));
        }
        result
    }

    fn show(&mut self, line: String) {
        if self.shown.len() == SHOWN {
            self.shown.pop_front();
        }
        self.shown.push_back(line);
    }

    /// Runs what can't fail.
    fn must(&mut self, sql: &str) {
        self.show(sql.to_owned());
        if let Err(error) = self.client.batch_execute(sql) {
            self.fail(&format!("{error:?}"));
        }
    }

    /// Asks what can't fail.
    fn ask<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        match self.client.query_typed(sql, &[]) {
            Ok(rows) => rows[0].get(0),
            Err(error) => self.fail(&format!("{sql}: {error:?}")),
        }
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.below(choices.len())]
    }

    // ---- values ---------------------------------------------------------------------------------

    /// A value for `argument`, as text; none is NULL.
    fn value(&mut self, argument: &Argument) -> Option<String> {
        let often_none = match argument.name.as_str() {
            "client_id" | "oauth_client_id" => 2,
            "session_id" | "not_after" | "except_session" => 3,
            _ => 12,
        };
        if self.random.one_in(often_none) {
            return None;
        }
        if !argument.labels.is_empty() {
            let at = self.random.below(argument.labels.len());
            return Some(argument.labels[at].clone());
        }
        Some(match argument.sql_type.as_str() {
            "text" => self.text(&argument.name),
            "character varying" => self.text(&argument.name).chars().take(255).collect(),
            "name" => self.name(),
            "uuid" => self.uuid().to_string(),
            "timestamp with time zone" => self.time(),
            "inet" => self.address(),
            "boolean" => self.pick(&["true", "false"]).to_owned(),
            "bigint" => {
                let values = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
                self.pick(&values).to_string()
            }
            "integer" => self
                .pick(&[i32::MIN, -1, 0, 1, 2, 1000, i32::MAX])
                .to_string(),
            "json" | "jsonb" => self.json(),
            "interval" => {
                let values = [
                    "0",
                    "-178000000 years",
                    "178000000 years",
                    "1 us",
                    "-1 s",
                    "30 d",
                ];
                self.pick(&values).to_owned()
            }
            other => self.fail(&format!(
                "this test has no values of type {other}: add some"
            )),
        })
    }

    /// A string that may mean something to an argument of this name, or any other.
    fn text(&mut self, name: &str) -> String {
        if self.random.one_in(10) {
            return self.any_text();
        }
        match name {
            "token" | "parent" | "refresh_token" => self.token(),
            "user_id" if self.random.one_in(16) => "ä".repeat(256),
            "user_id" => {
                let users = ["alice", "alice", "bob", "Дейв'; --"];
                self.pick(&users).to_owned()
            }
            "client_id" | "oauth_client_id" => self.pick(&["app", "app", "app", "äpp"]).to_owned(),
            "tag" => self.pick(&["", "web", "mobile"]).to_owned(),
            "tier" => self
                .pick(&["client", "server", "operator", "Client"])
                .to_owned(),
            "grant_type" => self.pick(&["refresh_token", "password"]).to_owned(),
            _ => self.any_text(),
        }
    }

    /// A token, or what looks like one.
    fn token(&mut self) -> String {
        let secret = self.random.bytes();
        let Some(last) = self.tokens.len().checked_sub(1) else {
            return mint(1, [0, 0], secret);
        };
        let near = self.random.below(8).min(last);
        let far = self.random.below(last + 1);
        let token = self.tokens[if self.random.one_in(4) {
            far
        } else {
            last - near
        }]
        .clone();
        match self.random.below(40) {
            0 => digest(&token),
            1 => mint(1, [0, 0], secret),
            2 => mint(self.random.below(256) as u8, [0, 0], secret),
            3 => self.mutated(&token),
            _ => token,
        }
    }

    fn mutated(&mut self, token: &str) -> String {
        let mut characters: Vec<_> = token.chars().collect();
        let at = self.random.below(characters.len());
        match self.random.below(6) {
            0 => drop(characters.remove(at)),
            1 => characters.insert(at, '='),
            2 => characters[at] = 'ä',
            3 => characters[at] = characters[at].to_ascii_uppercase(),
            4 => characters.truncate(at),
            _ => characters[at] = if characters[at] == 'a' { 'b' } else { 'a' },
        }
        characters.into_iter().collect()
    }

    fn any_text(&mut self) -> String {
        const WORDS: [&str; 30] = [
            "",
            " ",
            "0",
            "-1",
            "9223372036854775808",
            "1e309",
            "NaN",
            "null",
            "NULL",
            "\\N",
            "\\",
            "'",
            "\"",
            "$1",
            "%s%n%d",
            "{}",
            "[]",
            "{\"a\": null}",
            "(,,,)",
            "pgrt_",
            "alice",
            "\u{1}\u{2}\u{7f}\u{80}",
            "\r\n\t\u{b}",
            "\u{202e}abc\u{200b}",
            "e\u{301}\u{301}",
            "\u{feff}\u{fffd}\u{ffff}",
            "\u{10ffff}",
            "漢字",
            "👩‍👩‍👧‍👦",
            "ﬀİı",
        ];
        match self.random.below(40) {
            0 => self.uuid().to_string(),
            1 => self.token(),
            2 => self.time(),
            3..6 => {
                let length = self.pick(&[63, 64, 254, 255, 256, 1024, 1025, 8192]);
                self.pick(&["x", "ä", "漢", "👾", "'", "\u{1}"])
                    .repeat(length)
            }
            6 if self.random.one_in(4) => self.pick(&["x", "pgrt_", "👾"]).repeat(250_000),
            _ => {
                let words = 1 + self.random.below(2);
                (0..words).map(|_| self.pick(&WORDS)).collect()
            }
        }
    }

    fn name(&mut self) -> String {
        match self.random.below(4) {
            0 => self.any_text(),
            1 => self
                .pick(&["public", "none", "current_user", "postgres", "pg_monitor"])
                .to_owned(),
            _ => self.pick(&ROLES).to_owned(),
        }
    }

    fn uuid(&mut self) -> Uuid {
        let any = [
            Uuid::nil(),
            Uuid::max(),
            Uuid::from_u128(self.random.below(1 << 20) as u128),
        ];
        let known = self.sessions.len();
        if known == 0 || self.random.one_in(6) {
            return self.pick(&any);
        }
        self.sessions[known - 1 - self.random.below(known.min(20))]
    }

    fn time(&mut self) -> String {
        if self.random.one_in(8) {
            return "now".to_owned();
        }
        self.pick(&EXTREME_TIMES).to_owned()
    }

    fn address(&mut self) -> String {
        let addresses = [
            "127.0.0.1",
            "0.0.0.0/0",
            "255.255.255.255",
            "10.1.2.3/8",
            "::",
            "2001:db8::1/128",
            "fe80::1/64",
            "::ffff:1.2.3.4",
        ];
        self.pick(&addresses).to_owned()
    }

    fn json(&mut self) -> String {
        let values = [
            "null",
            "{}",
            "[]",
            "\"\"",
            "1e400",
            "{\"a\": {\"a\": []}}",
            "{\"role\": \"postgres\", \"exp\": -1}",
        ];
        self.pick(&values).to_owned()
    }

    // ---- what happens ---------------------------------------------------------------------------

    /// One transaction with random circumstances and calls.
    fn transaction(&mut self, corrupt: bool) {
        let levels = [
            "READ COMMITTED",
            "REPEATABLE READ",
            "SERIALIZABLE",
            "SERIALIZABLE",
        ];
        let level = self.pick(&levels);
        let read_only = self.random.one_in(12);
        let mode = if read_only { "READ ONLY" } else { "READ WRITE" };
        self.must(&format!("BEGIN ISOLATION LEVEL {level} {mode}"));
        if corrupt && !read_only {
            // As a replica does, which no foreign key heeds: a session may be gone, and its tokens there.
            let replica = self.random.one_in(2);
            if replica {
                self.must("SET session_replication_role = replica");
            }
            for _ in 0..self.random.below(6) {
                self.corrupt();
            }
            if replica {
                self.must("RESET session_replication_role");
            }
        } else if !read_only {
            match self.random.below(8) {
                0 => self.plant(),
                1 | 2 => self.pass_time(),
                _ => {}
            }
        }
        for _ in 0..self.random.below(4) {
            let mut at = self.random.below(self.settings.len());
            if !self.random.one_in(4) {
                at = self.random.below(self.own_settings);
            }
            let setting = &self.settings[at];
            let value = setting.values[self.random.below(setting.values.len())].replace('\'', "''");
            let set = format!("SET LOCAL {} = '{value}'", setting.name);
            self.must(&set);
        }
        let other_role = self.random.one_in(6);
        if other_role {
            let role = self.pick(&ROLES).replace('"', "\"\"");
            self.must(&format!("SET LOCAL ROLE \"{role}\""));
        }
        for _ in 0..=self.random.below(5) {
            self.must("SAVEPOINT before");
            let kept = self.call(read_only, other_role) && !self.random.one_in(8);
            let end = if kept { "RELEASE" } else { "ROLLBACK TO" };
            self.must(&format!("{end} SAVEPOINT before"));
        }
        let end = if self.random.one_in(8) {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        self.must(end);
    }

    /// Calls a function and judges what it answers. Gives whether it was no error.
    fn call(&mut self, read_only: bool, other_role: bool) -> bool {
        let at = {
            let weights: Vec<_> = (self.functions.iter().enumerate())
                .map(|(at, function)| (if function.grants { 5 } else { 1 }, at))
                .collect();
            self.random.weighted(&weights)
        };
        let functions = std::mem::take(&mut self.functions);
        let function = &functions[at];
        let left_out = self.random.below(function.defaults + 1);
        let given = &function.arguments[..function.arguments.len() - left_out];
        let values: Vec<_> = given.iter().map(|argument| self.value(argument)).collect();
        let places: Vec<_> = (given.iter().enumerate())
            .map(|(at, argument)| format!("${}::text::{}", at + 1, argument.sql_type))
            .collect();
        let times = self.pick(&["", "", "", " FROM generate_series(1, 2)"]);
        let call = format!("auth.{}({})", function.name, places.join(", "));
        let may = !other_role || self.may_call(function);
        let result = self.execute(&format!("SELECT ({call})::text{times}"), &values);
        self.calls += 1;
        let kept = match result {
            Ok(rows) => {
                if !may {
                    self.fail("the role may not call this");
                }
                *self.answered.entry(function.name.clone()).or_default() += 1;
                for row in &rows {
                    let answer: Option<String> = row.get(0);
                    if function.grants {
                        self.judge_grant(answer.as_deref().unwrap_or_default());
                    }
                }
                true
            }
            Err(error) => {
                let error = self.judge_error(&error, read_only, !may);
                // who names a role or a tier is told what was wrong with the name
                let names = |argument: &Argument| argument.sql_type == "name";
                if !given.iter().any(names) {
                    self.judge_words(&error);
                }
                false
            }
        };
        self.functions = functions;
        kept
    }

    /// Whether the role of the moment may call `function`.
    fn may_call(&mut self, function: &Function) -> bool {
        let types: Vec<_> = function
            .arguments
            .iter()
            .map(|argument| argument.sql_type.as_str())
            .collect();
        let signature = format!("auth.{}({})", function.name, types.join(", "));
        // Who may not use the schema can't name the function.
        let sql = "SELECT has_schema_privilege('auth', 'USAGE')";
        self.ask::<bool>(sql) && {
            let sql = format!("SELECT has_function_privilege('{signature}', 'EXECUTE')");
            self.ask(&sql)
        }
    }

    /// That `answer` is a row of `auth.refresh_token_grant` in which a token is where one belongs.
    fn judge_grant(&mut self, answer: &str) {
        let mut columns = answer.trim_start_matches('(').split(',');
        let status = columns.next().unwrap_or_default().to_owned();
        let token = columns.next().unwrap_or_default().to_owned();
        if !self.statuses.contains(&status) {
            self.fail(&format!("no status: {answer:.200}"));
        }
        if !token.is_empty() {
            let has_one = ["issued", "rotated", "retried", "unchanged"];
            if !has_one.contains(&status.as_str()) || decode(&token).len() != 39 {
                self.fail(&format!("not to have a token: {answer:.200}"));
            }
            if self.tokens.last() != Some(&token) {
                self.tokens.push(token);
            }
        }
        let uuid = |column: &str| Uuid::parse_str(column).ok();
        if status == "issued"
            && let Some(session) = columns.find_map(uuid)
        {
            self.sessions.push(session);
        }
        // What is no value of the type, an impossible time say, could be written and not be read.
        let sql = "SELECT ($1::text::auth.refresh_token_grant)::text = $1";
        let read = self.client.query_typed(sql, &[(&answer, Type::TEXT)]);
        if !read.is_ok_and(|rows| rows[0].get(0)) {
            self.fail(&format!("can't be read again: {answer:.300}"));
        }
        *self.met.entry(status).or_default() += 1;
    }

    /// That `error` is one that the function may answer with, at this place. Gives what it says.
    fn judge_error(&mut self, error: &Error, read_only: bool, forbidden: bool) -> String {
        let Some(error) = error.as_db_error() else {
            self.fail(&format!("the backend is gone: {error:?}"));
        };
        let code = error.code().code().to_owned();
        let says = [
            Some(error.message()),
            error.detail(),
            error.hint(),
            error.where_(),
        ];
        let says = says.into_iter().flatten().collect::<Vec<_>>().join("\n");
        if !ALLOWED.iter().any(|&(allowed, _)| allowed == code) {
            self.fail(&format!("{code}: {says}"));
        }
        if (code == "42501") != forbidden || (code == "25006" && !read_only) {
            self.fail(&format!("{code} is wrong here: {says}"));
        }
        if let Some(word) = UNSPEAKABLE.iter().find(|&word| says.contains(word)) {
            self.fail(&format!("{code} says {word}: {says}"));
        }
        *self.met.entry(code).or_default() += 1;
        says
    }

    /// That an error shows no token, digest or key: it has no word as long as one of them.
    fn judge_words(&self, says: &str) {
        let is_in_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if says.split(|c| !is_in_word(c)).any(|word| word.len() >= 40) {
            self.fail(&format!("shows a secret: {says}"));
        }
    }

    /// Lets time pass for a session.
    fn pass_time(&mut self) {
        let session = self.uuid();
        let interval = self.pick(&["1 s", "11 s", "1 d", "16 d", "40 d"]);
        for (table, key, columns) in [
            (
                "sessions",
                "id",
                "created_at updated_at refreshed_at not_after",
            ),
            ("refresh_tokens", "session_id", "created_at updated_at"),
        ] {
            let columns: Vec<_> = columns
                .split(' ')
                .map(|column| format!("{column} = {column} - interval '{interval}'"))
                .collect();
            self.must(&format!(
                "UPDATE auth.{table} SET {} WHERE {key} = '{session}'",
                columns.join(", ")
            ));
        }
    }

    /// Plants a family without a session: a live token and its parent.
    fn plant(&mut self) {
        let slot = self.random.bytes();
        let tokens: Vec<_> = (0..2)
            .map(|_| {
                let secret = self.random.bytes();
                mint(1, slot, secret)
            })
            .collect();
        let [parent, child] = [digest(&tokens[0]), digest(&tokens[1])];
        self.must(&format!(
            "INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, parent)
             VALUES ('{parent}', 'alice', true, now() - interval '1 h', now(), NULL), ('{child}', 'alice', false, now(), now(), '{parent}')
             ON CONFLICT DO NOTHING"
        ));
        self.tokens.extend(tokens);
    }

    /// Does something to a row that nobody should do: a value that fits its column, and nothing else.
    fn corrupt(&mut self) {
        let tables = std::mem::take(&mut self.tables);
        let table = &tables[self.random.below(tables.len())];
        let rows: i64 = self.ask(&format!("SELECT count(*) FROM {}", table.name));
        let row = self
            .random
            .below(usize::try_from(rows).expect("a number").max(1));
        let row = format!(
            "ctid = (SELECT ctid FROM {} ORDER BY ctid OFFSET {row} LIMIT 1)",
            table.name
        );
        self.must("SAVEPOINT before");
        let result = if rows > 20 {
            self.execute(&format!("DELETE FROM {} WHERE {row}", table.name), &[])
        } else if self.random.one_in(6) {
            let names: Vec<_> = table
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            let values: Vec<_> = table
                .columns
                .iter()
                .map(|column| self.value(column))
                .collect();
            let places: Vec<_> = (table.columns.iter().enumerate())
                .map(|(at, column)| format!("${}::text::{}", at + 1, column.sql_type))
                .collect();
            self.execute(
                &format!(
                    "INSERT INTO {} ({}) VALUES ({})",
                    table.name,
                    names.join(", "),
                    places.join(", ")
                ),
                &values,
            )
        } else {
            let mut at = self.random.below(table.columns.len());
            if table.columns[at].name == "token" && !self.random.one_in(3) {
                // else no token would be found
                at = self.random.below(table.columns.len());
            }
            let column = &table.columns[at];
            let value = self.value(column);
            // where a token is known by its digest, another one's digest does more harm than any string
            let value = match value {
                Some(token)
                    if ["token", "parent"].contains(&column.name.as_str())
                        && token.starts_with("pgrt_") =>
                {
                    Some(digest(&token))
                }
                value => value,
            };
            self.execute(
                &format!(
                    "UPDATE {} SET {} = $1::text::{} WHERE {row}",
                    table.name, column.name, column.sql_type
                ),
                &[value],
            )
        };
        match result {
            Ok(_) => self.must("RELEASE SAVEPOINT before"),
            // the constraints of the tables are kept
            Err(error)
                if error
                    .code()
                    .is_some_and(|code| code.code().starts_with("23")) =>
            {
                self.must("ROLLBACK TO SAVEPOINT before");
            }
            Err(error) => self.fail(&format!("{error:?}")),
        }
        self.tables = tables;
    }

    /// Transaction after transaction, as many as were asked for. The server must outlive them.
    fn run(&mut self, corrupt: bool) {
        let time = random::number("FUZZ_SECONDS").map(Duration::from_secs);
        let began = Instant::now();
        let started = "SELECT pg_postmaster_start_time()::text";
        let server: String = self.ask(started);
        let backend = backend_pid(&mut self.client);
        while time.map_or(self.calls < CALLS, |time| began.elapsed() < time) {
            self.transaction(corrupt);
        }
        assert_eq!(self.ask::<String>(started), server);
        assert_eq!(backend_pid(&mut self.client), backend);
        let log = fs::read_to_string(self.database.cluster().log()).expect("a log");
        let alarms: Vec<_> = (log.lines())
            .filter(|line| ALARMING.iter().any(|alarm| line.contains(alarm)))
            .collect();
        assert_eq!(alarms, Vec::<&str>::new(), "FUZZ_SEED={}", self.seed);
        println!("{:?}\n{:?}", self.answered, self.met);
    }
}

/// An answer whose times and token can't be read again is no answer. Gives its status.
fn readable_status(client: &mut Client, function: &str, token: &str) -> String {
    const READ: &str = "SELECT ($1::text::auth.refresh_token_grant).status::text,
                               $1 = ($1::text::auth.refresh_token_grant)::text";
    let sql = format!("SELECT auth.{function}::text");
    let row = client.query_one(&sql, &[&token]);
    let answer: String = row.unwrap_or_else(|error| panic!("{error:?}")).get(0);
    let row = client.query_one(READ, &[&answer]);
    let row = row.unwrap_or_else(|error| panic!("{answer}: {error:?}"));
    assert!(row.get::<_, bool>(1), "{answer}");
    row.get(0)
}

fn labels(client: &mut Client, name: &str) -> Vec<String> {
    const SQL: &str = "SELECT enumlabel::text FROM pg_enum WHERE enumtypid = to_regtype($1)::oid ORDER BY enumsortorder";
    let rows = client.query(SQL, &[&name]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

fn argument(client: &mut Client, name: String, sql_type: String) -> Argument {
    Argument {
        labels: labels(client, &sql_type),
        name,
        sql_type,
    }
}

/// All functions of the extension but the one that changes whose everything is, and so who is refused what: see owner.rs.
fn functions(client: &mut Client) -> Vec<Function> {
    const SQL: &str = "
        SELECT p.proname::text, coalesce(p.proargnames, '{}'), p.pronargs::int, p.pronargdefaults::int,
               ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n),
               p.prorettype = 'auth.refresh_token_grant'::regtype
          FROM pg_depend d
          JOIN pg_proc p ON p.oid = d.objid
         WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND p.prokind = 'f'
           AND p.proname <> 'set_refresh_token_owner'
           AND p.prorettype <> 'internal'::regtype -- which SQL cannot call
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
         ORDER BY 1, 3";
    let rows = client.query(SQL, &[]).expect("a superuser may look");
    let functions = rows.iter().map(|row| {
        let (names, types): (Vec<String>, Vec<String>) = (row.get(1), row.get(4));
        let names = names.into_iter().chain(std::iter::repeat(String::new()));
        let defaults: i32 = row.get(3);
        Function {
            name: row.get(0),
            arguments: names
                .zip(types)
                .map(|(name, sql_type)| argument(client, name, sql_type))
                .collect(),
            defaults: usize::try_from(defaults).expect("a number"),
            grants: row.get(5),
        }
    });
    functions.collect()
}

/// All settings of the extension with values at and near their limits, and some of the server's.
fn settings(client: &mut Client) -> Vec<Setting> {
    const SQL: &str = "
        SELECT name, vartype, coalesce(boot_val, ''), coalesce(min_val, ''), coalesce(max_val, ''), coalesce(enumvals, '{}')
          FROM pg_settings WHERE name LIKE 'refresh\\_tokens.%' AND context = 'superuser' ORDER BY name";
    let others: [(&str, &[&str]); 14] = [
        ("DateStyle", &["German", "SQL, DMY", "Postgres, YMD"]),
        ("TimeZone", &["UTC", "Asia/Kathmandu", "<+15>-15"]),
        ("search_path", &["", "pg_temp", "auth, public"]),
        ("row_security", &["off"]),
        ("work_mem", &["64kB"]),
        (
            "plan_cache_mode",
            &["force_generic_plan", "force_custom_plan"],
        ),
        ("enable_indexscan", &["off"]),
        ("enable_seqscan", &["off"]),
        ("lock_timeout", &["1ms"]),
        ("array_nulls", &["off"]),
        ("transform_null_equals", &["on"]),
        ("standard_conforming_strings", &["off"]),
        ("quote_all_identifiers", &["on"]),
        ("synchronous_commit", &["off"]),
    ];
    let rows = client.query(SQL, &[]).expect("a superuser may look");
    let own = rows.iter().map(|row| {
        let (name, kind): (String, String) = (row.get(0), row.get(1));
        let [usual, min, max]: [String; 3] = [row.get(2), row.get(3), row.get(4)];
        let values = match kind.as_str() {
            "bool" => vec!["on".into(), "off".into()],
            "enum" => row.get(5),
            "string" => vec![
                usual,
                String::new(),
                "'".into(),
                "auth.no_such".into(),
                "hooks.claims".into(),
                "hooks.clients".into(),
                "👾".repeat(100),
            ],
            "integer" | "real" => vec![usual, min, max, "1".into(), "3600".into()],
            other => panic!("this test has no values for a setting of type {other}: add some"),
        };
        Setting { name, values }
    });
    let others = others.iter().map(|(name, values)| Setting {
        name: (*name).to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    });
    own.chain(others).collect()
}

/// All tables of the extension.
fn tables(client: &mut Client) -> Vec<Table> {
    const SQL: &str = "
        SELECT a.attrelid::regclass::text, a.attname::text, a.atttypid::regtype::text
          FROM pg_depend d
          JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r'
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
         ORDER BY 1, a.attnum";
    let mut tables: Vec<Table> = Vec::new();
    for row in client.query(SQL, &[]).expect("a superuser may look") {
        let name: String = row.get(0);
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table {
                name,
                columns: Vec::new(),
            });
        }
        let column = argument(client, row.get(1), row.get(2));
        tables
            .last_mut()
            .expect("pushed above")
            .columns
            .push(column);
    }
    tables
}

/// Runs till `unmet` is empty: what is rare may not come in the usual number of calls, and a test would
/// prove nothing if all its calls were refused.
fn run_till_met(fuzz: &mut Fuzz, corrupt: bool, unmet: impl Fn(&Fuzz) -> Vec<String>) {
    for _ in 0..PATIENCE {
        fuzz.calls = 0;
        fuzz.run(corrupt);
        if unmet(fuzz).is_empty() {
            return;
        }
    }
    panic!("FUZZ_SEED={}: never met: {:?}", fuzz.seed, unmet(fuzz));
}

/// What every call here gets an error from: it answers a procedure that can commit, and these calls are in a transaction.
const ANSWERS_A_PROCEDURE: &str = "begin_batches";

/// The functions that have given no answer yet.
fn silent(fuzz: &Fuzz) -> Vec<String> {
    let names = (fuzz.functions.iter().map(|function| &function.name))
        .filter(|&name| name != ANSWERS_A_PROCEDURE);
    let silent = names.filter(|&name| !fuzz.answered.contains_key(name));
    silent.cloned().collect()
}

#[test]
fn no_argument_brings_down_a_function() {
    let mut fuzz = Fuzz::new();
    run_till_met(&mut fuzz, false, |fuzz| {
        let statuses = fuzz.statuses.iter().map(String::as_str);
        let codes = ALLOWED.iter().map(|&(code, _)| code);
        let answers = statuses.chain(codes).map(str::to_owned);
        let unmet = answers.filter(|answer| !fuzz.met.contains_key(answer));
        unmet.chain(silent(fuzz)).collect()
    });
    // A purge may have been one with the shortest retention there is.
    fuzz.must("SET refresh_tokens.retention = 1");
    assert_invariants(&mut fuzz.client);
}

#[test]
fn no_row_brings_down_a_function() {
    let mut fuzz = Fuzz::new();
    if fuzz.random.one_in(2) {
        // Rows are then read by statements alone, so not in each run.
        fuzz.must(WITHOUT_NOT_NULL);
    }
    run_till_met(&mut fuzz, true, |fuzz| {
        let mut silent = silent(fuzz);
        silent.retain(|name| !SIGNERS.contains(&name.as_str()));
        silent
    });
}

/// What is done to the rows is undone each time: so must be what a verdict does.
const UNDONE: &str = "SET refresh_tokens.durable_reuse = off";

/// Not at random, but one by one: each time that a row can hold, in each column that the verdict looks
/// at, under each of some limits.
#[test]
fn every_time_that_a_row_can_hold_gets_an_answer() {
    const LIMITS: [&str; 5] = ["0", "60", "5 d", "15 d", "2147483647"];
    let database = Database::create();
    let mut client = database.connect();
    let parent = issue(&mut client, "alice");
    let live = rotate(&mut client, parent.token()).expect("a verdict");
    client.batch_execute(UNDONE).expect("a setting");
    let mut met = BTreeSet::new();
    for limit in LIMITS {
        client
            .batch_execute(&format!(
                "SET refresh_tokens.idle_timeout = '{limit}'; SET refresh_tokens.session_lifetime = '{limit}';
                 SET refresh_tokens.reuse_interval = '{limit}'; SET refresh_tokens.lost_response_interval = '{limit}'"
            ))
            .expect("settings");
        for (table, column) in [
            ("sessions", "created_at"),
            ("sessions", "refreshed_at"),
            ("sessions", "not_after"),
            ("refresh_tokens", "created_at"),
            ("refresh_tokens", "updated_at"),
        ] {
            for time in EXTREME_TIMES {
                for token in [parent.token(), live.token()] {
                    let set = format!("BEGIN; UPDATE auth.{table} SET {column} = '{time}'");
                    client.batch_execute(&set).expect("it can hold that");
                    let explained =
                        readable_status(&mut client, "explain_refresh_token($1)", token);
                    let status = readable_status(&mut client, "rotate_refresh_token($1)", token);
                    assert_eq!(explained, status, "{table}.{column} = {time}, {limit}");
                    met.insert(status);
                    client
                        .batch_execute("ROLLBACK")
                        .expect("the transaction is whole");
                }
            }
        }
    }
    let expected = ["expired", "retried", "reuse_detected", "rotated"];
    assert!(met.iter().eq(expected), "{met:?}");
}

/// Not at random either: a family of three, in each state that its flags, its key and its counter can be in.
/// Whatever somebody did to it by hand, a call answers, and no live token is added.
#[test]
fn every_state_of_a_small_family_gets_an_answer() {
    const FLAGS: [&str; 3] = ["false", "true", "NULL"];
    const LIVE: &str = "SELECT count(*) FROM auth.refresh_tokens WHERE revoked IS FALSE";
    let database = Database::create();
    let mut client = database.connect();
    let first = issue(&mut client, "alice");
    let second = rotate(&mut client, first.token()).expect("a verdict");
    let third = rotate(&mut client, second.token()).expect("a verdict");
    client.batch_execute(UNDONE).expect("a setting");
    let family = [first, second, third];
    let ids = family
        .each_ref()
        .map(|grant| grant.token_id.expect("a token"));
    let mut met = BTreeSet::new();
    for flags in 0..27 {
        let flags = [flags / 9, flags / 3 % 3, flags % 3];
        for other in [
            "UPDATE auth.sessions SET updated_at = updated_at",
            "UPDATE auth.sessions SET refresh_token_hmac_key = NULL",
            "UPDATE auth.sessions SET refresh_token_hmac_key = repeat('é', 43)",
            "UPDATE auth.sessions SET refresh_token_counter = NULL",
            "UPDATE auth.sessions SET refresh_token_counter = 9223372036854775807",
            "UPDATE auth.refresh_tokens SET updated_at = created_at",
            "UPDATE auth.refresh_tokens SET updated_at = NULL, created_at = NULL, user_id = NULL",
            "UPDATE auth.refresh_tokens SET parent = NULL",
            "UPDATE auth.refresh_tokens SET parent = token",
        ] {
            let mut set = format!("BEGIN; {other}");
            for (id, flag) in ids.iter().zip(flags) {
                set += &format!(
                    "; UPDATE auth.refresh_tokens SET revoked = {} WHERE id = {id}",
                    FLAGS[flag]
                );
            }
            for (grant, flag) in family.iter().zip(flags) {
                client.batch_execute(&set).expect("it can hold that");
                let live: i64 = client.query_one(LIVE, &[]).expect("a count").get(0);
                let context = format!("{set}, presented: {:?}", grant.token_id);
                let status = {
                    let answer = rotate(&mut client, grant.token());
                    answer
                        .unwrap_or_else(|error| panic!("{context}: {error:?}"))
                        .status
                };
                let now: i64 = client.query_one(LIVE, &[]).expect("a count").get(0);
                let was_live = FLAGS[flag] == "false";
                assert_eq!(status == "rotated", was_live, "{context}: {status}");
                assert!(
                    now <= live,
                    "{context}: {status}, {live} live tokens became {now}"
                );
                met.insert(status);
                client
                    .batch_execute("ROLLBACK")
                    .expect("the transaction is whole");
            }
        }
    }
    let expected = ["retried", "reuse_detected", "revoked", "rotated"];
    assert!(met.iter().eq(expected), "{met:?}");
}
