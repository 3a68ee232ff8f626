//! What an operator does and relies on: installing, upgrading, privileges, purge, events, dump and recovery, the pages
//! that say how.

mod catalog;
mod conformance;
mod dump;
mod events;
mod owner;
mod package;
mod pgbouncer;
mod privileges;
mod purge;
mod readme;
mod recovery;
mod sql;
mod upgrade;
mod upkeep;
