//! The transaction of one request.
//!
//! PostgREST's documentation, page "Transactions": START TRANSACTION with the access mode and the isolation
//! level, the transaction-scoped settings, the pre-request function, the main query, the end. The order of
//! the settings and that they are made by one statement is how PostgREST 13 does it: the settings of the
//! role before the role, for the connecting role may be granted what the other one is not.

use super::config::{Config, quote, quote_path};
use super::http::{Request, Response};
use super::jwt::Caller;
use super::refusal::Refusal;
use super::routine::Call;
use postgres::error::Error;
use postgres::types::ToSql;
use postgres::{Client, IsolationLevel, Transaction};
use serde_json::{Map, Value};

/// What the main query of a request is.
pub struct Plan {
    /// The schema that the request is for.
    pub schema: String,
    /// The call, or what stands for one.
    pub call: Call,
    /// The type that the result is cast to, after the call.
    pub cast: Option<String>,
    /// Whether there is a call at all.
    pub is_called: bool,
    /// READ ONLY or READ WRITE.
    pub read_only: bool,
    /// What the answer consists of.
    pub shape: Shape,
}

/// What a function's answer consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing, status 204.
    Void,
    /// One value.
    One,
    /// An array.
    Many,
}

/// What the main query came to.
struct Outcome {
    body: String,
    status: Option<String>,
    headers: Option<String>,
}

/// Runs the transaction and makes the answer of it.
///
/// # Errors
/// What the database raised, in the words of an answer.
pub fn run(
    client: &mut Client,
    config: &Config,
    caller: &Caller,
    request: &Request,
    plan: &Plan,
) -> Result<Response, Refusal> {
    let end = End::of(config, request)?;
    let settings = settings(client, caller, request, &plan.schema);
    let outcome = settings.and_then(|settings| transact(client, config, &settings, plan, end));
    let outcome = outcome.map_err(|error| Refusal::from_database(&error, caller.is_anonymous))?;
    // By now it is committed, whatever becomes of the answer.
    respond(outcome, plan, end)
}

fn transact(
    client: &mut Client,
    config: &Config,
    settings: &[(String, String)],
    plan: &Plan,
    end: End,
) -> Result<Outcome, Error> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .read_only(plan.read_only)
        .start()?;
    set(&mut transaction, settings)?;
    if let Some(function) = config.optional("db-pre-request") {
        transaction.query(&format!("SELECT {}()", quote_path(function)), &[])?;
    }
    let outcome = main_query(&mut transaction, plan)?;
    if end.commits {
        transaction.commit()?;
    } else {
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        transaction.rollback()?;
    }
    Ok(outcome)
}

/// Names and values, in order.
fn settings(
    client: &mut Client,
    caller: &Caller,
    request: &Request,
    schema: &str,
) -> Result<Vec<(String, String)>, Error> {
    let mut settings = vec![("search_path".to_owned(), search_path(schema))];
    settings.extend(role_settings(client, &caller.role)?);
    settings.push(("role".to_owned(), caller.role.clone()));
    settings.extend(request_settings(caller, request));
    Ok(settings)
}

/// The schema of the request, and what `db-extra-search-path` is by default.
fn search_path(schema: &str) -> String {
    format!("{}, \"public\"", quote(schema))
}

