//! The SQL functions, all in schema `auth`: decode the arguments, ask the store, answer.
//!
//! Every argument is an `Option`, so that a NULL gets a considered answer and never a silent NULL.
//! Functions that touch tables are SECURITY DEFINER with a pinned search_path; `sql/privileges.sql`
//! takes them from PUBLIC.

mod access;
mod argument;
mod endpoint;
mod event;
mod present;
mod row;

mod explain;
mod family;
mod introspect;
mod introspection;
mod issue;
mod keys;
mod list;
mod mine;
mod purge;
mod revocation;
mod revoke;
mod rotate;
mod session;
mod sign_in;
mod stats;
mod token;

pub use purge::batch as purge_batch;
