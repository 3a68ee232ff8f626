//! Which function is called: PostgREST's resolution by name and by the names of the arguments.
//!
//! PostgREST's documentation, page "Functions as RPC": "Overloaded functions", "Functions with a single
//! unnamed JSON parameter"; page "Errors": PGRST202, PGRST203.

use super::arguments::{Arguments, Media};
use super::config::quote;
use super::refusal::Refusal;
use postgres::types::ToSql;
use postgres::{Client, Error};
use std::collections::{BTreeMap, BTreeSet};

/// A function of an exposed schema.
#[derive(Clone, Debug)]
pub struct Routine {
    schema: String,
    name: String,
    parameters: Vec<Parameter>,
    /// Whether it is VOLATILE.
    pub volatile: bool,
    /// Whether it returns void.
    pub void: bool,
    /// Whether it returns a set.
    pub set: bool,
    /// Whether what it returns is one value, and no row of columns.
    pub scalar: bool,
}

#[derive(Clone, Debug)]
struct Parameter {
    name: String,
    kind: String,
    required: bool,
}

/// A call, ready to be made: an SQL expression and its parameters, all texts or bytes.
pub struct Call {
    /// The expression, with a FROM clause behind it when it needs one.
    pub expression: String,
    /// `$1`, `$2`, ...
    pub parameters: Vec<Box<dyn ToSql + Sync>>,
}

/// The functions of that name that PostgREST can call: all their parameters are named, or there is one
/// without a name.
///
/// # Errors
/// Those of the query.
pub fn named(client: &mut Client, schema: &str, name: &str) -> Result<Vec<Routine>, Error> {
    const SQL: &str = "
        SELECT p.provolatile = 'v', p.prorettype = 'void'::regtype, p.proretset,
               coalesce(a.names, '{}'), coalesce(a.types, '{}'), p.pronargs::int - p.pronargdefaults,
               (SELECT typtype <> 'c' AND typname <> 'record' FROM pg_catalog.pg_type t WHERE t.oid = p.prorettype)
          FROM pg_catalog.pg_proc p
          JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         CROSS JOIN LATERAL (
               SELECT array_agg(coalesce(p.proargnames[i.position], '') ORDER BY i.position) AS names,
                      array_agg(pg_catalog.format_type(t.type, NULL) ORDER BY i.position) AS types
                 FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY t (type, position)
                CROSS JOIN LATERAL (SELECT t.position::int) i (position)
                WHERE coalesce(p.proargmodes[i.position] IN ('i', 'b'), true)) a
         WHERE n.nspname = $1 AND p.proname = $2 AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype
         ORDER BY p.oid";
    let rows = client.query(SQL, &[&schema, &name])?;
    let routines = rows.iter().map(|row| {
        let (names, kinds): (Vec<String>, Vec<String>) = (row.get(3), row.get(4));
        let required: i32 = row.get(5);
        let parameters = names.into_iter().zip(kinds).zip(0..);
        Routine {
            schema: schema.to_owned(),
            name: name.to_owned(),
            parameters: parameters
                .map(|((name, kind), position)| Parameter {
                    name,
                    kind,
                    required: position < required,
                })
                .collect(),
            volatile: row.get(0),
            void: row.get(1),
            set: row.get(2),
            scalar: row.get(6),
        }
    });
    Ok(routines.filter(Routine::callable).collect())
}

/// Which of the functions of one name is called. `posted`: the media type of the body of a POST.
///
/// # Errors
/// PGRST202, no function; PGRST203, more than one.
pub fn resolve<'a>(
    (schema, name): (&str, &str),
    routines: &'a [Routine],
    arguments: &Arguments,
    posted: Option<Media>,
) -> Result<&'a Routine, Refusal> {
    let names = arguments.names();
    let by_name: Vec<&Routine> = (routines.iter())
        .filter(|routine| routine.takes(&names, posted))
        .collect();
    let unnamed: Vec<&Routine> = (routines.iter())
        .filter(|routine| posted.is_some_and(|media| routine.takes_whole(media)))
        .collect();
    match (&by_name[..], &unnamed[..]) {
        ([one], _) | ([], [one]) => Ok(one),
        ([], []) => {
            let names: Vec<String> = names.into_iter().collect();
            let called = match &names[..] {
                [] => format!("{schema}.{name} without parameters"),
                names => format!("{schema}.{name}({})", names.join(", ")),
            };
            let message = format!("Could not find the function {called} in the schema cache");
            let details = format!(
                "Searched for the function {called}, but no matches were found in the schema cache."
            );
            Err(Refusal::new(404, "PGRST202", message).details(details))
        }
        _ => {
            let message = format!(
                "Could not choose the best candidate function between several {schema}.{name}"
            );
            Err(Refusal::new(300, "PGRST203", message))
        }
    }
}

