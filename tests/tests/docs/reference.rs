//! `docs/reference.md` is right: what can be called, set and read is there as the catalog has it, and nothing else.

use postgres::Client;
use refresh_tokens_tests::{Database, issue};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn reference() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    fs::read_to_string(file).expect("a page")
}

/// The text below the heading `title` of level 2, up to the next one.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let rest = page.split(&format!("\n## {title}\n")).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("there is no {title}"));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// A function on the page: the tier that it stands below, and its signatures, each without needless spaces.
struct Entry {
    tier: String,
    signatures: String,
}

/// The functions by their names.
fn entries(page: &str) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for part in page.split("\n## ").skip(1) {
        let title = part.lines().next().unwrap_or_default();
        let tier = match title.strip_prefix("Tier ") {
            Some(tier) => tier,
            None if title == "Owner" => "owner",
            None => continue,
        };
        for entry in part.split("\n### ").skip(1) {
            let name = entry.lines().next().unwrap_or_default().to_owned();
            let signatures = entry.split("```").nth(1).unwrap_or_default();
            let entry = Entry {
                tier: tier.to_owned(),
                signatures: plain(signatures),
            };
            let twice = entries.insert(name.clone(), entry);
            assert!(twice.is_none(), "{name} stands there twice");
        }
    }
    entries
}

/// `signature` on one line.
fn plain(signature: &str) -> String {
    let words: Vec<_> = signature.split_whitespace().collect();
    words.join(" ").replace("( ", "(")
}

/// Name and signature of each function and procedure, as the page writes it: of a long list of arguments, the first six.
const FUNCTIONS: &str = "
    SELECT proname::text, tier,
           replace(format('auth.%s(%s)%s', proname, arguments,
                          CASE WHEN prokind = 'f' THEN ' RETURNS ' || pg_get_function_result(oid) ELSE '' END),
                   'timestamp with time zone', 'timestamptz')
      FROM (SELECT p.*,
                   CASE WHEN pronargs > 10
                        THEN array_to_string((regexp_split_to_array(shown, ', '))[1:6], ', ') || ', ...'
                        ELSE shown END AS arguments,
                   coalesce((SELECT t.tier FROM unnest('{gateway,client,user,server,operator}'::text[])
                                                WITH ORDINALITY AS t (tier, place)
                              WHERE has_function_privilege(current_database() || '_' || t.tier, p.oid, 'EXECUTE')
                              ORDER BY t.place LIMIT 1), 'owner') AS tier
              FROM pg_proc AS p
             CROSS JOIN LATERAL regexp_replace(regexp_replace(pg_get_function_arguments(p.oid), '\\mIN ', '', 'g'),
                                               '::[a-z_. ]+', '', 'g') AS shown
              JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'
             WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'refresh_tokens')) AS f
     ORDER BY 1, pronargs DESC";

#[test]
fn every_function_stands_below_its_tier_with_its_signature() {
    let database = Database::create();
    let mut client = database.connect();
    for tier in ["gateway", "client", "user", "server", "operator"] {
        let grant = format!(
            "CREATE ROLE {0}_{tier}; SELECT auth.grant_refresh_token_role('{0}_{tier}', '{tier}')",
            database.name
        );
        client.batch_execute(&grant).expect("a grant");
    }
    let entries = entries(&reference());
    let mut expected = BTreeMap::<String, (String, Vec<String>)>::new();
    for row in client.query(FUNCTIONS, &[]).expect("the catalog") {
        let entry = expected.entry(row.get(0)).or_default();
        entry.0 = row.get(1);
        entry.1.push(row.get(2));
    }
    assert!(expected.len() > 30);
    for (name, (tier, signatures)) in &expected {
        let entry = entries.get(name);
        let entry = entry.unwrap_or_else(|| panic!("{name} is not in docs/reference.md"));
        assert_eq!(entry.tier, *tier, "{name}");
        assert_eq!(entry.signatures, signatures.join(" "), "{name}");
    }
    for name in entries.keys() {
        assert!(expected.contains_key(name), "there is no {name}");
    }
}

