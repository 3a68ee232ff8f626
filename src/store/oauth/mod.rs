//! What the OAuth endpoints need beside tokens: signing keys, and the application's hooks.

mod hook;
mod signing_keys;
