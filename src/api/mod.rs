//! The SQL functions, all in schema `auth`: decode the arguments, ask the store, answer.
//!
//! A room for each kind of caller: [`tokens`] and [`sessions`] for application servers and users, [`oauth`] for PostgREST,
//! [`operator`] for those who run the database. Each room's `mod.rs` names the functions that the room's SQL file
//! comments.
//!
//! Every argument is an `Option`, so that a NULL gets a considered answer and never a silent NULL. Functions that touch
//! tables are SECURITY DEFINER with a pinned search_path; `sql/closing.sql` takes them from everybody, and
//! `sql/roles.sql` says which tier is granted them.

mod argument;
mod event;
mod grant_row;

mod oauth;
mod operator;
mod sessions;
mod tokens;
