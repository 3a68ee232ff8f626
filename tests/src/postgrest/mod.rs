//! A model of PostgREST 13 in front of a database, as small as what the tests must show: how it calls a function, with
//! which settings and as whom, and what becomes of what the function did. It follows PostgREST's documentation; where
//! that is silent, what PostgREST 13.0.8 was seen to do. `REFRESH_TOKENS_POSTGREST` names a real one to run the same
//! tests against (`tests/postgrest/run`).
//!
//! A query string acts on the result of a function, after the call and in its transaction. Of that the model has:
//! `select=pgrst_scalar::type`, which can fail and so undo the call; `limit=0`, with which there is no call; and a
//! parameter of the function, which is NULL then, whatever the body says.
//!
//! Left out, and answered with 501 so that no test takes it for PostgREST's answer:
//! - what else a query string can ask for: filters, `order`, `limit`, `columns`, `and`, `or`, a `select` of more;
//! - writing to tables, a query on a table, embedding, the root with its OpenAPI description, OPTIONS and CORS;
//! - bodies and answers in CSV, answers that are one object of a list;
//! - each `Prefer` but `tx=commit` and `tx=rollback`;
//! - SQLSTATEs 40001 and 40P01: PostgREST 13 calls the function again, at once and for ever.
//!
//! Left out, and never asked for here: bodies for one unnamed parameter of type text, xml or bytea (they hand over
//! nothing), VARIADIC parameters, media type handlers, `request.cookies`, Content-Range, `db-extra-search-path`, RSA and
//! the longer hashes in tokens, a role claim elsewhere than at `role`, the cache of the schema (the model looks each
//! time, so nobody has to say that it changed), `statement_timeout` of a function, and the isolation level of a role.

pub mod application;
mod arguments;
mod config;
mod http;
mod jwt;
mod refusal;
mod routine;
mod served;
mod transaction;

pub use config::Config;
pub use http::{Request, Response};
pub use served::{Program, Served};

use postgres::{Client, NoTls};
use refusal::Refusal;
use routine::Call;
use std::sync::{Mutex, PoisonError};
use transaction::{Plan, Shape};

/// Answers requests as PostgREST would, over a pool of connections to one database.
pub struct PostgRest {
    config: Config,
    database: postgres::Config,
    idle: Mutex<Vec<Client>>,
}

impl PostgRest {
    /// With this configuration. Connects when it is first asked.
    ///
    /// # Panics
    /// `db-uri` is not understood.
    pub fn new(config: Config) -> Self {
        let database = config
            .get("db-uri")
            .parse()
            .expect("db-uri says how to connect");
        Self::over(database, config)
    }

    /// As [`PostgRest::new`], to a database that the configuration doesn't name.
    pub fn over(database: postgres::Config, config: Config) -> Self {
        Self {
            config,
            database,
            idle: Mutex::default(),
        }
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request) -> Response {
        let Some(mut client) = self.connection() else {
            let message = "Database connection error. Retrying the connection.";
            return Refusal::new(503, "PGRST000", message).response();
        };
        let answer = exchange(&mut client, &self.config, request);
        if !client.is_closed() {
            self.pool().push(client);
        }
        let mut response = answer.unwrap_or_else(Refusal::response);
        if request.method == "HEAD" {
            response.body.clear();
        }
        response
    }

