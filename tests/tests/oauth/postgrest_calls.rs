//! PostgREST's way of calling: what a function sees of a request, what becomes of what it does, and which
//! function is called at all. With functions of the test's own, so that what the endpoints rely on is known.

use data_encoding::BASE64URL_NOPAD;
use postgres::Client;
use refresh_tokens_tests::Database;
use refresh_tokens_tests::postgrest::{Config, Request, Response, Served};
use ring::hmac;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a passphrase of more than thirty-two characters";

/// A database with a schema that PostgREST exposes.
struct Api {
    database: Database,
    served: Served,
}

/// The functions: `{anon}` and `{user}` are roles.
const FUNCTIONS: &str = "
    CREATE SCHEMA api;
    GRANT USAGE ON SCHEMA api TO {anon}, {user};
    CREATE TABLE api.marks (mark text NOT NULL);
    GRANT SELECT, INSERT ON api.marks TO {anon}, {user};
    CREATE TABLE api.secrets ();
    CREATE VIEW api.my_marks AS SELECT mark, current_user AS seen_by FROM api.marks;
    GRANT SELECT ON api.my_marks TO {anon}, {user};

    CREATE FUNCTION api.mark(mark text, status text DEFAULT NULL, headers text DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO api.marks VALUES (mark.mark);
        PERFORM set_config('response.status', status, true), set_config('response.headers', headers, true);
        RETURN json_build_object('marked', mark.mark);
    END $$;

    CREATE FUNCTION api.mark_document(mark text) RETURNS jsonb LANGUAGE sql AS 'SELECT api.mark(mark)::jsonb';

    CREATE FUNCTION api.fail(code text, message text DEFAULT 'no', detail text DEFAULT '') RETURNS json
    LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO api.marks VALUES ('failed ' || code);
        RAISE USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
    END $$;

    CREATE FUNCTION api.seen() RETURNS json LANGUAGE plpgsql STABLE AS $$
    DECLARE
        seen json := json_build_object(
            'role', current_setting('role'), 'user', current_user, 'session', session_user,
            'search_path', current_setting('search_path'),
            'read_only', current_setting('transaction_read_only'),
            'isolation', current_setting('transaction_isolation'),
            'claims', current_setting('request.jwt.claims')::json,
            'method', current_setting('request.method'), 'path', current_setting('request.path'),
            'headers', current_setting('request.headers')::json,
            'checked', current_setting('api.checked', true));
    BEGIN
        RETURN seen;
    END $$;
    CREATE FUNCTION api.seen_writing() RETURNS json LANGUAGE sql VOLATILE AS 'SELECT api.seen()';

    CREATE FUNCTION api.check() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('request.headers')::json ->> 'x-check' = 'fail' THEN
            RAISE SQLSTATE 'PGRST' USING
                MESSAGE = '{\"code\": \"401\", \"message\": \"checked and refused\"}',
                DETAIL = '{\"status\": 401, \"headers\": {\"X-Checked\": \"yes\"}}';
        END IF;
        PERFORM set_config('api.checked', concat_ws(' ', current_user, current_setting('request.path')), true);
    END $$;

    CREATE FUNCTION api.left_over() RETURNS json LANGUAGE sql STABLE AS
        $$SELECT json_build_object('status', current_setting('response.status', true))$$;

    CREATE FUNCTION api.both(a text DEFAULT NULL, b text DEFAULT NULL) RETURNS json LANGUAGE sql AS
        $$SELECT json_build_object('called', 'named', 'a', a, 'b', b)$$;
    CREATE FUNCTION api.both(jsonb) RETURNS json LANGUAGE sql AS
        $$SELECT json_build_object('called', 'unnamed', 'body', $1)$$;
    CREATE FUNCTION api.needs(a text, b int DEFAULT 7) RETURNS json LANGUAGE sql AS
        $$SELECT json_build_object('a', a, 'b', b)$$;
    CREATE FUNCTION api.nothing() RETURNS void LANGUAGE sql AS 'INSERT INTO api.marks VALUES (''nothing'')';
    CREATE FUNCTION api.many() RETURNS SETOF int LANGUAGE sql AS 'VALUES (1), (2)';
    CREATE FUNCTION api.pair(OUT one int, OUT two text) LANGUAGE sql AS $$SELECT 1, 'two'$$;
    CREATE FUNCTION api.either(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION api.either(a text) RETURNS int LANGUAGE sql AS 'SELECT 2';
";

impl Api {
    /// With the anonymous role's name, the user's name and the connecting role's name made of the database's.
    fn start(configure: impl Fn(Config) -> Config) -> Self {
        let database = Database::create();
        let names =
            ["anon", "user", "authenticator"].map(|name| format!("{name}_{}", database.name));
        let [anon, user, authenticator] = &names;
        let mut owner = database.connect();
        let roles = "
            CREATE ROLE {anon} NOLOGIN; CREATE ROLE {user} NOLOGIN;
            CREATE ROLE {authenticator} LOGIN NOINHERIT; GRANT {anon}, {user} TO {authenticator};";
        let sql = format!("{roles}{FUNCTIONS}")
            .replace("{anon}", anon)
            .replace("{user}", user);
        owner
            .batch_execute(&sql.replace("{authenticator}", authenticator))
            .expect("an API");
        let config = Config::for_database(&database, authenticator)
            .with("db-schemas", "api")
            .with("db-anon-role", anon)
            .with("jwt-secret", SECRET);
        Self {
            served: Served::start(configure(config)),
            database,
        }
    }

    fn plain() -> Self {
        Self::start(|config| config)
    }

    fn role(&self, name: &str) -> String {
        format!("{name}_{}", self.database.name)
    }

    fn answer(&self, request: &Request) -> Response {
        self.served.answer(request)
    }

    fn call(&self, function: &str, body: &Value) -> Response {
        self.answer(&Request::post(&format!("/rpc/{function}")).json(body))
    }

    fn marks(&self) -> Vec<String> {
        let rows = self.owner().query("SELECT mark FROM api.marks", &[]);
        rows.expect("marks").iter().map(|row| row.get(0)).collect()
    }

    fn owner(&self) -> Client {
        self.database.connect()
    }
}

/// A token signed with the passphrase, or as `alg` says.
fn token(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

fn signed(claims: &Value) -> String {
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

fn code(response: &Response) -> (u16, String) {
    let body = response.json();
    (
        response.status,
        body["code"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn what_a_function_did_commits_with_any_status_that_it_sets() {
    let api = Api::plain();
    for status in ["200", "400", "401", "418", "500"] {
        let response = api.call("mark", &json!({"mark": status, "status": status}));
        assert_eq!(response.status.to_string(), status);
        assert_eq!(response.json(), json!({"marked": status}));
    }
    assert_eq!(api.marks(), ["200", "400", "401", "418", "500"]);
}

#[test]
fn an_error_rolls_back_and_its_sqlstate_decides_the_status() {
    let api = Api::plain();
    let user = signed(&json!({"role": api.role("user")}));
    for (sqlstate, anonymous, authenticated) in [
        ("P0001", 400, 400),
        ("22023", 400, 400),
        ("23503", 409, 409),
        ("23505", 409, 409),
        ("25006", 405, 405),
        ("28000", 403, 403),
        ("42501", 401, 403),
        ("42883", 404, 404),
        ("53300", 503, 503),
        ("57014", 500, 500),
        ("XX000", 500, 500),
        ("PT402", 402, 402),
    ] {
        let request = Request::post("/rpc/fail").json(&json!({"code": sqlstate}));
        let response = api.answer(&request);
        assert_eq!(code(&response), (anonymous, sqlstate.to_owned()));
        let challenge = response.header("www-authenticate");
        assert_eq!(
            challenge,
            (anonymous == 401).then_some("Bearer"),
            "{sqlstate}"
        );
        let response = api.answer(&request.bearer(&user));
        assert_eq!(code(&response), (authenticated, sqlstate.to_owned()));
    }
    assert!(api.marks().is_empty(), "all of it is rolled back");
}

#[test]
fn an_error_of_class_pgrst_says_status_and_headers_itself() {
    let api = Api::plain();
    let message = r#"{"code": "mine", "message": "said", "hint": "so"}"#;
    let detail = r#"{"status": 418, "headers": {"X-Mine": "yes", "WWW-Authenticate": "Bearer"}}"#;
    let response = api.call(
        "fail",
        &json!({"code": "PGRST", "message": message, "detail": detail}),
    );
    assert_eq!(code(&response), (418, "mine".to_owned()));
    assert_eq!(response.header("x-mine"), Some("yes"));
    assert_eq!(response.json()["hint"], "so");
    for (message, detail) in [
        (message, "no JSON"),
        (message, r#"{"status": 418}"#),
        ("no JSON", detail),
    ] {
        let response = api.call(
            "fail",
            &json!({"code": "PGRST", "message": message, "detail": detail}),
        );
        assert_eq!(
            code(&response),
            (500, "PGRST121".to_owned()),
            "{message} {detail}"
        );
    }
    assert!(api.marks().is_empty());
}

#[test]
fn a_wish_to_roll_back_is_heard_where_it_is_allowed_and_nowhere_else() {
    let wish = |api: &Api, wish: &str| {
        let request = Request::post("/rpc/mark").json(&json!({"mark": wish, "status": "400"}));
        let response = api.answer(&request.header("Prefer", wish));
        assert_eq!(response.status, 400);
        assert_eq!(response.json(), json!({"marked": wish}));
        response.header("preference-applied").map(str::to_owned)
    };
    let api = Api::plain();
    assert_eq!(wish(&api, "tx=rollback"), None);
    assert_eq!(api.marks(), ["tx=rollback"]);

    let api = Api::start(|config| config.with("db-tx-end", "commit-allow-override"));
    assert_eq!(wish(&api, "tx=rollback").as_deref(), Some("tx=rollback"));
    assert_eq!(wish(&api, "tx=commit").as_deref(), Some("tx=commit"));
    assert_eq!(api.marks(), ["tx=commit"]);

    let api = Api::start(|config| config.with("db-tx-end", "rollback"));
    assert_eq!(wish(&api, "tx=commit"), None);
    assert!(api.marks().is_empty());
}

#[test]
fn get_reads_only_and_so_does_a_post_to_a_function_that_promises_to() {
    let api = Api::plain();
    let response = api.answer(&Request::get("/rpc/mark?mark=a"));
    assert_eq!(code(&response), (405, "25006".to_owned()));
    assert!(api.marks().is_empty());
    let read_only = |request: &Request| api.answer(request).json()["read_only"].clone();
    assert_eq!(read_only(&Request::get("/rpc/seen")), "on");
    assert_eq!(read_only(&Request::post("/rpc/seen")), "on");
    assert_eq!(read_only(&Request::get("/rpc/seen_writing")), "on");
    assert_eq!(read_only(&Request::post("/rpc/seen_writing")), "off");
    let response = api.answer(&Request::with_method("DELETE", "/rpc/mark"));
    assert_eq!(code(&response), (405, "PGRST101".to_owned()));
    let response = api.answer(&Request::with_method("HEAD", "/rpc/seen"));
    assert_eq!((response.status, response.text().as_str()), (200, ""));
}

#[test]
fn a_function_sees_the_request_in_its_settings() {
    let api = Api::start(|config| config.with("db-pre-request", "api.check"));
    let claims = json!({"role": api.role("user"), "sub": "alice", "session_id": null});
    let request = Request::get("/rpc/seen")
        .bearer(&signed(&claims))
        .header("X-Forwarded-For", "192.0.2.1")
        .header("x-forwarded-for", "198.51.100.2, 203.0.113.3")
        .header("User-Agent", "a \"browser\"")
        .header("Cookie", "one=1; two=2");
    let seen = api.answer(&request).json();
    assert_eq!(seen["role"], api.role("user"));
    assert_eq!(seen["user"], api.role("user"));
    assert_eq!(seen["session"], api.role("authenticator"));
    assert_eq!(seen["search_path"], r#""api", "public""#);
    assert_eq!(seen["isolation"], "read committed");
    assert_eq!(seen["claims"], claims);
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["path"], "/rpc/seen");
    assert_eq!(seen["headers"]["user-agent"], "a \"browser\"");
    // Of two headers of one name the last one is left: no function sees what a client put before it.
    assert_eq!(
        seen["headers"]["x-forwarded-for"],
        "198.51.100.2, 203.0.113.3"
    );
    assert!(
        seen["headers"]["authorization"]
            .as_str()
            .is_some_and(|value| value.starts_with("Bearer "))
    );
    assert_eq!(seen["headers"].get("cookie"), None);
    assert_eq!(seen["checked"], format!("{} /rpc/seen", api.role("user")));

    let seen = api.answer(&Request::get("/rpc/seen")).json();
    assert_eq!(seen["user"], api.role("anon"));
    assert_eq!(seen["claims"], json!({"role": api.role("anon")}));
}

#[test]
fn a_pre_request_that_refuses_is_the_answer() {
    let api = Api::start(|config| config.with("db-pre-request", "api.check"));
    let request = Request::post("/rpc/mark").json(&json!({"mark": "a"}));
    let response = api.answer(&request.clone().header("X-Check", "fail"));
    assert_eq!(code(&response), (401, "401".to_owned()));
    assert_eq!(response.header("x-checked"), Some("yes"));
    assert!(api.marks().is_empty());
    assert_eq!(api.answer(&request).status, 200);
}

/// A connection serves one request after another, and a setting of the transaction leaves an empty one behind.
#[test]
fn nothing_of_a_request_is_left_for_the_next_one() {
    let api = Api::plain();
    for _ in 0..3 {
        assert_eq!(
            api.call("mark", &json!({"mark": "a", "status": "418"}))
                .status,
            418
        );
        let left = api.call("left_over", &json!({}));
        assert_eq!(left.status, 200);
        assert!(["", "null"].contains(&left.json()["status"].as_str().unwrap_or("null")));
    }
}

#[test]
fn headers_that_a_function_sets_are_sent_and_replace_the_usual_ones() {
    let api = Api::plain();
    let headers = r#"[{"Cache-Control": "no-store"}, {"Pragma": "no-cache"}, {"content-type": "text/plain"}]"#;
    let response = api.call("mark", &json!({"mark": "a", "headers": headers}));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("pragma"), Some("no-cache"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    for (field, wrong, expected) in [
        ("headers", r#"{"Cache-Control": "no-store"}"#, "PGRST111"),
        ("headers", r#"[{"A": "1", "B": "2"}]"#, "PGRST111"),
        ("status", "teapot", "PGRST112"),
    ] {
        let response = api.call("mark", &json!({"mark": wrong, field: wrong}));
        assert_eq!(code(&response), (500, expected.to_owned()));
        assert!(
            api.marks().contains(&wrong.to_owned()),
            "too late to roll back"
        );
    }
}

#[test]
fn arguments_come_from_json_a_form_or_the_query() {
    let api = Api::plain();
    let needs = |request: Request| api.answer(&request).json();
    let expected = json!({"a": "x y&z", "b": 7});
    assert_eq!(
        needs(Request::post("/rpc/needs").json(&json!({"a": "x y&z"}))),
        expected
    );
    assert_eq!(
        needs(Request::post("/rpc/needs").form(&[("a", "x y&z")])),
        expected
    );
    assert_eq!(needs(Request::get("/rpc/needs?a=x+y%26z")), expected);
    let expected = json!({"a": "x", "b": 8});
    assert_eq!(
        needs(Request::post("/rpc/needs").json(&json!({"a": "x", "b": 8}))),
        expected
    );
    assert_eq!(
        needs(Request::post("/rpc/needs").form(&[("b", "8"), ("a", "x")])),
        expected
    );
    assert_eq!(needs(Request::get("/rpc/needs?a=x&b=8")), expected);

    // The last one counts, and a function can't tell that there were two.
    let twice = Request::post("/rpc/needs").body("application/x-www-form-urlencoded", "a=1&a=2");
    assert_eq!(needs(twice), json!({"a": "2", "b": 7}));
    // A parameter in the query of a POST is not taken, and the form's is not either.
    assert_eq!(
        needs(Request::post("/rpc/needs?a=query").form(&[("a", "body")]))["a"],
        Value::Null
    );
    // What isn't a text becomes one.
    for (value, text) in [
        (json!(["x", 1]), r#"["x",1]"#),
        (json!({"y": null}), r#"{"y":null}"#),
        (json!(5), "5"),
    ] {
        assert_eq!(
            needs(Request::post("/rpc/needs").json(&json!({"a": value})))["a"],
            text
        );
    }
    assert_eq!(
        needs(Request::post("/rpc/needs").json(&json!({"a": null})))["a"],
        Value::Null
    );
    assert_eq!(
        needs(Request::post("/rpc/needs").json(&json!([{"a": "1"}, {"a": "2"}])))["a"],
        "1"
    );
    let nul = api.call("needs", &json!({"a": "\0"}));
    assert_eq!(code(&nul), (400, "22P05".to_owned()));
    let nul =
        api.answer(&Request::post("/rpc/needs").body("application/x-www-form-urlencoded", "a=%00"));
    assert_eq!(code(&nul), (400, "22021".to_owned()));
}

/// What a query asks for is done to the result, after the call and in its transaction: it can undo what the function did.
#[test]
fn a_query_acts_on_what_a_function_has_returned() {
    let api = Api::plain();
    let mark = |query: &str| {
        let request = Request::post(&format!("/rpc/mark_document{query}"));
        api.answer(&request.json(&json!({"mark": query})))
    };
    assert_eq!(
        code(&mark("?select=pgrst_scalar::int")),
        (400, "22023".to_owned())
    );
    assert!(api.marks().is_empty(), "it was rolled back");
    assert_eq!(
        code(&mark("?select=pgrst_scalar::xid8")),
        (400, "42846".to_owned()),
        "no such cast"
    );
    let nothing = mark("?limit=0");
    assert_eq!((nothing.status, nothing.text().as_str()), (200, "null"));
    assert!(api.marks().is_empty(), "it was not called");
    let text = mark("?select=pgrst_scalar::text");
    assert_eq!(text.status, 200);
    assert_eq!(api.marks().len(), 1);
}

#[test]
fn a_key_that_no_function_declares_is_404_unless_one_takes_the_whole_json_body() {
    let api = Api::plain();
    let not_found = (404, "PGRST202".to_owned());
    let unknown = json!({"a": "x", "unknown": "y"});
    assert_eq!(
        api.call("both", &json!({"a": "x"})).json()["called"],
        "named"
    );
    assert_eq!(api.call("both", &json!({})).json()["called"], "named");
    assert_eq!(
        api.call("both", &unknown).json(),
        json!({"called": "unnamed", "body": unknown})
    );
    let form = Request::post("/rpc/both").form(&[("a", "x"), ("unknown", "y")]);
    assert_eq!(
        code(&api.answer(&form)),
        not_found,
        "a form has no such way out"
    );
    let get = Request::get("/rpc/both?unknown=y");
    assert_eq!(code(&api.answer(&get)), not_found);
    assert_eq!(code(&api.call("needs", &unknown)), not_found);
    assert_eq!(
        code(&api.call("needs", &json!({"b": 1}))),
        not_found,
        "one is required"
    );
    assert_eq!(code(&api.call("nobody", &json!({}))), not_found);
    let stray = Request::post("/rpc/both").body("application/x-www-form-urlencoded", "a=1&&b=2");
    assert_eq!(
        code(&api.answer(&stray)),
        not_found,
        "a pair without a name is an unknown one"
    );
    assert_eq!(
        code(&api.call("either", &json!({"a": 1}))),
        (300, "PGRST203".to_owned())
    );
}

#[test]
fn a_body_is_what_its_content_type_says_or_an_error() {
    let api = Api::plain();
    let send = |content_type: &str, body: &str| {
        api.answer(&Request::post("/rpc/both").body(content_type, body))
    };
    let named = |response: &Response| {
        let body = response.json();
        assert_eq!(
            (response.status, &body["called"]),
            (200, &json!("named")),
            "{body}"
        );
        body["a"].clone()
    };
    assert_eq!(
        named(&send("application/json; charset=utf-8", r#"{"a": "x"}"#)),
        "x"
    );
    assert_eq!(
        named(&send(
            "application/x-www-form-urlencoded; charset=utf-8",
            "a=x"
        )),
        "x"
    );
    let mut bare = Request::post("/rpc/both");
    bare.body = br#"{"a": "x"}"#.to_vec();
    assert_eq!(named(&api.answer(&bare)), "x", "JSON is the default");
    // These bodies hand over nothing, and so all parameters have their defaults.
    for (content_type, body) in [
        ("application/json", ""),
        ("application/json", "[]"),
        ("application/json", r#""text""#),
        ("application/x-www-form-urlencoded", ""),
        ("text/plain", "a=x"),
        ("application/octet-stream", "a=x"),
    ] {
        assert_eq!(
            named(&send(content_type, body)),
            Value::Null,
            "{content_type} {body}"
        );
    }
    for (content_type, body) in [
        ("application/json", "a=x"),
        ("application/json", r#"{"a": "x""#),
        ("application/json", r#"["x"]"#),
        ("application/json", r#"[{"a": 1}, {"b": 1}]"#),
        ("application/jwt", "x"),
        ("multipart/form-data; boundary=x", "--x--"),
        ("", "a=x"),
    ] {
        assert_eq!(
            code(&send(content_type, body)),
            (400, "PGRST102".to_owned()),
            "{content_type} {body}"
        );
    }
    let html = Request::post("/rpc/both").header("Accept", "text/html");
    assert_eq!(code(&api.answer(&html)), (406, "PGRST107".to_owned()));
}

#[test]
fn an_answer_has_the_shape_of_what_the_function_returns() {
    let api = Api::plain();
    let nothing = api.call("nothing", &json!({}));
    assert_eq!((nothing.status, nothing.text().as_str()), (204, ""));
    assert_eq!(api.marks(), ["nothing"]);
    assert_eq!(api.call("many", &json!({})).json(), json!([1, 2]));
    assert_eq!(
        api.call("pair", &json!({})).json(),
        json!({"one": 1, "two": "two"})
    );
}

#[test]
fn a_table_or_a_view_is_an_array_of_its_rows() {
    let api = Api::plain();
    api.call("mark", &json!({"mark": "a"}));
    assert_eq!(
        api.answer(&Request::get("/my_marks")).json(),
        json!([{"mark": "a", "seen_by": api.role("anon")}])
    );
    assert_eq!(
        api.answer(&Request::get("/marks")).json(),
        json!([{"mark": "a"}])
    );
    assert_eq!(
        code(&api.answer(&Request::get("/secrets"))),
        (401, "42501".to_owned())
    );
    assert_eq!(
        code(&api.answer(&Request::get("/nobody"))),
        (404, "PGRST205".to_owned())
    );
    assert_eq!(code(&api.answer(&Request::get("/a/b"))).0, 404);
}

#[test]
fn another_schema_is_chosen_by_a_header() {
    let api = Api::start(|config| config.with("db-schemas", "api, auth"));
    let refused = Request::post("/rpc/both").header("Content-Profile", "pg_catalog");
    assert_eq!(code(&api.answer(&refused)), (406, "PGRST106".to_owned()));
    let other = Request::post("/rpc/both").header("Content-Profile", "auth");
    assert_eq!(code(&api.answer(&other)), (404, "PGRST202".to_owned()));
    let seen = api.answer(&Request::get("/rpc/seen").header("Accept-Profile", "api"));
    assert_eq!(seen.header("content-profile"), Some("api"));
    assert_eq!(seen.json()["search_path"], r#""api", "public""#);
}

#[test]
fn an_access_token_is_verified_before_anything_else() {
    let api = Api::start(|config| config.with("jwt-aud", "notes"));
    let (user, now) = (api.role("user"), now());
    let refused = |token: &str, expected: &str| {
        let response = api.answer(&Request::post("/rpc/nobody").bearer(token));
        assert_eq!(code(&response), (401, expected.to_owned()), "{token}");
        let challenge = response.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\""),
            "{challenge}"
        );
    };
    let good = json!({"role": user, "aud": "notes", "exp": now + 60, "iat": now, "nbf": now});
    let accepted = signed(&good);
    assert_eq!(
        api.answer(&Request::get("/rpc/seen").bearer(&accepted))
            .json()["user"],
        user
    );
    refused(&accepted[..accepted.len() - 4], "PGRST301");
    refused(&format!("A{accepted}"), "PGRST301");
    refused("", "PGRST301");
    refused("no.token", "PGRST301");
    let (header, rest) = accepted.split_once('.').expect("three parts");
    let (_, signature) = rest.split_once('.').expect("three parts");
    let forged = json!({"role": "postgres", "aud": "notes"}).to_string();
    refused(
        &format!(
            "{header}.{}.{signature}",
            BASE64URL_NOPAD.encode(forged.as_bytes())
        ),
        "PGRST301",
    );
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS512"}),
        json!({"alg": "ES256"}),
        json!({"alg": "HS256", "kid": "retired"}),
        json!({"typ": "JWT"}),
    ] {
        refused(&token(&header, &good), "PGRST301");
    }
    let unsigned = token(&json!({"alg": "none"}), &good);
    let (unsigned, _) = unsigned.rsplit_once('.').expect("three parts");
    refused(&format!("{unsigned}."), "PGRST301");

    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed(&claims)
    };
    refused(&with("exp", json!(now - 60)), "PGRST303");
    refused(&with("exp", json!("tomorrow")), "PGRST303");
    refused(&with("nbf", json!(now + 60)), "PGRST303");
    refused(&with("iat", json!(now + 60)), "PGRST303");
    refused(&with("aud", json!("others")), "PGRST303");
    refused(&with("aud", json!(["others"])), "PGRST303");
    refused(&with("aud", json!(5)), "PGRST303");
    for accepted in [
        with("exp", json!(now - 10)),
        with("aud", json!(["others", "notes"])),
        with("aud", json!([])),
        with("aud", Value::Null),
    ] {
        assert_eq!(
            api.answer(&Request::get("/rpc/seen").bearer(&accepted))
                .status,
            200
        );
    }
    let basic = Request::get("/rpc/seen").basic("client", "secret");
    assert_eq!(
        api.answer(&basic).json()["user"],
        api.role("anon"),
        "not PostgREST's to judge"
    );
}

#[test]
fn a_role_that_does_not_exist_or_was_not_granted_is_refused() {
    let api = Api::plain();
    let status = |role: &str| {
        let token = signed(&json!({"role": role}));
        api.answer(&Request::get("/rpc/seen").bearer(&token)).status
    };
    assert_eq!(status("nobody_at_all"), 401);
    assert_eq!(status("postgres"), 403);
}

#[test]
fn without_an_anonymous_role_a_token_is_needed() {
    let api = Api::start(|config| config.with("db-anon-role", ""));
    let response = api.answer(&Request::get("/rpc/seen"));
    assert_eq!(code(&response), (401, "PGRST302".to_owned()));
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
}
