//! What the pages tell readers to run runs as it stands, and what the README names is there. What the reference says is
//! compared with the catalog in `reference.rs`.

use refresh_tokens_tests::{Cluster, Database};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn readme() -> String {
    page("README.md")
}

pub fn page(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(file).expect("a page")
}

/// A fenced block of SQL, and the output that is shown directly after it.
pub struct Example {
    sql: String,
    output: Option<String>,
}

pub fn examples(readme: &str) -> Vec<Example> {
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

/// In a cluster of its own, as below.
#[test]
fn the_readme_runs_as_it_stands_and_shows_what_it_says() {
    let examples = examples(&readme());
    assert!(examples.len() > 2, "the README shows some SQL");
    let output = examples[0].output.as_deref().unwrap_or_default();
    let lines = output.lines().filter(|line| !is_frame(line));
    assert_eq!(lines.count(), 8, "and what comes of it");
    run(&Cluster::start(&[]), &examples);
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
pub fn run(cluster: &Cluster, examples: &[Example]) {
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

#[test]
fn what_the_pages_name_in_the_schema_is_there() {
    let database = Database::create();
    let mut client = database.connect();
    let names = ["docs/design.md", "docs/reference.md", "docs/security.md"];
    let pages: String = names.into_iter().map(page).chain([readme()]).collect();
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let names: BTreeSet<&str> = pages
        .match_indices("auth.")
        .map(|(at, _)| &pages[at + "auth.".len()..])
        .filter_map(|rest| rest.split(|c| !word(c)).next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 30);
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