    fn connection(&self) -> Option<Client> {
        let idle = self.pool().pop();
        idle.or_else(|| self.database.connect(NoTls).ok())
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request is after: page "API".
enum Target<'a> {
    Function(&'a str),
    Relation(&'a str),
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Result<Self, Refusal> {
        let names: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match names[..] {
            ["rpc", function] => Ok(Self::Function(function)),
            [""] => Err(Refusal::left_out("the root")),
            [relation] => Ok(Self::Relation(relation)),
            _ => {
                let message = "Invalid path specified in request URL";
                Err(Refusal::new(404, "PGRST125", message))
            }
        }
    }
}

fn exchange(client: &mut Client, config: &Config, request: &Request) -> Result<Response, Refusal> {
    let config = config.clone().with_database(client).map_err(unexplored)?;
    let caller = jwt::authenticate(&config, request)?;
    let target = Target::of(&request.path)?;
    let schema = schema(&config, request)?;
    negotiate(request)?;
    let plan = match target {
        Target::Function(name) => plan_call(client, schema, name, request),
        Target::Relation(name) => plan_read(client, schema, name, request),
    }?;
    let mut response = transaction::run(client, &config, &caller, request, &plan)?;
    if config.list("db-schemas").len() > 1 {
        let profile = ("Content-Profile".to_owned(), plan.schema);
        response.headers.push(profile);
    }
    Ok(response)
}

/// Page "Schemas": the first one, unless a header chooses another.
fn schema(config: &Config, request: &Request) -> Result<String, Refusal> {
    let schemas = config.list("db-schemas");
    let reads = ["GET", "HEAD"].contains(&request.method.as_str());
    let header = if reads {
        "accept-profile"
    } else {
        "content-profile"
    };
    let chosen = request.header_value(header).filter(|_| schemas.len() > 1);
    let chosen = chosen.unwrap_or(schemas[0]);
    if schemas.contains(&chosen) {
        return Ok(chosen.to_owned());
    }
    let message = format!("Invalid schema: {chosen}");
    Err(Refusal::new(406, "PGRST106", message))
}

/// Page "Resource Representation": JSON.
fn negotiate(request: &Request) -> Result<(), Refusal> {
    let accept = request.header_value("accept").unwrap_or("*/*");
    for media in accept
        .split(',')
        .map(|media| media.split(';').next().unwrap_or_default().trim())
    {
        match media {
            "*/*" | "application/json" => return Ok(()),
            "text/csv"
            | "application/vnd.pgrst.object+json"
            | "application/vnd.pgrst.array+json" => {
                return Err(Refusal::left_out(media));
            }
            _ => {}
        }
    }
    let message = format!("None of these media types are available: {accept}");
    Err(Refusal::new(406, "PGRST107", message))
}

fn plan_call(
    client: &mut Client,
    schema: String,
    name: &str,
    request: &Request,
) -> Result<Plan, Refusal> {
    let ((arguments, asked), posted) = match request.method.as_str() {
        "GET" | "HEAD" => (arguments::of_query(&request.query)?, None),
        "POST" => {
            let media = arguments::media(request)?;
            let arguments = arguments::of_body(media, &request.body)?;
            (arguments.with_query(&request.query)?, Some(media))
        }
        "OPTIONS" => return Err(Refusal::left_out("OPTIONS")),
        method => {
            let message = format!("Cannot use the {method} method on RPC");
            return Err(Refusal::new(405, "PGRST101", message));
        }
    };
    let routines = routine::named(client, &schema, name).map_err(unexplored)?;
    let routine = routine::resolve((&schema, name), &routines, &arguments, posted)?;
    if asked.cast.is_some() && !routine.scalar {
        return Err(Refusal::left_out("a selection of more than a scalar"));
    }
    Ok(Plan {
        schema,
        call: routine.call(&arguments),
        cast: asked.cast,
        is_called: !asked.nothing,
        read_only: posted.is_none() || !routine.volatile,
        shape: match (routine.void, routine.set) {
            (true, _) => Shape::Void,
            (_, true) => Shape::Many,
            _ => Shape::One,
        },
    })
}

fn plan_read(
    client: &mut Client,
    schema: String,
    name: &str,
    request: &Request,
) -> Result<Plan, Refusal> {
    if !["GET", "HEAD"].contains(&request.method.as_str()) {
        return Err(Refusal::left_out("writing to a table"));
    }
    if !request.query.is_empty() {
        return Err(Refusal::left_out("a query on a table"));
    }
    const SQL: &str = "
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'v', 'm', 'f', 'p')";
    let found = client.query_opt(SQL, &[&schema, &name]);
    if found.map_err(unexplored)?.is_none() {
        let message = format!("Could not find the table '{schema}.{name}' in the schema cache");
        return Err(Refusal::new(404, "PGRST205", message));
    }
    let relation = format!("{}.{}", config::quote(&schema), config::quote(name));
    Ok(Plan {
        schema,
        call: Call {
            expression: format!("rows AS value FROM {relation} AS rows"),
            parameters: Vec::new(),
        },
        cast: None,
        is_called: true,
        read_only: true,
        shape: Shape::Many,
    })
}

/// The database could not say what there is in it.
fn unexplored(error: postgres::Error) -> Refusal {
    Refusal::from_database(&error, true)
}
