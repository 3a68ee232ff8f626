//! PostgREST's configuration: the parameters of its page "Configuration" that are needed here, from a
//! file as PostgREST reads it, the environment (`PGRST_...`), and the database (`db-pre-config`).

use crate::Database;
use postgres::{Client, Error};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The parameters that are known, as the file names them, and their defaults.
const PARAMETERS: [(&str, &str); 10] = [
    ("db-anon-role", ""),
    ("db-pre-config", ""),
    ("db-pre-request", ""),
    ("db-schemas", "public"),
    ("db-tx-end", "commit"),
    ("db-uri", "postgresql://"),
    ("jwt-aud", ""),
    ("jwt-secret", ""),
    ("server-host", "127.0.0.1"),
    ("server-port", "3000"),
];

/// What may be set in the database.
const IN_DATABASE: [&str; 6] = [
    "db-anon-role",
    "db-pre-request",
    "db-schemas",
    "db-tx-end",
    "jwt-aud",
    "jwt-secret",
];

/// A configuration.
#[derive(Clone, Debug)]
pub struct Config {
    values: BTreeMap<&'static str, String>,
}

impl Default for Config {
    /// PostgREST's defaults.
    fn default() -> Self {
        let values = PARAMETERS.map(|(name, value)| (name, value.to_owned()));
        Self {
            values: values.into(),
        }
    }
}

impl Config {
    /// For a test's database, to which PostgREST connects as `authenticator`.
    pub fn for_database(database: &Database, authenticator: &str) -> Self {
        let socket = database.cluster().socket().display();
        let uri = format!(
            "postgresql:///{}?host={socket}&user={authenticator}",
            database.name
        );
        Self::default().with("db-uri", &uri)
    }

    /// Reads a configuration file, over which the environment wins.
    ///
    /// # Panics
    /// The file can't be read or has a line that is not understood.
    pub fn read(path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut config = Self::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').expect("name = value");
            config = config.with(name.trim(), &unquote(value.trim()));
        }
        for (name, _) in PARAMETERS {
            let variable = format!("PGRST_{}", name.to_uppercase().replace('-', "_"));
            if let Ok(value) = std::env::var(variable) {
                config = config.with(name, &value);
            }
        }
        config
    }

    /// As a configuration file, of what differs from the defaults.
    pub fn text(&self) -> String {
        let set = (PARAMETERS.iter()).filter(|(name, value)| self.get(name) != *value);
        let lines = set.map(|(name, _)| format!("{name} = {}\n", quote_value(self.get(name))));
        lines.collect()
    }

    /// With this value of a parameter.
    ///
    /// # Panics
    /// The parameter is not known: what it asks for would not happen.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let slot = (self.values.iter_mut()).find(|(known, _)| **known == name);
        *slot
            .unwrap_or_else(|| panic!("the bridge knows no parameter {name}"))
            .1 = value.to_owned();
        self
    }

    /// With what the database sets, by `db-pre-config` or for the role that connects.
    ///
    /// PostgREST asks once, and again when it is told to reload; this asks before each request, so that
    /// nobody has to wait for a reload.
    ///
    /// # Errors
    /// Those of the function.
    pub fn with_database(mut self, client: &mut Client) -> Result<Self, Error> {
        let mut transaction = client.build_transaction().read_only(true).start()?;
        if let Some(function) = self.optional("db-pre-config") {
            let sql = format!("SELECT FROM {}()", quote_path(function));
            transaction.execute(&sql, &[])?;
        }
        for name in IN_DATABASE {
            let setting = format!("pgrst.{}", name.replace('-', "_"));
            let sql = "SELECT pg_catalog.current_setting($1, true)";
            let row = transaction.query_one(sql, &[&setting])?;
            if let Some(value) = row
                .get::<_, Option<String>>(0)
                .filter(|value| !value.is_empty())
            {
                self = self.with(name, &value);
            }
        }
        transaction.commit()?;
        Ok(self)
    }

    /// A parameter's value, unless it is empty.
    pub fn optional(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).expect("a known parameter");
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    /// A parameter that is a list.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let names = self.get(name).split(',').map(str::trim);
        names.filter(|name| !name.is_empty()).collect()
    }
}

fn unquote(value: &str) -> String {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    inner.map_or_else(|| value.to_owned(), unescape)
}

/// A backslash makes the next character itself.
fn unescape(value: &str) -> String {
    let mut characters = value.chars();
    let mut plain = String::new();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    plain
}

fn quote_value(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name, quoted.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.name` or `name`, quoted.
pub(super) fn quote_path(path: &str) -> String {
    let names: Vec<String> = path.splitn(2, '.').map(quote).collect();
    names.join(".")
}