/// Page "Transactions", "Impersonated Role Settings": those that the connecting role may set.
fn role_settings(client: &mut Client, role: &str) -> Result<Vec<(String, String)>, Error> {
    const SQL: &str = "
        SELECT split_part(c.setting, '=', 1), substr(c.setting, strpos(c.setting, '=') + 1)
          FROM pg_catalog.pg_roles r
         CROSS JOIN LATERAL unnest(r.rolconfig) c (setting)
          JOIN pg_catalog.pg_settings s ON s.name = split_part(c.setting, '=', 1)
         WHERE r.rolname = $1 AND s.name <> 'default_transaction_isolation'
           AND (s.context = 'user' OR pg_catalog.has_parameter_privilege(current_user, s.name, 'SET'))";
    let rows = client.query(SQL, &[&role])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn request_settings(caller: &Caller, request: &Request) -> Vec<(String, String)> {
    let object = |pairs: Vec<(String, String)>| {
        let members = pairs
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)));
        Value::Object(members.collect::<Map<_, _>>()).to_string()
    };
    let headers = (request.headers.iter())
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .filter(|(name, _)| name != "cookie");
    let headers = request
        .forged_headers
        .clone()
        .unwrap_or_else(|| object(headers.collect()));
    let claims = Value::Object(caller.claims.clone()).to_string();
    [
        ("request.jwt.claims", claims),
        ("request.method", request.method.clone()),
        ("request.path", request.path.clone()),
        ("request.headers", headers),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// One statement, in this order.
fn set(transaction: &mut Transaction<'_>, settings: &[(String, String)]) -> Result<(), Error> {
    let calls = (0..settings.len()).map(|at| {
        let (name, value) = (2 * at + 1, 2 * at + 2);
        format!("pg_catalog.set_config(${name}, ${value}, true)")
    });
    let sql = format!("SELECT {}", calls.collect::<Vec<_>>().join(", "));
    let parameters: Vec<&(dyn ToSql + Sync)> = (settings.iter())
        .flat_map(|(name, value)| [name as &(dyn ToSql + Sync), value])
        .collect();
    transaction.query(&sql, &parameters).map(drop)
}

/// The call, and what it has set for the response, which is read when all is evaluated.
fn main_query(transaction: &mut Transaction<'_>, plan: &Plan) -> Result<Outcome, Error> {
    let cast = plan.cast.iter().map(|name| format!("::{name}"));
    let value = format!("called.value{}", cast.collect::<String>());
    let body = match plan.shape {
        Shape::Many => format!("coalesce(pg_catalog.json_agg({value}), '[]')"),
        Shape::Void | Shape::One => format!("coalesce(pg_catalog.json_agg({value}) -> 0, 'null')"),
    };
    let setting = |name: &str| format!("nullif(pg_catalog.current_setting('{name}', true), '')");
    let sql = format!(
        "WITH called AS MATERIALIZED (SELECT {call}{limit})
         SELECT ({body})::text, {status}, {headers} FROM called",
        call = plan.call.expression,
        limit = if plan.is_called { "" } else { " LIMIT 0" },
        status = setting("response.status"),
        headers = setting("response.headers"),
    );
    let parameters: Vec<&(dyn ToSql + Sync)> = (plan.call.parameters.iter())
        .map(|parameter| &**parameter)
        .collect();
    let row = transaction.query_one(&sql, &parameters)?;
    Ok(Outcome {
        body: row.get(0),
        status: row.get(1),
        headers: row.get(2),
    })
}

fn respond(outcome: Outcome, plan: &Plan, end: End) -> Result<Response, Refusal> {
    let void = plan.shape == Shape::Void;
    let mut headers = Vec::new();
    if !void {
        let content_type = "application/json; charset=utf-8".to_owned();
        headers.push(("Content-Type".to_owned(), content_type));
    }
    if let Some(applied) = end.applied {
        headers.push(("Preference-Applied".to_owned(), format!("tx={applied}")));
    }
    let status = match outcome.status.as_deref() {
        None if void => 204,
        None => 200,
        Some(text) => leading_number(text).ok_or_else(|| {
            Refusal::new(
                500,
                "PGRST112",
                "response.status guc must be a valid status code",
            )
        })?,
    };
    let set = match outcome.headers.as_deref() {
        None => Vec::new(),
        Some(text) => single_keys(text).ok_or_else(|| {
            let message = "response.headers guc must be a JSON array composed of objects with a single key and a string value";
            Refusal::new(500, "PGRST111", message)
        })?,
    };
    headers.retain(|(name, _)| {
        !set.iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    });
    headers.extend(set);
    let body = if void { String::new() } else { outcome.body };
    Ok(Response {
        status,
        headers,
        body: body.into_bytes(),
    })
}

fn leading_number(text: &str) -> Option<u16> {
    let digits = text.find(|character: char| !character.is_ascii_digit());
    text[..digits.unwrap_or(text.len())].parse().ok()
}

/// `[{"Name": "value"}, ...]`
fn single_keys(text: &str) -> Option<Vec<(String, String)>> {
    let list: Vec<Map<String, Value>> = serde_json::from_str(text).ok()?;
    let pairs = list.into_iter().map(|object| match object.len() {
        1 => object
            .into_iter()
            .next()
            .and_then(|(name, value)| Some((name, value.as_str()?.to_owned()))),
        _ => None,
    });
    pairs.collect()
}

/// How the transaction ends: page "Transactions", "Transaction End"; page "Prefer Header", "Transaction End
/// Preference"; `db-tx-end` on page "Configuration".
#[derive(Clone, Copy)]
struct End {
    commits: bool,
    applied: Option<&'static str>,
}

impl End {
    fn of(config: &Config, request: &Request) -> Result<Self, Refusal> {
        let configured = config.get("db-tx-end");
        let commits = configured.starts_with("commit");
        let preferences = (request.headers.iter())
            .filter(|(name, _)| name.eq_ignore_ascii_case("prefer"))
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim);
        let wishes = preferences.map(|preference| match preference {
            "tx=commit" => Ok((true, "commit")),
            "tx=rollback" => Ok((false, "rollback")),
            other => Err(Refusal::left_out(&format!("Prefer: {other}"))),
        });
        let wishes = wishes.collect::<Result<Vec<_>, _>>()?;
        let wish = wishes
            .first()
            .filter(|_| configured.ends_with("-allow-override"));
        Ok(Self {
            commits: wish.map_or(commits, |&(commits, _)| commits),
            applied: wish.map(|&(_, applied)| applied),
        })
    }
}
