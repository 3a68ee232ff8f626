//! How the tables are read and written: the fast path, and what happens when tables change under a call.

mod ddl;
mod fast_path;
mod plans;
mod storm;
