//! The README is right: what it shows runs as it stands, and it names what there is.

use postgres::Client;
use refresh_tokens_tests::{Cluster, Database, issue};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn readme() -> String {
    page("README.md")
}

fn page(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(file).expect("a page")
}

/// A fenced block of SQL, and the output that is shown directly after it.
struct Example {
    sql: String,
    output: Option<String>,
}

fn examples(readme: &str) -> Vec<Example> {
    let mut examples = Vec::<Example>::new();
    let mut lines = readme.lines();
    // whether nothing but empty lines came since the last block of SQL
    let mut follows = false;
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            follows &= line.trim().is_empty();
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match (language, examples.last_mut()) {
            ("sql", _) => examples.push(Example {
                sql: block,
                output: None,
            }),
            ("text", Some(example)) if follows => example.output = Some(block),
            _ => {}
        }
        follows = language == "sql";
    }
    examples
}

/// The cells of a line of output, however psql has set it.
fn cells(line: &str) -> Vec<&str> {
    line.split(['|', ' ', '\t'])
        .filter(|cell| !cell.is_empty())
        .collect()
}

/// A line of psql's frame around the rows.
fn is_frame(line: &str) -> bool {
    line.trim().is_empty()
        || line.chars().all(|c| "-+ ".contains(c))
        || line.trim_end().ends_with("rows)")
        || line.trim_end() == "(1 row)"
}

#[test]
fn the_quick_start_runs_as_it_stands_and_shows_what_it_says() {
    let examples = examples(&readme());
    assert!(!examples.is_empty(), "the README shows some SQL");
    assert!(
        examples.iter().filter(|e| e.output.is_some()).count() >= 2,
        "and what comes of it"
    );
    run(&Cluster::shared(), &examples);
}

/// In a cluster of its own, as below.
#[test]
fn what_a_dba_is_told_to_do_runs_as_it_stands() {
    let examples = examples(&page("docs/operations.md"));
    assert!(examples.len() > 8, "there is some SQL");
    run(&Cluster::start(&[]), &examples);
}

/// In a cluster of its own: the roles have the names that PostgREST's users give them.
#[test]
fn what_a_user_of_postgrest_is_told_to_do_runs_as_it_stands() {
    let examples = examples(&page("docs/postgrest.md"));
    assert!(examples.len() > 5, "there is some SQL");
    run(&Cluster::start(&[]), &examples);
}

/// Runs `examples` with psql, one after the other, in a database of their own.
fn run(cluster: &Cluster, examples: &[Example]) {
    let database = cluster.create_database();
    let mut script = String::new();
    for (at, example) in examples.iter().enumerate() {
        script += &format!("{}\n\\echo\n\\echo ==== {at}\n", example.sql);
    }
    let file = cluster.folder().join(format!("{database}.sql"));
    fs::write(&file, script).expect("a writable folder");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("a file of ours");
    let file = file.to_str().expect("UTF-8");
    let shown = cluster.run(
        "psql",
        &["-X", "-v", "ON_ERROR_STOP=1", "-d", &database, "-f", file],
    );

    let mut rest = shown.as_str();
    for (at, example) in examples.iter().enumerate() {
        let (output, after) = rest
            .split_once(&format!("\n==== {at}\n"))
            .expect("psql came this far");
        rest = after;
        let mut actual = output.lines().map(cells);
        for line in example.output.iter().flat_map(|output| output.lines()) {
            assert!(
                is_frame(line) || actual.any(|actual| actual == cells(line)),
                "{line:?} does not come of\n{}\nbut\n{output}",
                example.sql
            );
        }
    }
}

/// The rows of the README's tables by what their first cell names: that cell in full, and the others.
fn rows(readme: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut rows = BTreeMap::new();
    for line in readme.lines() {
        let Some(cells) = line.strip_prefix("| `") else {
            continue;
        };
        let (named, others) = cells.split_once("` |").expect("a table's row");
        let name = named.split('(').next().unwrap_or(named);
        let others = others.split('|').map(|cell| cell.trim().replace('`', ""));
        let row = (named.to_owned(), others.collect());
        let twice = rows.insert(name.to_owned(), row);
        assert!(twice.is_none(), "{name} has two rows");
    }
    rows
}

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Names and arguments of the functions; of a long list the first four, and none of those that take the
/// same parameters in one document.
const FUNCTIONS: &str = "
    SELECT format('%s(%s)', proname,
                  array_to_string(proargnames[1:CASE WHEN pronargs > 10 THEN 4 ELSE pronargs END], ', ')
                  || CASE WHEN pronargs > 10 THEN ', ...' ELSE '' END)
      FROM pg_proc JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
     WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')
       AND (pronargs = 0 OR proargnames IS NOT NULL)
     ORDER BY 1";

