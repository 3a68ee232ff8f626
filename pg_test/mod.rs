//! Tests that run inside PostgreSQL, a file per topic.

/// What `cargo pgrx test` asks for before the first test.
#[cfg(test)]
pub fn setup(_options: Vec<&str>) {}

/// The settings of the server that the tests run in.
#[cfg(test)]
pub fn postgresql_conf_options() -> Vec<&'static str> {
    vec![]
}
