//! Tests that run inside PostgreSQL, a file per topic: what can't be seen from a connection. What can
//! is tested in `tests/`.

mod settings;
mod store;

/// What `cargo pgrx test` calls before the first test.
#[cfg(test)]
pub fn setup(_options: Vec<&str>) {}

/// The settings of the server that the tests run in.
#[cfg(test)]
pub fn postgresql_conf_options() -> Vec<&'static str> {
    vec![]
}
