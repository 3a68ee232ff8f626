//! Sessions as an application and their users see them.

mod introspection;
mod list;
mod own;