impl Routine {
    fn callable(&self) -> bool {
        const WHOLE: [&str; 2] = ["json", "jsonb"];
        let unnamed: Vec<&Parameter> = (self.parameters.iter())
            .filter(|parameter| parameter.name.is_empty())
            .collect();
        match unnamed[..] {
            [] => true,
            [one] => WHOLE.contains(&one.kind.as_str()),
            _ => false,
        }
    }

    /// Whether these are arguments of this function: all that it requires, and none that it doesn't declare.
    fn takes(&self, names: &BTreeSet<String>, posted: Option<Media>) -> bool {
        if self.parameters.is_empty() {
            return names.is_empty() && posted != Some(Media::Raw);
        }
        let declared = |name: &String| {
            self.parameters
                .iter()
                .any(|parameter| parameter.name == *name)
        };
        let required = self
            .parameters
            .iter()
            .filter(|parameter| parameter.required);
        names.iter().all(declared)
            && required
                .into_iter()
                .all(|parameter| names.contains(&parameter.name))
    }

    /// Whether it takes a body of this media type as its one unnamed argument.
    fn takes_whole(&self, media: Media) -> bool {
        media == Media::Json && self.whole().is_some()
    }

    /// The one parameter without a name, which takes a whole body.
    fn whole(&self) -> Option<&Parameter> {
        match &self.parameters[..] {
            [parameter] if parameter.name.is_empty() => Some(parameter),
            _ => None,
        }
    }

    /// The call with these arguments.
    pub fn call(&self, arguments: &Arguments) -> Call {
        let names = arguments.names();
        let given = self.parameters.iter();
        let given: Vec<&Parameter> = given.filter(|one| names.contains(&one.name)).collect();
        let passed = match (arguments, self.whole()) {
            (Arguments::Json { text, .. }, Some(whole)) => Passed::json(whole, text),
            (Arguments::Json { text, .. }, None) if !given.is_empty() => {
                Passed::members(&given, text)
            }
            (Arguments::Texts(texts), _) => Passed::texts(&given, texts),
            _ => Passed::default(),
        };
        let function = format!("{}.{}", quote(&self.schema), quote(&self.name));
        let (list, source) = (passed.list.join(", "), passed.source);
        Call {
            expression: format!("{function}({list}) AS value{source}"),
            parameters: passed.parameters,
        }
    }
}

/// Arguments as they are passed to a function.
#[derive(Default)]
struct Passed {
    list: Vec<String>,
    /// Where they come from: a FROM clause, or nothing.
    source: String,
    parameters: Vec<Box<dyn ToSql + Sync>>,
}

impl Passed {
    fn json(whole: &Parameter, text: &str) -> Self {
        Self {
            list: vec![format!("$1::text::{}", whole.kind)],
            parameters: vec![Box::new(text.to_owned())],
            ..Self::default()
        }
    }

    /// PostgreSQL turns the members of the object into the parameters' types.
    fn members(given: &[&Parameter], text: &str) -> Self {
        let is_object = text.trim_start().starts_with('{');
        let record = if is_object {
            "json_to_record"
        } else {
            "json_to_recordset"
        };
        let columns = given
            .iter()
            .map(|one| format!("{} {}", quote(&one.name), one.kind));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let list = given
            .iter()
            .map(|one| one.passed(&format!("body.{}", quote(&one.name))));
        Self {
            list: list.collect(),
            source: format!(
                " FROM (SELECT * FROM pg_catalog.{record}($1::text::json) AS members ({columns}) LIMIT 1) AS body"
            ),
            parameters: vec![Box::new(text.to_owned())],
        }
    }

    fn texts(given: &[&Parameter], texts: &BTreeMap<String, Option<String>>) -> Self {
        let mut passed = Self::default();
        for (one, number) in given.iter().zip(1..) {
            passed
                .list
                .push(one.passed(&format!("${number}::text::{}", one.kind)));
            passed.parameters.push(Box::new(texts[&one.name].clone()));
        }
        passed
    }
}

impl Parameter {
    fn passed(&self, value: &str) -> String {
        format!("{} => {value}", quote(&self.name))
    }
}