#[test]
fn every_function_has_a_row_with_its_arguments_and_its_tier() {
    let database = Database::create();
    let mut client = database.connect();
    let rows = rows(&readme());
    let in_readme: BTreeSet<_> = rows.values().map(|(named, _)| named.clone()).collect();
    let functions = lines(&mut client, FUNCTIONS);
    assert_eq!(functions.len(), 32);
    for function in &functions {
        assert!(in_readme.contains(function), "{function} has no row");
    }
    for named in in_readme.iter().filter(|named| named.contains('(')) {
        assert!(functions.contains(named), "there is no {named}");
    }

    // client is a part of server, check_session of two; what no tier has is the owner's
    let tiers = ["gateway", "client", "user", "server", "operator"];
    for tier in tiers {
        let grant = format!(
            "CREATE ROLE {0}_{tier}; SELECT auth.grant_refresh_token_role('{0}_{tier}', '{tier}')",
            database.name
        );
        client.batch_execute(&grant).expect("a grant");
    }
    for function in functions {
        let name = function.split('(').next().expect("a name");
        let may = |client: &mut Client, tier: &str| -> bool {
            let sql = format!(
                "SELECT bool_and(has_function_privilege('{}_{tier}', oid, 'EXECUTE')) FROM pg_proc
                  WHERE proname = '{name}' AND pronamespace = 'auth'::regnamespace",
                database.name
            );
            client.query_one(&sql, &[]).expect("a function").get(0)
        };
        let tier = tiers.into_iter().find(|tier| may(&mut client, tier));
        assert_eq!(rows[name].1[0], tier.unwrap_or("owner"), "{name}");
    }
}

#[test]
fn every_setting_has_a_row_with_its_default() {
    let database = Database::create();
    let mut client = database.connect();
    issue(&mut client, "alice");
    let rows = rows(&readme());
    let settings = client
        .query(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name LIKE 'refresh\\_tokens.%'",
            &[],
        )
        .expect("settings");
    assert_eq!(settings.len(), 23);
    let mut in_catalog = BTreeSet::new();
    for setting in &settings {
        let (name, default): (String, String) = (setting.get(0), setting.get(1));
        let row = rows
            .get(&name)
            .unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(row.1[0].replace(' ', ""), default, "{name}");
        in_catalog.insert(name);
    }
    for name in rows
        .keys()
        .filter(|name| name.starts_with("refresh_tokens."))
    {
        assert!(in_catalog.contains(name), "there is no {name}");
    }
}

#[test]
fn every_status_and_every_attribute_of_a_grant_is_named() {
    let database = Database::create();
    let mut client = database.connect();
    let readme = readme();
    let rows = rows(&readme);
    let statuses = lines(
        &mut client,
        "SELECT unnest(enum_range(NULL::auth.refresh_token_status))::text",
    );
    assert_eq!(statuses.len(), 10);
    for status in statuses {
        assert!(rows.contains_key(&status), "{status} has no row");
    }
    for (status, reasons) in [
        ("retried", "concurrent, lost_response"),
        ("expired", "not_after, session_lifetime, idle_timeout"),
    ] {
        assert!(rows[status].1.contains(&reasons.to_owned()), "{status}");
    }
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'auth.refresh_token_grant'::regclass";
    for attribute in lines(&mut client, sql) {
        assert!(readme.contains(&format!("`{attribute}`")), "{attribute}");
    }
}

#[test]
fn what_the_readme_names_in_the_schema_is_there() {
    let database = Database::create();
    let mut client = database.connect();
    let readme = readme();
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let names: BTreeSet<&str> = readme
        .match_indices("auth.")
        .map(|(at, _)| &readme[at + "auth.".len()..])
        .filter_map(|rest| rest.split(|c| !word(c)).next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 5);
    for name in names {
        let sql = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1 AND relnamespace = 'auth'::regnamespace)
                       OR EXISTS (SELECT FROM pg_proc WHERE proname = $1 AND pronamespace = 'auth'::regnamespace)
                       OR EXISTS (SELECT FROM pg_type WHERE typname = $1 AND typnamespace = 'auth'::regnamespace)";
        let row = client
            .query_one(&sql.replace("$1", &format!("'{name}'")), &[])
            .expect("an answer");
        assert!(row.get::<_, bool>(0), "there is no auth.{name}");
    }
}