/// The rows of the tables in `section` whose first cell is a name in code: the cells by that name.
fn rows(section: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in section.lines() {
        let Some(cells) = line.strip_prefix("| `") else {
            continue;
        };
        let (name, others) = cells.split_once("` |").expect("a table's row");
        let others = others.trim_end().trim_end_matches('|').split('|');
        let others = others.map(|cell| cell.trim().replace('`', ""));
        let twice = rows.insert(name.to_owned(), others.collect());
        assert!(twice.is_none(), "{name} has two rows");
    }
    rows
}

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn every_setting_has_its_type_default_context_and_unit() {
    let database = Database::create();
    let mut client = database.connect();
    issue(&mut client, "alice");
    let page = reference();
    let mut rows = rows(section(&page, "Settings"));
    let sql = "SELECT name, vartype, current_setting(name), context, coalesce(unit, ''), coalesce(enumvals, '{}')
                 FROM pg_settings WHERE name LIKE 'refresh\\_tokens.%'";
    let settings = client.query(sql, &[]).expect("settings");
    assert!(settings.len() > 20);
    for setting in &settings {
        let name: String = setting.get(0);
        let row = rows.remove(&name);
        let row = row.unwrap_or_else(|| panic!("{name} is not in docs/reference.md"));
        let expected: Vec<String> = (1..5).map(|at| setting.get(at)).collect();
        let shown = [
            row[0].clone(),
            row[1].replace(' ', ""),
            row[2].clone(),
            row[3].clone(),
        ];
        assert_eq!(shown, expected[..], "{name}");
        let values: Vec<String> = setting.get(5);
        let default: String = setting.get(2);
        for value in values.iter().filter(|value| **value != default) {
            assert!(row[4].contains(value.as_str()), "{name}: {value}");
        }
    }
    assert_eq!(rows.keys().collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_status_and_every_attribute_of_a_grant_has_a_row() {
    let database = Database::create();
    let mut client = database.connect();
    let page = reference();
    let statuses = rows(section(&page, "Statuses"));
    let sql = "SELECT unnest(enum_range(NULL::auth.refresh_token_status))::text";
    let expected: BTreeSet<_> = lines(&mut client, sql).into_iter().collect();
    assert_eq!(statuses.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (status, reasons) in [
        ("retried", "concurrent, lost_response"),
        ("expired", "not_after, session_lifetime, idle_timeout"),
    ] {
        assert_eq!(statuses[status][2], reasons, "{status}");
    }
    let sql = "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                WHERE attrelid = 'auth.refresh_token_grant'::regclass";
    let attributes = rows(section(&page, "Grants"));
    let attributes = attributes.into_iter();
    let shown: BTreeSet<_> = attributes
        .map(|(name, cells)| format!("{name} {}", cells[0]))
        .collect();
    let expected = lines(&mut client, sql).into_iter();
    let expected = expected.map(|line| line.replace("timestamp with time zone", "timestamptz"));
    assert_eq!(shown, expected.collect());
}

#[test]
fn every_view_and_every_event_is_there_with_its_columns() {
    let database = Database::create();
    let mut client = database.connect();
    let page = reference();
    let (views, events) = (section(&page, "Views"), section(&page, "Events"));
    let columns = |client: &mut Client, relation: &str| {
        let sql = format!(
            "SELECT attname::text FROM pg_attribute
              WHERE attrelid = 'auth.{relation}'::regclass AND attnum > 0"
        );
        lines(client, &sql)
    };
    let sql = "SELECT relname::text FROM pg_class WHERE relkind = 'v' AND relnamespace = 'auth'::regnamespace";
    let names = lines(&mut client, sql);
    assert_eq!(names.len(), 3);
    for view in names {
        assert!(views.contains(&format!("`auth.{view}`")), "{view}");
        for column in columns(&mut client, &view) {
            assert!(views.contains(&format!("`{column}`")), "{view}.{column}");
        }
    }
    let rows = rows(events);
    for column in columns(&mut client, "refresh_token_events") {
        assert!(rows.contains_key(&column), "{column}");
    }
    let sql =
        "SELECT col_description('auth.refresh_token_events'::regclass, attnum) FROM pg_attribute
                WHERE attrelid = 'auth.refresh_token_events'::regclass AND attname = 'event'";
    let comment = lines(&mut client, sql).concat();
    let is_word = |c: char| c.is_ascii_lowercase() || "_.".contains(c);
    let named = comment
        .split(|c| !is_word(c))
        .map(|word| word.trim_matches('.'));
    let named = named.filter(|word| word.contains('_') && !word.contains('.'));
    let named: Vec<_> = named.chain(["issued", "rotated", "retried"]).collect();
    assert_eq!(named.len(), 10, "{comment}");
    for event in named {
        assert!(rows.contains_key(event), "{event}");
    }
}

#[test]
fn a_function_is_read_with_its_tier_and_signature() {
    let page = "# Page\n\n## Grants\n\n### no\n\n## Tier client\n\n### f\n\n```\nauth.f(\n    a text,\n    b text) RETURNS void\n```\n\n## Owner\n\n### g\n\n```\nauth.g() RETURNS void\n```\n";
    let entries = entries(page);
    let shown: Vec<_> = entries
        .iter()
        .map(|(name, entry)| {
            (
                name.as_str(),
                entry.tier.as_str(),
                entry.signatures.as_str(),
            )
        })
        .collect();
    let expected = [
        ("f", "client", "auth.f(a text, b text) RETURNS void"),
        ("g", "owner", "auth.g() RETURNS void"),
    ];
    assert_eq!(shown, expected);
}
